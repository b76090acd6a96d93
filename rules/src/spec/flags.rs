//! `flags.toml`: feature flags.

use std::collections::BTreeMap;

use super::fields::{Fields, integer};
use super::source::Located;
use super::words::{is_name, is_token};
use crate::flag::Flag;

pub(super) fn read(mut file: Fields<'_>) -> Vec<Located<Flag>> {
    let Some(section) = file.table("flag", "[flag.NAME]") else {
        file.finish();
        return Vec::new();
    };
    let mut flags = Vec::new();
    for (name, item) in section.entries() {
        if !is_name(name.value) {
            let hint = "lower-case letters, digits, `-` and `_`, beginning with a letter, at most 40";
            section.text.report.error(&name.at, format!("`{}` cannot name a flag", name.value), hint);
        }
        if let Some(section) = section.as_table(name.value, "[flag.NAME]", item) {
            flags.push(Located { value: flag(name.value, section), at: name.at });
        }
    }
    file.finish();
    flags
}

fn flag(name: &str, mut section: Fields<'_>) -> Flag {
    let description = section.string("description").map_or_else(String::new, |text| text.value);
    let killed = section.boolean("killed").is_some_and(|killed| killed.value);
    let default = section.boolean("default").is_some_and(|default| default.value);
    let users_on = users(&mut section, "users_on");
    let users_off = users(&mut section, "users_off");
    let headers_on = values(&mut section, "headers_on", "headers_on = { x-name = \"value\" }");
    let cookies_on = values(&mut section, "cookies_on", "cookies_on = { name = \"value\" }");
    let percentage = section.share("percentage").map(|share| share.value);
    let salt = section.string("salt").map_or_else(|| name.to_owned(), |salt| salt.value);
    if let Some(both) = users_on.iter().find(|user| users_off.contains(user)) {
        section.error(format!("the flag is both on and off for user `{both}`"), "remove the user from one of the lists");
    }
    section.finish();
    let headers_on = headers_on.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    Flag { name: name.to_owned(), description, killed, default, users_on, users_off, headers_on, cookies_on, percentage, salt }
}

/// User ids, as strings or integers.
fn users(section: &mut Fields<'_>, key: &'static str) -> Vec<String> {
    let Some(item) = section.item(key) else { return Vec::new() };
    let toml::de::DeValue::Array(items) = item.get_ref() else {
        section.wrong(key, item, "a list of user ids", "write it like [\"7\", \"42\"]");
        return Vec::new();
    };
    let id = |item| match integer(toml::Spanned::get_ref(item)) {
        Some(id) => Some(id.to_string()),
        None => section.as_string(key, item).map(|id| id.value),
    };
    items.iter().filter_map(id).collect()
}

fn values(section: &mut Fields<'_>, key: &'static str, what: &'static str) -> BTreeMap<String, String> {
    let Some(table) = section.table(key, what) else { return BTreeMap::new() };
    let mut values = BTreeMap::new();
    for (name, item) in table.entries() {
        if !is_token(name.value) {
            table.text.report.error(&name.at, format!("`{}` is not a name of a header or cookie", name.value), "letters, digits and `-`");
        }
        if let Some(value) = table.as_string(name.value, item) {
            values.insert(name.value.to_owned(), value.value);
        }
    }
    values
}
