//! `flags.toml`: feature flags. What flags mean for each other stands in `lint`.

mod lint;
mod variants;

use std::collections::BTreeMap;

use super::fields::{Fields, integer};
use super::shape::{Bond, Key, Kind, Literal, NAME, Names, STRINGS, Section, TOKEN};
use super::source::{Located, Place};
use super::words::{is_name, is_token, suggest};
use crate::Share;
use crate::flag::{Flag, OFF, ON, Rule, Serve, Split};

pub(super) use lint::lint;

pub(super) const FILE: Section = Section::new("the file", &[Key::new("flag", Kind::Table(&BY_NAME), "Feature flags, by name.")]);

const BY_NAME: Section = Section::map("[flag.NAME]", Names::Like(NAME), Kind::Table(&FLAG));

const FLAG: Section = Section::new(
    "[flag.NAME]",
    &[
        Key::new("description", Kind::Text, "One line for people."),
        Key::new("killed", Kind::Boolean, "Off for everybody, whatever else is said.").unset(Literal::Boolean(false)),
        Key::new("variants", Kind::Table(&variants::VARIANTS), "Values by name, all of one kind; without it, the flag is on or off."),
        Key::new("default", VARIANT, "Where nothing else speaks: true, false or a variant.").unset(Literal::Boolean(false)),
        Key::new("off", VARIANT, "When it is killed, or lacks what it requires."),
        Key::new("users_on", Kind::Users, "Users for whom it is on."),
        Key::new("users_off", Kind::Users, "Users for whom it is off."),
        Key::new(
            "headers_on",
            Kind::Table(&Section::map("headers_on = { x-name = \"value\" }", Names::Like(TOKEN), Kind::Text)),
            "Headers that turn it on.",
        ),
        Key::new(
            "cookies_on",
            Kind::Table(&Section::map("cookies_on = { name = \"value\" }", Names::Like(TOKEN), Kind::Text)),
            "Cookies that turn it on.",
        ),
        Key::new("percentage", Kind::Share, "The share of callers for whom it is on."),
        Key::new("rule", Kind::Tables(&RULE), "Who gets what, in order."),
        Key::new("split", Kind::Table(&variants::SPLIT), "Shares of those whom no rule speaks of."),
        Key::new("requires", Kind::Either(&[STRINGS, Kind::Table(&REQUIRES)]), "Flags that must be on, or have a variant."),
        Key::new("expires", Kind::Like("^[0-9]{4}-[0-9]{2}-[0-9]{2}$"), "From this day on, somebody should look at it."),
        Key::new("salt", Kind::Text, "Of its buckets; its name unless set."),
    ],
)
.about("On or off, or one of several variants.")
.bound(&[
    Bond::Json(
        r#"{
            "if": { "required": ["variants"] },
            "then": { "required": ["default"], "properties": { "default": { "type": "string" } } },
            "else": { "properties": { "default": { "type": "boolean" }, "off": { "type": "boolean" } } }
        }"#,
    ),
    Bond::Apart(&["percentage", "split"]),
    Bond::Apart(&["variants", "users_on"]),
    Bond::Apart(&["variants", "users_off"]),
    Bond::Apart(&["variants", "headers_on"]),
    Bond::Apart(&["variants", "cookies_on"]),
    Bond::Apart(&["variants", "percentage"]),
]);

/// What a flag may be: a variant, or on or off.
const VARIANT: Kind = Kind::Either(&[Kind::Boolean, Kind::Text]);

const RULE: Section = Section::new(
    "[[flag.NAME.rule]]",
    &[
        Key::new("users", Kind::Users, "These users, by id."),
        Key::new(
            "headers",
            Kind::Table(&Section::map("headers = { x-name = [\"value\"] }", Names::Like(TOKEN), STRINGS)),
            "Who sends one of these values, of each.",
        ),
        Key::new(
            "cookies",
            Kind::Table(&Section::map("cookies = { name = [\"value\"] }", Names::Like(TOKEN), STRINGS)),
            "Who has one of these values, of each.",
        ),
        Key::new(
            "attributes",
            Kind::Table(&Section::map("attributes = { name = [\"value\"] }", Names::Like(TOKEN), STRINGS)),
            "Users of whom one of these values is known, of each.",
        ),
        Key::new("serve", VARIANT, "What they get; with `split`, what is left for the others.").must("\"NAME\""),
        Key::new("split", Kind::Table(&variants::SPLIT), "Shares of them."),
    ],
)
.bound(&[Bond::Any(&["users", "headers", "cookies", "attributes"])]);

const REQUIRES: Section = Section::map("requires = { name = \"variant\" }", Names::Any, Kind::Text);

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
    let Some(section) = file.table("flag") else {
        file.finish();
        return Vec::new();
    };
    let mut flags = Vec::new();
    for (name, item) in section.entries() {
        if !is_name(name.value) {
            let hint = "lower-case letters, digits, `-` and `_`, beginning with a letter, at most 40";
            section.text.report.error(&name.at, format!("`{}` cannot name a flag", name.value), hint);
        }
        if let Some(section) = section.as_table(name.value, section.named(), item) {
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
    let headers_on = values(&mut section, "headers_on");
    let cookies_on = values(&mut section, "cookies_on");
    let percentage = section.share("percentage").map(|share| share.value);
    if given && let Some(key) = ["users_on", "users_off", "headers_on", "cookies_on", "percentage"].iter().find(|key| section.has(key)) {
        section.error(format!("`{key}` is for flags that are on or off"), "write a rule, or `split`");
    }
    if let Some(both) = users_on.iter().find(|user| users_off.contains(user)) {
        section.error(format!("the flag is both on and off for user `{both}`"), "remove the user from one of the lists");
    }
    let mut rules = simple(users_off, users_on, headers_on, cookies_on);
    for rule in section.tables("rule") {
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
    let headers = lists(&mut section, "headers");
    let cookies = lists(&mut section, "cookies");
    let attributes = lists(&mut section, "attributes");
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
    let Some(table) = section.table("requires") else { return (Vec::new(), BTreeMap::new()) };
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

fn values(section: &mut Fields<'_>, key: &'static str) -> BTreeMap<String, String> {
    let lists = lists(section, key);
    lists.into_iter().filter_map(|(name, values)| Some((name, values.into_iter().next()?))).collect()
}

/// Names, each with a value or a list of values.
fn lists(section: &mut Fields<'_>, key: &'static str) -> BTreeMap<String, Vec<String>> {
    let Some(table) = section.table(key) else { return BTreeMap::new() };
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
