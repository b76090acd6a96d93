//! From what a rule file says of a table pair, and the columns that both tables really have, to a [`Plan`]. Reports every
//! error at once, each with its remedy. Does not look at rows.

use std::collections::BTreeMap;

use crate::mapping::plan::{Lookup, Place, Plan, Rule, Shape};
use crate::mapping::{ColumnMap, ColumnSource, Kind, TableMap, Value};

/// A column, as its database describes it. Generated columns are not listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnInfo {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
    /// A row cannot be inserted without it: NOT NULL or part of the primary key, and without a default.
    pub required: bool,
}

/// The columns of tables, by table; a table that is missing does not exist.
pub type Tables = BTreeMap<String, Vec<ColumnInfo>>;

/// Why a pair cannot be mapped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{source_line}: {message}; {remedy}")]
pub struct MapError {
    /// Where the pair stands: `users.toml:70`.
    pub source_line: String,
    /// What is wrong; names the table and the column.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

/// Compiles all table pairs of a capability, in their order: parents before children.
///
/// # Errors
/// Every reason why rows could not be mapped there and back.
pub fn compile(capability: &str, maps: &[TableMap], legacy: &Tables, modern: &Tables) -> Result<Vec<Plan>, Vec<MapError>> {
    let mut errors = Vec::new();
    let mut plans = Vec::new();
    for map in maps {
        let mut pair = Pair { capability, map, maps, errors: &mut errors };
        match (legacy.get(&map.legacy), modern.get(&map.modern)) {
            (Some(legacy), Some(modern)) => plans.extend(pair.compile(legacy, modern)),
            (None, _) => pair.error(format!("legacy has no table {}", map.legacy), "name an existing table"),
            (_, None) => pair.error(format!("modern has no table {}", map.modern), "create it, or name an existing table"),
        }
    }
    if errors.is_empty() { Ok(plans) } else { Err(errors) }
}

struct Pair<'a> {
    capability: &'a str,
    map: &'a TableMap,
    maps: &'a [TableMap],
    errors: &'a mut Vec<MapError>,
}

