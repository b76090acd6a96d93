//! What a failing gate leads to: a step back, a revert, a hold or a word to somebody, as the rule file says; and when a
//! capability that went back goes forward again by itself.
//!
//! It does not swing to and fro: after a way back no gate must have failed for a whole cool-down, and after a few tries
//! somebody has to look. What was measured stands in the journal.

use serde_json::{Value, json};

use super::advance::{JournalLine, Outcome};
use super::observation::{Observation, failing};
use super::{Phase, Returned, State, switch, waiting, walk};
use crate::gate::Judged;
use crate::plan::{Capability, RampReturn, SetAsideRows, SoakReturn, StepAction};
use crate::{Side, Timestamp};

#[cfg(test)]
mod tests;

/// How a hold begins that a gate has put there.
const BY_GATE: &str = "gate:";

/// A gate fails while legacy owns: fewer readers, or none.
pub(super) fn step_back(state: &State, plan: &Capability, judged: &[Judged], now: Timestamp) -> Option<Outcome> {
    let fails = failing(judged)?;
    let tries = state.returned.as_ref().map_or(0, |returned| returned.tries);
    let then = match plan.returns.tries.saturating_sub(tries) {
        0 => "until it is released".to_owned(),
        left => format!("tried again after {} without a failing gate ({left} tries left)", walk::span(plan.returns.cool_down)),
    };
    let hold = format!("{BY_GATE}{}", fails.gate);
    let reason = format!("gate {} fails ({})", fails.gate, fails.measured);
    let mut outcome = match last_good(state, plan) {
        Some((step, phase, what)) => {
            let mut next = State { phase, step, since: now, ..state.clone().unapproved() };
            next.holds.insert(hold.clone());
            let detail = json!({ "from": state.phase.as_str(), "step": state.step, "to_step": step, "hold": hold });
            Outcome::moved(next, "stepped_back", format!("{reason}: back to step {}, {what}; {then}", step + 1), detail)
        }
        None => walk::back_to_streaming(state, &hold, format!("{reason}: all reads go back to legacy; {then}"), now),
    };
    outcome.state.judged = judged.to_vec();
    outcome.state.returned = Some(Returned { gate: fails.gate.clone(), since: now, tries });
    Some(measured(outcome, judged))
}

/// The step before the present one, if the rule file asks for it.
fn last_good(state: &State, plan: &Capability) -> Option<(usize, Phase, String)> {
    if plan.returns.ramp != RampReturn::LastGood || state.phase != Phase::Ramping {
        return None;
    }
    let at = state.step.checked_sub(1)?;
    match plan.steps.get(at)?.action {
        StepAction::Reads(share) => Some((at, Phase::Ramping, format!("{share} of the callers read from modern"))),
        StepAction::Shadow(share) => Some((at, Phase::Shadowing, format!("{share} of the reads are mirrored"))),
        StepAction::Cutover | StepAction::Soak(_) => None,
    }
}

/// No gate has failed for the whole cool-down, and a try is left.
pub(super) fn is_over(state: &State, plan: &Capability, judged: &[Judged], now: Timestamp) -> bool {
    let held = state.holds.iter().any(|hold| hold.starts_with(BY_GATE));
    state.returned.as_ref().is_some_and(|returned| {
        held && returned.tries < plan.returns.tries && failing(judged).is_none() && now.since(returned.since) >= plan.returns.cool_down
    })
}

/// Takes the holds away that gates have put there.
pub(super) fn try_again(state: &State, plan: &Capability, now: Timestamp) -> Outcome {
    let mut next = state.clone();
    let released: Vec<String> = next.holds.extract_if(.., |hold| hold.starts_with(BY_GATE)).collect();
    let mut returned = state.returned.clone().unwrap_or(Returned { gate: String::new(), since: now, tries: 0 });
    returned.tries += 1;
    let (gate, tries) = (returned.gate.clone(), returned.tries);
    next.returned = Some(Returned { since: now, ..returned });
    let text =
        format!("no gate has failed for {}: try {tries} of {} after gate {gate}", walk::span(plan.returns.cool_down), plan.returns.tries);
    Outcome::moved(next, "retried", text, json!({ "released": released, "try": tries }))
}

/// A gate fails while modern owns. Only what speaks of the new service leads to anything: of lag and drift, the way back is
/// no remedy.
pub(super) fn in_soak(state: &State, plan: &Capability, seen: &Observation, judged: &[Judged], now: Timestamp) -> Option<Outcome> {
    let of_service = |judged: &&Judged| plan.gates.is_of_service(&judged.gate);
    let fails = judged.iter().filter(|judged| judged.fails()).find(of_service)?;
    let reason = format!("gate {} fails ({})", fails.gate, fails.measured);
    let outcome = match plan.returns.soak {
        SoakReturn::Revert => return revert(state, plan, seen, judged, fails, now),
        SoakReturn::Hold => hold(state, judged, fails, &format!("{reason}: held, and the writes stay with modern")),
        SoakReturn::Page => {
            let known = state.judged.iter().any(|before| before.gate == fails.gate && before.fails());
            let next = State { judged: judged.to_vec(), ..state.clone() };
            (!known).then(|| Outcome::moved(next, "page", format!("{reason}: somebody should look"), json!({ "gate": fails.gate })))
        }
    };
    outcome.map(|outcome| measured(outcome, judged))
}

