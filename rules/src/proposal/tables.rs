//! Which tables belong together, by what their rows are told apart, and in which order they are written.

use std::collections::{BTreeMap, BTreeSet};

use super::likeness;
use super::{Decision, From, Pair, Proposal};
use crate::catalog::{Catalog, Column, Table};
use crate::mapping::Kind;

/// Tables of frameworks, by how they begin: they stay with the monolith, or belong to a migration tool.
const FRAMEWORKS: &[&str] = &[
    "django_",
    "auth_permission",
    "auth_group",
    "authtoken_",
    "account_email",
    "socialaccount_",
    "celery_",
    "kombu_",
    "alembic_version",
    "_sqlx_migrations",
    "schema_migrations",
    "flyway_",
    "__diesel",
    "sqlite_",
    "silk_",
    "easy_thumbnails_",
    "reversion_",
];

/// Columns that most tables have: they say little about what a table is.
const COMMON: &[&str] = &["id", "legacy_id", "created_at", "updated_at", "created", "updated", "modified"];

/// From here on two tables belong together.
const ENOUGH: f64 = 0.62;

pub(super) fn pair(legacy: &Catalog, modern: &Catalog, only: &[String]) -> Proposal {
    let framework = |table: &&Table| FRAMEWORKS.iter().any(|start| table.name.starts_with(start));
    let wanted = |table: &&Table| only.is_empty() || only.iter().any(|start| table.name.starts_with(start));
    let sequences: Vec<&Table> = modern.tables.iter().filter(|table| is_sequence(table)).collect();
    let targets: Vec<&Table> =
        modern.tables.iter().filter(|table| !framework(table) && !is_sequence(table) && nameable(&table.name)).collect();
    let sources: Vec<&Table> = legacy.tables.iter().filter(wanted).filter(|table| !framework(table)).collect();
    let mut proposal = Proposal {
        left: legacy.tables.iter().filter(wanted).filter(framework).map(|table| table.name.clone()).collect(),
        ..Proposal::default()
    };
    let mut likely: Vec<(f64, &Table, &Table)> = Vec::new();
    for old in &sources {
        likely.extend(targets.iter().map(|new| (score(old, new), *old, *new)));
    }
    // The most alike first; names decide between equals, so that the answer is the same every time.
    likely.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| (&a.1.name, &a.2.name).cmp(&(&b.1.name, &b.2.name))));
    let (mut taken, mut fed): (BTreeSet<&str>, BTreeMap<&str, usize>) = (BTreeSet::new(), BTreeMap::new());
    for (score, old, new) in &likely {
        let free = !fed.contains_key(new.name.as_str()) || discriminator(new).is_some();
        let keyed = old.primary.len() < 2 && old.primary.iter().all(|key| nameable(key));
        if *score < ENOUGH || taken.contains(old.name.as_str()) || !free || !nameable(&old.name) || !keyed {
            continue;
        }
        taken.insert(&old.name);
        *fed.entry(&new.name).or_default() += 1;
        proposal.pairs.push(begin(old, new, &sequences, *score));
    }
    for old in &sources {
        if !taken.contains(old.name.as_str()) {
            let nearest = likely.iter().find(|(score, one, _)| one.name == old.name && *score >= ENOUGH / 2.0);
            proposal.unpaired.push((old.name.clone(), nearest.map(|(_, _, new)| new.name.clone())));
        }
    }
    proposal.unfed = targets.iter().filter(|new| !fed.contains_key(new.name.as_str())).map(|new| new.name.clone()).collect();
    proposal.pairs = in_order(proposal.pairs, legacy);
    tell_apart(&mut proposal.pairs);
    proposal
}

