//! The statements of one table pair on one side, put together once. Pure.

use ficus_rules::Side;
use ficus_rules::mapping::{Kind, Shape, Value};

use super::schema::{Table, Unique};
use super::value::{Column, Form};
use crate::error::Error;

/// Arguments of a statement at most, by the protocol.
const MOST_ARGUMENTS: usize = 65_535;

/// Rows of one INSERT: few sizes, so that prepared statements are used again.
const SIZES: [usize; 5] = [512, 128, 32, 8, 1];

/// Keys of one list: likewise.
const LISTS: [usize; 4] = [1, 10, 100, 1_000];

/// Ready-made SQL.
pub(super) struct Statements {
    /// `SELECT key, columns, lookups FROM table AS t WHERE <belongs>`, to be continued with `AND`.
    pub(super) select: String,
    /// `SELECT key FROM table AS t WHERE <belongs> AND key IS NOT NULL`, to be continued with `AND`.
    pub(super) keys: String,
    /// The same for rows that may be written under their key: the pair's, and those that no pair has any more because
    /// a deletion has marked them.
    pub(super) writable: String,
    /// `DELETE FROM t USING table AS t WHERE <belongs> AND`, to be continued.
    pub(super) delete: String,
    /// `DELETE` of up to so many rows of the pair.
    pub(super) delete_some: String,
    /// Moves unique values out of the way, to be continued with a condition, unless there are none. Counts in `@_ficus_n`.
    pub(super) park: Option<String>,
    /// A row has nothing but what is mapped: removed and inserted again, it is what it was.
    pub(super) whole: bool,
    /// By unique index but the key's: its columns, as places in a row.
    pub(super) unique: Vec<Vec<Place>>,
    /// By unique index: `<its columns> = ?, ?, ...`.
    pub(super) holder: Vec<String>,
    /// The key in an order that is the same in all engines.
    pub(super) order: String,
    /// The key is a text: lists of it are compared byte by byte as well.
    exact: bool,
    key: String,
    insert: String,
    overwrite: String,
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
    pub(super) fn new(shape: &Shape, key: &Column, table: &Table, side: Side, marks: &[(String, Value)]) -> Result<Statements, Error> {
        let fixed: Vec<&String> = std::iter::once(&shape.key).chain(shape.filter.iter().map(|(column, _)| column)).collect();
        let of_key = |unique: &&Unique| {
            !unique.partial && unique.columns.contains(&shape.key) && unique.columns.iter().all(|column| fixed.contains(&column))
        };
        let Some(index) = table.unique.iter().find(of_key) else {
            let columns: Vec<String> =
                shape.filter.iter().map(|(column, _)| column).chain([&shape.key]).map(|column| name(column)).collect();
            return Err(Error::Refused(format!(
                "{side} table {table} has no unique index on its key; create it: CREATE UNIQUE INDEX {index} ON {quoted} ({columns})",
                table = shape.table,
                index = name(&format!("{}_{}", shape.table, shape.key)),
                quoted = name(&shape.table),
                columns = columns.join(", "),
            )));
        };
        let exact = match key.kind {
            Kind::Int | Kind::Bool | Kind::Uuid => false,
            Kind::Text | Kind::Char32 => true,
            ref other => {
                return Err(Error::Refused(format!(
                    "{side} table {}: its key {} is {other}; a key is an integer, a text or a UUID",
                    shape.table, shape.key
                )));
            }
        };
        let quoted = format!("t.{}", name(&shape.key));
        let binary = format!("CAST(CONVERT({quoted} USING utf8mb4) AS BINARY)");
        let order = match key.kind {
            Kind::Uuid => format!("CAST({quoted} AS CHAR CHARACTER SET latin1)"),
            _ if exact => binary.clone(),
            _ => quoted.clone(),
        };
        let belongs = belongs(&shape.filter, "t");
        // Of the rows that the pair has marked as deleted, those that have the key in all that its index tells apart.
        let told_apart: Vec<_> =
            shape.filter.iter().filter(|part| index.columns.contains(&part.0) && !marks.contains(part)).cloned().collect();
        let buried = format!(" OR {} AND NOT ({})", self::belongs(&told_apart, "t"), self::belongs(marks, "t"));
        let writable = format!("({belongs}{})", if marks.is_empty() { "" } else { &buried });
        let from = format!("FROM {} AS t WHERE {belongs}", name(&shape.table));
        let lookups = shape.lookups.iter().map(|lookup| {
            let [table, id, key, column] = [&lookup.table, &lookup.id, &lookup.key, &lookup.column].map(|part| name(part));
            format!("(SELECT r.{key} FROM {table} AS r WHERE r.{id} = t.{column} LIMIT 1)")
        });
        let columns = shape.columns.iter().map(|column| format!("t.{}", name(column)));
        let selected: Vec<String> = [quoted.clone()].into_iter().chain(columns).chain(lookups).collect();
        let others: Vec<&Unique> = table.unique.iter().filter(|unique| !of_key(unique)).collect();
        let (unique, holder) = unique(shape, &others);
        Ok(Statements {
            select: format!("SELECT {} {from}", selected.join(", ")),
            keys: format!("SELECT {quoted} {from} AND {quoted} IS NOT NULL"),
            writable: format!("SELECT {quoted} FROM {} AS t WHERE {writable} AND {quoted} IS NOT NULL", name(&shape.table)),
            delete: format!("DELETE t FROM {} AS t WHERE {belongs}", name(&shape.table)),
            delete_some: format!(
                "DELETE FROM {} WHERE {} AND {} IS NOT NULL LIMIT ?",
                name(&shape.table),
                self::belongs(&shape.filter, &name(&shape.table)),
                name(&shape.key)
            ),
            park: park(shape, table, &others, &fixed).map(|set| format!("UPDATE {} AS t SET {set} WHERE {writable}", name(&shape.table))),
            whole: table.info().iter().all(|column| column.name == shape.key || shape.columns.contains(&column.name)),
            unique,
            holder,
            order,
            exact,
            key: quoted,
            insert: insert(shape),
            overwrite: overwrite(shape),
            width: shape.columns.len() + 1,
        })
    }

