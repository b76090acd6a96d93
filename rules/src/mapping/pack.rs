//! Several columns of one side as one JSON document of the other: fields in, fields out. Numbers keep their digits; what
//! JSON has no type for is a string in its canonical form. Knows one document; which columns it is made of is the rules'
//! business.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::mapping::cast::{self, Why, bare};
use crate::mapping::{Kind, Value};

const NO_OBJECT: Why = "not a JSON object";
const OTHER_KEY: Why = "a JSON object with a key that no column takes";

/// One column as a field of a document.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field {
    pub(super) name: String,
    kind: Kind,
}

impl Field {
    /// A column of that kind; bytes have no place in a document.
    pub(super) fn of(name: &str, kind: &Kind) -> Option<Field> {
        (bare(kind) != Kind::Bytes).then(|| Field { name: name.to_owned(), kind: kind.clone() })
    }

    /// A value of the column as JSON.
    fn write(&self, value: &Value) -> Result<String, Why> {
        let value = cast::read(value, &self.kind)?;
        Ok(match (bare(&self.kind), value) {
            (_, Value::Null) => "null".to_owned(),
            (Kind::Bool, value) => (value == Value::Int(1)).to_string(),
            (Kind::Json, Value::Text(document)) => document,
            (_, Value::Int(number)) => number.to_string(),
            (_, Value::Real(number)) if number.is_finite() => format!("{number:?}"),
            (_, Value::Real(_)) => return Err("a number that JSON does not have"),
            (_, Value::Text(text)) => serde_json::Value::String(text).to_string(),
            (_, Value::Blob(_)) => return Err("bytes, which JSON does not have"),
        })
    }

    /// A piece of JSON as a value of the column.
    fn read(&self, json: &str) -> Result<Value, Why> {
        const OTHER: Why = "of another type in the document than its column";
        let kind = bare(&self.kind);
        let text = || serde_json::from_str::<String>(json).ok();
        let value = match (&kind, json) {
            (_, "null") => return Ok(Value::Null),
            (Kind::Json, document) => Value::Text(document.to_owned()),
            (Kind::Bool | Kind::Any, "true") => Value::Int(1),
            (Kind::Bool | Kind::Any, "false") => Value::Int(0),
            (Kind::Int | Kind::Interval | Kind::Any, number) if number.parse::<i64>().is_ok() => {
                Value::Int(number.parse().map_err(|_| OTHER)?)
            }
            (Kind::Real | Kind::Any, number) if number.parse::<f64>().is_ok() => Value::Real(number.parse().map_err(|_| OTHER)?),
            (Kind::Decimal, number) if !number.starts_with('"') => Value::Text(number.to_owned()),
            (Kind::Bool | Kind::Real, _) => return Err(OTHER),
            _ => Value::Text(text().ok_or(OTHER)?),
        };
        let value = cast::read(&value, &kind)?;
        if matches!(self.kind, Kind::Loose(_)) { cast::write(&value, &kind) } else { Ok(value) }
    }

    /// A value of the column in the one form that comes back from a document.
    pub(super) fn canonical(&self, value: &Value) -> Option<Value> {
        self.write(value).and_then(|json| self.read(&json)).ok()
    }
}

/// The document of these columns. `sparse`: a column that is NULL is no field of it.
pub(super) fn document<'v>(fields: impl Iterator<Item = (&'v Field, &'v Value)>, sparse: bool) -> Result<Value, (&'v str, Why)> {
    let mut written = Vec::new();
    for (field, value) in fields.filter(|(_, value)| !sparse || **value != Value::Null) {
        let json = field.write(value).map_err(|why| (field.name.as_str(), why))?;
        written.push(format!("{}: {json}", serde_json::Value::from(field.name.as_str())));
    }
    Ok(Value::Text(format!("{{{}}}", written.join(", "))))
}

