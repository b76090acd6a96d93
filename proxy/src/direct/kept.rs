//! Connections to upstreams that wait for their next request. Nothing watches one of them: whether it is still open is seen when
//! it is taken, and every now and then.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use pingora::protocols::Stream;
use tokio::io::{AsyncRead as _, ReadBuf};

use crate::upstream::IDLE;

/// How often they are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Idle connections, by what tells their peers apart. The last one that was put is taken first.
pub(super) struct Kept {
    by_peer: Mutex<HashMap<u64, Vec<Waits>>>,
    /// Of one peer at most.
    most: usize,
}

struct Waits {
    stream: Stream,
    since: Instant,
}

impl Kept {
    pub(super) fn new(most: usize) -> Kept {
        Kept { by_peer: Mutex::default(), most }
    }

    /// A connection to a peer that is open.
    pub(super) fn take(&self, peer: u64) -> Option<Stream> {
        let mut by_peer = self.by_peer.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = by_peer.get_mut(&peer)?;
        while let Some(mut waits) = waiting.pop() {
            if is_open(&mut waits.stream) {
                return Some(waits.stream);
            }
        }
        None
    }

    /// Keeps one for a peer's next request.
    pub(super) fn put(&self, peer: u64, mut stream: Stream) {
        if !is_open(&mut stream) {
            return;
        }
        let mut by_peer = self.by_peer.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = by_peer.entry(peer).or_default();
        if waiting.len() < self.most {
            waiting.push(Waits { stream, since: Instant::now() });
        }
    }

    /// Closes those that are over, for ever.
    pub(super) async fn sweep(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            drop(self.over(Instant::now()));
        }
    }

    /// Those that are over: closed by their servers, or idle for too long.
    fn over(&self, now: Instant) -> Vec<Stream> {
        let mut over = Vec::new();
        let mut by_peer = self.by_peer.lock().unwrap_or_else(PoisonError::into_inner);
        by_peer.retain(|_, waiting| {
            let is_over = |waits: &mut Waits| now.saturating_duration_since(waits.since) >= IDLE || !is_open(&mut waits.stream);
            over.extend(waiting.extract_if(.., is_over).map(|waits| waits.stream));
            !waiting.is_empty()
        });
        over
    }
}

/// Whether nothing came: neither an end, nor bytes that nobody asked for.
fn is_open(stream: &mut Stream) -> bool {
    let mut byte = [0];
    Pin::new(stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut ReadBuf::new(&mut byte)).is_pending()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use pingora::protocols::Stream;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::{TcpListener, TcpStream};

    use super::{IDLE, Kept};

    /// A connection, and its server's end.
    async fn connection() -> (Stream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let client = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("a connection");
        (Box::new(pingora::protocols::l4::stream::Stream::from(client)), listener.accept().await.expect("its other end").0)
    }

    /// The system has told of what the server did.
    async fn told() {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }

    #[tokio::test]
    async fn the_last_open_one_of_a_peer_is_taken() {
        let kept = Kept::new(8);
        let ((first, _a), (second, b), (third, mut c), (other, _d)) =
            (connection().await, connection().await, connection().await, connection().await);
        let id = first.id();
        [first, second, third].into_iter().for_each(|stream| kept.put(1, stream));
        kept.put(2, other);
        // One is closed, and one says what nobody asked for.
        drop(b);
        c.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").await.expect("said");
        told().await;
        assert_eq!(kept.take(1).map(|stream| stream.id()), Some(id));
        assert!(kept.take(1).is_none() && kept.take(3).is_none());
        assert!(kept.take(2).is_some());
    }

    #[tokio::test]
    async fn no_more_are_kept_than_may_be_and_none_that_is_closed() {
        let kept = Kept::new(1);
        let ((closed, server), (first, _a), (second, _b)) = (connection().await, connection().await, connection().await);
        drop(server);
        told().await;
        let id = first.id();
        [closed, first, second].into_iter().for_each(|stream| kept.put(1, stream));
        assert_eq!(kept.take(1).map(|stream| stream.id()), Some(id));
        assert!(kept.take(1).is_none());
    }

    #[tokio::test]
    async fn those_that_are_idle_for_too_long_or_were_closed_are_let_go() {
        let (kept, now) = (Kept::new(8), Instant::now());
        let ((open, _a), (closed, b)) = (connection().await, connection().await);
        let id = closed.id();
        kept.put(1, open);
        kept.put(2, closed);
        drop(b);
        told().await;
        assert_eq!(kept.over(now).iter().map(|stream| stream.id()).collect::<Vec<_>>(), [id]);
        assert_eq!(kept.over(now + IDLE).len(), 0, "put after that");
        assert_eq!(kept.over(Instant::now() + IDLE).len(), 1);
        assert!(kept.take(1).is_none());
    }
}
