//! The bulkhead of an upstream: how many requests it may have at once, and how many wait for a place, for a moment. One
//! slow upstream must not take the connections, the memory and the patience that the others need.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::Bulkhead;

/// The places of an upstream.
#[derive(Debug)]
pub(super) struct Room {
    rule: Bulkhead,
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
    waited: bool,
}

impl Place {
    /// Whether it took a while to get.
    pub(crate) fn waited(&self) -> bool {
        self.waited
    }
}

/// Counts one that waits, also when whoever waits is gone.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Room {
    pub(super) fn new(rule: &Bulkhead) -> Room {
        let places = Arc::new(Semaphore::new(rule.requests));
        Room { rule: rule.clone(), places, waiting: AtomicUsize::new(0) }
    }

    /// A place, now or in a moment, in the order of arrival. `None`: there is none.
    pub(super) async fn enter(&self) -> Option<Place> {
        if let Ok(permit) = self.places.clone().try_acquire_owned() {
            return Some(Place { _permit: permit, waited: false });
        }
        let waiting = self.waiting.fetch_add(1, Ordering::SeqCst);
        let _waiting = Waiting(&self.waiting);
        if waiting >= self.rule.queue {
            return None;
        }
        let permit = tokio::time::timeout(self.rule.wait, self.places.clone().acquire_owned()).await;
        Some(Place { _permit: permit.ok()?.ok()?, waited: true })
    }

    /// Requests that wait for a place.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Room;
    use crate::config::Bulkhead;

    #[tokio::test(start_paused = true)]
    async fn so_many_have_a_place_so_many_wait_and_the_rest_is_turned_away() {
        let room = Room::new(&Bulkhead { requests: 1, queue: 1, wait: Duration::from_secs(1) });
        let place = room.enter().await.expect("a place");
        let began = tokio::time::Instant::now();
        let (second, (third, after)) = tokio::join!(room.enter(), async { (room.enter().await, began.elapsed()) });
        assert!(second.is_none() && began.elapsed() >= Duration::from_secs(1), "it waited in vain");
        assert!(third.is_none() && after.is_zero(), "for the other there was no room");
        assert_eq!(room.waiting(), 0);
        let (next, ()) = tokio::join!(room.enter(), async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            drop(place);
        });
        assert!(next.is_some_and(|place| place.waited()));
        assert!(room.enter().await.is_some_and(|place| !place.waited()), "it is free again");
    }
}