/// The names that a rule file takes.
pub(super) fn nameable(name: &str) -> bool {
    !name.is_empty() && name.len() <= 63 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn is_sequence(table: &Table) -> bool {
    table.columns.len() == 1 && table.name.starts_with("seq_")
}

/// A column that tells apart what several legacy tables feed into one: it stands beside the kept key in a unique index.
fn discriminator(table: &Table) -> Option<&Column> {
    let beside = |unique: &Vec<String>| match unique.as_slice() {
        [one, other] if other == "legacy_id" => table.column(one),
        [one, other] if one == "legacy_id" => table.column(other),
        _ => None,
    };
    let keeps = table.column("legacy_id").is_some_and(|column| !column.generated);
    let tells = |column: &&Column| is_text(&column.kind) && !column.generated && nameable(&column.name) && !keeps_key(&column.name);
    table.unique.iter().find_map(beside).filter(tells).filter(|_| keeps)
}

/// Whether a column's name says that it keeps a legacy key.
fn keeps_key(name: &str) -> bool {
    name.starts_with("legacy_") || name.starts_with("old_")
}

fn is_text(kind: &Kind) -> bool {
    match kind {
        Kind::Loose(kind) => is_text(kind),
        kind => matches!(kind, Kind::Text | Kind::Char32 | Kind::Enum(_)),
    }
}

fn score(old: &Table, new: &Table) -> f64 {
    let named = likeness::tables(&old.name, &new.name);
    let telling = |table: &Table| -> Vec<String> {
        table.columns.iter().map(|column| column.name.clone()).filter(|name| !COMMON.contains(&name.as_str())).collect()
    };
    let (ours, theirs) = (telling(old), telling(new));
    let shared = ours.iter().filter(|one| theirs.iter().any(|other| likeness::columns(one, other) >= likeness::SURE)).count();
    let least = ours.len().min(theirs.len());
    #[allow(clippy::cast_precision_loss, reason = "columns of a table")]
    let overlap = if least == 0 { 0.0 } else { shared as f64 / least as f64 };
    // Several tables that become one have names of their own, and all their columns there.
    if discriminator(new).is_some()
        && named < 0.7
        && !ours.is_empty()
        && shared == ours.len()
        && ours.iter().any(|name| name.ends_with("_id"))
    {
        return 0.65;
    }
    0.6 * named + 0.4 * overlap
}

fn begin(old: &Table, new: &Table, sequences: &[&Table], score: f64) -> Pair {
    let mut pair = Pair { legacy: old.name.clone(), modern: new.name.clone(), ..Pair::default() };
    pair.key = match old.primary.as_slice() {
        [key] => key.clone(),
        _ => {
            pair.questions.push(format!("{} has no primary key of one column: name one that is unique and never NULL as `key`", old.name));
            "id".to_owned()
        }
    };
    let integer = old.column(&pair.key).is_some_and(|column| matches!(bare(&column.kind), Kind::Int));
    let kept = [format!("legacy_{}", pair.key), "legacy_id".to_owned(), format!("old_{}", pair.key)];
    let kept = kept.into_iter().find(|name| new.column(name).is_some_and(|column| !column.generated));
    pair.modern_key = match (kept, new.column(&pair.key)) {
        (Some(kept), _) => kept,
        (None, Some(same)) if !integer || matches!(bare(&same.kind), Kind::Int) => pair.key.clone(),
        _ => {
            pair.questions
                .push(format!("{} has no column that keeps the key of {}: `ficus check --live` prints the statement", new.name, old.name));
            "legacy_id".to_owned()
        }
    };
    if let Some(column) = discriminator(new) {
        let word = constant_of(&old.name, column);
        pair.questions
            .push(format!("{} = \"{word}\" is taken from the table's name: write what the new service writes there", column.name));
        let why = format!("tells the rows of {} apart in {}", old.name, new.name);
        pair.columns.push(Decision { modern: column.name.clone(), from: From::Constant(word), why });
    }
    let suffix = pair.columns.first().map(|decision| match &decision.from {
        From::Constant(word) => format!("_{word}"),
        _ => String::new(),
    });
    let candidates = [format!("seq_{}{}", new.name, suffix.unwrap_or_default()), format!("seq_{}", new.name)];
    pair.sequence = candidates.into_iter().find(|name| sequences.iter().any(|table| table.name == *name));
    let alike = likeness::tables(&old.name, &new.name);
    pair.why = if alike >= 0.85 {
        "by their names".to_owned()
    } else if discriminator(new).is_some() && (score - 0.65).abs() < 1e-9 {
        format!("{} has all columns of {}, and room for several tables", new.name, old.name)
    } else {
        "by their names and columns".to_owned()
    };
    if alike < 0.7 {
        pair.questions.push(format!("are rows of {} really rows of {}? Their names do not say so", old.name, new.name));
    }
    pair
}

/// The label that is most like the table's last word, else that word.
fn constant_of(table: &str, column: &Column) -> String {
    let last = likeness::words(table.rsplit('_').next().unwrap_or(table)).concat();
    let Kind::Enum(labels) = bare(&column.kind) else { return last };
    let alike = |label: &&String| (strsim::jaro_winkler(label, &last) * 1e6) as u64;
    labels.iter().max_by_key(alike).cloned().unwrap_or(last)
}

pub(super) fn bare(kind: &Kind) -> &Kind {
    match kind {
        Kind::Loose(kind) => bare(kind),
        kind => kind,
    }
}

/// Parents before children; a circle is broken where it begins.
fn in_order(mut left: Vec<Pair>, legacy: &Catalog) -> Vec<Pair> {
    left.sort_by(|a, b| a.legacy.cmp(&b.legacy));
    let mut ordered: Vec<Pair> = Vec::new();
    while !left.is_empty() {
        let waits = |pair: &Pair| {
            let parents = legacy.table(&pair.legacy).into_iter().flat_map(|table| &table.references).map(|reference| &reference.parent);
            let mut parents = parents.filter(|parent| **parent != pair.legacy);
            parents.any(|parent| left.iter().any(|other| other.legacy == *parent))
        };
        let next = left.iter().position(|pair| !waits(pair)).unwrap_or(0);
        ordered.push(left.remove(next));
    }
    ordered
}

/// Two pairs that feed one table need different constants.
fn tell_apart(pairs: &mut [Pair]) {
    for index in 1..pairs.len() {
        let (before, rest) = pairs.split_at_mut(index);
        let pair = &mut rest[0];
        let constant = |pair: &Pair| {
            let mut constants = pair.columns.iter().filter_map(|decision| match &decision.from {
                From::Constant(word) => Some(word.clone()),
                _ => None,
            });
            constants.next()
        };
        let same = before.iter().any(|other| other.modern == pair.modern && constant(other) == constant(pair));
        if let Some(From::Constant(word)) = pair.columns.first_mut().map(|decision| &mut decision.from).filter(|_| same) {
            word.clone_from(&pair.legacy);
        }
    }
}
