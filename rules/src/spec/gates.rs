//! `[gate.…]`: the limits that every step is judged by.

mod custom;
mod leniency;

use std::collections::BTreeMap;
use std::time::Duration;

use super::fields::Fields;
use super::shape::{COUNT, Key, Kind, Literal, NATURAL, Names, Section};
use super::source::Located;
use crate::Share;
use crate::gate::{ErrorGate, Gates, KEPT, LagGate, LatencyGate, ParityGate, Patience, Percentile, QuarantineGate, ShadowGate};
use crate::parity::Leniency;

/// Fewer requests or comparisons than this are inconclusive, unless a gate says otherwise.
const MIN_REQUESTS: u64 = 100;
/// A latency below this passes whatever the ratio, unless the gate says otherwise.
const LATENCY_FLOOR: Duration = Duration::from_millis(20);

pub(super) const GATE: Section = Section::new(
    "[gate.errors]",
    &[
        Key::new("errors", Kind::Table(&ERRORS), "Errors of modern, against legacy's over the same time."),
        Key::new("latency_p50", Kind::Table(&P50), "How long half of modern's requests take at most, against legacy's over the same time."),
        Key::new("latency_p90", Kind::Table(&P90), "The same of nine in ten requests."),
        Key::new("latency_p95", Kind::Table(&P95), "The same of nineteen in twenty."),
        Key::new("latency_p99", Kind::Table(&P99), "How long modern's slowest requests take, against legacy's over the same time."),
        Key::new("shadow", Kind::Table(&SHADOW), "Answers that were compared."),
        Key::new("lag", Kind::Table(&LAG), "How late the stream is."),
        Key::new("parity", Kind::Table(&PARITY), "What the last verification found."),
        Key::new("quarantine", Kind::Table(&QUARANTINE), "Rows that could not be applied."),
    ],
)
.with(Names::Like(NAMES), Kind::Table(&custom::GATE));

const ERRORS: Section = Section::new(
    "[gate.errors]",
    &[
        Key::new("max_increase", Kind::Share, "Modern's share of errors may exceed legacy's by this much.").must("\"0.5%\""),
        Key::new("max", Kind::Share, "And it may not be greater than this."),
        LEAST,
        FAILURES,
        WINDOWS,
        WINDOW,
        DRY_RUN,
    ],
);

const P50: Section = Section::new("[gate.latency_p50]", &LATENCY);
const P90: Section = Section::new("[gate.latency_p90]", &LATENCY);
const P95: Section = Section::new("[gate.latency_p95]", &LATENCY);
const P99: Section = Section::new("[gate.latency_p99]", &LATENCY);

/// Of each percentile alike.
const LATENCY: [Key; 8] = [
    Key::new("max_ratio", Kind::Positive, "Modern's may be this many times legacy's.").must("1.2"),
    LEAST,
    Key::new("floor", Kind::Duration, "What is below this passes, whatever the ratio.").unset(Literal::Duration(LATENCY_FLOOR)),
    Key::new("max", Kind::Duration, "What is above this fails, whatever the ratio."),
    FAILURES,
    WINDOWS,
    WINDOW,
    DRY_RUN,
];

const SHADOW: Section = Section::new(
    "[gate.shadow]",
    &[
        Key::new("max_different", Kind::Share, "The share of compared answers that may differ.").unset(Literal::Text("0%")),
        Key::new("min_requests", NATURAL, "Fewer comparisons are inconclusive.").unset(Literal::Natural(MIN_REQUESTS)),
        leniency::IGNORE,
        leniency::UNORDERED,
        leniency::REDACT,
        leniency::TOLERATE,
        leniency::PAGES,
        DRY_RUN,
    ],
);

const LAG: Section =
    Section::new("[gate.lag]", &[Key::new("max", Kind::Duration, "The stream that leaves the owner may be this late.").must("\"2s\"")]);

const PARITY: Section = Section::new(
    "[gate.parity]",
    &[
        Key::new("max_drift_rows", NATURAL, "Rows that may differ.").unset(Literal::Natural(0)),
        Key::new("max_age", Kind::Duration, "A verification older than this is inconclusive.")
            .unset(Literal::Duration(Duration::from_mins(5))),
    ],
);

const QUARANTINE: Section =
    Section::new("[gate.quarantine]", &[Key::new("max_rows", NATURAL, "Rows that may be set aside.").unset(Literal::Natural(0)), DRY_RUN]);

/// As [`NAME`](super::shape::NAME), but for one that is taken.
const NAMES: &str = "^(?!reverse$)[a-z][a-z0-9_-]{0,39}$";
const LEAST: Key = Key::new("min_requests", NATURAL, "Fewer are inconclusive.").unset(Literal::Natural(MIN_REQUESTS));
const FAILURES: Key = Key::new("failures", COUNT, "So many windows must fail …").unset(Literal::Natural(1));
const WINDOWS: Key = Key::new("windows", COUNT, "… of the last so many.");
const WINDOW: Key = Key::new("window", Kind::Duration, "How long one of them lasts.").unset(Literal::Duration(crate::gate::WINDOW));
const DRY_RUN: Key = Key::new("dry_run", Kind::Boolean, "Judged and shown; nobody acts on it.").unset(Literal::Boolean(false));

/// How finely counters are kept.
const GRAIN: Duration = Duration::from_secs(10);

/// What was read.
#[derive(Default)]
pub(super) struct Read {
    pub(super) gates: Gates,
    pub(super) leniency: Leniency,
    /// Any limit was written at all.
    pub(super) given: bool,
}