impl Pair<'_> {
    fn compile(&mut self, legacy: &[ColumnInfo], modern: &[ColumnInfo]) -> Option<Plan> {
        let before = self.errors.len();
        let map = self.map;
        self.must_exist("legacy", &map.legacy, legacy, std::iter::once(&map.legacy_key).chain(&map.keep_legacy));
        self.must_exist("modern", &map.modern, modern, std::iter::once(&map.modern_key).chain(&map.keep_modern));
        let columns = self.all_columns(legacy, modern);
        let from_names: Vec<&String> = columns.iter().filter_map(|column| source_column(&column.from)).collect();
        self.must_exist("legacy", &map.legacy, legacy, from_names.iter().copied());
        self.must_exist("modern", &map.modern, modern, columns.iter().map(|column| &column.modern));

        let mut legacy_columns: Vec<String> = Vec::new();
        for name in from_names.into_iter().filter(|name| **name != map.legacy_key) {
            if map.keep_legacy.contains(name) {
                self.error(format!("column {name} of {} is mapped and listed in keep_legacy", map.legacy), "take it out of one of the two");
            }
            if !legacy_columns.contains(name) {
                legacy_columns.push(name.clone());
            }
        }
        let mut lookups = Vec::new();
        let mut rules = Vec::new();
        for column in &columns {
            rules.extend(self.rule(column, &legacy_columns, &mut lookups));
        }
        let modern_columns: Vec<String> = columns.iter().map(|column| column.modern.clone()).collect();
        self.nothing_left(legacy, &legacy_columns, modern, &modern_columns);
        if self.errors.len() > before {
            return None;
        }
        let filter = columns.iter().filter_map(|column| match &column.from {
            ColumnSource::Constant(value) => Some((column.modern.clone(), value.clone())),
            _ => None,
        });
        Some(Plan {
            capability: self.capability.to_owned(),
            pair: map.legacy.clone(),
            legacy: Shape {
                table: map.legacy.clone(),
                key: map.legacy_key.clone(),
                columns: legacy_columns,
                lookups: Vec::new(),
                filter: Vec::new(),
            },
            modern: Shape {
                table: map.modern.clone(),
                key: map.modern_key.clone(),
                filter: filter.collect(),
                columns: modern_columns,
                lookups,
            },
            sequence: map.sequence.clone(),
            rules,
        })
    }

    /// What is spelled out, and the same-named columns that follow by themselves.
    fn all_columns(&self, legacy: &[ColumnInfo], modern: &[ColumnInfo]) -> Vec<ColumnMap> {
        let map = self.map;
        let mut columns = map.columns.clone();
        if map.only {
            return columns;
        }
        let spelled: Vec<&String> = map.columns.iter().filter_map(|column| source_column(&column.from)).collect();
        for ColumnInfo { name, .. } in legacy {
            let taken = *name == map.legacy_key || *name == map.modern_key || spelled.contains(&name) || map.keep_legacy.contains(name);
            let free = modern.iter().any(|column| column.name == *name)
                && !map.columns.iter().any(|column| column.modern == *name)
                && !map.keep_modern.contains(name);
            if !taken && free {
                columns.push(ColumnMap { modern: name.clone(), from: ColumnSource::Column(name.clone()) });
            }
        }
        columns
    }

    fn rule(&mut self, column: &ColumnMap, legacy: &[String], lookups: &mut Vec<Lookup>) -> Option<Rule> {
        let place = |name: &String| match legacy.iter().position(|known| known == name) {
            Some(index) => Place::Column(index),
            None => Place::Key,
        };
        match &column.from {
            ColumnSource::Column(name) => Some(Rule::Copy(place(name))),
            ColumnSource::Constant(value) => Some(Rule::Constant(value.clone())),
            ColumnSource::Map { column: name, values } => {
                self.must_be_invertible(column, values);
                Some(Rule::Map { from: place(name), values: values.clone() })
            }
            ColumnSource::Uuid5 { column: name, of } if place(name) == Place::Key => {
                Some(Rule::Uuid { from: Place::Key, of: of.clone(), lookup: None })
            }
            ColumnSource::Uuid5 { column: name, of } => {
                let lookup = self.lookup(column, of)?;
                lookups.push(lookup);
                Some(Rule::Uuid { from: place(name), of: of.clone(), lookup: Some(lookups.len() - 1) })
            }
        }
    }

    /// Where the integer of a reference is found on the way back.
    fn lookup(&mut self, column: &ColumnMap, of: &str) -> Option<Lookup> {
        let Some(target) = self.maps.iter().find(|map| map.legacy == of) else {
            self.error(
                format!("column {} of {} is a uuid of {of}, which is in no table pair of this capability", column.modern, self.map.modern),
                "add a [[table]] for it, or keep the column an integer",
            );
            return None;
        };
        let id = target
            .columns
            .iter()
            .find(|c| matches!(&c.from, ColumnSource::Uuid5 { column, of: own } if *column == target.legacy_key && own == of));
        let Some(id) = id else {
            self.error(
                format!("column {} of {} is a uuid of {of}, whose key is not mapped to a uuid", column.modern, self.map.modern),
                "map the key of that table with `as = \"uuid5\"`",
            );
            return None;
        };
        Some(Lookup { column: column.modern.clone(), table: target.modern.clone(), id: id.modern.clone(), key: target.modern_key.clone() })
    }

    fn must_be_invertible(&mut self, column: &ColumnMap, values: &[(Value, Value)]) {
        for (index, (legacy, modern)) in values.iter().enumerate() {
            if values[..index].iter().any(|(l, m)| l == legacy || m == modern) {
                self.error(
                    format!("the map of column {} of {} names a value twice", column.modern, self.map.modern),
                    "make it one to one: rows have to find their way back",
                );
            }
        }
    }

    fn must_exist<'n>(&mut self, side: &str, table: &str, columns: &[ColumnInfo], names: impl Iterator<Item = &'n String>) {
        for name in names {
            if !columns.iter().any(|column| column.name == *name) {
                self.error(
                    format!("{side} table {table} has no column {name}"),
                    "name an existing column, or take it out of the rule file",
                );
            }
        }
    }

    /// Nothing may be lost on the way, and nothing may be missing at its end.
    fn nothing_left(&mut self, legacy: &[ColumnInfo], mapped: &[String], modern: &[ColumnInfo], written: &[String]) {
        let map = self.map;
        for ColumnInfo { name, required, .. } in legacy {
            if mapped.contains(name) || *name == map.legacy_key {
                continue;
            }
            if *required {
                self.error(
                    format!("column {name} of legacy table {} is not mapped, and a row cannot be written back without it", map.legacy),
                    "map it, or give it a default",
                );
            } else if !map.only && !map.keep_legacy.contains(name) {
                self.error(
                    format!("column {name} of legacy table {} has no counterpart on modern", map.legacy),
                    "map it, or list it in keep_legacy",
                );
            }
        }
        for ColumnInfo { name, required, .. } in modern {
            if *required && !written.contains(name) && *name != map.modern_key {
                self.error(
                    format!("column {name} of modern table {} is not mapped, and a row cannot be inserted without it", map.modern),
                    "map it, give it a `constant`, or give it a default in the database",
                );
            }
        }
    }

    fn error(&mut self, message: String, remedy: &str) {
        self.errors.push(MapError { source_line: self.map.source.clone(), message, remedy: remedy.to_owned() });
    }
}

fn source_column(from: &ColumnSource) -> Option<&String> {
    match from {
        ColumnSource::Column(column) | ColumnSource::Map { column, .. } | ColumnSource::Uuid5 { column, .. } => Some(column),
        ColumnSource::Constant(_) => None,
    }
}
