//! From what a rule file says of a table pair, and the columns that both tables really have, to a [`Plan`]. Reports every
//! error at once, each with its remedy. Does not look at rows.

mod documents;
mod events;

use std::collections::BTreeMap;

use jiff::tz::TimeZone;

use crate::mapping::cast::{self, Cast, Loss};
use crate::mapping::plan::{self, Form, Lookup, Place, Plan, Rule, Shape};
use crate::mapping::{ColumnMap, ColumnSource, Kind, TableMap, Value, namespace_of};

/// A column, as its database describes it. Generated columns are not listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnInfo {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
    /// A row cannot be inserted without it: NOT NULL or part of the primary key, and without a default.
    pub required: bool,
    /// NULL may stand there.
    pub nullable: bool,
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
        let (old, new) = (legacy.get(&map.legacy), modern.get(&map.modern));
        let (legacy, modern) = (old.map_or(&[][..], Vec::as_slice), new.map_or(&[][..], Vec::as_slice));
        let mut pair = Pair { capability, map, maps, legacy, modern, losses: Vec::new(), errors: &mut errors };
        match (old, new) {
            (Some(_), Some(_)) => plans.extend(pair.compile()),
            (None, _) => pair.error(format!("legacy has no table {}", map.legacy), "name an existing table"),
            (_, None) => pair.error(format!("modern has no table {}", map.modern), "create it, or name an existing table"),
        }
    }
    if errors.is_empty() { Ok(plans) } else { Err(errors) }
}

pub(super) struct Pair<'a> {
    capability: &'a str,
    pub(super) map: &'a TableMap,
    pub(super) maps: &'a [TableMap],
    pub(super) legacy: &'a [ColumnInfo],
    pub(super) modern: &'a [ColumnInfo],
    losses: Vec<Loss>,
    errors: &'a mut Vec<MapError>,
}

impl<'a> Pair<'a> {
    fn compile(&mut self) -> Option<Plan> {
        let before = self.errors.len();
        let (map, legacy, modern) = (self.map, self.legacy, self.modern);
        self.must_exist("legacy", &map.legacy, legacy, std::iter::once(&map.legacy_key).chain(&map.keep_legacy));
        self.must_exist("modern", &map.modern, modern, std::iter::once(&map.modern_key).chain(&map.keep_modern));
        let columns = carried(map, legacy, modern);
        let from_names: Vec<&String> = columns.iter().flat_map(|column| column.from.columns()).collect();
        self.must_exist("legacy", &map.legacy, legacy, from_names.iter().copied());
        self.must_exist("modern", &map.modern, modern, columns.iter().map(|column| &column.modern));

        let tested = map.rows.filter.iter().map(|(name, _)| name);
        self.must_exist("legacy", &map.legacy, legacy, tested.clone());
        let mut legacy_columns: Vec<String> = tested.cloned().collect();
        for name in from_names.into_iter().filter(|name| **name != map.legacy_key) {
            if map.keep_legacy.contains(name) {
                self.error(format!("column {name} of {} is mapped and listed in keep_legacy", map.legacy), "take it out of one of the two");
            }
            if !legacy_columns.contains(name) {
                legacy_columns.push(name.clone());
            }
        }
        self.keys_agree();
        let (mut lookups, mut documents) = (Vec::new(), Vec::new());
        let mut rules = Vec::new();
        for (at, column) in columns.iter().enumerate() {
            rules.extend(match &column.from {
                ColumnSource::Unpack { column: from, field } => self.unpack(at, column, (from, field), &legacy_columns, &mut documents),
                _ => self.rule(column, &legacy_columns, &mut lookups),
            });
        }
        let modern_columns: Vec<String> = columns.iter().map(|column| column.modern.clone()).collect();
        let events = if rules.len() == columns.len() { self.events(&modern_columns, &rules) } else { Vec::new() };
        self.nothing_left(legacy, &legacy_columns, modern, &modern_columns);
        if self.errors.len() > before {
            return None;
        }
        let constants = columns.iter().zip(&rules).filter_map(|(column, rule)| match rule {
            Rule::Constant(value) => Some((column.modern.clone(), value.clone())),
            _ => None,
        });
        let filter = constants.collect();
        let modern = Shape { table: map.modern.clone(), key: map.modern_key.clone(), filter, columns: modern_columns, lookups };
        let filter = self.filter()?;
        let fixed = filter.iter().enumerate().map(|(at, (_, value))| (at, value.clone())).collect();
        let (table, key) = (map.legacy.clone(), map.legacy_key.clone());
        let legacy = Shape { table, key, columns: legacy_columns, lookups: Vec::new(), filter };
        let graves = self.graves(&legacy, &modern)?;
        Some(Plan {
            capability: self.capability.to_owned(),
            pair: self.name(),
            legacy,
            modern,
            fixed,
            graves,
            documents,
            moved: plan::moved(&rules),
            sequence: map.sequence.clone(),
            losses: std::mem::take(&mut self.losses),
            events,
            rules,
        })
    }

