//! The stages of a switch, and what ends them, takes them back or lets them wait.

use super::*;
use crate::migration::advance::JournalLine;

#[test]
fn a_cutover_goes_through_every_stage_and_flips_once() {
    let mut state = switching(Stage::Fence, Side::Modern);
    let mut seen = good(Side::Legacy, NOW);
    let mut stages = Vec::new();
    while let Some(running) = state.switch.clone() {
        stages.push(running.stage);
        assert_eq!(desired::serving(&state, &plan()).fenced, running.stage != Stage::Release);
        assert_eq!(state.owner == Side::Modern, running.stage.is_decided());
        obey(&state, &mut seen);
        let outcome = tick(&state, &seen, NOW.plus(Duration::from_millis(42)));
        if running.stage == Stage::Sequences {
            let flipped = &outcome.journal[0];
            assert_eq!((flipped.kind.as_str(), &flipped.detail["position"]), ("flipped", &serde_json::json!("4711")));
            assert_eq!(flipped.detail["verified"]["tables"][0]["legacy_root"], "aa");
        }
        state = outcome.state;
    }
    assert_eq!(stages, Stage::ALL[..8]);
    assert_eq!((state.phase, state.owner, state.epoch, state.step), (Phase::Soaking, Side::Modern, 1, 4));
    assert_eq!(state.last_pause_ms, Some(42));
    let orders = desired::orders(&state, &plan()).expect("it is synchronised");
    assert_eq!(orders.fenced, Fences { legacy: true, modern: false });
}

/// What keeps each stage from ending.
#[test]
fn no_stage_ends_before_its_condition_holds() {
    let spoil: [(Stage, Spoil); 8] = [
        (Stage::Fence, |s| s.gateways[0].generation = 8),
        (Stage::Drain, |s| s.gateways[0].inflight_writes = 1),
        (Stage::FenceDatabase, |s| report(s).fenced.legacy = false),
        (Stage::CatchUp, |s| report(s).end.as_mut().expect("an end").reached = false),
        (Stage::Verify, |s| report(s).verified.as_mut().expect("an answer").done = false),
        (Stage::Sequences, |s| report(s).sequences_raised = None),
        (Stage::Open, |s| report(s).fenced.modern = true),
        (Stage::Release, |s| s.gateways[0].generation = 8),
    ];
    for to in [Side::Modern, Side::Legacy] {
        for (stage, spoil) in spoil {
            if to == Side::Legacy && matches!(stage, Stage::FenceDatabase | Stage::Open) {
                continue;
            }
            let state = switching(stage, to);
            let mut seen = good(state.owner, NOW);
            obey(&state, &mut seen);
            assert_ne!(tick(&state, &seen, NOW).state, state, "{stage:?} ends");
            spoil(&mut seen);
            assert_eq!(tick(&state, &seen, NOW).state, state, "{stage:?} waits");
            assert!(!waiting_for(&state, &plan(), &seen, NOW).is_empty());
        }
    }
}

/// Else a service that hangs could not be left: what it was sent is under way for as long as anybody waits for it.
#[test]
fn on_the_way_back_writes_that_do_not_end_are_left_to_the_fence_and_to_modern_they_are_waited_for() {
    let after = |to: Side, plan: &Capability, seconds: u64, gateway: u64| {
        let state = switching(Stage::Drain, to);
        let mut seen = good(state.owner, later(seconds));
        (seen.gateways[0].inflight_writes, seen.gateways[0].generation) = (3, gateway);
        let outcome = advance(&state, plan, &seen, &Event::Tick, later(seconds));
        (outcome.state.switch.expect("it is under way").stage, outcome.journal)
    };
    let without_tables = Capability { tables: vec![], ..plan() };
    let (stage, journal) = after(Side::Legacy, &plan(), 5, 9);
    assert_eq!(stage, Stage::FenceDatabase);
    assert!(journal[0].text.contains("gw-1 has 3 writes under way, for too long"), "{}", journal[0].text);
    for (why, stays) in [
        ("they may end", after(Side::Legacy, &plan(), 4, 9)),
        ("a gateway lets others through", after(Side::Legacy, &plan(), 5, 8)),
        ("nothing else decides about them", after(Side::Legacy, &without_tables, 5, 9)),
        ("nobody has to leave legacy", after(Side::Modern, &plan(), 5, 9)),
    ] {
        assert_eq!(stays.0, Stage::Drain, "{why}");
    }
}

