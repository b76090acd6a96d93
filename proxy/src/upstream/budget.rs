//! How often requests may be sent again: a share of all requests, and a few every second besides. An upstream that fails
//! everything must not get everything twice. Pure: time comes in.

use std::time::Instant;

use crate::config::Retry;

/// What a repetition costs.
const ONE: u64 = 1_000_000;
/// Seconds of [`Retry::least`] that may be saved up, and repetitions by share besides.
const SAVED_SECONDS: u64 = 10;
const SAVED: u64 = 100;

/// What may be spent, in millionths of a repetition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Budget {
    left: u64,
    at: Instant,
}

impl Budget {
    pub(super) fn new(rule: &Retry, now: Instant) -> Budget {
        Budget { left: u64::from(rule.least) * SAVED_SECONDS * ONE, at: now }
    }

    /// A request came: its share is saved.
    pub(super) fn earn(&mut self, rule: &Retry, now: Instant) {
        self.pass(rule, now);
        self.left = (self.left + u64::from(rule.share.millionths())).min(most(rule));
    }

    /// One may be sent again, and is paid for.
    pub(super) fn spend(&mut self, rule: &Retry, now: Instant) -> bool {
        self.pass(rule, now);
        let may = self.left >= ONE;
        self.left -= if may { ONE } else { 0 };
        may
    }

    fn pass(&mut self, rule: &Retry, now: Instant) {
        let micros = u64::try_from(now.saturating_duration_since(self.at).as_micros()).unwrap_or(u64::MAX);
        self.left = self.left.saturating_add(u64::from(rule.least).saturating_mul(micros)).min(most(rule));
        self.at = self.at.max(now);
    }
}

fn most(rule: &Retry) -> u64 {
    (u64::from(rule.least) * SAVED_SECONDS + SAVED) * ONE
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use ficus_rules::Share;
    use proptest::prelude::*;

    use super::{Budget, SAVED_SECONDS};
    use crate::config::Retry;

    proptest! {
        #[test]
        fn no_more_is_spent_than_was_earned(
            share in 0u32..=1_000_000, least in 0u32..5,
            events in prop::collection::vec((0u64..400, any::<bool>()), 1..300),
        ) {
            let rule = Retry { share: Share::from_millionths(share), least, ..Retry::default() };
            let start = Instant::now();
            let (mut budget, mut now, mut earned, mut spent) = (Budget::new(&rule, start), start, 0u64, 0u64);
            for (later, request) in events {
                now += Duration::from_millis(later);
                match request {
                    true => {
                        budget.earn(&rule, now);
                        earned += u64::from(share);
                    }
                    false => spent += u64::from(budget.spend(&rule, now)),
                }
                let seconds = (now - start).as_secs_f64() + SAVED_SECONDS as f64;
                prop_assert!(spent as f64 <= earned as f64 / 1e6 + f64::from(least) * seconds + 1e-6);
            }
        }
    }

    #[test]
    fn a_share_of_the_requests_may_be_sent_again_and_a_few_every_second() {
        let rule = Retry { share: Share::from_millionths(200_000), least: 1, ..Retry::default() };
        let start = Instant::now();
        let mut budget = Budget::new(&rule, start);
        let spend = |budget: &mut Budget, now| (0..1_000).filter(|_| budget.spend(&rule, now)).count();
        assert_eq!(spend(&mut budget, start), 10, "what it begins with");
        (0..50).for_each(|_| budget.earn(&rule, start));
        assert_eq!(spend(&mut budget, start), 10, "a fifth");
        assert_eq!(spend(&mut budget, start + Duration::from_secs(3)), 3);
        (0..10_000).for_each(|_| budget.earn(&rule, start + Duration::from_secs(3)));
        assert_eq!(spend(&mut budget, start + Duration::from_secs(3)), 110, "it cannot be saved for ever");
        let none = Retry { share: Share::NONE, least: 0, ..Retry::default() };
        assert!(!Budget::new(&none, start).spend(&none, start + Duration::from_secs(60)));
    }
}
