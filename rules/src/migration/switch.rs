//! The stages of a cutover, and of a revert, which is the same procedure the other way round.
//!
//! Fence the gateways, drain them, fence the owner's database, and only **then** read the end of its log; wait until that
//! is applied, recheck, raise sequences. The transition into `Open` flips the owner: up to it, any trouble and the
//! deadline lead to an abort. From it on only forward, but for one case: while the new owner's database has not opened, no gateway
//! has let a write go to it, and where it does not open in time the old one owns again, by an epoch of its own.

use serde_json::json;

use super::advance::Outcome;
use super::checkup::{figures, order};
use super::observation::{AgentSeen, Observation};
use super::waiting::{self, Waiting, WaitingKind};
use super::{Phase, Stage, State, Switch};
use crate::count::{self, counted};
use crate::gate::{Judged, Verdict};
use crate::plan::{Capability, StepAction, StrayWrites};
use crate::wire::{CapabilityReport, VerifyScope};
use crate::{Side, Timestamp};

/// What must be true before the first fence goes up.
pub(super) fn preconditions(state: &State, to: Side, plan: &Capability, seen: &Observation, now: Timestamp) -> Vec<Waiting> {
    conditions(state, to, false, plan, seen, now)
}

/// The same for a way back that may leave rows set aside.
pub(super) fn preconditions_leaving(state: &State, plan: &Capability, seen: &Observation, now: Timestamp) -> Vec<Waiting> {
    conditions(state, Side::Legacy, true, plan, seen, now)
}

fn conditions(state: &State, to: Side, leaves: bool, plan: &Capability, seen: &Observation, now: Timestamp) -> Vec<Waiting> {
    let mut missing = waiting::agent(plan, seen, now);
    missing.extend(waiting::stream(plan, seen, state.owner, now));
    missing.extend(waiting::quarantined(plan, seen, now).filter(|_| !leaves));
    missing.extend(match to {
        Side::Modern => waiting::strays(plan, seen, now),
        Side::Legacy if leaves => waiting::too_many_to_carry(plan, seen, now),
        Side::Legacy => waiting::strays_on_the_way_back(plan, seen, now),
    });
    missing.extend(waiting::busy_before(state, to, plan, seen, now));
    match to {
        Side::Modern => {
            if state.repair.is_some() {
                missing.push(Waiting::new(WaitingKind::Agent, "repair", "a repair is under way (`ficus abort` ends it)"));
            }
            missing.extend(waiting::stream(plan, seen, Side::Modern, now));
            missing.extend(waiting::gateways(seen, now));
            missing.extend(waiting::modern_up(plan, seen, now));
            missing.extend(waiting::parents(seen));
            // What traffic says must not be bad. That it says enough is for the steps to wait for: before the first of them,
            // and after a revert, nothing is sent to modern that could be judged.
            let judged = seen.judged(state, plan, now);
            let stops = |j: &Judged| j.fails() || (j.verdict != Verdict::Pass && matches!(j.gate.as_str(), "lag" | "parity"));
            let bad: Vec<_> = judged.into_iter().filter(stops).collect();
            missing.extend(waiting::gates(&bad));
            missing.extend(waiting::window(plan.windows_of(StepAction::is_cutover), seen, now));
            if state.verify.is_some_and(|v| v.scope == VerifyScope::Full) {
                missing.push(Waiting::new(WaitingKind::Agent, "comparison", "every row is being compared"));
            }
        }
        // A failing gate is a reason to go back, never one to stay. Only what would lose rows stands in the way, or would
        // have everybody's writes held until the deadline for nothing.
        Side::Legacy => missing.extend(lag_too_long(state, plan, seen, now)),
    }
    missing
}

/// Publishes the fence. A repair that is under way is given up: what it still found, it would find for an owner that is left.
pub(super) fn begin(state: &State, to: Side, seen: &Observation, now: Timestamp) -> Outcome {
    let switch = Switch {
        to,
        stage: Stage::Fence,
        since: now,
        started: now,
        deadline: now.plus(seen.limits.switch_deadline),
        from_phase: state.phase,
        leaves_aside: false,
    };
    let phase = phase_of(to, Stage::Fence);
    let next = State { phase, switch: Some(switch), repair: None, ..without_old_reasons(state.clone()) };
    let given_up = if state.repair.is_some() { "; the repair that is under way is given up" } else { "" };
    let text = format!("moving the writes to {to}: gateways hold new ones{given_up}");
    Outcome::moved(next, "stage", text, json!({ "stage": "fence", "to": to, "from": state.phase.as_str() }))
}

