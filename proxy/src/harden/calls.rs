//! How many requests on an HTTP/2 connection are calls of gRPC that are not answered: their requests say so, and the guard of the
//! connection, which cannot read heads, gives them time. Carried by what a connection says to its requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::StatusCode;
use pingora::http::ResponseHeader;
use pingora::protocols::raw_connect::ProxyDigest;

/// The calls on one connection.
#[derive(Debug, Default)]
pub(crate) struct Calls(AtomicUsize);

/// One of them; dropped when it is answered.
#[derive(Debug)]
pub(crate) struct Call(Arc<Calls>);

/// What a connection by HTTP/2 says to its requests.
struct Mark {
    calls: Arc<Calls>,
    /// What its socket was marked with.
    socket: Option<Arc<ProxyDigest>>,
}

impl Calls {
    /// The mark of a connection, besides what its socket was marked with.
    pub(super) fn mark(self: &Arc<Calls>, socket: Option<Arc<ProxyDigest>>) -> Option<Arc<ProxyDigest>> {
        let head = ResponseHeader::build(StatusCode::OK, None).ok()?;
        let mark = Mark { calls: self.clone(), socket };
        Some(Arc::new(ProxyDigest::new(Box::new(head), Some(Box::new(mark)))))
    }

    /// Those of a connection that is marked so.
    pub(crate) fn of(mark: &ProxyDigest) -> Option<&Arc<Calls>> {
        Mark::of(mark).map(|mark| &mark.calls)
    }

    /// One more.
    pub(crate) fn begin(self: &Arc<Calls>) -> Call {
        self.0.fetch_add(1, Ordering::Relaxed);
        Call(self.clone())
    }

    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Mark {
    fn of(mark: &ProxyDigest) -> Option<&Mark> {
        mark.user_data.as_ref()?.downcast_ref()
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a socket was marked with, by the mark of its connection.
pub(crate) fn mark_of_socket(mark: &Arc<ProxyDigest>) -> Option<Arc<ProxyDigest>> {
    match Mark::of(mark) {
        Some(mark) => mark.socket.clone(),
        None => Some(mark.clone()),
    }
}
