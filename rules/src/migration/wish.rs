//! What an operator may wish, and when. A wish is granted at once or refused with the reason; it never waits.

use serde_json::json;

use super::advance::{Outcome, Wish};
use super::observation::Observation;
use super::waiting::{self, WaitingKind};
use super::{Approved, Phase, State, checkup, returning, switch, walk};
use crate::plan::{Capability, StepAction};
use crate::wire::VerifyScope;
use crate::{Side, Timestamp};

/// Grants or refuses.
pub(super) fn grant(state: &State, plan: &Capability, seen: &Observation, wish: &Wish, now: Timestamp) -> Outcome {
    match wish {
        Wish::Hold(reason) => hold(state, reason),
        Wish::Release(reason) => release(state, plan, reason.as_deref(), now),
        Wish::Abort => abort(state, seen, now),
        Wish::Revert => revert(state, plan, seen, false, now),
        Wish::RevertLeaving => revert(state, plan, seen, true, now),
        _ if state.switch.is_some() => Outcome::refused(state, format!("{} is under way", under_way(state))),
        Wish::Advance => advance(state, plan, seen, now),
        Wish::Approve => approve(state, plan),
        Wish::Cutover => cutover(state, plan, seen, now),
        Wish::Retire => retire(state, plan, seen, now),
        Wish::Verify => verify(state, plan),
        Wish::Repair => repair(state, plan),
    }
}

fn under_way(state: &State) -> String {
    match &state.switch {
        Some(switch) if switch.to == Side::Modern => format!("a cutover (stage {})", switch.stage.as_str()),
        Some(switch) => format!("a revert (stage {})", switch.stage.as_str()),
        None => format!("phase {}", state.phase.as_str()),
    }
}

fn hold(state: &State, reason: &str) -> Outcome {
    if state.phase == Phase::Retired {
        return Outcome::refused(state, "it is retired: nothing goes forward any more");
    }
    let reason = if reason.trim().is_empty() { "operator" } else { reason.trim() };
    let mut next = state.clone();
    next.holds.insert(reason.to_owned());
    Outcome::moved(next, "hold", format!("held: {reason}"), json!({ "hold": reason }))
}

fn release(state: &State, plan: &Capability, reason: Option<&str>, now: Timestamp) -> Outcome {
    let mut next = state.clone();
    if let Some(reason) = reason {
        if !next.holds.remove(reason) {
            let known: Vec<_> = state.holds.iter().map(|hold| format!("`{hold}`")).collect();
            let known = if known.is_empty() { "nothing is held".to_owned() } else { format!("held are {}", known.join(", ")) };
            return Outcome::refused(state, format!("no hold is called `{reason}`; {known}"));
        }
        next.returned = next.returned.filter(|_| !reason.starts_with("gate:"));
        if copies_anew(state, &next) {
            return copy_anew(next, now);
        }
        return Outcome::moved(next, "release", format!("released: {reason}"), json!({ "released": [reason] }));
    }
    if state.holds.is_empty() {
        let approval =
            unapproved(state, plan).map_or(String::new(), |(step, _)| format!("; step {} waits for approval: `ficus approve`", step + 1));
        return Outcome::refused(state, format!("nothing is held{approval}"));
    }
    next.holds.clear();
    next.returned = None;
    if copies_anew(state, &next) {
        return copy_anew(next, now);
    }
    Outcome::moved(next, "release", "every hold is released", json!({ "released": state.holds }))
}

/// The approval is kept for this step alone, and holds go on holding: who lifts one has not seen what was approved.
fn approve(state: &State, plan: &Capability) -> Outcome {
    match unapproved(state, plan) {
        None => Outcome::refused(state, "no step waits for approval"),
        Some((step, action)) => {
            let next = State { released: true, approved: Some(Approved { step, action }), ..state.clone() };
            Outcome::moved(next, "approve", format!("step {} is approved", step + 1), json!({ "step": step }))
        }
    }
}

/// The step that comes next, counted from 0, and what happens in it, if it waits for approval.
fn unapproved(state: &State, plan: &Capability) -> Option<(usize, StepAction)> {
    let walking = matches!(state.phase, Phase::Streaming | Phase::Shadowing | Phase::Ramping);
    let next = walk::next_step(state, plan).filter(|(at, step)| walking && step.approve && !state.is_approved(*at, step));
    next.map(|(at, step)| (at, step.action.clone()))
}

/// A copy that is gone can only be waited for where it may be made.
fn copies_anew(before: &State, after: &State) -> bool {
    before.phase == Phase::Streaming && before.holds.contains(walk::COPY) && !after.holds.contains(walk::COPY)
}

fn copy_anew(state: State, now: Timestamp) -> Outcome {
    let next = State { phase: Phase::Backfilling, since: now, verify: None, repair: None, ..state };
    Outcome::moved(next, "phase", "existing rows are copied anew", json!({ "phase": "backfilling", "released": [walk::COPY] }))
}

fn advance(state: &State, plan: &Capability, seen: &Observation, now: Timestamp) -> Outcome {
    let held = waiting::sentence(&waiting::holds(state));
    match state.phase {
        Phase::Draft | Phase::Reverted if !held.is_empty() => Outcome::refused(state, held),
        Phase::Draft => {
            let next = State { phase: Phase::Backfilling, since: now, ..state.clone() };
            Outcome::moved(next, "phase", "existing rows are copied", json!({ "phase": "backfilling" }))
        }
        Phase::Reverted => walk::to_streaming(state, plan, now),
        Phase::Streaming | Phase::Shadowing | Phase::Ramping => walk::skip_hold(state, plan, seen, now),
        Phase::Backfilling => Outcome::refused(state, waiting::sentence(&walk::missing_for_streaming(plan, seen, now))),
        Phase::Soaking => Outcome::refused(state, "modern owns it; what is left is `ficus retire`"),
        _ => Outcome::refused(state, format!("there is no step forward in phase {}", state.phase.as_str())),
    }
}

