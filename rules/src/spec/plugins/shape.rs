//! Plugins that change requests and answers: `redirect`, `version`, `rewrite`, `request_headers`, `response_headers`,
//! `security_headers`, `compression`.

use std::collections::BTreeMap;

use super::super::fields::Fields;
use super::super::routes::{SIDES, side};
use super::super::shape::{Bond, If, Key, Kind, Literal, Names, STRINGS, Section};
use super::super::source::{Located, Place};
use super::super::words::{is_token, suggest};
use super::FLAG;
use crate::plugin::compression::Coding;
use crate::plugin::{
    Compression, HeaderChange, HeaderChanges, Hsts, QueryChanges, Redirect, Rewrite, SecurityHeaders, Version, VersionFrom, is_changeable,
};

/// Smaller answers gain nothing.
const LEAST_PACKED: u64 = 1024;
/// What is packed unless the file says.
const PACKED: [&str; 8] = [
    "text/*",
    "application/json",
    "application/javascript",
    "application/xml",
    "application/manifest+json",
    "application/ld+json",
    "application/problem+json",
    "image/svg+xml",
];

pub(super) const REDIRECT: Section = Section::new(
    "a plugin `redirect`",
    &[
        FLAG,
        Key::new("to", Kind::Like("^(/(?!/)|https?://)"), "With the path's names in braces."),
        Key::new("https", Kind::Boolean, "The same by https."),
        Key::new("status", Kind::Status(&[301, 302, 303, 307, 308]), "By which browsers are told.").unset(Literal::Natural(308)),
        Key::new("keep_query", Kind::Boolean, "The query goes along.").unset(Literal::Boolean(true)),
    ],
)
.bound(&[Bond::One(&["to", "https"])]);

pub(super) fn redirect(section: &mut Fields<'_>) -> Option<Redirect> {
    let report = section.text.report;
    let to = section.string("to");
    let https = section.boolean("https").is_some_and(|https| https.value);
    let status = section.natural("status");
    let keep_query = section.boolean("keep_query").is_none_or(|keep| keep.value);
    if to.is_some() == https {
        section.error("it needs one of `to` and `https`", "write to = \"/new/{rest}\", or https = true");
    }
    if let Some(to) = to.as_ref().filter(|to| {
        let web = to.value.starts_with("https://") || to.value.starts_with("http://");
        let path = to.value.starts_with('/') && !to.value.starts_with("//");
        !(web || path) || to.value.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\')
    }) {
        report.error(&to.at, format!("`{}` is not an address", to.value), "a path like \"/new/{rest}\", or with its scheme and name");
    }
    let known = |status: &Located<u64>| matches!(status.value, 301 | 302 | 303 | 307 | 308);
    if let Some(status) = status.as_ref().filter(|status| !known(status)) {
        report.error(&status.at, format!("{} is no redirect", status.value), "there is 301, 302, 303, 307 and 308");
    }
    let status = status.filter(known).and_then(|status| u16::try_from(status.value).ok()).unwrap_or(308);
    Some(Redirect { to: to.map(|to| to.value), status, keep_query })
}

pub(super) const VERSION: Section = Section::new(
    "a plugin `version`",
    &[
        FLAG,
        Key::new("from", Kind::Strings(&Kind::Like("^(path|header|query):.")), "The first that a request has.")
            .must("[\"path:version\", \"header:x-api-version\"]"),
        Key::new("serves", STRINGS, "Those that are served.").must("[\"1\", \"2\"]"),
        Key::new("gone", STRINGS, "Those that were: 410."),
        Key::new("default", Kind::Text, "Of whoever names none."),
        Key::new("header", Kind::Text, "By which the server behind is told."),
        Key::new("deprecated", Kind::Table(&DEPRECATED), "Since when."),
        Key::new("sunset", Kind::Table(&SUNSET), "Until when."),
        Key::new("link", Kind::Text, "What to read about it."),
    ],
);

