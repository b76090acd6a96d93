//! A client's HTTP/2 connection, guarded: frames are looked at as they pass, and a client that is too slow or makes work
//! for nothing is left, with a word (GOAWAY) where one can be said. What stands in requests is the business of `harden`.
//!
//! Of a body that is too slow, the stream alone is ended: its reader hears between two frames that the client took it back, and the
//! client that it is over.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf as _, BytesMut};
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{ALPN, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Sleep, sleep};

use super::calls::Calls;
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

/// The kind of a frame that ends a stream, and how long what it says is (RFC 9113, 6.4).
const RESET: [u8; 4] = [0, 0, 4, 3];
/// Why: it is not wanted any more; calm down.
const CANCEL: u32 = 0x8;
const CALM: u32 = 0xb;

/// A guarded connection.
#[derive(Debug)]
pub(crate) struct Multiplexed {
    inner: Stream,
    mark: Option<Arc<ProxyDigest>>,
    calls: Arc<Calls>,
    limits: Arc<Limits>,
    heard: Frames,
    said: Frames,
    conduct: Conduct,
    fault: Option<&'static str>,
    tick: Option<Pin<Box<Sleep>>>,
    stall: Stall,
    /// Frames for the reader that did not come from the client.
    added: BytesMut,
    /// Frames for the client that did not come from the writer; some of it may have left.
    told: BytesMut,
    telling: bool,
    /// Told when the client has asked often enough on this connection.
    enough: watch::Sender<bool>,
}

impl Multiplexed {
    pub(crate) fn new(inner: Stream, limits: Arc<Limits>, enough: watch::Sender<bool>) -> Multiplexed {
        let (heard, said) = (Frames::new(true), Frames::new(false));
        let conduct = Conduct::new(Instant::now());
        let calls = Arc::<Calls>::default();
        let mark = calls.mark(inner.get_proxy_digest());
        Multiplexed {
            inner,
            mark,
            calls,
            limits,
            heard,
            said,
            conduct,
            fault: None,
            tick: None,
            stall: Stall::default(),
            added: BytesMut::new(),
            told: BytesMut::new(),
            telling: false,
            enough,
        }
    }

    /// The connection, for what all guards pass on.
    fn inner(&self) -> Option<&Stream> {
        Some(&self.inner)
    }

    fn mark(&self) -> Option<Arc<ProxyDigest>> {
        self.mark.clone()
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

    /// Nothing has come. Ready: some time has passed, and was looked at.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.conduct.is_awaited() {
            return Poll::Pending;
        }
        let tick = self.tick.get_or_insert_with(|| Box::pin(sleep(TICK)));
        ready!(tick.as_mut().poll(cx));
        self.tick = None;
        if let Err(why) = self.conduct.look(&self.limits, Instant::now()) {
            self.fault.get_or_insert(why);
        }
        Poll::Ready(())
    }

    /// Ends the streams whose bodies are too slow; the connection, if its client does not end a frame, either.
    fn give_up(&mut self) {
        let calls = self.calls.count();
        if self.heard.is_between() && !self.conduct.hears_head() {
            for stream in self.conduct.give_up(calls, &self.limits) {
                metrics().left.with_label_values(&["slow_body"]).inc();
                self.added.extend_from_slice(&reset(stream, CANCEL));
                self.told.extend_from_slice(&reset(stream, CALM));
            }
        } else if self.conduct.hangs(calls, &self.limits) {
            self.fault.get_or_insert("slow_body");
        }
    }

    /// Hands on what was added.
    fn hand_on(&mut self, out: &mut ReadBuf<'_>) {
        let count = self.added.len().min(out.remaining());
        out.put_slice(&self.added[..count]);
        self.added.advance(count);
    }

    /// Tells the client what it must know, once no other frame is on its way.
    fn tell(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.told.is_empty() && (self.telling || (self.said.is_between() && !self.conduct.says_head())) {
            match ready!(Pin::new(&mut self.inner).poll_write(cx, &self.told))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.told.advance(written),
            }
            self.telling = !self.told.is_empty();
        }
        Poll::Ready(Ok(()))
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

/// A frame that ends a stream.
fn reset(stream: u32, why: u32) -> Vec<u8> {
    [&RESET[..], &[0], &stream.to_be_bytes(), &why.to_be_bytes()].concat()
}

impl AsyncRead for Multiplexed {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let guard = self.get_mut();
        loop {
            if !guard.added.is_empty() {
                guard.hand_on(out);
                return Poll::Ready(Ok(()));
            }
            let before = out.filled().len();
            let read = Pin::new(&mut guard.inner).poll_read(cx, out);
            match &read {
                Poll::Ready(Ok(())) => guard.hear(&out.filled()[before..]),
                Poll::Ready(Err(_)) => return read,
                Poll::Pending => ready!(guard.wait(cx)),
            }
            guard.give_up();
            if let Some(why) = guard.fault {
                out.set_filled(before);
                return guard.leave(cx, why);
            }
            if read.is_ready() {
                return read;
            }
        }
    }
}

impl AsyncWrite for Multiplexed {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let guard = self.get_mut();
        if guard.telling {
            let told = guard.tell(cx);
            ready!(guard.stall.watch(cx, &guard.limits, told))?;
        }
        let written = Pin::new(&mut guard.inner).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = &written {
            let conduct = &mut guard.conduct;
            guard.said.pass(&bytes[..*count], |frame| conduct.answer(frame));
        }
        guard.stall.watch(cx, &guard.limits, written)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let guard = self.get_mut();
        let flushed = match guard.tell(cx) {
            Poll::Ready(Ok(())) => Pin::new(&mut guard.inner).poll_flush(cx),
            waits => waits,
        };
        guard.stall.watch(cx, &guard.limits, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

pass_on!(Multiplexed, |_inner: Option<&Stream>| Some(ALPN::H2));