/// The same back to legacy, although rows are set aside. The journal says how many, and where.
pub(super) fn begin_leaving(state: &State, plan: &Capability, seen: &Observation, now: Timestamp) -> Outcome {
    let mut outcome = begin(state, Side::Legacy, seen, now);
    if let Some(switch) = &mut outcome.state.switch {
        switch.leaves_aside = true;
    }
    let left = waiting::left_aside(plan, seen, now);
    if !left.is_empty() {
        let line = &mut outcome.journal[0];
        line.text += &format!("; {left}");
        line.detail["left_aside"] = json!(left);
    }
    outcome
}

/// One stage on, back, or nothing.
pub(super) fn tick(state: &State, running: &Switch, plan: &Capability, seen: &Observation, now: Timestamp) -> Outcome {
    if running.stage == Stage::Lift {
        // Behind a fence that is known to hold, every write that the gateways let through would fail.
        let late = now.since(running.since) >= seen.limits.lift && !is_known_fenced(state, plan, seen);
        return if late || missing(state, running, plan, seen, now).is_empty() {
            back(state, running, now)
        } else {
            Outcome::unchanged(state)
        };
    }
    if !running.stage.is_decided()
        && let Some(why) = spoiled(state, running, plan, seen, now)
    {
        let mut outcome = abort(state, running, &why, now);
        tell_ended(&mut outcome, running, seen, now);
        return outcome;
    }
    let missing = missing(state, running, plan, seen, now);
    if !missing.is_empty() {
        // One without trouble has only not said yet that it is open: a new leader, or an agent that was started just now.
        let late = now >= running.deadline && now.since(running.since) >= seen.limits.lift;
        return match running.stage == Stage::Open && late && waiting::in_trouble(seen, now) {
            true => abort(state, running, &format!("it has not opened in time: {}", waiting::sentence(&missing)), now),
            false => Outcome::unchanged(state),
        };
    }
    match running.stage {
        Stage::Fence => {
            let floor = state.floor.max(seen.serving_generation);
            on(State { floor, ..state.clone() }, running, Stage::Drain, "every gateway holds new writes", now)
        }
        Stage::Drain => {
            let left = waiting::sentence(&under_way(seen, now).collect::<Vec<_>>());
            let text = match left.is_empty() {
                true => "no write is under way".to_owned(),
                false => format!("{left}, for too long: the fence of {}'s database decides about them", state.owner),
            };
            on(state.clone(), running, Stage::FenceDatabase, &text, now)
        }
        Stage::FenceDatabase => {
            let next = State { token: state.token + 1, ..state.clone() };
            let mut outcome = on(next, running, Stage::CatchUp, "the owner's database refuses every writer but the agent", now);
            tell_ended(&mut outcome, running, seen, now);
            outcome
        }
        Stage::CatchUp => {
            let next = if plan.tables.is_empty() { state.clone() } else { order(state.clone(), VerifyScope::Changed) };
            on(next, running, Stage::Verify, "the end of the owner's log is applied", now)
        }
        Stage::Verify => {
            let next = State { token: state.token + 1, verify: None, ..state.clone() };
            let aside = if running.leaves_aside { ", but for the rows that are left set aside" } else { "" };
            on(next, running, Stage::Sequences, &format!("both databases agree{aside}"), now)
        }
        Stage::Sequences => flip(state, running, seen.obedient_agent(now), now),
        Stage::Open => on(state.clone(), running, Stage::Release, "the new owner's database is open", now),
        Stage::Release | Stage::Lift => finish(state, running, plan, now),
    }
}

