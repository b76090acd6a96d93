//! A connection to a server whose request has been sent and whose answer has begun, for pingora to read: it is given what has come
//! already, and what it sends, the same request, goes nowhere.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use pingora::protocols::Stream;
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

    /// The connection as it was.
    pub(super) fn into_inner(self) -> Stream {
        self.stream
    }

    fn inner(&self) -> Option<&Stream> {
        Some(&self.stream)
    }

    fn inner_mut(&mut self) -> &mut Stream {
        &mut self.stream
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
