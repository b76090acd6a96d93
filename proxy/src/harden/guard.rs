//! A client's connection, guarded: the parser behind it gets one message at a time, whose head was found clear and whose
//! body is framed as the head says; slow clients are left. Sits above TLS, so that it sees what the parser would.
//!
//! A head with a fault is not handed on. A harmless one takes its place, so that the refusal is answered, counted and
//! logged where all others are; see [`Guard::fault`].

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use pingora::protocols::Stream;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::proxy::Session;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::clock::{Awaited, Clock};
use super::fault::Fault;
use super::outbox::Outbox;
use super::pass_on::pass_on;
use super::stall::Stall;
use super::wire::Wire;
use crate::config::Limits;
use crate::direct::Begun;
use crate::tunnel::Tunnel;

/// Stands in for a head that is not handed on.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nHost: invalid\r\nConnection: close\r\n\r\n";
/// How much is read after the answer to a fault, and for how long, so that the client gets to read it: a connection that
/// is closed with unread bytes is reset, and a reset can overtake the answer.
const LINGERED: usize = 16 << 20;
const LINGER: Duration = Duration::from_secs(1);
/// What a guard is without its connection.
const TAKEN: &str = "taken only when dropped";

/// What comes next on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// A request for a resource, by HTTP/1.1, and nothing else. All of it is there.
    Plain,
    /// Another request, or a faulty one.
    Other,
}

/// A guarded connection.
#[derive(Debug)]
pub(crate) struct Guard {
    /// `None` once it is dropped.
    inner: Option<Stream>,
    limits: Arc<Limits>,
    wire: Wire,
    /// What was read and not handed on.
    kept: BytesMut,
    /// How much of that may be handed on.
    cleared: usize,
    fault: Option<Fault>,
    /// The head with the fault was not handed on.
    stands_in: bool,
    clock: Clock,
    stall: Stall,
    /// What goes to the client and has not left.
    out: Outbox,
    /// Where it goes when pingora lets go of it, if it has become a tunnel.
    tunnel: Option<Arc<Tunnel>>,
    /// How far the request that waits has come already.
    begun: Mutex<Option<Begun>>,
}

impl Guard {
    pub(crate) fn new(inner: Stream, limits: Arc<Limits>, tunnel: Arc<Tunnel>) -> Guard {
        let (wire, clock) = (Wire::new(), Clock::new());
        Guard {
            inner: Some(inner),
            limits,
            wire,
            kept: BytesMut::new(),
            cleared: 0,
            fault: None,
            stands_in: false,
            clock,
            stall: Stall::default(),
            out: Outbox::default(),
            tunnel: Some(tunnel),
            begun: Mutex::default(),
        }
    }

    /// The guard of a session's connection.
    pub(crate) fn of(session: &Session) -> Option<&Guard> {
        (**session.stream()?).as_any().downcast_ref()
    }

    /// What was wrong with the request that is carried now, or with its body so far.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// What becomes of the connection if it is a tunnel.
    pub(crate) fn tunnel(&self) -> Option<&Arc<Tunnel>> {
        self.tunnel.as_ref()
    }

    /// Pingora's end is not its end.
    fn goes_on(&self) -> bool {
        self.tunnel.as_ref().is_some_and(|tunnel| tunnel.is_open())
    }

    /// Whether the request that is carried now asked for a WebSocket. Its connection is not used again.
    pub(crate) fn opens(&self) -> bool {
        self.wire.opens()
    }