const DEPRECATED: Section = Section::map("deprecated = { 1 = \"2026-06-01\" }", Names::Any, Kind::Text);
const SUNSET: Section = Section::map("sunset = { 1 = \"2027-01-31\" }", Names::Any, Kind::Text);

pub(super) fn version(section: &mut Fields<'_>) -> Option<Version> {
    section.require("from");
    section.require("serves");
    let report = section.text.report;
    let mut from = Vec::new();
    for word in section.strings("from") {
        match word.value.split_once(':') {
            Some(("path", name)) if !name.is_empty() => from.push(VersionFrom::Path(name.to_owned())),
            Some(("header", name)) if is_token(name) => from.push(VersionFrom::Header(name.to_ascii_lowercase())),
            Some(("query", name)) if !name.is_empty() => from.push(VersionFrom::Query(name.to_owned())),
            _ => {
                let hint = suggest(&word.value, ["path:NAME", "header:NAME", "query:NAME"]);
                report.error(&word.at, format!("no version stands in `{}`", word.value), hint);
            }
        }
    }
    let serves: Vec<String> = section.strings("serves").into_iter().map(|text| text.value).collect();
    let gone = section.strings("gone");
    for text in gone.iter().filter(|text| serves.contains(&text.value)) {
        report.error(&text.at, format!("version {} is both served and gone", text.value), "remove it from one of the lists");
    }
    let default = section.string("default");
    let served = |section: &Fields<'_>, text: &str, at: &Place| {
        if !serves.iter().any(|served| served == text) {
            section.text.report.error(at, format!("version {text} is not served"), suggest(text, serves.iter().map(String::as_str)));
        }
    };
    if let Some(default) = &default {
        served(section, &default.value, &default.at);
    }
    let header = section.string("header").filter(|name| changeable(section, name));
    let dates = |section: &mut Fields<'_>, key: &'static str| {
        let mut dates: BTreeMap<String, jiff::civil::Date> = BTreeMap::new();
        let Some(table) = section.table(key) else { return dates };
        for (name, item) in table.entries() {
            served(&table, name.value, &name.at);
            let Some(text) = table.as_string(name.value, item) else { continue };
            match text.value.parse() {
                Ok(date) => drop(dates.insert(name.value.to_owned(), date)),
                Err(_) => table.text.report.error(&text.at, format!("`{}` is not a date", text.value), "write it like \"2027-01-31\""),
            }
        }
        dates
    };
    let deprecated = dates(section, "deprecated");
    let sunset = dates(section, "sunset");
    let link = section.string("link").map(|link| link.value);
    let midnight = |date: jiff::civil::Date| date.to_zoned(jiff::tz::TimeZone::UTC).ok();
    Some(Version {
        from,
        default: default.map(|default| default.value),
        serves,
        gone: gone.into_iter().map(|text| text.value).collect(),
        header: header.map(|name| name.value.to_ascii_lowercase()),
        deprecated: deprecated.into_iter().filter_map(|(name, date)| Some((name, midnight(date)?.timestamp().as_second()))).collect(),
        sunset: sunset.into_iter().filter_map(|(name, date)| Some((name, http_date(&midnight(date)?)))).collect(),
        link,
    })
}

pub(super) const REWRITE: Section = Section::new(
    "a plugin `rewrite`",
    &[
        FLAG,
        Key::new("side", Kind::Word(&SIDES), "Only for this side."),
        Key::new("path", Kind::Like("^/"), "The whole path, with the route's names in braces."),
        Key::new("strip_prefix", Kind::Like("^/.*[^/]$"), "Taken off the front."),
        Key::new("add_prefix", Kind::Like("^/.*[^/]$"), "Put in front."),
        Key::new("query", Kind::Table(&QUERY), "What is done to parameters."),
    ],
)
.bound(&[
    Bond::Any(&["path", "strip_prefix", "add_prefix", "query"]),
    Bond::Apart(&["path", "strip_prefix"]),
    Bond::Apart(&["path", "add_prefix"]),
]);

