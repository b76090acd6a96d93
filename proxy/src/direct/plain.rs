//! The client's side of a plain read: its head is read out of what the guard has found clear, and its answer is written in one
//! piece with as much of its body as is there. Has no body to read, and knows nothing of who answers.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, StatusCode, Uri, Version, request};
use memchr::memchr;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::date::get_cached_date;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{GetProxyDigest as _, GetSocketDigest as _, Shutdown, SocketDigest};
use pingora::{Error, ErrorType, OrErr as _, Result};
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};

use super::Begun;
use super::spelled::Spelled;
use crate::asked::Asked;
use crate::carried::Carried;
use crate::forward::Peer;
use crate::gateway::Inner;
use crate::harden::Guard;
use crate::observe::Sizes;

/// A plain read.
pub(crate) struct Plain {
    guard: Box<Guard>,
    /// Its head as it came.
    raw: Bytes,
    /// Without its headers once they are on the way.
    head: RequestHeader,
    under_way: bool,
    /// What its connection says, once that was asked.
    peer: Option<Peer>,
    /// Another request may come by its connection.
    persists: bool,
    written: Option<StatusCode>,
    framing: Framing,
    /// Bytes of the answer's body.
    sent: u64,
}

/// How the end of an answer's body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// So many bytes are to come.
    Length(u64),
    Chunked,
    /// It ends with the connection.
    Close,
}

impl Plain {
    /// Reads the head that waits at a guard. Without one: what pingora should look at.
    pub(super) fn read(mut guard: Box<Guard>, peer: Option<Peer>) -> Result<Plain, Box<Guard>> {
        let raw = Bytes::copy_from_slice(guard.head());
        let Some((head, persists)) = parsed(&raw) else { return Err(guard) };
        guard.take_head();
        let (under_way, written, framing, sent) = (false, None, Framing::Length(0), 0);
        Ok(Plain { guard, raw, head, under_way, peer, persists, written, framing, sent })
    }

    /// Leaves it to pingora's proxy, which goes on with it from here. Nothing was written.
    pub(super) fn hand_over(mut self, carried: Box<Carried>) -> Box<Guard> {
        let head = self.take_head(&carried.asked).into();
        self.guard.give_back(&self.raw, Begun { head, carried });
        self.guard
    }

    /// The guard of its connection.
    pub(crate) fn guard(&self) -> &Guard {
        &self.guard
    }

    /// What its connection says. The same for all requests on it.
    pub(crate) fn peer(&self, gateway: &Inner) -> Peer {
        self.peer.clone().unwrap_or_else(|| Peer::at(gateway, &*self.guard))
    }

    pub(super) fn remember(&mut self, peer: &Peer) {
        if self.peer.is_none() {
            self.peer = Some(peer.clone());
        }
    }

    pub(crate) fn socket(&self) -> Option<Arc<SocketDigest>> {
        self.guard.get_socket_digest()
    }

    pub(crate) fn mark(&self) -> Option<Arc<ProxyDigest>> {
        self.guard.get_proxy_digest()
    }

    /// Its head; without headers once they are on the way.
    pub(crate) fn head(&self) -> &RequestHeader {
        &self.head
    }

    pub(crate) fn head_mut(&mut self) -> &mut RequestHeader {
        &mut self.head
    }

    /// The head for an upstream. The first one gets what came, and whoever is asked after it a copy.
    pub(super) fn take_head(&mut self, asked: &Asked) -> request::Parts {
        let mut rest = parts(self.head.method.clone(), self.head.uri.clone());
        if std::mem::replace(&mut self.under_way, true) {
            rest.headers.clone_from(asked.headers());
            return rest;
        }
        std::mem::replace(&mut self.head, rest.into()).into()
    }

    /// No other request comes by its connection.
    pub(crate) fn ends(&mut self) {
        self.persists = false;
    }

    pub(crate) fn written(&self) -> Option<StatusCode> {
        self.written
    }

    pub(crate) fn sizes(&self) -> Sizes {
        Sizes { received: 0, sent: self.sent }
    }

