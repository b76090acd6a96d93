//! Where held writes wait: bounded in number, first come first served, released a few at a time; of one caller, the next
//! when the one before was sent, so that the upstream gets them in their order. Does not decide who is held or what
//! follows: a released request is decided anew by `admission`.

use std::collections::{BTreeMap, HashSet};
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
    waiting: BTreeMap<u64, Waiting>,
    running: usize,
    /// Callers of whom one is released and not yet sent.
    beginning: HashSet<Arc<str>>,
}

#[derive(Debug)]
struct Waiting {
    caller: Option<Arc<str>>,
    release: oneshot::Sender<()>,
}

impl Holds {
    pub(crate) fn new(limits: HoldLimits, concurrency: usize) -> Holds {
        Holds { limits, concurrency, room: Mutex::default() }
    }

    /// The limits.
    pub(crate) fn limits(&self) -> &HoldLimits {
        &self.limits
    }

    /// A place at the end of the queue. `caller`: whose writes keep their order among themselves. `None`: the room is full.
    pub(crate) fn wait(self: &Arc<Self>, capability: &str, caller: Option<String>) -> Option<Held> {
        let mut room = self.lock();
        if room.waiting >= self.limits.max_requests {
            return None;
        }
        room.waiting += 1;
        let place = room.next;
        room.next += 1;
        let (release, released) = oneshot::channel();
        let caller: Option<Arc<str>> = caller.map(Arc::from);
        room.queues.entry(capability.to_owned()).or_default().waiting.insert(place, Waiting { caller: caller.clone(), release });
        Some(Held { holds: self.clone(), capability: capability.to_owned(), place, caller, released, running: false, sent: false })
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
        let mut from = 0;
        while self.open && self.running < concurrency {
            let may = |one: &Waiting| one.caller.as_ref().is_none_or(|caller| !self.beginning.contains(caller));
            let Some(place) = self.waiting.range(from..).find(|(_, one)| may(one)).map(|(place, _)| *place) else { return };
            // Whoever was passed over has to wait for another of the same caller, released before or in this turn.
            from = place + 1;
            let Some(one) = self.waiting.remove(&place) else { return };
            if one.release.send(()).is_ok() {
                self.running += 1;
                self.beginning.extend(one.caller);
            }
        }
    }

