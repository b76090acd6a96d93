//! How long an upstream may take: what the route says, else what the gateway does. Pure, but for remembering that a
//! deadline has passed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ficus_rules::plan::Deadlines;

use super::STREAM_SILENCE;
use crate::config::Timeouts;

/// The deadlines of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Patience {
    /// To accept a connection.
    pub(super) connect: Duration,
    /// From the last of the request to the first of the answer.
    first_byte: Duration,
    /// Without anything that moves, once the answer has begun.
    pub(super) idle: Duration,
    /// When all of it must be over.
    pub(super) end: Option<Instant>,
}

impl Patience {
    /// `timeout`: what the route says of both silences. `streams`: it is a tunnel or an event stream, whose silence is no
    /// failure unless the route says so. `began`: when it was first sent.
    pub(super) fn of(route: Deadlines, timeout: Option<Duration>, gateway: &Timeouts, streams: bool, began: Instant) -> Patience {
        let silence = if streams { STREAM_SILENCE } else { timeout.unwrap_or(gateway.answer) };
        Patience {
            connect: route.connect.unwrap_or(gateway.connect),
            first_byte: route.first_byte.unwrap_or(silence),
            idle: route.idle.unwrap_or(silence),
            end: route.total.map(|total| began + total),
        }
    }

    /// The one silence that there is to look after, where that is all.
    pub(super) fn silence(&self) -> Option<Duration> {
        (self.first_byte == self.idle && self.end.is_none()).then_some(self.idle)
    }
}

/// Deadlines that a connection looks after itself, and whether one has passed.
#[derive(Debug)]
pub(crate) struct Clock {
    patience: Patience,
    answered: AtomicBool,
    ran_out: AtomicBool,
}

impl Clock {
    pub(super) fn new(patience: Patience) -> Clock {
        Clock { patience, answered: AtomicBool::new(false), ran_out: AtomicBool::new(false) }
    }

    /// When the next deadline is, if nothing moves until then.
    pub(super) fn due(&self, moved: Instant) -> Option<Instant> {
        let silence = if self.answered.load(Ordering::Relaxed) { self.patience.idle } else { self.patience.first_byte };
        let silent = moved.checked_add(silence);
        match (silent, self.patience.end) {
            (Some(silent), Some(end)) => Some(silent.min(end)),
            (silent, end) => silent.or(end),
        }
    }

    /// The answer has begun. (What moves on the connection does not tell: TLS and HTTP/2 greet each other first.)
    pub(crate) fn answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    pub(super) fn run_out(&self) {
        self.ran_out.store(true, Ordering::Relaxed);
    }

    /// Whether a deadline has passed.
    pub(crate) fn has_run_out(&self) -> bool {
        self.ran_out.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use ficus_rules::plan::Deadlines;

    use super::{Clock, Patience};
    use crate::config::Timeouts;

    #[test]
    fn the_next_deadline_is_the_one_that_passes_first() {
        let seconds = Duration::from_secs;
        let route = Deadlines { first_byte: Some(seconds(5)), idle: Some(seconds(20)), total: Some(seconds(30)), ..Deadlines::default() };
        let start = Instant::now();
        let clock = Clock::new(Patience::of(route, None, &Timeouts::default(), false, start));
        let due = |moved| clock.due(start + seconds(moved)).map(|due| (due - start).as_secs());
        assert_eq!((due(0), due(2)), (Some(5), Some(7)));
        clock.answered();
        assert_eq!((due(2), due(29)), (Some(22), Some(30)));
    }

    #[test]
    fn what_a_route_does_not_say_is_the_gateways_and_streams_may_be_silent() {
        let (gateway, start) = (Timeouts::default(), Instant::now());
        let silence = |route, timeout, streams| Patience::of(route, timeout, &gateway, streams, start).silence();
        let (none, ten) = (Deadlines::default(), Duration::from_secs(10));
        assert_eq!(silence(none, None, false), Some(gateway.answer));
        assert_eq!(silence(none, Some(ten), false), Some(ten));
        assert_eq!(silence(none, Some(ten), true), Some(super::STREAM_SILENCE));
        assert_eq!(silence(Deadlines { total: Some(ten), ..none }, None, false), None, "an end of its own");
        assert_eq!(silence(Deadlines { idle: Some(ten), first_byte: Some(ten), ..none }, None, true), Some(ten));
    }
}