    /// Ready when the client has left; what waits for it leaves meanwhile.
    pub(super) fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<Box<Error>> {
        let mut byte = [0];
        let when = if self.written.is_none() { "before its answer" } else { "within its answer" };
        Poll::Ready(match ready!(Pin::new(&mut *self.guard).poll_read(cx, &mut ReadBuf::new(&mut byte))) {
            Ok(()) => Error::explain(ErrorType::ConnectionClosed, when).into_down(),
            Err(error) => Error::because(ErrorType::ReadError, when, error).into_down(),
        })
    }

    /// Returns when the client has left.
    pub(super) async fn left(&mut self) -> Box<Error> {
        poll_fn(|cx| self.poll_left(cx)).await
    }

    /// Writes the head of an answer of our own. `end`: nothing comes after it.
    pub(crate) async fn write_own(&mut self, head: &ResponseHeader, end: bool) -> Result<()> {
        self.write_head(head, &Spelled::default()).await?;
        if end { self.finish().await.map(drop) } else { Ok(()) }
    }

    /// Writes the head of an answer, unless there is one.
    pub(super) async fn write_head(&mut self, head: &ResponseHeader, spelled: &Spelled) -> Result<()> {
        if self.written.is_some_and(|status| !status.is_informational()) {
            return Ok(());
        }
        let mut text = BytesMut::with_capacity(1024);
        let waits = head.headers.contains_key(header::CONTENT_LENGTH);
        let informs = head.status.is_informational();
        if !informs {
            self.framing = framing(&self.head.method, head);
            self.persists &= self.framing != Framing::Close;
        }
        put_status(&mut text, head);
        spelled.put(&mut text, head, !informs);
        if !informs {
            if !head.headers.contains_key(header::DATE) {
                text.put_slice(b"Date: ");
                text.put_slice(get_cached_date().as_bytes());
                text.put_slice(b"\r\n");
            }
            text.put_slice(if self.persists { b"Connection: keep-alive\r\n" } else { b"Connection: close\r\n" });
        }
        text.put_slice(b"\r\n");
        self.guard.write_all(&text).await.or_err(ErrorType::WriteError, "the head of an answer").map_err(Error::into_down)?;
        self.written = Some(head.status);
        // What says its length is seldom awaited piece by piece.
        if informs || !waits { self.flush().await } else { Ok(()) }
    }

    /// Writes a piece of the body, as far as it was announced.
    pub(crate) async fn write_piece(&mut self, piece: &[u8]) -> Result<()> {
        if piece.is_empty() {
            return Ok(());
        }
        let failed = "the body of an answer";
        match &mut self.framing {
            Framing::Length(left) => {
                let fits = usize::try_from(*left).unwrap_or(usize::MAX).min(piece.len());
                *left -= fits as u64;
                self.sent += fits as u64;
                self.guard.write_all(&piece[..fits]).await.or_err(ErrorType::WriteError, failed).map_err(Error::into_down)
            }
            Framing::Chunked => {
                let mut chunk = BytesMut::with_capacity(piece.len() + 20);
                chunk.put_slice(format!("{:X}\r\n", piece.len()).as_bytes());
                chunk.put_slice(piece);
                chunk.put_slice(b"\r\n");
                self.sent += piece.len() as u64;
                self.guard.write_all(&chunk).await.or_err(ErrorType::WriteError, failed).map_err(Error::into_down)?;
                self.flush().await
            }
            Framing::Close => {
                self.sent += piece.len() as u64;
                self.guard.write_all(piece).await.or_err(ErrorType::WriteError, failed).map_err(Error::into_down)?;
                self.flush().await
            }
        }
    }

    /// Whether no more of the body is to come.
    pub(super) fn is_whole(&self) -> bool {
        self.written.is_some_and(|status| !status.is_informational()) && self.framing == Framing::Length(0)
    }

