//! A gateway, as far as writes go: it serves by a snapshot, forwards while its validity lasts, holds what is fenced.

use super::chance::Clock;
use super::database::Write;
use super::{CAPABILITIES, Published};
use crate::Side;
use crate::lease::Said;
use crate::migration::Phase;
use crate::time::Steady;
use crate::wire::Serving;

/// A report whose answer takes longer is given up, and the next one is sent.
const REPORT_LIMIT: std::time::Duration = std::time::Duration::from_secs(2);

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Gateway {
    pub(super) name: String,
    pub(super) clock: Clock,
    started: u64,
    serial: u64,
    pub(super) published: Published,
    disk: Published,
    /// The report that waits for its answer, and when it left.
    asked: Option<(u64, Steady)>,
    /// A report was answered once: its name is stored, and it is reckoned with. Before that it asks for no state: one that was
    /// sent to it then may say of a capability that it has not begun, long after it has.
    pub(super) known: bool,
    valid_until: Steady,
    /// Sent to an upstream, and not answered.
    pub(super) inflight: Vec<(Side, Write)>,
    pub(super) held: Vec<Write>,
    /// Nothing reaches it, and nothing of it gets through.
    pub(super) cut_off: bool,
    /// It reaches whoever led before, and nobody else.
    pub(super) aside: bool,
}

/// Beyond all generations of this world's orchestrators.
const STRANGE: u64 = 1_000_000;

/// What becomes of a client's write.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admitted {
    Sent,
    Held,
    /// The gateway has not heard from the orchestrator for too long.
    OutOfTouch,
}

impl Gateway {
    pub(super) fn new(name: String, clock: Clock) -> Gateway {
        let published = Published::untouched();
        Gateway {
            name,
            clock,
            started: 1,
            serial: 0,
            disk: published.clone(),
            published,
            asked: None,
            known: false,
            valid_until: Steady(0),
            inflight: Vec::new(),
            held: Vec::new(),
            cut_off: false,
            aside: false,
        }
    }

    /// A report that leaves now, with the writes under way of each capability.
    pub(super) fn report(&mut self, now: u64) -> Option<(Said, [u64; CAPABILITIES])> {
        let now = self.clock.steady(now);
        if self.cut_off || self.asked.is_some_and(|(_, left)| now.since(left) < REPORT_LIMIT) {
            return None;
        }
        self.serial += 1;
        self.asked = Some((self.serial, now));
        let inflight = std::array::from_fn(|capability| self.under_way(capability).count() as u64);
        Some((Said { order: (self.started, self.serial), generation: self.published.generation }, inflight))
    }

    /// The answer to a report; to one that was given up, nobody listens.
    pub(super) fn answered(&mut self, order: (u64, u64), generation: u64, valid_for: std::time::Duration) {
        let Some((_, left)) = self.asked.filter(|(serial, _)| (self.started, *serial) == order && !self.cut_off) else { return };
        self.asked = None;
        self.known = true;
        if generation <= self.published.generation {
            self.valid_until = self.valid_until.max(left.plus(valid_for));
        }
    }

    /// Takes what is published. An older generation is refused.
    pub(super) fn take(&mut self, published: &Published, now: u64) {
        if self.cut_off || !self.known || published.generation <= self.published.generation {
            return;
        }
        // Its file lags by one state at the worst; that something has begun to move is waited for longer than that.
        let is_draft = |published: &Published| published.serving.clone().map(|serving| serving.phase == Phase::Draft);
        let begins = is_draft(&self.published) != is_draft(published);
        let before = std::mem::replace(&mut self.published, published.clone());
        self.disk = if begins { published.clone() } else { before };
        let held = std::mem::take(&mut self.held);
        for write in held {
            self.admit(write, now);
        }
    }

    pub(super) fn admit(&mut self, write: Write, now: u64) -> Admitted {
        let serving = &self.published.serving[write.capability];
        if !self.is_valid(write.capability, now) {
            return Admitted::OutOfTouch;
        }
        if serving.fenced {
            self.held.push(write);
            return Admitted::Held;
        }
        self.inflight.push((serving.owner, write));
        Admitted::Sent
    }

    /// Where it would send a write of a capability now.
    pub(super) fn forwards_to(&self, capability: usize, now: u64) -> Option<Side> {
        let serving = &self.published.serving[capability];
        (self.is_valid(capability, now) && !serving.fenced).then_some(serving.owner)
    }

    fn is_valid(&self, capability: usize, now: u64) -> bool {
        // One that knows nothing at all, not even from a file, takes no writes.
        let migrating =
            self.published.generation == 0 || !matches!(self.published.serving[capability].phase, Phase::Draft | Phase::Retired);
        !migrating || self.clock.steady(now) < self.valid_until
    }

    pub(super) fn under_way(&self, capability: usize) -> impl Iterator<Item = &(Side, Write)> {
        self.inflight.iter().filter(move |(_, write)| write.capability == capability)
    }

    /// Nothing of a capability is under way, and nobody's write waits.
    pub(super) fn is_at_rest(&self, capability: usize) -> bool {
        self.under_way(capability).count() == 0 && self.held.iter().all(|write| write.capability != capability)
    }

    /// Killed and started again, from what is on its disk. What it had sent goes on without it.
    pub(super) fn restart(&mut self) -> Vec<(Side, Write)> {
        self.started += 1;
        self.serial = 0;
        self.published = self.disk.clone();
        self.asked = None;
        self.valid_until = Steady(0);
        self.held.clear();
        std::mem::take(&mut self.inflight)
    }

    /// What it finds on its disk when it starts: nothing, what a gateway of another orchestrator kept, or what it kept itself.
    pub(super) fn find(&mut self, strange: bool) {
        if strange {
            let serving = Serving { phase: Phase::Soaking, owner: Side::Modern, ..Serving::untouched() };
            self.disk = Published { generation: STRANGE, serving: std::array::from_fn(|_| serving.clone()) };
        } else if self.is_strange() {
            self.disk = Published::untouched();
        }
        self.published = self.disk.clone();
    }

    pub(super) fn is_strange(&self) -> bool {
        self.published.generation >= STRANGE
    }
}
