//! What legacy was like while enough callers asked it: what modern is held against when hardly any do.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::compare::is_worse;
use super::{Percentile, percentile};
use crate::wire::Traffic;

/// So many answers are known well enough: a step of fewer does not take the place of one of more, unless it has as many.
const WELL_KNOWN: u64 = 2_000;

/// Both kinds of requests that are compared, each with its own: writes take longer than reads, and fail for other reasons.
///
/// It is stored with a capability's state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    /// Of its reads.
    #[serde(flatten)]
    pub reads: Known,
    /// Of its writes.
    #[serde(default, rename = "legacy_writes", skip_serializing_if = "Known::is_nothing")]
    pub writes: Known,
}

/// Of one kind of requests: how many failed, and how long they took by percentile, in milliseconds. Each stands under a name of
/// its own: a release may know some of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    #[serde(default, rename = "legacy_p50_ms", skip_serializing_if = "Option::is_none")]
    p50: Option<u64>,
    #[serde(default, rename = "legacy_p90_ms", skip_serializing_if = "Option::is_none")]
    p90: Option<u64>,
    #[serde(default, rename = "legacy_p95_ms", skip_serializing_if = "Option::is_none")]
    p95: Option<u64>,
    #[serde(default, rename = "legacy_p99_ms", skip_serializing_if = "Option::is_none")]
    p99: Option<u64>,
    /// By how many requests it is known; none: nothing is, or the release before did not say.
    #[serde(default, rename = "legacy_requests", skip_serializing_if = "is_zero")]
    pub(super) requests: u64,
    #[serde(default, rename = "legacy_errors", skip_serializing_if = "is_zero")]
    pub(super) errors: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Known {
    fn is_nothing(&self) -> bool {
        *self == Known::default()
    }

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

    /// Learns from what legacy answered in a step, at least `least` requests; not from one in which it failed more than it is known to.
    /// What is below a millisecond is one.
    pub fn learn(&mut self, legacy: &Traffic, least: u64) {
        let too_few = legacy.requests < least.max(1) || legacy.requests < self.requests.min(WELL_KNOWN);
        if too_few || (self.requests > 0 && is_worse(legacy, self)) {
            return;
        }
        (self.requests, self.errors) = (legacy.requests, legacy.errors);
        for of in Percentile::ALL {
            let place = match of {
                Percentile::P50 => &mut self.p50,
                Percentile::P90 => &mut self.p90,
                Percentile::P95 => &mut self.p95,
                Percentile::P99 => &mut self.p99,
            };
            let took = percentile(legacy, of.share()).filter(|_| legacy.requests >= of.enough());
            *place = took.map(|took| (took.as_secs_f64() * 1e3).round().max(1.0) as u64).or(*place);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Baseline, Known, Percentile, WELL_KNOWN};
    use crate::wire::Traffic;

    fn traffic(requests: u64, bucket: usize) -> Traffic {
        let mut took = vec![0; bucket + 1];
        took[bucket] = requests;
        Traffic { requests, errors: requests / 100, took, latency: Vec::new() }
    }

    #[test]
    fn what_another_release_has_stored_of_legacy_is_read_and_what_is_new_is_beside_it() {
        let before: Baseline = serde_json::from_str(r#"{"legacy_p99_ms": 16}"#).expect("of the release before");
        assert_eq!((before.reads.at(Percentile::P99), before.reads.at(Percentile::P50)), (Some(Duration::from_millis(16)), None));
        assert_eq!(serde_json::from_str::<Baseline>(r#"{"legacy_p99_ms": null}"#).expect("nothing yet"), Baseline::default());
        let mut all = before;
        all.reads.learn(&traffic(200, 15), 100);
        all.writes.learn(&traffic(10, 20), 1);
        let stored = serde_json::json!({
            "legacy_p50_ms": 16, "legacy_p90_ms": 16, "legacy_p95_ms": 16, "legacy_p99_ms": 16, "legacy_requests": 200, "legacy_errors": 2,
            "legacy_writes": { "legacy_p50_ms": 25, "legacy_p90_ms": 26, "legacy_requests": 10 },
        });
        assert_eq!(serde_json::to_value(&all).expect("JSON"), stored);
        assert_eq!(serde_json::from_value::<Baseline>(stored).expect("it is read"), all);
    }

    #[test]
    fn a_few_answers_do_not_take_the_place_of_many() {
        let mut known = Known::default();
        let mut learnt = |requests| {
            known.learn(&traffic(requests, 15), 100);
            known.requests
        };
        for (told, knows) in
            [(99, 0), (100, 100), (400, 400), (399, 400), (50_000, 50_000), (WELL_KNOWN - 1, 50_000), (WELL_KNOWN, WELL_KNOWN)]
        {
            assert_eq!(learnt(told), knows, "{told} requests");
        }
    }

    /// Else its worst hour would excuse whatever modern does for the rest of the soak.
    #[test]
    fn an_hour_in_which_legacy_failed_is_not_what_it_is_like() {
        let mut known = Known::default();
        known.learn(&traffic(5_000, 15), 100);
        known.learn(&Traffic { errors: 1_500, ..traffic(5_000, 30) }, 100);
        assert_eq!((known.errors, known.at(Percentile::P50)), (50, Some(Duration::from_millis(16))), "it was known to be better");
        known.learn(&Traffic { errors: 60, ..traffic(5_000, 30) }, 100);
        assert_eq!(known.errors, 60, "a little worse may be chance");
        known.learn(&traffic(5_000, 15), 100);
        let mut first = Known::default();
        first.learn(&Traffic { errors: 1_500, ..traffic(5_000, 30) }, 100);
        first.learn(&traffic(5_000, 15), 100);
        assert_eq!(first, known, "what comes after it takes its place");
    }
}
