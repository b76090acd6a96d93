//! How a table pair maps: which column comes from which, and back.
//!
//! A pair is correlated by a key: the legacy primary key, and the modern column that keeps it (`legacy_id`). Everything
//! else is derived from the row. What two sources feed into one modern table is told apart by constant columns, which
//! become a filter on the way back; what one source feeds into two is told apart by a filter, which becomes constants.
//!
//! Columns of different kinds are cast ([`Kind`]): there and back is the identity, or the row is set aside. What is lost
//! in spite of that is in [`Plan::losses`] before the first row.

mod cast;
mod compile;
mod kind;
mod pack;
mod plan;
mod rows;
mod straight;
#[cfg(test)]
mod tests;
mod trial;

use serde::{Deserialize, Serialize};

use crate::event::EventMap;

pub use self::cast::Loss;
pub(crate) use self::cast::castable;
pub(crate) use self::cast::{is_date, is_zone};
pub(crate) use self::compile::carried;
pub use self::compile::{ColumnInfo, MapError, Tables, compile};
pub use self::kind::Kind;
pub(crate) use self::plan::{Form as UuidForm, uuid as uuid_value};
pub use self::plan::{Lookup, Plan, Row, RowError, Shape, canonical_integer, same};
pub use self::straight::{Part, UuidOf};
pub use self::trial::{Lost, key_of};

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
    /// What becomes of zero dates of legacy.
    pub zero_dates: ZeroDates,
    /// Which rows take part.
    pub rows: Rows,
    /// Whom its changes are told.
    pub events: Vec<EventMap>,
}

/// What becomes of `0000-00-00`, which MariaDB and MySQL take for a date, on modern.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ZeroDates {
    /// Its row is set aside. `"quarantine"`
    #[default]
    Quarantine,
    /// NULL. It comes back as a zero date where legacy's column takes no NULL. `"null"`
    Null,
    /// A date that stands for it, both ways. `"1000-01-01"`
    Sentinel(String),
}

/// Which rows of a pair take part, and what becomes of one that is deleted.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rows {
    /// Legacy columns that have these values in every row of the pair; other rows are none of it. On the way back such a
    /// column gets its value. `where = { deleted = false, left_at = { null = true } }`
    pub filter: Vec<(String, Value)>,
    /// What a deletion on modern writes into legacy instead of removing the row. It has to take the row out of the filter.
    /// `legacy_delete = { deleted = true }`
    pub legacy_delete: Vec<(String, Mark)>,
    /// The same for a deletion on legacy; here a constant column is the filter. `modern_delete = { deleted_at = { now = true } }`
    pub modern_delete: Vec<(String, Mark)>,
}

/// What is written into a column of a row that counts as deleted.
#[derive(Debug, Clone, PartialEq)]
pub enum Mark {
    /// A value.
    Value(Value),
    /// The time of the deletion, in UTC. As it is known to the agent: not long after the deletion itself.
    Now,
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
    /// A legacy column that shows the clocks of a zone; on modern it is in UTC, or the other way round where only legacy's
    /// type has a zone. `created_at = { from = "created_at", zone = "Europe/Berlin" }`
    Local {
        /// The legacy column.
        column: String,
        /// The zone, by its name in the IANA database.
        zone: String,
    },
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
    /// A JSON document of several legacy columns, a key for each. On the way back a document may lack keys (NULL), and have
    /// no others. `profile = { pack = ["bio", "avatar"] }`
    Pack {
        /// The legacy columns, which are the keys.
        columns: Vec<String>,
    },
    /// What a legacy column's JSON document has under a key. Every key that occurs needs a column; one that is NULL is
    /// missing in the document that goes back. `bio = { from = "profile", unpack = "bio" }`
    Unpack {
        /// The legacy column.
        column: String,
        /// The key.
        field: String,
    },
    /// The same for every row of this pair; on the way back a filter. `kind = { constant = "staff" }`, and for NULL
    /// `left_at = { null = true }`.
    Constant(Value),
}

impl ColumnSource {
    /// The legacy columns that it is made of.
    pub(crate) fn columns(&self) -> &[String] {
        match self {
            ColumnSource::Column(column)
            | ColumnSource::Local { column, .. }
            | ColumnSource::Map { column, .. }
            | ColumnSource::Uuid5 { column, .. }
            | ColumnSource::Unpack { column, .. } => std::slice::from_ref(column),
            ColumnSource::Pack { columns } => columns,
            ColumnSource::Constant(_) => &[],
        }
    }
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
    uuid_in(&namespace_of(capability, legacy_table), id)
}

/// What the UUIDs of a legacy table's integers are made in.
fn namespace_of(capability: &str, legacy_table: &str) -> uuid::Uuid {
    uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, format!("ficus/{capability}/{legacy_table}").as_bytes())
}

fn uuid_in(namespace: &uuid::Uuid, id: i64) -> uuid::Uuid {
    uuid::Uuid::new_v5(namespace, id.to_string().as_bytes())
}
