//! The judgement: one function for each gate, all of them together in [`judge`].
//!
//! Modern is compared with legacy over the same window. What is beyond a limit fails if that is no chance; else it is
//! inconclusive, as is too little to judge by. What could not be measured (or is no number) is an error. Only what passes ever
//! lets anything go forward.

use std::collections::BTreeMap;
use std::time::Duration;

use super::compare::Window;
use super::custom::{self, Answer};
use super::patience::{Patience, failing_windows};
use super::{Baseline, Gates, Judged, LagGate, ParityGate, QuarantineGate, ShadowGate, Sides, Verdict, compare};
use crate::count::counted;
use crate::wire::ShadowCounts;
use crate::{Share, Timestamp};

/// A lag beyond its limit fails only when it stays there for so long; until then it is inconclusive. One long
/// transaction in the source must not throw a ramp back. The same for a lag that nobody knows: an agent may restart.
pub const LAG_GRACE: Duration = Duration::from_secs(10);

/// One measurement, or why there is none.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Measured<T> {
    /// This gate does not speak in this phase.
    #[default]
    Unasked,
    /// It should be known and is not: an error.
    Missing(String),
    /// Measured.
    Value(T),
}

/// What gates are judged by.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Measurements {
    /// Traffic since the step began.
    pub step: Measured<Sides>,
    /// Traffic of the last minutes. Only its failing counts: a few bad ones must not drown in a good hour.
    pub recent: Measured<Sides>,
    /// Traffic of the last minute. Only its failing counts.
    pub minute: Measured<Sides>,
    /// What legacy was like when it was last asked enough; for phases in which nobody asks it.
    pub legacy_before: Baseline,
    /// Traffic of the last windows, oldest first, of gates that ask for several.
    pub windows: BTreeMap<String, Vec<Sides>>,
    /// Comparisons since the step began.
    pub shadow: Measured<ShadowCounts>,
    /// Those of the last minutes. Only their failing counts.
    pub shadow_recent: Measured<ShadowCounts>,
    /// The stream that leaves the owner.
    pub lag: Measured<LagSeen>,
    /// Since when the lag has been missing, if it is.
    pub lag_missing_since: Option<Timestamp>,
    /// The last verification.
    pub parity: Measured<ParitySeen>,
    /// Rows set aside.
    pub quarantined: Measured<u64>,
    /// Answers to the operator's own gates, oldest first; `None`: none of them speaks in this phase.
    pub answers: Option<BTreeMap<String, Vec<Answer>>>,
}

/// A lag.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LagSeen {
    /// Age of the oldest change that is not applied.
    pub seconds: f64,
    /// Since when it has been beyond the gate's limit without a break.
    pub beyond_since: Option<Timestamp>,
}

/// A verification.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ParitySeen {
    /// Rows that differ and when that was found; `None`: not verified yet.
    pub last: Option<(u64, Timestamp)>,
}

/// Judges every gate that has a limit and a measurement.
pub fn judge(gates: &Gates, measured: &Measurements, now: Timestamp) -> Vec<Judged> {
    let mut judged = Vec::new();
    let mut say = |gate: &str, verdict: Option<(Verdict, String)>| {
        if let Some((verdict, measured)) = verdict {
            judged.push(Judged { gate: gate.to_owned(), verdict, measured, dry_run: gates.patience(gate).dry_run });
        }
    };
    if let Some(gate) = &gates.errors {
        say("errors", all_windows(gates, "errors", gate.min_requests, measured, |window| compare::errors(gate, window)));
    }
    for (&of, gate) in &gates.latency {
        say(of.gate(), all_windows(gates, of.gate(), gate.min_requests, measured, |window| compare::latency(of, gate, window)));
    }
    if let Some(gate) = &gates.shadow {
        let whole = one(&measured.shadow, |counts| shadow(gate, counts));
        say(
            "shadow",
            whole.map(|whole| failing("last minutes", one(&measured.shadow_recent, |counts| shadow(gate, counts))).unwrap_or(whole)),
        );
    }
    say("lag", lag_or_none(&gates.lag, measured, now));
    say("parity", one(&measured.parity, |seen| parity(&gates.parity, seen, now)));
    if let Some(gate) = &gates.quarantine {
        say("quarantine", one(&measured.quarantined, |rows| quarantine(gate, *rows)));
    }
    for (name, gate) in gates.custom.iter().filter(|_| measured.answers.is_some()) {
        let answers = measured.answers.as_ref().and_then(|answers| answers.get(name)).map_or(&[][..], Vec::as_slice);
        say(name, Some(custom::judge(gate, gates.patience(name), answers, now)));
    }
    judged
}

fn one<T>(measured: &Measured<T>, judge: impl Fn(&T) -> (Verdict, String)) -> Option<(Verdict, String)> {
    match measured {
        Measured::Unasked => None,
        Measured::Missing(why) => Some((Verdict::Error, why.clone())),
        Measured::Value(value) => Some(judge(value)),
    }
}

