//! How a row that was set aside is kept: as JSON by column. Bytes are written in hexadecimal.

use ficus_rules::mapping::{Row, Value};

/// The image of a row. Values beyond the columns (lookups) are left out.
pub(crate) fn image(key: &str, columns: &[String], row: &Row) -> serde_json::Value {
    let cells = std::iter::once((key, &row.key)).chain(columns.iter().map(String::as_str).zip(&row.values));
    serde_json::Value::Object(cells.map(|(column, value)| (column.to_owned(), json(value))).collect())
}

fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Int(number) => (*number).into(),
        Value::Real(number) => (*number).into(),
        Value::Text(text) => text.as_str().into(),
        Value::Blob(bytes) => serde_json::json!({ "hex": bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>() }),
    }
}
