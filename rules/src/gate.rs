//! Gates: criteria, measurements, verdicts. Pure: a measurement comes in, a verdict goes out.
//!
//! Limits and verdicts stand here; [`judge`] and its [`Measurements`] in `gate/judge.rs`, the two sides beside each other in
//! `gate/compare.rs`, what legacy was like before in `gate/baseline.rs`, which percentiles there are in `gate/percentile.rs`, how
//! they are reckoned in `gate/latency.rs`. What a verdict leads to is the state machine's business ([`crate::migration`]).

mod baseline;
mod compare;
mod custom;
mod judge;
mod latency;
mod patience;
mod percentile;

pub use baseline::{Baseline, Known};
pub use compare::Sides;
pub use custom::{Answer, CustomGate, Question, Said};
pub use judge::{LAG_GRACE, LagSeen, Measured, Measurements, ParitySeen, judge};
pub use latency::{add, minus, percentile, slower};
pub use patience::{KEPT, Patience, WINDOW};
pub use percentile::Percentile;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Share;

/// The limits of a capability. An absent one is not judged.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Gates {
    /// `[gate.errors]`
    pub errors: Option<ErrorGate>,
    /// `[gate.latency_p99]` and its like.
    pub latency: BTreeMap<Percentile, LatencyGate>,
    /// `[gate.shadow]`
    pub shadow: Option<ShadowGate>,
    /// `[gate.lag]`
    pub lag: LagGate,
    /// `[gate.parity]`
    pub parity: ParityGate,
    /// `[gate.quarantine]`
    pub quarantine: Option<QuarantineGate>,
    /// `[gate.NAME]`: the operator's own.
    pub custom: BTreeMap<String, CustomGate>,
    /// Of gates that are not judged by their first failing, or only shown.
    pub patience: BTreeMap<String, Patience>,
}

impl Gates {
    /// How patient a gate is.
    pub fn patience(&self, gate: &str) -> Patience {
        self.patience.get(gate).copied().unwrap_or_default()
    }

    /// Whether a gate speaks of how the service answers, and not of its data.
    pub fn is_of_service(&self, gate: &str) -> bool {
        matches!(gate, "errors" | "shadow") || Percentile::of_gate(gate).is_some() || self.custom.contains_key(gate)
    }
}

/// Errors of modern against legacy over the same window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorGate {
    /// Modern's share of errors may exceed legacy's by this much.
    pub max_increase: Share,
    /// And may not be greater than this, whatever legacy's is.
    pub max: Option<Share>,
    /// Fewer requests on modern than this are inconclusive.
    pub min_requests: u64,
}

/// Latency of modern against legacy over the same window, at one percentile.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LatencyGate {
    /// Modern's may be this many times legacy's.
    pub max_ratio: f64,
    /// Fewer requests on modern than this are inconclusive.
    pub min_requests: u64,
    /// One below this passes whatever the ratio.
    pub floor: Duration,
    /// One above this fails, whatever the ratio.
    pub max: Option<Duration>,
}

/// Differences between shadowed answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShadowGate {
    /// The share of compared answers that may differ.
    pub max_different: Share,
    /// Fewer comparisons than this are inconclusive.
    pub min_requests: u64,
}

/// Lag of the stream that leaves the owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LagGate {
    /// At most this old.
    pub max: Duration,
}

impl Default for LagGate {
    fn default() -> Self {
        LagGate { max: Duration::from_secs(2) }
    }
}

/// Rows that could not be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuarantineGate {
    /// At most this many.
    pub max_rows: u64,
}

/// Rows that differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParityGate {
    /// At most this many.
    pub max_drift_rows: u64,
    /// A verification older than this is inconclusive.
    pub max_age: Duration,
}

impl Default for ParityGate {
    fn default() -> Self {
        ParityGate { max_drift_rows: 0, max_age: Duration::from_secs(300) }
    }
}

/// The judgement of one gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Within the limit.
    Pass,
    /// Beyond it: a step back.
    Fail,
    /// Too little to judge by: no step forward.
    Inconclusive,
    /// It could not be measured: no step forward.
    Error,
}

/// One gate's last judgement, for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// `errors`, `latency_p50` to `latency_p99`, `shadow`, `lag`, `parity`, `quarantine`, `reverse`, or a name of the operator's.
    pub gate: String,
    /// The judgement.
    pub verdict: Verdict,
    /// What was measured against what: `modern 0.2%, legacy 0.1%, limit +0.5%`.
    pub measured: String,
    /// Only shown: nobody acts on it.
    #[serde(default)]
    pub dry_run: bool,
}

impl Judged {
    /// Whether it fails, and that counts.
    pub fn fails(&self) -> bool {
        self.verdict == Verdict::Fail && !self.dry_run
    }
}

impl Verdict {
    /// The word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Inconclusive => "inconclusive",
            Verdict::Error => "error",
            Verdict::Fail => "fail",
        }
    }

    /// How bad it is, and the value of `ficus_gate_verdict`: 0 pass, 1 inconclusive, 2 error, 3 fail.
    pub fn severity(self) -> u8 {
        match self {
            Verdict::Pass => 0,
            Verdict::Inconclusive => 1,
            Verdict::Error => 2,
            Verdict::Fail => 3,
        }
    }

    /// The worse of two.
    #[must_use]
    pub fn worse(self, other: Verdict) -> Verdict {
        if other.severity() > self.severity() { other } else { self }
    }
}

/// The worst verdict wins; nothing judged passes.
pub fn worst(judged: &[Judged]) -> Verdict {
    judged.iter().map(|j| j.verdict).max_by_key(|v| v.severity()).unwrap_or(Verdict::Pass)
}
