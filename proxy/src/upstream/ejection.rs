//! What is thought of an instance by the requests that it was sent: after some failures in a row it is left alone for a
//! while, then it gets requests again; each time anew for longer. Pure: time comes in. How many may be left alone at a
//! time is the pool's to know.

use std::time::{Duration, Instant};

use ficus_rules::Share;

use crate::config::Ejection;

/// The record of one instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Record {
    /// Failures since the last success.
    failures: u32,
    /// How often in a row it was left alone.
    times: u32,
    /// When that ends, or ended.
    until: Option<Instant>,
    /// For how long that was.
    length: Duration,
}

impl Record {
    /// It failed a request. `may`: there is room for another one that is left alone. Says whether it is from now on.
    pub(super) fn failed(&mut self, rule: &Ejection, may: bool, now: Instant) -> bool {
        if self.is_out(now) {
            return false;
        }
        self.failures = self.failures.saturating_add(1);
        if self.failures < rule.failures.max(1) || !may {
            return false;
        }
        self.length = rule.first.saturating_mul(2u32.saturating_pow(self.times)).min(rule.longest.max(rule.first));
        self.times = self.times.saturating_add(1);
        self.until = Some(now + self.length);
        self.failures = 0;
        true
    }

    /// It answered a request. One that did well for as long as it was left alone is as good as new.
    pub(super) fn succeeded(&mut self, now: Instant) {
        self.failures = 0;
        if self.until.is_some_and(|until| now >= until + self.length) {
            *self = Record::default();
        }
    }

    /// Whether it is left alone.
    pub(super) fn is_out(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// How many of `all` instances may be left alone at a time.
    pub(super) fn most(share: Share, all: usize) -> usize {
        usize::try_from(all as u64 * u64::from(share.millionths()) / 1_000_000).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use ficus_rules::Share;
    use proptest::prelude::*;

    use super::Record;
    use crate::config::Ejection;

    fn rule() -> Ejection {
        Ejection { failures: 3, first: Duration::from_secs(1), longest: Duration::from_secs(5), share: Share::ALL }
    }

    #[test]
    fn it_is_left_alone_for_longer_each_time_and_forgiven_when_it_does_well() {
        let (mut record, start) = (Record::default(), Instant::now());
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        let fail = |record: &mut Record, seconds| (0..3).map(|_| record.failed(&rule(), true, at(seconds))).collect::<Vec<_>>();
        assert_eq!(fail(&mut record, 0.0), [false, false, true]);
        assert_eq!((record.is_out(at(0.9)), record.is_out(at(1.0))), (true, false));
        assert_eq!(fail(&mut record, 1.0), [false, false, true]);
        assert_eq!((record.is_out(at(2.9)), record.is_out(at(3.0))), (true, false), "twice as long");
        fail(&mut record, 3.0);
        fail(&mut record, 7.0);
        assert_eq!((record.is_out(at(11.9)), record.is_out(at(12.0))), (true, false), "never longer than the longest");
        record.succeeded(at(16.0));
        fail(&mut record, 16.0);
        assert!(record.is_out(at(20.9)), "it did well for too short a while");
        record.succeeded(at(26.0));
        fail(&mut record, 27.0);
        assert_eq!((record.is_out(at(27.9)), record.is_out(at(28.0))), (true, false), "forgiven");
    }

    #[test]
    fn failures_with_a_success_between_them_are_not_in_a_row() {
        let (mut record, now) = (Record::default(), Instant::now());
        for _ in 0..10 {
            assert!(!record.failed(&rule(), true, now) && !record.failed(&rule(), true, now));
            record.succeeded(now);
        }
    }

    #[test]
    fn a_single_instance_is_never_left_alone_by_half() {
        let half = Share::from_millionths(500_000);
        assert_eq!((1..=5).map(|all| Record::most(half, all)).collect::<Vec<_>>(), [0, 1, 1, 2, 2]);
    }

    proptest! {
        /// Against a list of all that happened: it is out exactly in the spans that its ejections made.
        #[test]
        fn it_is_out_in_the_spans_of_its_ejections(events in prop::collection::vec((0u64..2_000, any::<bool>(), any::<bool>()), 1..80)) {
            let (mut record, start) = (Record::default(), Instant::now());
            let (mut now, mut spans, mut in_a_row) = (start, Vec::<(Instant, Instant)>::new(), 0);
            for (later, fails, may) in events {
                now += Duration::from_millis(later);
                let out = spans.iter().any(|(from, until)| *from <= now && now < *until);
                prop_assert_eq!(record.is_out(now), out);
                if !fails {
                    record.succeeded(now);
                    in_a_row = 0;
                } else if !out {
                    in_a_row += 1;
                    let ejected = record.failed(&rule(), may, now);
                    prop_assert_eq!(ejected, may && in_a_row >= 3);
                    if ejected {
                        in_a_row = 0;
                        prop_assert!(rule().first <= record.length && record.length <= rule().longest);
                        spans.push((now, now + record.length));
                    }
                } else {
                    prop_assert!(!record.failed(&rule(), may, now), "whoever is out cannot be put out again");
                }
            }
        }
    }
}