    /// The condition that the key is one of some, and how many arguments its lists have: as many as there are keys, and
    /// some more (to be filled by repeating the last one), each list once.
    pub(super) fn among(&self, keys: usize) -> (String, usize, usize) {
        let length = LISTS.into_iter().find(|length| *length >= keys).unwrap_or(keys);
        let list = vec!["?"; length].join(",");
        let plain = format!("{} IN ({list})", self.key);
        if self.exact {
            (format!("{plain} AND CAST(CONVERT({} USING utf8mb4) AS BINARY) IN ({list})", self.key), length, 2)
        } else {
            (plain, length, 1)
        }
    }

    /// The most keys of one list.
    pub(super) const fn most() -> usize {
        LISTS[LISTS.len() - 1]
    }

    /// How many rows the next statement takes, of `left` ones.
    pub(super) fn size(&self, left: usize) -> usize {
        SIZES.into_iter().find(|size| *size <= left && size * self.width <= MOST_ARGUMENTS).unwrap_or(1)
    }

    /// An insertion of that many rows.
    pub(super) fn inserts(&self, rows: usize) -> String {
        let row = format!("({})", vec!["?"; self.width].join(","));
        format!("{} VALUES {}", self.insert, vec![row; rows].join(","))
    }

    /// The same for rows whose keys are there, locked. It sets the key as well: should another unique index find another
    /// row, giving that one the key of a row that exists is refused by the key's index.
    pub(super) fn overwrites(&self, rows: usize) -> String {
        format!("{} {}", self.inserts(rows), self.overwrite)
    }
}