/// The columns of a document, in the order of the fields. What it lacks is NULL, and so is all of no document.
pub(super) fn columns(document: &Value, fields: &[&Field]) -> Result<Vec<Value>, Why> {
    let text = match document {
        Value::Null => return Ok(vec![Value::Null; fields.len()]),
        Value::Text(text) => text,
        _ => return Err(NO_OBJECT),
    };
    let found: BTreeMap<String, &RawValue> = serde_json::from_str(text).map_err(|_| NO_OBJECT)?;
    if found.keys().any(|key| !fields.iter().any(|field| field.name == *key)) {
        return Err(OTHER_KEY);
    }
    fields.iter().map(|field| found.get(&field.name).map_or(Ok(Value::Null), |json| field.read(json.get()))).collect()
}

#[cfg(test)]
mod tests {
    use super::{Field, columns, document};
    use crate::mapping::{Kind, Value};
    use proptest::prelude::*;

    fn loose(kind: Kind) -> Kind {
        Kind::Loose(Box::new(kind))
    }

    fn text(text: impl Into<String>) -> Value {
        Value::Text(text.into())
    }

    fn field() -> impl Strategy<Value = (Kind, Value)> {
        prop_oneof![
            (0..2i64).prop_map(|n| (Kind::Bool, Value::Int(n))),
            any::<i64>().prop_map(|n| (Kind::Int, Value::Int(n))),
            any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(|n| (Kind::Real, Value::Real(n))),
            any::<i64>().prop_map(|n| (Kind::Decimal, text(n.to_string()))),
            (1..999i64).prop_map(|n| (loose(Kind::Decimal), Value::Real((n * 2 + 1) as f64 / 4.0))),
            ".{0,9}".prop_map(|s| (Kind::Text, text(s))),
            ".{0,9}".prop_map(|s| (Kind::Any, text(s))),
            any::<i64>().prop_map(|n| (Kind::Any, Value::Int(n))),
            Just((loose(Kind::Timestamp), text("2026-11-20 18:30:05.120000"))),
            Just((Kind::Date, text("2026-11-20"))),
            Just((Kind::Json, text("{\"deep\": [1, 100000000000000000000000000001]}"))),
            Just((Kind::Uuid, text("0f14d0ab-9605-4a62-a9e4-5ed26688389b"))),
            Just((Kind::Int, Value::Null)),
        ]
    }

    proptest! {
        #[test]
        fn columns_come_back_out_of_their_document(columns in proptest::collection::vec(field(), 1..5), sparse: bool) {
            let fields: Vec<Field> = columns.iter().zip(0..).map(|((kind, _), n)| Field::of(&format!("f{n}\""), kind).expect("fits")).collect();
            let packed = document(fields.iter().zip(columns.iter().map(|(_, value)| value)), sparse).expect("packs");
            let back = super::columns(&packed, &fields.iter().collect::<Vec<_>>());
            prop_assert_eq!(back, Ok(columns.into_iter().map(|(_, value)| value).collect()));
        }
    }

    #[test]
    fn a_document_of_something_else_is_refused() {
        let age = Field::of("age", &Kind::Int).expect("fits");
        for (json, why) in [
            ("{\"age\": \"secret\"}", "not a whole number"),
            ("{\"age\": [1]}", "another type"),
            ("{\"age\": 1, \"more\": 2}", "a key that no column takes"),
            ("[1]", "not a JSON object"),
            ("{", "not a JSON object"),
        ] {
            let refused = columns(&text(json), &[&age]).expect_err(json);
            assert!(refused.contains(why), "{json}: {refused}");
        }
        assert_eq!(columns(&text("{}"), &[&age]), Ok(vec![Value::Null]));
        assert_eq!(columns(&Value::Null, &[&age]), Ok(vec![Value::Null]));
        assert!(Field::of("photo", &loose(Kind::Bytes)).is_none());
        assert!(document([(&Field::of("x", &Kind::Real).expect("fits"), &Value::Real(f64::NAN))].into_iter(), false).is_err());
    }
}
