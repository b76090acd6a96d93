//! Routes that follow the owner of the writes go on doing so: gateways hold their writes, mark their callers, and know
//! when a copy may be read. One that is gone, narrowed or pinned is past all of that.

use std::cmp::Ordering;

use ficus_rules::Side;
use ficus_rules::decide::is_safe;
use ficus_rules::migration::{Phase, State};
use ficus_rules::plan::{Capability, Route};
use ficus_rules::route::{Pattern, count, covers, meet};
use ficus_rules::spec::Complaint;

use super::super::complaint;
use super::{place, split};

/// Everything that is wrong with the routes.
pub(super) fn all(state: &State, before: &Capability, after: &Capability) -> Vec<Complaint> {
    let mut found = match state.owner == Side::Modern || state.switch.is_some() {
        true => lost(state, before, after),
        false => moved_to_modern(state, before, after),
    };
    found.extend(past_the_fence(state, before, after));
    found
}

/// Requests that fall to legacy, or to nothing at all, while modern owns or a switch runs.
fn lost(state: &State, before: &Capability, after: &Capability) -> Vec<Complaint> {
    let stays_with_legacy = |route: &Route| route.pin == Some(Side::Legacy) && !route.writes_tables;
    let lost = before.routes.iter().filter(|old| !stays_with_legacy(old) && !after.routes.iter().any(|new| is_kept(old, new)));
    let why = match state.switch {
        Some(_) => format!("a cutover or revert of `{}` runs", after.name),
        None => format!("modern owns `{}`", after.name),
    };
    lost.map(|old| match after.routes.iter().find(|new| is_wider(old, new)) {
        Some(new) => {
            let message = format!("the route `{}` is pinned, or pinned otherwise, and {why}", old.path);
            said(&new.source, message, old, unpinned(state))
        }
        None => {
            let (file, line) = place(after);
            let message = format!("the route `{}` is gone or takes fewer requests, and {why}", old.path);
            complaint(&file, line, message, format!("{} (it was {})", put_back(state), old.source))
        }
    })
    .collect()
}

/// A pin that takes all requests of a route to a side that neither the steps nor the gates have let them go to.
fn moved_to_modern(state: &State, before: &Capability, after: &Capability) -> Vec<Complaint> {
    let followed = before.routes.iter().filter(|old| old.pin.is_none() && !after.tables.is_empty());
    let moved = followed.filter_map(|old| {
        let new = after.routes.iter().find(|new| is_wider(old, new) && new.pin == Some(Side::Modern))?;
        let kept = after.routes.iter().any(|new| is_kept(old, new));
        let message = format!("the route `{}` is pinned to modern, and legacy owns `{}` ({})", old.path, after.name, state.phase.as_str());
        let hint =
            format!("take the pin out: `[[step]]`s move reads with their gates, and `ficus pin {} modern` moves them now", after.name);
        (!kept).then(|| said(&new.source, message, old, hint))
    });
    moved.collect()
}

/// A pinned route that takes writes from one that followed the owner: because it is new and tried first, or because the
/// other one is gone. They would not be held, and meet a database that refuses them.
fn past_the_fence(state: &State, before: &Capability, after: &Capability) -> Vec<Complaint> {
    let refused = |pin: Side| pin != state.owner || state.switch.is_some();
    let writes = |route: &Route| route.methods.is_empty() || route.methods.iter().any(|method| !is_safe(method));
    let pinned = after.routes.iter().filter(|new| new.pin.is_some_and(refused) && !new.writes_tables && writes(new));
    let known = |new: &Route| before.routes.iter().any(|old| Route { source: new.source.clone(), ..old.clone() } == *new);
    let takes = |new: &Route, old: &Route| {
        let gone = || !after.routes.iter().any(|new| is_kept(old, new));
        !is_wider(old, new) && meet(new, old) && (!known(new) && is_first(new, old) || gone() && order(new, old).is_some())
    };
    let found = pinned.filter(|_| !after.tables.is_empty()).filter_map(|new| {
        let old = before.routes.iter().find(|old| old.pin.is_none() && takes(new, old))?;
        let message = format!(
            "the pinned route `{}` takes writes from `{}`, and `{}` is {}: its database would refuse them",
            new.path,
            old.path,
            after.name,
            state.phase.as_str()
        );
        let hint = "limit it with `methods = [\"GET\", \"HEAD\"]`, or add `writes_tables = true` if its writes touch the tables".to_owned();
        Some(said(&new.source, message, old, hint))
    });
    found.collect()
}

/// All requests of `old` are treated as before by `new`, or follow the owner from now on.
fn is_kept(old: &Route, new: &Route) -> bool {
    let treated = new.pin.is_none() || new.pin == old.pin && (new.writes_tables || !old.writes_tables);
    treated && is_wider(old, new)
}

/// `new` takes every request that `old` took.
fn is_wider(old: &Route, new: &Route) -> bool {
    covers(new, old) && order(new, old) == Some(Ordering::Equal)
}

/// `new` is tried before `old` where both match.
fn is_first(new: &Route, old: &Route) -> bool {
    match order(new, old) {
        Some(Ordering::Equal) => count(new) >= count(old),
        order => order == Some(Ordering::Less),
    }
}

fn order(one: &Route, other: &Route) -> Option<Ordering> {
    Pattern::parse(&one.path).ok()?.precedes(&Pattern::parse(&other.path).ok()?)
}

fn said(source: &str, message: String, old: &Route, hint: String) -> Complaint {
    let (file, line) = split(source);
    complaint(&file, line, message, format!("{hint} (`{}` was {})", old.path, old.source))
}

fn unpinned(state: &State) -> String {
    match (state.phase, &state.switch) {
        (_, Some(_)) => "take the change back until it has ended; `ficus status` shows how far it is",
        (Phase::Retired, _) => "take the change back: legacy's rows are no longer kept",
        _ => "take the change back: its writes would meet a database that refuses them, its reads a copy; `ficus revert` first if that is what you want",
    }
    .to_owned()
}

fn put_back(state: &State) -> &'static str {
    match (state.phase, &state.switch) {
        (_, Some(_)) => "put it back until it has ended; `ficus status` shows how far it is",
        (Phase::Retired, _) => "put it back: its requests would go to legacy, whose rows are no longer kept",
        _ => "put it back: its requests would go to legacy; `ficus revert` first if that is what you want",
    }
}
