//! What foreign keys into tables of other capabilities allow, and what they warn of.

use super::*;
use crate::crossing::{Crossing, Order};
use crate::migration::observation::Kin;

fn kin(order: Order, owner: Side, phase: Phase) -> Kin {
    let key = Crossing { table: "note".into(), columns: vec!["user_id".into()], parent: "person".into(), of: "people".into(), order };
    Kin { name: "people".into(), owner, phase, key }
}

const MOVES_FIRST: &str = "people has to move first, and legacy owns it (ramping): note (user_id) refers to person of people; \
    `ficus cutover people`, or let this one go ahead of it (`ahead_of` in its rule file)";

#[test]
fn a_cutover_waits_for_those_whose_rows_it_refers_to() {
    for (order, owner, phase, waits) in [
        (Order::After, Side::Legacy, Phase::Draft, true),
        (Order::After, Side::Legacy, Phase::Ramping, true),
        (Order::After, Side::Legacy, Phase::Verifying, true),
        (Order::After, Side::Legacy, Phase::Reverted, true),
        (Order::After, Side::Modern, Phase::Reverting, true),
        (Order::After, Side::Modern, Phase::Soaking, false),
        (Order::After, Side::Modern, Phase::Retired, false),
        (Order::Together, Side::Legacy, Phase::Ramping, false),
        (Order::Against, Side::Legacy, Phase::Ramping, false),
        (Order::Ahead, Side::Legacy, Phase::Ramping, false),
    ] {
        let mut seen = good(Side::Legacy, NOW);
        let twice = kin(order, owner, phase);
        seen.parents = vec![twice.clone(), twice];
        let at = state(Phase::Ramping, 2);
        let typed = wish(&at, &seen, Wish::Cutover);
        assert_eq!(typed.refused.is_some(), waits, "{order:?} {owner:?} {phase:?}");
        // The step of the rule file begins no sooner, and says why, once.
        let due = State { released: true, since: Timestamp(NOW.0 - 3_600_000), ..at };
        assert_eq!(tick(&due, &seen, NOW).state.switch.is_none(), waits, "{order:?} {owner:?} {phase:?}");
        let kinds: Vec<_> = waiting_for(&due, &plan(), &seen, NOW).into_iter().map(|w| (w.kind, w.on)).collect();
        assert_eq!(kinds, if waits { vec![(WaitingKind::Capability, "people".to_owned())] } else { vec![] });
        let skipped = wish(&due, &seen, Wish::Advance);
        assert_eq!(skipped.refused.is_some(), waits, "{order:?} {owner:?} {phase:?}");
    }
    let mut seen = good(Side::Legacy, NOW);
    seen.parents.push(kin(Order::After, Side::Legacy, Phase::Ramping));
    assert_eq!(refusal(wish(&state(Phase::Ramping, 2), &seen, Wish::Cutover)), MOVES_FIRST);
}

#[test]
fn who_owns_no_step_of_the_rule_file_any_more_is_told_who_moves_first() {
    let mut seen = good(Side::Legacy, NOW);
    seen.parents.push(kin(Order::After, Side::Legacy, Phase::Ramping));
    let without = Capability { steps: plan().steps[..3].to_vec(), ..plan() };
    let waits = waiting_for(&State { since: Timestamp(NOW.0 - 3_600_000), ..state(Phase::Ramping, 2) }, &without, &seen, NOW);
    assert!(waits.iter().any(|w| w.text == MOVES_FIRST), "{waits:?}");
}

#[test]
fn reads_ramp_and_a_switch_under_way_goes_on_whoever_moves_first() {
    let mut seen = good(Side::Legacy, NOW);
    seen.parents.push(kin(Order::After, Side::Legacy, Phase::Draft));
    let shadowing = State { since: Timestamp(NOW.0 - 3_600_000), ..state(Phase::Shadowing, 0) };
    assert_eq!(tick(&shadowing, &seen, NOW).state.phase, Phase::Ramping);
    let running = switching(Stage::Drain, Side::Modern);
    assert_ne!(tick(&running, &seen, NOW).state, running, "it was there when this began");
}

#[test]
fn the_way_back_is_open_and_says_who_stays_behind() {
    let beware = "beware: notes stays with modern, and note (user_id) refers to person of people: `ficus revert notes` too";
    for (owner, phase, told) in [
        (Side::Modern, Phase::Soaking, true),
        (Side::Modern, Phase::Reverting, false),
        (Side::Modern, Phase::Retired, false),
        (Side::Legacy, Phase::Ramping, false),
    ] {
        let mut seen = good(Side::Modern, NOW);
        seen.children.push(Kin { name: "notes".into(), ..kin(Order::After, owner, phase) });
        let typed = wish(&state(Phase::Soaking, 4), &seen, Wish::Revert);
        assert_eq!(typed.state.phase, Phase::Reverting, "holds stop no way back");
        assert_eq!(typed.journal[0].text.ends_with(beware), told, "{}", typed.journal[0].text);
        // Nobody types when a gate fails.
        seen.traffic.recent.modern.errors = 50;
        seen.traffic.step.modern.errors = 50;
        let by_gate = tick(&state(Phase::Soaking, 4), &seen, NOW);
        assert_eq!((by_gate.state.phase, by_gate.journal[0].text.ends_with(beware)), (Phase::Reverting, told), "{:?}", by_gate.journal);
    }
}

#[test]
fn who_was_left_behind_waits_to_retire_and_names_the_key() {
    let soaked = State { since: Timestamp(NOW.0 - 86_400_000), ..state(Phase::Soaking, 4) };
    let mut seen = good(Side::Modern, NOW);
    seen.joined.insert("people".into(), Phase::Reverted);
    seen.parents.push(kin(Order::After, Side::Legacy, Phase::Reverted));
    let why = refusal(wish(&soaked, &seen, Wish::Retire));
    assert_eq!(why, "legacy owns capability people (reverted): note (user_id) refers to person of people");
}
