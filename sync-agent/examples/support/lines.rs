//! Figures of several rounds to lines of JSON.
#![allow(dead_code, reason = "no bench has all kinds of bars")]

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::machine::{TICKS, cpu_of_process};

/// What a ratio or a value has to be.
#[derive(Clone, Copy)]
pub(crate) enum Bar {
    /// Ours over the peer's, at least.
    RatioAtLeast(f64),
    /// Ours over the peer's, at most.
    RatioAtMost(f64),
    /// Ours, at least.
    AtLeast(f64),
    /// Ours, below.
    Below(f64),
}

/// A figure with its peer's, by round.
pub(crate) struct Figure {
    pub(crate) bench: String,
    pub(crate) metric: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) peer: &'static str,
    pub(crate) bar: Bar,
    pub(crate) ours: Vec<f64>,
    pub(crate) peers: Vec<f64>,
    pub(crate) noise: Vec<f64>,
}

impl Figure {
    pub(crate) fn new(bench: &str, metric: &'static str, unit: &'static str, peer: &'static str, bar: Bar) -> Figure {
        Figure { bench: bench.to_owned(), metric, unit, peer, bar, ours: Vec::new(), peers: Vec::new(), noise: Vec::new() }
    }

    /// Prints the medians; the ratio is the median of the rounds' ratios. Whether the bar is met.
    #[must_use]
    pub(crate) fn print(&self) -> bool {
        let value = median(&self.ours);
        let mut ratios: Vec<f64> = self.ours.iter().zip(&self.peers).map(|(ours, peer)| ours / peer).collect();
        ratios.sort_by(f64::total_cmp);
        let ratio = (!ratios.is_empty()).then(|| median(&ratios));
        let (bar, ok) = match self.bar {
            Bar::RatioAtLeast(bar) => (bar, ratio.is_some_and(|ratio| ratio >= bar)),
            Bar::RatioAtMost(bar) => (bar, ratio.is_some_and(|ratio| ratio <= bar)),
            Bar::AtLeast(bar) => (bar, value >= bar),
            Bar::Below(bar) => (bar, value < bar),
        };
        let line: Value = json!({
            "bench": self.bench, "metric": self.metric, "value": short(value), "unit": self.unit,
            "peer": self.peer, "peer_value": if self.peers.is_empty() { Value::Null } else { short(median(&self.peers)) },
            "ratio": ratio.map(short), "bar": bar, "ok": ok,
            "rounds": self.ours.iter().copied().map(short).collect::<Vec<_>>(), "noise": short(median(&self.noise)),
        });
        println!("{line}");
        ok
    }
}

pub(crate) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// The value below which a share of the values lies.
pub(crate) fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "an index of a short list")]
    let at = (values.len() as f64 * share) as usize;
    values.get(at.min(values.len().saturating_sub(1))).copied().unwrap_or(f64::INFINITY)
}

/// Four digits that mean something.
fn short(value: f64) -> Value {
    let scale = if value.abs() >= 1_000.0 { 1.0 } else { 1_000.0 };
    json!((value * scale).round() / scale)
}

#[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
pub(crate) fn rate(rows: u64, took: Duration) -> f64 {
    rows as f64 / took.as_secs_f64()
}

/// A clock that also knows how busy the machine was.
pub(crate) struct Stopwatch {
    begun: Instant,
    busy: f64,
}

impl Stopwatch {
    pub(crate) fn start() -> Stopwatch {
        Stopwatch { begun: Instant::now(), busy: busy() - own() }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// CPUs that were busy with anything but this process, and `known` seconds of work.
    pub(crate) fn noise(&self, known: f64) -> f64 {
        ((busy() - own() - self.busy - known) / self.elapsed().as_secs_f64()).max(0.0)
    }
}

/// Seconds of CPU that the whole machine has spent.
fn busy() -> f64 {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields: Vec<f64> =
        text.lines().next().unwrap_or_default().split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user, nice, system, then idle and waiting, then interrupts; the rest is counted in these already.
    let share = |at: usize| fields.get(at).copied().unwrap_or(0.0);
    (share(0) + share(1) + share(2) + share(5) + share(6)) / TICKS
}

/// Those of this process.
fn own() -> f64 {
    cpu_of_process(std::process::id())
}
