//! A connection to a server whose request has been sent and whose answer has begun, for pingora to read: it is given what has come
//! already, and what it sends, the same request, goes nowhere.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use pingora::protocols::Stream;
use pingora::protocols::raw_connect::ProxyDigest;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::harden::pass_on;

/// The connection.
#[derive(Debug)]
pub(super) struct Replay {
    stream: Stream,
    before: Bytes,
}

impl Replay {
    pub(super) fn new(stream: Stream, before: Bytes) -> Replay {
        Replay { stream, before }
    }

    /// The connection as it was, if all that had come was read. Otherwise its server has said more than it was asked.
    pub(super) fn into_inner(self) -> Option<Stream> {
        self.before.is_empty().then_some(self.stream)
    }

    fn inner(&self) -> Option<&Stream> {
        Some(&self.stream)
    }

    fn inner_mut(&mut self) -> &mut Stream {
        &mut self.stream
    }

    fn mark(&self) -> Option<Arc<ProxyDigest>> {
        self.stream.get_proxy_digest()
    }

    fn goes_on(&self) -> bool {
        false
    }

    fn hurry(&mut self) {}
}

impl AsyncRead for Replay {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.before.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let count = self.before.len().min(buffer.remaining());
        buffer.put_slice(&self.before[..count]);
        self.before.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Replay {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

pass_on!(Replay, |inner: Option<&Stream>| inner?.selected_alpn_proto());

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use pingora::protocols::l4::stream::Stream;
    use tokio::io::AsyncReadExt as _;
    use tokio::net::{TcpListener, TcpStream};

    use super::Replay;

    #[tokio::test]
    async fn a_connection_that_said_more_than_was_read_is_not_given_back() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        for (read, kept) in [(2, false), (6, true)] {
            let client = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("a connection");
            let mut replay = Replay::new(Box::new(Stream::from(client)), Bytes::from_static(b"answer"));
            replay.read_exact(&mut vec![0; read]).await.expect("what had come");
            assert_eq!(replay.into_inner().is_some(), kept, "{read}");
        }
    }
}
