//! The statements of one table pair on one side, put together once. Pure.

use ficus_rules::Side;
use ficus_rules::mapping::{Row, Shape, Value};

use super::schema::Table;
use super::sql::{belongs, name};
use super::triggers::is_of_key;
use crate::error::Error;

/// SQLite's limit of arguments to a statement, as it is compiled in.
const MOST_ARGUMENTS: usize = 32_766;

/// Rows of one INSERT: few sizes, so that prepared statements are used again.
const SIZES: [usize; 6] = [1_024, 256, 64, 16, 4, 1];

/// Ready-made SQL.
pub(super) struct Statements {
    /// `SELECT key, columns, lookups FROM table AS t WHERE <belongs>`, to be continued with `AND`.
    pub(super) select: String,
    /// The key column, with the alias of `select`.
    pub(super) key: String,
    /// `DELETE` of the keys in `?1`.
    pub(super) delete: String,
    /// `DELETE` of up to `?1` rows of the pair.
    pub(super) delete_some: String,
    /// Moves unique values of the keys in `?1` out of the way, unless there are none.
    pub(super) park: Option<String>,
    /// A row has nothing but what is mapped: removed and inserted again, it is what it was.
    pub(super) whole: bool,
    /// By unique index but the key's: its columns, as places in a row.
    pub(super) unique: Vec<Vec<Place>>,
    /// By unique index: `<its columns> = ?, ?, ...`.
    pub(super) holder: Vec<String>,
    /// `SELECT key FROM table AS t WHERE <belongs> AND key IS NOT NULL`, to be continued with `AND`.
    pub(super) keys: String,
    insert: String,
    conflict: String,
    width: usize,
}

/// Where a unique column's value stands in a row.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    /// It is the key.
    Key,
    /// The column of this index.
    Column(usize),
}

impl Statements {
    /// `marks`: what a deletion writes, as it is in a row that is not deleted.
    pub(super) fn new(shape: &Shape, table: &Table, side: Side, marks: &[(String, Value)]) -> Result<Statements, Error> {
        let target = conflict_target(shape, table).ok_or_else(|| {
            let columns: Vec<String> =
                shape.filter.iter().map(|(column, _)| column).chain([&shape.key]).map(|column| name(column)).collect();
            Error::Refused(format!(
                "{side} table {table} has no unique index on its key; create it: CREATE UNIQUE INDEX {index} ON {quoted} ({columns})",
                table = shape.table,
                index = name(&format!("{}_{}", shape.table, shape.key)),
                quoted = name(&shape.table),
                columns = columns.join(", "),
            ))
        })?;
        if let Some(unique) = table.unique.iter().find(|unique| unique.names().is_none()) {
            return Err(Error::Refused(format!(
                "{side} table {}: the unique index {} is on an expression, which capture cannot follow through a REPLACE; put it on columns",
                shape.table, unique.index
            )));
        }
        let from = format!("FROM {} AS t WHERE {}", name(&shape.table), belongs(&shape.filter, "t"));
        let key = format!("t.{}", name(&shape.key));
        let keys = format!("{} IN (SELECT value FROM json_each(?1))", name(&shape.key));
        let own = belongs(&shape.filter, &name(&shape.table));
        // Of the rows that the pair has marked as deleted, those that have the key in all that its index tells apart.
        let told_apart: Vec<_> = shape.filter.iter().filter(|part| target.contains(&part.0) && !marks.contains(part)).cloned().collect();
        let [told_apart, living] = [told_apart.as_slice(), marks].map(|filter| belongs(filter, &name(&shape.table)));
        let buried = if marks.is_empty() { String::new() } else { format!(" OR {told_apart} AND NOT ({living})") };
        let lookups = shape.lookups.iter().map(|lookup| {
            let [table, id, key, column] = [&lookup.table, &lookup.id, &lookup.key, &lookup.column].map(|part| name(part));
            format!("(SELECT r.{key} FROM {table} AS r WHERE r.{id} = t.{column})")
        });
        let columns = shape.columns.iter().map(|column| format!("t.{}", name(column)));
        let selected: Vec<String> = [key.clone()].into_iter().chain(columns).chain(lookups).collect();
        let (unique, holder) = unique(shape, table);
        Ok(Statements {
            select: format!("SELECT {} {from}", selected.join(", ")),
            delete: format!("DELETE FROM {} WHERE {keys} AND {own}", name(&shape.table)),
            delete_some: format!(
                "DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM {table} WHERE {key} IS NOT NULL AND {own} LIMIT ?1) AND {own}",
                table = name(&shape.table),
                key = name(&shape.key),
            ),
            park: park(shape, table).map(|set| format!("UPDATE {} SET {set} WHERE {keys} AND ({own}{buried})", name(&shape.table))),
            whole: table.columns.iter().all(|column| column.name == shape.key || shape.columns.contains(&column.name)),
            unique,
            holder,
            keys: format!("SELECT {key} {from} AND {key} IS NOT NULL"),
            insert: insert(shape),
            conflict: conflict(shape, &target),
            width: shape.columns.len() + 1,
            key,
        })
    }