/// An identifier, quoted.
pub(super) fn name(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A text literal.
pub(super) fn text(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// The condition that a row, called `alias`, belongs to a pair; `1` when all do.
pub(super) fn belongs(filter: &[(String, Value)], alias: &str) -> String {
    let terms: Vec<String> = filter.iter().map(|(column, value)| format!("{alias}.{} <=> {}", name(column), literal(value))).collect();
    if terms.is_empty() { "1".to_owned() } else { terms.join(" AND ") }
}

fn literal(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Int(number) => number.to_string(),
        Value::Real(number) => format!("{number:e}"),
        Value::Text(value) => text(value),
        Value::Blob(bytes) => format!("X'{}'", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
    }
}

fn insert(shape: &Shape) -> String {
    let columns: Vec<String> = std::iter::once(&shape.key).chain(&shape.columns).map(|column| name(column)).collect();
    format!("INSERT INTO {} ({})", name(&shape.table), columns.join(","))
}

/// Only mapped columns are set: what else stands in the row stays.
fn overwrite(shape: &Shape) -> String {
    let set: Vec<String> =
        std::iter::once(&shape.key).chain(&shape.columns).map(|column| format!("{0}=VALUES({0})", name(column))).collect();
    format!("ON DUPLICATE KEY UPDATE {}", set.join(","))
}

/// An assignment that takes one written column of each unique index out of the others' way: to NULL where that is
/// allowed, else to a value that nobody else is likely to have. Should somebody have it, the row is tried alone later.
fn park(shape: &Shape, table: &Table, others: &[&Unique], fixed: &[&String]) -> Option<String> {
    let mut parked: Vec<String> = Vec::new();
    for unique in others {
        let written = unique.columns.iter().filter(|column| shape.columns.contains(column) && !fixed.contains(column));
        let Some((column, value)) = written.filter_map(|column| Some((column, out_of_the_way(table.column(column)?)?))).next() else {
            continue;
        };
        let assignment = format!("t.{} = {value}", name(column));
        if !parked.iter().any(|known| known.starts_with(&format!("t.{} = ", name(column)))) {
            parked.push(assignment);
        }
    }
    (!parked.is_empty()).then(|| parked.join(", "))
}

fn out_of_the_way(column: &Column) -> Option<String> {
    const NEXT: &str = "(@_ficus_n := @_ficus_n + 1)";
    if column.nullable {
        return Some("NULL".to_owned());
    }
    Some(match &column.form {
        // Down from the greatest: below zero a check is likely.
        Form::Int { unsigned } if column.kind == Kind::Int => {
            format!("{} - {NEXT}", u64::MAX >> (64 - column.length * 8 + u64::from(!unsigned)))
        }
        Form::Text(_) if column.length >= 6 && column.kind != Kind::Json => format!("CONCAT('~', HEX({NEXT}))"),
        Form::Bytes { .. } if column.length >= 6 => format!("CONCAT('~', HEX({NEXT}))"),
        Form::Uuid => format!("CONCAT('00000000-0000-0000-0000-', LPAD(HEX({NEXT}), 12, '0'))"),
        Form::Date => format!("DATE_ADD('1000-01-01', INTERVAL {NEXT} DAY)"),
        Form::DateTime => format!("DATE_ADD('1000-01-01', INTERVAL {NEXT} SECOND)"),
        _ => return None,
    })
}

fn unique(shape: &Shape, others: &[&Unique]) -> (Vec<Vec<Place>>, Vec<String>) {
    let (mut places, mut holders) = (Vec::new(), Vec::new());
    for unique in others.iter().filter(|unique| !unique.partial) {
        let place = |column: &String| match shape.columns.iter().position(|known| known == column) {
            Some(index) => Some(Place::Column(index)),
            None => (*column == shape.key).then_some(Place::Key),
        };
        if let Some(found) = unique.columns.iter().map(place).collect::<Option<Vec<Place>>>() {
            places.push(found);
            holders.push(unique.columns.iter().map(|column| format!("t.{} = ?", name(column))).collect::<Vec<_>>().join(" AND "));
        }
    }
    (places, holders)
}
