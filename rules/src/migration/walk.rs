//! The way of a capability outside a switch: backfill, stream, and the steps of the rule file. Every step lasts at least
//! its hold and needs all gates to pass; what a failing gate leads to stands in `returning`.

use std::time::Duration;

use serde_json::json;

use super::advance::Outcome;
use super::observation::{Observation, failing};
use super::waiting::{self, Waiting, WaitingKind};
use super::{Phase, State, checkup, returning, switch};
use crate::count;
use crate::plan::{Capability, Step, StepAction};
use crate::wire::VerifyScope;
use crate::{Side, Timestamp};

/// Time has passed, or something was reported.
pub(super) fn tick(state: &State, plan: &Capability, seen: &Observation, now: Timestamp) -> Outcome {
    if let Some(outcome) = copy_is_gone(state, plan, seen, now).or_else(|| approval_is_void(state, plan)) {
        return outcome;
    }
    let judged = seen.judged(state, plan, now);
    let outcome = match state.phase {
        Phase::Backfilling if missing_for_streaming(plan, seen, now).is_empty() => Some(to_streaming(state, plan, now)),
        Phase::Shadowing | Phase::Ramping if failing(&judged).is_some() => returning::step_back(state, plan, &judged, now),
        Phase::Streaming | Phase::Shadowing | Phase::Ramping if returning::is_over(state, plan, &judged, now) => {
            Some(returning::measured(returning::try_again(state, plan, now), &judged))
        }
        Phase::Streaming | Phase::Shadowing | Phase::Ramping if missing_for_step(state, plan, seen, now).is_empty() => {
            next_step(state, plan).map(|(at, step)| returning::measured(enter(state, at, step, seen, now), &judged))
        }
        Phase::Soaking => returning::in_soak(state, plan, seen, &judged, now),
        _ => None,
    };
    outcome.unwrap_or_else(|| returning::note_verdicts(state, judged, now))
}

/// An operator skips what is left of the hold; gates that cannot be judged yet are no obstacle once rows were compared.
pub(super) fn skip_hold(state: &State, plan: &Capability, seen: &Observation, now: Timestamp) -> Outcome {
    let strict = state.phase == Phase::Streaming;
    let mut missing = missing_for_step(state, plan, seen, now);
    missing.retain(|w| match w.kind {
        WaitingKind::Time => false,
        WaitingKind::Gate => strict,
        _ => true,
    });
    let Some((at, step)) = next_step(state, plan) else {
        return Outcome::refused(state, waiting::sentence(&missing));
    };
    if step.action == StepAction::Cutover {
        let known = |w: &Waiting| !missing.contains(w);
        let more: Vec<_> = switch::preconditions(state, Side::Modern, plan, seen, now).into_iter().filter(known).collect();
        missing.extend(more);
    }
    if missing.is_empty() {
        returning::measured(enter(state, at, step, seen, now), &seen.judged(state, plan, now))
    } else {
        Outcome::refused(state, waiting::sentence(&missing))
    }
}

/// `Backfilling → Streaming`: rows are compared at once.
pub(super) fn to_streaming(state: &State, plan: &Capability, now: Timestamp) -> Outcome {
    let mut next = State { phase: Phase::Streaming, step: 0, since: now, ..state.clone() };
    if !plan.tables.is_empty() {
        next = checkup::order(next, VerifyScope::Full);
    }
    Outcome::moved(next, "phase", "changes flow both ways; every row is compared", json!({ "phase": "streaming" }))
}

/// Back to `Streaming`, all reads to legacy, held for `reason`.
pub(super) fn back_to_streaming(state: &State, reason: &str, text: String, now: Timestamp) -> Outcome {
    let mut next = State { phase: Phase::Streaming, step: 0, since: now, ..state.clone().unapproved() };
    next.holds.insert(reason.to_owned());
    let detail = json!({ "from": state.phase.as_str(), "step": state.step, "hold": reason });
    Outcome::moved(next, "stepped_back", text, detail)
}

/// The hold of a capability whose copy is not complete any more; to release it is to copy anew.
pub(super) const COPY: &str = "copy";

