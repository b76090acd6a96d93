//! Verifications and repairs between the steps: notes their ends, and orders the verification that keeps the parity gate
//! fresh. Not during a switch, which has a verification of its own.

use std::time::Duration;

use serde_json::json;

use super::advance::Outcome;
use super::observation::Observation;
use super::{Compared, Phase, State};
use crate::Timestamp;
use crate::count::{self, counted};
use crate::plan::Capability;
use crate::wire::{CapabilityReport, Verify, VerifyReport, VerifyScope};

/// A comparison that nobody asked for and that finds what the last one found is written down once in so long: one is
/// due every few minutes.
const SAME_AGAIN: Duration = Duration::from_secs(60 * 60);

/// Whether a capability in this phase is compared now and then.
pub(super) fn is_compared(phase: Phase) -> bool {
    matches!(phase, Phase::Streaming | Phase::Shadowing | Phase::Ramping | Phase::Soaking | Phase::Reverted)
}

/// What there is to note or to order, if anything.
pub(super) fn tick(state: &State, plan: &Capability, seen: &Observation, now: Timestamp) -> Option<Outcome> {
    if plan.tables.is_empty() || !is_compared(state.phase) {
        return None;
    }
    let report = &seen.live_agent(now)?.report;
    if let Some(wish) = state.repair {
        return repaired(state, report, wish);
    }
    if let Some(wish) = &state.verify {
        let answer = report.verified.as_ref().filter(|v| v.done && v.token == wish.token)?;
        return Some(verified(state, wish.scope, answer, now));
    }
    let last = report.verified.as_ref().filter(|v| v.done);
    let stale = last.is_none_or(|v| now.since(v.at.plus(seen.ahead)) >= plan.gates.parity.max_age / 2);
    stale.then(|| {
        let state = order(state.clone(), if last.is_none() { VerifyScope::Full } else { VerifyScope::Changed });
        Outcome { state, journal: Vec::new(), refused: None }
    })
}

/// Notes what was found. Whoever asked for a comparison of every row is answered in the journal.
fn verified(state: &State, scope: VerifyScope, answer: &VerifyReport, now: Timestamp) -> Outcome {
    let drift_rows = answer.drift_rows();
    let is_news = |before: &Compared| before.drift_rows != drift_rows || now.since(before.at) >= SAME_AGAIN;
    let mut next = State { verify: None, ..state.clone() };
    if let Some(before) = next.compared.as_mut().filter(|before| scope == VerifyScope::Changed && !is_news(before)) {
        before.again += 1;
        return Outcome { state: next, journal: Vec::new(), refused: None };
    }
    let before = next.compared.replace(Compared { at: now, drift_rows, again: 0 }).filter(|before| before.drift_rows == drift_rows);
    let (mut detail, mut text) = (figures(answer), verified_text(answer));
    let again = before.map_or(0, |before| before.again);
    if again > 0 {
        text.push_str(&format!(" (the same was found {} since this was last written)", count::of(again.into(), "time")));
    }
    detail["found_before"] = again.into();
    Outcome::moved(next, "verified", text, detail)
}

/// Wishes a verification with a new token.
pub(super) fn order(mut state: State, scope: VerifyScope) -> State {
    state.token += 1;
    state.verify = Some(Verify { token: state.token, scope });
    state
}

/// What a verification found, for the journal: row counts and hash roots of every table pair.
pub(super) fn figures(answer: &VerifyReport) -> serde_json::Value {
    let tables: Vec<_> = answer
        .tables
        .iter()
        .map(|t| {
            json!({
                "legacy": t.legacy, "modern": t.modern, "legacy_rows": t.legacy_rows, "modern_rows": t.modern_rows,
                "drift_rows": t.drift_rows, "legacy_root": t.legacy_root, "modern_root": t.modern_root,
            })
        })
        .collect();
    json!({ "drift_rows": answer.drift_rows(), "tables": tables })
}

fn verified_text(answer: &VerifyReport) -> String {
    match answer.drift_rows() {
        0 => "both databases agree".to_owned(),
        drift => format!("{}; `ficus repair` writes what the owner has", counted(drift, "row differs", "rows differ")),
    }
}

fn repaired(state: &State, report: &CapabilityReport, wish: u64) -> Option<Outcome> {
    let answer = report.repaired.as_ref().filter(|r| r.done && r.token == wish)?;
    let state = order(State { repair: None, ..state.clone() }, VerifyScope::Full);
    let text = format!("{} repaired; every row is compared again", count::of(answer.rows, "row"));
    Some(Outcome::moved(state, "repaired", text, json!({ "rows": answer.rows })))
}
