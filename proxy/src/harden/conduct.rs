//! How a client behaves on an HTTP/2 connection, by the frames that pass: how long its heads and bodies keep us waiting, and
//! how often it takes back what it began or makes us work for nothing. A body that is too slow ends its stream, every other
//! fault the connection. Pure: time is an argument.
//!
//! Who is answered may take its time: a call that is a conversation is as slow as the two that talk. So may gRPC's calls before
//! they are answered, for their clients stream what they have when they have it. What a head says cannot be read here (its
//! coding needs all heads before it), so how many such calls there are is told.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use super::frames::{Frame, Kind};
use crate::config::Limits;

#[cfg(test)]
mod tests;

/// Bytes that a client may send on a stream before we ask for more.
pub(crate) const STREAM_WINDOW: u32 = 256 << 10;
/// The same of the whole connection, before our first window update.
const CONNECTION_WINDOW: i64 = 65_535;
/// What ends a connection on which there was enough.
pub(super) const ENOUGH: &str = "enough";
/// Frames of one header block. A block of the largest head that is taken has a few.
const CONTINUATIONS: u32 = 32;

/// What a client may do without need, at once and by the second.
#[derive(Debug)]
struct Allowance {
    most: f64,
    each_second: f64,
    left: f64,
    at: Instant,
}

impl Allowance {
    fn new(most: u32, each_second: u32, now: Instant) -> Allowance {
        Allowance { most: most.into(), each_second: each_second.into(), left: most.into(), at: now }
    }

    /// Whether one more is allowed.
    fn spend(&mut self, now: Instant) -> bool {
        let more = now.saturating_duration_since(self.at).as_secs_f64() * self.each_second;
        (self.left, self.at) = ((self.left + more).min(self.most), now);
        self.left -= 1.0;
        self.left >= 0.0
    }
}

/// A body that is awaited, and not answered.
#[derive(Debug)]
struct Body {
    came: u64,
    waited: Duration,
    window: i64,
}

impl Body {
    /// For how long it may be waited for.
    fn patience(&self, limits: &Limits) -> Duration {
        limits.body_patience + Duration::from_secs(self.came.checked_div(limits.body_rate).unwrap_or(0))
    }
}

/// The conduct of one client.
#[derive(Debug)]
pub(super) struct Conduct {
    /// A header block, or the preface, is incomplete since.
    head: Option<Instant>,
    continuations: u32,
    /// By their streams: those that were begun first come first.
    bodies: BTreeMap<u32, Body>,
    window: i64,
    resets: Allowance,
    idle_work: Allowance,
    /// Streams that were begun and not answered to the end.
    open: HashSet<u32>,
    /// There was enough on this connection, and nothing is under way since.
    over: Option<Instant>,
    /// The stream that was begun last.
    newest: u32,
    /// Until when waiting is accounted for.
    looked: Instant,
    /// Streams that were begun.
    pub(super) begun: u32,
}

impl Conduct {
    pub(super) fn new(now: Instant) -> Conduct {
        Conduct {
            head: Some(now),
            continuations: 0,
            bodies: BTreeMap::new(),
            window: CONNECTION_WINDOW,
            // A browser takes back everything at once when its user goes elsewhere.
            resets: Allowance::new(200, 20, now),
            idle_work: Allowance::new(1_000, 200, now),
            open: HashSet::new(),
            over: None,
            newest: 0,
            looked: now,
            begun: 0,
        }
    }

    /// Whether something is waited for, so that [`Conduct::look`] must be called.
    pub(super) fn is_awaited(&self) -> bool {
        self.head.is_some() || !self.bodies.is_empty() || self.over.is_some()
    }

    /// There was enough on this connection: once nothing is under way, it ends, whatever its client does.
    pub(super) fn end(&mut self, now: Instant) {
        self.over.get_or_insert(now);
    }

    /// The preface is there.
    pub(super) fn prefaced(&mut self) {
        self.head = None;
    }