    fn rule(&mut self, column: &ColumnMap, legacy: &[String], lookups: &mut Vec<Lookup>) -> Option<Rule> {
        let place = |name: &String| place(legacy, name);
        match &column.from {
            ColumnSource::Column(name) => Some(Rule::Copy(place(name), self.cast(name, &column.modern, None)?)),
            ColumnSource::Local { column: name, zone } => match cast::zone(zone) {
                Some(zone) => Some(Rule::Copy(place(name), self.cast(name, &column.modern, Some(&zone))?)),
                None => {
                    self.error(format!("there is no time zone {zone}"), "name it like \"Europe/Berlin\"");
                    None
                }
            },
            ColumnSource::Pack { columns } => self.pack(column, columns, legacy),
            // Fields of one document belong together: [`Pair::unpack`].
            ColumnSource::Unpack { .. } => None,
            ColumnSource::Constant(value) => {
                let kind = kind(self.modern, &column.modern);
                self.literal(&self.map.modern, &column.modern, value, kind).map(Rule::Constant)
            }
            ColumnSource::Map { column: name, values } => {
                let kinds = (kind(self.legacy, name), kind(self.modern, &column.modern));
                let values = values.iter().map(|(legacy, modern)| {
                    let legacy = self.literal(&self.map.modern, &column.modern, legacy, kinds.0)?;
                    Some((legacy, self.literal(&self.map.modern, &column.modern, modern, kinds.1)?))
                });
                let values: Vec<(Value, Value)> = values.collect::<Option<_>>()?;
                self.must_be_invertible(column, &values);
                Some(Rule::Map { from: place(name), values })
            }
            ColumnSource::Uuid5 { column: name, of } => {
                let from = place(name);
                let form = self.form(name, &column.modern)?;
                let lookup = match from {
                    Place::Key => None,
                    Place::Column(_) => {
                        lookups.push(self.lookup(column, of)?);
                        Some(lookups.len() - 1)
                    }
                };
                Some(Rule::Uuid { from, namespace: namespace_of(self.capability, of), lookup, form })
            }
        }
    }

    /// How values get from a legacy column to a modern one.
    fn cast(&mut self, legacy: &str, modern: &str, zone: Option<&TimeZone>) -> Option<Cast> {
        let (from, to) = (kind(self.legacy, legacy), kind(self.modern, modern));
        match Cast::between(from, to, zone) {
            Ok(cast) => {
                let nullable = self.legacy.iter().find(|column| column.name == legacy).is_some_and(|column| column.nullable);
                let cast = cast.with_zero_dates(&self.map.zero_dates, (from, nullable));
                let loss = |(to, what)| Loss { table: self.map.modern.clone(), column: modern.to_owned(), to, what };
                self.losses.extend(cast.losses().map(loss));
                Some(cast)
            }
            Err(remedy) => {
                let tables = (&self.map.legacy, &self.map.modern);
                self.error(format!("column {legacy} of {} is {from}, and {modern} of {} is {to}", tables.0, tables.1), remedy);
                None
            }
        }
    }

    /// A value of the rule file in the form of its column.
    pub(super) fn literal(&mut self, table: &str, column: &str, value: &Value, kind: &Kind) -> Option<Value> {
        let literal = cast::literal(value, kind);
        if literal.is_none() {
            let message = format!("column {column} of {table}: a value of the rule file is not {kind}");
            self.error(message, "write it as the column has it");
        }
        literal
    }

    /// How the modern column keeps the UUID of a legacy integer.
    fn form(&mut self, legacy: &str, modern: &str) -> Option<Form> {
        let (from, to) = (kind(self.legacy, legacy), kind(self.modern, modern));
        if !matches!(from, Kind::Int | Kind::Any | Kind::Loose(_)) {
            let message = format!("column {modern} of {} is to be a uuid of {legacy}, which is {from}", self.map.modern);
            self.error(message, "only integers become a uuid: copy the column as it is");
            return None;
        }
        match cast::bare(to) {
            Kind::Uuid | Kind::Text | Kind::Any => Some(Form::Text),
            Kind::Char32 => Some(Form::Hex),
            Kind::Bytes => Some(Form::Bytes),
            _ => {
                self.error(format!("column {modern} of {} is {to}, which holds no uuid", self.map.modern), "make it a uuid, or text");
                None
            }
        }
    }

