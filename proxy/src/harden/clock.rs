//! How long a client may keep a connection waiting. One timer a connection, which is left alone while nothing is waited
//! for: a busy connection arms it once and not once a request.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::config::Limits;

/// While a body is awaited, the clock is looked at this often.
const TICK: Duration = Duration::from_secs(1);

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaited {
    /// The first byte of a request.
    Request,
    /// The rest of a head.
    Head,
    /// More of a body.
    Body,
}

/// The time of one connection.
#[derive(Debug)]
pub(super) struct Clock {
    timer: Option<Pin<Box<Sleep>>>,
    /// What is waited for, and until when.
    until: Option<(Awaited, Instant)>,
    /// How long the body was waited for.
    waited: Duration,
    /// It is still waited for; up to here this is counted.
    since: Option<Instant>,
    /// Bytes of it that came.
    came: u64,
}

impl Clock {
    pub(super) fn new() -> Clock {
        Clock { timer: None, until: None, waited: Duration::ZERO, since: None, came: 0 }
    }

    /// A head is complete.
    pub(super) fn restart(&mut self) {
        *self = Clock { timer: self.timer.take(), ..Clock::new() };
    }

    /// Some of a body came.
    pub(super) fn came(&mut self, bytes: usize) {
        self.came = self.came.saturating_add(bytes as u64);
        if let Some(since) = self.since.take() {
            // Nobody may have looked for it meanwhile, so not all of the time was the client's.
            self.waited += since.elapsed().min(TICK);
        }
    }

    /// Nothing has come: whether that was so for too long. Otherwise the task is woken when it will have been.
    pub(super) fn is_over(&mut self, cx: &mut Context<'_>, awaited: Awaited, limits: &Limits) -> bool {
        let now = Instant::now();
        let until = match awaited {
            Awaited::Body => {
                // Twice in a row nothing had come: then nothing came between, either.
                self.waited += self.since.replace(now).map_or(Duration::ZERO, |since| now - since);
                let bought = self.came.checked_div(limits.body_rate).unwrap_or(0);
                let left = (limits.body_patience + Duration::from_secs(bought)).saturating_sub(self.waited);
                if left.is_zero() {
                    return true;
                }
                now + left.min(TICK)
            }
            _ => match self.until {
                Some((same, until)) if same == awaited => until,
                _ => now + if awaited == Awaited::Head { limits.head_within } else { limits.idle },
            },
        };
        self.until = Some((awaited, until));
        self.wake_at(cx, until)
    }

    /// Whether it is that late. The timer may be armed for earlier; it is armed anew only when it has gone off.
    fn wake_at(&mut self, cx: &mut Context<'_>, until: Instant) -> bool {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if timer.deadline() > until {
            timer.as_mut().reset(until);
        }
        while let Poll::Ready(()) = timer.as_mut().poll(cx) {
            if timer.deadline() >= until {
                return true;
            }
            timer.as_mut().reset(until);
        }
        false
    }
}
