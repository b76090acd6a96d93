//! Where each modern column of a pair comes from. A column that follows by itself (same name, kinds that a cast connects) is
//! not spelled out; one that is only likely is a question.

use std::collections::BTreeSet;

use super::likeness::{self, LIKELY, SURE};
use super::tables::{bare, nameable};
use super::{Decision, From, Pair, Proposal};
use crate::catalog::{Catalog, Column, Table};
use crate::mapping::{Kind, castable};

/// Columns that Django writes at every log-in, which stays with the monolith.
const LOG_IN: &str = "last_login";

pub(super) fn decide(proposal: &mut Proposal, legacy: &Catalog, modern: &Catalog) {
    // Pairs whose ids become UUIDs, so that references to them can: filled in their order, parents first.
    let mut uuids: Vec<(String, String)> = Vec::new();
    let several: BTreeSet<String> = {
        let mut seen = BTreeSet::new();
        proposal.pairs.iter().filter(|pair| !seen.insert(pair.legacy.clone())).map(|pair| pair.legacy.clone()).collect()
    };
    for pair in &mut proposal.pairs {
        let (Some(old), Some(new)) = (legacy.table(&pair.legacy), modern.table(&pair.modern)) else { continue };
        let mut columns = Columns { pair, old, new, taken: BTreeSet::new(), asked: BTreeSet::new() };
        columns.key(&uuids);
        if columns.has_uuid_of_its_own() && !several.contains(&columns.pair.legacy) {
            uuids.push((columns.pair.legacy.clone(), columns.pair.modern.clone()));
        }
        columns.references(&uuids);
        columns.same_names();
        columns.renamed();
        columns.left();
    }
}

struct Columns<'a> {
    pair: &'a mut Pair,
    old: &'a Table,
    new: &'a Table,
    /// Legacy columns that feed something.
    taken: BTreeSet<String>,
    /// Legacy columns that a question is about.
    asked: BTreeSet<String>,
}