#[test]
fn an_answer_to_an_older_wish_or_older_orders_counts_for_nothing() {
    for stage in [Stage::CatchUp, Stage::Verify, Stage::Sequences] {
        let state = switching(stage, Side::Modern);
        let mut seen = good(state.owner, NOW);
        obey(
            &State {
                token: state.token - 1,
                verify: state.verify.map(|v| crate::wire::Verify { token: v.token - 1, ..v }),
                ..state.clone()
            },
            &mut seen,
        );
        assert_eq!(tick(&state, &seen, NOW).state, state, "{stage:?}: an older token");
        obey(&state, &mut seen);
        seen.agent.as_mut().expect("there is an agent").generation = 8;
        assert_eq!(tick(&state, &seen, NOW).state, state, "{stage:?}: older orders");
    }
}

#[test]
fn every_stage_before_the_flip_can_be_aborted() {
    for to in [Side::Modern, Side::Legacy] {
        for stage in Stage::ALL.into_iter().take(6) {
            let state = switching(stage, to);
            let aborts: [(&str, Outcome); 3] = [
                ("operator", wish(&state, &good(state.owner, NOW), Wish::Abort)),
                ("deadline", tick(&state, &good(state.owner, NOW), later(10))),
                ("trouble", {
                    let mut seen = good(state.owner, NOW);
                    report(&mut seen).trouble = Some("disk full".into());
                    tick(&state, &seen, NOW)
                }),
            ];
            for (why, outcome) in aborts {
                let mut after = outcome.state;
                assert_eq!(outcome.journal[0].kind, "aborted", "{stage:?} {why}");
                assert_eq!(after.owner, state.owner);
                if stage.fences_owner() {
                    assert_eq!(after.switch.as_ref().map(|s| s.stage), Some(Stage::Lift));
                    assert!(desired::serving(&after, &plan()).fenced, "the gateways wait for the database");
                    let orders = desired::orders(&after, &plan()).expect("it is synchronised");
                    assert!(!orders.fenced.of(after.owner) && orders.fenced.of(after.owner.other()));
                    let mut seen = good(after.owner, NOW);
                    report(&mut seen).fenced = Fences { legacy: true, modern: true };
                    assert_eq!(tick(&after, &seen, NOW).state, after, "the database is not open");
                    after = tick(&after, &good(after.owner, NOW), NOW).state;
                }
                let home = if to == Side::Modern { Phase::Ramping } else { Phase::Soaking };
                assert_eq!((after.phase, after.switch.is_none(), after.holds.len()), (home, true, 1), "{stage:?} {why}");
                assert!(!desired::serving(&after, &plan()).fenced);
            }
        }
    }
}

#[test]
fn once_the_new_owner_is_open_there_is_only_forward() {
    for (stage, to) in [(Stage::Open, Side::Modern), (Stage::Release, Side::Modern), (Stage::Release, Side::Legacy)] {
        let state = switching(stage, to);
        let mut seen = good(to, later(9_999));
        obey(&state, &mut seen);
        report(&mut seen).trouble = Some("disk full".into());
        seen.gateways[0].generation = 8;
        let after = tick(&state, &seen, later(9_999)).state;
        match stage {
            Stage::Open => assert_eq!(after.switch.map(|s| s.stage), Some(Stage::Release), "however late it opens"),
            _ => {
                assert_eq!(after, state, "neither trouble nor a deadline");
                assert!(refusal(wish(&state, &seen, Wish::Abort)).contains("only forward"));
            }
        }
    }
}

/// Its database was lost in the very moment: nobody has written to it, and everything acknowledged is in the other one.
#[test]
fn a_new_owner_whose_database_does_not_open_is_left_again() {
    for to in Side::BOTH {
        let state = switching(Stage::Open, to);
        let shut = |at: Timestamp| {
            let mut seen = good(to, at);
            (report(&mut seen).fenced, report(&mut seen).trouble) = (Fences { legacy: true, modern: true }, Some("it is away".into()));
            seen
        };
        assert_eq!(tick(&state, &shut(later(9)), later(9)).state, state, "it has time");
        let unheard = Observation { agent: None, ..shut(later(10)) };
        let mut untroubled = shut(later(10));
        report(&mut untroubled).trouble = None;
        for unknown in [unheard, untroubled] {
            assert_eq!(tick(&state, &unknown, later(10)).state, state, "it is about to open, for all that is known");
            assert!(refusal(wish(&state, &unknown, Wish::Abort)).contains("about to open"));
        }
        for taken_back in [tick(&state, &shut(later(10)), later(10)), wish(&state, &shut(NOW), Wish::Abort)] {
            let after = taken_back.state;
            assert_eq!(
                (after.owner, after.epoch, after.switch.as_ref().map(|s| s.stage)),
                (to.other(), state.epoch + 1, Some(Stage::Lift))
            );
            assert!(taken_back.journal[0].text.contains("owns again"), "{:?}", taken_back.journal);
            assert!(desired::serving(&after, &plan()).fenced, "the gateways wait for the database");
            let orders = desired::orders(&after, &plan()).expect("it is synchronised");
            assert!(!orders.fenced.of(after.owner) && orders.fenced.of(to));
            let home = if to == Side::Modern { Phase::Ramping } else { Phase::Soaking };
            let lifted = tick(&after, &good(after.owner, later(10)), later(10)).state;
            assert_eq!((lifted.phase, lifted.switch), (home, None));
        }
    }
}