    /// Waits for the head of a request. `None`: the client has ended, or let us wait for too long.
    pub(crate) async fn next(&mut self) -> Option<Next> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Next>> {
        loop {
            if self.fault.is_some() {
                return Poll::Ready(Some(Next::Other));
            }
            if self.cleared > 0 {
                let next = if self.wire.is_plain() { Next::Plain } else { Next::Other };
                return Poll::Ready(Some(next));
            }
            if !self.kept.is_empty() && self.clear_kept() {
                continue;
            }
            match self.read_kept(cx) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false) | Err(_)) => return Poll::Ready(None),
                Poll::Pending => {
                    self.nothing_more(cx);
                    ready!(self.wait(cx));
                    if self.fault.is_none() {
                        return Poll::Ready(None);
                    }
                }
            }
        }
    }

    /// The head that has come.
    pub(crate) fn head(&self) -> &[u8] {
        &self.kept[..self.cleared]
    }

    /// It was read.
    pub(crate) fn take_head(&mut self) {
        self.kept.advance(self.cleared);
        self.cleared = 0;
    }

    /// It is read once more, by who goes on with its request.
    pub(crate) fn give_back(&mut self, head: &Bytes, begun: Begun) {
        let rest = self.kept.split();
        self.kept.extend_from_slice(head);
        self.kept.extend_from_slice(&rest);
        self.cleared += head.len();
        self.begun = Mutex::new(Some(begun));
    }

    /// How far the request that is carried now had come when it was handed on.
    pub(crate) fn begun(&self) -> Option<Begun> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn inner(&self) -> Option<&Stream> {
        self.inner.as_ref()
    }

    fn mark(&self) -> Option<Arc<ProxyDigest>> {
        self.inner()?.get_proxy_digest()
    }

    fn inner_mut(&mut self) -> &mut Stream {
        self.inner.as_mut().expect(TAKEN)
    }

    /// Sends what waits.
    fn empty(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.out.empty(self.inner.as_mut().expect(TAKEN), cx)
    }

    /// Sends what waits as far as that can be done at once.
    fn hurry(&mut self) {
        if let Some(stream) = &mut self.inner {
            self.out.hurry(stream);
        }
    }

    /// Whether more was cleared.
    fn clear_kept(&mut self) -> bool {
        let begins = self.wire.is_between();
        match self.wire.clear(&self.kept, &self.limits) {
            Ok(cleared) => {
                self.cleared = cleared;
                self.note(begins, cleared);
                cleared > 0
            }
            Err(fault) => self.fail(fault, begins),
        }
    }

    fn note(&mut self, begins: bool, cleared: usize) {
        match (begins, cleared) {
            (_, 0) => {}
            (true, _) => self.clock.restart(),
            (false, _) => self.clock.came(cleared),
        }
    }

    /// From here on nothing of the client is handed on. `begins`: its head was not, either. Always true: there is
    /// something to tell.
    fn fail(&mut self, fault: Fault, begins: bool) -> bool {
        (self.fault, self.stands_in) = (Some(fault), begins);
        self.kept.clear();
        if begins {
            self.kept.extend_from_slice(STAND_IN);
        }
        self.cleared = self.kept.len();
        true
    }

    /// Whoever waits for the client has nothing more for it at the moment: what was written leaves. How that ends is told to
    /// whoever writes next.
    fn nothing_more(&mut self, cx: &mut Context<'_>) {
        if !self.out.is_empty() {
            let _ = self.empty(cx);
        }
    }

    /// Hands on what was cleared.
    fn hand_on(&mut self, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let count = self.cleared.min(out.remaining());
        out.put_slice(&self.kept[..count]);
        self.kept.advance(count);
        self.cleared -= count;
        Poll::Ready(Ok(()))
    }

    /// The end of a connection with a fault: after the stand-in it is quiet, in a body it is an error.
    fn over(&self) -> Poll<io::Result<()>> {
        match self.stands_in {
            true => Poll::Ready(Ok(())),
            false => Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "the client's body has a fault"))),
        }
    }

    /// Nothing has come. Ready: that was so for too long.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (awaited, detail) = match (self.wire.is_between(), self.kept.is_empty()) {
            (true, true) => (Awaited::Request, ""),
            (true, false) => (Awaited::Head, "the head took too long to arrive"),
            (false, _) if self.wire.is_in_body() => (Awaited::Body, "the body took too long to arrive"),
            (false, _) => return Poll::Pending,
        };
        if !self.clock.is_over(cx, awaited, &self.limits) {
            return Poll::Pending;
        }
        if awaited != Awaited::Request {
            self.fail(Fault::slow(detail), awaited == Awaited::Head);
        }
        Poll::Ready(())
    }

    /// Reads straight into the reader's buffer: the everyday path, without a copy. True: there is something for it.
    fn read_straight(&mut self, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<bool>> {
        let before = out.filled().len();
        ready!(Pin::new(self.inner_mut()).poll_read(cx, out))?;
        let (begins, came) = (self.wire.is_between(), out.filled().len() - before);
        if came == 0 {
            return Poll::Ready(Ok(true));
        }
        let fresh = &out.filled()[before..];
        let cleared = match self.wire.clear(fresh, &self.limits) {
            Ok(cleared) => {
                if cleared < came {
                    self.kept.extend_from_slice(&fresh[cleared..]);
                }
                self.note(begins, cleared);
                cleared
            }
            Err(fault) => {
                self.fail(fault, begins);
                0
            }
        };
        out.set_filled(before + cleared);
        Poll::Ready(Ok(cleared > 0))
    }

    /// Reads more of what is kept. False: it is the end.
    fn read_kept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        // Every probe comes by here: filling the piece with zeros would cost more than looking at a head.
        let mut piece = [MaybeUninit::uninit(); 4096];
        let mut buffer = ReadBuf::uninit(&mut piece);
        ready!(Pin::new(self.inner_mut()).poll_read(cx, &mut buffer))?;
        self.kept.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(!buffer.filled().is_empty()))
    }

    /// Where no body is awaited, a reader that has room for one byte wants to know whether the client is still there, and
    /// would lose the byte. After a head that asks for a WebSocket, that is until the answer has come: what the client sent
    /// ahead of it belongs to the tunnel, or to nobody.
    fn read_probe(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.kept.len() <= self.limits.head {
            if !ready!(self.read_kept(cx))? {
                return Poll::Ready(Ok(()));
            }
        }
        // Whoever sends that much ahead is there. The reader is woken by what it does meanwhile.
        Poll::Pending
    }
}