/// The whole step, the last minutes or the last one if they are worse, and single windows where a gate waits for several: of fewer
/// than `least` requests these say nothing.
fn all_windows(
    gates: &Gates,
    name: &str,
    least: u64,
    measured: &Measurements,
    judge: impl Fn(&Window<'_>) -> (Verdict, String),
) -> Option<(Verdict, String)> {
    let before = &measured.legacy_before;
    let alone = |sides: &Sides| judge(&Window { sides, before, times: 1, lately: None });
    let lately = if let Measured::Value(recent) = &measured.recent { Some(recent) } else { None };
    let whole = one(&measured.step, |sides| judge(&Window { sides, before, times: 1, lately }))?;
    let patience: Patience = gates.patience(name);
    if patience.failures > 1 {
        let windows = measured.windows.get(name).map_or(&[][..], Vec::as_slice);
        let says_nothing = |sides: &Sides| sides.modern.requests.saturating_add(sides.modern_writes.requests) < least;
        let too_few = windows.len() >= patience.windows as usize && windows.iter().all(says_nothing);
        // Where so few ask that no window ever fails, the step does.
        if too_few {
            return Some(whole);
        }
        let one_of_several = |sides| judge(&Window { sides, before, times: patience.failures, lately: None });
        return Some(failing_windows(patience, whole, windows.iter().map(one_of_several).collect()));
    }
    let recent = failing("last minutes", one(&measured.recent, alone));
    Some(recent.or_else(|| failing("last minute", one(&measured.minute, alone))).unwrap_or(whole))
}

/// What was judged over a window, if it fails there.
fn failing(window: &str, judged: Option<(Verdict, String)>) -> Option<(Verdict, String)> {
    judged.filter(|(verdict, _)| *verdict == Verdict::Fail).map(|(verdict, text)| (verdict, format!("{window}: {text}")))
}

fn shadow(gate: &ShadowGate, counts: &ShadowCounts) -> (Verdict, String) {
    // No answer from modern is a difference too.
    let different = counts.different.saturating_add(counts.failed);
    let compared = counts.same.saturating_add(different);
    if compared < gate.min_requests || compared == 0 {
        return (Verdict::Inconclusive, format!("{compared} of {} comparisons", gate.min_requests));
    }
    let measured = share(different, compared);
    let text = format!("{different} of {compared} differ ({}), limit {}", percent(measured), gate.max_different);
    (within(measured, gate.max_different.ratio()), text)
}

/// A stream that nobody hears of, or that does not run, is as bad as one that lags: after a while it fails.
fn lag_or_none(gate: &LagGate, measured: &Measurements, now: Timestamp) -> Option<(Verdict, String)> {
    let (verdict, text) = one(&measured.lag, |seen| lag(gate, seen, now))?;
    let since = match &measured.lag {
        Measured::Value(seen) => seen.beyond_since,
        _ => measured.lag_missing_since,
    };
    let long = since.map(|since| now.since(since)).filter(|long| verdict == Verdict::Error && *long >= LAG_GRACE);
    Some(long.map_or((verdict, text.clone()), |long| (Verdict::Fail, format!("{text}, for {}s", long.as_secs()))))
}

fn lag(gate: &LagGate, seen: &LagSeen, now: Timestamp) -> (Verdict, String) {
    let text = format!("{:.1}s, limit {:.1}s", seen.seconds, gate.max.as_secs_f64());
    match within(seen.seconds, gate.max.as_secs_f64()) {
        Verdict::Fail => match seen.beyond_since.map(|since| now.since(since)) {
            Some(long) if long >= LAG_GRACE => (Verdict::Fail, format!("{text}, for {}s", long.as_secs())),
            _ => (Verdict::Inconclusive, format!("{text}, fails after {}s", LAG_GRACE.as_secs())),
        },
        verdict => (verdict, text),
    }
}

fn quarantine(gate: &QuarantineGate, rows: u64) -> (Verdict, String) {
    let verdict = if rows > gate.max_rows { Verdict::Fail } else { Verdict::Pass };
    (verdict, format!("{}, limit {}", counted(rows, "row is set aside", "rows are set aside"), gate.max_rows))
}

fn parity(gate: &ParityGate, seen: &ParitySeen, now: Timestamp) -> (Verdict, String) {
    let differ = |drift| counted(drift, "row differs", "rows differ");
    match seen.last {
        None => (Verdict::Inconclusive, "not verified yet".to_owned()),
        Some((drift, _)) if drift > gate.max_drift_rows => (Verdict::Fail, format!("{}, limit {}", differ(drift), gate.max_drift_rows)),
        Some((drift, at)) if now.since(at) > gate.max_age => {
            (Verdict::Inconclusive, format!("{}, but that is {}s old", differ(drift), now.since(at).as_secs()))
        }
        Some((drift, at)) => (Verdict::Pass, format!("{}, verified {}s ago", differ(drift), now.since(at).as_secs())),
    }
}

/// `value` against its limit. What is no number, or below zero, was not measured.
pub(super) fn within(value: f64, limit: f64) -> Verdict {
    if !value.is_finite() || limit.is_nan() || value < 0.0 {
        Verdict::Error
    } else if value <= limit + 1e-9 {
        Verdict::Pass
    } else {
        Verdict::Fail
    }
}

pub(super) fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

pub(super) fn percent(share: f64) -> String {
    if !share.is_finite() {
        return "unknown".to_owned();
    }
    Share::from_millionths((share.clamp(0.0, 1.0) * 1e6).round() as u32).to_string()
}

#[cfg(test)]
mod tests;
