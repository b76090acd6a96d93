//! SQL text and values: quoting, binding, reading, and which errors are a row's fault.

use std::sync::Arc;

use ficus_rules::mapping::{Row, Value};
use sqlx::sqlite::{SqliteArguments, SqliteRow, SqliteValueRef};
use sqlx::{Arguments, AssertSqlSafe, Decode, Row as _, Sqlite, SqliteConnection, TypeInfo, ValueRef};

use crate::isolate::Blame;

/// An identifier, quoted.
pub(super) fn name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text literal.
pub(super) fn text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A value as a literal.
pub(super) fn literal(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Int(number) => number.to_string(),
        Value::Real(number) => format!("{number:?}"),
        Value::Text(value) => text(value),
        Value::Blob(bytes) => format!("X'{}'", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
    }
}

/// The condition that a row, called `alias`, belongs to a pair; `1` when all do.
pub(super) fn belongs(filter: &[(String, Value)], alias: &str) -> String {
    let terms: Vec<String> = filter.iter().map(|(column, value)| format!("{alias}.{} IS {}", name(column), literal(value))).collect();
    if terms.is_empty() { "1".to_owned() } else { terms.join(" AND ") }
}

/// A statement that was put together here, from quoted names and placeholders.
pub(super) fn query(sql: &str, arguments: SqliteArguments) -> sqlx::query::Query<'_, Sqlite, SqliteArguments> {
    sqlx::query_with(AssertSqlSafe(sql.to_owned()), arguments)
}

/// Runs statements without arguments or rows.
pub(super) async fn run(connection: &mut SqliteConnection, sql: &str) -> Result<u64, sqlx::Error> {
    Ok(query(sql, SqliteArguments::default()).execute(connection).await?.rows_affected())
}

/// Runs a statement with arguments.
pub(super) async fn run_with(connection: &mut SqliteConnection, sql: &str, values: &[Value]) -> Result<u64, sqlx::Error> {
    Ok(query(sql, arguments(values)).execute(connection).await?.rows_affected())
}

/// The first column of the first row.
pub(super) async fn one(connection: &mut SqliteConnection, sql: &str, values: &[Value]) -> Result<Option<Value>, sqlx::Error> {
    let row = query(sql, arguments(values)).fetch_optional(connection).await?;
    row.map(|row| value(&row, 0)).transpose()
}

/// Every row, every column.
pub(super) async fn all(connection: &mut SqliteConnection, sql: &str, values: &[Value]) -> Result<Vec<Vec<Value>>, sqlx::Error> {
    let rows = query(sql, arguments(values)).fetch_all(connection).await?;
    rows.iter().map(|row| (0..row.len()).map(|index| value(row, index)).collect()).collect()
}

/// Values as arguments.
pub(super) fn arguments(values: &[Value]) -> SqliteArguments {
    let mut arguments = SqliteArguments::default();
    for value in values {
        bind(&mut arguments, value);
    }
    arguments
}

/// One more argument.
pub(super) fn bind(arguments: &mut SqliteArguments, value: &Value) {
    let added = match value {
        Value::Null => arguments.add(None::<i64>),
        Value::Int(number) => arguments.add(*number),
        Value::Real(number) => arguments.add(*number),
        // One allocation; a String would be two.
        Value::Text(text) => arguments.add(Arc::<str>::from(text.as_str())),
        Value::Blob(bytes) => arguments.add(bytes.clone()),
    };
    added.expect("numbers, texts and bytes can be bound");
}

/// A value as it is stored, whatever its column was declared to be. Text that is no UTF-8 is taken as bytes.
pub(super) fn value(row: &SqliteRow, index: usize) -> Result<Value, sqlx::Error> {
    let raw = row.try_get_raw(index)?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let kind = |raw: &SqliteValueRef<'_>| match raw.type_info().name() {
        "INTEGER" => Stored::Int,
        "REAL" => Stored::Real,
        "BLOB" => Stored::Blob,
        _ => Stored::Text,
    };
    let decoded = match kind(&raw) {
        Stored::Int => <i64 as Decode<Sqlite>>::decode(raw).map(Value::Int),
        Stored::Real => <f64 as Decode<Sqlite>>::decode(raw).map(Value::Real),
        Stored::Blob => <Vec<u8> as Decode<Sqlite>>::decode(raw).map(Value::Blob),
        Stored::Text => <Vec<u8> as Decode<Sqlite>>::decode(raw)
            .map(|bytes| String::from_utf8(bytes).map_or_else(|error| Value::Blob(error.into_bytes()), Value::Text)),
    };
    decoded.map_err(|source| sqlx::Error::ColumnDecode { index: index.to_string(), source })
}

/// How a value is stored.
enum Stored {
    Int,
    Real,
    Blob,
    Text,
}

/// A row that begins with its key.
pub(super) fn keyed(row: &SqliteRow) -> Result<Row, sqlx::Error> {
    let key = value(row, 0)?;
    let values = (1..row.len()).map(|index| value(row, index)).collect::<Result<_, _>>()?;
    Ok(Row { key, values })
}

/// Whether a value can be a key here: JSON has to have it ([`json_keys`]).
pub(super) fn is_key(value: &Value) -> bool {
    match value {
        Value::Int(_) | Value::Text(_) => true,
        Value::Real(number) => number.is_finite(),
        Value::Null | Value::Blob(_) => false,
    }
}

/// Keys as one JSON argument: the statement stays the same whatever their number. Other keys than [`is_key`] allows are
/// refused where they are read.
pub(super) fn json_keys<'a>(keys: impl Iterator<Item = &'a Value>) -> Value {
    let keys = keys.map(|key| match key {
        Value::Int(number) => serde_json::Value::from(*number),
        Value::Real(number) => serde_json::Value::from(*number),
        Value::Text(text) => serde_json::Value::from(text.as_str()),
        Value::Null | Value::Blob(_) => serde_json::Value::Null,
    });
    Value::Text(serde_json::Value::Array(keys.collect()).to_string())
}

/// Why a row was refused, if the row is to blame: a constraint, a type, a size, or a trigger of the application.
pub(super) fn blame(error: &sqlx::Error) -> Option<Blame> {
    let error = error.as_database_error()?;
    let code: u32 = error.code()?.parse().ok()?;
    let unique = matches!(code, 1555 | 2067 | 2579);
    matches!(code & 0xff, 18..=20).then(|| Blame { unique, reason: error.message().to_owned(), reference: None })
}