#[test]
fn drift_aborts_a_switch() {
    let state = switching(Stage::Verify, Side::Modern);
    let mut seen = good(Side::Legacy, NOW);
    obey(&state, &mut seen);
    report(&mut seen).verified = Some(verified(state.verify.expect("a wish").token, 2, NOW));
    let after = tick(&state, &seen, NOW).state;
    assert_eq!(after.switch.map(|s| s.stage), Some(Stage::Lift));
    assert_eq!(after.holds.into_iter().collect::<Vec<_>>(), ["cutover: 2 rows differ"]);
}

#[test]
fn strangers_are_let_in_only_while_modern_owns_and_nothing_moves() {
    use crate::plan::StrayWrites;
    let lenient = Capability { strays: StrayWrites::Report, ..plan() };
    let strays = |state: &State| desired::orders(state, &lenient).expect("it is synchronised").strays;
    let forwarding = Capability { strays: StrayWrites::Forward, ..plan() };
    let carries = |state: &State, plan: &Capability| desired::orders(state, plan).expect("it is synchronised").carry_strays;
    for to in Side::BOTH {
        for stage in Stage::ALL.into_iter().take(8) {
            assert_eq!(strays(&switching(stage, to)), StrayWrites::Refuse, "{stage:?} to {to}");
            let open = to == Side::Legacy && stage <= Stage::Drain;
            assert_eq!(carries(&switching(stage, to), &forwarding), open, "{stage:?} to {to}: behind no fence");
        }
    }
    for phase in [Phase::Backfilling, Phase::Streaming, Phase::Ramping, Phase::Reverted, Phase::Retired] {
        assert_eq!(strays(&super::state(phase, 2)), StrayWrites::Refuse, "{phase:?}");
    }
    let soaking = super::state(Phase::Soaking, 4);
    assert_eq!(strays(&soaking), StrayWrites::Report);
    assert!(carries(&soaking, &forwarding) && !carries(&soaking, &lenient));
    assert_eq!(desired::orders(&soaking, &plan()).expect("it is synchronised").strays, StrayWrites::Refuse, "unless the rules say so");
}

#[test]
fn sessions_are_ended_only_of_modern_and_only_while_its_fence_waits_for_them() {
    let ends = |state: &State, plan: &Capability| desired::orders(state, plan).expect("it is synchronised").end_sessions;
    let returns = crate::plan::Return { transactions: crate::plan::OpenTransactions::Wait, ..crate::plan::Return::default() };
    let waits = Capability { returns, ..plan() };
    for to in Side::BOTH {
        for stage in Stage::ALL.into_iter().take(8) {
            let state = switching(stage, to);
            assert_eq!(ends(&state, &plan()), (to, stage) == (Side::Legacy, Stage::FenceDatabase), "{stage:?} to {to}");
            assert!(!ends(&state, &waits));
        }
    }
    assert!(!ends(&super::state(Phase::Soaking, 4), &plan()));
}

