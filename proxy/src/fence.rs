//! Counting writes in flight against the published fence, without a race: count first, then look again at what is
//! published, and step back when it has changed. Does not hold anybody: `hold` does.
//!
//! The report reads the published snapshot first and the counts after it. A request that was decided by an older
//! snapshot either looked again before the newer one was stored, and then its count is visible to that report, or it
//! saw the newer one and stepped back. The fences of the memory model between the two steps of either side make this
//! hold on machines that would reorder them.
//!
//! A count ends when the upstream has answered or failed. A client that closes its half of the connection does not end
//! it; one that resets the connection does, because pingora then drops the upstream's connection too. Such a write may
//! still be carried out, unacknowledged; the fence in the database, which closes before the end of the log is read,
//! takes care of it.

use std::sync::Arc;
use std::sync::atomic::{self, AtomicBool, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use ficus_rules::decide::Snapshot;

use crate::metrics::metrics;
use crate::traffic::CapabilityCounters;

/// A write that is counted as in flight until this is dropped.
#[derive(Debug)]
pub(crate) struct InFlight {
    counters: Arc<CapabilityCounters>,
    since: Instant,
    done: AtomicBool,
}

impl InFlight {
    /// Counts a write that was decided by `decided_by`; `None` when something else is published by now.
    pub(crate) fn enter(counters: &Arc<CapabilityCounters>, decided_by: &Arc<Snapshot>, current: &ArcSwap<Snapshot>) -> Option<InFlight> {
        counters.inflight.fetch_add(1, Ordering::SeqCst);
        metrics().inflight.with_label_values(&[&*counters.name]).inc();
        let counted = InFlight { counters: counters.clone(), since: Instant::now(), done: AtomicBool::new(false) };
        atomic::fence(Ordering::SeqCst);
        let stands = Arc::ptr_eq(&current.load_full(), decided_by);
        if !stands {
            counted.uncount();
        }
        stands.then_some(counted)
    }

    /// The upstream has answered completely, or failed.
    pub(crate) fn leave(&self) {
        if self.uncount() {
            self.counters.landed(self.since.elapsed());
        }
    }

    /// Whether it was counted until now.
    fn uncount(&self) -> bool {
        let counted = !self.done.swap(true, Ordering::SeqCst);
        if counted {
            self.counters.inflight.fetch_sub(1, Ordering::SeqCst);
            metrics().inflight.with_label_values(&[&*self.counters.name]).dec();
        }
        counted
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.leave();
    }
}

/// The published snapshot, such that counts read afterwards hold every request of an older one.
pub(crate) fn settled(current: &ArcSwap<Snapshot>) -> Arc<Snapshot> {
    let snapshot = current.load_full();
    atomic::fence(Ordering::SeqCst);
    snapshot
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    use arc_swap::ArcSwap;
    use ficus_rules::decide::Snapshot;

    use super::InFlight;
    use crate::traffic::Counters;

    #[test]
    fn a_write_that_an_older_snapshot_let_through_steps_back() {
        let users = Counters::default().of("users");
        let current = ArcSwap::from_pointee(Snapshot::default());
        let decided_by = current.load_full();
        let counted = InFlight::enter(&users, &decided_by, &current).expect("nothing has changed");
        assert_eq!(users.inflight.load(Ordering::SeqCst), 1);
        current.store(Arc::new(Snapshot::default()));
        assert!(InFlight::enter(&users, &decided_by, &current).is_none());
        assert_eq!(users.inflight.load(Ordering::SeqCst), 1, "the one that stepped back is not counted");
        counted.leave();
        drop(counted);
        assert_eq!(users.inflight.load(Ordering::SeqCst), 0, "left once");
        assert_eq!(users.report(0).writes.requests, 1, "and its time was taken once");
    }
}
