//! The percentiles that have a gate of their own, and what is remembered of legacy by each.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A share of the answers, the fastest of them: how long the slowest of these took is what a gate judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Percentile {
    /// Half of the answers were faster.
    P50,
    /// Nine of ten.
    P90,
    /// Nineteen of twenty.
    P95,
    /// Ninety-nine of a hundred.
    P99,
}

impl Percentile {
    /// All of them, the middle first.
    pub const ALL: [Percentile; 4] = [Percentile::P50, Percentile::P90, Percentile::P95, Percentile::P99];

    /// What its gate is called.
    pub const fn gate(self) -> &'static str {
        match self {
            Percentile::P50 => "latency_p50",
            Percentile::P90 => "latency_p90",
            Percentile::P95 => "latency_p95",
            Percentile::P99 => "latency_p99",
        }
    }

    /// The one whose gate is called so.
    pub fn of_gate(gate: &str) -> Option<Percentile> {
        Percentile::ALL.into_iter().find(|percentile| percentile.gate() == gate)
    }

    /// The share, from 0 to 1.
    pub const fn share(self) -> f64 {
        match self {
            Percentile::P50 => 0.5,
            Percentile::P90 => 0.9,
            Percentile::P95 => 0.95,
            Percentile::P99 => 0.99,
        }
    }

    /// Of fewer answers, it is the slowest of them.
    pub(crate) const fn enough(self) -> u64 {
        match self {
            Percentile::P50 => 2,
            Percentile::P90 => 10,
            Percentile::P95 => 20,
            Percentile::P99 => 100,
        }
    }
}

/// How long legacy took when it was last asked often enough to tell, by percentile, in milliseconds.
///
/// It is stored with a capability's state, each under a name of its own: a release may know some of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegacyTook {
    #[serde(default, rename = "legacy_p50_ms", skip_serializing_if = "Option::is_none")]
    p50: Option<u64>,
    #[serde(default, rename = "legacy_p90_ms", skip_serializing_if = "Option::is_none")]
    p90: Option<u64>,
    #[serde(default, rename = "legacy_p95_ms", skip_serializing_if = "Option::is_none")]
    p95: Option<u64>,
    #[serde(default, rename = "legacy_p99_ms", skip_serializing_if = "Option::is_none")]
    p99: Option<u64>,
}

impl LegacyTook {
    /// How long that was.
    pub fn at(&self, percentile: Percentile) -> Option<Duration> {
        let known = match percentile {
            Percentile::P50 => self.p50,
            Percentile::P90 => self.p90,
            Percentile::P95 => self.p95,
            Percentile::P99 => self.p99,
        };
        known.map(Duration::from_millis)
    }

    /// Learns how long it was. What is below a millisecond is one.
    pub fn learn(&mut self, percentile: Percentile, took: Duration) {
        let place = match percentile {
            Percentile::P50 => &mut self.p50,
            Percentile::P90 => &mut self.p90,
            Percentile::P95 => &mut self.p95,
            Percentile::P99 => &mut self.p99,
        };
        *place = Some((took.as_secs_f64() * 1e3).round().max(1.0) as u64);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{LegacyTook, Percentile};

    #[test]
    fn what_another_release_has_stored_of_legacy_is_read_and_what_is_new_is_beside_it() {
        let before: LegacyTook = serde_json::from_str(r#"{"legacy_p99_ms": 16}"#).expect("of the release before");
        assert_eq!((before.at(Percentile::P99), before.at(Percentile::P50)), (Some(Duration::from_millis(16)), None));
        assert_eq!(serde_json::from_str::<LegacyTook>(r#"{"legacy_p99_ms": null}"#).expect("nothing yet"), LegacyTook::default());
        let mut all = before;
        for (percentile, millis) in Percentile::ALL.into_iter().zip(1..) {
            all.learn(percentile, Duration::from_millis(millis));
        }
        let stored = serde_json::json!({"legacy_p50_ms": 1, "legacy_p90_ms": 2, "legacy_p95_ms": 3, "legacy_p99_ms": 4});
        assert_eq!(serde_json::to_value(&all).expect("JSON"), stored);
    }

    #[test]
    fn a_percentile_is_called_as_its_gate() {
        for percentile in Percentile::ALL {
            assert_eq!(Percentile::of_gate(percentile.gate()), Some(percentile));
            assert_eq!(percentile.gate(), format!("latency_p{}", percentile.share() * 100.0));
            // So many answers have one that is slower than the percentile, fewer have none.
            let slower = |answers: u64| ((1.0 - percentile.share()) * answers as f64 + 1e-9).floor();
            assert_eq!((slower(percentile.enough()), slower(percentile.enough() - 1)), (1.0, 0.0), "{percentile:?}");
        }
        assert_eq!(Percentile::of_gate("latency_p42"), None);
    }
}
