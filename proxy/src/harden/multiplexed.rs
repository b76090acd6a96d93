//! A client's HTTP/2 connection, guarded: frames are looked at as they pass, and a client that is too slow or makes work
//! for nothing is left, with a word (GOAWAY) where one can be said. What stands in requests is the business of `harden`.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use pingora::protocols::{ALPN, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Sleep, sleep};

use super::conduct::{Conduct, ENOUGH};
use super::frames::Frames;
use super::pass_on::pass_on;
use super::stall::Stall;
use crate::config::Limits;
use crate::metrics::metrics;

/// How often the clock is looked at while something is waited for.
const TICK: Duration = Duration::from_millis(250);
/// Calm down: the last stream is not said, as we do not know it (RFC 9113, 6.8 and 7).
const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0xb];

/// A guarded connection.
#[derive(Debug)]
pub(crate) struct Multiplexed {
    inner: Stream,
    limits: Arc<Limits>,
    heard: Frames,
    said: Frames,
    conduct: Conduct,
    fault: Option<&'static str>,
    tick: Option<Pin<Box<Sleep>>>,
    stall: Stall,
    /// Told when the client has asked often enough on this connection.
    enough: watch::Sender<bool>,
}

impl Multiplexed {
    pub(crate) fn new(inner: Stream, limits: Arc<Limits>, enough: watch::Sender<bool>) -> Multiplexed {
        let (heard, said) = (Frames::new(true), Frames::new(false));
        let conduct = Conduct::new(Instant::now());
        Multiplexed { inner, limits, heard, said, conduct, fault: None, tick: None, stall: Stall::default(), enough }
    }

    /// The connection, for what all guards pass on.
    fn inner(&self) -> Option<&Stream> {
        Some(&self.inner)
    }

    fn inner_mut(&mut self) -> &mut Stream {
        &mut self.inner
    }

    /// It ends with pingora's part.
    fn goes_on(&self) -> bool {
        false
    }

    /// Nothing waits here: HTTP/2 has a buffer of its own.
    fn hurry(&mut self) {}

    fn hear(&mut self, bytes: &[u8]) {
        let (now, limits, conduct, fault) = (Instant::now(), &self.limits, &mut self.conduct, &mut self.fault);
        let waits_for_preface = !self.heard.has_begun();
        self.heard.pass(bytes, |frame| {
            if let Err(why) = conduct.hear(frame, limits, now) {
                fault.get_or_insert(why);
            }
        });
        if waits_for_preface && self.heard.has_begun() {
            conduct.prefaced();
        }
        let most = limits.requests_per_connection;
        if most > 0 && conduct.begun >= most {
            conduct.end(now);
            self.enough.send_if_modified(|enough| !std::mem::replace(enough, true));
        }
    }

    /// Nothing has come. Ready: that was so for too long.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.conduct.is_awaited() {
            let tick = self.tick.get_or_insert_with(|| Box::pin(sleep(TICK)));
            if tick.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.tick = None;
            if let Err(why) = self.conduct.look(&self.limits, Instant::now()) {
                self.fault.get_or_insert(why);
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }

    /// Leaves the client.
    fn leave(&mut self, cx: &mut Context<'_>, why: &'static str) -> Poll<io::Result<()>> {
        metrics().left.with_label_values(&[why]).inc();
        // Whoever had enough was told already.
        if self.said.is_between() && why != ENOUGH {
            // It may not be taken; then there is nobody to tell.
            let _ = Pin::new(&mut self.inner).poll_write(cx, &GOAWAY);
            let _ = Pin::new(&mut self.inner).poll_flush(cx);
        }
        Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why)))
    }
}

impl AsyncRead for Multiplexed {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let guard = self.get_mut();
        let before = out.filled().len();
        let read = Pin::new(&mut guard.inner).poll_read(cx, out);
        match &read {
            Poll::Ready(Ok(())) => guard.hear(&out.filled()[before..]),
            Poll::Ready(Err(_)) => return read,
            Poll::Pending => {
                if guard.wait(cx).is_pending() {
                    return Poll::Pending;
                }
            }
        }
        match guard.fault {
            Some(why) => {
                out.set_filled(before);
                guard.leave(cx, why)
            }
            None => read,
        }
    }
}

impl AsyncWrite for Multiplexed {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let guard = self.get_mut();
        let written = Pin::new(&mut guard.inner).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = &written {
            let conduct = &mut guard.conduct;
            guard.said.pass(&bytes[..*count], |frame| conduct.answer(frame));
        }
        guard.stall.watch(cx, &guard.limits, written)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let guard = self.get_mut();
        let flushed = Pin::new(&mut guard.inner).poll_flush(cx);
        guard.stall.watch(cx, &guard.limits, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

pass_on!(Multiplexed, |_inner: Option<&Stream>| Some(ALPN::H2));
