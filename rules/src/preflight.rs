//! What the catalogs of both sides say of a capability before it moves: keys, columns, references, in findings with the
//! statement that mends them. Pure; what only an engine knows (settings, rights, triggers) it finds itself, and rows are
//! looked at by the agent.

mod columns;
mod keys;
mod references;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::Side;
use crate::catalog::{Catalog, Table};
use crate::crossing::Joins;
use crate::finding::Finding;
use crate::mapping::{ColumnSource, MapError, TableMap};

/// A capability, and the catalogs of both sides.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Its name.
    pub capability: &'a str,
    /// Capabilities that it says it joins.
    pub depends_on: &'a [String],
    /// Capabilities before which it may move, whatever its foreign keys say.
    pub ahead_of: &'a [String],
    /// Its tables.
    pub maps: &'a [TableMap],
    /// The monolith's database.
    pub legacy: &'a Catalog,
    /// The new service's database.
    pub modern: &'a Catalog,
    /// Tables that other capabilities map on a side, with their capability.
    pub elsewhere: &'a Elsewhere,
}

/// Tables of other capabilities.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Elsewhere {
    /// By capability, those that it says it joins; of all of them.
    pub depends_on: Joins,
    /// Of the same legacy database.
    pub legacy: BTreeMap<String, String>,
    /// Of the same modern database.
    pub modern: BTreeMap<String, String>,
}

/// Finds what is wrong with tables. `errors` are those of [`crate::mapping::compile()`]. A finding without a side is about the
/// rule file.
pub fn tables(asked: &Asked<'_>, errors: &[MapError]) -> Vec<(Option<Side>, Finding)> {
    let mut found = Vec::new();
    keys::find(asked, &mut found);
    columns::find(asked, &mut found);
    references::find(asked, &mut found);
    let unsaid: Vec<&MapError> = errors.iter().filter(|error| !said(error, &found)).collect();
    for error in unsaid {
        let means = "the agent does not start while the rule file and the tables contradict each other";
        found.push((None, Finding::refused("mapping", format!("{}: {}", error.source_line, error.message), means).then(&error.remedy)));
    }
    found
}

/// Whether another finding says the same, with a statement.
fn said(error: &MapError, found: &[(Option<Side>, Finding)]) -> bool {
    found.iter().any(|(side, finding)| {
        let (Some(side), Some(table), Some(column)) = (side, &finding.table, &finding.column) else { return false };
        matches!(finding.code, "key_column" | "generated_mapped") && error.message == format!("{side} table {table} has no column {column}")
    })
}

impl<'a> Asked<'a> {
    fn catalog(&self, side: Side) -> &'a Catalog {
        match side {
            Side::Legacy => self.legacy,
            Side::Modern => self.modern,
        }
    }

    fn elsewhere(&self, side: Side) -> &'a BTreeMap<String, String> {
        match side {
            Side::Legacy => &self.elsewhere.legacy,
            Side::Modern => &self.elsewhere.modern,
        }
    }

    /// The pairs whose tables exist on a side.
    fn tables(&self, side: Side) -> impl Iterator<Item = (&'a TableMap, &'a Table)> {
        let catalog = self.catalog(side);
        self.maps.iter().filter_map(move |map| Some((map, catalog.table(table_of(map, side))?)))
    }

    fn is_mapped(&self, side: Side, table: &str) -> bool {
        self.maps.iter().any(|map| table_of(map, side) == table)
    }
}

fn table_of(map: &TableMap, side: Side) -> &str {
    match side {
        Side::Legacy => &map.legacy,
        Side::Modern => &map.modern,
    }
}

fn key_of(map: &TableMap, side: Side) -> &str {
    match side {
        Side::Legacy => &map.legacy_key,
        Side::Modern => &map.modern_key,
    }
}

/// Columns that have one value in all rows of the pair.
fn fixed(map: &TableMap, side: Side) -> Vec<&str> {
    match side {
        Side::Legacy => map.rows.filter.iter().map(|(column, _)| column.as_str()).collect(),
        Side::Modern => {
            let constant = map.columns.iter().filter(|column| matches!(column.from, ColumnSource::Constant(_)));
            constant.map(|column| column.modern.as_str()).collect()
        }
    }
}