/// The copy had been complete and is not any more: somebody put another database in its place. A report that has neither
/// a running stream nor trouble is one of an agent that has only just begun: it does not know yet.
fn copy_is_gone(state: &State, plan: &Capability, seen: &Observation, now: Timestamp) -> Option<Outcome> {
    let copied = matches!(state.phase, Phase::Streaming | Phase::Shadowing | Phase::Ramping);
    let known = state.phase == Phase::Streaming && state.holds.contains(COPY);
    let report = seen.obedient_agent(now).filter(|_| copied && !known && !plan.tables.is_empty())?;
    let knows = report.forward.live || report.reverse.live || report.trouble.is_some();
    let gone = knows && !report.backfill.complete;
    let text = "modern's copy is not complete any more: all reads go to legacy, and releasing `copy` copies anew";
    gone.then(|| back_to_streaming(state, COPY, text.to_owned(), now))
}

/// The rules were edited, and another step stands where the one stood that an operator approved.
fn approval_is_void(state: &State, plan: &Capability) -> Option<Outcome> {
    let walking = matches!(state.phase, Phase::Streaming | Phase::Shadowing | Phase::Ramping);
    let approved = state.approved.as_ref().filter(|_| walking && state.released)?;
    if next_step(state, plan).is_some_and(|(at, step)| state.is_approved(at, step)) {
        return None;
    }
    let (number, was) = (approved.step + 1, approved.action.as_str());
    let text = format!("step {number} is another one than was approved ({was}): the approval is void");
    Some(Outcome::moved(state.clone().unapproved(), "approve", text, json!({ "step": approved.step, "void": true })))
}

/// What is missing until changes flow both ways.
pub(super) fn missing_for_streaming(plan: &Capability, seen: &Observation, now: Timestamp) -> Vec<Waiting> {
    let mut missing = waiting::agent(plan, seen, now);
    missing.extend(waiting::unaware(seen));
    if plan.tables.is_empty() {
        return missing;
    }
    if let Some(agent) = seen.live_agent(now).filter(|a| !a.report.backfill.complete) {
        let copied = &agent.report.backfill;
        missing.push(Waiting::new(
            WaitingKind::Agent,
            "backfill",
            format!("backfill: {} of {}", copied.done, count::of(copied.total, "row")),
        ));
    }
    missing.extend(Side::BOTH.into_iter().flat_map(|side| waiting::stream(plan, seen, side, now)));
    if missing.is_empty() && !seen.live_agent(now).is_some_and(|a| a.report.fenced.modern) {
        missing.push(Waiting::new(WaitingKind::Agent, "fence of modern", "the fence of the modern database"));
    }
    missing
}

/// What is missing until the next step of the rule file.
pub(super) fn missing_for_step(state: &State, plan: &Capability, seen: &Observation, now: Timestamp) -> Vec<Waiting> {
    let judged = seen.judged(state, plan, now);
    let mut missing = waiting::holds(state);
    missing.extend(waiting::agent(plan, seen, now));
    missing.extend(waiting::quarantined(plan, seen, now));
    missing.extend(waiting::gates(&judged));
    missing.extend(hold_left(state, plan, now));
    match next_step(state, plan) {
        None => {
            missing.extend(waiting::busy(state, plan, seen, now));
            missing.extend(waiting::window(plan.windows_of(StepAction::is_cutover), seen, now));
            missing.extend(waiting::parents(seen));
            missing.push(Waiting::new(WaitingKind::Wish, "cutover", "no step is left: `ficus cutover`"));
        }
        Some((at, step)) => {
            if step.approve && !state.is_approved(at, step) {
                let (on, text) = (format!("approval of step {}", at + 1), format!("step {} waits for approval: `ficus approve`", at + 1));
                missing.push(Waiting::new(WaitingKind::Wish, on, text));
            }
            missing.extend(waiting::window(plan.windows_of_step(step), seen, now));
            if step.action == StepAction::Cutover {
                missing.extend(cool_down_left(state, seen, now));
                let known = |w: &Waiting| !missing.contains(w);
                let more: Vec<_> = switch::preconditions(state, Side::Modern, plan, seen, now).into_iter().filter(known).collect();
                missing.extend(more);
            }
        }
    }
    missing
}

