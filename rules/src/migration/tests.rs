//! Every transition by itself, on hand-made observations: the world of these tests, and what they ask.

mod beginning;
mod order;
mod steps;
mod strays;
mod switching;

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

pub(crate) const NOW: Timestamp = Timestamp(1_000_000_000);

pub(crate) fn later(seconds: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(seconds))
}

pub(crate) fn percent(n: u32) -> Share {
    Share::from_millionths(n * 10_000)
}

/// Shadow all, reads 5 %, reads 100 %, cutover after approval, soak for a day.
pub(crate) fn plan() -> Capability {
    let step = |action, hold, approve| Step {
        source: String::new(),
        action,
        compare: crate::Share::NONE,
        hold: Duration::from_secs(hold),
        approve,
        windows: vec![],
    };
    let table = TableMap {
        events: Vec::new(),
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
        ahead_of: vec![],
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
        strays: crate::plan::StrayWrites::default(),
        tests: vec![],
    }
}

pub(crate) fn state(phase: Phase, step: usize) -> State {
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
pub(crate) fn good(owner: Side, now: Timestamp) -> Observation {
    let live = StreamReport { live: true, ..StreamReport::default() };
    let report = CapabilityReport {
        backfill: Backfill { done: 40, total: 40, complete: true, ..Backfill::default() },
        forward: live.clone(),
        reverse: live,
        fenced: Fences { legacy: owner == Side::Modern, modern: owner == Side::Legacy },
        verified: Some(verified(0, 0, now)),
        ..CapabilityReport::default()
    };
    let gateway = GatewaySeen { name: "gw-1".into(), counts_until: later(100_000), generation: 9, ..GatewaySeen::default() };
    let traffic = |requests| Traffic { requests, took: vec![requests], ..Traffic::default() };
    let sides = Sides { legacy: traffic(100), modern: traffic(100), ..Sides::default() };
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

pub(crate) fn report(seen: &mut Observation) -> &mut CapabilityReport {
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
