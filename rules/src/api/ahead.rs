//! What lies ahead: the answer of `GET /api/v1/plan`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::crossing::{Crossing, Joins};
use crate::migration::rehearsal::{Pace, Rehearsal};
use crate::migration::{Phase, State};
use crate::plan::{Capability, RuleSet};
use crate::{Side, Timestamp};

/// Answer of `GET /api/v1/plan`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ahead {
    /// When this was written.
    pub at: Timestamp,
    /// How much of the monolith is gone.
    pub gone: Gone,
    /// Until all of them may retire, at the earliest; `None`: a path ends before.
    #[serde(default)]
    pub lasts_ms: Option<u64>,
    /// Every capability that is not retired, in the order in which they can be moved.
    pub capabilities: Vec<CapabilityAhead>,
}

impl Ahead {
    /// How long the longest path lasts.
    pub fn whole(capabilities: &[CapabilityAhead]) -> Option<u64> {
        capabilities.iter().try_fold(0, |longest: u64, one| Some(longest.max(one.path.lasts_ms?)))
    }
}

/// How much of what the rules speak of the new services own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Gone {
    /// Capabilities.
    pub capabilities: Part,
    /// Routes that are not pinned to legacy.
    pub routes: Part,
    /// Legacy's tables.
    pub tables: Part,
    /// Requests of the last minutes: those that modern answered.
    pub requests: Part,
}

/// So many of so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Part {
    /// Of them.
    pub moved: u64,
    /// All.
    pub of: u64,
}

impl Part {
    /// One more; it has moved.
    pub fn count(&mut self, moved: bool) {
        self.of += 1;
        self.moved += u64::from(moved);
    }
}

/// One capability's path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CapabilityAhead {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub phase: Phase,
    /// Since when.
    pub since: Timestamp,
    /// Capabilities of one wave may be moved at once; each joins tables of earlier ones alone.
    pub wave: u32,
    /// Whose tables it joins.
    pub depends_on: Vec<String>,
    /// Foreign keys of its legacy tables into those of others, as far as its agent has seen them.
    #[serde(default)]
    pub refers: Vec<Crossing>,
    /// How fast everybody is.
    pub pace: Pace,
    /// The path.
    pub path: Rehearsal,
}

impl Gone {
    /// Of a rule set, by the states of its capabilities.
    pub fn of<'a>(capabilities: impl Iterator<Item = (&'a Capability, &'a State)>) -> Gone {
        let mut gone = Gone::default();
        for (plan, state) in capabilities {
            let moved = state.owner == Side::Modern;
            gone.capabilities.count(moved);
            plan.routes.iter().filter(|route| route.pin != Some(Side::Legacy)).for_each(|_| gone.routes.count(moved));
            let tables: std::collections::BTreeSet<&str> = plan.tables.iter().map(|table| table.legacy.as_str()).collect();
            tables.iter().for_each(|_| gone.tables.count(moved));
        }
        gone
    }
}

/// The wave of every capability: 1 for those before which nobody moves. A circle counts once.
pub fn waves<'a>(rules: &'a RuleSet, joins: &'a Joins) -> BTreeMap<&'a str, u32> {
    fn wave<'a>(name: &'a str, joins: &'a Joins, known: &mut BTreeMap<&'a str, u32>) -> u32 {
        if let Some(known) = known.get(name) {
            return *known;
        }
        // Against a circle, whoever let it in.
        known.insert(name, 1);
        let before = joins.get(name).into_iter().flatten().map(|other| wave(other, joins, known)).max().unwrap_or(0);
        known.insert(name, before + 1);
        before + 1
    }
    let mut known = BTreeMap::new();
    for name in rules.capabilities.keys() {
        wave(name, joins, &mut known);
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crossing::declared;
    use crate::migration::tests::plan;

    fn joining(name: &str, depends_on: &[&str]) -> (String, Capability) {
        let depends_on = depends_on.iter().map(|other| (*other).to_owned()).collect();
        (name.to_owned(), Capability { name: name.to_owned(), depends_on, ..plan() })
    }

    #[test]
    fn who_joins_tables_comes_in_a_later_wave() {
        let capabilities =
            [joining("courses", &["users"]), joining("users", &[]), joining("fines", &["courses", "users"]), joining("chat", &[])];
        let rules = RuleSet { capabilities: capabilities.into(), ..RuleSet::default() };
        assert_eq!(waves(&rules, &declared(&rules)), [("chat", 1), ("courses", 2), ("fines", 3), ("users", 1)].into());
    }

    #[test]
    fn what_modern_owns_is_gone() {
        let (legacy, modern) = (State::draft("users", Timestamp(1)), State { owner: Side::Modern, ..State::draft("users", Timestamp(1)) });
        let plan = plan();
        let gone = Gone::of([(&plan, &legacy), (&plan, &modern), (&plan, &modern)].into_iter());
        assert_eq!(gone.capabilities, Part { moved: 2, of: 3 });
        assert_eq!(gone.tables, Part { moved: 2, of: 3 });
    }
}
