//! Whoever has sent a request, as the phases of [`crate::carry`] see it: a session of pingora's, or a plain read on a connection of
//! its own ([`Plain`]). Both say the same of a request; only one of them has a body.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::SocketDigest;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::proxy::Session;

use crate::direct::Plain;
use crate::forward::Peer;
use crate::gateway::Inner;
use crate::harden::{Calls, Guard, mark_of_socket};
use crate::observe::Sizes;

/// The client's side of a request.
pub(crate) enum Client<'a> {
    /// Any request.
    Any(&'a mut Session),
    /// A read that has no body and asks for nothing but its answer.
    Plain(&'a mut Plain),
}

impl Client<'_> {
    /// The guard of its connection; a stream by HTTP/2 has none of its own.
    pub(crate) fn guard(&self) -> Option<&Guard> {
        match self {
            Client::Any(session) => Guard::of(session),
            Client::Plain(plain) => Some(plain.guard()),
        }
    }

    /// What its connection says.
    pub(crate) fn peer(&self, gateway: &Inner) -> Peer {
        match self {
            Client::Any(session) => Peer::of(gateway, session),
            Client::Plain(plain) => plain.peer(gateway),
        }
    }

    /// What is known of its socket.
    pub(crate) fn socket(&self) -> Option<Arc<SocketDigest>> {
        match self {
            Client::Any(session) => session.digest()?.socket_digest.clone(),
            Client::Plain(plain) => plain.socket(),
        }
    }

    /// What its connection was marked with.
    pub(crate) fn mark(&self) -> Option<Arc<ProxyDigest>> {
        match self {
            Client::Any(session) => mark_of_socket(session.digest()?.proxy_digest.as_ref()?),
            Client::Plain(plain) => plain.mark(),
        }
    }

    /// The calls of gRPC on its connection, by HTTP/2.
    pub(crate) fn calls(&self) -> Option<&Arc<Calls>> {
        match self {
            Client::Any(session) => Calls::of(session.digest()?.proxy_digest.as_ref()?),
            Client::Plain(_) => None,
        }
    }

    /// The head of the request.
    pub(crate) fn head(&self) -> &RequestHeader {
        match self {
            Client::Any(session) => session.req_header(),
            Client::Plain(plain) => plain.head(),
        }
    }

    /// The same, to be changed.
    pub(crate) fn head_mut(&mut self) -> &mut RequestHeader {
        match self {
            Client::Any(session) => session.req_header_mut(),
            Client::Plain(plain) => plain.head_mut(),
        }
    }

    /// How long its connection may be silent is the guard's business, and how long a write may take is, but by HTTP/2: a guard
    /// cannot tell one stream's writes from another's.
    pub(crate) fn set_deadlines(&mut self, send_within: Duration) {
        if let Client::Any(session) = self {
            let send_within = session.is_http2().then_some(send_within);
            session.set_write_timeout(send_within);
            session.set_read_timeout(None);
        }
    }

    /// Silence of a tunnel's client is bounded here.
    pub(crate) fn set_silence(&mut self, silence: Duration) {
        if let Client::Any(session) = self {
            session.set_read_timeout(Some(silence));
        }
    }

    /// Whether it asks for a tunnel.
    pub(crate) fn is_upgrade(&self) -> bool {
        match self {
            Client::Any(session) => session.is_upgrade_req(),
            Client::Plain(_) => false,
        }
    }

    /// No other request comes by its connection.
    pub(crate) fn ends(&mut self) {
        match self {
            Client::Any(session) => session.set_keepalive(None),
            Client::Plain(plain) => plain.ends(),
        }
    }

    /// It goes on when its client is gone.
    pub(crate) fn outlives_client(&mut self) {
        if let Client::Any(session) = self {
            session.set_abort_on_close(false);
        }
    }

    /// What of its answer has been written: the last head's status.
    pub(crate) fn written(&self) -> Option<StatusCode> {
        match self {
            Client::Any(session) => session.response_written().map(|head| head.status),
            Client::Plain(plain) => plain.written(),
        }
    }

    /// Whether its body is no longer all there, so that it cannot be sent once more.
    pub(crate) fn has_lost_body(&self) -> bool {
        match self {
            Client::Any(session) => session.retry_buffer_truncated(),
            Client::Plain(_) => false,
        }
    }

    /// How large the bodies were so far.
    pub(crate) fn sizes(&self) -> Sizes {
        match self {
            Client::Any(session) => Sizes::of(session),
            Client::Plain(plain) => plain.sizes(),
        }
    }

    /// Writes the head of an answer of our own. `end`: nothing comes after it.
    pub(crate) async fn write_head(&mut self, head: Box<ResponseHeader>, end: bool) -> Result<()> {
        match self {
            Client::Any(session) => session.write_response_header(head, end).await,
            Client::Plain(plain) => plain.write_own(&head, end).await,
        }
    }

    /// Writes the body of an answer of our own.
    pub(crate) async fn write_body(&mut self, body: Bytes) -> Result<()> {
        match self {
            Client::Any(session) => session.write_response_body(Some(body), true).await,
            Client::Plain(plain) => {
                plain.write_piece(&body).await?;
                plain.finish().await.map(drop)
            }
        }
    }

    /// The session, where there is one; a plain read has nothing that is read.
    pub(crate) fn session(&mut self) -> Option<&mut Session> {
        match self {
            Client::Any(session) => Some(&mut **session),
            Client::Plain(_) => None,
        }
    }
}
