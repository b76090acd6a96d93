//! A tunnel that is open: bytes between a client and an upstream, until one of them ends it, or neither says anything for too
//! long. Pingora asks for it, and passes on the 101; then it would keep all that a request needs, some fifty KiB, for a
//! WebSocket that is mostly idle. So its part ends there: to it, the upstream looks as if it had closed. Both connections come
//! together in a [`Tunnel`] when it lets go of them, and a small task carries on, without a buffer while nothing moves. Neither
//! direction waits for the other, as they do in pingora: whoever sends and does not read meanwhile must not stop both.

use std::fmt::{self, Debug, Formatter};
use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::Instant;

use crate::carried::Carried;
use crate::gateway::Inner;
use crate::harden::Guard;
use crate::observe::{self, Sizes};

/// What is read at once. It is on the stack while it moves.
const PIECE: usize = 16 << 10;
/// Pieces that a direction moves before the other one has its turn.
const PIECES: usize = 8;
/// How long an end may take to be said, and to be heard.
const ENDING: Duration = Duration::from_secs(1);

/// A connection.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin + Send + Sync + Debug {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + Sync + Debug> Wire for T {}

/// Where the ends of a tunnel come together.
#[derive(Default)]
pub(crate) struct Tunnel(Mutex<State>);

#[derive(Default)]
struct State {
    stage: Stage,
    /// Whoever waits for the upstream to say something.
    waits: Option<Waker>,
    client: Option<Box<Guard>>,
    server: Option<Box<dyn Wire>>,
    carried: Option<(Box<Carried>, Sizes)>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    /// There is none.
    #[default]
    None,
    /// The upstream is asked for one.
    Asked,
    /// The upstream has agreed.
    Open,
}

impl Tunnel {
    /// An upstream is asked for one.
    pub(crate) fn ask(&self) {
        *self.state() = State { stage: Stage::Asked, ..State::default() };
    }

    /// The upstream has agreed.
    pub(crate) fn open(&self) {
        let mut state = self.state();
        if state.stage == Stage::Asked {
            state.stage = Stage::Open;
            state.waits.take().into_iter().for_each(Waker::wake);
        }
    }

    /// Whether pingora's part is over, or will be when it has noticed.
    pub(crate) fn is_open(&self) -> bool {
        self.state().stage == Stage::Open
    }

    /// The same, and wakes whoever asks when it becomes so.
    pub(crate) fn opens(&self, cx: &Context<'_>) -> bool {
        let mut state = self.state();
        state.waits = Some(cx.waker().clone());
        state.stage == Stage::Open
    }

    /// Nothing comes of it.
    pub(crate) fn close(&self) {
        *self.state() = State::default();
    }

    /// Pingora has let go of the client.
    pub(crate) fn leave_client(&self, client: Guard) {
        self.state().client = Some(Box::new(client));
    }

    /// Pingora has let go of the upstream.
    pub(crate) fn leave_server(&self, server: Box<dyn Wire>) {
        self.state().server = Some(server);
    }

    /// Pingora is done with the request; it moved so many bytes itself.
    pub(crate) fn leave_carried(&self, carried: Box<Carried>, sizes: Sizes) {
        self.state().carried = Some((carried, sizes));
    }

    /// The tunnel, once all of it is there.
    pub(crate) fn take(&self) -> Option<Open> {
        let State { stage: Stage::Open, client, server, carried, .. } = std::mem::take(&mut *self.state()) else { return None };
        let (carried, sizes) = carried?;
        Some(Open { client: client?, server: server?, carried, sizes })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Debug for Tunnel {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "Tunnel({:?})", self.state().stage)
    }
}

/// A tunnel without pingora.
pub(crate) struct Open {
    client: Box<Guard>,
    server: Box<dyn Wire>,
    carried: Box<Carried>,
    sizes: Sizes,
}

impl Open {
    /// Carries it to its end. `held` is let go of then.
    pub(crate) async fn carry(mut self, gateway: Arc<Inner>, held: impl Send) {
        let mut flows = Flows::default();
        flows.run(&mut *self.client, &mut *self.server, self.carried.silence).await;
        let _ = tokio::time::timeout(ENDING, end(&mut *self.client, &mut *self.server)).await;
        let sizes = Sizes { received: self.sizes.received + flows.up.bytes, sent: self.sizes.sent + flows.down.bytes };
        observe::finish(&gateway, sizes, &mut self.carried, false);
        drop((self, held));
    }
}

/// Tells both. A client that talks on is heard until it has taken note: what is left unread when a connection is closed makes
/// the system reset it, and forget what the client has not read yet.
async fn end(client: &mut (impl Wire + ?Sized), server: &mut (impl Wire + ?Sized)) {
    let (told, _) = tokio::join!(client.shutdown(), server.shutdown());
    let mut unheard = [0; 1 << 10];
    while told.is_ok() && client.read(&mut unheard).await.is_ok_and(|count| count > 0) {}
}

/// Both directions of a tunnel.
#[derive(Debug, Default)]
struct Flows {
    up: Flow,
    down: Flow,
    /// The upstream takes nothing any more. What it said before that is still passed on.
    deaf: bool,
}

