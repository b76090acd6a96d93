//! The upstream's end of a connection that one request has for itself: a tunnel, or one with deadlines of its own. (The
//! others are pooled, and pingora's single time-out for reading is enough for them.)
//!
//! Of a tunnel: pingora reads the answer and sends the end of the (empty) request body in whichever order it finds them
//! ready. Where the upstream has answered 101 before that end was sent, it takes the end for the end of the tunnel and
//! closes it (cloudflare/pingora#946). So nothing is read here before whoever wrote has had its turn: the end of the body
//! waits in a queue when the head is written, and is sent in that turn.

use std::fmt::Debug;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use pingora::connectors::L4Connect;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora::{ErrorType, OkOrErr as _, OrErr as _, Result};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, Sleep, sleep_until};

use super::deadlines::Clock;

/// Connects one request.
#[derive(Debug)]
pub(super) struct Connect {
    /// It asks for a tunnel.
    pub(super) tunnel: bool,
    /// Its deadlines, if they are its own.
    pub(super) clock: Option<Arc<Clock>>,
}

#[async_trait]
impl L4Connect for Connect {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let failed = "to an upstream, for one request";
        let line: Box<dyn VirtualSocket> = match address {
            SocketAddr::Inet(address) => {
                let socket = TcpStream::connect(address).await.or_err(ErrorType::ConnectError, failed)?;
                let _ = socket.set_nodelay(true);
                Box::new(self.line(socket))
            }
            SocketAddr::Unix(address) => {
                let path = address.as_pathname().or_err(ErrorType::InternalError, "a Unix socket without a path")?;
                Box::new(self.line(UnixStream::connect(path).await.or_err(ErrorType::ConnectError, failed)?))
            }
        };
        Ok(Stream::from(VirtualSocketStream::new(line)))
    }
}

impl Connect {
    fn line<S>(&self, socket: S) -> Line<S> {
        Line { socket, tunnel: self.tunnel, wrote: false, timer: self.clock.clone().map(Timer::start) }
    }
}

/// The connection.
#[derive(Debug)]
struct Line<S> {
    socket: S,
    tunnel: bool,
    wrote: bool,
    timer: Option<Timer>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Line<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.wrote) && self.tunnel {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(cx, buf);
        let moved = read.is_ready() && buf.filled().len() > before;
        if let Some(timer) = &mut self.timer {
            ready!(timer.check(moved, read.is_pending(), cx))?;
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Line<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.wrote = true;
        let written = Pin::new(&mut self.socket).poll_write(cx, buf);
        if let Some(timer) = &mut self.timer {
            ready!(timer.check(written.is_ready(), written.is_pending(), cx))?;
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + Sync + Debug> VirtualSocket for Line<S> {
    /// Set when it was made, where it means something. Whoever has a line of its own has its own bound on silence.
    fn set_socket_option(&self, _: VirtualSockOpt) -> io::Result<()> {
        Ok(())
    }
}

/// Ends a connection whose time is up.
#[derive(Debug)]
struct Timer {
    clock: Arc<Clock>,
    /// When something last moved.
    moved: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl Timer {
    fn start(clock: Arc<Clock>) -> Timer {
        let now = Instant::now();
        Timer { clock, moved: now, sleep: Box::pin(sleep_until(now)) }
    }

    /// `Pending`: wait. An error: no longer.
    fn check(&mut self, moved: bool, waits: bool, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let now = Instant::now();
        if moved {
            self.moved = now;
        }
        let due = self.clock.due(self.moved.into_std());
        if due.is_some_and(|due| now.into_std() >= due) {
            self.clock.run_out();
            return Poll::Ready(Err(io::Error::from(io::ErrorKind::TimedOut)));
        }
        if !waits {
            return Poll::Ready(Ok(()));
        }
        if let Some(due) = due {
            self.sleep.as_mut().reset(Instant::from_std(due));
            // Registered; had it come meanwhile, this would be called again at once.
            if self.sleep.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
        }
        Poll::Pending
    }
}