    /// One that was released is done, or will not be sent now.
    fn leave(&mut self, caller: Option<&Arc<str>>) {
        self.running = self.running.saturating_sub(1);
        if let Some(caller) = caller {
            self.beginning.remove(caller);
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
    caller: Option<Arc<str>>,
    released: oneshot::Receiver<()>,
    running: bool,
    sent: bool,
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

    /// It was sent to its upstream: the caller's next one may follow.
    pub(crate) fn sent(&mut self) {
        if self.sent {
            return;
        }
        self.sent = true;
        let mut room = self.holds.lock();
        if let Some(queue) = room.queues.get_mut(&self.capability) {
            // One that went without its turn, since the fence had opened before it came to wait, gives up its place.
            queue.waiting.remove(&self.place);
            self.running = self.running || self.released.try_recv().is_ok();
            if let Some(caller) = self.caller.as_ref().filter(|_| self.running) {
                queue.beginning.remove(caller);
            }
            queue.release(self.holds.concurrency);
        }
    }

    /// The caller, while none of its later writes may be sent.
    fn keeps_back(&self) -> Option<&Arc<str>> {
        self.caller.as_ref().filter(|_| !self.sent)
    }

    /// Waits once more, at the place that it has: it was released, and the fence is closed again. A full room does not
    /// turn it away, for it never left.
    pub(crate) fn wait_again(&mut self) {
        let mut room = self.holds.lock();
        let released = self.running || self.released.try_recv().is_ok();
        let (release, again) = oneshot::channel();
        if let Some(queue) = room.queues.get_mut(&self.capability) {
            if released {
                queue.leave(self.keeps_back());
            }
            queue.waiting.insert(self.place, Waiting { caller: self.caller.clone(), release });
            queue.release(self.holds.concurrency);
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
                queue.leave(self.keeps_back());
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
        let mut held: Vec<_> = (0..4).map(|_| holds.wait("users", None).expect("room")).collect();
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
        let first = holds.wait("users", None).expect("room");
        assert!(holds.wait("users", None).is_none());
        drop(first);
        assert_eq!(holds.held("users"), 0);
        assert!(holds.wait("users", None).is_some());
    }

    #[test]
    fn a_request_that_left_between_release_and_turn_passes_its_turn_on() {
        let holds = holds(10, 1);
        let (first, mut second) = (holds.wait("users", None).expect("room"), holds.wait("users", None).expect("room"));
        holds.set_open("users", true);
        drop(first);
        assert!(second.turn().now_or_never().is_some());
    }

    #[test]
    fn whoever_has_to_wait_again_keeps_its_place_in_a_full_room() {
        let holds = holds(2, 1);
        let (mut first, mut second) = (holds.wait("users", None).expect("room"), holds.wait("users", None).expect("room"));
        holds.set_open("users", true);
        assert!(first.turn().now_or_never().is_some());
        holds.set_open("users", false);
        first.wait_again();
        assert!(first.turn().now_or_never().is_none(), "the fence is closed");
        assert!(holds.wait("users", None).is_none(), "nobody took the place, and none is free");
        holds.set_open("users", true);
        assert!(first.turn().now_or_never().is_some() && second.turn().now_or_never().is_none(), "it is still the first");
        drop(first);
        assert!(second.turn().now_or_never().is_some());
    }

    #[test]
    fn of_one_caller_the_next_leaves_when_the_one_before_was_sent() {
        let holds = holds(10, 64);
        let callers = ["one", "one", "other", "one"];
        let mut held: Vec<_> = callers.iter().map(|caller| holds.wait("users", Some((*caller).into())).expect("room")).collect();
        holds.set_open("users", true);
        let turns = |held: &mut Vec<super::Held>| held.iter_mut().map(|one| one.turn().now_or_never().is_some()).collect::<Vec<_>>();
        assert_eq!(turns(&mut held), [true, false, true, false]);
        held[0].sent();
        assert_eq!(turns(&mut held), [true, true, true, false]);
        drop(held.remove(1));
        assert_eq!(turns(&mut held), [true, true, true], "one that is not sent after all keeps nobody");
    }

    #[test]
    fn who_goes_without_its_turn_neither_lets_others_go_nor_keeps_them() {
        let holds = holds(10, 64);
        let wait = || holds.wait("users", Some("one".into())).expect("room");
        let (mut first, mut second) = (wait(), wait());
        holds.set_open("users", true);
        assert!(first.turn().now_or_never().is_some());
        // It comes to wait when the fence is open already, is told so, and goes.
        let mut late = wait();
        late.sent();
        assert!(second.turn().now_or_never().is_none(), "the first is not sent yet");
        first.sent();
        assert!(second.turn().now_or_never().is_some());
        second.sent();
        let mut later = wait();
        later.sent();
        drop((first, second, late, later));
        holds.set_open("users", false);
        let mut next = wait();
        holds.set_open("users", true);
        assert!(next.turn().now_or_never().is_some(), "nobody of the caller is on the way");
    }

    #[test]
    fn whoever_has_to_wait_again_is_still_before_the_next_of_its_caller() {
        let holds = holds(10, 64);
        let (mut first, mut second) =
            (holds.wait("users", Some("one".into())).expect("room"), holds.wait("users", Some("one".into())).expect("room"));
        holds.set_open("users", true);
        assert!(first.turn().now_or_never().is_some());
        first.wait_again();
        assert!(second.turn().now_or_never().is_none() && first.turn().now_or_never().is_some());
        first.sent();
        assert!(second.turn().now_or_never().is_some());
    }
}
