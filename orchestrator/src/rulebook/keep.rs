//! What a reload may not take from a capability on its way. Compares the rules that serve with those that want to.
//!
//! A reload moves no request to another side and no write past a fence. From its first phase on a capability keeps its
//! rules, its tables and its services; the steps that it has behind it, and the one that it is in, stay what they were;
//! and what follows the owner of the writes goes on following it. What was never there may be added.

mod routes;
#[cfg(test)]
mod tests;
mod way;

use ficus_rules::Side;
use ficus_rules::mapping::TableMap;
use ficus_rules::migration::{Phase, State};
use ficus_rules::plan::{Capability, RuleSet};
use ficus_rules::spec::Complaint;

use super::complaint;

/// Everything that the new rules would take away.
pub(super) fn complaints<'a>(states: impl Iterator<Item = &'a State>, serving: &RuleSet, new: &RuleSet) -> Vec<Complaint> {
    let of = |state: &State| match (serving.capabilities.get(&state.capability), new.capabilities.get(&state.capability)) {
        (before, None) => gone(state, before).into_iter().collect(),
        (Some(before), Some(after)) => [
            way::services(state, before, after),
            tables(state, before, after),
            way::steps(state, before, after),
            routes::all(state, before, after),
        ]
        .concat(),
        (None, Some(_)) => Vec::new(),
    };
    states.filter(|state| state.phase != Phase::Draft).flat_map(of).collect()
}

fn gone(state: &State, before: Option<&Capability>) -> Option<Complaint> {
    let name = &state.capability;
    let file = before.map_or_else(|| format!("{name}.toml"), |before| split(&before.source).0);
    let hint = match state.phase {
        Phase::Retired => "put its file back: its routes are what sends these paths to modern, for as long as they pass this gateway",
        _ => "put its file back until it is retired",
    };
    Some(complaint(&file, 1, format!("capability `{name}` is {} and has no rules any more", state.phase.as_str()), hint.to_owned()))
}

fn tables(state: &State, before: &Capability, after: &Capability) -> Vec<Complaint> {
    if state.phase == Phase::Retired {
        return Vec::new();
    }
    let same = |a: &TableMap, b: &TableMap| (&a.legacy, &a.modern) == (&b.legacy, &b.modern);
    let named = |table: &TableMap| format!("`{}` and `{}`", table.legacy, table.modern);
    let removed = before.tables.iter().filter(|old| !after.tables.iter().any(|new| same(old, new)));
    let mut found: Vec<Complaint> = removed
        .map(|old| {
            let (file, line) = place(after);
            let message = format!("the tables {} are gone, and `{}` is {}", named(old), after.name, state.phase.as_str());
            complaint(&file, line, message, format!("put their `[[table]]` back (it was {}) until it is retired", old.source))
        })
        .collect();
    if state.switch.is_some() && found.is_empty() {
        let unchanged = |new: &&TableMap| before.tables.iter().any(|old| TableMap { source: new.source.clone(), ..old.clone() } == **new);
        found.extend(after.tables.iter().filter(|new| !unchanged(new)).map(|new| {
            let (file, line) = split(&new.source);
            let message = format!("the tables {} change while a cutover or revert of `{}` runs", named(new), after.name);
            complaint(&file, line, message, "take the change back until it has ended; `ficus status` shows how far it is".to_owned())
        }));
    }
    if state.owner == Side::Modern {
        let joins = after.tables.iter().filter(|new| !before.tables.iter().any(|old| same(old, new)));
        found.extend(joins.map(|new| {
            let (file, line) = split(&new.source);
            let message =
                format!("the tables {} would join while modern owns the rows of `{}`: legacy's would be removed", named(new), after.name);
            let hint = "take the `[[table]]` out again, and put it back after a revert; or make a capability of its own of it";
            complaint(&file, line, message, hint.to_owned())
        }));
    }
    found
}

/// The first of a capability's tables or routes: where something of their kind is missing.
fn place(capability: &Capability) -> (String, usize) {
    let tables = capability.tables.iter().map(|table| &table.source);
    split(tables.chain(capability.routes.iter().map(|route| &route.source)).next().unwrap_or(&capability.source))
}

/// `users.toml:12`
fn split(source: &str) -> (String, usize) {
    let (file, line) = source.rsplit_once(':').unwrap_or((source, "1"));
    (file.to_owned(), line.parse().unwrap_or(1))
}
