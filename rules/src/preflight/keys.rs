//! Keys: what tells the rows of a pair apart on both sides.

use super::{Asked, fixed, key_of};
use crate::Side;
use crate::catalog::{Catalog, Table};
use crate::finding::Finding;
use crate::mapping::{Kind, TableMap};

pub(super) fn find(asked: &Asked<'_>, found: &mut Vec<(Option<Side>, Finding)>) {
    for side in Side::BOTH {
        let catalog = asked.catalog(side);
        for (map, table) in asked.tables(side) {
            let mut add = |finding: Finding| {
                // Several pairs may stand in one table.
                if !found.contains(&(Some(side), finding.clone())) {
                    found.push((Some(side), finding));
                }
            };
            let key = key_of(map, side);
            match table.column(key) {
                None if side == Side::Modern => add(missing(asked, map, table)),
                None => {}
                Some(_) if !is_unique(map, side, table) => add(not_unique(catalog, map, side, table)),
                Some(_) if table.primary.is_empty() => add(no_primary(catalog, table, key)),
                Some(_) => {}
            }
        }
    }
}

/// Whether an index tells the rows of the pair apart by their key.
fn is_unique(map: &TableMap, side: Side, table: &Table) -> bool {
    let (key, fixed) = (key_of(map, side), fixed(map, side));
    let tells = |columns: &Vec<String>| {
        columns.iter().any(|column| column == key) && columns.iter().all(|column| column == key || fixed.contains(&column.as_str()))
    };
    table.unique.iter().any(tells)
}

fn missing(asked: &Asked<'_>, map: &TableMap, table: &Table) -> Finding {
    let catalog = asked.modern;
    let legacy = asked.legacy.table(&map.legacy).and_then(|table| table.column(&map.legacy_key));
    let kind = match legacy.map(|column| &column.kind) {
        Some(Kind::Uuid) if catalog.engine.starts_with("PostgreSQL") => "uuid",
        Some(Kind::Uuid | Kind::Text | Kind::Char32) => "varchar(64)",
        Some(Kind::Loose(kind)) if matches!(**kind, Kind::Text | Kind::Uuid | Kind::Char32) => "varchar(64)",
        _ => "bigint",
    };
    let (quoted, column) = (catalog.quoted_table(&table.name), catalog.quoted(&map.modern_key));
    Finding::refused(
        "key_column",
        format!("table {} has no column {}, which keeps the key of {}", table.name, map.modern_key, map.legacy),
        "without it a row cannot find its counterpart",
    )
    .column(&table.name, &map.modern_key)
    .mend(format!("ALTER TABLE {quoted} ADD COLUMN {column} {kind};"))
    .mend(index(catalog, map, Side::Modern, table))
}

fn not_unique(catalog: &Catalog, map: &TableMap, side: Side, table: &Table) -> Finding {
    let key = key_of(map, side);
    Finding::refused(
        "key_unique",
        format!("no unique index of table {} is on its key {key}", table.name),
        "two rows could have one key, and an upsert has nothing to find the row by",
    )
    .column(&table.name, key)
    .mend(index(catalog, map, side, table))
}

fn index(catalog: &Catalog, map: &TableMap, side: Side, table: &Table) -> String {
    let key = key_of(map, side);
    let columns: Vec<String> = fixed(map, side).into_iter().chain([key]).map(|column| catalog.quoted(column)).collect();
    let index = catalog.quoted(&format!("{}_{key}", table.name));
    format!("CREATE UNIQUE INDEX {index} ON {} ({});", catalog.quoted_table(&table.name), columns.join(", "))
}

fn no_primary(catalog: &Catalog, table: &Table, key: &str) -> Finding {
    let finding = Finding::warning(
        "primary_key",
        format!("table {} has no primary key", table.name),
        "changes of it are logged with all columns of the row, and other tools cannot tell its rows apart",
    )
    .table(&table.name);
    if catalog.engine.starts_with("SQLite") {
        return finding.then(format!("make the table anew with {key} as its primary key"));
    }
    let add = format!("ALTER TABLE {} ADD PRIMARY KEY ({});", catalog.quoted_table(&table.name), catalog.quoted(key));
    finding.mend(add)
}
