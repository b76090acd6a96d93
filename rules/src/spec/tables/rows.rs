//! `where`, `legacy_delete` and `modern_delete` of a `[[table]]`: which rows take part, and what a deletion leaves of one.

use toml::de::DeValue;

use super::columns::value;
use crate::mapping::{ColumnMap, ColumnSource, Mark, Rows, Value};
use crate::spec::fields::{Fields, Item};
use crate::spec::shape::{Key, Kind, Names, Section};
use crate::spec::source::{Located, Place, Report};

const WHERE: &str = "where = { deleted = false }";
const LEGACY_DELETE: &str = "legacy_delete = { deleted = true }";

pub(super) const FILTER: Section = Section::map(WHERE, Names::Any, Kind::Either(&[Kind::Value, Kind::Table(&NULL)])).least(1);
pub(super) const ON_LEGACY: Section = Section::map(LEGACY_DELETE, Names::Any, MARK).least(1);
pub(super) const ON_MODERN: Section = Section::map("modern_delete = { deleted_at = { now = true } }", Names::Any, MARK).least(1);
const MARK: Kind = Kind::Either(&[Kind::Value, Kind::Table(&NOW)]);
const NULL: Section = Section::new("{ null = true }", &[Key::new("null", Kind::True, "It is NULL.").must("true")]);
const NOW: Section = Section::new("{ now = true }", &[Key::new("now", Kind::True, "The time of the deletion.").must("true")]);

/// What was read, with the places of the filter's columns.
pub(super) struct RowsDocument {
    pub(super) rows: Rows,
    filter: Vec<Place>,
}

/// Reads the three keys. A deletion has to take a row out of the pair: what tells live rows apart is `where` on legacy,
/// and constant columns on modern.
pub(super) fn read(section: &mut Fields<'_>, columns: &[Located<ColumnMap>]) -> RowsDocument {
    let tests = section.table("where").map_or_else(Vec::new, |tests| read_tests(&tests));
    let (filter, places): (Vec<_>, Vec<_>) = tests.into_iter().map(|test| (test.value, test.at)).unzip();
    let legacy = section.table("legacy_delete").map_or_else(Vec::new, |marks| {
        let tested = |name: &str| filter.iter().find(|(column, _): &&(String, Value)| column == name).map(|(_, value)| value);
        read_marks(&marks, tested, "`where = { … }`")
    });
    let modern = section.table("modern_delete").map_or_else(Vec::new, |marks| {
        let constant = |name: &str| match columns.iter().find(|column| column.value.modern == name) {
            Some(Located { value: ColumnMap { from: ColumnSource::Constant(value), .. }, .. }) => Some(value),
            _ => None,
        };
        read_marks(&marks, constant, "a constant column")
    });
    RowsDocument { rows: Rows { filter, legacy_delete: legacy, modern_delete: modern }, filter: places }
}

fn read_tests(section: &Fields<'_>) -> Vec<Located<(String, Value)>> {
    let mut tests = Vec::new();
    for (name, item) in section.entries() {
        let tested = match special(section, name.value, item, "null") {
            Some(fine) => fine.then_some(Value::Null),
            None if matches!(item.get_ref(), DeValue::Array(_)) => {
                let hint = "a row that is written back needs one value: write a `[[table]]` for each";
                section.wrong(name.value, item, "one value", hint);
                None
            }
            None => value(section, name.value, item),
        };
        tests.extend(tested.map(|value| Located { value: (name.value.to_owned(), value), at: name.at }));
    }
    if section.entries().is_empty() {
        section.error("it tests nothing", format!("write it like {WHERE}"));
    }
    tests
}

fn read_marks<'v>(section: &Fields<'_>, alive: impl Fn(&str) -> Option<&'v Value>, filter: &str) -> Vec<(String, Mark)> {
    let mut marks = Vec::new();
    for (name, item) in section.entries() {
        let mark = match special(section, name.value, item, "now") {
            Some(fine) => fine.then_some(Mark::Now),
            None => value(section, name.value, item).map(Mark::Value),
        };
        let Some(mark) = mark else { continue };
        match alive(name.value) {
            None => {
                let message = format!("nothing says what `{}` is in a row that is not deleted", name.value);
                section.text.report.error(&name.at, message, format!("test it with {filter}, so that a deleted row leaves the pair"));
            }
            Some(value) if mark == Mark::Value(value.clone()) => {
                let message = format!("`{}` has this value in rows that are not deleted", name.value);
                section.text.report.error(&name.at, message, "write another one");
            }
            Some(_) => {}
        }
        marks.push((name.value.to_owned(), mark));
    }
    if marks.is_empty() && section.entries().is_empty() {
        section.error("it writes nothing", format!("write it like {LEGACY_DELETE}"));
    }
    marks
}

/// `{ null = true }` or `{ now = true }`: whether it is well formed, if it is a table at all.
fn special(section: &Fields<'_>, name: &str, item: &Item<'_>, word: &str) -> Option<bool> {
    let DeValue::Table(table) = item.get_ref() else { return None };
    let fine = table.len() == 1 && table.get(word).is_some_and(|value| value.get_ref().as_bool() == Some(true));
    if !fine {
        section.wrong(name, item, &format!("a value or {{ {word} = true }}"), "a string, an integer, a number or a boolean");
    }
    Some(fine)
}

/// Whether no row fulfils both filters.
pub(super) fn disjoint(one: &Rows, other: &Rows) -> bool {
    one.filter.iter().any(|(column, value)| other.filter.iter().any(|(same, another)| same == column && another != value))
}

/// Columns of the filter that something else speaks of.
pub(super) fn clashes(
    report: &Report,
    key: &str,
    document: &RowsDocument,
    keep_legacy: &[Located<String>],
    columns: &[Located<ColumnMap>],
) {
    for ((name, _), at) in document.rows.filter.iter().zip(&document.filter) {
        let feeds = |column: &&Located<ColumnMap>| column.value.from.columns().contains(name);
        if name == key {
            report.error(at, format!("`{name}` is the key"), "a filter tests what many rows have in common");
        } else if let Some(column) = columns.iter().find(feeds) {
            let message = format!("`{name}` is the same in every row of the pair, and feeds `{}`", column.value.modern);
            report.error(&column.at, message, "make it a `constant`, or remove it from `where`");
        } else if keep_legacy.iter().any(|kept| kept.value == *name) {
            report.error(at, format!("`{name}` stays behind, so that nobody sees a row leave the pair"), "remove it from `keep_legacy`");
        }
    }
}
