//! Passive health of the modern sides: after some failures to connect in a row a side counts as down for a moment, and
//! reads do not try it; then requests probe it again. Also keeps how fresh the copies are: together the circumstances
//! of a decision.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use ficus_rules::decide::Circumstances;
use ficus_rules::wire::Freshness;

/// Failures in a row after which a side counts as down.
const FAILURES: u32 = 3;
/// For how long it then is left alone.
const DOWN_FOR: Duration = Duration::from_secs(1);
/// For how long after its last failure a side that is down is reported as that.
const REPORTED_FOR: Duration = Duration::from_secs(3);

/// What decisions must know beyond rules and published state.
#[derive(Debug)]
pub(crate) struct Around {
    started: Instant,
    current: ArcSwap<Circumstances>,
    sides: Mutex<BTreeMap<String, Modern>>,
    /// Milliseconds since `started` at which the first side that is down should be tried again; `u64::MAX`: none is.
    probe_at: AtomicU64,
}

#[derive(Debug, Default)]
struct Modern {
    failures: u32,
    failed: Option<Instant>,
    down_until: Option<Instant>,
}

impl Around {
    pub(crate) fn new() -> Around {
        Around { started: Instant::now(), current: ArcSwap::default(), sides: Mutex::default(), probe_at: AtomicU64::new(u64::MAX) }
    }

    /// The circumstances now.
    pub(crate) fn circumstances(&self, now: Instant) -> Arc<Circumstances> {
        if self.probe_at.load(Ordering::Relaxed) <= self.milliseconds(now) {
            let mut sides = self.lock();
            for side in sides.values_mut().filter(|side| side.down_until.is_some_and(|until| until <= now)) {
                side.down_until = None;
            }
            self.settle(&sides);
        }
        self.current.load_full()
    }

    /// A modern side could not be reached.
    pub(crate) fn failed(&self, capability: &str, now: Instant) {
        let mut sides = self.lock();
        let side = sides.entry(capability.to_owned()).or_default();
        side.failures += 1;
        side.failed = Some(now);
        if side.failures >= FAILURES {
            side.down_until = Some(now + DOWN_FOR);
            self.settle(&sides);
        }
    }

    /// A modern side was reached.
    pub(crate) fn reached(&self, capability: &str) {
        let mut sides = self.lock();
        if sides.remove(capability).is_some_and(|side| side.down_until.is_some()) {
            self.settle(&sides);
        }
    }

    /// Whether a modern side is down as far as anybody tried lately. For reports: longer than decisions avoid it, which go
    /// back to it again and again to find out.
    pub(crate) fn is_down(&self, capability: &str, now: Instant) -> bool {
        let down = |side: &Modern| side.failures >= FAILURES && side.failed.is_some_and(|at| now < at + REPORTED_FOR);
        self.lock().get(capability).is_some_and(down)
    }

    /// Takes what a report's answer says about the copies. Within an epoch time only goes forward.
    pub(crate) fn refresh(&self, freshness: &BTreeMap<String, Freshness>) {
        let _sides = self.lock();
        let mut circumstances = Circumstances::clone(&self.current.load());
        for (capability, new) in freshness {
            let known = circumstances.freshness.entry(capability.clone()).or_insert(*new);
            if new.epoch > known.epoch {
                *known = *new;
            } else if new.epoch == known.epoch {
                known.through = known.through.max(new.through);
            }
        }
        self.current.store(Arc::new(circumstances));
    }

    fn settle(&self, sides: &BTreeMap<String, Modern>) {
        let down = || sides.iter().filter(|(_, side)| side.down_until.is_some());
        let mut circumstances = Circumstances::clone(&self.current.load());
        circumstances.modern_down = down().map(|(capability, _)| capability.clone()).collect();
        self.current.store(Arc::new(circumstances));
        let first = down().filter_map(|(_, side)| side.down_until).min();
        self.probe_at.store(first.map_or(u64::MAX, |at| self.milliseconds(at)), Ordering::Relaxed);
    }

    fn milliseconds(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.started).as_millis()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Modern>> {
        self.sides.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::{Duration, Instant};

    use ficus_rules::Timestamp;
    use ficus_rules::wire::Freshness;

    use super::{Around, FAILURES};

    #[test]
    fn a_side_is_down_after_some_failures_and_is_probed_after_a_moment() {
        let (around, start) = (Around::new(), Instant::now());
        let down = |ms| around.circumstances(start + Duration::from_millis(ms)).modern_down.clone();
        (1..FAILURES).for_each(|_| around.failed("users", start));
        assert_eq!(down(0), Vec::<String>::new());
        around.failed("users", start);
        assert_eq!(down(10), ["users"]);
        assert_eq!(down(1_100), Vec::<String>::new(), "time to probe");
        around.failed("users", start + Duration::from_millis(1_200));
        assert_eq!(down(1_300), ["users"], "one failed probe is enough");
        around.reached("users");
        assert_eq!(down(1_301), Vec::<String>::new());
    }

    #[test]
    fn a_side_is_reported_down_while_probes_of_it_fail_and_not_for_ever() {
        let (around, start) = (Around::new(), Instant::now());
        let down = |ms| around.is_down("users", start + Duration::from_millis(ms));
        (0..FAILURES).for_each(|_| around.failed("users", start));
        around.circumstances(start + Duration::from_millis(1_500));
        assert_eq!((down(1_500), down(3_500)), (true, false), "being probed is no sign of life; nobody trying is no sign of death");
        around.failed("users", start + Duration::from_millis(1_500));
        assert!(down(3_500));
        around.reached("users");
        assert!(!down(1_600));
    }

    #[test]
    fn freshness_never_goes_back_within_an_epoch() {
        let around = Around::new();
        let hear = |epoch, through| {
            around.refresh(&BTreeMap::from([("users".to_owned(), Freshness { epoch, through: Timestamp(through) })]));
            let known = around.circumstances(Instant::now()).freshness["users"];
            (known.epoch, known.through.0)
        };
        assert_eq!(hear(1, 50), (1, 50));
        assert_eq!(hear(1, 40), (1, 50));
        assert_eq!(hear(2, 10), (2, 10));
        assert_eq!(hear(1, 90), (2, 10), "word of an epoch that is over");
    }
}
