//! A client's HTTP/2 connection, guarded: frames are looked at as they pass, and a client that is too slow or makes work
//! for nothing is left, with a word (GOAWAY) where one can be said. What stands in requests is the business of `harden`.
//!
//! Of a body that is too slow, the stream alone is ended, by its reader: between two frames that hears something for which it must
//! reset the stream and nothing else, so that what the client sends before it knows is overlooked.

use std::borrow::Cow;
use std::collections::HashSet;
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
use super::frames::{Frames, Kind};
use super::pass_on::pass_on;
use super::stall::Stall;
use crate::config::Limits;
use crate::metrics::metrics;

/// How often the clock is looked at while something is waited for.
const TICK: Duration = Duration::from_millis(250);
/// Calm down: the last stream is not said, as we do not know it (RFC 9113, 6.8 and 7).
const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0xb];

/// Why a client's stream was reset: it should calm down.
const CALM: [u8; 4] = [0, 0, 0, 0xb];

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
    /// What comes next for the reader: frames that are not the client's, and what came after them.
    added: BytesMut,
    /// Streams that were given up, and that were not reset yet.
    given_up: HashSet<u32>,
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
            given_up: HashSet::new(),
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

    /// The last place among these bytes where another frame may stand.
    fn hear(&mut self, bytes: &[u8]) -> Option<usize> {
        let (now, limits, conduct, fault) = (Instant::now(), &self.limits, &mut self.conduct, &mut self.fault);
        let waits_for_preface = !self.heard.has_begun();
        let place = self.heard.pass(bytes, |frame, _| {
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
        place
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

    /// Ends the streams whose bodies are too slow, if that can be said somewhere; the connection, if its client does not end a frame.
    fn give_up(&mut self, somewhere: bool) {
        let calls = self.calls.count();
        if somewhere {
            for stream in self.conduct.give_up(calls, &self.limits) {
                metrics().left.with_label_values(&["slow_body"]).inc();
                self.added.extend_from_slice(&undone(stream));
                self.given_up.insert(stream);
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

    /// What is written, but where it resets streams that were given up: whoever writes it does not know why. (What was cut within
    /// such a frame says that there was an error. It ends the stream as well.)
    fn calmed<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let mut calmed = Cow::Borrowed(bytes);
        if !self.given_up.is_empty() {
            self.said.clone().pass(bytes, |frame, at| {
                let ends = frame.kind == Kind::Reset && self.given_up.contains(&frame.stream);
                if ends && let Some(code) = calmed.to_mut().get_mut(at..at + CALM.len()) {
                    code.copy_from_slice(&CALM);
                }
            });
        }
        calmed
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

/// A frame for which its reader must reset a stream, whatever state that is in: the stream depends on itself (RFC 7540, 5.3.1).
fn undone(stream: u32) -> [u8; 14] {
    let [a, b, c, d] = stream.to_be_bytes();
    [0, 0, 5, 2, 0, a, b, c, d, a, b, c, d, 0]
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
            let place = match &read {
                Poll::Ready(Ok(())) => guard.hear(&out.filled()[before..]),
                Poll::Ready(Err(_)) => return read,
                Poll::Pending => {
                    ready!(guard.wait(cx));
                    guard.heard.is_between().then_some(0)
                }
            };
            guard.give_up(place.is_some());
            if let Some(why) = guard.fault {
                out.set_filled(before);
                return guard.leave(cx, why);
            }
            if let Some(place) = place.filter(|_| !guard.added.is_empty()) {
                guard.added.extend_from_slice(&out.filled()[before + place..]);
                out.set_filled(before + place);
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
        let calmed = guard.calmed(bytes);
        let written = Pin::new(&mut guard.inner).poll_write(cx, &calmed);
        if let Poll::Ready(Ok(count)) = &written {
            let (conduct, given_up) = (&mut guard.conduct, &mut guard.given_up);
            guard.said.pass(&bytes[..*count], |frame, _| {
                conduct.answer(frame);
                if frame.kind == Kind::Reset {
                    given_up.remove(&frame.stream);
                }
            });
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use http::{Method, Response};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
    use tokio::sync::watch;
    use tokio::time::timeout;

    use super::{CALM, Multiplexed};
    use crate::config::Limits;
    use crate::harden::PREFACE;

    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const RESET: u8 = 3;
    const SETTINGS: u8 = 4;
    const GOAWAY: u8 = 7;
    const WINDOW: u8 = 8;
    const END_STREAM: u8 = 1;
    const END_HEADERS: u8 = 4;
    /// Heads of requests for `/` at `a` (RFC 7541, appendix A).
    const POST: [u8; 6] = [0x83, 0x86, 0x84, 0x01, 1, b'a'];
    const GET: [u8; 6] = [0x82, 0x86, 0x84, 0x01, 1, b'a'];

    fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
    }

    /// A client, whose patience with bodies is short, of a server that answers to GET and lets go of nothing.
    async fn client() -> DuplexStream {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        let limits = Arc::new(Limits { body_patience: Duration::from_millis(300), ..Limits::default() });
        let guard = Multiplexed::new(Box::new(server), limits, watch::Sender::new(false));
        tokio::spawn(async move {
            let mut connection = h2::server::handshake(guard).await.expect("a handshake");
            let mut held = Vec::new();
            while let Some(Ok((request, mut answer))) = connection.accept().await {
                if request.method() == Method::GET {
                    answer.send_response(Response::new(()), true).expect("answered");
                }
                held.push((request, answer));
            }
        });
        client.write_all(&[&PREFACE[..], &frame(SETTINGS, 0, 0, &[])].concat()).await.expect("begun");
        client
    }

    /// The next frame of a kind, and its stream; no `GOAWAY` comes before it.
    async fn next(client: &mut DuplexStream, kind: u8) -> (u8, Vec<u8>) {
        loop {
            let mut head = [0; 9];
            timeout(Duration::from_secs(20), client.read_exact(&mut head)).await.expect("it comes").expect("it goes on");
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            client.read_exact(&mut payload).await.expect("a payload");
            assert_ne!(head[3], GOAWAY, "{payload:?}");
            if head[3] == kind {
                return (head[8], payload);
            }
        }
    }

    #[tokio::test]
    async fn what_comes_late_of_a_stream_that_was_given_up_is_overlooked() {
        let mut client = client().await;
        client.write_all(&frame(HEADERS, END_HEADERS, 1, &POST)).await.expect("asked");
        assert_eq!(next(&mut client, RESET).await, (1, CALM.to_vec()));
        // More than half of the connection's window, and trailers.
        let late = [frame(DATA, 0, 1, &[0; 16_000]).repeat(3), frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0, 1, b'x', 1, b'y'])];
        client.write_all(&late.concat()).await.expect("sent");
        let (stream, window) = next(&mut client, WINDOW).await;
        assert_eq!((stream, window.len()), (0, 4), "it may be sent again");
        client.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &GET)).await.expect("asked");
        assert_eq!(next(&mut client, HEADERS).await.0, 3);
    }

    /// Whoever sends much is heard in pieces that end anywhere.
    #[tokio::test]
    async fn a_stream_is_given_up_between_two_frames_of_which_one_is_read_by_halves() {
        let mut client = client().await;
        let heads = [frame(HEADERS, END_HEADERS, 1, &POST), frame(HEADERS, END_HEADERS, 3, &POST)].concat();
        let piece = frame(DATA, 0, 3, &[0; 1_000]);
        client.write_all(&[&heads, &piece[..500]].concat()).await.expect("asked");
        let reset = loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            client.write_all(&[&piece[500..], &piece[..500]].concat()).await.expect("it goes on");
            if let Ok(reset) = timeout(Duration::from_millis(1), next(&mut client, RESET)).await {
                break reset;
            }
        };
        assert_eq!(reset, (1, CALM.to_vec()));
        let rest = [&piece[500..], &frame(HEADERS, END_HEADERS | END_STREAM, 5, &GET)].concat();
        client.write_all(&rest).await.expect("sent");
        assert_eq!(next(&mut client, HEADERS).await.0, 5);
    }
}