    /// The answer has ended. False: before the end that was announced.
    pub(crate) async fn finish(&mut self) -> Result<bool> {
        let whole = match std::mem::replace(&mut self.framing, Framing::Length(0)) {
            Framing::Length(left) => left == 0,
            Framing::Chunked => {
                self.guard.write_all(b"0\r\n\r\n").await.or_err(ErrorType::WriteError, "the end of an answer").map_err(Error::into_down)?;
                true
            }
            Framing::Close => true,
        };
        self.persists &= whole;
        self.flush().await?;
        Ok(whole)
    }

    async fn flush(&mut self) -> Result<()> {
        self.guard.flush().await.or_err(ErrorType::WriteError, "an answer").map_err(Error::into_down)
    }

    /// Its connection, if another request may come by it.
    pub(super) async fn reuse(mut self) -> Option<(Box<Guard>, Option<Peer>)> {
        if !self.persists {
            Shutdown::shutdown(&mut *self.guard).await;
            return None;
        }
        Some((self.guard, self.peer))
    }
}

/// How an answer says where its body ends (RFC 9112, 6.3).
fn framing(method: &Method, head: &ResponseHeader) -> Framing {
    if *method == Method::HEAD || matches!(head.status.as_u16(), 204 | 304) {
        return Framing::Length(0);
    }
    let coded = head.headers.get_all(header::TRANSFER_ENCODING).iter().next_back();
    if coded.is_some_and(|coding| coding.as_bytes().rsplit(|byte| *byte == b',').next().is_some_and(is_chunked)) {
        return Framing::Chunked;
    }
    let said = head.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.split(',').next()?.trim().parse().ok());
    said.map_or(Framing::Close, Framing::Length)
}

fn is_chunked(coding: &[u8]) -> bool {
    coding.trim_ascii().eq_ignore_ascii_case(b"chunked")
}

fn put_status(text: &mut BytesMut, head: &ResponseHeader) {
    text.put_slice(if head.version == Version::HTTP_10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    text.put_slice(head.status.as_str().as_bytes());
    text.put_u8(b' ');
    text.put_slice(head.get_reason_phrase().unwrap_or_default().as_bytes());
    text.put_slice(b"\r\n");
}

/// A head that the guard found clear and plain, and whether its client wants the connection to go on. `None`: with something in it
/// that is read in more than one way.
fn parsed(raw: &Bytes) -> Option<(RequestHeader, bool)> {
    let start = if raw.starts_with(b"\r\n") { 2 } else { 0 };
    let end = start + memchr(b'\n', &raw[start..])?;
    let mut first = raw[start..end].split(|byte| matches!(byte, b' ' | b'\r'));
    let (method, target) = (first.next()?, first.next()?);
    let uri = Uri::from_maybe_shared(raw.slice_ref(target)).ok()?;
    if uri.path_and_query()?.as_str().as_bytes() != target || uri.authority().is_some() {
        return None;
    }
    let mut parts = parts(Method::from_bytes(method).ok()?, uri);
    let mut at = end + 1;
    let (mut persists, mut hosts) = (true, 0);
    loop {
        let length = memchr(b'\n', &raw[at..])?;
        let line = raw[at..at + length].strip_suffix(b"\r")?;
        if line.is_empty() {
            break;
        }
        let colon = memchr(b':', line)?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = line[colon + 1..].trim_ascii();
        // An empty one has no place in the buffer.
        let value = if value.is_empty() { Bytes::new() } else { raw.slice_ref(value) };
        let value = HeaderValue::from_maybe_shared(value).ok()?;
        hosts += usize::from(name == header::HOST);
        if name == header::CONNECTION {
            persists &= !says_close(value.as_bytes());
        }
        parts.headers.append(name, value);
        at += length + 1;
    }
    (hosts < 2).then(|| (parts.into(), persists))
}

fn parts(method: Method, uri: Uri) -> request::Parts {
    let (mut parts, ()) = http::Request::new(()).into_parts();
    (parts.method, parts.uri, parts.version) = (method, uri, Version::HTTP_11);
    parts
}

/// Whether a `Connection` says that it ends.
pub(super) fn says_close(connection: &[u8]) -> bool {
    connection.split(|byte| *byte == b',').any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
}

impl std::fmt::Debug for Plain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plain").finish_non_exhaustive()
    }
}