/// What is missing for the stage to end.
pub(super) fn missing(state: &State, running: &Switch, plan: &Capability, seen: &Observation, now: Timestamp) -> Vec<Waiting> {
    let owner = state.owner;
    match running.stage {
        Stage::Fence | Stage::Release => waiting::gateways(seen, now),
        Stage::Drain => {
            let mut missing = waiting::gateways(seen, now);
            if !is_left_to_the_fence(running, plan, seen, now) {
                missing.extend(under_way(seen, now));
            }
            if carries_strays(running, plan) {
                missing.extend(waiting::strays_carried(plan, seen, running.leaves_aside, now));
            }
            missing
        }
        _ if plan.tables.is_empty() => Vec::new(),
        Stage::FenceDatabase => {
            let mut missing = agent_says(plan, seen, now, "fences", "both databases to be fenced", |r| r.fenced.legacy && r.fenced.modern);
            if !missing.is_empty() {
                missing.extend(waiting::busy(state, plan, seen, now));
            }
            missing
        }
        Stage::CatchUp => {
            agent_says(plan, seen, now, "catching up", &format!("end {} of {owner}'s log is not applied", state.token), |r| {
                r.end.as_ref().is_some_and(|end| end.token == state.token && end.reached)
            })
        }
        Stage::Verify => agent_says(plan, seen, now, "comparison", "the changed rows to be compared", |r| answer(state, r) == Some(0)),
        Stage::Sequences => {
            agent_says(plan, seen, now, "sequences", "the sequences to be raised", |r| r.sequences_raised == Some(state.token))
        }
        // What is wrong with the side that is left keeps nobody from the new owner.
        Stage::Open => {
            let missing = waiting::agent_follows(plan, seen, now);
            let is_open = |agent: &AgentSeen| agent.report.fenced.of(owner.other()) && !agent.report.fenced.of(owner);
            match missing.is_empty() && !seen.live_agent(now).is_some_and(is_open) {
                true => vec![Waiting::new(WaitingKind::Agent, fence_of(owner), format!("{owner}'s database to open"))],
                false => missing,
            }
        }
        Stage::Lift => {
            let what = format!("{owner}'s database to open again");
            // An agent that has just been started has not looked at the fences yet: no fence reported is none known. What is wrong with
            // the other side, as it is wherever that is away, keeps nobody from the owner.
            let mut missing = waiting::agent_follows(plan, seen, now);
            let is_open = |agent: &AgentSeen| agent.report.backfill.complete && !agent.report.fenced.of(owner);
            if missing.is_empty() && !plan.tables.is_empty() && !seen.live_agent(now).is_some_and(is_open) {
                missing.push(Waiting::new(WaitingKind::Agent, fence_of(owner), what));
            }
            if is_known_fenced(state, plan, seen) {
                let text = format!("{owner}'s database is still fenced: the gateways hold the writes until the agent opens it");
                missing.push(Waiting::new(WaitingKind::Agent, fence_of(owner), text));
            }
            missing
        }
    }
}

/// Back to where the switch came from: the owner's database opens before the gateways let anything through.
pub(super) fn abort(state: &State, running: &Switch, why: &str, now: Timestamp) -> Outcome {
    let word = word_of(running.to);
    let mut next = State { aborted: Some(now), verify: None, ..without_old_reasons(state.clone()).unapproved() };
    next.holds.insert(format!("{word}: {why}"));
    let mut detail = json!({ "stage": running.stage.as_str(), "to": running.to, "why": why });
    let mut text = format!("{word} aborted in stage {}: {why}", running.stage.as_str());
    if running.stage == Stage::Open {
        // Whoever still carries out the orders of the epoch between finds a newer one in the owner's database.
        (next.owner, next.epoch) = (running.to.other(), state.epoch + 1);
        text += &format!("; no gateway has let anybody into {}, and {} owns again (epoch {})", running.to, next.owner, next.epoch);
        (detail["owner"], detail["epoch"]) = (json!(next.owner), json!(next.epoch));
    }
    if running.stage == Stage::Open || running.stage.fences_owner() {
        next.phase = phase_of(running.to, Stage::Lift);
        next.switch = Some(Switch { stage: Stage::Lift, since: now, ..running.clone() });
        return Outcome::moved(next, "aborted", text, detail);
    }
    let mut outcome = back(&next, running, now);
    outcome.journal.insert(0, super::advance::JournalLine { kind: "aborted".to_owned(), text, detail });
    outcome
}

/// A state without the reasons that earlier switches left behind.
pub(super) fn without_old_reasons(mut state: State) -> State {
    state.holds.retain(|hold| !hold.starts_with("cutover: ") && !hold.starts_with("revert: "));
    state
}