impl AsyncRead for Guard {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let guard = self.get_mut();
        loop {
            if guard.cleared > 0 {
                return guard.hand_on(out);
            }
            if guard.fault.is_some() {
                return guard.over();
            }
            if !guard.wire.is_in_body() && out.remaining() == 1 {
                let probed = guard.read_probe(cx);
                if probed.is_pending() {
                    guard.nothing_more(cx);
                }
                return probed;
            }
            if !guard.kept.is_empty() && guard.clear_kept() {
                continue;
            }
            let read = match guard.kept.is_empty() {
                true => match guard.read_straight(cx, out) {
                    Poll::Ready(Ok(true)) => return Poll::Ready(Ok(())),
                    read => read.map_ok(|_| true),
                },
                false => guard.read_kept(cx),
            };
            match read {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) => return Poll::Ready(Ok(())),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    guard.nothing_more(cx);
                    ready!(guard.wait(cx));
                    if guard.fault.is_none() {
                        return Poll::Ready(Ok(()));
                    }
                }
            }
        }
    }
}

impl AsyncWrite for Guard {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let guard = self.get_mut();
        let stream = guard.inner.as_mut().expect(TAKEN);
        let written = guard.out.write(stream, cx, bytes);
        guard.stall.watch(cx, &guard.limits, written)
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let guard = self.get_mut();
        let stream = guard.inner.as_mut().expect(TAKEN);
        let written = guard.out.write_all_of(stream, cx, bytes);
        guard.stall.watch(cx, &guard.limits, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.as_ref().is_some_and(|inner| inner.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let guard = self.get_mut();
        let flushed = match guard.empty(cx) {
            Poll::Ready(Ok(())) => Pin::new(guard.inner_mut()).poll_flush(cx),
            waits => waits,
        };
        guard.stall.watch(cx, &guard.limits, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.goes_on() {
            return Poll::Ready(Ok(()));
        }
        let guard = self.get_mut();
        let emptied = guard.empty(cx);
        ready!(guard.stall.watch(cx, &guard.limits, emptied))?;
        Pin::new(guard.inner_mut()).poll_shutdown(cx)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.hurry();
        let Some(inner) = self.inner.take() else { return };
        if let Some(tunnel) = self.tunnel.take().filter(|tunnel| tunnel.is_open()) {
            let (wire, clock) = (std::mem::replace(&mut self.wire, Wire::new()), Clock::new());
            let (kept, stall, limits) = (std::mem::take(&mut self.kept), Stall::default(), self.limits.clone());
            let (cleared, fault, stands_in, out) = (self.cleared, self.fault, self.stands_in, std::mem::take(&mut self.out));
            tunnel.leave_client(Guard {
                inner: Some(inner),
                limits,
                wire,
                kept,
                cleared,
                fault,
                stands_in,
                clock,
                stall,
                out,
                tunnel: None,
                begun: Mutex::default(),
            });
            return;
        }
        if self.fault.is_none() {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(linger(inner));
        }
    }
}

async fn linger(mut stream: Stream) {
    let read = async {
        let _ = AsyncWriteExt::shutdown(&mut stream).await;
        let (mut piece, mut read) = (vec![0; 16 << 10], 0);
        while read < LINGERED {
            match stream.read(&mut piece).await {
                Ok(count) if count > 0 => read += count,
                _ => return,
            }
        }
    };
    let _ = tokio::time::timeout(LINGER, read).await;
}

pass_on!(Guard, |inner: Option<&Stream>| inner?.selected_alpn_proto());