impl Columns<'_> {
    /// The modern primary key: a UUID of the legacy integer.
    fn key(&mut self, uuids: &[(String, String)]) {
        let [id] = self.new.primary.as_slice() else { return };
        let (Some(key), Some(column)) = (self.old.column(&self.pair.key), self.new.column(id)) else { return };
        let integer = matches!(bare(&key.kind), Kind::Int);
        if *id == self.pair.modern_key
            || !integer
            || !holds_uuid(&column.kind)
            || column.generated
            || !nameable(id)
            || self.is_reference(id, uuids)
        {
            return;
        }
        let why = format!("a UUID of the integer, the same on every machine; {} keeps the integer", self.pair.modern_key);
        self.spell(id, From::Uuid5 { column: self.pair.key.clone(), of: None }, why);
    }

    fn has_uuid_of_its_own(&self) -> bool {
        self.pair.columns.iter().any(|decision| matches!(&decision.from, From::Uuid5 { column, of: None } if *column == self.pair.key))
    }

    /// Whether a modern column refers to another table, or carries the name of a legacy column that refers to one with UUIDs.
    fn is_reference(&self, column: &str, uuids: &[(String, String)]) -> bool {
        let refers = |reference: &crate::catalog::Reference| reference.columns == [column.to_owned()];
        let to_uuids = |reference: &crate::catalog::Reference| uuids.iter().any(|(legacy, _)| *legacy == reference.parent);
        self.new.references.iter().any(refers) || self.old.references.iter().any(|reference| refers(reference) && to_uuids(reference))
    }

    /// References of legacy to tables whose ids become UUIDs.
    fn references(&mut self, uuids: &[(String, String)]) {
        for reference in &self.old.references {
            let [from] = reference.columns.as_slice() else { continue };
            let Some((_, parent)) = uuids.iter().find(|(legacy, _)| *legacy == reference.parent) else { continue };
            let declared = self.new.references.iter().filter(|new| new.parent == *parent && new.columns.len() == 1);
            let declared: Vec<&String> = declared.map(|new| &new.columns[0]).filter(|column| !self.is_fed(column)).collect();
            let to = match (declared.iter().find(|column| **column == from), declared.as_slice()) {
                (Some(same), _) => Some((*same).clone()),
                (None, [only]) => Some((*only).clone()),
                (None, _) => Some(from.clone()),
            };
            let to =
                to.filter(|to| self.new.column(to).is_some_and(|column| holds_uuid(&column.kind) && !column.generated) && nameable(to));
            let Some(to) = to.filter(|to| !self.is_fed(to) && *to != self.pair.modern_key && !self.taken.contains(from)) else { continue };
            let why = format!("refers to {}, whose ids become UUIDs", reference.parent);
            let of = (reference.parent != self.pair.legacy).then(|| reference.parent.clone());
            let of = of.or_else(|| Some(self.pair.legacy.clone()));
            self.spell(&to, From::Uuid5 { column: from.clone(), of }, why);
        }
    }

    /// Same-named columns follow by themselves, unless no cast connects their kinds.
    fn same_names(&mut self) {
        for new in &self.new.columns {
            let Some(old) = self.old.column(&new.name).filter(|old| self.is_free(old)) else { continue };
            if new.generated || new.name == self.pair.modern_key || self.is_fed(&new.name) {
                continue;
            }
            if let Some(why) = fits(old, new).err() {
                self.ask(old, format!("{} is {} here and {} there: {why}", new.name, old.kind, new.kind));
                self.ask(old, format!("  {}", map_line(&new.name, &old.name)));
                self.taken.insert(old.name.clone());
                continue;
            }
            self.clocks(old, new);
            self.taken.insert(old.name.clone());
        }
    }

    /// Columns whose names mean the same to everybody are spelled out; likely ones are asked about.
    fn renamed(&mut self) {
        let mut likely: Vec<(f64, &Column, &Column)> = Vec::new();
        for new in self.new.columns.iter().filter(|new| self.is_open(new)) {
            for old in self.old.columns.iter().filter(|old| self.is_free(old) && !self.taken.contains(&old.name)) {
                likely.push((likeness::columns(&old.name, &new.name), old, new));
            }
        }
        likely.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| (&a.1.name, &a.2.name).cmp(&(&b.1.name, &b.2.name))));
        let mut asked: BTreeSet<&str> = BTreeSet::new();
        for (alike, old, new) in likely {
            if alike < LIKELY
                || self.taken.contains(&old.name)
                || self.is_fed(&new.name)
                || asked.contains(new.name.as_str())
                || self.asked.contains(&old.name)
            {
                continue;
            }
            match fits(old, new) {
                Ok(()) if alike >= SURE => {
                    self.spell(&new.name, From::Column(old.name.clone()), format!("{} by its other name", old.name));
                    self.clocks(old, new);
                }
                Ok(()) => {
                    asked.insert(&new.name);
                    self.ask(old, format!("is {} the legacy {}?", new.name, old.name));
                    self.ask(old, format!("  {} = \"{}\"", new.name, old.name));
                }
                Err(why) if alike >= SURE => {
                    asked.insert(&new.name);
                    self.ask(
                        old,
                        format!("{} looks like the legacy {} ({} there, {} here): {why}", new.name, old.name, old.kind, new.kind),
                    );
                    self.ask(old, format!("  {}", map_line(&new.name, &old.name)));
                }
                Err(_) => {}
            }
        }
    }

    /// What nothing was found for.
    fn left(&mut self) {
        let left: Vec<&Column> = self.old.columns.iter().filter(|old| self.is_free(old) && !self.asked.contains(&old.name)).collect();
        for old in left {
            if old.name == LOG_IN {
                self.pair.keep_legacy.push((old.name.clone(), "Django writes it at each log-in, which stays with the monolith".to_owned()));
                continue;
            }
            self.pair
                .questions
                .push(format!("the legacy column {} has no counterpart: map it, or keep_legacy = [\"{}\"]", old.name, old.name));
        }
        for new in &self.new.columns {
            let known = new.name == self.pair.modern_key || self.is_fed(&new.name) || self.taken.contains(&new.name);
            if known || new.generated || self.pair.questions.iter().any(|question| question.contains(&format!("{} = ", new.name))) {
                continue;
            }
            let why = if new.limits.not_null && !new.default {
                "it has to have a value: map it, or give it a constant"
            } else {
                "map it, or list it in keep_modern"
            };
            self.pair.questions.push(format!("nothing on legacy looks like the modern column {}: {why}", new.name));
        }
    }

    /// A time without a zone beside one with: whose clocks it shows is not in the database.
    fn clocks(&mut self, old: &Column, new: &Column) {
        let (naive, instant) = (bare(&old.kind), bare(&new.kind));
        if matches!((naive, instant), (Kind::Timestamp, Kind::Instant) | (Kind::Instant, Kind::Timestamp)) {
            let line = format!("{} = {{ from = \"{}\", zone = \"Europe/Berlin\" }}", new.name, old.name);
            self.pair
                .questions
                .push(format!("{} is taken to be in UTC, as Django writes it with USE_TZ; if it shows local clocks: {line}", old.name));
        }
    }

    /// A legacy column that may feed something.
    fn is_free(&self, old: &Column) -> bool {
        !old.generated && old.name != self.pair.key && nameable(&old.name) && !self.taken.contains(&old.name)
    }

    /// A modern column that nothing feeds yet.
    fn is_open(&self, new: &Column) -> bool {
        !new.generated
            && new.name != self.pair.modern_key
            && nameable(&new.name)
            && !self.is_fed(&new.name)
            && !self.taken.contains(&new.name)
    }

    fn is_fed(&self, modern: &str) -> bool {
        self.pair.columns.iter().any(|decision| decision.modern == modern)
    }

    fn spell(&mut self, modern: &str, from: From, why: String) {
        if let From::Column(column) | From::Uuid5 { column, .. } = &from {
            self.taken.insert(column.clone());
        }
        self.pair.columns.push(Decision { modern: modern.to_owned(), from, why });
    }

    fn ask(&mut self, old: &Column, question: String) {
        self.asked.insert(old.name.clone());
        self.pair.questions.push(question);
    }
}

/// Whether values get there and back by themselves. A number that gets another name and becomes a text is a choice: what
/// its numbers mean is not in the database.
fn fits(old: &Column, new: &Column) -> Result<(), &'static str> {
    let (from, to) = (bare(&old.kind), bare(&new.kind));
    if old.name != new.name && matches!((from, to), (Kind::Int | Kind::Bool, Kind::Text | Kind::Char32 | Kind::Enum(_))) {
        return Err("say which value becomes which");
    }
    castable(from, to)
}

/// A UUID, or something that an ORM keeps one in.
fn holds_uuid(kind: &Kind) -> bool {
    matches!(bare(kind), Kind::Uuid | Kind::Char32 | Kind::Text)
}

fn map_line(modern: &str, legacy: &str) -> String {
    format!("{modern} = {{ from = \"{legacy}\", map = {{ 1 = \"…\", 2 = \"…\" }} }}")
}