impl Flows {
    /// Until one end has ended or broken, or nothing has moved for `silence`.
    async fn run(&mut self, client: &mut (impl Wire + ?Sized), server: &mut (impl Wire + ?Sized), silence: Duration) {
        let (mut moved, mut quiet) = (Instant::now(), pin!(tokio::time::sleep(silence)));
        poll_fn(|cx| {
            let before = self.bytes();
            let ended = self.pour(cx, client, server).is_ready();
            if self.bytes() > before {
                moved = Instant::now();
            }
            while !ended && quiet.as_mut().poll(cx).is_ready() {
                let due = moved + silence;
                if Instant::now() >= due {
                    return Poll::Ready(());
                }
                quiet.as_mut().reset(due);
            }
            if ended { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    fn bytes(&self) -> u64 {
        self.up.bytes + self.down.bytes
    }

    /// Moves what there is, both ways. Ready: it is over.
    fn pour(&mut self, cx: &mut Context<'_>, client: &mut (impl Wire + ?Sized), server: &mut (impl Wire + ?Sized)) -> Poll<()> {
        let mut gone = false;
        if !self.deaf {
            match self.up.pour(cx, client, server) {
                Poll::Ready(Err(Broken::Target)) => self.deaf = true,
                Poll::Ready(_) => gone = true,
                Poll::Pending => {}
            }
        }
        if self.down.pour(cx, server, client).is_ready() || gone { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Which end of a direction does not work any more.
#[derive(Debug, PartialEq, Eq)]
enum Broken {
    Source,
    Target,
}

/// One direction of a tunnel.
#[derive(Debug, Default)]
struct Flow {
    /// What was read and could not be written at once.
    left: Bytes,
    /// Something was written that may not be on its way yet.
    dirty: bool,
    /// Its source has ended.
    ended: bool,
    /// Read so far.
    bytes: u64,
}

impl Flow {
    /// Moves what there is, as far as it is its turn. Ready: its source has ended and all was passed on, or one of them broke.
    fn pour(&mut self, cx: &mut Context<'_>, from: &mut (impl Wire + ?Sized), to: &mut (impl Wire + ?Sized)) -> Poll<Result<(), Broken>> {
        let (mut from, mut to) = (Pin::new(from), Pin::new(to));
        for _ in 0..PIECES {
            while !self.left.is_empty() {
                let count = ready!(to.as_mut().poll_write(cx, &self.left)).map_err(|_| Broken::Target)?;
                if count == 0 {
                    return Poll::Ready(Err(Broken::Target));
                }
                self.left.advance(count);
                self.dirty = true;
            }
            self.left = Bytes::new();
            if self.dirty {
                ready!(to.as_mut().poll_flush(cx)).map_err(|_| Broken::Target)?;
                self.dirty = false;
            }
            if self.ended {
                return Poll::Ready(Ok(()));
            }
            let mut piece = [MaybeUninit::uninit(); PIECE];
            let mut piece = ReadBuf::uninit(&mut piece);
            ready!(from.as_mut().poll_read(cx, &mut piece)).map_err(|_| Broken::Source)?;
            let piece = piece.filled();
            self.bytes += piece.len() as u64;
            self.ended = piece.is_empty();
            // Mostly it goes at once, and nothing is kept.
            let written = match to.as_mut().poll_write(cx, piece) {
                _ if piece.is_empty() => 0,
                Poll::Ready(count) => count.map_err(|_| Broken::Target)?,
                Poll::Pending => 0,
            };
            self.dirty |= written > 0;
            self.left = Bytes::copy_from_slice(&piece[written..]);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// An end of a tunnel that has something to say, piece by piece, and takes what it is told, or not.
    #[derive(Debug, Default)]
    struct End {
        says: Vec<&'static [u8]>,
        /// It says the same for ever.
        talks: bool,
        /// It says nothing, and does not end.
        quiet: bool,
        /// So many times it cannot take anything just now.
        busy: usize,
        broken: bool,
        heard: Vec<u8>,
    }

    impl AsyncRead for End {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            if self.quiet {
                return Poll::Pending;
            }
            if self.talks {
                buffer.put_slice(b"still here ");
            } else if !self.says.is_empty() {
                let piece = self.says.remove(0);
                buffer.put_slice(piece);
            }
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for End {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, piece: &[u8]) -> Poll<io::Result<usize>> {
            if self.broken {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            if self.busy > 0 {
                self.busy -= 1;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.heard.extend_from_slice(piece);
            Poll::Ready(Ok(piece.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn what_an_upstream_said_arrives_although_it_takes_nothing_any_more() {
        let mut client = End { talks: true, busy: 3, ..End::default() };
        let mut server = End { says: vec![b"last ", b"words"], broken: true, ..End::default() };
        let mut flows = Flows::default();
        poll_fn(|cx| flows.pour(cx, &mut client, &mut server)).await;
        assert_eq!(client.heard, b"last words");
    }

    #[tokio::test]
    async fn a_client_that_never_stops_keeps_nothing_from_coming_down() {
        let mut client = End { talks: true, ..End::default() };
        let mut server = End { says: vec![b"one ", b"two"], ..End::default() };
        let mut flows = Flows::default();
        poll_fn(|cx| flows.pour(cx, &mut client, &mut server)).await;
        assert_eq!(client.heard, b"one two");
        assert!(!server.heard.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_tunnel_may_be_quiet_for_as_long_as_its_route_says() {
        for hours in [1, 3] {
            let ends = || End { quiet: true, ..End::default() };
            let (silence, begun) = (Duration::from_secs(hours * 3600), Instant::now());
            Flows::default().run(&mut ends(), &mut ends(), silence).await;
            assert_eq!(begun.elapsed().as_secs(), silence.as_secs());
        }
    }
}
