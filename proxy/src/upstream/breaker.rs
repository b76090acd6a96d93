//! The circuit breaker of an upstream: when too many of its requests fail, it gets none for a while; then one at a time,
//! until some in a row were answered. How a request ended counts in the round in which it was let through only: what was sent
//! before an outage says nothing about what is after it. Pure: time comes in.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::config::Breaker;

/// Parts of the window that are forgotten one by one.
const PARTS: u32 = 10;

/// What it has seen, and what follows.
#[derive(Debug)]
pub(super) struct Circuit {
    state: State,
    /// Another with each change of the state, and with each request that is tried.
    round: u64,
    /// That in which it opened last.
    opened: u64,
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
    /// It may go, in this round.
    Yes(u64),
    /// Not before this has passed.
    No(Duration),
}

impl Circuit {
    pub(super) fn new() -> Circuit {
        Circuit { state: State::Closed, round: 0, opened: 0, seen: VecDeque::new() }
    }

    /// Whether a request may go.
    pub(super) fn pass(&mut self, rule: &Breaker, now: Instant) -> Pass {
        let passed = match self.state {
            State::Closed => return Pass::Yes(self.round),
            State::Open { until } if now < until => return Pass::No(until - now),
            State::Open { .. } => 0,
            // One that never comes to an end must not keep the others out for ever.
            State::Trying { trying: Some(since), .. } if now < since + rule.open_for => {
                return Pass::No(since + rule.open_for - now);
            }
            State::Trying { passed, .. } => passed,
        };
        self.turn(State::Trying { trying: Some(now), passed });
        Pass::Yes(self.round)
    }

    /// A request of a round came to its end. Says whether the circuit opened by it.
    pub(super) fn ended(&mut self, round: u64, rule: &Breaker, failed: bool, now: Instant) -> bool {
        if round != self.round {
            self.ended_late(round, rule, failed);
            return false;
        }
        let opens = match self.state {
            State::Closed => {
                self.count(rule, failed, now);
                let (requests, failures) = self.seen.iter().fold((0, 0), |sum, part| (sum.0 + part.requests, sum.1 + part.failures));
                let share = u64::from(failures) * 1_000_000;
                requests >= rule.requests.max(1) && share >= u64::from(requests) * u64::from(rule.share.millionths()) && failures > 0
            }
            // Nothing is let through in its round.
            State::Open { .. } => false,
            State::Trying { .. } if failed => true,
            State::Trying { passed, .. } if passed + 1 >= rule.passes.max(1) => {
                self.turn(State::Closed);
                false
            }
            State::Trying { passed, .. } => {
                self.turn(State::Trying { trying: None, passed: passed + 1 });
                false
            }
        };
        if opens {
            self.turn(State::Open { until: now + rule.open_for });
            self.opened = self.round;
        }
        opens
    }

    /// One that was tried was answered after others were tried in its place: what takes longer than the circuit waits is well, too.
    fn ended_late(&mut self, round: u64, rule: &Breaker, failed: bool) {
        let tried = round > self.opened && !failed;
        if let (true, State::Trying { trying, passed }) = (tried, self.state) {
            if passed + 1 >= rule.passes.max(1) {
                self.turn(State::Closed);
            } else {
                self.state = State::Trying { trying, passed: passed + 1 };
            }
        }
    }