#[test]
fn whose_sessions_were_ended_stands_in_the_journal() {
    let state = switching(Stage::FenceDatabase, Side::Legacy);
    let mut seen = good(Side::Modern, NOW);
    obey(&state, &mut seen);
    let ended = ["pid 7, role `users`, open for 12 s", "pid 8, role `users`, open for 3 s"];
    report(&mut seen).ended = ended.map(str::to_owned).to_vec();
    let done = tick(&state, &seen, NOW);
    assert_eq!(done.state.switch.map(|s| s.stage), Some(Stage::CatchUp));
    seen.agent.as_mut().expect("there is an agent").at = later(10);
    let told = |line: &JournalLine| {
        (line.text.ends_with("was ended: pid 7, role `users`, open for 12 s; and 1 more"), line.detail["ended"].clone())
    };
    assert_eq!(told(&done.journal[0]), (true, serde_json::json!(ended)));
    // Also when nothing comes of it
    report(&mut seen).fenced.modern = false;
    seen.agent.as_mut().expect("there is an agent").generation = 8;
    let aborted = tick(&state, &seen, later(10));
    assert_eq!((aborted.journal[0].kind.as_str(), told(&aborted.journal[0])), ("aborted", (true, serde_json::json!(ended))));
    // And in no other stage, nor on the way to modern
    for (stage, to) in [(Stage::CatchUp, Side::Legacy), (Stage::FenceDatabase, Side::Modern)] {
        let state = switching(stage, to);
        let mut seen = good(state.owner, NOW);
        obey(&state, &mut seen);
        report(&mut seen).ended = ended.map(str::to_owned).to_vec();
        assert!(!tick(&state, &seen, NOW).journal[0].text.contains("pid 7"), "{stage:?} to {to}");
    }
}

/// Rows of strangers: those that are on one side only, and those of them that may still be carried over.
fn wrote(unsettled: u64, untried: u64) -> crate::wire::Strays {
    crate::wire::Strays {
        side: Side::Legacy,
        refused: 0,
        writers: vec![],
        reported: 4,
        unsettled,
        untried,
        wrote: vec!["role `nightly`".into()],
        tables: std::collections::BTreeMap::new(),
    }
}

#[test]
fn a_way_back_waits_for_what_is_carried_over() {
    use crate::plan::StrayWrites;
    let plan = Capability { strays: StrayWrites::Forward, ..plan() };
    let advance = |state: &State, seen: &Observation, event: Event| advance(state, &plan, seen, &event, NOW);
    let soaking = super::state(Phase::Soaking, 4);
    let mut seen = good(Side::Modern, NOW);
    // Somebody writes all the time.
    report(&mut seen).fenced.legacy = false;
    for (unsettled, untried, refused) in [
        (3, 3, None),
        (3, 2, Some("1 row was written to legacy past the gateway (role `nightly`), and on no other side")),
        (600, 600, Some("600 rows that were written to legacy past the gateway (role `nightly`) to be carried over")),
    ] {
        report(&mut seen).strays = vec![wrote(unsettled, untried)];
        let answer = advance(&soaking, &seen, Event::Wish(Wish::Revert)).refused;
        assert_eq!(answer.is_none(), refused.is_none(), "{unsettled}, {untried}: {answer:?}");
        assert!(answer.unwrap_or_default().contains(refused.unwrap_or_default()));
    }
    assert!(refusal(advance(&soaking, &seen, Event::Wish(Wish::Retire))).contains("600 rows were written"), "nobody carries them then");

    let draining = switching(Stage::Drain, Side::Legacy);
    let stage = |seen: &Observation| advance(&draining, seen, Event::Tick).state.switch.map(|switch| switch.stage);
    let waits = |seen: &Observation| waiting_for(&draining, &plan, seen, NOW).into_iter().map(|w| w.text).collect::<Vec<_>>();
    report(&mut seen).strays = vec![wrote(0, 0)];
    assert_eq!(stage(&seen), Some(Stage::Drain), "strangers may still write");
    assert_eq!(waits(&seen), ["legacy's database to refuse who writes past the gateway"]);
    report(&mut seen).fenced.legacy = true;
    report(&mut seen).strays = vec![wrote(2, 2)];
    assert_eq!(stage(&seen), Some(Stage::Drain), "not all is carried");
    assert_eq!(waits(&seen), ["2 rows that were written to legacy past the gateway (role `nightly`) to be carried over"]);
    report(&mut seen).strays = vec![wrote(0, 0)];
    seen.orders_generation = 10;
    assert_eq!(stage(&seen), Some(Stage::Drain), "that was so before it was told to refuse them");
    seen.orders_generation = 9;
    assert_eq!(stage(&seen), Some(Stage::FenceDatabase));

    // What cannot be carried, and what was seen too late, takes it back.
    for (stage, rows) in [(Stage::Fence, wrote(2, 1)), (Stage::Drain, wrote(1, 0)), (Stage::FenceDatabase, wrote(1, 1))] {
        let state = switching(stage, Side::Legacy);
        report(&mut seen).strays = vec![rows];
        let outcome = advance(&state, &seen, Event::Tick);
        assert_eq!(outcome.journal[0].kind, "aborted", "{stage:?}");
        assert!(outcome.journal[0].text.contains("1 row was written to legacy past the gateway"), "{:?}", outcome.journal);
    }
}