/// What is missing until the capability may retire.
pub(super) fn missing_for_retiring(state: &State, plan: &Capability, seen: &Observation, now: Timestamp) -> Vec<Waiting> {
    let mut missing = Vec::new();
    let soak = soak_step(plan, state.step);
    let left = soak.saturating_sub(now.since(state.since));
    if !left.is_zero() {
        missing.push(Waiting::new(WaitingKind::Time, "soak", format!("soak of {}, {} left", span(soak), span(left))));
    }
    for (other, phase) in seen.joined.iter().filter(|(_, phase)| !matches!(phase, Phase::Soaking | Phase::Retired)) {
        let key = seen.parents.iter().chain(&seen.children).find(|kin| kin.name == *other).map(|kin| kin.key.words());
        let joins = key.unwrap_or_else(|| "it joins these tables, or these join its".to_owned());
        let text = format!("legacy owns capability {other} ({}): {joins}", phase.as_str());
        missing.push(Waiting::new(WaitingKind::Capability, other, text));
    }
    for (other, phase) in &seen.untold {
        let text = format!(
            "nobody has told yet whether foreign keys lead from {other} ({}) to these tables: the agent of {} does once it has looked \
             (where it may not, its log says so; one of the release before tells of its own alone: `ficus advance {other}`, so that {other} \
             has an agent); or write `depends_on`",
            phase.as_str(),
            plan.name
        );
        missing.push(Waiting::new(WaitingKind::Capability, other, text));
    }
    missing.extend(waiting::strays(plan, seen, now));
    if missing.is_empty() {
        missing.push(Waiting::new(WaitingKind::Wish, "retire", "`ficus retire` when legacy's part may end"));
    }
    missing
}

/// The step that comes next. Only steps that can begin while legacy owns are steps of the walk.
pub(super) fn next_step<'a>(state: &State, plan: &'a Capability) -> Option<(usize, &'a Step)> {
    let at = match state.phase {
        Phase::Streaming => 0,
        _ => state.step.saturating_add(1),
    };
    plan.steps.get(at).filter(|step| !matches!(step.action, StepAction::Soak(_))).map(|step| (at, step))
}

fn enter(state: &State, at: usize, step: &Step, seen: &Observation, now: Timestamp) -> Outcome {
    let (phase, text) = match step.action {
        StepAction::Cutover | StepAction::Soak(_) => return switch::begin(state, Side::Modern, seen, now),
        StepAction::Shadow(share) => (Phase::Shadowing, format!("{share} of the reads are mirrored")),
        StepAction::Reads(share) => (Phase::Ramping, format!("{share} of the callers read from modern")),
    };
    let next = State { phase, step: at, since: now, ..state.clone().unapproved() };
    Outcome::moved(next, "step", text, json!({ "step": at, "phase": phase.as_str() }))
}

fn hold_left(state: &State, plan: &Capability, now: Timestamp) -> Option<Waiting> {
    let step = plan.steps.get(state.step).filter(|_| state.phase != Phase::Streaming)?;
    let left = step.hold.saturating_sub(now.since(state.since));
    let on = format!("hold of step {}", state.step + 1);
    (!left.is_zero()).then(|| Waiting::new(WaitingKind::Time, on, format!("hold of {}, {} left", span(step.hold), span(left))))
}

pub(super) fn cool_down_left(state: &State, seen: &Observation, now: Timestamp) -> Option<Waiting> {
    let left = seen.limits.cool_down.saturating_sub(now.since(state.aborted?));
    (!left.is_zero()).then(|| Waiting::new(WaitingKind::Time, "cool-down", format!("cool-down after an abort, {} left", span(left))))
}

fn soak_step(plan: &Capability, step: usize) -> Duration {
    let soak = |s: &Step| if let StepAction::Soak(time) = s.action { Some(time) } else { None };
    plan.steps.get(step).and_then(soak).or_else(|| plan.steps.iter().find_map(soak)).unwrap_or_default()
}

/// A duration for people: `12m`, `1h5m`, `800ms`.
pub(super) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{}ms", time.as_millis()),
        1..60 => format!("{seconds}s"),
        60..3600 if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        60..3600 => format!("{}m{}s", seconds / 60, seconds % 60),
        3600..172_800 if seconds % 3600 < 60 => format!("{}h", seconds / 3600),
        3600..172_800 => format!("{}h{}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}
