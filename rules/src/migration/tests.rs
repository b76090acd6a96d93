//! Every transition by itself, on hand-made observations.

use std::time::Duration;

use super::advance::{Event, Outcome, Wish, advance};
use super::observation::{AgentSeen, GatewaySeen, Observation};
use super::waiting::{Waiting, WaitingKind, waiting_for};
use super::{Phase, Stage, State, desired};
use crate::gate::{ErrorGate, Gates, ShadowGate, Sides};
use crate::mapping::TableMap;
use crate::plan::{Capability, Step, StepAction};
use crate::wire::{
    Backfill, CapabilityReport, EndReport, Fences, RepairReport, ShadowCounts, StreamReport, TableVerified, Traffic, VerifyReport,
    VerifyScope,
};
use crate::{Share, Side, Timestamp};

/// Makes one thing bad in a world in which everything is well.
type Spoil = fn(&mut Observation);

pub(super) const NOW: Timestamp = Timestamp(1_000_000_000);

pub(super) fn later(seconds: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(seconds))
}

pub(super) fn percent(n: u32) -> Share {
    Share::from_millionths(n * 10_000)
}

/// Shadow all, reads 5 %, reads 100 %, cutover after approval, soak for a day.
pub(super) fn plan() -> Capability {
    let step = |action, hold, approve| Step { source: String::new(), action, hold: Duration::from_secs(hold), approve, windows: vec![] };
    let table = TableMap {
        source: "users.toml:70".into(),
        legacy: "accounts_customuser".into(),
        modern: "users".into(),
        legacy_key: "id".into(),
        modern_key: "legacy_id".into(),
        sequence: None,
        columns: vec![],
        only: false,
        keep_legacy: vec![],
        keep_modern: vec![],
        zero_dates: crate::mapping::ZeroDates::default(),
        rows: crate::mapping::Rows::default(),
    };
    Capability {
        source: "users.toml:1".into(),
        name: "users".into(),
        description: String::new(),
        legacy: "monolith".into(),
        modern: "users-service".into(),
        depends_on: vec![],
        salt: "users".into(),
        routes: vec![],
        cohort: vec![],
        claims: std::collections::BTreeMap::new(),
        steps: vec![
            step(StepAction::Shadow(percent(100)), 60, false),
            step(StepAction::Reads(percent(5)), 60, false),
            step(StepAction::Reads(percent(100)), 60, false),
            step(StepAction::Cutover, 0, true),
            step(StepAction::Soak(Duration::from_secs(86_400)), 0, false),
        ],
        gates: Gates {
            errors: Some(ErrorGate { max_increase: percent(1), max: None, min_requests: 10 }),
            shadow: Some(ShadowGate { max_different: percent(1), min_requests: 10 }),
            ..Gates::default()
        },
        tables: vec![table],
        leniency: crate::parity::Leniency::default(),
        windows: vec![],
        returns: crate::plan::Return::default(),
        tests: vec![],
    }
}

pub(super) fn state(phase: Phase, step: usize) -> State {
    let owner = if matches!(phase, Phase::Soaking | Phase::Retired) { Side::Modern } else { Side::Legacy };
    State { phase, step, owner, ..State::draft("users", NOW) }
}

fn verified(token: u64, drift_rows: u64, at: Timestamp) -> VerifyReport {
    let table = TableVerified {
        legacy: "accounts_customuser".into(),
        modern: "users".into(),
        legacy_rows: 40,
        modern_rows: 40,
        drift_rows,
        legacy_root: "aa".into(),
        modern_root: "aa".into(),
        samples: vec![],
    };
    VerifyReport { token, done: true, at, tables: vec![table] }
}

