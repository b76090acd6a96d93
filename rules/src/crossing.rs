//! Foreign keys of legacy's tables that lead from one capability to another, and what follows for the order in which these
//! move: who refers to rows moves after those, or with them. The cutover waits for that
//! ([`crate::migration::observation::Kin`]). Pure; agents tell the keys ([`crate::wire::Refers`]), the rule
//! set whose the tables are. Keys within modern's databases are for [`crate::preflight`] alone.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::plan::{Capability, RuleSet};
use crate::wire::{CapabilityReport, Refers};

/// By capability, those that move before it.
pub type Joins = BTreeMap<String, BTreeSet<String>>;

/// A foreign key into a table of another capability.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crossing {
    /// The table that refers.
    pub table: String,
    /// Its columns that do.
    #[serde(default)]
    pub columns: Vec<String>,
    /// The table that it refers to.
    pub parent: String,
    /// Whose that is.
    pub of: String,
    /// What follows.
    pub order: Order,
}

/// What a foreign key between two capabilities asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The one that refers moves after the other.
    After,
    /// Keys lead back, too: none can be first, both move together.
    Together,
    /// `depends_on` has the other one move after this one.
    Against,
    /// The rules let the one that refers go ahead of the other.
    Ahead,
}

impl Crossing {
    /// In words: `note (user_id) refers to accounts_user of users`.
    pub fn words(&self) -> String {
        let columns = if self.columns.is_empty() { String::new() } else { format!(" ({})", self.columns.join(", ")) };
        format!("{}{columns} refers to {} of {}", self.table, self.parent, self.of)
    }
}

/// Whether one capability moves after another, be it through others.
pub fn follows(joins: &Joins, one: &str, other: &str) -> bool {
    let mut seen = BTreeSet::new();
    let mut left = vec![one];
    while let Some(name) = left.pop() {
        let before = joins.get(name).into_iter().flatten();
        for next in before.filter(|next| seen.insert(next.as_str())) {
            if next == other {
                return true;
            }
            left.push(next);
        }
    }
    false
}

/// What `depends_on` says.
pub fn declared(rules: &RuleSet) -> Joins {
    rules.capabilities.iter().map(|(name, plan)| (name.clone(), plan.depends_on.iter().cloned().collect())).collect()
}

/// The foreign keys that lead out of each capability, as far as agents have told: its own, or, since nobody works for a draft yet, those
/// of the capabilities that the keys lead to.
pub fn told<'r>(rules: &RuleSet, report: impl Fn(&str) -> Option<&'r CapabilityReport>) -> BTreeMap<String, Vec<Refers>> {
    let by_others = |plan: &Capability| {
        let keys = beside(plan, rules).filter_map(|other| report(&other.name)?.referred_by.as_ref()).flatten();
        keys.filter(|key| plan.tables.iter().any(|map| map.legacy == key.table)).cloned().collect()
    };
    let of = |plan: &Capability| report(&plan.name).and_then(|own| own.refers.clone()).unwrap_or_else(|| by_others(plan));
    rules.capabilities.values().map(|plan| (plan.name.clone(), of(plan))).collect()
}

/// The others of which nobody has told yet whether foreign keys bind them to a capability.
pub fn untold<'p, 'r>(
    plan: &'p Capability,
    rules: &'p RuleSet,
    report: impl Fn(&str) -> Option<&'r CapabilityReport>,
) -> impl Iterator<Item = &'p Capability> {
    let looked = move |plan: &Capability| {
        report(&plan.name).map_or((false, false), |report| (report.refers.is_some(), report.referred_by.is_some()))
    };
    let (out, into) = looked(plan);
    beside(plan, rules).filter(move |other| {
        let (its_out, its_into) = looked(other);
        !(into || its_out) || !(out || its_into)
    })
}

/// The others with tables in the same database of legacy.
fn beside<'p>(plan: &'p Capability, rules: &'p RuleSet) -> impl Iterator<Item = &'p Capability> {
    let others = rules.capabilities.values().filter(|other| other.name != plan.name && other.legacy == plan.legacy);
    others.filter(|other| !other.tables.is_empty() && !plan.tables.is_empty())
}

/// Whether a table that a capability refers to is one of another's, in the same database.
pub fn leads_to(plan: &Capability, refers: &Refers, other: &Capability) -> bool {
    plan.name != other.name && plan.legacy == other.legacy && other.tables.iter().any(|map| map.legacy == refers.parent)
}

/// All foreign keys between capabilities, by the capability that refers.
pub fn crossings(rules: &RuleSet, refers: &BTreeMap<String, Vec<Refers>>) -> BTreeMap<String, Vec<Crossing>> {
    let mut found: Vec<(&str, &Refers, &str)> = Vec::new();
    for (name, plan) in &rules.capabilities {
        for key in refers.get(name).into_iter().flatten() {
            let owners = rules.capabilities.values().filter(|other| leads_to(plan, key, other));
            found.extend(owners.map(|other| (name.as_str(), key, other.name.as_str())));
        }
    }
    let declared = declared(rules);
    let mut all = declared.clone();
    let ahead = |name: &str, of: &str| rules.capabilities.get(name).is_some_and(|plan| plan.ahead_of.iter().any(|other| other == of));
    for (name, _, of) in found.iter().filter(|(name, _, of)| !ahead(name, of)) {
        all.entry((*name).to_owned()).or_default().insert((*of).to_owned());
    }
    let mut crossings: BTreeMap<String, Vec<Crossing>> = BTreeMap::new();
    for (name, Refers { table, columns, parent }, of) in found {
        let order = if ahead(name, of) {
            Order::Ahead
        } else if follows(&declared, of, name) {
            Order::Against
        } else if follows(&all, of, name) {
            Order::Together
        } else {
            Order::After
        };
        let crossing = Crossing { table: table.clone(), columns: columns.clone(), parent: parent.clone(), of: of.to_owned(), order };
        crossings.entry(name.to_owned()).or_default().push(crossing);
    }
    crossings
}