#[test]
fn what_strangers_wrote_is_decided_about_before_anything_is_reverted_or_retired() {
    let wrote = |unsettled| wrote(unsettled, 0);
    let soaking = super::state(Phase::Soaking, 4);
    let mut seen = good(Side::Modern, NOW);
    report(&mut seen).strays = vec![wrote(4)];
    for wished in [Wish::Revert, Wish::Retire] {
        let refused = refusal(wish(&soaking, &seen, wished.clone()));
        assert!(refused.contains("4 rows were written to legacy past the gateway (role `nightly`)"), "{wished:?}: {refused}");
    }
    // One that was seen only when the database was closed.
    for stage in Stage::ALL.into_iter().take(6) {
        let state = switching(stage, Side::Legacy);
        let mut seen = good(Side::Modern, NOW);
        obey(&state, &mut seen);
        report(&mut seen).strays = vec![wrote(1)];
        let outcome = tick(&state, &seen, NOW);
        assert_eq!(outcome.journal[0].kind, "aborted", "{stage:?}");
        assert_eq!(outcome.state.owner, Side::Modern, "{stage:?}");
    }
    report(&mut seen).strays = vec![wrote(0)];
    assert!(wish(&soaking, &seen, Wish::Revert).refused.is_none(), "all is decided");
}

#[test]
fn an_abort_waits_for_the_owners_database_as_long_as_it_is_known_to_be_fenced() {
    let running = switching(Stage::CatchUp, Side::Modern);
    let lifting = wish(&running, &good(Side::Legacy, NOW), Wish::Abort).state;
    assert_eq!(lifting.switch.as_ref().map(|s| s.stage), Some(Stage::Lift));
    let mut seen = good(Side::Legacy, later(600));
    report(&mut seen).fenced = Fences { legacy: true, modern: true };
    for silent in [false, true] {
        if silent {
            seen.agent.as_mut().expect("there is an agent").at = NOW;
        }
        assert_eq!(tick(&lifting, &seen, later(600)).state, lifting, "silent: {silent}");
        let waits = waiting_for(&lifting, &plan(), &seen, later(600));
        assert!(waits.iter().any(|w| w.text.starts_with("legacy's database is still fenced")), "{waits:?}");
    }
    report(&mut seen).fenced.legacy = false;
    assert_eq!(tick(&lifting, &seen, later(600)).state.phase, Phase::Ramping, "silent, and open when it was last heard of");
    seen.agent = None;
    assert_eq!(tick(&lifting, &seen, later(4)).state, lifting);
    assert_eq!(tick(&lifting, &seen, later(5)).state.phase, Phase::Ramping, "nobody has ever said");
}

#[test]
fn an_abort_does_not_take_a_fresh_agents_silence_about_fences_for_open_ones() {
    let running = switching(Stage::CatchUp, Side::Modern);
    let lifting = wish(&running, &good(Side::Legacy, NOW), Wish::Abort).state;
    let mut seen = good(Side::Legacy, NOW);
    *report(&mut seen) = CapabilityReport::default();
    assert_eq!(tick(&lifting, &seen, NOW).state, lifting, "it has not looked yet");
    seen = good(Side::Legacy, NOW);
    assert_eq!(tick(&lifting, &seen, NOW).state.phase, Phase::Ramping, "it has, and legacy is open");
}

#[test]
fn a_cutover_is_aborted_when_modern_goes_down_and_a_revert_is_not() {
    for stage in Stage::ALL.into_iter().take(8) {
        for to in Side::BOTH {
            let state = switching(stage, to);
            let mut seen = good(state.owner, NOW);
            seen.gateways[0].modern_down = true;
            let outcome = tick(&state, &seen, NOW);
            let aborts = outcome.journal.first().is_some_and(|line| line.kind == "aborted");
            assert_eq!(aborts, to == Side::Modern && !stage.is_decided(), "{stage:?} to {to}");
            if aborts {
                assert!(outcome.state.holds.contains("cutover: users-service does not answer gateway gw-1"), "{:?}", outcome.state.holds);
            }
        }
    }
}

