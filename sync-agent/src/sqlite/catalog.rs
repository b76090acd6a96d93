//! All tables of a SQLite file in the shape that every engine's have. Reads only.

use ficus_rules::catalog::{Catalog, Column, Limits, Quote, Reference, Table};
use ficus_rules::mapping::{Kind, Value};
use sqlx::SqliteConnection;

use super::schema::{self, Unique};
use super::sql;

const TABLES: &str = "SELECT name FROM sqlite_master WHERE type = 'table' AND substr(name, 1, 7) NOT IN ('sqlite_', '_ficus_') AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name";

/// Generated columns are hidden in one of two ways.
const COLUMNS: &str = "SELECT name, type, hidden IN (2, 3), pk FROM pragma_table_xinfo(?1) WHERE hidden <> 1";

const REFERENCES: &str =
    "SELECT id, \"table\", \"from\", coalesce(\"to\", ''), on_delete, on_update FROM pragma_foreign_key_list(?1) ORDER BY id, seq";

/// Reads all tables.
pub(super) async fn read(connection: &mut SqliteConnection) -> Result<Catalog, sqlx::Error> {
    let version = match sql::one(connection, "SELECT sqlite_version()", &[]).await? {
        Some(Value::Text(version)) => version,
        _ => String::new(),
    };
    let mut tables = Vec::new();
    for row in sql::all(connection, TABLES, &[]).await? {
        if let [Value::Text(name)] = row.as_slice() {
            tables.extend(table(connection, name).await?);
        }
    }
    Ok(Catalog { engine: format!("SQLite {version}"), quote: Quote::Double, refuses_acts: false, acts_for_agent: false, tables })
}

async fn table(connection: &mut SqliteConnection, name: &str) -> Result<Option<Table>, sqlx::Error> {
    let name = name.to_owned();
    let Some(known) = schema::tables(connection, std::iter::once(&name)).await?.remove(&name) else { return Ok(None) };
    let argument = [Value::Text(name.clone())];
    let mut table = Table { name, ..Table::default() };
    let mut primary: Vec<(i64, String)> = Vec::new();
    for row in sql::all(connection, COLUMNS, &argument).await? {
        let [Value::Text(column), declared, generated, Value::Int(place)] = row.as_slice() else { continue };
        let info = known.columns.iter().find(|info| info.name == *column);
        let declared = if let Value::Text(declared) = declared { declared.clone() } else { String::new() };
        if *place > 0 {
            primary.push((*place, column.clone()));
        }
        // Of all that a type says, this is what SQLite holds to.
        let limits = Limits { not_null: info.is_some() && !known.nullable.contains(column), ..Limits::default() };
        table.columns.push(Column {
            name: column.clone(),
            kind: info.map_or(Kind::Any, |info| info.kind.clone()),
            declared,
            default: info.is_none_or(|info| !info.required),
            generated: *generated == Value::Int(1),
            limits,
        });
    }
    primary.sort();
    table.primary = primary.into_iter().map(|(_, column)| column).collect();
    let whole = known.unique.iter().filter(|unique| !unique.partial).filter_map(Unique::names);
    table.unique = whole.map(|names| names.into_iter().map(str::to_owned).collect()).collect();
    table.references = references(connection, &argument).await?;
    Ok(Some(table))
}

async fn references(connection: &mut SqliteConnection, argument: &[Value]) -> Result<Vec<Reference>, sqlx::Error> {
    let mut references: Vec<(i64, Reference)> = Vec::new();
    for row in sql::all(connection, REFERENCES, argument).await? {
        let [Value::Int(id), Value::Text(parent), Value::Text(from), Value::Text(to), Value::Text(delete), Value::Text(update)] =
            row.as_slice()
        else {
            continue;
        };
        if references.last().is_none_or(|(last, _)| last != id) {
            let acting =
                [("DELETE", delete), ("UPDATE", update)].into_iter().find(|(_, rule)| !matches!(rule.as_str(), "NO ACTION" | "RESTRICT"));
            let acts = acting.map(|(event, rule)| format!("ON {event} {rule}"));
            let reference =
                Reference { name: String::new(), columns: Vec::new(), parent: parent.clone(), parent_columns: Vec::new(), acts };
            references.push((*id, reference));
        }
        if let Some((_, reference)) = references.last_mut() {
            reference.columns.push(from.clone());
            reference.parent_columns.push(to.clone());
        }
    }
    Ok(references.into_iter().map(|(_, reference)| reference).collect())
}
