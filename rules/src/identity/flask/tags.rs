//! Flask's tagged JSON (flask/json/tag.py): one-key objects stand for what JSON has no word for. Here all of it becomes
//! plain JSON again; texts stay texts.

use serde_json::{Map, Value};

/// Undoes all tags. As deep as the reader of JSON lets it be: 128.
pub(super) fn undo(value: Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.into_iter().map(undo).collect()),
        Value::Object(entries) => object(entries),
        plain => plain,
    }
}

fn object(entries: Map<String, Value>) -> Value {
    let inner: Map<String, Value> = entries.into_iter().map(|(key, value)| (key, undo(value))).collect();
    let Some((key, value)) = inner.iter().next().filter(|_| inner.len() == 1) else { return Value::Object(inner) };
    match (key.as_str(), value) {
        (" t" | " m" | " b" | " d", value) => value.clone(),
        (" u", Value::String(hex)) => uuid::Uuid::parse_str(hex).map_or_else(|_| value.clone(), |uuid| uuid.to_string().into()),
        // A dictionary of one key that looks like a tag.
        (" di", Value::Object(escaped)) if escaped.len() == 1 => {
            let unescaped = escaped.iter().map(|(key, value)| (key.strip_suffix("__").unwrap_or(key).to_owned(), value.clone()));
            Value::Object(unescaped.collect())
        }
        _ => Value::Object(inner),
    }
}
