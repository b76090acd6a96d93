//! Values of columns whose type nobody enforces (SQLite): what an application may have written into a column that it
//! declared as some kind, and what it would write there itself.

use super::{Why, canonical_integer, clock, decimal, json, step, uuid};
use crate::mapping::{Kind, Value};

/// A value as one of that kind, in canonical form.
pub(in crate::mapping) fn read(value: &Value, kind: &Kind) -> Result<Value, Why> {
    const OTHER: Why = "of another type than its column is declared";
    let text = |found: Option<String>, why: Why| found.map(Value::Text).ok_or(why);
    match (kind, value) {
        (_, Value::Null) | (Kind::Any, _) => Ok(value.clone()),
        // What its column could not take back did not come from it.
        (Kind::Loose(kind), Value::Text(_)) if **kind == Kind::Decimal => {
            let number = read(value, kind)?;
            write(&number, kind).map(|_| number)
        }
        (Kind::Loose(kind), _) => read(value, kind),
        (Kind::Bool, Value::Text(word)) => match word.to_ascii_lowercase().as_str() {
            "1" | "t" | "true" => Ok(Value::Int(1)),
            "0" | "f" | "false" => Ok(Value::Int(0)),
            _ => Err("neither true nor false"),
        },
        (Kind::Bool, _) => match canonical_integer(value) {
            Some(number @ (0 | 1)) => Ok(Value::Int(number)),
            _ => Err("neither true nor false"),
        },
        (Kind::Interval, Value::Text(period)) if period.trim_start_matches('-').starts_with('P') => Ok(value.clone()),
        (Kind::Int | Kind::Interval, Value::Text(digits)) => step::integer(digits).ok_or("not a whole number"),
        (Kind::Int | Kind::Interval, _) => canonical_integer(value).map(Value::Int).ok_or("not a whole number"),
        (Kind::Real | Kind::Single, Value::Real(_)) => Ok(value.clone()),
        (Kind::Real | Kind::Single, Value::Int(number)) => step::real(*number).map(Value::Real),
        (Kind::Real | Kind::Single, Value::Text(number)) => {
            decimal::canonical(number).and_then(|number| decimal::to_real(&number)).map(Value::Real).ok_or("not a number")
        }
        (Kind::Decimal, Value::Int(number)) => Ok(Value::Text(number.to_string())),
        (Kind::Decimal, Value::Real(number)) => text(decimal::of_rounded_real(*number), "not a decimal number"),
        (Kind::Decimal, Value::Text(number)) => text(decimal::canonical(number), "not a decimal number"),
        (Kind::Text | Kind::Char32 | Kind::Native(_), Value::Text(_)) => Ok(value.clone()),
        (Kind::Text | Kind::Char32, Value::Int(number)) => Ok(Value::Text(number.to_string())),
        (Kind::Bytes, Value::Blob(_)) => Ok(value.clone()),
        (Kind::Bytes, Value::Text(text)) => Ok(Value::Blob(text.clone().into_bytes())),
        (Kind::Date, Value::Text(date)) => text(clock::date(date), "not a date"),
        (Kind::Time, Value::Text(time)) => text(clock::time(time), "not a time of day"),
        (Kind::Timestamp | Kind::Instant, Value::Text(time)) => clock::timestamp(time, None).map(Value::Text),
        (Kind::Uuid, Value::Text(id)) => text(uuid::canonical(id), uuid::NONE),
        (Kind::Uuid, Value::Blob(bytes)) => text(uuid::of_bytes(bytes), uuid::NONE),
        (Kind::Json, Value::Text(document)) if json::is_document(document) => Ok(value.clone()),
        (Kind::Json, Value::Text(_)) => Err("not a JSON document"),
        // A document that is a number may have been taken for one by the column's affinity.
        (Kind::Json, Value::Int(number)) => Ok(Value::Text(number.to_string())),
        (Kind::Json, Value::Real(number)) => text(decimal::of_real(*number), "not a JSON document"),
        (Kind::Enum(labels), Value::Text(label)) if labels.contains(label) => Ok(value.clone()),
        (Kind::Enum(_), _) => Err("not one of the labels"),
        _ => Err(OTHER),
    }
}

/// A canonical value of that kind as applications write it where nothing enforces the kind. [`Kind::Any`]: a decimal, where
/// no kind is declared.
pub(in crate::mapping) fn write(value: &Value, kind: &Kind) -> Result<Value, Why> {
    match (kind, value) {
        (Kind::Time | Kind::Timestamp | Kind::Instant, Value::Text(time)) => Ok(Value::Text(clock::padded(time))),
        (Kind::Decimal, Value::Text(number)) => number_of(number),
        // A column without a type keeps every digit of a text.
        (Kind::Any, Value::Text(number)) => Ok(number_of(number).unwrap_or_else(|_| value.clone())),
        _ => Ok(value.clone()),
    }
}

/// Whether [`write`] has anything to do.
pub(super) fn writes(kind: &Kind) -> bool {
    matches!(kind, Kind::Time | Kind::Timestamp | Kind::Instant | Kind::Decimal)
}

/// What a column of numeric affinity makes of a decimal, provided that it comes back.
fn number_of(decimal: &str) -> Result<Value, Why> {
    if let Some(whole @ Value::Int(_)) = step::integer(decimal) {
        return Ok(whole);
    }
    let real = decimal::to_real(decimal).filter(|real| decimal::of_rounded_real(*real).as_deref() == Some(decimal));
    real.map(Value::Real).ok_or("more digits than a numeric column of SQLite keeps")
}
