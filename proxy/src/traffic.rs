//! What is counted for each capability: traffic by side with its latency, writes in flight, shadow verdicts. Counters
//! only grow while the process lives; the report carries them as they stand. What Prometheus is told is in `metrics`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ficus_rules::Side;
use ficus_rules::wire::{GatewayCapability, LATENCY_BOUNDS_MS, ShadowCounts, Traffic};

use crate::metrics::Requests;

/// All capabilities that this gateway has met.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    by_capability: RwLock<BTreeMap<String, Arc<CapabilityCounters>>>,
}

impl Counters {
    /// The counters of a capability, made at the first call.
    pub(crate) fn of(&self, capability: &str) -> Arc<CapabilityCounters> {
        let known = self.by_capability.read().unwrap_or_else(PoisonError::into_inner).get(capability).cloned();
        known.unwrap_or_else(|| {
            let mut all = self.by_capability.write().unwrap_or_else(PoisonError::into_inner);
            all.entry(capability.to_owned()).or_insert_with(|| Arc::new(CapabilityCounters::new(capability))).clone()
        })
    }

    /// Every capability that was met.
    pub(crate) fn all(&self) -> Vec<Arc<CapabilityCounters>> {
        self.by_capability.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

/// The counters of one capability.
#[derive(Debug)]
pub(crate) struct CapabilityCounters {
    /// Its name.
    pub(crate) name: String,
    /// Writes sent to an upstream and not yet answered. Written by `fence` only.
    pub(crate) inflight: AtomicU64,
    legacy: SideCounters,
    modern: SideCounters,
    legacy_writes: SideCounters,
    modern_writes: SideCounters,
    writes: SideCounters,
    /// Mirrored requests.
    pub(crate) shadow: ShadowCounters,
    /// The same requests, as Prometheus is told of them.
    pub(crate) requests: Requests,
}

impl CapabilityCounters {
    fn new(name: &str) -> CapabilityCounters {
        CapabilityCounters {
            name: name.to_owned(),
            inflight: AtomicU64::new(0),
            legacy: SideCounters::default(),
            modern: SideCounters::default(),
            legacy_writes: SideCounters::default(),
            modern_writes: SideCounters::default(),
            writes: SideCounters::default(),
            shadow: ShadowCounters::default(),
            requests: Requests::of(name),
        }
    }

    /// One attempt on a side came to its end: of a write, or of a read.
    pub(crate) fn attempted(&self, side: Side, write: bool, failed: bool, took: Duration) {
        let counters = match (side, write) {
            (Side::Legacy, false) => &self.legacy,
            (Side::Modern, false) => &self.modern,
            (Side::Legacy, true) => &self.legacy_writes,
            (Side::Modern, true) => &self.modern_writes,
        };
        counters.attempted(failed, took);
    }

    /// Legacy was asked because modern, whose turn it was, does not answer: modern failed, as if it had been tried.
    pub(crate) fn unserved(&self) {
        self.modern.unserved();
    }

    /// A write is in flight no longer, after so long.
    pub(crate) fn landed(&self, after: Duration) {
        self.writes.attempted(false, after);
    }

    /// As the report carries it.
    pub(crate) fn report(&self, held: u64) -> GatewayCapability {
        GatewayCapability {
            inflight_writes: self.inflight.load(Ordering::SeqCst),
            held,
            legacy: self.legacy.report(),
            modern: self.modern.report(),
            legacy_writes: self.legacy_writes.report(),
            modern_writes: self.modern_writes.report(),
            writes: self.writes.report(),
            shadow: self.shadow.report(),
            modern_down: false,
            legacy_down: false,
        }
    }
}

/// The counters of one side, or of writes.
#[derive(Debug)]
struct SideCounters {
    requests: AtomicU64,
    errors: AtomicU64,
    took: [AtomicU64; LATENCY_BOUNDS_MS.len() + 1],
}

impl Default for SideCounters {
    fn default() -> SideCounters {
        SideCounters { requests: AtomicU64::new(0), errors: AtomicU64::new(0), took: [const { AtomicU64::new(0) }; _] }
    }
}

impl SideCounters {
    /// Failed in no time at all: nothing was tried.
    fn unserved(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    fn attempted(&self, failed: bool, took: Duration) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if failed {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
        let bucket = LATENCY_BOUNDS_MS.partition_point(|&bound| Duration::from_millis(bound) < took);
        self.took[bucket].fetch_add(1, Ordering::Relaxed);
    }

    fn report(&self) -> Traffic {
        let took = self.took.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        Traffic::reported(self.requests.load(Ordering::Relaxed), self.errors.load(Ordering::Relaxed), took)
    }
}

/// The counters of the shadow.
#[derive(Debug, Default)]
pub(crate) struct ShadowCounters {
    /// Reads that could have been mirrored, for the even choice of a share of them.
    pub(crate) candidates: AtomicU64,
    /// Compared and equal.
    pub(crate) same: AtomicU64,
    /// Compared, looked at twice, and different.
    pub(crate) different: AtomicU64,
    /// Not compared for want of room or of a settled answer.
    pub(crate) dropped: AtomicU64,
    /// Mirrored, and no answer came.
    pub(crate) failed: AtomicU64,
}

impl ShadowCounters {
    fn report(&self) -> ShadowCounts {
        ShadowCounts {
            same: self.same.load(Ordering::Relaxed),
            different: self.different.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ficus_rules::Side;
    use ficus_rules::wire::LATENCY_BOUNDS_MS;

    use super::Counters;

    #[test]
    fn latency_falls_into_the_bucket_of_its_upper_bound() {
        let counters = Counters::default();
        let users = counters.of("users");
        users.attempted(Side::Modern, false, false, Duration::from_millis(1));
        users.attempted(Side::Modern, false, true, Duration::from_micros(1_001));
        users.attempted(Side::Modern, false, false, Duration::from_secs(40));
        let modern = counters.of("users").report(0).modern;
        assert_eq!((modern.requests, modern.errors), (3, 1));
        assert_eq!((modern.took[0], modern.took[1], modern.took[LATENCY_BOUNDS_MS.len() - 1]), (1, 1, 1));
    }
}