    /// A request of a round tells nothing: it was not sent, or nobody waited for its end. Another may be tried in its place.
    pub(super) fn given_back(&mut self, round: u64) {
        if let State::Trying { trying, .. } = &mut self.state
            && round == self.round
        {
            *trying = None;
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

    fn turn(&mut self, state: State) {
        self.state = state;
        self.round += 1;
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

    /// The round in which a request is let through.
    fn round(circuit: &mut Circuit, now: Instant) -> u64 {
        match circuit.pass(&rule(), now) {
            Pass::Yes(round) => round,
            Pass::No(patience) => panic!("none is let through for {patience:?}"),
        }
    }

    /// A circuit that four failures have opened, and when.
    fn opened() -> (Circuit, impl Fn(u64) -> Instant) {
        let (mut circuit, start) = (Circuit::new(), Instant::now());
        let sent = round(&mut circuit, start);
        assert_eq!([0; 4].map(|_| circuit.ended(sent, &rule(), true, start)), [false, false, false, true]);
        (circuit, move |seconds| start + Duration::from_secs(seconds))
    }

    #[test]
    fn it_opens_at_a_share_of_failures_and_closes_after_some_that_pass() {
        let (mut circuit, start) = (Circuit::new(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let no = |seconds| Pass::No(Duration::from_secs(seconds));
        let sent = round(&mut circuit, at(0));
        let ended = [true, false, true, false].map(|failed| circuit.ended(sent, &rule(), failed, at(0)));
        assert_eq!(ended, [false, false, false, true], "two of four, not before there are four");
        assert_eq!(circuit.pass(&rule(), at(1)), no(4));
        let tried = round(&mut circuit, at(5));
        assert_eq!(circuit.pass(&rule(), at(6)), no(4), "one at a time");
        assert!(circuit.ended(tried, &rule(), true, at(6)), "it fails: open again");
        assert_eq!(circuit.pass(&rule(), at(10)), no(1));
        let hangs = round(&mut circuit, at(11));
        let tried = round(&mut circuit, at(16));
        assert!(!circuit.ended(hangs, &rule(), true, at(16)), "the one before never came to an end in time");
        assert!(!circuit.ended(tried, &rule(), false, at(17)));
        let tried = round(&mut circuit, at(17));
        assert_eq!(circuit.level(), 1);
        circuit.ended(tried, &rule(), false, at(18));
        round(&mut circuit, at(18));
        assert_eq!(circuit.level(), 0);
    }

    #[test]
    fn what_was_sent_before_the_outage_neither_opens_nor_closes_it() {
        for failed in [true, false] {
            let (mut circuit, at) = opened();
            assert!(!circuit.ended(0, &rule(), failed, at(1)), "while it is open");
            let tried = round(&mut circuit, at(5));
            assert!((0..10).all(|_| !circuit.ended(0, &rule(), failed, at(5))));
            assert_eq!((circuit.pass(&rule(), at(6)), circuit.level()), (Pass::No(Duration::from_secs(4)), 1), "{failed}");
            circuit.ended(tried, &rule(), false, at(6));
            assert!(!circuit.ended(0, &rule(), failed, at(6)));
            let tried = round(&mut circuit, at(6));
            circuit.ended(tried, &rule(), false, at(7));
            assert_eq!(circuit.level(), 0);
            assert!((0..10).all(|_| !circuit.ended(0, &rule(), failed, at(7))), "nor once it is closed again");
        }
    }

    /// Else an upstream whose answers take longer than that would never be back.
    #[test]
    fn what_is_answered_after_the_circuit_has_tried_another_counts() {
        let (mut circuit, at) = opened();
        let slow = [5, 10, 15].map(|seconds| round(&mut circuit, at(seconds)));
        circuit.ended(slow[0], &rule(), false, at(16));
        assert_eq!((circuit.level(), circuit.pass(&rule(), at(16))), (1, Pass::No(Duration::from_secs(4))), "one of two");
        circuit.ended(slow[1], &rule(), false, at(17));
        assert_eq!(circuit.level(), 0);
        circuit.ended(slow[2], &rule(), true, at(18));
        assert_eq!(circuit.level(), 0, "that it waits for no more");
    }

    #[test]
    fn a_request_that_tells_nothing_makes_room_for_the_next() {
        let (mut circuit, at) = opened();
        let tried = round(&mut circuit, at(5));
        circuit.given_back(0);
        assert_eq!(circuit.pass(&rule(), at(5)), Pass::No(Duration::from_secs(5)), "another's");
        circuit.given_back(tried);
        let next = round(&mut circuit, at(5));
        circuit.given_back(tried);
        assert_eq!(circuit.pass(&rule(), at(5)), Pass::No(Duration::from_secs(5)), "once");
        circuit.ended(next, &rule(), false, at(5));
        let next = round(&mut circuit, at(5));
        circuit.given_back(next);
        let last = round(&mut circuit, at(5));
        circuit.ended(last, &rule(), false, at(5));
        assert_eq!(circuit.level(), 0, "what passed before still counts");
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let (mut circuit, start) = (Circuit::new(), Instant::now());
        for second in [0, 4, 8, 12, 16, 20] {
            let now = start + Duration::from_secs(second);
            let sent = round(&mut circuit, now);
            assert!(!circuit.ended(sent, &rule(), true, now), "never four within ten seconds");
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
                let sent = round(&mut circuit, now);
                if circuit.ended(sent, &rule(), failed, now) {
                    let within: Vec<_> = seen.iter().filter(|(at, _)| now - *at < rule().window).collect();
                    let failures = within.iter().filter(|(_, failed)| *failed).count();
                    prop_assert!(within.len() >= 4 && failures > 0);
                    prop_assert!(matches!(circuit.pass(&rule(), now), Pass::No(_)));
                    break;
                }
                prop_assert!(matches!(circuit.pass(&rule(), now), Pass::Yes(_)));
            }
        }

        /// Whatever ends when: once it is open, the only requests that change it are those it let through one at a time.
        #[test]
        fn only_what_it_tries_changes_an_open_circuit(events in prop::collection::vec((0u64..4_000, 0u8..4, any::<bool>()), 1..80)) {
            let (mut circuit, start) = opened();
            let (mut now, mut tried): (_, Option<(u64, Instant)>) = (start(0), None);
            for (later, what, failed) in events {
                now += Duration::from_millis(later);
                let before = circuit.level();
                match (what, tried) {
                    (0, _) => {
                        prop_assert!(!circuit.ended(0, &rule(), failed, now));
                        prop_assert_eq!(circuit.level(), before);
                    }
                    (1, Some((round, _))) => {
                        tried = None;
                        prop_assert_eq!(circuit.ended(round, &rule(), failed, now), failed);
                    }
                    (2, Some((round, _))) => {
                        circuit.given_back(round);
                        prop_assert!(matches!(circuit.pass(&rule(), now), Pass::Yes(_)));
                        break;
                    }
                    _ => if let Pass::Yes(round) = circuit.pass(&rule(), now) {
                        prop_assert!(tried.is_none_or(|(_, since)| now >= since + rule().open_for), "one at a time");
                        tried = Some((round, now));
                    },
                }
                if circuit.level() == 0 {
                    break;
                }
            }
        }
    }
}
