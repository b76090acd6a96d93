//! Several capabilities in one world: who waits for whom, and until when.

use std::collections::BTreeMap;

use super::*;
use crate::api::{Ahead, CapabilityAhead};
use crate::mapping::TableMap;
use crate::plan::RuleSet;
use crate::wire::Refers;

/// Capabilities `a`, `b`, …, each with a table of its name.
struct Together {
    rules: RuleSet,
    states: BTreeMap<String, State>,
    paces: BTreeMap<String, Pace>,
    refers: BTreeMap<String, Vec<Refers>>,
}

fn together(names: &str) -> Together {
    let named = |name: char| {
        let tables = vec![TableMap { legacy: format!("table_{name}"), ..plan().tables[0].clone() }];
        (name.to_string(), Capability { name: name.to_string(), tables, ..plan() })
    };
    Together {
        rules: RuleSet { capabilities: names.chars().map(named).collect(), ..RuleSet::default() },
        states: names.chars().map(|name| (name.to_string(), State::draft(&name.to_string(), NOW))).collect(),
        paces: names.chars().map(|name| (name.to_string(), pace())).collect(),
        refers: BTreeMap::new(),
    }
}

impl Together {
    /// A table of the first refers to one of the second.
    fn key(mut self, from: &str, to: &str) -> Together {
        let refers = Refers { table: format!("table_{from}"), columns: vec!["its_id".into()], parent: format!("table_{to}") };
        self.refers.entry(from.to_owned()).or_default().push(refers);
        self
    }

    fn with(mut self, name: &str, change: impl FnOnce(&mut Capability)) -> Together {
        change(self.rules.capabilities.get_mut(name).expect("it is there"));
        self
    }

    fn depends(self, from: &str, to: &str) -> Together {
        self.with(from, |plan| plan.depends_on.push(to.to_owned()))
    }

    fn at(mut self, name: &str, phase: Phase, step: usize) -> Together {
        self.states.insert(name.to_owned(), State { capability: name.to_owned(), ..state(phase, step) });
        self
    }

    fn slow(mut self, name: &str, change: impl FnOnce(&mut Pace)) -> Together {
        change(self.paces.get_mut(name).expect("it is there"));
        self
    }

    fn rehearse(&self) -> BTreeMap<&str, Rehearsal> {
        let relations = |plan| Relations::of(plan, &self.rules, |name| self.refers.get(name).map_or(&[], Vec::as_slice));
        let part = |(name, plan): (&String, _)| {
            let state = &self.states[name];
            Part { state, plan, seen: good(state.owner, NOW), pace: self.paces[name].clone(), relations: relations(plan) }
        };
        let parts: Vec<Part> = self.rules.capabilities.iter().map(part).collect();
        self.rules.capabilities.keys().map(String::as_str).zip(rehearse(&parts, NOW)).collect()
    }
}

fn leg<'a>(path: &'a Rehearsal, name: &str) -> &'a Leg {
    path.legs.iter().find(|leg| leg.name == name).unwrap_or_else(|| panic!("no {name}: {path:?}"))
}

/// Whom a leg waits for.
fn after(path: &Rehearsal, name: &str) -> String {
    leg(path, name).after.iter().map(|after| after.capability.as_str()).collect()
}

/// Whoever is waited for has moved when it is said to have: its owner is modern from within its cutover on.
fn moved_when_it_is_said(paths: &BTreeMap<&str, Rehearsal>) -> bool {
    let right = |of: &str, after: &After| {
        let other = &paths[&*after.capability];
        let (cutover, soak) = (leg(other, "cutover").begins_ms, leg(other, "soak").begins_ms);
        if of == "retire" { after.moved_ms == soak } else { (cutover + 1..=soak).contains(&after.moved_ms) }
    };
    let legs = || paths.values().flat_map(|path| &path.legs);
    legs().all(|leg| leg.after.iter().all(|after| after.moved_ms <= leg.begins_ms && right(&leg.name, after)))
}

/// In milliseconds.
const HOUR: u64 = 3_600_000;

fn an_hours_copy(pace: &mut Pace) {
    pace.copy = Duration::from_secs(3_600);
}

