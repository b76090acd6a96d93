//! Verifications and repairs between the steps: notes their ends, and orders the verification that keeps the parity gate
//! fresh. Not during a switch, which has a verification of its own.

use serde_json::json;

use super::advance::Outcome;
use super::observation::Observation;
use super::{Phase, State};
use crate::Timestamp;
use crate::plan::Capability;
use crate::wire::{CapabilityReport, Verify, VerifyReport, VerifyScope};

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
        let state = State { verify: None, ..state.clone() };
        return Some(Outcome::moved(state, "verified", verified_text(answer), figures(answer)));
    }
    let last = report.verified.as_ref().filter(|v| v.done);
    let stale = last.is_none_or(|v| now.since(v.at) >= plan.gates.parity.max_age / 2);
    stale.then(|| {
        let state = order(state.clone(), if last.is_none() { VerifyScope::Full } else { VerifyScope::Changed });
        Outcome { state, journal: Vec::new(), refused: None }
    })
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
        drift => format!("{drift} rows differ; `ficus repair` writes the owner's over them"),
    }
}

fn repaired(state: &State, report: &CapabilityReport, wish: u64) -> Option<Outcome> {
    let answer = report.repaired.as_ref().filter(|r| r.done && r.token == wish)?;
    let state = order(State { repair: None, ..state.clone() }, VerifyScope::Full);
    let text = format!("{} rows repaired; every row is compared again", answer.rows);
    Some(Outcome::moved(state, "repaired", text, json!({ "rows": answer.rows })))
}
