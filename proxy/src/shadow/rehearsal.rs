//! A copy of a write, as far as the gateway has it: its body as it passes, and who waits for legacy's answer. Only of routes
//! whose rules say that modern carries such writes out and takes them back; what it is asked, and what is judged, is the
//! mirror's.

use bytes::Bytes;
use ficus_rules::Timestamp;
use tokio::sync::oneshot;

use super::mirror::{Job, Task};
use super::{Capture, Copied, Dropped, Shadow, dropped, is_chosen};
use crate::carried::Carried;

/// How far the copy of a write is.
#[derive(Default)]
pub(crate) enum Rehearsal {
    /// Nobody asked yet whether there is to be one.
    #[default]
    New,
    /// Its body passes.
    Passing(Copied),
    /// The mirror has it, and waits for legacy's answer.
    Asked(oneshot::Sender<(Capture, Timestamp)>),
    /// There is none, or none any more.
    Over,
}

impl Rehearsal {
    /// Another try: the body comes from the start. What the mirror has already was whole.
    pub(crate) fn begin_attempt(&mut self) {
        if matches!(self, Rehearsal::Passing(_)) {
            *self = Rehearsal::New;
        }
    }

    /// Whether the mirror waits for an answer.
    pub(super) fn waits(&self) -> bool {
        matches!(self, Rehearsal::Asked(_))
    }

    /// Who waits for it; nobody from here on.
    pub(super) fn end(&mut self) -> Option<oneshot::Sender<(Capture, Timestamp)>> {
        match std::mem::replace(self, Rehearsal::Over) {
            Rehearsal::Asked(waits) => Some(waits),
            _ => None,
        }
    }
}

impl Shadow {
    /// Copies a piece of a write's body. When it is whole modern is asked, while legacy carries the write out: later, the write
    /// itself would have arrived there.
    pub(crate) fn copy(&self, carried: &mut Carried, piece: Option<&Bytes>, end: bool) {
        if !carried.decided(|decision| decision.shadow && decision.write) {
            return;
        }
        let Some(counters) = carried.counters.clone() else { return };
        if matches!(carried.rehearsal, Rehearsal::New) {
            let chosen = !carried.streams && !self.distrusts(&counters.name) && is_chosen(&counters, carried.serving().shadow);
            carried.rehearsal = if chosen { Rehearsal::Passing(Copied::new(&self.kept)) } else { Rehearsal::Over };
        }
        let Rehearsal::Passing(body) = &mut carried.rehearsal else { return };
        if let Some(piece) = piece {
            body.take(piece);
        }
        if !end {
            return;
        }
        let Rehearsal::Passing(body) = std::mem::replace(&mut carried.rehearsal, Rehearsal::Over) else { return };
        if let Some(why) = body.spoilt {
            return dropped(&counters, why);
        }
        let (answer, waits) = oneshot::channel();
        match self.queue.try_send(Task::Rehearse(Job::of(carried, counters.clone()), body, waits)) {
            Ok(()) => carried.rehearsal = Rehearsal::Asked(answer),
            Err(_) => dropped(&counters, Dropped::QueueFull),
        }
    }
}
