//! Plugins that let in or keep out: `ip`, `maintenance`, `cors`, `basic_auth`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::fields::Fields;
use super::super::routes::{METHODS, method_name};
use super::super::shape::{Bond, Key, Kind, Literal, Names, STRINGS, Section};
use super::super::words::is_token;
use super::FLAG;
use crate::network::Network;
use crate::plugin::{BasicAuth, Cors, Ip, Maintenance, PasswordHash};

/// What `maintenance` says unless the file does.
const MESSAGE: &str = "this page is being worked on; please come back in a while";

pub(super) const IP: Section =
    Section::new("a plugin `ip`", &[FLAG, Key::new("allow", STRINGS, "Only these."), Key::new("deny", STRINGS, "But not these.")])
        .bound(&[Bond::Any(&["allow", "deny"])]);

pub(super) const MAINTENANCE: Section = Section::new(
    "a plugin `maintenance`",
    &[
        FLAG,
        Key::new("message", Kind::Text, "What it says.").unset(Literal::Text(MESSAGE)),
        Key::new("page", Kind::Text, "HTML, for whoever reads HTML."),
        Key::new("retry_after", Kind::Duration, "When trying again makes sense."),
        Key::new("writes_only", Kind::Boolean, "Reads are served nevertheless.").unset(Literal::Boolean(false)),
        Key::new("allow", STRINGS, "Addresses that are served nevertheless."),
    ],
);

pub(super) const CORS: Section = Section::new(
    "a plugin `cors`",
    &[
        FLAG,
        Key::new("origins", STRINGS, "https://app.example.test, https://*.example.test or *.").must("[\"https://app.example.test\"]"),
        Key::new("methods", Kind::Strings(&Kind::Word(&METHODS)), "What pages may ask for.").unset(Literal::Texts(&SIMPLE)),
        Key::new("headers", STRINGS, "What pages may send."),
        Key::new("expose", STRINGS, "What pages may read."),
        Key::new("credentials", Kind::Boolean, "Cookies go along.").unset(Literal::Boolean(false)),
        Key::new("max_age", Kind::Duration, "How long a preflight's answer may be kept.").unset(Literal::Duration(KEPT)),
    ],
);

/// What pages may ask for unless the file says.
const SIMPLE: [&str; 3] = ["GET", "HEAD", "POST"];
/// How long a preflight's answer may be kept unless the file says.
const KEPT: Duration = Duration::from_mins(10);

pub(super) const BASIC_AUTH: Section = Section::new(
    "a plugin `basic_auth`",
    &[
        FLAG,
        Key::new("realm", Kind::Text, "What the browser shows.").unset(Literal::Text(REALM)),
        Key::new("users", Kind::Table(&USERS), "The hash of each name's password.").must("{ ops = \"$2y$12$…\" }"),
    ],
);

const USERS: Section =
    Section::map("users = { name = \"hash\" }", Names::Like("^[^:]+$"), Kind::Like(r"^(\$2[abxy]\$|pbkdf2_sha256\$)")).least(1);

/// What a browser shows that asks for a password, unless the file says.
const REALM: &str = "internal";

pub(super) fn ip(section: &mut Fields<'_>) -> Option<Ip> {
    let (allow, deny) = (networks(section, "allow"), networks(section, "deny"));
    if !section.has("allow") && !section.has("deny") {
        section.error("it lets everybody in", "write `allow` or `deny`, like allow = [\"10.0.0.0/8\"]");
        return None;
    }
    Some(Ip { allow, deny })
}

pub(super) fn maintenance(section: &mut Fields<'_>) -> Option<Maintenance> {
    let message = section.string("message").map_or_else(|| MESSAGE.to_owned(), |message| message.value);
    let page = section.string("page").map(|page| page.value.into());
    let retry_after = section.duration("retry_after").map(|after| after.value);
    let writes_only = section.boolean("writes_only").is_some_and(|only| only.value);
    let allow = networks(section, "allow");
    Some(Maintenance { message, page, retry_after, writes_only, allow })
}

