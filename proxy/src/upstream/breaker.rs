//! The circuit breaker of an upstream: when too many of its requests fail, it gets none for a while; then one at a time,
//! until some in a row were answered. Pure: time comes in.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::config::Breaker;

/// Parts of the window that are forgotten one by one.
const PARTS: u32 = 10;

/// What it has seen, and what follows.
#[derive(Debug)]
pub(super) struct Circuit {
    state: State,
    /// Requests and failures, by the part of the window in which they ended.
    seen: VecDeque<Part>,
}

#[derive(Debug, Clone, Copy)]
struct Part {
    began: Instant,
    requests: u32,
    failures: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    /// Nothing passes until then.
    Open {
        until: Instant,
    },
    /// One passes at a time. `trying`: since when one is under way; `passed`: how many in a row were answered.
    Trying {
        trying: Option<Instant>,
        passed: u32,
    },
}

/// What a request is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// It may go.
    Yes,
    /// Not before this has passed.
    No(Duration),
}

impl Circuit {
    pub(super) fn new() -> Circuit {
        Circuit { state: State::Closed, seen: VecDeque::new() }
    }

    /// Whether a request may go.
    pub(super) fn pass(&mut self, rule: &Breaker, now: Instant) -> Pass {
        match self.state {
            State::Closed => Pass::Yes,
            State::Open { until } if now < until => Pass::No(until - now),
            State::Open { .. } => {
                self.state = State::Trying { trying: Some(now), passed: 0 };
                Pass::Yes
            }
            // One that never came to an end (its client left) must not keep the others out for ever.
            State::Trying { trying: Some(since), .. } if now < since + rule.open_for => Pass::No(since + rule.open_for - now),
            State::Trying { passed, .. } => {
                self.state = State::Trying { trying: Some(now), passed };
                Pass::Yes
            }
        }
    }

    /// A request came to its end. Says whether the circuit opened by it.
    pub(super) fn ended(&mut self, rule: &Breaker, failed: bool, now: Instant) -> bool {
        match self.state {
            State::Closed => {
                self.count(rule, failed, now);
                let (requests, failures) = self.seen.iter().fold((0, 0), |sum, part| (sum.0 + part.requests, sum.1 + part.failures));
                let share = u64::from(failures) * 1_000_000;
                let opens =
                    requests >= rule.requests.max(1) && share >= u64::from(requests) * u64::from(rule.share.millionths()) && failures > 0;
                if opens {
                    self.open(rule, now);
                }
                opens
            }
            // What was sent before it opened.
            State::Open { .. } => false,
            State::Trying { .. } if failed => {
                self.open(rule, now);
                true
            }
            State::Trying { passed, .. } if passed + 1 >= rule.passes.max(1) => {
                *self = Circuit::new();
                false
            }
            State::Trying { passed, .. } => {
                self.state = State::Trying { trying: None, passed: passed + 1 };
                false
            }
        }
    }

    /// As metrics tell it: 0 closed, 1 trying, 2 open.
    pub(super) fn level(&self) -> i64 {
        match self.state {
            State::Closed => 0,
            State::Trying { .. } => 1,
            State::Open { .. } => 2,
        }
    }

    fn open(&mut self, rule: &Breaker, now: Instant) {
        self.state = State::Open { until: now + rule.open_for };
        self.seen.clear();
    }

    fn count(&mut self, rule: &Breaker, failed: bool, now: Instant) {
        while self.seen.front().is_some_and(|part| now.saturating_duration_since(part.began) >= rule.window) {
            self.seen.pop_front();
        }
        let fits = |part: &Part| now.saturating_duration_since(part.began) < rule.window / PARTS;
        if self.seen.back().is_none_or(|part| !fits(part)) {
            self.seen.push_back(Part { began: now, requests: 0, failures: 0 });
        }
        if let Some(part) = self.seen.back_mut() {
            part.requests += 1;
            part.failures += u32::from(failed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use ficus_rules::Share;
    use proptest::prelude::*;

    use super::{Circuit, Pass};
    use crate::config::Breaker;

    fn rule() -> Breaker {
        Breaker {
            share: Share::from_millionths(500_000),
            requests: 4,
            window: Duration::from_secs(10),
            open_for: Duration::from_secs(5),
            passes: 2,
        }
    }

    #[test]
    fn it_opens_at_a_share_of_failures_and_closes_after_some_that_pass() {
        let (mut circuit, start) = (Circuit::new(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let ended = [(true, false), (false, false), (true, false), (false, true)].map(|(failed, _)| circuit.ended(&rule(), failed, at(0)));
        assert_eq!(ended, [false, false, false, true], "two of four, not before there are four");
        assert_eq!(circuit.pass(&rule(), at(1)), Pass::No(Duration::from_secs(4)));
        assert_eq!(circuit.pass(&rule(), at(5)), Pass::Yes);
        assert_eq!(circuit.pass(&rule(), at(6)), Pass::No(Duration::from_secs(4)), "one at a time");
        assert!(circuit.ended(&rule(), true, at(6)), "it fails: open again");
        assert_eq!((circuit.pass(&rule(), at(10)), circuit.pass(&rule(), at(11))), (Pass::No(Duration::from_secs(1)), Pass::Yes));
        assert_eq!(circuit.pass(&rule(), at(16)), Pass::Yes, "that one never came to an end");
        assert!(!circuit.ended(&rule(), false, at(17)));
        assert_eq!((circuit.pass(&rule(), at(17)), circuit.level()), (Pass::Yes, 1));
        circuit.ended(&rule(), false, at(18));
        assert_eq!((circuit.pass(&rule(), at(18)), circuit.level()), (Pass::Yes, 0));
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let (mut circuit, start) = (Circuit::new(), Instant::now());
        for second in [0, 4, 8, 12, 16, 20] {
            assert!(!circuit.ended(&rule(), true, start + Duration::from_secs(second)), "never four within ten seconds");
        }
    }

    proptest! {
        /// It never opens below the share or the number of requests, told by a plain list of what happened.
        #[test]
        fn it_opens_only_for_what_a_list_of_the_window_bears_out(events in prop::collection::vec((0u64..3_000, any::<bool>()), 1..80)) {
            let (mut circuit, start) = (Circuit::new(), Instant::now());
            let (mut now, mut seen) = (start, Vec::new());
            for (later, failed) in events {
                now += Duration::from_millis(later);
                seen.push((now, failed));
                if circuit.ended(&rule(), failed, now) {
                    let within: Vec<_> = seen.iter().filter(|(at, _)| now - *at < rule().window).collect();
                    let failures = within.iter().filter(|(_, failed)| *failed).count();
                    prop_assert!(within.len() >= 4 && failures > 0);
                    prop_assert!(matches!(circuit.pass(&rule(), now), Pass::No(_)));
                    break;
                }
                prop_assert_eq!(circuit.pass(&rule(), now), Pass::Yes);
            }
        }
    }
}
