//! What `docs/schema/ficus.schema.json`, and with it the reference, tells of each key is what is done: the kinds that it takes,
//! whether it must be there, and what holds unless it is set. Both ways: what the parser takes and the schema does not say fails, too.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value as Json;
use toml::{Table, Value};

use super::Config;
use super::document::Document;

/// Every section that there is, once.
const WHOLE: &str = r#"
[gateway]
default = "name"
listen = ["127.0.0.1:8080"]
[[gateway.listener]]
address = "127.0.0.1:8443"
tls = true
clients = { ca_file = "certificate" }
[[gateway.certificate]]
certificate_file = "certificate"
key_file = "key"
[gateway.access_log]
to = "stdout"
[gateway.tracing]
endpoint = "http://127.0.0.1:4318"
[gateway.redis]
url = "redis://127.0.0.1:6379"
[gateway.limits]
[gateway.cache]
[orchestrator]
token_file = "secret"
[orchestrator.etcd]
endpoints = ["http://127.0.0.1:2379"]
[orchestrator.tls]
certificate_file = "certificate"
key_file = "key"
[orchestrator.token.name]
role = "viewer"
file = "other"
[orchestrator.notify.name]
url = "http://127.0.0.1:1/"
[agent]
[upstream.name]
dns = "monolith.internal:80"
database = "sqlite://monolith.sqlite3"
[upstream.name.probe]
[upstream.name.ejection]
[upstream.name.retry]
[upstream.name.breaker]
[upstream.name.bulkhead]
requests = 5
[upstream.name.tls]
[identity.django]
upstream = "name"
secret_key_file = "secret"
drf_tokens = true
[identity.flask]
secret_key_file = "secret"
sessions = "redis"
redis = "redis://127.0.0.1:6379"
[identity.flask.users]
upstream = "name"
table = "users"
[identity.jwt.name]
algorithms = ["HS256"]
secret_file = "secret"
[identity.ask]
upstream = "name"
path = "/who/"
key_file = "other"
[events.name]
url = "redis://127.0.0.1:6379"
"#;

/// What some keys are only looked at, or may only be left out, with: something in the whole, and what is there instead.
const OTHERWISE: [(&str, &str); 4] = [
    ("clients = { ca_file = \"certificate\" }\n", ""),
    ("sessions = \"redis\"\nredis = \"redis://127.0.0.1:6379\"\n", ""),
    ("[events.name]\nurl = \"redis:", "[events.name]\nurl = \"amqp:"),
    ("drf_tokens = true\n", ""),
];

/// Something else than a default, of whatever kind it is.
const SOMETHING_ELSE: [&str; 11] = ["4s", "7ms", "20s", "2m", "17d", "4KiB", "2MiB", "4KiB/s", "17%", "127.0.0.1:7999", "other"];

/// A key of a section: its place in the file, the schema's word on it, and whether it must be there.
struct Key<'a> {
    place: Vec<&'a str>,
    told: &'a Json,
    required: bool,
}

