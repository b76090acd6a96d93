//! Health of the legacy sides, as probes see it ([`crate::probe`]). No request is decided by it: whether it answers or
//! not, legacy is where they go. It is reported, for nobody else knows whether a way back leads anywhere.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One that was not well for so long is reported as down, as is one that never was: one probe that takes too long is not
/// enough.
const UNWELL: Duration = Duration::from_millis(3_500);

/// By upstream: when it was last well.
#[derive(Debug, Default)]
pub(crate) struct LegacySides(Mutex<BTreeMap<String, Option<Instant>>>);

impl LegacySides {
    /// All that were probed this time; the others are of no interest any more.
    pub(crate) fn probed(&self, sides: &BTreeMap<String, bool>, now: Instant) {
        let mut known = self.lock();
        let last = |name: &String| known.get(name).copied().flatten();
        *known = sides.iter().map(|(name, is_well)| (name.clone(), if *is_well { Some(now) } else { last(name) })).collect();
    }

    /// Whether an upstream is probed and was not well for a while.
    pub(crate) fn is_down(&self, upstream: &str, now: Instant) -> bool {
        self.lock().get(upstream).is_some_and(|well| well.is_none_or(|at| now > at + UNWELL))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Option<Instant>>> {
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
            sides.probed(&[("monolith".to_owned(), is_well)].into(), at(ms));
            sides.is_down("monolith", at(ms))
        };
        assert!(!sides.is_down("monolith", start), "nobody looks");
        assert!(probed(false, 0), "never well");
        assert!(!probed(true, 500));
        assert_eq!((probed(false, 2_000), probed(false, 4_000), probed(false, 4_500)), (false, false, true));
        assert!(!probed(true, 5_000));
        sides.probed(&[].into(), at(9_000));
        assert!(!sides.is_down("monolith", at(9_000)), "nobody looks any more");
    }
}