#[test]
fn each_waits_for_whom_the_reconciler_would_have_it_wait() {
    let retired_first = |world: Together| world.at("a", Phase::Retired, 4);
    let gone_back = |world: Together| world.at("a", Phase::Reverted, 0).at("b", Phase::Soaking, 4);
    // What they wait for to cut over, and to retire: of a, b and c. The copy of `a` takes an hour, that of the others less.
    for (case, world, cutovers, retires) in [
        ("strangers", together("abc"), ["", "", ""], ["", "", ""]),
        ("a key", together("abc").key("b", "a"), ["", "a", ""], ["b", "", ""]),
        ("a chain", together("abc").key("b", "a").key("c", "b"), ["", "a", "b"], ["b", "c", ""]),
        ("two parents", together("abc").key("c", "a").key("c", "b"), ["", "", "ab"], ["c", "c", ""]),
        ("declared alone", together("abc").depends("b", "a"), ["", "", ""], ["", "a", ""]),
        ("declared by the other one", together("abc").depends("a", "b"), ["", "", ""], ["", "a", ""]),
        ("a key and its declaration", together("abc").depends("b", "a").key("b", "a"), ["", "a", ""], ["b", "", ""]),
        ("a key against it", together("abc").depends("a", "b").key("b", "a"), ["", "", ""], ["", "a", ""]),
        ("keys both ways", together("abc").key("a", "b").key("b", "a"), ["", "", ""], ["", "a", ""]),
        ("let go ahead", together("abc").key("b", "a").with("b", |plan| plan.ahead_of.push("a".into())), ["", "", ""], ["", "a", ""]),
        ("another database", together("abc").key("b", "a").with("a", |plan| plan.legacy = "other".into()), ["", "", ""], ["", "", ""]),
        ("a parent that is gone", retired_first(together("abc").key("b", "a")), ["-", "", ""], ["-", "", ""]),
        ("a parent that went back", gone_back(together("abc").key("b", "a")), ["", "-", ""], ["", "a", ""]),
    ] {
        // A soak that ends before the others have moved, so that who waits to retire shows.
        let short = |mut world: Together, name: &str| {
            world.rules.capabilities.get_mut(name).expect("it is there").steps[4].action = StepAction::Soak(Duration::from_secs(1));
            world
        };
        let world = ["a", "b", "c"].into_iter().fold(world.slow("a", an_hours_copy), short);
        let paths = world.rehearse();
        assert!(moved_when_it_is_said(&paths), "{case}: {paths:?}");
        for (at, name) in ["a", "b", "c"].into_iter().enumerate() {
            assert_eq!(paths[name].ends, None, "{case}: {name}");
            for (leg, wanted) in [("cutover", cutovers[at]), ("retire", retires[at])] {
                if wanted != "-" {
                    assert_eq!(after(&paths[name], leg), wanted, "{case}: {name} and its {leg}: {:?}", paths[name].legs);
                }
            }
        }
    }
}

#[test]
fn who_waits_begins_in_the_moment_in_which_the_other_has_moved() {
    let world = together("ab").key("b", "a").slow("a", an_hours_copy);
    let paths = world.rehearse();
    let (people, notes) = (&paths["a"], &paths["b"]);
    let (moves, follows) = (leg(people, "cutover"), leg(notes, "cutover"));
    let moved = follows.after[0].moved_ms;
    assert!(moves.begins_ms > HOUR && (moves.begins_ms..=moves.begins_ms + moves.lasts_ms).contains(&moved), "{moves:?} {follows:?}");
    assert_eq!(follows.begins_ms, moved);
    // What comes before lasts as long as it has to.
    let before = leg(notes, "reads 100%");
    assert_eq!(before.begins_ms + before.lasts_ms, follows.begins_ms);
    // Alone it would have been there an hour before.
    let alone = together("b");
    let alone = alone.rehearse();
    assert!(leg(&alone["b"], "cutover").begins_ms + HOUR - 120_000 < moved);
    assert_eq!(follows.needs.iter().map(|need| need.kind).collect::<Vec<_>>(), [WaitingKind::Wish], "and somebody has to say yes");
    // The whole lasts as long as the one that ends last.
    let whole = |paths: &BTreeMap<&str, Rehearsal>| Ahead::whole(&paths.values().map(ahead).collect::<Vec<_>>());
    assert_eq!(whole(&paths), notes.lasts_ms);
    assert!(whole(&paths) > people.lasts_ms && people.lasts_ms > alone["b"].lasts_ms);
}

