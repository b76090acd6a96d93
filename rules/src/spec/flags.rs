//! `flags.toml`: feature flags. What flags mean for each other stands in `lint`.

mod lint;
mod variants;

use std::collections::BTreeMap;

use super::fields::{Fields, integer};
use super::source::{Located, Place};
use super::words::{is_name, is_token, suggest};
use crate::Share;
use crate::flag::{Flag, OFF, ON, Rule, Serve, Split};

pub(super) use lint::lint;

/// One flag, with what is to be looked up in the others.
#[derive(Debug)]
pub(super) struct FlagDocument {
    pub(super) at: Place,
    pub(super) flag: Flag,
    /// The flags that it requires.
    pub(super) requires: Vec<Located<String>>,
    /// Where its last day stands.
    pub(super) expires: Option<Place>,
}

pub(super) fn read(mut file: Fields<'_>) -> Vec<FlagDocument> {
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
            flags.push(flag(name.value, name.at, section));
        }
    }
    file.finish();
    flags
}

fn flag(name: &str, at: Place, mut section: Fields<'_>) -> FlagDocument {
    let description = section.string("description").map_or_else(String::new, |text| text.value);
    let killed = section.boolean("killed").is_some_and(|killed| killed.value);
    let given = section.has("variants");
    let variants = variants::read(&mut section);
    let default = variants::one(&mut section, "default", &variants).unwrap_or_else(|| OFF.to_owned());
    if given && !section.has("default") {
        section.error("a flag with variants says which one is the default", "write default = \"NAME\"");
    }
    let off = variants::one(&mut section, "off", &variants).unwrap_or_else(|| if given { default.clone() } else { OFF.to_owned() });
    let users_on = users(&mut section, "users_on");
    let users_off = users(&mut section, "users_off");
    let headers_on = values(&mut section, "headers_on", "headers_on = { x-name = \"value\" }");
    let cookies_on = values(&mut section, "cookies_on", "cookies_on = { name = \"value\" }");
    let percentage = section.share("percentage").map(|share| share.value);
    if given && let Some(key) = ["users_on", "users_off", "headers_on", "cookies_on", "percentage"].iter().find(|key| section.has(key)) {
        section.error(format!("`{key}` is for flags that are on or off"), "write a rule, or `split`");
    }
    if let Some(both) = users_on.iter().find(|user| users_off.contains(user)) {
        section.error(format!("the flag is both on and off for user `{both}`"), "remove the user from one of the lists");
    }
    let mut rules = simple(users_off, users_on, headers_on, cookies_on);
    for rule in section.tables("rule", "[[flag.NAME.rule]]") {
        rules.extend(self::rule(rule, &variants));
    }
    let split = variants::split(&mut section, &variants, &default);
    if percentage.is_some() && split.is_some() {
        section.error("both `percentage` and `split` say who gets it", "remove one of them");
    }
    let percentage = percentage.map(|share| Split { shares: vec![(ON.to_owned(), share)], rest: OFF.to_owned() });
    let (requires, required) = requires(&mut section);
    let expires = section.string("expires");
    let last_day = expires.as_ref().and_then(|day| {
        let parsed = day.value.parse().ok();
        if parsed.is_none() {
            section.text.report.error(&day.at, format!("`{}` is not a day", day.value), "write it like \"2027-01-31\"");
        }
        parsed
    });
    let salt = section.string("salt").map_or_else(|| name.to_owned(), |salt| salt.value);
    section.finish();
    let flag = Flag {
        name: name.to_owned(),
        description,
        variants,
        killed,
        requires: required,
        rules,
        split: split.or(percentage),
        default,
        off,
        salt,
        expires: last_day,
    };
    FlagDocument { at, flag, requires, expires: expires.map(|day| day.at) }
}

