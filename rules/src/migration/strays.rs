//! What the journal says of writes past the gateway: the first of a spell at once, those that follow summed up ever more rarely,
//! and once that all are settled. Decides nothing about the rows: [`super::waiting`] says what waits for them.
//!
//! What was said is in the state, and written together with the line: another leader goes on from there.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::advance::Outcome;
use super::observation::Observation;
use super::{Phase, State};
use crate::Timestamp;
use crate::count::counted;
use crate::plan::{Capability, StrayWrites};
use crate::wire::Strays;

/// After a line of a spell the next one comes no sooner; each further one of more writes waits twice as long.
const PACE: Duration = Duration::from_secs(60);
/// But no longer than so.
const LONGEST: Duration = Duration::from_secs(60 * 60);
/// After so long without a line, the next writes begin a new spell.
const QUIET: Duration = Duration::from_secs(2 * 60 * 60);

/// What the journal was told of a side's stray writes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// When.
    pub at: Timestamp,
    /// Lines of more writes in this spell.
    pub lines: u32,
    /// Refused statements that have been told of.
    pub refused: u64,
    /// Rows that were written, and have been told of.
    pub written: u64,
    /// Some of them were on one side only.
    pub open: bool,
}

/// A line, if one is due.
pub(super) fn tick(state: &State, plan: &Capability, seen: &Observation, now: Timestamp) -> Option<Outcome> {
    if plan.tables.is_empty() || matches!(state.phase, Phase::Draft | Phase::Retired) {
        return None;
    }
    let report = &seen.live_agent(now)?.report;
    report.strays.iter().find_map(|strays| tell(state, plan, strays, now))
}

fn tell(state: &State, plan: &Capability, strays: &Strays, now: Timestamp) -> Option<Outcome> {
    let before = state.strays.get(&strays.side).cloned().unwrap_or_default();
    let silent = now.since(before.at);
    let is_new_spell = before.lines == 0 || silent >= QUIET;
    let (refused, written) = (more(before.refused, strays.refused), more(before.written, strays.reported));
    let told = Told { at: now, refused: strays.refused, written: strays.reported, open: strays.unsettled > 0, ..before };
    if before.open && strays.unsettled == 0 && silent >= PACE {
        let text = format!(
            "nothing that was written to {} past the gateway is undecided any more ({})",
            strays.side,
            counted(strays.reported, "row in all", "rows in all")
        );
        return Some(line(state, strays, told, text, (refused, written)));
    }
    if refused + written == 0 || !(is_new_spell || silent >= pause(before.lines)) {
        return None;
    }
    let lines = if is_new_spell { 1 } else { before.lines.saturating_add(1) };
    let text = sentence(plan, strays, (refused, written), !is_new_spell);
    Some(line(state, strays, Told { lines, ..told }, text, (refused, written)))
}

/// By how much a count has grown; one that is smaller than it was has begun anew.
fn more(before: u64, now: u64) -> u64 {
    now.checked_sub(before).unwrap_or(now)
}

/// How long a line waits behind so many.
fn pause(lines: u32) -> Duration {
    PACE.saturating_mul(1 << lines.saturating_sub(1).min(16)).min(LONGEST)
}

fn sentence(plan: &Capability, strays: &Strays, (refused, written): (u64, u64), goes_on: bool) -> String {
    let count = |number, one: &str, many: &str| match goes_on {
        true => counted(number, &format!("more {one}"), &format!("more {many}")),
        false => counted(number, one, many),
    };
    let mut parts = Vec::new();
    if written > 0 {
        let tables: Vec<String> = strays.tables.iter().map(|(table, rows)| format!("{table}: {rows}")).collect();
        let details: Vec<String> = std::iter::once(tables.join(", ")).chain(strays.wrote.clone()).filter(|part| !part.is_empty()).collect();
        let details = if details.is_empty() { String::new() } else { format!(" ({})", details.join("; ")) };
        let became = match (strays.unsettled, plan.strays) {
            (0, _) => "nothing of it is undecided".to_owned(),
            (open, StrayWrites::Forward) => {
                format!("{} (yet) carried over: `ficus quarantine` has why", counted(open, "row is not", "rows are not"))
            }
            (open, _) => {
                format!("{} on no other side: look (`ficus quarantine`), then `ficus repair`", counted(open, "row is", "rows are"))
            }
        };
        let rows = count(written, "row was written", "rows were written");
        parts.push(format!("{rows} to {} past the gateway{details}, {became}", strays.side));
    }
    if refused > 0 {
        let who = if strays.writers.is_empty() { String::new() } else { format!(" ({})", strays.writers.join("; ")) };
        let writes = count(refused, "write past the gateway was refused", "writes past the gateway were refused");
        parts.push(format!("{writes} by {}'s database{who}", strays.side));
    }
    parts.join("; ")
}

fn line(state: &State, strays: &Strays, told: Told, text: String, (refused, written): (u64, u64)) -> Outcome {
    let who = [strays.wrote.clone(), strays.writers.clone()].concat();
    let detail = json!({
        "side": strays.side, "written": written, "refused": refused, "written_in_all": strays.reported, "refused_in_all": strays.refused,
        "undecided": strays.unsettled, "tables": strays.tables, "who": who,
    });
    let mut next = state.clone();
    next.strays.insert(strays.side, told);
    Outcome::moved(next, "strays", text, detail)
}