#[test]
fn a_transaction_that_grows_old_behind_the_fence_is_named_by_the_abort() {
    let state = switching(Stage::FenceDatabase, Side::Modern);
    let mut seen = good(Side::Legacy, later(9));
    report(&mut seen).busy = Some("pid 4711 has a transaction open".into());
    assert_eq!(tick(&state, &seen, later(9)).state, state, "it may still end in time");
    seen.agent.as_mut().expect("there is an agent").at = later(10);
    let aborted = tick(&state, &seen, later(10));
    assert!(aborted.journal[0].text.contains("pid 4711"), "{:?}", aborted.journal);
    report(&mut seen).fenced = Fences { legacy: true, modern: true };
    assert_eq!(tick(&state, &seen, later(9)).state.switch.map(|s| s.stage), Some(Stage::CatchUp), "the fence has not waited for it");
}

#[test]
fn a_revert_ends_with_legacy_and_the_steps_begin_anew() {
    let state = switching(Stage::Release, Side::Legacy);
    assert_eq!((state.owner, state.epoch), (Side::Legacy, 1));
    let reverted = tick(&state, &good(Side::Legacy, NOW), NOW).state;
    assert_eq!(reverted.phase, Phase::Reverted);
    let seen = good(Side::Legacy, NOW);
    assert_eq!(tick(&reverted, &seen, later(5)).state.phase, Phase::Reverted, "not by itself");
    assert_eq!(wish(&reverted, &seen, Wish::Advance).state.phase, Phase::Streaming);
    assert_eq!(wish(&reverted, &seen, Wish::Cutover).state.phase, Phase::Fencing);
}

#[test]
fn wishes_during_a_switch_are_refused_but_for_abort_hold_and_release() {
    let state = switching(Stage::Drain, Side::Modern);
    let seen = good(Side::Legacy, NOW);
    for wished in [Wish::Advance, Wish::Cutover, Wish::Retire, Wish::Verify, Wish::Repair] {
        assert_eq!(refusal(wish(&state, &seen, wished)), "a cutover (stage drain) is under way");
    }
    assert_eq!(wish(&state, &seen, Wish::Hold("x".into())).state.holds.len(), 1);
    assert_eq!(wish(&state, &seen, Wish::Revert).journal[0].kind, "aborted");
    assert!(refusal(wish(&super::State::draft("users", NOW), &seen, Wish::Abort)).contains("no cutover"));
    assert!(refusal(wish(&super::State::draft("users", NOW), &seen, Wish::Release(None))).contains("nothing is held"));
}

#[test]
fn a_gateway_that_missed_a_fence_gets_no_validity() {
    let state = switching(Stage::Drain, Side::Modern);
    assert!(state.lets_forward(9) && !state.lets_forward(8));
}

/// A repair looks at every row, which may last for hours: whoever typed it as a runbook says must not lose the way back by that.
#[test]
fn a_revert_gives_a_repair_up_and_a_cutover_waits_for_it() {
    let soaking = wish(&super::state(Phase::Soaking, 4), &good(Side::Modern, NOW), Wish::Repair).state;
    assert!(soaking.repair.is_some());
    let reverting = wish(&soaking, &good(Side::Modern, NOW), Wish::Revert);
    assert!(reverting.journal[0].text.ends_with("the repair that is under way is given up"), "{:?}", reverting.journal);
    assert_eq!((reverting.state.phase, reverting.state.repair), (Phase::Reverting, None));
    assert_eq!(desired::orders(&reverting.state, &plan()).expect("it is synchronised").repair, None);

    let mut failing = good(Side::Modern, NOW);
    failing.traffic.step.modern.errors = 50;
    failing.traffic.recent = failing.traffic.step.clone();
    let left = tick(&soaking, &failing, NOW).state;
    assert_eq!((left.phase, left.repair), (Phase::Reverting, None), "nor does anybody have to type it");

    let ramping = wish(&super::state(Phase::Ramping, 2), &good(Side::Legacy, NOW), Wish::Repair).state;
    assert!(refusal(wish(&ramping, &good(Side::Legacy, NOW), Wish::Cutover)).contains("a repair is under way"));
}

#[test]
fn a_repair_is_given_up_by_an_abort() {
    let seen = good(Side::Modern, NOW);
    let repairing = wish(&super::state(Phase::Soaking, 4), &seen, Wish::Repair).state;
    let given_up = wish(&repairing, &seen, Wish::Abort);
    assert_eq!((given_up.state.repair, given_up.journal[0].kind.as_str()), (None, "repair"));
    assert_eq!((given_up.state.phase, given_up.state.aborted, given_up.state.holds.len()), (Phase::Soaking, None, 0));
    assert!(refusal(wish(&given_up.state, &seen, Wish::Abort)).contains("no cutover, revert or repair"));
}
