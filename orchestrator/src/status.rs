//! The status, for people and metrics. Reads; never changes anything.

use ficus_rules::Timestamp;
use ficus_rules::api::{CapabilityStatus, RulesStatus, Status};
use ficus_rules::migration::waiting::{Waiting, WaitingKind, waiting_for};
use ficus_rules::migration::{Phase, State, desired};
use ficus_rules::plan::Capability;
use ficus_rules::wire::Overrides;

use crate::Shared;
use crate::fleet::Moment;
use crate::publish::View;
use crate::store::Stored;

/// Everything.
pub(crate) fn whole(shared: &Shared, now: Timestamp) -> Status {
    let view = shared.publisher.view();
    let rulebook = &view.rulebook;
    Status {
        generation: shared.publisher.generation(),
        at: now,
        rules: RulesStatus { generation: rulebook.generation, complaints: view.complaints.clone(), warnings: rulebook.warnings.clone() },
        capabilities: view.capabilities().map(|(plan, stored)| (plan.name.clone(), capability(shared, &view, plan, stored, now))).collect(),
        gateways: shared.fleet.gateways(),
        agents: shared.fleet.agents(Moment::at(now)),
        overrides: live(&view.overrides, crate::fleet::wall()),
        freshness: shared.fleet.freshness(&view),
    }
}

/// One capability.
pub(crate) fn capability(shared: &Shared, view: &View, plan: &Capability, stored: &Stored, now: Timestamp) -> CapabilityStatus {
    let state = &stored.state;
    let seen = shared.fleet.observe(plan, stored, view, shared.config.limits(), Moment::at(now));
    let waiting = waiting_for(state, plan, &seen, now);
    // During a switch nothing is judged: what led to it is shown.
    let gates = if state.switch.is_some() { state.judged.clone() } else { seen.judged(state, plan, now) };
    let agent = seen.live_agent(now).map(|agent| agent.report.clone());
    let verified = agent.as_ref().and_then(|a| a.verified.as_ref()).filter(|v| v.done);
    CapabilityStatus {
        phase: state.phase,
        step: step_of(state),
        steps: plan.steps.len(),
        step_action: step_action(state, plan, &waiting),
        stage: state.switch.as_ref().map(|s| s.stage),
        switch: state.switch.clone(),
        since: state.since,
        owner: state.owner,
        epoch: state.epoch,
        serving: desired::serving(state, plan),
        holds: state.holds.iter().cloned().collect(),
        waiting_for: waiting,
        gates,
        backfill: agent.as_ref().map(|a| a.backfill.clone()),
        lag_seconds: agent.as_ref().map(|a| a.stream_from(state.owner).lag_seconds).filter(|lag| lag.is_finite()),
        drift_rows: verified.map(|v| v.drift_rows()),
        verified_at: verified.map(|v| v.at),
        verifying: state.verify.is_some(),
        repairing: state.repair.is_some(),
        quarantined: agent.as_ref().map_or(0, |a| a.quarantined),
        last_pause_ms: state.last_pause_ms,
        trouble: agent.as_ref().and_then(|a| a.trouble.clone()),
        agent,
    }
}

/// Overrides that have not expired.
pub(crate) fn live(overrides: &Overrides, now: Timestamp) -> Overrides {
    let lives = |expires: Option<Timestamp>| expires.is_none_or(|at| now < at);
    Overrides {
        pins: overrides.pins.iter().filter(|pin| lives(pin.expires)).cloned().collect(),
        flags: overrides.flags.iter().filter(|(_, flag)| lives(flag.expires)).map(|(n, f)| (n.clone(), f.clone())).collect(),
    }
}

fn step_of(state: &State) -> Option<usize> {
    let walking = matches!(state.phase, Phase::Shadowing | Phase::Ramping | Phase::Soaking);
    walking.then_some(state.step + 1)
}

fn step_action(state: &State, plan: &Capability, waiting: &[Waiting]) -> Option<String> {
    let only_operator = !waiting.is_empty() && waiting.iter().all(|w| w.kind == WaitingKind::Wish);
    let at = match state.phase {
        Phase::Shadowing | Phase::Ramping if only_operator => state.step + 1,
        Phase::Streaming if only_operator => 0,
        Phase::Shadowing | Phase::Ramping | Phase::Soaking => state.step,
        _ => return None,
    };
    plan.steps.get(at).map(|step| step.action.as_str().to_owned())
}
