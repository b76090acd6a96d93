//! How a table pair maps: which column comes from which, and back.
//!
//! A pair is correlated by a key: the legacy primary key, and the modern column that keeps it (`legacy_id`). Everything
//! else is derived from the row. What two sources feed into one modern table is told apart by constant columns, which
//! become a filter on the way back.

mod cast;
mod compile;
mod kind;
mod plan;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use self::cast::Loss;
pub use self::compile::{ColumnInfo, MapError, Tables, compile};
pub use self::kind::Kind;
pub use self::plan::{Lookup, Plan, Row, RowError, Shape, canonical_integer, same};

/// A pair of tables. `[[table]]` in a rule file.
#[derive(Debug, Clone, PartialEq)]
pub struct TableMap {
    /// Where it stands: `users.toml:70`.
    pub source: String,
    /// Legacy table.
    pub legacy: String,
    /// Modern table.
    pub modern: String,
    /// The legacy primary key column (`key`, default `id`).
    pub legacy_key: String,
    /// The modern column that keeps it (`modern_key`, default `legacy_id`).
    pub modern_key: String,
    /// The table on modern whose sequence gives out the legacy ids, if rows are born there.
    pub sequence: Option<String>,
    /// Columns spelled out, by modern name, in the order of the file. The key pair is not among them.
    pub columns: Vec<ColumnMap>,
    /// Same-named columns do not follow by themselves.
    pub only: bool,
    /// Legacy columns that stay behind (never copied, never fenced), like `last_login`.
    pub keep_legacy: Vec<String>,
    /// Modern columns that have no counterpart.
    pub keep_modern: Vec<String>,
}

/// One modern column.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnMap {
    /// Its name on modern.
    pub modern: String,
    /// Where its value comes from.
    pub from: ColumnSource,
}

/// Where a modern column's value comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum ColumnSource {
    /// A legacy column, as it is. `given_name = "first_name"`
    Column(String),
    /// A legacy column through a table of values, invertible. `role = { from = "user_type", map = { 1 = "admin" } }`
    Map {
        /// The legacy column.
        column: String,
        /// Pairs of legacy and modern value; numbers stay numbers.
        values: Vec<(Value, Value)>,
    },
    /// A UUIDv5 of a legacy integer. `id = { from = "id", as = "uuid5" }`; for a reference,
    /// `user_id = { from = "user_id", as = "uuid5", of = "accounts_customuser" }`. The namespace is
    /// `uuid5(NAMESPACE_OID, "ficus/<capability>/<table>")`, the name the decimal integer. Back: the key itself where `of`
    /// is this table, else the referenced modern row's kept legacy key.
    Uuid5 {
        /// The legacy column.
        column: String,
        /// The legacy table that the integer is a key of.
        of: String,
    },
    /// The same for every row of this pair; on the way back a filter. `kind = { constant = "staff" }`
    Constant(Value),
}

/// A database value in the shape that all engines share.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Value {
    /// SQL NULL.
    Null,
    /// An integer (booleans too).
    Int(i64),
    /// A floating-point number; equal by bits.
    Real(f64),
    /// Text (dates, times and decimals too, as their database writes them).
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Null, Value::Null) => true,
            (Value::Int(a), Value::Int(b)) => a == b,
            (Value::Real(a), Value::Real(b)) => a.to_bits() == b.to_bits(),
            (Value::Text(a), Value::Text(b)) => a == b,
            (Value::Blob(a), Value::Blob(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Value {}

/// The UUID of a legacy integer. Shape: lower case with hyphens.
pub fn uuid_of(capability: &str, legacy_table: &str, id: i64) -> uuid::Uuid {
    let namespace = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, format!("ficus/{capability}/{legacy_table}").as_bytes());
    uuid::Uuid::new_v5(&namespace, id.to_string().as_bytes())
}
