//! The upstream's end of a connection that becomes a tunnel.
//!
//! pingora reads the answer and sends the end of the (empty) request body in whichever order it finds them ready. Where
//! the upstream has answered 101 before that end was sent, it takes the end for the end of the tunnel and closes it
//! (cloudflare/pingora#946). So nothing is read here before whoever wrote has had its turn: the end of the body waits in
//! a queue when the head is written, and is sent in that turn.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use pingora::connectors::L4Connect;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora::{Error, ErrorType, OrErr as _, Result};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Connects requests that ask for an upgrade.
#[derive(Debug)]
pub(crate) struct Connect;

#[async_trait]
impl L4Connect for Connect {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let SocketAddr::Inet(address) = address else {
            return Error::e_explain(ErrorType::InternalError, "an upstream has a TCP address");
        };
        let socket = TcpStream::connect(address).await.or_err(ErrorType::ConnectError, "to an upstream that may upgrade")?;
        Ok(Stream::from(VirtualSocketStream::new(Box::new(Polite { socket, wrote: false }))))
    }
}

/// Reads only in the turn after the one in which it wrote.
#[derive(Debug)]
struct Polite {
    socket: TcpStream,
    wrote: bool,
}

impl AsyncRead for Polite {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.wrote) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Polite {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.wrote = true;
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl VirtualSocket for Polite {
    fn set_socket_option(&self, option: VirtualSockOpt) -> io::Result<()> {
        match option {
            VirtualSockOpt::NoDelay => self.socket.set_nodelay(true),
            // The silence that a tunnel is allowed has its own bound.
            _ => Ok(()),
        }
    }
}
