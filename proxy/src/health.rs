//! Health of the modern sides. Seen by requests: after some failures to connect in a row a side counts as down for a
//! moment, and reads do not try it; then requests try it again. Seen by probes ([`crate::probe`]), which also look where no
//! request goes yet. Also keeps how fresh the copies are: together the circumstances of a decision.

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
/// A side that is probed and was not well for so long, and for a probe more, is reported as down. Nobody switches to one
/// that was never well.
const UNWELL: Duration = Duration::from_secs(2);

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
    probed: Option<Probed>,
}

/// What probes saw of a side.
#[derive(Debug, Default, Clone, Copy)]
struct Probed {
    failures: u32,
    well: Option<Instant>,
    /// What a round of probes takes at most.
    every: Duration,
}

impl Modern {
    fn is_avoided(&self) -> bool {
        self.down_until.is_some() || self.probed.is_some_and(|probed| probed.failures >= FAILURES)
    }
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
        let Some(side) = sides.get_mut(capability).filter(|side| side.failures > 0) else { return };
        let was_down = side.down_until.is_some();
        *side = Modern { probed: side.probed, ..Modern::default() };
        if was_down {
            self.settle(&sides);
        }
    }

    /// A modern side was probed. `every`: what a round of probes takes at most.
    pub(crate) fn probed(&self, capability: &str, is_well: bool, every: Duration, now: Instant) {
        let mut sides = self.lock();
        let side = sides.entry(capability.to_owned()).or_default();
        let (avoided, before) = (side.is_avoided(), side.probed.unwrap_or_default());
        side.probed = Some(match is_well {
            true => Probed { failures: 0, well: Some(now), every },
            false => Probed { failures: before.failures.saturating_add(1), every, ..before },
        });
        if side.is_avoided() != avoided {
            self.settle(&sides);
        }
    }

    /// A side is not probed any more: nobody is on the way to it.
    pub(crate) fn unwatch(&self, watched: &[String]) {
        let mut sides = self.lock();
        let mut changed = false;
        for (_, side) in sides.iter_mut().filter(|(capability, _)| !watched.contains(capability)) {
            let avoided = side.is_avoided();
            side.probed = None;
            changed |= side.is_avoided() != avoided;
        }
        // Asked before every round of probes: most find nothing new.
        if changed {
            self.settle(&sides);
        }
    }

    /// Whether a modern side is down as far as anybody tried lately. For reports: longer than decisions avoid it, which go
    /// back to it again and again to find out.
    pub(crate) fn is_down(&self, capability: &str, now: Instant) -> bool {
        let refused = |side: &Modern| side.failures >= FAILURES && side.failed.is_some_and(|at| now < at + REPORTED_FOR);
        let unwell = |side: &Modern| side.probed.is_some_and(|probed| probed.well.is_none_or(|at| now > at + UNWELL.max(probed.every)));
        self.lock().get(capability).is_some_and(|side| refused(side) || unwell(side))
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
        let mut circumstances = Circumstances::clone(&self.current.load());
        circumstances.modern_down = sides.iter().filter(|(_, side)| side.is_avoided()).map(|(capability, _)| capability.clone()).collect();
        self.current.store(Arc::new(circumstances));
        let first = sides.values().filter_map(|side| side.down_until).min();
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

    const EVERY: Duration = Duration::from_millis(1_500);

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
    fn a_side_that_probes_find_unwell_is_avoided_and_reported_until_they_find_it_well() {
        let (around, start) = (Around::new(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        let seen = |ms| (around.circumstances(at(ms)).modern_down.len(), around.is_down("users", at(ms)));
        assert_eq!(seen(0), (0, false), "nobody is on the way to it");
        around.probed("users", false, EVERY, at(0));
        assert_eq!(seen(1), (0, true), "never well");
        around.probed("users", true, EVERY, at(500));
        assert_eq!(seen(501), (0, false));
        for ms in [1_000, 1_500, 2_000] {
            around.probed("users", false, EVERY, at(ms));
        }
        assert_eq!(seen(2_001), (1, false), "avoided at once, reported after a moment");
        around.reached("users");
        assert_eq!(seen(2_501), (1, true), "that it takes connections says nothing of its health");
        around.probed("users", true, EVERY, at(3_000));
        assert_eq!(seen(3_001), (0, false));
        around.probed("users", false, EVERY, at(9_000));
        around.unwatch(&[]);
        assert_eq!(seen(9_001), (0, false));
    }

    #[test]
    fn circumstances_stay_as_they_are_where_nobody_is_watched_less() {
        let (around, start) = (Around::new(), Instant::now());
        around.probed("users", true, EVERY, start);
        let before = around.circumstances(start);
        around.unwatch(&["users".to_owned()]);
        around.unwatch(&[]);
        assert!(std::sync::Arc::ptr_eq(&before, &around.circumstances(start)), "it was not avoided");
        (0..FAILURES).for_each(|_| around.probed("users", false, EVERY, start));
        assert_eq!(around.circumstances(start).modern_down, ["users"]);
        around.unwatch(&[]);
        assert_eq!(around.circumstances(start).modern_down, Vec::<String>::new());
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