/// A world in which everything is well for a capability that `owner` owns.
pub(super) fn good(owner: Side, now: Timestamp) -> Observation {
    let live = StreamReport { live: true, ..StreamReport::default() };
    let report = CapabilityReport {
        backfill: Backfill { done: 40, total: 40, complete: true },
        forward: live.clone(),
        reverse: live,
        fenced: Fences { legacy: owner == Side::Modern, modern: owner == Side::Legacy },
        verified: Some(verified(0, 0, now)),
        ..CapabilityReport::default()
    };
    let gateway = GatewaySeen { name: "gw-1".into(), counts_until: later(100_000), generation: 9, ..GatewaySeen::default() };
    let traffic = |requests| Traffic { requests, errors: 0, latency: vec![requests] };
    let sides = Sides { legacy: traffic(100), modern: traffic(100) };
    let mut seen = Observation {
        gateways: vec![gateway],
        serving_generation: 9,
        orders_generation: 9,
        agent: Some(AgentSeen { name: "agent-1".into(), generation: 9, at: now, report }),
        ..Observation::default()
    };
    seen.traffic.step = sides.clone();
    seen.traffic.recent = sides;
    seen.traffic.shadow = ShadowCounts { same: 100, ..ShadowCounts::default() };
    seen
}

pub(super) fn report(seen: &mut Observation) -> &mut CapabilityReport {
    &mut seen.agent.as_mut().expect("there is an agent").report
}

fn tick(state: &State, seen: &Observation, now: Timestamp) -> Outcome {
    advance(state, &plan(), seen, &Event::Tick, now)
}

fn wish(state: &State, seen: &Observation, wish: Wish) -> Outcome {
    advance(state, &plan(), seen, &Event::Wish(wish), NOW)
}

fn refusal(outcome: Outcome) -> String {
    outcome.refused.expect("it is refused")
}

fn switching(stage: Stage, to: Side) -> State {
    let from = if to == Side::Modern { state(Phase::Ramping, 2) } else { state(Phase::Soaking, 4) };
    let seen = good(from.owner, NOW);
    let mut state = wish(&from, &seen, if to == Side::Modern { Wish::Cutover } else { Wish::Revert }).state;
    let mut seen = seen;
    for _ in 0..Stage::ALL.len() {
        if state.switch.as_ref().is_some_and(|s| s.stage == stage) {
            return state;
        }
        obey(&state, &mut seen);
        state = tick(&state, &seen, NOW).state;
    }
    panic!("stage {stage:?} was not reached: {state:?}");
}

/// The agent and the gateways do at once what the state desires.
fn obey(state: &State, seen: &mut Observation) {
    let Some(orders) = desired::orders(state, &plan()) else { return };
    let report = report(seen);
    report.fenced = orders.fenced;
    report.end = orders.mark_end.map(|wish| EndReport { token: wish.token, position: "4711".into(), reached: true }).or(report.end.take());
    report.sequences_raised = orders.raise_sequences;
    if let Some(wish) = orders.verify {
        report.verified = Some(verified(wish.token, 0, NOW));
    }
}

#[test]
fn a_draft_waits_for_an_operator() {
    let draft = state(Phase::Draft, 0);
    let seen = Observation::default();
    assert_eq!(tick(&draft, &seen, later(9_999)).state, draft);
    assert_eq!(desired::orders(&draft, &plan()), None);
    let begun = wish(&draft, &seen, Wish::Advance);
    assert_eq!((begun.state.phase, begun.journal[0].kind.as_str()), (Phase::Backfilling, "phase"));
    let held = wish(&draft, &seen, Wish::Hold("holidays".into())).state;
    assert_eq!(refusal(wish(&held, &seen, Wish::Advance)), "held: holidays");
}

#[test]
fn a_backfill_ends_when_everything_runs() {
    let copying = state(Phase::Backfilling, 0);
    assert!(tick(&copying, &Observation::default(), NOW).journal.is_empty(), "nobody has reported");
    let spoil: [fn(&mut CapabilityReport); 5] = [
        |r| r.backfill.complete = false,
        |r| r.forward.live = false,
        |r| r.reverse.live = false,
        |r| r.fenced.modern = false,
        |r| r.trouble = Some("disk full".into()),
    ];
    for spoil in spoil {
        let mut seen = good(Side::Legacy, NOW);
        spoil(report(&mut seen));
        assert_eq!(tick(&copying, &seen, NOW).state, copying);
        assert!(!waiting_for(&copying, &plan(), &seen, NOW).is_empty());
    }
    // Also one that has been silent for long: it needs no validity to forward what it takes for a draft.
    let mut seen = good(Side::Legacy, NOW);
    seen.gateways.push(GatewaySeen { name: "gw-2".into(), counts_until: NOW, generation: 8, ..GatewaySeen::default() });
    for plan in [plan(), Capability { tables: vec![], ..plan() }] {
        assert_eq!(advance(&copying, &plan, &seen, &Event::Tick, NOW).state, copying);
        assert!(waiting_for(&copying, &plan, &seen, NOW).iter().any(|waiting| waiting.text.contains("gateway gw-2 to hear")));
    }
    let streaming = tick(&copying, &good(Side::Legacy, NOW), NOW).state;
    assert_eq!((streaming.phase, streaming.verify.map(|v| v.scope)), (Phase::Streaming, Some(VerifyScope::Full)));
}