fn ahead(path: &Rehearsal) -> CapabilityAhead {
    CapabilityAhead {
        name: "a".into(),
        phase: Phase::Draft,
        since: NOW,
        wave: 1,
        depends_on: vec![],
        refers: vec![],
        pace: pace(),
        path: path.clone(),
    }
}

#[test]
fn who_waits_for_one_that_never_moves_is_told_so() {
    // Each write takes a minute: the fence cannot wait that long.
    let world = together("abc").key("b", "a").key("c", "b").slow("a", |pace| pace.writes = Duration::from_secs(60));
    let paths = world.rehearse();
    assert!(paths["a"].ends.as_ref().is_some_and(|why| why.contains("taken back")), "{:?}", paths["a"].ends);
    assert_eq!(paths["b"].ends.as_deref(), Some("it waits for a, whose path ends before"));
    assert_eq!(paths["c"].ends.as_deref(), Some("it waits for b, whose path ends before"));
    assert_eq!(paths["c"].legs.last().map(|leg| leg.name.as_str()), Some("reads 100%"), "up to there it goes");
    assert_eq!(Ahead::whole(&paths.values().map(ahead).collect::<Vec<_>>()), None);
}

/// A hold of the parent's stands in its way, and is told there.
#[test]
fn what_is_waited_for_in_the_path_itself_does_not_stand_in_the_way() {
    let world = together("ab").key("b", "a").at("b", Phase::Ramping, 2);
    let plan = &world.rules.capabilities["b"];
    let relations = Relations::of(plan, &world.rules, |name| world.refers.get(name).map_or(&[], Vec::as_slice));
    let mut seen = good(Side::Legacy, NOW);
    relations.tell(&mut seen, |_| Some((Side::Legacy, Phase::Draft)));
    let waits = waiting_for(&world.states["b"], plan, &seen, NOW);
    assert!(waits.iter().any(|waiting| waiting.kind == WaitingKind::Capability), "{waits:?}");
    let part = Part { state: &world.states["b"], plan, seen, pace: pace(), relations };
    assert_eq!(in_the_way(&part, NOW), []);
}

proptest! {
    /// Whatever is declared and whatever refers to whatever: all paths end as they should, and nobody begins too early.
    #[test]
    fn nobody_waits_for_ever(
        keys in proptest::collection::vec((0usize..4, 0usize..4), 0..8),
        declared in proptest::collection::vec((0usize..4, 0usize..4), 0..6),
        ahead in proptest::collection::vec((0usize..4, 0usize..4), 0..3),
        copies in proptest::array::uniform4(0u64..100_000),
    ) {
        let name = |at: usize| ["a", "b", "c", "d"][at];
        let mut world = together("abcd");
        for (from, to) in keys {
            world = world.key(name(from), name(to));
        }
        // Also in circles: whoever let them in.
        for (from, to) in declared {
            world = world.depends(name(from), name(to));
        }
        for (from, to) in ahead {
            world = world.with(name(from), |plan| plan.ahead_of.push(name(to).to_owned()));
        }
        for (at, copy) in copies.into_iter().enumerate() {
            world = world.slow(name(at), |pace| pace.copy = Duration::from_millis(copy));
        }
        let paths = world.rehearse();
        prop_assert!(moved_when_it_is_said(&paths), "{:?}", paths);
        let crossings = crate::crossing::crossings(&world.rules, &world.refers);
        for (name, path) in &paths {
            prop_assert_eq!(&path.ends, &None, "{}: {:?}", name, path);
            let mut at = 0;
            for leg in &path.legs {
                prop_assert_eq!(leg.begins_ms, at);
                at += leg.lasts_ms;
            }
            for key in crossings.get(*name).into_iter().flatten().filter(|key| key.order == crate::crossing::Order::After) {
                prop_assert!(leg(path, "cutover").begins_ms >= leg(&paths[&*key.of], "cutover").begins_ms);
            }
        }
    }
}
