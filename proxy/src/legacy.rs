//! Health of the legacy sides, as probes see it ([`crate::probe`]). No request is decided by it: whether it answers or
//! not, legacy is where they go. It is reported, for nobody else knows whether a way back leads anywhere.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One that was not well for so long, and for some probes, is reported as down, as is one that never was: one probe that
/// takes too long is not enough.
const UNWELL: Duration = Duration::from_millis(3_500);
const PROBES: u32 = 2;

/// By upstream: what probes saw of it.
#[derive(Debug, Default)]
pub(crate) struct LegacySides(Mutex<BTreeMap<String, Probed>>);

#[derive(Debug, Default, Clone, Copy)]
struct Probed {
    well: Option<Instant>,
    /// What a round of probes takes at most.
    every: Duration,
}

impl LegacySides {
    /// One was probed. `every`: what a round of probes takes at most.
    pub(crate) fn probed(&self, upstream: &str, is_well: bool, every: Duration, now: Instant) {
        let mut known = self.lock();
        let known = known.entry(upstream.to_owned()).or_default();
        *known = Probed { well: if is_well { Some(now) } else { known.well }, every };
    }

    /// One is of no interest any more.
    pub(crate) fn unwatch(&self, upstream: &str) {
        self.lock().remove(upstream);
    }

    /// Whether an upstream is probed and was not well for a while.
    pub(crate) fn is_down(&self, upstream: &str, now: Instant) -> bool {
        self.lock().get(upstream).is_some_and(|probed| probed.well.is_none_or(|at| now > at + UNWELL.max(probed.every * PROBES)))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Probed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::LegacySides;

    #[test]
    fn one_that_was_not_well_for_a_while_is_down() {
        let (sides, start) = (LegacySides::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        let probed = |is_well, ms| {
            sides.probed("monolith", is_well, Duration::from_millis(1_500), at(ms));
            sides.is_down("monolith", at(ms))
        };
        assert!(!sides.is_down("monolith", start), "nobody looks");
        assert!(probed(false, 0), "never well");
        assert!(!probed(true, 500));
        assert_eq!((probed(false, 2_000), probed(false, 4_000), probed(false, 4_500)), (false, false, true));
        assert!(!probed(true, 5_000));
        sides.probed("monolith", true, Duration::from_secs(10), at(6_000));
        assert_eq!((sides.is_down("monolith", at(26_000)), sides.is_down("monolith", at(26_001))), (false, true), "probes that are rare");
        sides.unwatch("monolith");
        assert!(!sides.is_down("monolith", at(9_000)), "nobody looks any more");
    }
}
