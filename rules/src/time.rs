//! Instants as the messages carry them. Nothing here reads a clock.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The time from `earlier` to this instant; zero when `earlier` is later.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// This instant, `by` later.
    #[must_use]
    pub fn plus(self, by: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }

    /// This instant, so long before.
    #[must_use]
    pub fn before(self, by: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }

    /// As RFC 3339 has it, in UTC: `2026-11-28T13:00:00.123Z`.
    pub fn rfc3339(self) -> String {
        let at = i64::try_from(self.0).ok().and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
        at.map_or_else(String::new, |at| format!("{at:.3}"))
    }

    /// Whole seconds since 1970.
    pub fn seconds(self) -> u64 {
        self.0 / 1000
    }
}

/// Milliseconds of a clock that nobody sets, since a start of its own: good for how long something lasts, in one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Steady(pub u64);

impl Steady {
    /// The time from `earlier` to this instant; zero when `earlier` is later.
    pub fn since(self, earlier: Steady) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// This instant, `by` later.
    #[must_use]
    pub fn plus(self, by: Duration) -> Steady {
        Steady(self.0.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// The time of one process, for whatever is waited for: what people read, but that it never goes slower than the steady clock. Where
/// somebody sets the system's back, every wait that is under way would last longer. Nor is it behind what others have written
/// down by theirs: who goes on with a wait that another one began does not let it last longer, either.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Onward {
    at: Timestamp,
    then: Steady,
}

impl Onward {
    /// The time at `now`, when the system's clock, or what somebody wrote before, says that it is `said`.
    pub fn hear(&mut self, said: Timestamp, now: Steady) -> Timestamp {
        self.at = said.max(self.at.plus(now.since(self.then)));
        self.then = self.then.max(now);
        self.at
    }
}

impl From<std::time::SystemTime> for Timestamp {
    fn from(at: std::time::SystemTime) -> Self {
        let since = at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{Onward, Steady, Timestamp};

    #[test]
    fn an_instant_is_written_with_its_milliseconds() {
        assert_eq!(Timestamp(1_700_000_000_007).rfc3339(), "2023-11-14T22:13:20.007Z");
        assert_eq!(Timestamp(1_700_000_000_000).rfc3339(), "2023-11-14T22:13:20.000Z");
    }

    #[test]
    fn a_clock_that_is_set_back_goes_on() {
        let mut onward = Onward::default();
        for (steady, said, expected, why) in [
            (10, 5_000, 5_000, "as people read it"),
            (30, 5_020, 5_020, "it goes on"),
            (40, 1_000, 5_030, "set back"),
            (1_040, 2_000, 6_030, "and it goes on as before"),
            (1_050, 9_000, 9_000, "set right, or ahead"),
            (1_060, 8_500, 9_010, "slower than somebody wrote"),
            (1_055, 0, 9_010, "a thread that looked a moment before"),
        ] {
            assert_eq!(onward.hear(Timestamp(said), Steady(steady)), Timestamp(expected), "{why}");
        }
    }

    proptest! {
        /// A wait that was begun at any look ends by the steady clock at the latest, whatever the other one says.
        #[test]
        fn no_wait_lasts_longer_than_by_the_steady_clock(looks in prop::collection::vec((0..10_000_u64, 0..1_000_000_u64), 1..40)) {
            let (mut onward, mut steady, mut before) = (Onward::default(), 0, Vec::new());
            for (passes, said) in looks {
                steady += passes;
                let now = onward.hear(Timestamp(said), Steady(steady));
                prop_assert!(now >= Timestamp(said));
                for (then, at) in &before {
                    prop_assert!(now.since(*at) >= Duration::from_millis(steady - then));
                }
                before.push((steady, now));
            }
        }
    }
}
