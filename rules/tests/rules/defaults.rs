//! What the JSON Schemas of rule files, and with them the reference, say of a key that is not set, is what holds then: to set it so
//! changes nothing, to set it otherwise does.

use ficus_rules::spec::{Known, load, schema};
use ficus_rules::wire::RuleFile;
use serde_json::Value as Json;
use toml::{Table, Value};

/// Every section with a default in it, once.
const RULES: &str = r#"
[capability]
name = "users"
legacy = "monolith"
modern = "users-service"
[[route]]
path = "/users/{*rest}"
[plugins.maintenance]
[plugins.redirect]
to = "/"
[plugins.cors]
origins = "https://app.example.test"
[plugins.basic_auth]
users = { ops = "$2y$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW" }
[plugins.rate_limit]
quotas = "60/m"
[plugins.security_headers]
hsts = "1d"
[plugins.compression]
[[step]]
shadow = "100%"
[[step]]
cutover = true
[[step]]
soak = "7d"
[gate.errors]
max_increase = "1%"
windows = 5
[gate.latency_p50]
max_ratio = 1.5
windows = 5
[gate.latency_p90]
max_ratio = 1.5
windows = 5
[gate.latency_p95]
max_ratio = 1.5
windows = 5
[gate.latency_p99]
max_ratio = 1.5
windows = 5
[gate.shadow]
max_different = "1%"
[gate.parity]
[gate.quarantine]
[gate.name]
promql = "up"
max = 1
windows = 5
[return]
cool_down = "10m"
[cutover]
stray_writes = "report"
[[table]]
legacy = "accounts_customuser"
modern = "users"
"#;

const FLAGS: &str = "[flag.name]\ndescription = \"One\"\n";

/// What some keys are only looked at with: something in the whole, and what is there instead.
const OTHERWISE: [(&str, &str); 4] = [
    ("path = \"/users/{*rest}\"", "path = \"/users/{*rest}\"\npin = \"legacy\""),
    ("shadow = \"100%\"", "cutover = true"),
    ("[return]\ncool_down = \"10m\"\n", "[return]\n"),
    ("windows = 5\n", ""),
];

/// Something else than a default, of whatever kind it is.
const SOMETHING_ELSE: [&str; 6] = ["other", "null", "1970-01-01", "17s", "17KiB", "17%"];

/// The keys below a node that have a default, with their places; `place` is where it stands.
fn defaults<'a>(whole: &'a Json, node: &'a Json, place: &[&'a str], found: &mut Vec<(Vec<&'a str>, &'a Json)>) {
    if let Some(name) = node["allOf"][0]["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()) {
        // Of plugins, the file's.
        let node = &whole["definitions"][name];
        defaults(whole, node, if name == "plugins" { &["plugins"] } else { place }, found);
    }
    for form in node["oneOf"].as_array().into_iter().flatten().filter(|form| form["properties"].is_object()) {
        defaults(whole, form, place, found);
    }
    for (name, told) in node["properties"].as_object().into_iter().flatten() {
        let place = [place, &[name.as_str()]].concat();
        defaults(whole, told, &place, found);
        if told.get("default").is_some_and(|default| !default.is_object()) {
            found.push((place, told));
        }
    }
    if node["additionalProperties"]["properties"].is_object() {
        defaults(whole, &node["additionalProperties"], &[place, &["name"]].concat(), found);
    }
    if node["items"]["properties"].is_object() {
        defaults(whole, &node["items"], place, found);
    }
}

/// A file with one key as it is said, or without it; in the first of several sections, or where only the last may have it.
fn with(whole: &str, place: &[&str], value: Option<&Value>) -> String {
    let mut file: Table = toml::from_str(whole).expect("TOML");
    let (key, sections) = place.split_last().expect("a key");
    let mut section = &mut file;
    for name in sections {
        section = match section.get_mut(*name).unwrap_or_else(|| panic!("no section of {place:?}")) {
            Value::Array(list) => {
                let at = if *key == "compare" { list.len() - 1 } else { 0 };
                list[at].as_table_mut().expect("a section")
            }
            inner => inner.as_table_mut().expect("a section"),
        };
    }
    match value {
        Some(value) => section.insert((*key).to_owned(), value.clone()),
        None => section.remove(*key),
    };
    toml::to_string(&file).expect("TOML")
}

/// What is made of a file, in words, without the lines where it stands.
fn made_of(name: &str, text: &str) -> Option<String> {
    let mut files = vec![RuleFile { name: name.to_owned(), text: text.to_owned() }];
    if name == "flags.toml" {
        files.push(RuleFile { name: "users.toml".to_owned(), text: RULES.to_owned() });
    }
    let words = format!("{:?}", load(&files, &Known::default()).ok()?.rules);
    let parts = words.split(".toml:").enumerate();
    Some(parts.map(|(at, part)| if at == 0 { part } else { part.trim_start_matches(|c: char| c.is_ascii_digit()) }).collect())
}

fn others(told: &Json, default: &Value) -> Vec<Value> {
    let named = told["enum"].as_array().into_iter().flatten().filter_map(|one| Value::try_from(one).ok());
    let others: Vec<Value> = match default {
        Value::Boolean(on) => vec![Value::from(!on)],
        Value::Integer(number) => named.chain([Value::from(number + 1)]).collect(),
        Value::Array(_) => {
            ["HEAD", "address", "br"].map(Value::from).into_iter().chain([Value::from(504)]).map(|one| vec![one].into()).collect()
        }
        _ => named.chain(SOMETHING_ELSE.map(Value::from)).collect(),
    };
    others.into_iter().filter(|other| other != default).collect()
}

#[test]
fn what_holds_unless_a_key_is_set_is_what_the_schemas_say() {
    let mut shown = 0;
    for (schema, name, whole) in [(schema::of_rules(), "users.toml", RULES), (schema::of_flags(), "flags.toml", FLAGS)] {
        let mut wholes = vec![whole.to_owned()];
        wholes.extend(OTHERWISE.iter().filter(|(there, _)| whole.contains(there)).map(|(there, instead)| whole.replace(there, instead)));
        let (schema, mut all): (Json, _) = (serde_json::from_str(&schema).expect("JSON"), Vec::new());
        defaults(&schema, &schema, &[], &mut all);
        for (place, told) in all {
            let default = Value::try_from(&told["default"]).expect("a default");
            let mut matters = false;
            for whole in &wholes {
                let (unset, set) = (made_of(name, &with(whole, &place, None)), made_of(name, &with(whole, &place, Some(&default))));
                // Where it may not be set, or must be, nothing can be said of it.
                let (Some(unset), Some(set)) = (unset, set) else { continue };
                assert_eq!(unset, set, "{place:?} is not {default} unless it is set");
                let changes = |other: &Value| made_of(name, &with(whole, &place, Some(other))).is_some_and(|made| made != unset);
                matters = matters || others(told, &default).iter().any(changes);
            }
            assert!(matters, "nothing shows that {place:?} is {default} unless it is set");
            shown += 1;
        }
    }
    assert!(shown >= 55, "only {shown} defaults");
}