pub(super) fn read(file: &mut Fields<'_>) -> Read {
    let Some(mut section) = file.table("gate") else { return Read::default() };
    let mut patience = BTreeMap::new();
    let errors = section.table("errors").and_then(|section| errors(section, &mut patience));
    let latency = Percentile::ALL
        .into_iter()
        .filter_map(|of| Some((of, section.table(of.gate()).and_then(|section| latency(of, section, &mut patience))?)))
        .collect();
    let (shadow, leniency) = section.table("shadow").map_or_else(Default::default, |section| shadow(section, &mut patience));
    let lag = section.table("lag").and_then(lag).unwrap_or_default();
    let parity = section.table("parity").map_or_else(ParityGate::default, parity);
    let quarantine = section.table("quarantine").map(|section| quarantine(section, &mut patience));
    let custom = custom::read(&mut section, &mut patience);
    section.finish();
    let gates = Gates { errors, latency, shadow, lag, parity, quarantine, custom, patience };
    Read { gates, leniency, given: true }
}

fn errors(mut section: Fields<'_>, patience: &mut BTreeMap<String, Patience>) -> Option<ErrorGate> {
    section.require("max_increase");
    let max_increase = section.share("max_increase").map(|share| share.value);
    let max = section.share("max").map(|share| share.value);
    let min_requests = min_requests(&mut section);
    patience.extend(patient(&mut section, true).map(|read| ("errors".to_owned(), read)));
    section.finish();
    Some(ErrorGate { max_increase: max_increase?, max, min_requests })
}

fn latency(of: Percentile, mut section: Fields<'_>, patience: &mut BTreeMap<String, Patience>) -> Option<LatencyGate> {
    section.require("max_ratio");
    let max_ratio = section.number("max_ratio");
    let min_requests = min_requests(&mut section);
    let floor = section.duration("floor").map_or(LATENCY_FLOOR, |floor| floor.value);
    let max = section.duration("max");
    if let Some(ratio) = max_ratio.as_ref().filter(|ratio| ratio.value <= 0.0) {
        section.text.report.error(&ratio.at, "`max_ratio` lets nothing pass", "write modern's over legacy's, like 1.2");
    }
    if let Some(max) = max.as_ref().filter(|max| max.value <= floor) {
        let hint = format!("make `max` greater than the floor of {}ms", floor.as_millis());
        section.text.report.error(&max.at, "what is below the floor passes, and what is above `max` fails: they meet", hint);
    }
    patience.extend(patient(&mut section, true).map(|read| (of.gate().to_owned(), read)));
    section.finish();
    Some(LatencyGate { max_ratio: max_ratio?.value, min_requests, floor, max: max.map(|max| max.value) })
}

fn quarantine(mut section: Fields<'_>, patience: &mut BTreeMap<String, Patience>) -> QuarantineGate {
    let max_rows = section.natural("max_rows").map_or(0, |rows| rows.value);
    patience.extend(patient(&mut section, false).map(|read| ("quarantine".to_owned(), read)));
    section.finish();
    QuarantineGate { max_rows }
}

/// `failures`, `windows`, `window` where a gate is judged by windows, and `dry_run`; `None`: nothing is said of it.
fn patient(section: &mut Fields<'_>, by_windows: bool) -> Option<Patience> {
    let mut read = Patience { dry_run: section.boolean("dry_run").is_some_and(|dry| dry.value), ..Patience::default() };
    if by_windows {
        let failures = section.natural("failures");
        let windows = section.natural("windows");
        let small = |count: &Located<u64>| u32::try_from(count.value).unwrap_or(u32::MAX);
        read.failures = failures.as_ref().map_or(1, small);
        read.windows = windows.as_ref().map_or(read.failures, small);
        if let Some(window) = section.duration("window") {
            read.window = window.value;
            if window.value < GRAIN {
                section.text.report.error(&window.at, "a window is 10s or longer", "counters are looked at every ten seconds");
            }
        }
        if let Some(at) = failures.as_ref().or(windows.as_ref()).map(|count| &count.at) {
            if read.failures == 0 || read.failures > read.windows {
                let message = format!("{} of {} windows can't fail", read.failures, read.windows);
                section.text.report.error(at, message, "write it like `failures = 2` and `windows = 3`");
            } else if read.window.saturating_mul(read.windows) > KEPT {
                section.text.report.error(at, "all windows together are at most 5m", "fewer of them, or shorter ones");
            }
        }
    }
    (read != Patience::default()).then_some(read)
}

fn shadow(mut section: Fields<'_>, patience: &mut BTreeMap<String, Patience>) -> (Option<ShadowGate>, Leniency) {
    let max_different = section.share("max_different").map_or(Share::NONE, |share| share.value);
    let min_requests = min_requests(&mut section);
    let leniency = leniency::read(&mut section);
    patience.extend(patient(&mut section, false).map(|read| ("shadow".to_owned(), read)));
    section.finish();
    (Some(ShadowGate { max_different, min_requests }), leniency)
}

fn lag(mut section: Fields<'_>) -> Option<LagGate> {
    section.require("max");
    let max = section.duration("max");
    section.finish();
    Some(LagGate { max: max?.value })
}

fn parity(mut section: Fields<'_>) -> ParityGate {
    let default = ParityGate::default();
    let max_drift_rows = section.natural("max_drift_rows").map_or(default.max_drift_rows, |rows| rows.value);
    let max_age = section.duration("max_age").map_or(default.max_age, |age| age.value);
    section.finish();
    ParityGate { max_drift_rows, max_age }
}

fn min_requests(section: &mut Fields<'_>) -> u64 {
    section.natural("min_requests").map_or(MIN_REQUESTS, |requests| requests.value)
}
