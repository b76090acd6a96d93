//! `[[table]]`: one pair each, and what pairs of a capability mean for each other. The databases' own schemas are not
//! known here: `ficus check --live` looks at them.

mod columns;
mod rows;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::document::{CapabilityDocument, Documents, TableDocument};
use super::fields::Fields;
use super::shape::{Key, Kind, Literal, STRINGS, Section};
use super::source::{Located, Place, Report};
use crate::mapping::{ColumnMap, ColumnSource, TableMap, Value, ZeroDates, is_date};

/// The legacy key column, if the pair does not say so.
const KEY: &str = "id";
/// The modern column that keeps it, if the pair does not say so.
const MODERN_KEY: &str = "legacy_id";

pub(super) const TABLE: Section = Section::new(
    "[[table]]",
    &[
        Key::new("legacy", Kind::Identifier, "The legacy table.").must("\"accounts_customuser\""),
        Key::new("modern", Kind::Identifier, "The modern table.").must("\"users\""),
        Key::new("key", Kind::Identifier, "The legacy primary key.").unset(Literal::Text(KEY)),
        Key::new("modern_key", Kind::Identifier, "The modern column that keeps it.").unset(Literal::Text(MODERN_KEY)),
        Key::new("sequence", Kind::Identifier, "The modern table that gives out legacy ids."),
        Key::new("only", Kind::Boolean, "Same-named columns do not follow by themselves.").unset(Literal::Boolean(false)),
        Key::new("keep_legacy", STRINGS, "Legacy columns that stay behind."),
        Key::new("keep_modern", STRINGS, "Modern columns without counterpart."),
        Key::new(
            "zero_dates",
            Kind::Like("^(quarantine|null|[0-9]{4}-[0-9]{2}-[0-9]{2})$"),
            "What becomes of MariaDB's and MySQL's zero dates (0000-00-00) of legacy: their row is set aside, they become NULL, or the given date stands for them.",
        )
        .unset(Literal::Text("quarantine")),
        Key::new("columns", Kind::Table(&columns::COLUMNS), "Modern column: where it comes from."),
        Key::new("where", Kind::Table(&rows::FILTER), "Legacy columns that have these values in every row of the pair."),
        Key::new("legacy_delete", Kind::Table(&rows::ON_LEGACY), "What a deletion on modern writes into legacy instead."),
        Key::new("modern_delete", Kind::Table(&rows::ON_MODERN), "What a deletion on legacy writes into modern instead."),
    ],
);

pub(super) fn read(mut section: Fields<'_>) -> Option<TableDocument> {
    let legacy = section.required("legacy").filter(|name| identifier(&section, name));
    let modern = section.required("modern").filter(|name| identifier(&section, name));
    let mut column = |key, default: &str| match section.string(key).filter(|name| identifier(&section, name)) {
        Some(name) => name.value,
        None => default.to_owned(),
    };
    let legacy_key = column("key", KEY);
    let modern_key = column("modern_key", MODERN_KEY);
    let sequence = section.string("sequence").filter(|name| identifier(&section, name)).map(|name| name.value);
    let only = section.boolean("only").is_some_and(|only| only.value);
    let keep_legacy = section.strings("keep_legacy");
    let keep_modern = section.strings("keep_modern");
    let zero_dates = section.string("zero_dates").map_or_else(ZeroDates::default, |policy| zero_dates(&section, policy));
    let columns = section.table("columns");
    let own = legacy.as_ref().map_or("", |name| &name.value);
    let columns = columns.map_or_else(Vec::new, |columns| columns::read(columns, own, &legacy_key));
    let rows = rows::read(&mut section, &columns);

    let report = section.text.report;
    clashes(report, &legacy_key, &modern_key, &keep_legacy, &keep_modern, &columns);
    rows::clashes(report, &legacy_key, &rows, &keep_legacy, &columns);
    let at = section.at.clone();
    section.finish();
    let (columns, places) = columns.into_iter().map(|column| (column.value, column.at)).unzip();
    let values = |names: Vec<Located<String>>| names.into_iter().map(|name| name.value).collect();
    let map = TableMap {
        events: Vec::new(),
        source: at.source(),
        legacy: legacy?.value,
        modern: modern?.value,
        legacy_key,
        modern_key,
        sequence,
        columns,
        only,
        keep_legacy: values(keep_legacy),
        keep_modern: values(keep_modern),
        zero_dates,
        rows: rows.rows,
    };
    Some(TableDocument { at, columns: places, map })
}

/// Pairs against each other, within each capability and across all.
pub(super) fn lint(documents: &Documents, report: &Report) {
    let mut owners: BTreeMap<(&str, &str), (&CapabilityDocument, &TableDocument)> = BTreeMap::new();
    for capability in &documents.capabilities {
        within(capability, report);
        let Some(legacy) = &capability.legacy else { continue };
        for table in &capability.tables {
            match owners.entry((&legacy.value, &table.map.legacy)) {
                Entry::Vacant(free) => {
                    free.insert((capability, table));
                }
                Entry::Occupied(taken) => {
                    let (owner, first) = taken.get();
                    if owner.name.value != capability.name.value {
                        let message = format!(
                            "`{}` belongs to the capability `{}` already, at {}",
                            table.map.legacy,
                            owner.name.value,
                            first.at.source()
                        );
                        report.error(&table.at, message, "a table has one owner: remove one of the two");
                    }
                }
            }
        }
    }
}

