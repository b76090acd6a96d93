//! Plugins that measure: `rate_limit`, `request_size`.

use std::time::Duration;

use super::super::fields::Fields;
use super::super::shape::{Bond, COUNT, If, Key, Kind, Literal, STRINGS, Section};
use super::super::words::{is_token, suggest};
use super::FLAG;
use crate::plugin::{By, Quota, RateLimit, RequestSize, WhenAway};

const AWAY: [&str; 3] = [WhenAway::Local.as_str(), WhenAway::Open.as_str(), WhenAway::Closed.as_str()];

/// How a quota is written.
const QUOTA: &str = "write it like \"60/m\": a number, and `s`, `m`, `h` or `d`";

pub(super) const RATE_LIMIT: Section = Section::new(
    "a plugin `rate_limit`",
    &[
        FLAG,
        Key::new("quotas", Kind::Several(&Kind::Like("^[0-9]+/[smhd]$")), "All of them hold.").must("[\"60/m\", \"1000/h\"]"),
        Key::new("burst", COUNT, "So many at once."),
        Key::new("by", STRINGS, "user, address, everybody, header:NAME, cookie:NAME: the first that a request has.")
            .unset(Literal::Texts(&["user", "address"])),
        Key::new("shared", Kind::Boolean, "Counted together with other gateways; by each of them unless set."),
        Key::new("when_away", Kind::Word(&AWAY), "What holds while Redis is away."),
        Key::new("headers", Kind::Boolean, "Answers say how much is left.").unset(Literal::Boolean(true)),
    ],
)
.bound(&[
    Bond::Needs(If::Is("shared", Literal::Boolean(true)), &[If::Given("when_away")]),
    Bond::Needs(If::Given("when_away"), &[If::Is("shared", Literal::Boolean(true))]),
]);

pub(super) const REQUEST_SIZE: Section =
    Section::new("a plugin `request_size`", &[FLAG, Key::new("max", Kind::Size, "The largest that is taken.").must("\"10MiB\"")]);

pub(super) fn rate_limit(section: &mut Fields<'_>) -> Option<RateLimit> {
    section.require("quotas");
    let report = section.text.report;
    let mut quotas = Vec::new();
    for text in section.strings("quotas") {
        match quota(&text.value) {
            Some(quota) => quotas.push(quota),
            None => report.error(&text.at, format!("`{}` is not a quota", text.value), QUOTA),
        }
    }
    if let Some(burst) = section.natural("burst") {
        match u32::try_from(burst.value).ok().filter(|burst| *burst > 0) {
            // The others would never be reached by it.
            Some(most) => quotas.iter_mut().for_each(|quota| quota.burst = quota.burst.min(most)),
            None => report.error(&burst.at, "a `burst` lets at least one request through", "leave it out for as many as the quota"),
        }
    }
    let mut by = Vec::new();
    for word in section.strings("by") {
        match unit(&word.value) {
            Some(unit) => by.push(unit),
            None => {
                let hint = suggest(&word.value, ["user", "address", "everybody", "header:NAME", "cookie:NAME"]);
                report.error(&word.at, format!("`{}` does not identify a caller", word.value), hint);
            }
        }
    }
    let by = if section.has("by") { by } else { vec![By::User, By::Address] };
    let shared = section.boolean("shared").is_some_and(|shared| shared.value);
    let away = section.string("when_away");
    let chosen = away.as_ref().and_then(|word| {
        let found = WhenAway::ALL.into_iter().find(|choice| choice.as_str() == word.value);
        if found.is_none() {
            let hint = suggest(&word.value, WhenAway::ALL.map(WhenAway::as_str));
            report.error(&word.at, format!("`when_away` is \"{}\"", word.value), hint);
        }
        found
    });
    if shared && away.is_none() {
        section.error("nobody says what holds while Redis is away", "write when_away = \"local\", \"open\" or \"closed\"");
    }
    if let Some(away) = away.as_ref().filter(|_| !shared) {
        report.error(&away.at, "`when_away` is for limits that gateways share", "write shared = true, or remove it");
    }
    let headers = section.boolean("headers").is_none_or(|headers| headers.value);
    if quotas.is_empty() {
        return None;
    }
    let shared = if shared { chosen } else { None };
    Some(RateLimit { scope: String::new(), quotas, by, shared, headers })
}

pub(super) fn request_size(section: &mut Fields<'_>) -> Option<RequestSize> {
    section.require("max");
    section.size("max").map(|max| RequestSize { max: max.value })
}

/// `60/m`; at most a million in a second.
fn quota(text: &str) -> Option<Quota> {
    let (count, unit) = text.split_once('/')?;
    let count: u32 = count.trim().parse().ok().filter(|count| *count > 0)?;
    let seconds: u64 = match unit.trim() {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    let fits = u64::from(count) <= seconds * 1_000_000;
    fits.then(|| Quota { count, per: Duration::from_secs(seconds), burst: count })
}

fn unit(word: &str) -> Option<By> {
    match word.split_once(':') {
        None if word == "user" => Some(By::User),
        None if word == "address" => Some(By::Address),
        None if word == "everybody" => Some(By::Everybody),
        Some(("cookie", name)) if is_token(name) => Some(By::Cookie(name.to_owned())),
        Some(("header", name)) if is_token(name) => Some(By::Header(name.to_ascii_lowercase())),
        _ => None,
    }
}
