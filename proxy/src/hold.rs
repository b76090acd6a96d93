//! Where held writes wait: bounded in number, first come first served, released a few at a time. Does not decide who is
//! held or what follows: a released request is decided anew by `admission`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::config::HoldLimits;

/// Released writes that are under way at once.
pub(crate) const CONCURRENCY: usize = 64;

/// The waiting room of all capabilities.
#[derive(Debug)]
pub(crate) struct Holds {
    limits: HoldLimits,
    /// Released and not yet answered at once.
    concurrency: usize,
    room: Mutex<Room>,
}

#[derive(Debug, Default)]
struct Room {
    next: u64,
    waiting: usize,
    queues: BTreeMap<String, Queue>,
}

/// The requests of one capability that wait, by order of arrival, and those released that are not done yet.
#[derive(Debug, Default)]
struct Queue {
    open: bool,
    waiting: BTreeMap<u64, oneshot::Sender<()>>,
    running: usize,
}

impl Holds {
    pub(crate) fn new(limits: HoldLimits, concurrency: usize) -> Holds {
        Holds { limits, concurrency, room: Mutex::default() }
    }

    /// The limits.
    pub(crate) fn limits(&self) -> &HoldLimits {
        &self.limits
    }

    /// A place at the end of the queue. `None`: the room is full.
    pub(crate) fn wait(self: &Arc<Self>, capability: &str) -> Option<Held> {
        let mut room = self.lock();
        if room.waiting >= self.limits.max_requests {
            return None;
        }
        room.waiting += 1;
        let place = room.next;
        room.next += 1;
        let (release, released) = oneshot::channel();
        room.queues.entry(capability.to_owned()).or_default().waiting.insert(place, release);
        Some(Held { holds: self.clone(), capability: capability.to_owned(), place, released, running: false })
    }

    /// How many of a capability wait.
    pub(crate) fn held(&self, capability: &str) -> u64 {
        self.lock().queues.get(capability).map_or(0, |queue| queue.waiting.len() as u64)
    }

    /// The capabilities that have, or had, requests here.
    pub(crate) fn capabilities(&self) -> Vec<String> {
        self.lock().queues.keys().cloned().collect()
    }

    /// Says whether a capability's fence is open. An open queue empties itself, a few requests at a time.
    pub(crate) fn set_open(&self, capability: &str, open: bool) {
        let mut room = self.lock();
        if let Some(queue) = room.queues.get_mut(capability) {
            queue.open = open;
            queue.release(self.concurrency);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn release(&mut self, concurrency: usize) {
        while self.open && self.running < concurrency {
            let Some(first) = self.waiting.keys().next().copied() else { return };
            // The place stays in `waiting` until its holder has seen the release; what was sent once is not sent again.
            let Some(release) = self.waiting.remove(&first) else { return };
            if release.send(()).is_ok() {
                self.running += 1;
            }
        }
    }
}

/// A held request; afterwards, a released one. Dropped: its place is free.
#[derive(Debug)]
pub(crate) struct Held {
    holds: Arc<Holds>,
    capability: String,
    /// Its place in the queue.
    place: u64,
    released: oneshot::Receiver<()>,
    running: bool,
}

impl Held {
    /// Waits until it is this request's turn. Safe to drop and call again.
    pub(crate) async fn turn(&mut self) {
        if !self.running && (&mut self.released).await.is_ok() {
            self.running = true;
        }
    }

    /// Whether it waits for this capability.
    pub(crate) fn is_for(&self, capability: &str) -> bool {
        self.capability == capability
    }

    /// Waits once more, at the place that it has: it was released, and the fence is closed again. A full room does not
    /// turn it away, for it never left.
    pub(crate) fn wait_again(&mut self) {
        let mut room = self.holds.lock();
        let released = self.running || self.released.try_recv().is_ok();
        let (release, again) = oneshot::channel();
        if let Some(queue) = room.queues.get_mut(&self.capability) {
            if released {
                queue.running = queue.running.saturating_sub(1);
                queue.release(self.holds.concurrency);
            }
            queue.waiting.insert(self.place, release);
        }
        self.released = again;
        self.running = false;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut room = self.holds.lock();
        room.waiting = room.waiting.saturating_sub(1);
        let released = self.running || self.released.try_recv().is_ok();
        if let Some(queue) = room.queues.get_mut(&self.capability) {
            queue.waiting.remove(&self.place);
            if released {
                queue.running = queue.running.saturating_sub(1);
                queue.release(self.holds.concurrency);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use futures::FutureExt as _;

    use super::Holds;
    use crate::config::HoldLimits;

    fn holds(max_requests: usize, concurrency: usize) -> Arc<Holds> {
        Arc::new(Holds::new(HoldLimits { max_requests, max_wait: Duration::from_secs(1) }, concurrency))
    }

    #[test]
    fn requests_leave_in_the_order_of_their_arrival_a_few_at_a_time() {
        let holds = holds(10, 2);
        let mut held: Vec<_> = (0..4).map(|_| holds.wait("users").expect("room")).collect();
        assert_eq!(holds.held("users"), 4);
        assert!(held.iter_mut().all(|one| one.turn().now_or_never().is_none()), "the fence is closed");
        holds.set_open("users", true);
        let turns: Vec<bool> = held.iter_mut().map(|one| one.turn().now_or_never().is_some()).collect();
        assert_eq!(turns, [true, true, false, false]);
        held.remove(0);
        assert!(held[1].turn().now_or_never().is_some(), "the next one follows when one is done");
        assert!(held[2].turn().now_or_never().is_none());
    }

    #[test]
    fn the_room_is_bounded_and_a_client_that_leaves_frees_its_place() {
        let holds = holds(1, 1);
        let first = holds.wait("users").expect("room");
        assert!(holds.wait("users").is_none());
        drop(first);
        assert_eq!(holds.held("users"), 0);
        assert!(holds.wait("users").is_some());
    }

    #[test]
    fn a_request_that_left_between_release_and_turn_passes_its_turn_on() {
        let holds = holds(10, 1);
        let (first, mut second) = (holds.wait("users").expect("room"), holds.wait("users").expect("room"));
        holds.set_open("users", true);
        drop(first);
        assert!(second.turn().now_or_never().is_some());
    }

    #[test]
    fn whoever_has_to_wait_again_keeps_its_place_in_a_full_room() {
        let holds = holds(2, 1);
        let (mut first, mut second) = (holds.wait("users").expect("room"), holds.wait("users").expect("room"));
        holds.set_open("users", true);
        assert!(first.turn().now_or_never().is_some());
        holds.set_open("users", false);
        first.wait_again();
        assert!(first.turn().now_or_never().is_none(), "the fence is closed");
        assert!(holds.wait("users").is_none(), "nobody took the place, and none is free");
        holds.set_open("users", true);
        assert!(first.turn().now_or_never().is_some() && second.turn().now_or_never().is_none(), "it is still the first");
        drop(first);
        assert!(second.turn().now_or_never().is_some());
    }
}