/// Who moves before whom, by `depends_on` and by the keys that ask for an order. It has no circles unless `depends_on` has one.
pub fn joins(rules: &RuleSet, crossings: &BTreeMap<String, Vec<Crossing>>) -> Joins {
    let mut joins = declared(rules);
    for (name, crossings) in crossings {
        let after = crossings.iter().filter(|crossing| crossing.order == Order::After);
        joins.entry(name.clone()).or_default().extend(after.map(|crossing| crossing.of.clone()));
    }
    joins
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::{Order, crossings, follows, joins};
    use crate::mapping::TableMap;
    use crate::migration::tests::plan;
    use crate::plan::{Capability, RuleSet};
    use crate::wire::Refers;

    /// Capabilities `c0`, `c1`, …, each with a table of its number, that depend on others, and keys between their tables.
    fn world(depends_on: &[&[usize]], keys: &[(usize, usize)]) -> (RuleSet, BTreeMap<String, Vec<Refers>>) {
        let of = |(at, on): (usize, &&[usize])| {
            let tables = vec![TableMap { legacy: format!("t{at}"), ..plan().tables[0].clone() }];
            let depends_on = on.iter().map(|other| format!("c{other}")).collect();
            (format!("c{at}"), Capability { name: format!("c{at}"), depends_on, tables, ..plan() })
        };
        let rules = RuleSet { capabilities: depends_on.iter().enumerate().map(of).collect(), ..RuleSet::default() };
        let mut refers: BTreeMap<String, Vec<Refers>> = BTreeMap::new();
        for (from, to) in keys {
            refers.entry(format!("c{from}")).or_default().push(refers_to(*from, *to));
        }
        (rules, refers)
    }

    fn refers_to(from: usize, to: usize) -> Refers {
        Refers { table: format!("t{from}"), columns: vec!["its_id".into()], parent: format!("t{to}") }
    }

    fn orders(depends_on: &[&[usize]], keys: &[(usize, usize)]) -> Vec<(String, String, Order)> {
        let (rules, refers) = world(depends_on, keys);
        let found = crossings(&rules, &refers);
        found.iter().flat_map(|(name, all)| all.iter().map(|one| (name.clone(), one.of.clone(), one.order)).collect::<Vec<_>>()).collect()
    }

    #[test]
    fn who_refers_moves_after_or_together_or_against_what_is_declared() {
        let after = |from: &str, to: &str| (from.to_owned(), to.to_owned(), Order::After);
        assert_eq!(orders(&[&[], &[]], &[(0, 1)]), [after("c0", "c1")]);
        assert_eq!(orders(&[&[1], &[]], &[(0, 1)]), [after("c0", "c1")], "as it is declared");
        let together = orders(&[&[], &[], &[]], &[(0, 1), (1, 2), (2, 0)]);
        assert!(together.len() == 3 && together.iter().all(|(.., order)| *order == Order::Together), "{together:?}");
        // c1 depends on c2, and that on c0.
        let against = orders(&[&[], &[2], &[0]], &[(0, 1)]);
        assert_eq!(against, [("c0".to_owned(), "c1".to_owned(), Order::Against)]);
        // A key to its own table, to nobody's, and into another database.
        assert_eq!(orders(&[&[]], &[(0, 0), (0, 7)]), []);
        let (mut rules, refers) = world(&[&[], &[]], &[(0, 1)]);
        rules.capabilities.get_mut("c1").expect("it is there").legacy = "another".into();
        assert!(crossings(&rules, &refers).is_empty());
    }

    #[test]
    fn who_may_go_ahead_waits_for_nobody_and_is_no_part_of_a_circle() {
        let (mut rules, refers) = world(&[&[], &[]], &[(0, 1), (1, 0)]);
        rules.capabilities.get_mut("c0").expect("it is there").ahead_of = vec!["c1".into()];
        let found = crossings(&rules, &refers);
        assert_eq!((found["c0"][0].order, found["c1"][0].order), (Order::Ahead, Order::After));
        assert_eq!(found["c0"][0].words(), "t0 (its_id) refers to t1 of c1");
        assert_eq!(joins(&rules, &found), [("c0".to_owned(), [].into()), ("c1".to_owned(), ["c0".to_owned()].into())].into());
    }

    proptest! {
        #[test]
        fn the_order_keeps_what_is_declared_and_has_no_circles(
            edges in prop::collection::vec((0..6usize, 0..6usize), 0..12),
            keys in prop::collection::vec((0..6usize, 0..6usize), 0..12),
        ) {
            // What is declared leads to lower numbers alone: it has no circles.
            let on = |at| edges.iter().filter(|(from, to)| *from == at && to < from).map(|(_, to)| *to).collect::<Vec<_>>();
            let depends_on: Vec<Vec<usize>> = (0..6).map(on).collect();
            let (rules, refers) = world(&depends_on.iter().map(Vec::as_slice).collect::<Vec<_>>(), &keys);
            let joins = joins(&rules, &crossings(&rules, &refers));
            for name in rules.capabilities.keys() {
                prop_assert!(!follows(&joins, name, name), "{name} would move before itself: {joins:?}");
                let declared: BTreeSet<String> = rules.capabilities[name].depends_on.iter().cloned().collect();
                prop_assert!(declared.is_subset(&joins[name]));
            }
        }
    }
}