/// Whose sessions were ended so that modern's fence could be closed.
fn tell_ended(outcome: &mut Outcome, running: &Switch, seen: &Observation, now: Timestamp) {
    let waited = running.to == Side::Legacy && running.stage == Stage::FenceDatabase;
    // An agent whose fence does not close obeys the orders of before.
    let ended = seen.live_agent(now).filter(|_| waited).map_or_else(Vec::new, |agent| agent.report.ended.clone());
    if let ([first, others @ ..], Some(line)) = (ended.as_slice(), outcome.journal.first_mut()) {
        let more = if others.is_empty() { String::new() } else { format!("; and {} more", others.len()) };
        line.text += &format!("; of sessions that kept it waiting in an open transaction was ended: {first}{more}");
        line.detail["ended"] = json!(ended);
    }
}

fn on(mut state: State, running: &Switch, stage: Stage, text: &str, now: Timestamp) -> Outcome {
    state.phase = phase_of(running.to, stage);
    state.switch = Some(Switch { stage, since: now, ..running.clone() });
    let detail = json!({ "stage": stage.as_str(), "after_ms": now.since(running.started).as_millis() as u64 });
    Outcome::moved(state, "stage", text, detail)
}

/// The other side owns from now on.
fn flip(state: &State, running: &Switch, report: Option<&CapabilityReport>, now: Timestamp) -> Outcome {
    let next = State { owner: running.to, epoch: state.epoch + 1, verify: None, ..state.clone() };
    let epoch = next.epoch;
    let mut outcome = on(next, running, Stage::Open, "", now);
    outcome.journal[0].kind = "flipped".to_owned();
    outcome.journal[0].text = format!("{} owns from now on (epoch {epoch})", running.to);
    outcome.journal[0].detail = json!({
        "from": state.owner, "to": running.to, "epoch": epoch,
        "position": report.and_then(|r| r.end.as_ref()).map(|end| end.position.clone()),
        "verified": report.and_then(|r| r.verified.as_ref()).map(figures),
        "after_ms": now.since(running.started).as_millis() as u64,
    });
    outcome
}

fn finish(state: &State, running: &Switch, plan: &Capability, now: Timestamp) -> Outcome {
    let pause = now.since(running.started).as_millis() as u64;
    let (phase, step) = match running.to {
        Side::Modern => {
            (Phase::Soaking, plan.steps.iter().position(|s| matches!(s.action, StepAction::Soak(_))).unwrap_or(plan.steps.len()))
        }
        Side::Legacy => (Phase::Reverted, 0),
    };
    let next = State {
        phase,
        step,
        since: now,
        switch: None,
        aborted: None,
        last_pause_ms: Some(pause),
        judged: Vec::new(),
        returned: None,
        ..state.clone().unapproved()
    };
    let text = format!("every gateway sends the writes to {}; they were held for {pause}ms", running.to);
    Outcome::moved(
        next,
        "switched",
        text,
        json!({ "to": running.to, "phase": phase.as_str(), "pause_ms": pause, "direction": word_of(running.to) }),
    )
}

/// The end of an abort.
fn back(state: &State, running: &Switch, now: Timestamp) -> Outcome {
    let next = State { phase: running.from_phase, since: now, switch: None, ..state.clone() };
    let pause = now.since(running.started).as_millis() as u64;
    let text = format!("writes go to {} as before; they were held for {pause}ms", state.owner);
    Outcome::moved(next, "phase", text, json!({ "phase": running.from_phase.as_str(), "pause_ms": pause }))
}

/// Why a switch that has not flipped cannot go on.
fn spoiled(state: &State, running: &Switch, plan: &Capability, seen: &Observation, now: Timestamp) -> Option<String> {
    if now >= running.deadline {
        let left = waiting::sentence(&missing(state, running, plan, seen, now));
        return Some(if left.is_empty() { "the deadline has passed".to_owned() } else { format!("the deadline has passed: {left}") });
    }
    let down = waiting::modern_up(plan, seen, now);
    if running.to == Side::Modern && !down.is_empty() {
        return Some(waiting::sentence(&down));
    }
    let report = &seen.live_agent(now).filter(|_| !plan.tables.is_empty())?.report;
    if let Some(trouble) = &report.trouble {
        return Some(trouble.clone());
    }
    if report.quarantined > 0 && !running.leaves_aside {
        return Some(counted(report.quarantined, "row is quarantined", "rows are quarantined"));
    }
    let to_be_carried = carries_strays(running, plan) && running.stage <= Stage::Drain;
    let strays = if to_be_carried { waiting::undecided(plan, report) } else { waiting::unsettled(report) };
    if let Some(strays) = strays.filter(|_| !running.leaves_aside) {
        return Some(strays);
    }
    let drift = answer(state, report).filter(|drift| running.stage == Stage::Verify && *drift > 0)?;
    Some(counted(drift, "row differs", "rows differ"))
}