/// The way back is free, so it is taken. When it cannot be taken, the reason stays. Nobody looks on: it must not lead from
/// a service that fails sometimes to a monolith that is not there.
fn revert(state: &State, plan: &Capability, seen: &Observation, judged: &[Judged], fails: &Judged, now: Timestamp) -> Option<Outcome> {
    let reason = format!("gate {} fails ({})", fails.gate, fails.measured);
    let tries = state.returned.as_ref().map_or(0, |returned| returned.tries);
    if tries >= seen.limits.reverts {
        // Said once, for the count goes on to beyond the limit with it.
        let mut outcome = hold(state, judged, fails, "")
            .unwrap_or_else(|| Outcome::moved(State { judged: judged.to_vec(), ..state.clone() }, "page", "", json!({})));
        outcome.state.returned = Some(Returned { gate: fails.gate.clone(), since: now, tries: tries + 1 });
        outcome.journal[0].text = format!("{reason}, and {tries} reverts were taken back: somebody has to look");
        return (tries == seen.limits.reverts).then(|| measured(outcome, judged));
    }
    let leaving = plan.returns.aside == SetAsideRows::GoBack;
    let mut missing = match leaving {
        true => switch::preconditions_leaving(state, plan, seen, now),
        false => switch::preconditions(state, Side::Legacy, plan, seen, now),
    };
    missing.extend(walk::cool_down_left(state, seen, now));
    missing.extend(waiting::legacy_up(plan, seen, now));
    if !missing.is_empty() {
        let text = format!("{reason}, and the way back is not open yet: {}", waiting::sentence(&missing));
        return hold(state, judged, fails, &text).map(|outcome| measured(outcome, judged));
    }
    let mut held = State { judged: judged.to_vec(), ..state.clone() };
    held.holds.insert(format!("{BY_GATE}{}", fails.gate));
    held.returned = Some(Returned { gate: fails.gate.clone(), since: now, tries: tries + 1 });
    let mut outcome = match leaving {
        true => switch::begin_leaving(&held, plan, seen, now),
        false => switch::begin(&held, Side::Legacy, seen, now),
    };
    let left = Some(waiting::left_aside(plan, seen, now)).filter(|left| leaving && !left.is_empty());
    let left = left.map_or_else(String::new, |left| format!("; {left}"));
    let beware = waiting::stay_behind(seen).map_or_else(String::new, |beware| format!("; beware: {beware}"));
    outcome.journal[0].text = format!("{reason}: going back to legacy{left}{beware}");
    Some(measured(outcome, judged))
}

/// Holds for a gate; `None`: it is held already.
fn hold(state: &State, judged: &[Judged], fails: &Judged, text: &str) -> Option<Outcome> {
    let mut held = State { judged: judged.to_vec(), ..state.clone() };
    let hold = format!("{BY_GATE}{}", fails.gate);
    held.holds.insert(hold.clone()).then(|| Outcome::moved(held, "hold", text, json!({ "hold": hold })))
}

/// Verdicts are kept with the state when one of them changes; the figures beside them are not worth a write.
pub(super) fn note_verdicts(state: &State, judged: Vec<Judged>, now: Timestamp) -> Outcome {
    let verdicts = |judged: &[Judged]| judged.iter().map(|j| (j.gate.clone(), j.verdict)).collect::<Vec<_>>();
    let mut outcome = Outcome::unchanged(state);
    if verdicts(&state.judged) != verdicts(&judged) {
        if state.phase == Phase::Soaking {
            outcome.journal.extend(turned(&state.judged, &judged));
        }
        if let Some(returned) = outcome.state.returned.as_mut().filter(|_| failing(&state.judged).is_some() || failing(&judged).is_some()) {
            returned.since = now;
        }
        outcome.state.judged = judged;
    }
    outcome
}

/// While modern owns, not every failing gate leads to something; somebody is told of each, and when it is over.
fn turned<'a>(before: &'a [Judged], now: &'a [Judged]) -> impl Iterator<Item = JournalLine> + 'a {
    now.iter().filter_map(|judged| {
        let failed = before.iter().any(|before| before.gate == judged.gate && before.fails());
        let (gate, measured) = (&judged.gate, &judged.measured);
        let text = match (failed, judged.fails()) {
            (false, true) => format!("gate {gate} fails ({measured}): somebody should look"),
            (true, false) => format!("gate {gate} does not fail any more ({measured})"),
            _ => return None,
        };
        Some(JournalLine { kind: "page".to_owned(), text, detail: json!({ "gate": gate, "verdict": judged.verdict }) })
    })
}

/// With what was measured, by every gate.
pub(super) fn measured(mut outcome: Outcome, judged: &[Judged]) -> Outcome {
    let gates: serde_json::Map<String, Value> =
        judged.iter().map(|judged| (judged.gate.clone(), json!({ "verdict": judged.verdict, "measured": judged.measured }))).collect();
    if let Some(detail) = outcome.journal.first_mut().and_then(|line| line.detail.as_object_mut()) {
        detail.insert("gates".to_owned(), gates.into());
    }
    outcome
}