    /// A frame of the client's.
    ///
    /// # Errors
    /// One word for what it does too much of.
    pub(super) fn hear(&mut self, frame: Frame, limits: &Limits, now: Instant) -> Result<(), &'static str> {
        // Before what begins here: that was not waited for.
        self.account(now);
        match frame.kind {
            Kind::Headers => {
                self.continuations = 0;
                self.head = (!frame.ends_headers()).then_some(now);
                // Streams have growing numbers (RFC 9113, 5.1.1): what is not greater are trailers, perhaps of one that has ended.
                if frame.stream > self.newest {
                    self.newest = frame.stream;
                    self.begun = self.begun.saturating_add(1);
                    self.open.insert(frame.stream);
                    self.bodies.insert(frame.stream, Body { came: 0, waited: Duration::ZERO, window: STREAM_WINDOW.into() });
                }
                if frame.ends_stream() {
                    self.bodies.remove(&frame.stream);
                }
            }
            Kind::Continuation => {
                self.continuations += 1;
                if self.continuations > CONTINUATIONS {
                    return Err("continuations");
                }
                self.head = self.head.filter(|_| !frame.ends_headers());
            }
            Kind::Data => self.data(frame, now)?,
            Kind::Reset => {
                self.close(frame.stream);
                if !self.resets.spend(now) {
                    return Err("resets");
                }
            }
            Kind::Ping | Kind::Other if !self.idle_work.spend(now) => return Err("control_frames"),
            Kind::Ping | Kind::Other | Kind::WindowUpdate | Kind::GoAway => {}
        }
        self.look(limits, now)
    }

    fn data(&mut self, frame: Frame, now: Instant) -> Result<(), &'static str> {
        self.window -= i64::from(frame.length);
        if let Some(body) = self.bodies.get_mut(&frame.stream) {
            body.window -= i64::from(frame.length);
            body.came += u64::from(frame.length);
        }
        if frame.ends_stream() {
            self.bodies.remove(&frame.stream);
        } else if frame.length == 0 && !self.idle_work.spend(now) {
            return Err("empty_frames");
        }
        Ok(())
    }

    /// A frame of ours.
    pub(super) fn answer(&mut self, frame: Frame) {
        if matches!(frame.kind, Kind::Headers | Kind::Continuation) {
            // Answered, even if there is more to come: nobody waits for the rest of its body.
            self.bodies.remove(&frame.stream);
        }
        match frame.kind {
            Kind::WindowUpdate if frame.stream == 0 => self.window += i64::from(frame.adds),
            Kind::WindowUpdate => {
                if let Some(body) = self.bodies.get_mut(&frame.stream) {
                    body.window += i64::from(frame.adds);
                }
            }
            _ if frame.ends_stream() || frame.kind == Kind::Reset => self.close(frame.stream),
            _ => {}
        }
    }

    fn close(&mut self, stream: u32) {
        self.bodies.remove(&stream);
        self.open.remove(&stream);
    }

    /// Gives up the streams whose bodies are too slow, but for so many of those that were begun first: that many are calls, which
    /// may take their time.
    pub(super) fn give_up(&mut self, calls: usize, limits: &Limits) -> Vec<u32> {
        let slow: Vec<u32> = self.slow(Duration::ZERO, calls, limits).collect();
        slow.iter().for_each(|stream| self.close(*stream));
        slow
    }

    /// Whether there was one to be given up for so long that the client must be hanging in the middle of a frame.
    pub(super) fn hangs(&self, calls: usize, limits: &Limits) -> bool {
        self.slow(limits.body_patience, calls, limits).next().is_some()
    }

    fn slow(&self, more: Duration, calls: usize, limits: &Limits) -> impl Iterator<Item = u32> {
        let slow = self.bodies.iter().filter(move |(_, body)| body.waited > body.patience(limits) + more);
        slow.map(|(stream, _)| *stream).skip(calls)
    }

    /// Whether anything took too long, up to now.
    ///
    /// # Errors
    /// One word for what did.
    pub(super) fn look(&mut self, limits: &Limits, now: Instant) -> Result<(), &'static str> {
        self.account(now);
        if self.head.is_some_and(|since| now.saturating_duration_since(since) > limits.head_within) {
            return Err("slow_head");
        }
        if let Some(since) = &mut self.over {
            if !self.open.is_empty() {
                *since = now;
            } else if now.saturating_duration_since(*since) > limits.head_within {
                return Err(ENOUGH);
            }
        }
        Ok(())
    }

    /// Accounts for the time since the last look. Only who may send keeps us waiting: not whom we gave no window.
    fn account(&mut self, now: Instant) {
        let since = now.saturating_duration_since(std::mem::replace(&mut self.looked, now));
        if since.is_zero() || self.window <= 0 {
            return;
        }
        for body in self.bodies.values_mut().filter(|body| body.window > 0) {
            body.waited += since;
        }
    }
}