pub(super) fn cors(section: &mut Fields<'_>) -> Option<Cors> {
    section.require("origins");
    let report = section.text.report;
    let mut origins = Vec::new();
    for origin in section.strings("origins") {
        if !is_origin(&origin.value) {
            let hint =
                "scheme, name and perhaps port, as browsers send it: \"https://app.example.test\", \"https://*.example.test\" or \"*\"";
            report.error(&origin.at, format!("`{}` is not an origin", origin.value), hint);
        }
        origins.push(origin.value);
    }
    let default = || SIMPLE.map(str::to_owned).to_vec();
    let methods: Vec<String> = section.strings("methods").into_iter().filter_map(|method| method_name(section, method)).collect();
    let methods = if section.has("methods") { methods } else { default() };
    let (headers, expose) = (tokens(section, "headers"), tokens(section, "expose"));
    let credentials = section.boolean("credentials");
    let max_age = section.duration("max_age").map_or(KEPT, |age| age.value);
    if let Some(credentials) = credentials.as_ref().filter(|credentials| credentials.value && origins.iter().any(|origin| origin == "*")) {
        report.error(&credentials.at, "every page of the internet could read what a logged-in user sees", "name the origins");
    }
    Some(Cors { origins, methods, headers, expose, credentials: credentials.is_some_and(|credentials| credentials.value), max_age })
}

pub(super) fn basic_auth(section: &mut Fields<'_>) -> Option<BasicAuth> {
    section.require("users");
    let realm = section.string("realm");
    if let Some(realm) = realm.as_ref().filter(|realm| realm.value.contains(['"', '\\']) || realm.value.contains(|c: char| c.is_control()))
    {
        section.text.report.error(&realm.at, "a `realm` is a few plain words", "leave quotes and backslashes out");
    }
    let mut users = BTreeMap::new();
    if let Some(table) = section.table("users") {
        for (name, item) in table.entries() {
            let report = table.text.report;
            if name.value.contains(':') || name.value.is_empty() {
                report.error(&name.at, format!("`{}` cannot be a name here", name.value), "a name has no colon");
            }
            let Some(text) = table.as_string(name.value, item) else { continue };
            match PasswordHash::parse(&text.value) {
                Ok(hash) => drop(users.insert(name.value.to_owned(), hash)),
                // Never the text: it may be the password itself.
                Err(why) => {
                    report.error(&text.at, format!("what stands for `{}` is no hash: {why}", name.value), "make one with `htpasswd -nB`")
                }
            }
        }
    }
    if users.is_empty() {
        section.error("nobody is let in", "write users = { name = \"hash\" }; `htpasswd -nB NAME` makes one");
    }
    Some(BasicAuth { realm: realm.map_or_else(|| REALM.to_owned(), |realm| realm.value), users })
}

fn networks(section: &mut Fields<'_>, key: &'static str) -> Vec<Network> {
    let mut networks = Vec::new();
    for text in section.strings(key) {
        match text.value.parse() {
            Ok(network) => networks.push(network),
            Err(why) => section.text.report.error(&text.at, why, "an address, or a network with the length of its prefix"),
        }
    }
    networks
}

fn tokens(section: &mut Fields<'_>, key: &'static str) -> Vec<String> {
    let words = section.strings(key);
    for word in words.iter().filter(|word| !is_token(&word.value)) {
        section.text.report.error(&word.at, format!("`{}` is not a header's name", word.value), "letters, digits and `-`");
    }
    words.into_iter().map(|word| word.value.to_ascii_lowercase()).collect()
}

fn is_origin(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return text == "*" };
    let host = rest.strip_prefix("*.").unwrap_or(rest);
    let fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']');
    !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_lowercase()) && !host.is_empty() && host.bytes().all(fine)
}