fn schema() -> Json {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schema/ficus.schema.json");
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

/// All keys below a node; `place` is where it stands.
fn keys<'a>(node: &'a Json, place: &[&'a str], found: &mut Vec<Key<'a>>) {
    for (name, told) in node["properties"].as_object().into_iter().flatten() {
        let place = [place, &[name.as_str()]].concat();
        let required = node["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name));
        keys(told, &place, found);
        found.push(Key { place, told, required });
    }
    if node["additionalProperties"]["properties"].is_object() {
        keys(&node["additionalProperties"], &[place, &["name"]].concat(), found);
    }
    if node["items"]["properties"].is_object() {
        keys(&node["items"], place, found);
    }
}

/// A file with one key as it is said, or without it.
fn with(whole: &str, place: &[&str], value: Option<&Value>) -> String {
    let mut file: Table = toml::from_str(whole).unwrap();
    let (key, sections) = place.split_last().unwrap();
    let mut section = &mut file;
    for name in sections {
        let inner = section.entry(*name).or_insert(Value::Table(Table::new()));
        section = match inner {
            Value::Array(list) => list[0].as_table_mut().unwrap(),
            inner => inner.as_table_mut().unwrap(),
        };
    }
    match value {
        Some(value) => section.insert((*key).to_owned(), value.clone()),
        None => section.remove(*key),
    };
    toml::to_string(&file).unwrap()
}

/// The kinds that a node of the schema takes.
fn kinds(whole: &Json, node: &Json, found: &mut BTreeSet<String>) {
    if let Some(name) = node["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()) {
        kinds(whole, &whole["definitions"][name], found);
    }
    for several in ["allOf", "oneOf", "anyOf"] {
        node[several].as_array().into_iter().flatten().for_each(|one| kinds(whole, one, found));
    }
    let said = node["type"].as_array().into_iter().flatten().chain(Some(&node["type"])).filter_map(Json::as_str);
    for kind in said.chain(node["enum"].is_array().then_some("string")) {
        if kind == "array" {
            let mut items = BTreeSet::new();
            kinds(whole, &node["items"], &mut items);
            found.extend(items.into_iter().map(|item| format!("list of {item}")));
        } else {
            found.insert(kind.to_owned());
        }
    }
}

#[test]
fn each_key_takes_the_kinds_that_the_schema_says() {
    let (schema, mut all) = (schema(), Vec::new());
    keys(&schema, &[], &mut all);
    assert!(all.len() > 200, "only {} keys", all.len());
    let string = Value::from("x");
    let offered = [
        ("string", string.clone()),
        ("boolean", Value::from(true)),
        ("integer", Value::from(7)),
        ("number", Value::from(0.5)),
        ("object", Value::Table(Table::new())),
        ("list of string", Value::Array(vec![string])),
        ("list of integer", Value::Array(vec![Value::from(7)])),
        ("list of object", Value::Array(vec![Value::Table(Table::new())])),
    ];
    for key in &all {
        let mut said = BTreeSet::new();
        kinds(&schema, key.told, &mut said);
        let takes = |value: &Value| {
            let read = toml::from_str::<Document>(&with(WHOLE, &key.place, Some(value)));
            read.err().is_none_or(|error| !["invalid type", "did not match"].iter().any(|word| error.message().contains(word)))
        };
        // What is read into a section is read from a list of its values, too; nobody is told so.
        let meant = |kind: &str| !(said.contains("object") && kind.starts_with("list of "));
        let taken = offered.iter().filter(|(kind, value)| meant(kind) && takes(value)).map(|(kind, _)| (*kind).to_owned());
        assert_eq!(taken.collect::<BTreeSet<String>>(), said, "kinds that are taken, and those that the schema says, of {:?}", key.place);
    }
}

#[test]
fn what_must_be_there_is_what_the_schema_says() {
    let (schema, mut all) = (schema(), Vec::new());
    keys(&schema, &[], &mut all);
    let mut required = 0;
    for key in &all {
        let read = toml::from_str::<Document>(&with(WHOLE, &key.place, None));
        let missed = read.err().is_some_and(|error| error.message().contains("missing field"));
        assert_eq!(missed, key.required, "whether {:?} is missed, and whether the schema says that it must be there", key.place);
        required += usize::from(missed);
    }
    assert!(required > 15, "only {required} keys must be there");
}

#[test]
fn what_holds_unless_a_key_is_set_is_what_the_schema_says() {
    let (schema, mut all) = (schema(), Vec::new());
    keys(&schema, &[], &mut all);
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["monolith.internal".to_owned()]).unwrap();
    for (name, text) in [
        ("secret", "a secret\n".to_owned()),
        ("other", "another\n".to_owned()),
        ("certificate", made.cert.pem()),
        ("key", made.signing_key.serialize_pem()),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let file = folder.path().join("ficus.toml");
    // What the program makes of a file, in words. Of who calls it tells little, for there are keys in it: there, what was read.
    let made_of = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let config = Config::load(&file).map_err(|error| error.to_string())?;
        let tokens = config.identity.django.as_ref().map(|django| format!("{:?}", django.tokens));
        Ok((format!("{config:?} {tokens:?}"), unplaced(&format!("{:?}", toml::from_str::<Document>(text).unwrap().identity))))
    };
    let wholes: Vec<String> =
        std::iter::once(WHOLE.to_owned()).chain(OTHERWISE.map(|(there, instead)| WHOLE.replace(there, instead))).collect();
    for whole in &wholes {
        let made: Result<_, String> = made_of(whole);
        assert!(made.is_ok(), "{made:?}");
    }
    let mut shown = 0;
    for key in all.iter().filter(|key| key.told.get("default").is_some_and(|default| !default.is_object())) {
        let default = Value::try_from(&key.told["default"]).unwrap();
        let (mut matters, mut read) = (false, false);
        for whole in &wholes {
            if matters || read {
                break;
            }
            let (unset, set) = (made_of(&with(whole, &key.place, None)), made_of(&with(whole, &key.place, Some(&default))));
            // Where it may not be set, or must be, nothing can be said of it.
            let (Ok(unset), Ok(set)) = (unset, set) else { continue };
            assert_eq!(unset.0, set.0, "{:?} is not {default} unless it is set", key.place);
            for other in others(key.told, &default) {
                let Ok(other) = made_of(&with(whole, &key.place, Some(&other))) else { continue };
                matters |= other.0 != unset.0;
                read |= unset.1 == set.1 && other.1 != unset.1;
                if matters || read {
                    break;
                }
            }
        }
        assert!(matters || read, "nothing shows that {:?} is {default} unless it is set", key.place);
        shown += 1;
    }
    assert!(shown > 90, "only {shown} defaults");
    let says = |key: &&Key<'_>| key.told["description"].as_str().is_some_and(|words| words.contains("unless set"));
    let either = all.iter().filter(|key| !key.required && key.told["type"] == "boolean" && key.told.get("default").is_none());
    let untold: Vec<String> = either.filter(|key| !says(key)).map(|key| key.place.join(".")).collect();
    assert!(untold.is_empty(), "nobody says which way {untold:?} are unless they are set");
}

/// What was read, without where it stands.
fn unplaced(read: &str) -> String {
    let parts = read.split("span: ").enumerate();
    parts.map(|(at, part)| if at == 0 { part } else { part.split_once(", ").map_or(part, |(_, rest)| rest) }).collect()
}

/// What a key may be set to, and is not of itself.
fn others(told: &Json, default: &Value) -> Vec<Value> {
    let named = told["enum"].as_array().into_iter().flatten().filter_map(|one| one.as_str().map(Value::from));
    let others: Vec<Value> = match default {
        Value::Boolean(on) => vec![Value::from(!on)],
        Value::Integer(number) => vec![Value::from(number + 1)],
        Value::Array(_) => vec![Value::Array(vec![Value::from("other")]), Value::Array(vec![Value::from(504)])],
        _ => named.chain(SOMETHING_ELSE.map(Value::from)).collect(),
    };
    others.into_iter().filter(|other| other != default).collect()
}