#[test]
fn steps_follow_each_other_after_their_hold() {
    let mut seen = good(Side::Legacy, NOW);
    let streaming = state(Phase::Streaming, 0);
    let shadowing = tick(&streaming, &seen, NOW).state;
    assert_eq!((shadowing.phase, desired::serving(&shadowing, &plan()).shadow), (Phase::Shadowing, percent(100)));
    assert_eq!(tick(&shadowing, &seen, later(59)).state.phase, Phase::Shadowing);
    seen.agent.as_mut().expect("there is an agent").at = later(60);
    let ramping = tick(&shadowing, &seen, later(60)).state;
    assert_eq!((ramping.phase, ramping.step), (Phase::Ramping, 1));
    assert_eq!(desired::serving(&ramping, &plan()).reads, percent(5));
    assert_eq!(desired::serving(&ramping, &plan()).shadow, percent(100));
    let skipped = wish(&ramping, &seen, Wish::Advance).state;
    assert_eq!((skipped.step, desired::serving(&skipped, &plan()).reads), (2, percent(100)));
}

#[test]
fn what_cannot_be_judged_waits() {
    let shadowing = state(Phase::Shadowing, 0);
    let mut seen = good(Side::Legacy, later(61));
    seen.traffic.shadow = ShadowCounts { same: 3, ..ShadowCounts::default() };
    assert_eq!(tick(&shadowing, &seen, later(61)).state.phase, Phase::Shadowing);
    let waits = waiting_for(&shadowing, &plan(), &seen, later(61));
    assert_eq!(waits[0].text, "gate shadow: inconclusive (3 of 10 comparisons)");
    assert_eq!(wish(&shadowing, &seen, Wish::Advance).state.phase, Phase::Ramping, "an operator may skip that");
    seen.agent = None;
    assert_eq!(tick(&shadowing, &seen, later(61)).state.phase, Phase::Shadowing, "a silent agent is an error, not a failure");
}

#[test]
fn a_failing_gate_takes_all_reads_back_and_holds() {
    let ramping = state(Phase::Ramping, 2);
    let mut seen = good(Side::Legacy, NOW);
    seen.traffic.step.modern.errors = 50;
    let back = tick(&ramping, &seen, NOW).state;
    assert_eq!((back.phase, back.holds.contains("gate:errors")), (Phase::Streaming, true));
    assert_eq!(desired::serving(&back, &plan()).reads, Share::NONE);
    assert_eq!(tick(&back, &good(Side::Legacy, NOW), NOW).state.phase, Phase::Streaming, "held");
    let released = wish(&back, &seen, Wish::Release(Some("gate:errors".into()))).state;
    assert_eq!(tick(&released, &good(Side::Legacy, NOW), NOW).state.phase, Phase::Shadowing, "the steps begin anew");
}

