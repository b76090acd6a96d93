//! The judgement: one function for each gate, all of them together in [`judge`].
//!
//! Modern is compared with legacy over the same window. Too little to judge by is inconclusive, what could not be
//! measured (or is no number) is an error; neither of them ever lets anything go forward.

use std::collections::BTreeMap;
use std::time::Duration;

use super::custom::{self, Answer};
use super::patience::{Patience, failing_windows};
use super::{ErrorGate, Gates, Judged, LagGate, LatencyGate, ParityGate, QuarantineGate, ShadowGate, Verdict, percentile, slower};
use super::{LegacyTook, Percentile};
use crate::count::{self, counted};
use crate::wire::{ShadowCounts, Traffic};
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
    /// Traffic of the last minutes. Only its failing counts: a bad minute must not drown in a good hour.
    pub recent: Measured<Sides>,
    /// Traffic of the last minute. Only its failing counts, and only one that is no chance.
    pub minute: Measured<Sides>,
    /// How fast legacy was when it was last asked enough; for gates of a phase in which nobody asks it.
    pub legacy_took: LegacyTook,
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

/// Traffic of both sides over one window.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sides {
    /// Answered by legacy.
    pub legacy: Traffic,
    /// Answered by modern.
    pub modern: Traffic,
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
        let by_minute = |sides: &Sides| surely_more_errors(gate, sides);
        say("errors", all_windows(gates, "errors", measured, |sides| errors(gate, sides), by_minute));
    }
    for (&of, gate) in &gates.latency {
        let before = measured.legacy_took.at(of);
        let by_minute = |sides: &Sides| surely_slower(of, gate, sides, before);
        say(of.gate(), all_windows(gates, of.gate(), measured, |sides| latency(of, gate, sides, before), by_minute));
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

/// The whole step, the last minutes or the last one if they are worse, and single windows where a gate waits for several.
fn all_windows(
    gates: &Gates,
    name: &str,
    measured: &Measurements,
    judge: impl Fn(&Sides) -> (Verdict, String),
    by_minute: impl Fn(&Sides) -> (Verdict, String),
) -> Option<(Verdict, String)> {
    let whole = one(&measured.step, &judge)?;
    let patience: Patience = gates.patience(name);
    if patience.failures > 1 {
        let windows = measured.windows.get(name).map_or(&[][..], Vec::as_slice);
        return Some(failing_windows(patience, whole, windows.iter().map(&judge).collect()));
    }
    let recent = failing("last minutes", one(&measured.recent, &judge));
    Some(recent.or_else(|| failing("last minute", one(&measured.minute, &by_minute))).unwrap_or(whole))
}

/// What was judged over a window, if it fails there.
fn failing(window: &str, judged: Option<(Verdict, String)>) -> Option<(Verdict, String)> {
    judged.filter(|(verdict, _)| *verdict == Verdict::Fail).map(|(verdict, text)| (verdict, format!("{window}: {text}")))
}

fn errors(gate: &ErrorGate, sides: &Sides) -> (Verdict, String) {
    let (modern, legacy) = (&sides.modern, &sides.legacy);
    if modern.requests < gate.min_requests || modern.requests == 0 {
        return (Verdict::Inconclusive, format!("{} of {} requests on modern", modern.requests, gate.min_requests));
    }
    // A handful of requests on legacy says nothing about its share of errors: then modern is judged by itself.
    let legacy_share = if legacy.requests < gate.min_requests.max(1) { 0.0 } else { share(legacy.errors, legacy.requests) };
    let modern_share = share(modern.errors, modern.requests);
    let verdict = within(modern_share, legacy_share + gate.max_increase.ratio());
    let text = format!("modern {}, legacy {}, limit +{}", percent(modern_share), percent(legacy_share), gate.max_increase);
    match gate.max {
        Some(max) if verdict == Verdict::Pass => (within(modern_share, max.ratio()), format!("{text}, at most {max}")),
        _ => (verdict, text),
    }
}

/// Of a window that is looked at again and again: whether there are more errors than a good service has by chance in one of
/// thousands of such windows.
fn surely_more_errors(gate: &ErrorGate, sides: &Sides) -> (Verdict, String) {
    let (modern, legacy) = (&sides.modern, &sides.legacy);
    let (share_of_legacy, by_legacy) = match legacy.requests {
        few if few < gate.min_requests.max(1) => (0.0, 0.0),
        requests => (share(legacy.errors, requests), 1.0 / requests as f64),
    };
    let limit = share_of_legacy + gate.max_increase.ratio();
    let surely = modern.requests >= gate.min_requests.max(1) && exceeds(modern.errors, modern.requests, limit, by_legacy);
    let verdict = if surely { Verdict::Fail } else { Verdict::Inconclusive };
    (verdict, format!("modern {}, limit {}", percent(share(modern.errors, modern.requests.max(1))), percent(limit)))
}

/// The same of a percentile: whether a greater share of the answers than is beyond it took longer than the gate allows, for a p99
/// more than one of a hundred.
fn surely_slower(of: Percentile, gate: &LatencyGate, sides: &Sides, before: Option<Duration>) -> (Verdict, String) {
    let enough = gate.min_requests.max(of.enough());
    let asked = percentile(&sides.legacy, of.share()).filter(|_| sides.legacy.requests >= enough);
    let legacy = asked.or(before);
    // A ratio that leads beyond all times is no limit.
    let by_ratio = legacy.and_then(|legacy| Duration::try_from_secs_f64(legacy.as_secs_f64() * gate.max_ratio).ok());
    let by_ratio = by_ratio.map(|limit| limit.max(gate.floor));
    let Some(limit) = by_ratio.into_iter().chain(gate.max).min() else {
        return (Verdict::Inconclusive, "nothing to compare with".to_owned());
    };
    let (late, requests) = (slower(&sides.modern, limit), sides.modern.requests);
    // Legacy's own is by chance a little more or less.
    let by_legacy = asked.map_or(0.0, |_| 1.0 / sides.legacy.requests as f64);
    let surely = requests >= enough && exceeds(late, requests, 1.0 - of.share(), by_legacy);
    let verdict = if surely { Verdict::Fail } else { Verdict::Inconclusive };
    (verdict, format!("{} of {requests} answers of modern took longer than {}", late, millis(limit)))
}

/// Whether so many of so many are beyond a share by more than chance: five standard deviations, and three more. `of_other` is one
/// over the number of requests that the share itself was measured by.
fn exceeds(bad: u64, requests: u64, limit: f64, of_other: f64) -> bool {
    let deviation = (limit * (1.0 - limit).max(0.0) * (1.0 / requests as f64 + of_other)).sqrt();
    bad as f64 > requests as f64 * (limit + 5.0 * deviation) + 3.0
}

fn latency(of: Percentile, gate: &LatencyGate, sides: &Sides, before: Option<Duration>) -> (Verdict, String) {
    if sides.modern.requests < gate.min_requests {
        return (Verdict::Inconclusive, format!("{} of {} requests on modern", sides.modern.requests, gate.min_requests));
    }
    let Some(modern) = percentile(&sides.modern, of.share()) else {
        return (Verdict::Inconclusive, "no answer of modern was timed".to_owned());
    };
    if let Some(max) = gate.max.filter(|max| modern > *max) {
        return (Verdict::Fail, format!("modern {}, at most {}", millis(modern), millis(max)));
    }
    if modern <= gate.floor {
        return (Verdict::Pass, format!("modern {}, below the floor of {}", millis(modern), millis(gate.floor)));
    }
    // Nobody asks legacy any more, or hardly anybody: it is as fast as it was.
    let asked = percentile(&sides.legacy, of.share()).filter(|_| sides.legacy.requests >= gate.min_requests.max(1));
    let Some(legacy) = asked.or(before) else {
        // The absolute limit is what is left.
        let verdict = if gate.max.is_some() { Verdict::Pass } else { Verdict::Inconclusive };
        return (verdict, format!("modern {}; {} on legacy", millis(modern), count::of(sides.legacy.requests, "request")));
    };
    let verdict = within(modern.as_secs_f64(), legacy.as_secs_f64() * gate.max_ratio);
    let when = if asked.is_some() { "" } else { " before" };
    (verdict, format!("modern {}, legacy {}{when}, limit {}×", millis(modern), millis(legacy), gate.max_ratio))
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
fn within(value: f64, limit: f64) -> Verdict {
    if !value.is_finite() || limit.is_nan() || value < 0.0 {
        Verdict::Error
    } else if value <= limit + 1e-9 {
        Verdict::Pass
    } else {
        Verdict::Fail
    }
}

fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

fn percent(share: f64) -> String {
    if !share.is_finite() {
        return "unknown".to_owned();
    }
    Share::from_millionths((share.clamp(0.0, 1.0) * 1e6).round() as u32).to_string()
}

fn millis(time: Duration) -> String {
    format!("{:.1}ms", time.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests;