fn cutover(state: &State, plan: &Capability, seen: &Observation, now: Timestamp) -> Outcome {
    if !matches!(state.phase, Phase::Streaming | Phase::Shadowing | Phase::Ramping | Phase::Reverted) {
        return Outcome::refused(state, format!("no cutover from phase {}", state.phase.as_str()));
    }
    // What an earlier switch left behind is no obstacle: asking again is the answer to it.
    let mut missing = waiting::holds(&switch::without_old_reasons(state.clone()));
    missing.extend(switch::preconditions(state, Side::Modern, plan, seen, now));
    if missing.is_empty() {
        returning::measured(switch::begin(state, Side::Modern, seen, now), &seen.judged(state, plan, now))
    } else {
        Outcome::refused(state, waiting::sentence(&missing))
    }
}

fn abort(state: &State, seen: &Observation, now: Timestamp) -> Outcome {
    match &state.switch {
        None if state.repair.is_some() => {
            let next = State { repair: None, ..state.clone() };
            Outcome::moved(next, "repair", "the repair is given up; what it has written stays", json!({ "token": state.repair }))
        }
        None => Outcome::refused(state, "no cutover, revert or repair is under way"),
        Some(running) if running.stage == super::Stage::Release => {
            Outcome::refused(state, "the new owner takes writes: only forward; `ficus revert` once it is finished")
        }
        Some(running) if running.stage == super::Stage::Open && !waiting::in_trouble(seen, now) => Outcome::refused(
            state,
            "the new owner's database is about to open: only an agent that cannot open it makes this a switch to take back",
        ),
        Some(running) if running.stage == super::Stage::Lift => Outcome::refused(state, "it is being aborted already"),
        Some(running) => switch::abort(state, running, "aborted by an operator", now),
    }
}

/// `leaving`: although rows are set aside.
fn revert(state: &State, plan: &Capability, seen: &Observation, leaving: bool, now: Timestamp) -> Outcome {
    match (&state.switch, state.phase) {
        (Some(running), _) if running.to == Side::Modern => abort(state, seen, now),
        (Some(_), _) => Outcome::refused(state, format!("{} is under way", under_way(state))),
        (None, Phase::Shadowing | Phase::Ramping) => {
            walk::back_to_streaming(state, "revert", "reverted by an operator: all reads go to legacy".to_owned(), now)
        }
        (None, Phase::Soaking) => {
            let missing = match leaving {
                true => switch::preconditions_leaving(state, plan, seen, now),
                false => switch::preconditions(state, Side::Legacy, plan, seen, now),
            };
            if missing.is_empty() {
                let mut begun = match leaving {
                    true => switch::begin_leaving(state, plan, seen, now),
                    false => switch::begin(state, Side::Legacy, seen, now),
                };
                // It may be the very reason to type it: the writes wait for a monolith that is about to come back.
                let down = waiting::legacy_up(plan, seen, now);
                let down = (!down.is_empty()).then(|| waiting::sentence(&down));
                for beware in down.into_iter().chain(waiting::stay_behind(seen)) {
                    begun.journal[0].text += &format!("; beware: {beware}");
                }
                begun
            } else {
                let only_aside = !leaving && switch::preconditions_leaving(state, plan, seen, now).is_empty();
                let choice = if only_aside { "; or leave these rows where they are: `ficus revert --leave-set-aside`" } else { "" };
                Outcome::refused(state, format!("the way back is not open: {}{choice}", waiting::sentence(&missing)))
            }
        }
        (None, Phase::Retired) => Outcome::refused(state, "it is retired: legacy's rows are no longer kept"),
        (None, phase) => Outcome::refused(state, format!("legacy serves everything in phase {}", phase.as_str())),
    }
}

fn retire(state: &State, plan: &Capability, seen: &Observation, now: Timestamp) -> Outcome {
    if state.phase != Phase::Soaking {
        return Outcome::refused(state, format!("only what soaks may retire; it is in phase {}", state.phase.as_str()));
    }
    let mut missing = waiting::holds(state);
    missing.extend(walk::missing_for_retiring(state, plan, seen, now).into_iter().filter(|w| w.kind != WaitingKind::Wish));
    if !missing.is_empty() {
        return Outcome::refused(state, waiting::sentence(&missing));
    }
    let next = State { phase: Phase::Retired, since: now, verify: None, repair: None, ..state.clone() };
    Outcome::moved(next, "phase", "legacy's part is over", json!({ "phase": "retired" }))
}

fn verify(state: &State, plan: &Capability) -> Outcome {
    match comparable(state, plan) {
        Some(why) => Outcome::refused(state, why),
        None => {
            let next = checkup::order(state.clone(), VerifyScope::Full);
            let token = next.token;
            Outcome::moved(next, "verify", "every row is compared", json!({ "token": token }))
        }
    }
}

fn repair(state: &State, plan: &Capability) -> Outcome {
    if let Some(why) = comparable(state, plan) {
        return Outcome::refused(state, why);
    }
    let token = state.token + 1;
    let next = State { token, repair: Some(token), verify: None, ..state.clone() };
    Outcome::moved(next, "repair", format!("{}'s rows are written over what differs", state.owner), json!({ "token": token }))
}

fn comparable(state: &State, plan: &Capability) -> Option<String> {
    if plan.tables.is_empty() {
        return Some("it has no tables".to_owned());
    }
    (!checkup::is_compared(state.phase)).then(|| format!("the databases can't be compared in phase {}", state.phase.as_str()))
}