const QUERY: Section = Section::new(
    "query = { set = { name = \"value\" } }",
    &[
        Key::new("remove", STRINGS, "Taken out."),
        Key::new("rename", Kind::Table(&Section::map("rename = { old = \"new\" }", Names::Any, Kind::Text)), "Given another name."),
        Key::new("set", Kind::Table(&Section::map("set = { name = \"value\" }", Names::Any, Kind::Text)), "This value and no other."),
        Key::new(
            "default",
            Kind::Table(&Section::map("default = { name = \"value\" }", Names::Any, Kind::Text)),
            "This value unless there is one.",
        ),
    ],
);

pub(super) fn rewrite(section: &mut Fields<'_>) -> Option<Rewrite> {
    let report = section.text.report;
    let only = section.string("side").and_then(|word| side(section, "side", &word));
    let mut path = |key: &'static str| {
        let path = section.string(key)?;
        if !path.value.starts_with('/') || path.value.contains(['?', '#', ' ']) {
            report.error(&path.at, format!("`{}` is not a path", path.value), "it begins with `/`; the query has changes of its own");
        }
        Some(path)
    };
    let (whole, strip_prefix, add_prefix) = (path("path"), path("strip_prefix"), path("add_prefix"));
    for prefix in [&strip_prefix, &add_prefix].into_iter().flatten() {
        if prefix.value.ends_with('/') || prefix.value.contains(['{', '}']) {
            report.error(&prefix.at, format!("`{}` is no prefix of whole segments", prefix.value), "leave the last slash and braces out");
        }
        if whole.is_some() {
            report.error(&prefix.at, "`path` is the whole path already", "remove one of them");
        }
    }
    let query = section.table("query").map_or_else(QueryChanges::default, query);
    if whole.is_none() && strip_prefix.is_none() && add_prefix.is_none() && query == QueryChanges::default() {
        section.error("it changes nothing", "write `path`, `strip_prefix`, `add_prefix` or `query`");
    }
    let text = |path: Option<Located<String>>| path.map(|path| path.value);
    Some(Rewrite { side: only, path: text(whole), strip_prefix: text(strip_prefix), add_prefix: text(add_prefix), query })
}

fn query(mut section: Fields<'_>) -> QueryChanges {
    let remove = section.strings("remove").into_iter().map(|name| name.value).collect();
    let [rename, set, default] = ["rename", "set", "default"]
        .map(|key| pairs(&mut section, key).into_iter().map(|(name, value)| (name.value, value.value)).collect());
    section.finish();
    QueryChanges { remove, rename, set, default }
}

pub(super) const REQUEST_HEADERS: Section = Section::new("a plugin `request_headers`", &CHANGES).bound(&[SOMETHING]);
pub(super) const RESPONSE_HEADERS: Section = Section::new("a plugin `response_headers`", &CHANGES).bound(&[SOMETHING]);
const CHANGES: [Key; 6] = [
    FLAG,
    Key::new("remove", STRINGS, "Taken out."),
    Key::new("rename", Kind::Table(&Section::map("rename = { x-old = \"x-new\" }", Names::Any, Kind::Text)), "Given another name."),
    Key::new("set", Kind::Table(&Section::map("set = { x-name = \"value\" }", Names::Any, Kind::Text)), "This value and no other."),
    Key::new("add", Kind::Table(&Section::map("add = { x-name = \"value\" }", Names::Any, Kind::Text)), "One more line."),
    Key::new(
        "default",
        Kind::Table(&Section::map("default = { x-name = \"value\" }", Names::Any, Kind::Text)),
        "This value unless there is one.",
    ),
];
const SOMETHING: Bond = Bond::Any(&["remove", "rename", "set", "add", "default"]);

/// What becomes of a name and a value.
type Change = fn(String, String) -> HeaderChange;

