//! What SQLite says of its tables: columns, unique indexes, references. Reads only.

mod declared;

use std::collections::BTreeMap;

use ficus_rules::mapping::{ColumnInfo, Kind, Value};
use sqlx::SqliteConnection;

use super::sql;

/// One table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Table {
    /// Its columns, generated ones left out.
    pub(super) columns: Vec<ColumnInfo>,
    /// Columns that may be NULL.
    pub(super) nullable: Vec<String>,
    /// Its unique indexes, the primary key among them.
    pub(super) unique: Vec<Unique>,
    /// It has a rowid.
    pub(super) rowid: bool,
    /// Its numbers are never given out twice.
    pub(super) autoincrement: bool,
}

/// A unique index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unique {
    /// Its name; empty for the primary key of a rowid table.
    pub(super) index: String,
    /// Columns with their collations; `None` for an expression.
    pub(super) columns: Vec<Option<(String, String)>>,
    /// It holds for some rows only.
    pub(super) partial: bool,
}

impl Table {
    /// Whether it gives out the numbers of a column, none of them twice.
    pub(super) fn counts(&self, column: &str) -> bool {
        self.autoincrement && self.unique.iter().any(|unique| unique.index.is_empty() && unique.names().as_deref() == Some(&[column]))
    }
}

impl Unique {
    /// Its columns, if all of them are columns.
    pub(super) fn names(&self) -> Option<Vec<&str>> {
        self.columns.iter().map(|column| column.as_ref().map(|(name, _)| name.as_str())).collect()
    }
}

/// Reads the named tables; one that does not exist is left out.
pub(super) async fn tables<'a>(
    connection: &mut SqliteConnection,
    names: impl Iterator<Item = &'a String>,
) -> Result<BTreeMap<String, Table>, sqlx::Error> {
    let mut tables = BTreeMap::new();
    for name in names {
        if let Some(table) = table(connection, name).await? {
            tables.insert(name.clone(), table);
        }
    }
    Ok(tables)
}

async fn table(connection: &mut SqliteConnection, name: &str) -> Result<Option<Table>, sqlx::Error> {
    let argument = [Value::Text(name.to_owned())];
    let found = "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?1";
    let Some(Value::Text(ddl)) = sql::one(connection, found, &argument).await? else {
        return Ok(None);
    };
    let ddl = ddl.to_ascii_uppercase();
    let mut table = Table { autoincrement: ddl.contains("AUTOINCREMENT"), ..Table::default() };
    let wr = sql::one(connection, "SELECT wr FROM pragma_table_list WHERE schema = 'main' AND name = ?1", &argument).await?;
    table.rowid = wr != Some(Value::Int(1));

    let info = "SELECT name, type, \"notnull\", dflt_value, pk, hidden FROM pragma_table_xinfo(?1)";
    let mut primary = Vec::new();
    let mut integer_key = false;
    let mut rows = Vec::new();
    for row in sql::all(connection, info, &argument).await? {
        let [Value::Text(column), kind, not_null, default, Value::Int(place), Value::Int(0)] = row.as_slice() else {
            continue;
        };
        if *place > 0 {
            primary.push((*place, column.clone()));
            integer_key = matches!(kind, Value::Text(kind) if kind.eq_ignore_ascii_case("INTEGER"));
        }
        let declared = if let Value::Text(kind) = kind { declared::kind(kind) } else { Kind::Any };
        rows.push((column.clone(), declared, *not_null == Value::Int(1), *default != Value::Null, *place > 0));
    }
    integer_key &= primary.len() == 1 && table.rowid;
    for (column, kind, not_null, default, key) in rows {
        let nullable = !not_null && !(key && (integer_key || !table.rowid));
        if nullable {
            table.nullable.push(column.clone());
        }
        let required = !default && if key { !integer_key } else { not_null };
        table.columns.push(ColumnInfo { name: column, kind, required, nullable });
    }
    if integer_key {
        primary.sort();
        let columns = primary.into_iter().map(|(_, column)| Some((column, "BINARY".to_owned()))).collect();
        table.unique.push(Unique { index: String::new(), columns, partial: false });
    }
    let list = "SELECT name, partial FROM pragma_index_list(?1) WHERE \"unique\" = 1";
    for row in sql::all(connection, list, &argument).await? {
        let [Value::Text(index), partial] = row.as_slice() else { continue };
        let columns = "SELECT name, coll FROM pragma_index_xinfo(?1) WHERE key = 1 ORDER BY seqno";
        let columns = sql::all(connection, columns, &[Value::Text(index.clone())]).await?.into_iter();
        let columns = columns.map(|row| match row.as_slice() {
            [Value::Text(name), Value::Text(collation)] => Some((name.clone(), collation.clone())),
            _ => None,
        });
        table.unique.push(Unique { index: index.clone(), columns: columns.collect(), partial: *partial == Value::Int(1) });
    }
    Ok(Some(table))
}

/// The number that every schema change of the database moves.
pub(super) async fn version(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    match sql::one(connection, "PRAGMA schema_version", &[]).await? {
        Some(Value::Int(version)) => Ok(version),
        _ => Ok(0),
    }
}