#[test]
fn a_copy_that_is_gone_takes_all_reads_back_and_is_made_anew_when_released() {
    let spoil: [fn(&mut CapabilityReport); 2] = [
        |r| r.backfill.complete = false,
        |r| {
            let trouble = Some("the copy is gone".into());
            *r = CapabilityReport { trouble, ..CapabilityReport::default() };
        },
    ];
    for phase in [Phase::Streaming, Phase::Shadowing, Phase::Ramping] {
        for spoil in spoil {
            let mut seen = good(Side::Legacy, NOW);
            spoil(report(&mut seen));
            report(&mut seen).verified = Some(verified(0, 0, NOW));
            let back = tick(&state(phase, 1), &seen, NOW);
            assert_eq!((back.state.phase, back.journal[0].kind.as_str()), (Phase::Streaming, "stepped_back"), "{phase:?}");
            assert!(back.state.holds.contains("copy"));
            assert!(tick(&back.state, &seen, NOW).journal.is_empty(), "said once");
            let orders = |state: &State| desired::orders(state, &plan()).expect("it is synchronised");
            assert!(!orders(&back.state).may_copy);
            for release in [Some("copy".to_owned()), None] {
                let anew = wish(&back.state, &seen, Wish::Release(release)).state;
                assert_eq!((anew.phase, anew.holds.is_empty(), orders(&anew).may_copy), (Phase::Backfilling, true, true));
                assert_eq!(tick(&anew, &good(Side::Legacy, NOW), NOW).state.phase, Phase::Streaming);
            }
        }
    }
}

#[test]
fn an_agent_that_has_only_just_begun_does_not_know_the_copy() {
    let ramping = state(Phase::Ramping, 1);
    let mut fresh = good(Side::Legacy, NOW);
    let verified = report(&mut fresh).verified.take();
    *report(&mut fresh) = CapabilityReport { verified, ..CapabilityReport::default() };
    assert_eq!(tick(&ramping, &fresh, NOW).state.phase, Phase::Ramping);
    let mut late = good(Side::Legacy, NOW);
    report(&mut late).backfill.complete = false;
    late.agent.as_mut().expect("there is an agent").generation = 8;
    assert_eq!(tick(&ramping, &late, NOW).state.phase, Phase::Ramping, "older orders");
}

#[test]
fn a_lag_that_nobody_knows_for_long_takes_all_reads_back() {
    let ramping = state(Phase::Ramping, 1);
    let mut seen = good(Side::Legacy, later(11));
    seen.traffic.lag_beyond_since = Some(later(2));
    report(&mut seen).forward.live = false;
    assert_eq!(tick(&ramping, &seen, later(11)).state.phase, Phase::Ramping);
    seen.traffic.lag_beyond_since = Some(later(1));
    let back = tick(&ramping, &seen, later(11)).state;
    assert_eq!((back.phase, back.holds.contains("gate:lag")), (Phase::Streaming, true));
    seen.agent = None;
    assert_eq!(tick(&ramping, &seen, later(11)).state.phase, Phase::Streaming, "a silent agent too");
}

#[test]
fn rows_that_are_set_aside_keep_it_where_it_is() {
    let mut seen = good(Side::Legacy, later(3600));
    report(&mut seen).quarantined = 2;
    for phase in [Phase::Streaming, Phase::Shadowing, Phase::Ramping] {
        let here = state(phase, 0);
        assert_eq!(tick(&here, &seen, later(3600)).state, State { judged: tick(&here, &seen, later(3600)).state.judged, ..here.clone() });
        let waits = waiting_for(&here, &plan(), &seen, later(3600));
        assert!(waits.iter().any(|w| w.text.starts_with("2 rows are quarantined")), "{waits:?}");
        assert!(advance(&here, &plan(), &seen, &Event::Wish(Wish::Advance), later(3600)).refused.is_some());
    }
}