/// A service that hangs never answers what it was sent, and is left all the same: what such a write did before the fence of its
/// database stands in the log that is carried over, and what it tries to do later is refused, as anybody else's is who does not pass
/// the gateway. On the way to modern they are waited for: nobody has to leave legacy.
fn is_left_to_the_fence(running: &Switch, plan: &Capability, seen: &Observation, now: Timestamp) -> bool {
    running.to == Side::Legacy && !plan.tables.is_empty() && now.since(running.since) >= seen.limits.hangs()
}

fn under_way(seen: &Observation, now: Timestamp) -> impl Iterator<Item = Waiting> {
    seen.counting(now).filter(|g| g.inflight_writes > 0).map(|g| {
        let text = format!("gateway {} has {} under way", g.name, count::of(g.inflight_writes, "write"));
        Waiting::new(WaitingKind::Gateway, &g.name, text)
    })
}

/// What strangers wrote is carried over before the end of modern's log is read: behind its fence it could not be any more.
fn carries_strays(running: &Switch, plan: &Capability) -> bool {
    running.to == Side::Legacy && plan.strays == StrayWrites::Forward && !plan.tables.is_empty()
}

/// The drift that the verification under way has found.
fn answer(state: &State, report: &CapabilityReport) -> Option<u64> {
    let wish = state.verify.as_ref()?;
    report.verified.as_ref().filter(|v| v.done && v.token == wish.token).map(|v| v.drift_rows())
}

fn agent_says(
    plan: &Capability,
    seen: &Observation,
    now: Timestamp,
    on: &str,
    what: &str,
    holds: impl Fn(&CapabilityReport) -> bool,
) -> Vec<Waiting> {
    // That it is there, and works by the newest orders, is asked there.
    let missing = waiting::agent(plan, seen, now);
    if !missing.is_empty() || seen.live_agent(now).is_some_and(|agent| holds(&agent.report)) {
        return missing;
    }
    vec![Waiting::new(WaitingKind::Agent, on, what)]
}

fn fence_of(side: Side) -> String {
    format!("fence of {side}")
}

/// The last that was heard of the owner's database, however long ago, is that it refuses writers.
fn is_known_fenced(state: &State, plan: &Capability, seen: &Observation) -> bool {
    !plan.tables.is_empty() && seen.agent.as_ref().is_some_and(|agent| agent.report.fenced.of(state.owner))
}

fn lag_too_long(state: &State, plan: &Capability, seen: &Observation, now: Timestamp) -> Option<Waiting> {
    let bound = seen.limits.switch_deadline.as_secs_f64() / 2.0;
    let agent = seen.live_agent(now).filter(|_| !plan.tables.is_empty())?;
    let lag = agent.report.stream_from(state.owner).lag_seconds;
    // Written so that a lag that is no number stops it too.
    let bounded = lag <= bound;
    (!bounded)
        .then(|| Waiting::new(WaitingKind::Agent, "lag", format!("{} lags {lag:.1}s behind, more than {bound:.1}s", state.owner.other())))
}

fn word_of(to: Side) -> &'static str {
    match to {
        Side::Modern => "cutover",
        Side::Legacy => "revert",
    }
}

fn phase_of(to: Side, stage: Stage) -> Phase {
    match (to, stage) {
        (Side::Legacy, _) => Phase::Reverting,
        (_, Stage::Fence | Stage::Lift) => Phase::Fencing,
        (_, Stage::Drain | Stage::FenceDatabase) => Phase::Draining,
        (_, Stage::CatchUp) => Phase::CatchingUp,
        (_, Stage::Verify | Stage::Sequences | Stage::Open | Stage::Release) => Phase::Verifying,
    }
}