/// The short forms of flags that are on or off, as rules.
fn simple(
    users_off: Vec<String>,
    users_on: Vec<String>,
    headers: BTreeMap<String, String>,
    cookies: BTreeMap<String, String>,
) -> Vec<Rule> {
    let on = || Serve::Variant(ON.to_owned());
    let users = |users: Vec<String>, serve: Serve| (!users.is_empty()).then(|| Rule { users, serve, ..Rule::default() });
    let mut rules: Vec<Rule> = users(users_off, Serve::default()).into_iter().chain(users(users_on, on())).collect();
    for (name, value) in headers {
        rules.push(Rule { headers: [(name.to_ascii_lowercase(), vec![value])].into(), serve: on(), ..Rule::default() });
    }
    for (name, value) in cookies {
        rules.push(Rule { cookies: [(name, vec![value])].into(), serve: on(), ..Rule::default() });
    }
    rules
}

fn rule(mut section: Fields<'_>, variants: &BTreeMap<String, serde_json::Value>) -> Option<Rule> {
    let users = users(&mut section, "users");
    let headers = lists(&mut section, "headers", "headers = { x-name = [\"value\"] }");
    let cookies = lists(&mut section, "cookies", "cookies = { name = [\"value\"] }");
    let attributes = lists(&mut section, "attributes", "attributes = { name = [\"value\"] }");
    if !["users", "headers", "cookies", "attributes"].iter().any(|key| section.has(key)) {
        section.error(
            "the rule speaks of everybody",
            "write `users`, `headers`, `cookies` or `attributes`; or the flag's own `default` and `split`",
        );
    }
    let serve = variants::one(&mut section, "serve", variants);
    let split = variants::split(&mut section, variants, serve.as_deref().unwrap_or_default());
    if !section.has("serve") {
        section.error("the rule does not say what they get", "write `serve`; with `split`, it is what is left for the others");
    }
    section.finish();
    let headers = headers.into_iter().map(|(name, values)| (name.to_ascii_lowercase(), values)).collect();
    let serve = split.map(Serve::Split).or(serve.map(Serve::Variant))?;
    Some(Rule { users, headers, cookies, attributes, serve })
}

/// `["a"]`, which must be on, or `{ a = "variant" }`.
fn requires(section: &mut Fields<'_>) -> (Vec<Located<String>>, BTreeMap<String, String>) {
    let is_table = matches!(section.item("requires").map(toml::Spanned::get_ref), Some(toml::de::DeValue::Table(_)));
    if !is_table {
        let names = section.strings("requires");
        let required = names.iter().map(|name| (name.value.clone(), ON.to_owned())).collect();
        return (names, required);
    }
    let Some(table) = section.table("requires", "requires = { name = \"variant\" }") else { return (Vec::new(), BTreeMap::new()) };
    let (mut names, mut required) = (Vec::new(), BTreeMap::new());
    for (name, item) in table.entries() {
        let Some(variant) = table.as_string(name.value, item) else { continue };
        required.insert(name.value.to_owned(), variant.value);
        names.push(Located { value: name.value.to_owned(), at: name.at });
    }
    (names, required)
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
    let lists = lists(section, key, what);
    lists.into_iter().filter_map(|(name, values)| Some((name, values.into_iter().next()?))).collect()
}

/// Names, each with a value or a list of values.
fn lists(section: &mut Fields<'_>, key: &'static str, what: &'static str) -> BTreeMap<String, Vec<String>> {
    let Some(table) = section.table(key, what) else { return BTreeMap::new() };
    let mut lists = BTreeMap::new();
    for (name, item) in table.entries() {
        if !is_token(name.value) {
            table.text.report.error(&name.at, format!("`{}` is not a name of a header or cookie", name.value), "letters, digits and `-`");
        }
        let values: Vec<String> = match item.get_ref() {
            toml::de::DeValue::Array(items) if !key.ends_with("_on") => {
                items.iter().filter_map(|item| table.as_string(name.value, item)).map(|value| value.value).collect()
            }
            _ => table.as_string(name.value, item).map(|value| value.value).into_iter().collect(),
        };
        lists.insert(name.value.to_owned(), values);
    }
    lists
}

/// The share that is left of the whole.
fn sum(shares: &[(String, Share)]) -> u64 {
    shares.iter().map(|(_, share)| u64::from(share.millionths())).sum()
}

/// The variant that was probably meant.
fn meant(typed: &str, variants: &BTreeMap<String, serde_json::Value>) -> String {
    suggest(typed, variants.keys().map(String::as_str))
}
