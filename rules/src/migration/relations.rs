//! Who waits for whom: the capabilities that one's tables are bound to, by what is declared and by foreign keys. Which they are
//! follows from the rules and from what agents have told; where they are is asked each time.

use std::collections::{BTreeMap, BTreeSet};

use super::Phase;
use super::observation::{Kin, Observation};
use crate::Side;
use crate::crossing::{Crossing, crossings, leads_to};
use crate::plan::{Capability, RuleSet};
use crate::wire::Refers;

/// The others that one capability has to do with.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Relations {
    /// Whose tables it joins, and who joins its.
    joined: BTreeSet<String>,
    /// By name, the keys of its tables that lead to others.
    parents: Vec<(String, Crossing)>,
    /// By name, the keys of others that lead to its tables.
    children: Vec<(String, Crossing)>,
}

impl Relations {
    /// Those of a capability. `refers`: the foreign keys that lead out of one, as far as its agent has told.
    pub fn of<'r>(plan: &Capability, rules: &RuleSet, refers: impl Fn(&str) -> &'r [Refers]) -> Relations {
        let leads = |one: &Capability, other: &Capability| refers(&one.name).iter().any(|key| leads_to(one, key, other));
        let declares = |one: &Capability, other: &Capability| one.depends_on.contains(&other.name);
        let others = || rules.capabilities.values().filter(|other| other.name != plan.name);
        let by_key: BTreeSet<String> =
            others().filter(|other| leads(plan, other) || leads(other, plan)).map(|other| other.name.clone()).collect();
        let declared = others().filter(|other| declares(plan, other) || declares(other, plan)).map(|other| other.name.clone());
        let mut relations = Relations { joined: declared.chain(by_key.iter().cloned()).collect(), ..Relations::default() };
        if by_key.is_empty() {
            return relations;
        }
        let all = rules.capabilities.keys().map(|name| (name.clone(), refers(name).to_vec())).collect();
        for (name, keys) in crossings(rules, &all) {
            for key in keys {
                if name == plan.name {
                    relations.parents.push((key.of.clone(), key));
                } else if key.of == plan.name {
                    relations.children.push((name.clone(), key));
                }
            }
        }
        relations
    }

    /// Tells an observation who owns them, and where they are; `place` knows those that there are.
    pub fn tell(&self, seen: &mut Observation, place: impl Fn(&str) -> Option<(Side, Phase)>) {
        let kin = |(name, key): &(String, Crossing)| {
            let (owner, phase) = place(name)?;
            Some(Kin { name: name.clone(), owner, phase, key: key.clone() })
        };
        seen.joined = self.joined.iter().filter_map(|name| Some((name.clone(), place(name)?.1))).collect::<BTreeMap<_, _>>();
        seen.parents = self.parents.iter().filter_map(kin).collect();
        seen.children = self.children.iter().filter_map(kin).collect();
    }
}
