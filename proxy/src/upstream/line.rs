//! The upstream's end of a connection that one request has for itself: a tunnel, or one with deadlines of its own. (The
//! others are pooled, and pingora's single time-out for reading is enough for them.)
//!
//! Of a tunnel: pingora reads the answer and sends the end of the (empty) request body in whichever order it finds them
//! ready. Where the upstream has answered 101 before that end was sent, it takes the end for the end of the tunnel and
//! closes it (cloudflare/pingora#946). So nothing is read here before whoever wrote has had its turn: the end of the body
//! waits in a queue when the head is written, and is sent in that turn. Once a tunnel is open, this end says that it is over
//! and goes where the client's end goes ([`crate::tunnel`]).

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
use crate::transport::Cipher;
use crate::tunnel::{Tunnel, Wire};

/// Connects one request.
#[derive(Debug)]
pub(super) struct Connect {
    /// It asks for a tunnel.
    pub(super) tunnel: bool,
    /// Where it goes once the tunnel is open, if it may be taken from pingora.
    pub(super) apart: Option<Arc<Tunnel>>,
    /// Its deadlines, if they are its own.
    pub(super) clock: Option<Arc<Clock>>,
    /// TLS, if the tunnel goes inside it.
    pub(super) cipher: Option<Cipher>,
}

#[async_trait]
impl L4Connect for Connect {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let failed = "to an upstream, for one request";
        let line: Box<dyn VirtualSocket> = match address {
            SocketAddr::Inet(address) => {
                let socket = TcpStream::connect(address).await.or_err(ErrorType::ConnectError, failed)?;
                let _ = socket.set_nodelay(true);
                Box::new(self.line(socket).await?)
            }
            SocketAddr::Unix(address) => {
                let path = address.as_pathname().or_err(ErrorType::InternalError, "a Unix socket without a path")?;
                Box::new(self.line(UnixStream::connect(path).await.or_err(ErrorType::ConnectError, failed)?).await?)
            }
        };
        Ok(Stream::from(VirtualSocketStream::new(line)))
    }
}

impl Connect {
    async fn line(&self, socket: impl Wire + 'static) -> Result<Line> {
        let socket: Box<dyn Wire> = match &self.cipher {
            Some(cipher) => Box::new(cipher.shake(socket).await.or_err(ErrorType::TLSHandshakeFailure, "for a tunnel")?),
            None => Box::new(socket),
        };
        let (timer, apart) = (self.clock.clone().map(Timer::start), self.apart.clone());
        Ok(Line { socket: Some(socket), tunnel: self.tunnel, wrote: false, timer, apart })
    }
}

/// The connection.
#[derive(Debug)]
struct Line {
    /// `None` once it is dropped.
    socket: Option<Box<dyn Wire>>,
    tunnel: bool,
    wrote: bool,
    timer: Option<Timer>,
    apart: Option<Arc<Tunnel>>,
}

impl Line {
    fn socket(&mut self) -> Pin<&mut Box<dyn Wire>> {
        Pin::new(self.socket.as_mut().expect("taken only when dropped"))
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(tunnel) = self.apart.take().filter(|tunnel| tunnel.is_open()) {
            let (socket, timer) = (self.socket.take(), self.timer.take());
            tunnel.leave_server(Box::new(Line { socket, tunnel: false, wrote: false, timer, apart: None }));
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.wrote) && self.tunnel {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.apart.as_ref().is_some_and(|tunnel| tunnel.opens(cx)) {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = self.socket().poll_read(cx, buf);
        let moved = read.is_ready() && buf.filled().len() > before;
        if let Some(timer) = &mut self.timer {
            ready!(timer.check(moved, read.is_pending(), cx))?;
        }
        read
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.wrote = true;
        let written = self.socket().poll_write(cx, buf);
        if let Some(timer) = &mut self.timer {
            ready!(timer.check(written.is_ready(), written.is_pending(), cx))?;
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.apart.as_ref().is_some_and(|tunnel| tunnel.is_open()) {
            return Poll::Ready(Ok(()));
        }
        self.socket().poll_shutdown(cx)
    }
}

impl VirtualSocket for Line {
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