    /// Keys are not cast: whatever correlates two rows is the same value on both sides.
    fn keys_agree(&mut self) {
        let map = self.map;
        let (one, other) = (kind(self.legacy, &map.legacy_key), kind(self.modern, &map.modern_key));
        if !cast::same_key(one, other) {
            self.error(
                format!(
                    "the key {} of {} is {one}, and {} of {}, which keeps it, is {other}",
                    map.legacy_key, map.legacy, map.modern_key, map.modern
                ),
                "give the modern column the type of the legacy key",
            );
        }
    }

    /// Where the integer of a reference is found on the way back.
    fn lookup(&mut self, column: &ColumnMap, of: &str) -> Option<Lookup> {
        let mut targets = self.maps.iter().filter(|map| map.legacy == of);
        let target = targets.next();
        if let Some(other) = targets.next() {
            self.error(
                format!(
                    "column {} of {} is a uuid of {of}, whose rows are in several tables, {} among them",
                    column.modern, self.map.modern, other.modern
                ),
                "keep the column an integer",
            );
            return None;
        }
        let Some(target) = target else {
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
                let remedy = match self.renamed(table, name) {
                    Some(remedy) => remedy,
                    None => "name an existing column, or take it out of the rule file".to_owned(),
                };
                self.error(format!("{side} table {table} has no column {name}"), &remedy);
            }
        }
    }

    /// What to write if a mapped legacy column bears another name now: the one that nothing else accounts for.
    fn renamed(&self, table: &str, gone: &str) -> Option<String> {
        let map = self.map;
        let modern = map.columns.iter().find(|column| matches!(&column.from, ColumnSource::Column(from) if from == gone))?;
        let known = |name: &String| {
            *name == map.legacy_key
                || map.keep_legacy.contains(name)
                || map.columns.iter().any(|column| column.from.columns().contains(name))
                || self.modern.iter().any(|column| column.name == *name)
        };
        let mut left = self.legacy.iter().filter(|column| table == map.legacy && !known(&column.name));
        let (new, None) = (&left.next()?.name, left.next()) else { return None };
        Some(format!(
            "if it is called {new} now, write {} = \"{new}\" in [table.columns]; else name an existing column, or take it out of the rule file",
            modern.modern
        ))
    }

    /// What to write for a legacy column that nothing says anything of.
    fn place_for(&self, name: &str) -> String {
        let map = self.map;
        let kept = map.keep_legacy.iter().map(String::as_str).chain([name]).map(|name| format!("\"{name}\""));
        let kept = kept.collect::<Vec<_>>().join(", ");
        format!(
            "to carry it, give {} a column {name} (it follows by itself), or write other = \"{name}\" in [table.columns]; to leave it behind, write keep_legacy = [{kept}]",
            map.modern
        )
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
                    &format!("{}, and give it a default in the database", self.place_for(name)),
                );
            } else if !map.only && !map.keep_legacy.contains(name) {
                self.error(format!("column {name} of legacy table {} has no counterpart on modern", map.legacy), &self.place_for(name));
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

    pub(super) fn error(&mut self, message: String, remedy: &str) {
        self.errors.push(MapError { source_line: self.map.source.clone(), message, remedy: remedy.to_owned() });
    }
}

/// The columns of a pair: what is spelled out, and the same-named ones that follow by themselves.
pub(crate) fn carried(map: &TableMap, legacy: &[ColumnInfo], modern: &[ColumnInfo]) -> Vec<ColumnMap> {
    let mut columns = map.columns.clone();
    if map.only {
        return columns;
    }
    let spelled: Vec<&String> = map.columns.iter().flat_map(|column| column.from.columns()).collect();
    for ColumnInfo { name, .. } in legacy {
        let taken = *name == map.legacy_key
            || *name == map.modern_key
            || spelled.contains(&name)
            || map.keep_legacy.contains(name)
            || map.rows.filter.iter().any(|(tested, _)| tested == name);
        let free = modern.iter().any(|column| column.name == *name)
            && !map.columns.iter().any(|column| column.modern == *name)
            && !map.keep_modern.contains(name);
        if !taken && free {
            columns.push(ColumnMap { modern: name.clone(), from: ColumnSource::Column(name.clone()) });
        }
    }
    columns
}

/// Where in a legacy row a column stands: what is not among the columns is the key.
fn place(columns: &[String], name: &String) -> Place {
    columns.iter().position(|known| known == name).map_or(Place::Key, Place::Column)
}

/// What a column holds; one that is not there has been complained of.
pub(super) fn kind<'c>(columns: &'c [ColumnInfo], name: &str) -> &'c Kind {
    columns.iter().find(|column| column.name == name).map_or(&Kind::Any, |column| &column.kind)
}