#[test]
fn an_approval_is_waited_for() {
    let ramping = state(Phase::Ramping, 2);
    let seen = good(Side::Legacy, later(3600));
    assert_eq!(tick(&ramping, &seen, later(3600)).state.switch, None);
    assert_eq!(waiting_for(&ramping, &plan(), &seen, later(3600))[0].text, "step 4 waits for approval: `ficus release`");
    let released = wish(&ramping, &seen, Wish::Release(None)).state;
    let fencing = tick(&released, &seen, later(3600)).state;
    assert_eq!((fencing.phase, fencing.switch.map(|s| s.stage)), (Phase::Fencing, Some(Stage::Fence)));
}

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
fn after_the_flip_there_is_only_forward() {
    for stage in [Stage::Open, Stage::Release] {
        let state = switching(stage, Side::Modern);
        let mut seen = good(Side::Modern, NOW);
        assert!(refusal(wish(&state, &seen, Wish::Abort)).contains("only forward"));
        report(&mut seen).trouble = Some("disk full".into());
        seen.gateways[0].generation = 8;
        assert_eq!(tick(&state, &seen, later(9_999)).state, state, "neither trouble nor a deadline");
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
fn an_aborted_cutover_is_tried_again_by_an_operator_at_once_and_by_itself_after_a_while() {
    let mut state = state(Phase::Ramping, 2);
    state.aborted = Some(NOW);
    state.holds.insert("cutover: the deadline has passed".into());
    let fresh = good(Side::Legacy, NOW);
    assert_eq!(wish(&state, &fresh, Wish::Cutover).state.switch.map(|s| s.stage), Some(Stage::Fence));
    let mut released = wish(&state, &fresh, Wish::Release(None)).state;
    released.since = Timestamp(0);
    assert_eq!(tick(&released, &good(Side::Legacy, later(59)), later(59)).state.switch, None);
    assert!(tick(&released, &good(Side::Legacy, later(60)), later(60)).state.switch.is_some());
}

#[test]
fn a_cutover_is_refused_with_the_reason() {
    let spoil: [(&str, Spoil); 10] = [
        ("users-service does not answer gateway gw-1", |s| s.gateways[0].modern_down = true),
        ("no agent", |s| s.agent = None),
        ("disk full", |s| report(s).trouble = Some("disk full".into())),
        ("stream from modern", |s| report(s).reverse.live = false),
        ("quarantined", |s| report(s).quarantined = 1),
        ("generation 8 of 9", |s| s.gateways[0].generation = 8),
        ("gate parity: fail", |s| report(s).verified = Some(verified(0, 1, NOW))),
        ("gate parity: inconclusive", |s| report(s).verified = None),
        ("gate errors: fail", |s| s.traffic.step.modern.errors = 90),
        ("gate lag", |s| report(s).forward.lag_seconds = 9.0),
    ];
    for (why, spoil) in spoil {
        let mut seen = good(Side::Legacy, NOW);
        spoil(&mut seen);
        let refused = refusal(wish(&state(Phase::Ramping, 2), &seen, Wish::Cutover));
        assert!(refused.contains(why), "{refused}");
    }
    let mut lapsed = good(Side::Legacy, NOW);
    lapsed.gateways[0] = GatewaySeen { generation: 1, counts_until: NOW, ..lapsed.gateways[0].clone() };
    assert_eq!(wish(&state(Phase::Streaming, 0), &lapsed, Wish::Cutover).refused, None, "a lapsed gateway does not count");
    assert!(refusal(wish(&state(Phase::Draft, 0), &lapsed, Wish::Cutover)).contains("draft"));
}

#[test]
fn an_operator_may_cut_over_where_traffic_says_nothing_and_a_step_may_not() {
    for (phase, step) in [(Phase::Streaming, 0), (Phase::Shadowing, 0), (Phase::Ramping, 2), (Phase::Reverted, 0)] {
        let mut quiet = good(Side::Legacy, NOW);
        quiet.traffic.step = Sides::default();
        quiet.traffic.recent = Sides::default();
        quiet.traffic.shadow = ShadowCounts::default();
        let here = State { released: true, ..state(phase, step) };
        assert_eq!(wish(&here, &quiet, Wish::Cutover).refused, None, "{phase:?}");
        let mut unknown = quiet.clone();
        report(&mut unknown).verified = None;
        assert!(refusal(wish(&here, &unknown, Wish::Cutover)).contains("gate parity"), "{phase:?}");
        quiet.agent.as_mut().expect("there is an agent").at = later(60);
        report(&mut quiet).verified = Some(verified(0, 0, later(60)));
        assert_eq!(tick(&here, &quiet, later(60)).state.switch, None, "{phase:?}");
    }
    let mut different = good(Side::Legacy, NOW);
    different.traffic.shadow = ShadowCounts { same: 50, different: 50, ..ShadowCounts::default() };
    for (phase, step) in [(Phase::Shadowing, 0), (Phase::Ramping, 2)] {
        assert!(refusal(wish(&state(phase, step), &different, Wish::Cutover)).contains("gate shadow: fail"), "{phase:?}");
    }
}

#[test]
fn a_revert_is_stopped_only_by_what_would_lose_rows() {
    let soaking = state(Phase::Soaking, 4);
    let mut seen = good(Side::Modern, NOW);
    seen.traffic.step.modern.errors = 90;
    report(&mut seen).verified = Some(verified(0, 9, NOW));
    let back = wish(&soaking, &seen, Wish::Revert).state;
    assert_eq!((back.phase, back.switch.map(|s| s.to)), (Phase::Reverting, Some(Side::Legacy)));
    let spoil: [fn(&mut CapabilityReport); 4] =
        [|r| r.reverse.live = false, |r| r.reverse.lag_seconds = 5.1, |r| r.reverse.lag_seconds = f64::NAN, |r| r.quarantined = 1];
    for spoil in spoil {
        let mut seen = good(Side::Modern, NOW);
        spoil(report(&mut seen));
        assert!(refusal(wish(&soaking, &seen, Wish::Revert)).starts_with("the way back is not open"));
    }
    let shadowing = wish(&state(Phase::Ramping, 1), &seen, Wish::Revert).state;
    assert_eq!((shadowing.phase, shadowing.holds.contains("revert")), (Phase::Streaming, true));
}

#[test]
fn an_old_open_transaction_stops_a_switch_before_anybody_is_held() {
    let text = "legacy: a transaction is open for 12 s (pid 4711)";
    let busy = |owner, epoch| {
        let mut seen = good(owner, NOW);
        *report(&mut seen) = CapabilityReport { epoch, busy: Some(text.into()), ..report(&mut seen).clone() };
        seen
    };
    // GIVEN one in the owner's database
    let before = State { released: true, since: Timestamp(0), ..state(Phase::Ramping, 2) };
    for wished in [Wish::Cutover, Wish::Advance] {
        assert_eq!(refusal(wish(&before, &busy(Side::Legacy, 0), wished.clone())), text);
        assert_eq!(wish(&before, &good(Side::Legacy, NOW), wished).state.phase, Phase::Fencing);
    }
    // THEN the step waits for it, and `ficus status` says so
    let seen = busy(Side::Legacy, 0);
    let waits = waiting_for(&before, &plan(), &seen, NOW);
    assert!(matches!(waits.as_slice(), [Waiting { kind: WaitingKind::Transaction, text: said }] if said == text), "{waits:?}");
    assert_eq!(tick(&before, &seen, NOW).state.switch, None);
    assert!(tick(&before, &good(Side::Legacy, NOW), NOW).state.switch.is_some());
    // AND the way back, also the one that is taken by itself
    let soaking = State { epoch: 1, ..state(Phase::Soaking, 4) };
    let mut seen = busy(Side::Modern, 1);
    assert!(refusal(wish(&soaking, &seen, Wish::Revert)).ends_with(text));
    seen.traffic.recent.modern.errors = 60;
    let held = tick(&soaking, &seen, NOW).state;
    assert_eq!((held.phase, held.holds.contains("gate:errors")), (Phase::Soaking, true));
    report(&mut seen).busy = None;
    assert_eq!(tick(&held, &seen, NOW).state.phase, Phase::Reverting, "as soon as it has ended");
    // BUT what is said of another owner's database, or of tables that there are not, stops nobody
    assert_eq!(wish(&soaking, &busy(Side::Modern, 0), Wish::Revert).refused, None);
    let bare = Capability { tables: vec![], ..plan() };
    assert_eq!(advance(&before, &bare, &busy(Side::Legacy, 0), &Event::Wish(Wish::Cutover), NOW).refused, None);
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
fn errors_while_soaking_go_back_by_themselves() {
    let mut seen = good(Side::Modern, NOW);
    seen.traffic.recent.modern.errors = 60;
    let back = tick(&state(Phase::Soaking, 4), &seen, NOW).state;
    assert_eq!((back.phase, back.holds.contains("gate:errors")), (Phase::Reverting, true));
    seen.gateways[0].legacy_down = true;
    let blocked = tick(&state(Phase::Soaking, 4), &seen, NOW);
    assert_eq!((blocked.state.phase, blocked.state.holds.contains("gate:errors")), (Phase::Soaking, true), "there is nobody to go back to");
    assert!(blocked.journal[0].text.ends_with("not open yet: monolith does not answer gateway gw-1"), "{}", blocked.journal[0].text);
    let typed = wish(&state(Phase::Soaking, 4), &seen, Wish::Revert);
    assert_eq!(typed.state.phase, Phase::Reverting, "an operator knows why");
    assert!(typed.journal[0].text.ends_with("beware: monolith does not answer gateway gw-1"), "{}", typed.journal[0].text);
    seen.gateways[0].legacy_down = false;
    assert_eq!(tick(&blocked.state, &seen, NOW).state.phase, Phase::Reverting, "it is there again");
    report(&mut seen).reverse.live = false;
    let stuck = tick(&state(Phase::Soaking, 4), &seen, NOW).state;
    assert_eq!((stuck.phase, stuck.holds.contains("gate:errors")), (Phase::Soaking, true), "rows would be lost");
    assert!(tick(&stuck, &seen, NOW).journal.is_empty(), "said once");
}

#[test]
fn retiring_waits_for_the_soak_and_for_those_who_join() {
    let soaking = state(Phase::Soaking, 4);
    let mut seen = good(Side::Modern, NOW);
    assert!(refusal(wish(&soaking, &seen, Wish::Retire)).contains("24h left"));
    let soaked = State { since: Timestamp(NOW.0 - 86_400_000), ..soaking };
    seen.joined.insert("courses".into(), Phase::Ramping);
    assert!(refusal(wish(&soaked, &seen, Wish::Retire)).contains("courses"));
    seen.joined.insert("courses".into(), Phase::Soaking);
    let retired = wish(&soaked, &seen, Wish::Retire).state;
    assert_eq!(retired.phase, Phase::Retired);
    let orders = desired::orders(&retired, &plan()).expect("there is something to remove");
    assert_eq!((orders.sync, orders.fenced), (crate::wire::SyncOrder::Remove, Fences::default()));
    assert!(refusal(wish(&retired, &seen, Wish::Revert)).contains("retired"));
}

#[test]
fn verifications_are_repeated_before_they_are_stale() {
    let mut state = state(Phase::Streaming, 0);
    state.holds.insert("operator".into());
    let mut seen = good(Side::Legacy, NOW);
    assert_eq!(tick(&state, &seen, NOW).state.verify, None);
    seen.agent.as_mut().expect("there is an agent").at = later(150);
    let ordered = tick(&state, &seen, later(150)).state.verify.expect("half of its age");
    assert_eq!((ordered.scope, ordered.token), (VerifyScope::Changed, 1));
    let wished = wish(&state, &seen, Wish::Repair).state;
    report(&mut seen).repaired = Some(RepairReport { token: wished.repair.expect("a wish"), done: true, rows: 3 });
    let done = tick(&wished, &seen, later(150));
    assert_eq!((done.state.repair, done.journal[0].kind.as_str()), (None, "repaired"));
    assert_eq!(done.state.verify.map(|v| v.scope), Some(VerifyScope::Full), "every row is compared again");
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

#[test]
fn a_capability_without_tables_needs_no_agent() {
    let plan = Capability { tables: vec![], ..plan() };
    let mut seen = good(Side::Legacy, NOW);
    seen.agent = None;
    let mut state = state(Phase::Backfilling, 0);
    for _ in 0..4 {
        state = advance(&state, &plan, &seen, &Event::Tick, NOW).state;
    }
    assert_eq!(state.phase, Phase::Shadowing);
    state = advance(&state, &plan, &seen, &Event::Wish(Wish::Cutover), NOW).state;
    for _ in 0..8 {
        state = advance(&state, &plan, &seen, &Event::Tick, NOW).state;
    }
    assert_eq!((state.phase, state.owner), (Phase::Soaking, Side::Modern));
    assert_eq!(desired::orders(&state, &plan), None);
    assert!(waiting_for(&state, &plan, &seen, NOW).iter().any(|w| w.kind == WaitingKind::Time));
}
