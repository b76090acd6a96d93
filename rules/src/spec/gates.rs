//! `[gate.…]`: the limits that every step is judged by.

use std::time::Duration;

use super::fields::Fields;
use super::source::Located;
use super::words::suggest;
use crate::Share;
use crate::gate::{ErrorGate, Gates, LagGate, LatencyGate, ParityGate, ShadowGate};
use crate::parity::COMPARED;

/// Fewer requests or comparisons than this are inconclusive, unless a gate says otherwise.
const MIN_REQUESTS: u64 = 100;
/// A p99 below this passes whatever the ratio, unless the gate says otherwise.
const LATENCY_FLOOR: Duration = Duration::from_millis(20);

/// What was read.
#[derive(Default)]
pub(super) struct Read {
    pub(super) gates: Gates,
    pub(super) shadow_ignore: Vec<String>,
    /// Any limit was written at all.
    pub(super) given: bool,
}

pub(super) fn read(file: &mut Fields<'_>) -> Read {
    let Some(mut section) = file.table("gate", "[gate.errors]") else { return Read::default() };
    let errors = section.table("errors", "[gate.errors]").and_then(errors);
    let latency_p99 = section.table("latency_p99", "[gate.latency_p99]").and_then(latency);
    let (shadow, shadow_ignore) = section.table("shadow", "[gate.shadow]").map_or_else(Default::default, shadow);
    let lag = section.table("lag", "[gate.lag]").and_then(lag).unwrap_or_default();
    let parity = section.table("parity", "[gate.parity]").map_or_else(ParityGate::default, parity);
    section.finish();
    Read { gates: Gates { errors, latency_p99, shadow, lag, parity }, shadow_ignore, given: true }
}

fn errors(mut section: Fields<'_>) -> Option<ErrorGate> {
    section.require("max_increase", "\"0.5%\"");
    let max_increase = section.share("max_increase").map(|share| share.value);
    let min_requests = min_requests(&mut section);
    section.finish();
    Some(ErrorGate { max_increase: max_increase?, min_requests })
}

fn latency(mut section: Fields<'_>) -> Option<LatencyGate> {
    section.require("max_ratio", "1.2");
    let max_ratio = section.number("max_ratio");
    let min_requests = min_requests(&mut section);
    let floor = section.duration("floor").map_or(LATENCY_FLOOR, |floor| floor.value);
    if let Some(ratio) = max_ratio.as_ref().filter(|ratio| ratio.value <= 0.0) {
        section.text.report.error(&ratio.at, "`max_ratio` lets nothing pass", "write modern's p99 over legacy's, like 1.2");
    }
    section.finish();
    Some(LatencyGate { max_ratio: max_ratio?.value, min_requests, floor })
}

fn shadow(mut section: Fields<'_>) -> (Option<ShadowGate>, Vec<String>) {
    let max_different = section.share("max_different").map_or(Share::NONE, |share| share.value);
    let min_requests = min_requests(&mut section);
    let ignore = section.strings("ignore").into_iter().filter_map(|path| ignored(&section, path)).collect();
    section.finish();
    (Some(ShadowGate { max_different, min_requests }), ignore)
}

fn lag(mut section: Fields<'_>) -> Option<LagGate> {
    section.require("max", "\"2s\"");
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

/// A place that comparisons leave out: a JSON path, or a header.
fn ignored(section: &Fields<'_>, path: Located<String>) -> Option<String> {
    let report = section.text.report;
    if let Some(name) = path.value.strip_prefix("header:") {
        let compared = COMPARED.contains(&name.to_ascii_lowercase().as_str());
        if !compared {
            report.error(&path.at, format!("the header `{name}` is not compared"), suggest(name, COMPARED));
        }
        return compared.then_some(path.value);
    }
    let valid = path.value.starts_with("$.") || path.value.starts_with("$[");
    if !valid {
        let hint = "write it like \"$.results[*].updated_at\", or \"header:location\"";
        report.error(&path.at, format!("`{}` is not a JSON path", path.value), hint);
    }
    valid.then_some(path.value)
}