pub(super) fn headers(section: &mut Fields<'_>) -> Option<HeaderChanges> {
    let mut changes = Vec::new();
    for name in section.strings("remove").into_iter().filter(|name| changeable(section, name)) {
        changes.push(HeaderChange::Remove(name.value.to_ascii_lowercase()));
    }
    for (name, other) in pairs(section, "rename") {
        if changeable(section, &name) && changeable(section, &other) {
            changes.push(HeaderChange::Rename(name.value.to_ascii_lowercase(), other.value.to_ascii_lowercase()));
        }
    }
    let kinds: [(&'static str, Change); 3] = [("set", HeaderChange::Set), ("add", HeaderChange::Add), ("default", HeaderChange::Default)];
    for (key, change) in kinds {
        for (name, value) in pairs(section, key) {
            if changeable(section, &name) && is_value(section, &value) {
                changes.push(change(name.value.to_ascii_lowercase(), value.value));
            }
        }
    }
    if changes.is_empty() && !["remove", "rename", "set", "add", "default"].iter().any(|key| section.has(key)) {
        section.error("it changes nothing", "write `remove`, `rename`, `set`, `add` or `default`");
    }
    Some(HeaderChanges { changes })
}

pub(super) const SECURITY_HEADERS: Section = Section::new(
    "a plugin `security_headers`",
    &[
        FLAG,
        Key::new("hsts", Kind::Duration, "Browsers use https only, for so long."),
        Key::new("hsts_subdomains", Kind::Boolean, "All names below too.").unset(Literal::Boolean(false)),
        Key::new("hsts_preload", Kind::Boolean, "For the browsers' own lists.").unset(Literal::Boolean(false)),
        Key::new("content_type_options", Kind::Boolean, "Says `nosniff`.").unset(Literal::Boolean(true)),
        Key::new("frame_options", Kind::Word(&["DENY", "SAMEORIGIN"]), "Who may show it in a frame."),
        Key::new("referrer_policy", Kind::Text, "What other sites are told of where a visitor comes from."),
        Key::new("content_security_policy", Kind::Text, "What a page may load and run."),
        Key::new("content_security_policy_report_only", Kind::Text, "The same, told and not enforced."),
        Key::new("permissions_policy", Kind::Text, "Which abilities of a browser a page may use."),
        Key::new("cross_origin_opener_policy", Kind::Text, "Which pages share a window's group with it."),
        Key::new("cross_origin_resource_policy", Kind::Text, "Which sites may load it."),
        Key::new("replace", Kind::Boolean, "They win over what the server behind says.").unset(Literal::Boolean(false)),
    ],
)
.bound(&[Bond::Needs(If::Given("hsts_subdomains"), &[If::Given("hsts")]), Bond::Needs(If::Given("hsts_preload"), &[If::Given("hsts")])]);

pub(super) fn security_headers(section: &mut Fields<'_>) -> Option<SecurityHeaders> {
    let report = section.text.report;
    let hsts = section.duration("hsts");
    let (subdomains, preload) = (section.boolean("hsts_subdomains"), section.boolean("hsts_preload"));
    for more in [&subdomains, &preload].into_iter().flatten().filter(|_| hsts.is_none()) {
        report.error(&more.at, "there is no `hsts` to add it to", "write hsts = \"365d\", or remove it");
    }
    let asked = |word: &Option<Located<bool>>| word.as_ref().is_some_and(|word| word.value);
    let hsts = hsts.map(|age| Hsts { max_age: age.value, subdomains: asked(&subdomains), preload: asked(&preload) });
    let nosniff = section.boolean("content_type_options").is_none_or(|word| word.value);
    let mut headers = Vec::new();
    if nosniff {
        headers.push(("x-content-type-options", "nosniff".to_owned()));
    }
    if let Some(frame) = section.string("frame_options") {
        if !matches!(frame.value.as_str(), "DENY" | "SAMEORIGIN") {
            report.error(&frame.at, format!("`{}` is not understood by browsers", frame.value), "there is `DENY` and `SAMEORIGIN`");
        }
        headers.push(("x-frame-options", frame.value));
    }
    if let Some(policy) = section.string("referrer_policy") {
        if policy.value == "no-referrer" {
            // Browsers then send `Origin: null`, which Django's and Flask-WTF's checks refuse.
            report.warn(&policy.at, "with `no-referrer`, forms over https fail Django's CSRF check", "`same-origin` is strict, and works");
        }
        headers.push(("referrer-policy", policy.value));
    }
    let named: [(&'static str, &'static str); 5] = [
        ("content_security_policy", "content-security-policy"),
        ("content_security_policy_report_only", "content-security-policy-report-only"),
        ("permissions_policy", "permissions-policy"),
        ("cross_origin_opener_policy", "cross-origin-opener-policy"),
        ("cross_origin_resource_policy", "cross-origin-resource-policy"),
    ];
    for (key, name) in named {
        if let Some(value) = section.string(key).filter(|value| is_value(section, value)) {
            headers.push((name, value.value));
        }
    }
    let replace = section.boolean("replace").is_some_and(|replace| replace.value);
    Some(SecurityHeaders { hsts, headers, replace })
}

pub(super) const COMPRESSION: Section = Section::new(
    "a plugin `compression`",
    &[
        FLAG,
        Key::new("codings", Kind::Strings(&Kind::Word(&CODINGS)), "Best first.").unset(Literal::Texts(&CODINGS)),
        Key::new("min", Kind::Size, "Smaller bodies are left alone.").unset(Literal::Size(LEAST_PACKED)),
        Key::new("types", STRINGS, "Media types, text/* for all of a kind.").unset(Literal::Texts(&PACKED)),
    ],
);

const CODINGS: [&str; 3] = [Coding::Brotli.as_str(), Coding::Zstd.as_str(), Coding::Gzip.as_str()];

pub(super) fn compression(section: &mut Fields<'_>) -> Option<Compression> {
    let report = section.text.report;
    let mut codings = Vec::new();
    for word in section.strings("codings") {
        match Coding::ALL.into_iter().find(|coding| coding.as_str() == word.value) {
            Some(coding) => codings.push(coding),
            None => {
                report.error(&word.at, format!("`{}` is not a coding", word.value), suggest(&word.value, Coding::ALL.map(Coding::as_str)))
            }
        }
    }
    if codings.is_empty() {
        codings = Coding::ALL.to_vec();
    }
    let min = section.size("min").map_or(LEAST_PACKED, |min| min.value);
    let types: Vec<String> = section.strings("types").into_iter().map(|kind| kind.value.to_ascii_lowercase()).collect();
    let types = if types.is_empty() { PACKED.map(str::to_owned).to_vec() } else { types };
    Some(Compression { codings, min, types })
}

/// Names and values of a table of strings.
fn pairs(section: &mut Fields<'_>, key: &'static str) -> Vec<(Located<String>, Located<String>)> {
    let Some(table) = section.table(key) else { return Vec::new() };
    let entries = table.entries();
    let pair = |(name, item): (Located<&str>, _)| {
        Some((Located { value: name.value.to_owned(), at: name.at.clone() }, table.as_string(name.value, item)?))
    };
    entries.into_iter().filter_map(pair).collect()
}

fn changeable(section: &Fields<'_>, name: &Located<String>) -> bool {
    let report = section.text.report;
    let lower = name.value.to_ascii_lowercase();
    if !is_token(&name.value) {
        report.error(&name.at, format!("`{}` is not a header's name", name.value), "letters, digits and `-`, like `x-tenant`");
        return false;
    }
    if !is_changeable(&lower) {
        let hint = "how a message is framed, who sends it and where it comes from is the gateway's to say";
        report.error(&name.at, format!("`{}` is not for rules to change", name.value), hint);
        return false;
    }
    true
}

fn is_value(section: &Fields<'_>, value: &Located<String>) -> bool {
    let fine = value.value.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte));
    if !fine {
        section.text.report.error(
            &value.at,
            "a header's value is one line of plain characters",
            "leave line breaks and letters beyond ASCII out",
        );
    }
    fine
}

/// `Sun, 31 Jan 2027 00:00:00 GMT`
fn http_date(time: &jiff::Zoned) -> String {
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
