//! Messages of [`ficus_rules::wire`] as neighbouring releases have them: with fields that are not known yet, and without those that were
//! not known then.

use serde_json::{Value, json};

/// What release 1 sent, one of each: kept as it was, and never touched again before release 3.
const FIRST: &str = include_str!("release_1.json");

/// Objects whose members are names, not fields.
const MAPS: [&str; 6] = ["capabilities", "flags", "freshness", "changes", "events", "tables"];

/// A message of release 1, by its name.
pub(crate) fn first(message: &str) -> Value {
    let mut all: Value = serde_json::from_str(FIRST).expect("it is JSON");
    let one = all[message].take();
    assert!(one.is_object(), "release 1 has no {message}");
    one
}

/// The message as a later release may send it: with a field more in every object.
pub(crate) fn widened(message: &Value) -> Value {
    wide(message, false)
}

/// The message as a release sees it of which this is one: without the fields that this one has not.
pub(crate) fn narrowed(message: &Value, example: &Value) -> Value {
    narrow(message, example, false)
}

fn is_map(name: &str, value: &Value) -> bool {
    MAPS.contains(&name) && value.is_object()
}

fn wide(value: &Value, names: bool) -> Value {
    match value {
        Value::Object(members) => {
            let mut wider: serde_json::Map<_, _> =
                members.iter().map(|(name, value)| (name.clone(), wide(value, is_map(name, value)))).collect();
            if !names {
                wider.insert("of_a_later_release".into(), json!({ "much": ["more"] }));
            }
            wider.into()
        }
        Value::Array(items) => items.iter().map(|item| wide(item, false)).collect(),
        other => other.clone(),
    }
}

fn narrow(value: &Value, example: &Value, names: bool) -> Value {
    match (value, example) {
        (Value::Object(members), Value::Object(known)) => {
            let of = |name: &str| if names { known.values().next() } else { known.get(name) };
            let members = members.iter().filter_map(|(name, value)| Some((name.clone(), narrow(value, of(name)?, is_map(name, value)))));
            Value::Object(members.collect())
        }
        (Value::Array(items), Value::Array(known)) => {
            items.iter().map(|item| known.first().map_or_else(|| item.clone(), |known| narrow(item, known, false))).collect()
        }
        _ => value.clone(),
    }
}