    /// Rows in the parts that one statement takes each.
    pub(super) fn parts<'a>(&self, mut rows: &'a [Row]) -> impl Iterator<Item = &'a [Row]> + use<'a> {
        let width = self.width;
        std::iter::from_fn(move || {
            let fits = |size: &usize| *size <= rows.len() && size * width <= MOST_ARGUMENTS;
            let size = SIZES.into_iter().find(fits).unwrap_or(1).min(rows.len());
            let (part, left) = rows.split_at(size);
            rows = left;
            (!part.is_empty()).then_some(part)
        })
    }

    /// An upsert of that many rows.
    pub(super) fn upsert(&self, rows: usize) -> String {
        format!("{} {}", self.fresh(rows), self.conflict)
    }

    /// An insert of that many rows, none of which may be there.
    pub(super) fn fresh(&self, rows: usize) -> String {
        let row = format!("({})", vec!["?"; self.width].join(","));
        format!("{} VALUES {}", self.insert, vec![row; rows].join(","))
    }
}

fn insert(shape: &Shape) -> String {
    let columns: Vec<String> = std::iter::once(&shape.key).chain(&shape.columns).map(|column| name(column)).collect();
    format!("INSERT INTO {} ({})", name(&shape.table), columns.join(","))
}

/// Only mapped columns are set: what else stands in the row stays.
fn conflict(shape: &Shape, target: &[String]) -> String {
    let set: Vec<String> =
        shape.columns.iter().filter(|column| !target.contains(column)).map(|c| format!("{0}=excluded.{0}", name(c))).collect();
    let target: Vec<String> = target.iter().map(|column| name(column)).collect();
    let action = if set.is_empty() { "NOTHING".to_owned() } else { format!("UPDATE SET {}", set.join(",")) };
    format!("ON CONFLICT ({}) DO {action}", target.join(","))
}

/// The columns of a unique index that tells the pair's rows apart by their key.
fn conflict_target(shape: &Shape, table: &Table) -> Option<Vec<String>> {
    let whole = table.unique.iter().filter(|unique| !unique.partial);
    let mut names = whole.filter_map(|unique| unique.names());
    names.find(|names| is_of_key(Some(names), shape)).map(|names| names.into_iter().map(str::to_owned).collect())
}

/// An assignment that takes one written column of each unique index out of the others' way: to NULL where that is
/// allowed, else to a value that nobody else has.
fn park(shape: &Shape, table: &Table) -> Option<String> {
    let mut parked: Vec<String> = Vec::new();
    for unique in table.unique.iter().filter(|unique| !is_of_key(unique.names().as_deref(), shape)) {
        let fixed = |column: &str| column == shape.key || shape.filter.iter().any(|(name, _)| name == column);
        let written = unique.columns.iter().flatten().map(|(column, _)| column);
        let Some(column) = written.into_iter().find(|column| shape.columns.contains(column) && !fixed(column)) else { continue };
        let own = if table.rowid { "rowid".to_owned() } else { name(&shape.key) };
        let quoted = name(column);
        let value = if table.nullable.contains(column) {
            "NULL".to_owned()
        } else {
            format!(
                "CASE typeof({quoted}) WHEN 'integer' THEN 4611686018427387904 + {own} WHEN 'blob' THEN CAST('ficus-parked-' || {own} AS BLOB) ELSE 'ficus-parked-' || {own} END"
            )
        };
        let assignment = format!("{quoted} = {value}");
        if !parked.contains(&assignment) {
            parked.push(assignment);
        }
    }
    (!parked.is_empty()).then(|| parked.join(", "))
}

fn unique(shape: &Shape, table: &Table) -> (Vec<Vec<Place>>, Vec<String>) {
    let (mut places, mut holders) = (Vec::new(), Vec::new());
    for unique in table.unique.iter().filter(|unique| !is_of_key(unique.names().as_deref(), shape)) {
        let place = |column: &str| match shape.columns.iter().position(|known| known == column) {
            Some(index) => Some(Place::Column(index)),
            None => (column == shape.key).then_some(Place::Key),
        };
        let columns: Option<Vec<(Place, String)>> = unique
            .columns
            .iter()
            .map(|column| {
                column
                    .as_ref()
                    .and_then(|(column, collation)| Some((place(column)?, format!("t.{} = ? COLLATE {}", name(column), name(collation)))))
            })
            .collect();
        if let Some(columns) = columns {
            let (where_found, terms): (Vec<Place>, Vec<String>) = columns.into_iter().unzip();
            places.push(where_found);
            holders.push(terms.join(" AND "));
        }
    }
    (places, holders)
}
