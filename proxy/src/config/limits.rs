//! Limits on what one client may send, and how slowly. The defaults let pass what Django, gunicorn and browsers do every
//! day; most are settable under `[gateway.limits]`.

use std::time::Duration;

/// What a client may send, and how long it may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a head: request line and headers. More is answered 431.
    pub head: usize,
    /// Bytes of a request's target. More is answered 414.
    pub target: usize,
    /// Header lines. More is answered 431. gunicorn takes 100 by itself; pingora ends at 256.
    pub headers: usize,
    /// Bytes of a body, as they are meant (a chunked one without its framing). More is answered 413. Large, because a
    /// gateway must not refuse what the monolith behind it took; see the monolith's own limits for less.
    pub body: u64,
    /// A head that has begun must be complete after this, or is answered 408.
    pub head_within: Duration,
    /// For how long altogether a client may keep us waiting for its body, beyond what [`Limits::body_rate`] buys. More
    /// is answered 408. Only waiting counts: what a slow upstream or a fence takes does not.
    pub body_patience: Duration,
    /// Bytes of a body that buy another second of patience. Zero: nothing does, the patience is for the whole body.
    pub body_rate: u64,
    /// A connection without a request is closed after this (the first request: after a minute at the latest).
    pub idle: Duration,
    /// A client that takes nothing of its answer for this long is left.
    pub send_within: Duration,
    /// Connections at once, of all clients. Further ones are closed at once. Zero: no limit.
    pub connections: usize,
    /// Connections at once from one address, trusted proxies apart. Further ones are closed at once. Zero: no limit.
    pub connections_per_address: usize,
    /// Requests on one connection, after which it is closed. Zero: no limit.
    pub requests_per_connection: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            head: 64 << 10,
            target: 8 << 10,
            headers: 100,
            body: 2 << 30,
            head_within: Duration::from_secs(10),
            body_patience: Duration::from_secs(30),
            body_rate: 500,
            idle: Duration::from_secs(75),
            send_within: Duration::from_secs(60),
            connections: 20_000,
            connections_per_address: 4_096,
            requests_per_connection: 10_000,
        }
    }
}