/// The pairs of one capability, and references between them.
fn within(capability: &CapabilityDocument, report: &Report) {
    for (index, table) in capability.tables.iter().enumerate() {
        let earlier = &capability.tables[..index];
        let twice = |other: &&TableDocument| other.map.legacy == table.map.legacy && !rows::disjoint(&other.map.rows, &table.map.rows);
        if let Some(twice) = earlier.iter().find(twice) {
            let message = format!("`{}` is mapped twice: also at {}", table.map.legacy, twice.at.source());
            let hint = "a row has one place on modern: remove one, or give both a `where` that no row fulfils twice";
            report.error(&table.at, message, hint);
            continue;
        }
        for other in earlier.iter().filter(|other| other.map.modern == table.map.modern) {
            told_apart(other, table, report);
        }
        for (column, at) in table.map.columns.iter().zip(&table.columns) {
            reference(capability, index, column, at, report);
        }
    }
}

/// Rows of one modern table that come from two legacy tables are told apart by a constant, which both pairs have.
fn told_apart(first: &TableDocument, second: &TableDocument, report: &Report) {
    let (ours, theirs) = (constants(&second.map), constants(&first.map));
    let shared = |(column, value): &(&str, &Value)| theirs.iter().any(|(other, v)| other == column && v != value);
    if ours.iter().any(shared) {
        return;
    }
    let message = format!(
        "`{}` and `{}` both become `{}`, and nothing tells their rows apart",
        first.map.legacy, second.map.legacy, second.map.modern
    );
    let hint = "give both the same column with different constants, like `kind = { constant = \"staff\" }`";
    let (lacking, complete) = if theirs.is_empty() && !ours.is_empty() { (first, second) } else { (second, first) };
    report.error(&lacking.at, format!("{message} (see {})", complete.at.source()), hint);
}

fn constants(map: &TableMap) -> Vec<(&str, &Value)> {
    let constant = |column: &'_ ColumnMap| matches!(column.from, ColumnSource::Constant(_));
    let columns = map.columns.iter().filter(|column| constant(column));
    columns.filter_map(|c| if let ColumnSource::Constant(value) = &c.from { Some((c.modern.as_str(), value)) } else { None }).collect()
}

fn reference(capability: &CapabilityDocument, index: usize, column: &ColumnMap, at: &Place, report: &Report) {
    let ColumnSource::Uuid5 { of, .. } = &column.from else { return };
    match capability.tables.iter().position(|table| table.map.legacy == *of) {
        None => {
            let tables = capability.tables.iter().map(|table| table.map.legacy.as_str());
            let message = format!("`{}` refers to `{of}`, which this capability does not map", column.modern);
            report.error(at, message, super::words::suggest(of, tables));
        }
        Some(parent) if parent > index => {
            let message = format!("`{}` refers to `{of}`, which is mapped further down", column.modern);
            report.error(at, message, "parents stand before their children: move its `[[table]]` up");
        }
        Some(_) => {}
    }
}

/// Columns that a pair speaks of twice.
fn clashes(
    report: &Report,
    legacy_key: &str,
    modern_key: &str,
    keep_legacy: &[Located<String>],
    keep_modern: &[Located<String>],
    columns: &[Located<ColumnMap>],
) {
    let mut taken = BTreeSet::new();
    for Located { value: column, at } in columns {
        if column.modern == modern_key {
            report.error(
                at,
                format!("`{modern_key}` keeps the legacy key"),
                "remove it from the columns: the pair of keys follows by itself",
            );
        }
        let unpacks = |other: &&Located<ColumnMap>| match (&column.from, &other.value.from) {
            (ColumnSource::Unpack { column, field }, ColumnSource::Unpack { column: from, field: other }) => {
                column == from && field != other
            }
            _ => false,
        };
        for legacy in column.from.columns() {
            let shared = columns.iter().filter(|other| other.value.from.columns().contains(legacy));
            let alone = shared.filter(|other| other.value.modern != column.modern).all(|other| unpacks(&other));
            if !taken.insert(legacy.as_str()) && legacy != legacy_key && !alone {
                let message = format!("`{legacy}` feeds two modern columns, which could come back different");
                report.error(at, message, "keep one of them, and name the other in `keep_modern`");
            }
        }
    }
    for name in keep_legacy {
        if name.value == legacy_key {
            report.error(&name.at, format!("`{legacy_key}` is the key and cannot stay behind"), "remove it from `keep_legacy`");
        } else if taken.contains(name.value.as_str()) {
            report.error(
                &name.at,
                format!("`{}` stays behind, and feeds a modern column", name.value),
                "remove it from `keep_legacy`, or the column",
            );
        }
    }
    for name in keep_modern {
        if name.value == modern_key || columns.iter().any(|column| column.value.modern == name.value) {
            report.error(&name.at, format!("`{}` has a counterpart on legacy", name.value), "remove it from `keep_modern`, or its column");
        }
    }
}

fn zero_dates(section: &Fields<'_>, policy: Located<String>) -> ZeroDates {
    match policy.value.as_str() {
        "quarantine" => ZeroDates::Quarantine,
        "null" => ZeroDates::Null,
        date if is_date(date) => ZeroDates::Sentinel(policy.value),
        other => {
            let hint = "\"quarantine\", \"null\", or a date that stands for it, like \"1000-01-01\"";
            section.text.report.error(&policy.at, format!("`zero_dates` is \"{other}\""), hint);
            ZeroDates::Quarantine
        }
    }
}

pub(super) fn identifier(section: &Fields<'_>, name: &Located<String>) -> bool {
    let fine =
        name.value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') && !name.value.is_empty() && name.value.len() <= 63;
    if !fine {
        let hint = "letters, digits and `_`, at most 63";
        section.text.report.error(&name.at, format!("`{}` cannot name a table or column", name.value), hint);
    }
    fine
}
