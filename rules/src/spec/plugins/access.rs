//! Plugins that let in or keep out: `ip`, `maintenance`, `cors`, `basic_auth`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::fields::Fields;
use super::super::routes::method_name;
use super::super::words::is_token;
use crate::network::Network;
use crate::plugin::{BasicAuth, Cors, Ip, Maintenance, PasswordHash};

/// What `maintenance` says unless the file does.
const MESSAGE: &str = "this page is being worked on; please come back in a while";

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
    section.require("origins", "[\"https://app.example.test\"]");
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
    let default = || ["GET", "HEAD", "POST"].map(str::to_owned).to_vec();
    let methods: Vec<String> = section.strings("methods").into_iter().filter_map(|method| method_name(section, method)).collect();
    let methods = if section.has("methods") { methods } else { default() };
    let (headers, expose) = (tokens(section, "headers"), tokens(section, "expose"));
    let credentials = section.boolean("credentials");
    let max_age = section.duration("max_age").map_or(Duration::from_secs(600), |age| age.value);
    if let Some(credentials) = credentials.as_ref().filter(|credentials| credentials.value && origins.iter().any(|origin| origin == "*")) {
        report.error(&credentials.at, "every page of the internet could read what a logged-in user sees", "name the origins");
    }
    Some(Cors { origins, methods, headers, expose, credentials: credentials.is_some_and(|credentials| credentials.value), max_age })
}

pub(super) fn basic_auth(section: &mut Fields<'_>) -> Option<BasicAuth> {
    section.require("users", "{ ops = \"$2y$12$…\" }");
    let realm = section.string("realm");
    if let Some(realm) = realm.as_ref().filter(|realm| realm.value.contains(['"', '\\']) || realm.value.contains(|c: char| c.is_control()))
    {
        section.text.report.error(&realm.at, "a `realm` is a few plain words", "leave quotes and backslashes out");
    }
    let mut users = BTreeMap::new();
    if let Some(table) = section.table("users", "users = { name = \"hash\" }") {
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
    Some(BasicAuth { realm: realm.map_or_else(|| "internal".to_owned(), |realm| realm.value), users })
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
