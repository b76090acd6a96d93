//! Columns: generated ones, what the mapping does not carry, and what legacy takes less of than modern, so that a revert
//! would lose it.

use super::Asked;
use crate::Side;
use crate::catalog::{Catalog, Column, Table};
use crate::finding::Finding;
use crate::mapping::{ColumnInfo, ColumnMap, ColumnSource, Kind, TableMap, carried};

type Found = Vec<(Option<Side>, Finding)>;

pub(super) fn find(asked: &Asked<'_>, found: &mut Found) {
    for map in asked.maps {
        let (Some(legacy), Some(modern)) = (asked.legacy.table(&map.legacy), asked.modern.table(&map.modern)) else { continue };
        let infos = |table: &Table| table.columns.iter().filter_map(Column::info).collect::<Vec<ColumnInfo>>();
        let columns = carried(map, &infos(legacy), &infos(modern));
        generated(map, &columns, legacy, modern, found);
        left_out(asked, map, &columns, (legacy, modern), found);
        narrower(asked.modern, &columns, legacy, modern, found);
    }
}

fn generated(map: &TableMap, columns: &[ColumnMap], legacy: &Table, modern: &Table, found: &mut Found) {
    for (side, table) in [(Side::Legacy, legacy), (Side::Modern, modern)] {
        let named = |name: &str| match side {
            Side::Legacy => columns.iter().any(|column| column.from.columns().iter().any(|from| from == name)) || map.legacy_key == name,
            Side::Modern => columns.iter().any(|column| column.modern == name) || map.modern_key == name,
        };
        for column in table.columns.iter().filter(|column| column.generated) {
            let what = format!("column {} of {} is generated from other columns", column.name, table.name);
            let finding = if named(&column.name) {
                let take_out = match side {
                    Side::Legacy => "take it out of the rule file, and copy the columns that it is made of",
                    Side::Modern => "take it out of [table.columns] in the rule file",
                };
                Finding::refused("generated_mapped", what, "nothing can be written into it").then(take_out)
            } else {
                Finding::note("generated", what, "it is not copied: each database makes its own")
            };
            push(found, side, finding.column(&table.name, &column.name));
        }
    }
}

/// Columns that exist, and that the mapping does not carry. One that has to be carried is an error of the mapping.
fn left_out(asked: &Asked<'_>, map: &TableMap, columns: &[ColumnMap], (legacy, modern): (&Table, &Table), found: &mut Found) {
    let carried_back = |name: &str| {
        let others = asked.maps.iter().filter(|other| other.legacy == map.legacy);
        let mut others = others.flat_map(|other| other.columns.iter().flat_map(|column| column.from.columns()));
        name == map.legacy_key
            || columns.iter().any(|column| column.from.columns().iter().any(|from| from == name))
            || map.rows.filter.iter().any(|(column, _)| column == name)
            || others.any(|column| column == name)
    };
    for column in legacy.columns.iter().filter(|column| !column.generated && !carried_back(&column.name)) {
        if map.only || map.keep_legacy.contains(&column.name) {
            let what = format!("column {} of {} stays on legacy", column.name, legacy.name);
            let means = "the new service never sees it, and a row that is born there gets its default";
            push(found, Side::Legacy, Finding::note("stays_on_legacy", what, means).column(&legacy.name, &column.name));
        }
    }
    for column in modern.columns.iter().filter(|column| !column.generated) {
        let fed = column.name == map.modern_key || columns.iter().any(|known| known.modern == column.name);
        if !fed {
            let what = format!("column {} of {} is on modern alone", column.name, modern.name);
            let means = format!("rows of {} arrive with its default, and a revert loses what the new service writes there", map.legacy);
            let finding = Finding::note("only_on_modern", what, means).column(&modern.name, &column.name);
            let finding = if map.keep_modern.contains(&column.name) {
                finding
            } else {
                finding.then(format!("map it, or say that it is meant: keep_modern = [\"{}\"] at {}", column.name, map.source))
            };
            push(found, Side::Modern, finding);
        }
    }
}

/// What modern accepts and legacy does not: rows that a revert would set aside.
fn narrower(catalog: &Catalog, columns: &[ColumnMap], legacy: &Table, modern: &Table, found: &mut Found) {
    for column in columns {
        let ColumnSource::Column(from) = &column.from else { continue };
        let (Some(old), Some(new)) = (legacy.column(from), modern.column(&column.modern)) else { continue };
        if !comparable(&old.kind, &new.kind) {
            continue;
        }
        let Some(why) = old.limits.narrower(&new.limits) else { continue };
        let what = format!("column {from} of {} {why}, and {} of {} takes more", legacy.name, column.modern, modern.name);
        let mut finding = Finding::note("revert_narrower", what, "a row that uses it would be set aside by a revert");
        finding.statements.extend(alter(catalog, &modern.name, new, old));
        push(found, Side::Modern, finding.column(&modern.name, &column.modern));
    }
}

fn comparable(old: &Kind, new: &Kind) -> bool {
    let text = |kind: &Kind| matches!(kind, Kind::Text | Kind::Char32);
    let real = |kind: &Kind| matches!(kind, Kind::Real | Kind::Single);
    old == new || text(old) && text(new) || real(old) && real(new)
}

/// Makes the modern column take as little as the legacy one.
fn alter(catalog: &Catalog, table: &str, new: &Column, old: &Column) -> Option<String> {
    let (table, name) = (catalog.quoted_table(table), catalog.quoted(&new.name));
    let limits = &old.limits;
    let length = limits.chars.filter(|chars| *chars < 10_000).map(|chars| format!("varchar({chars})"));
    let digits = limits.digits.map(|(all, behind)| format!("numeric({all},{behind})"));
    let range = limits.range.and_then(|(_, most)| match most {
        32_767 => Some("smallint".to_owned()),
        2_147_483_647 => Some("int".to_owned()),
        _ => None,
    });
    let kind = match new.kind {
        Kind::Text | Kind::Char32 => length,
        Kind::Decimal => digits,
        Kind::Int => range,
        _ => None,
    };
    if catalog.engine.starts_with("PostgreSQL") {
        let mut parts: Vec<String> = kind.map(|kind| format!("ALTER COLUMN {name} TYPE {kind}")).into_iter().collect();
        if limits.not_null && !new.limits.not_null {
            parts.push(format!("ALTER COLUMN {name} SET NOT NULL"));
        }
        return (!parts.is_empty()).then(|| format!("ALTER TABLE {table} {};", parts.join(", ")));
    }
    if catalog.engine.starts_with("SQLite") {
        return None;
    }
    let not_null = if limits.not_null || new.limits.not_null { " NOT NULL" } else { "" };
    Some(format!("ALTER TABLE {table} MODIFY {name} {}{not_null};", kind.unwrap_or_else(|| new.declared.clone())))
}

/// Several pairs may stand in one table.
fn push(found: &mut Found, side: Side, finding: Finding) {
    if !found.contains(&(Some(side), finding.clone())) {
        found.push((Some(side), finding));
    }
}
