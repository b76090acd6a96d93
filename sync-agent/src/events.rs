//! Change events on their way to other services. What is told, and in which words, stands in [`ficus_rules::event`].
//!
//! 1. [`Announcer`] makes the events of a batch while it is applied, and numbers them: one order for both directions;
//! 2. the sink keeps them in its outbox, **in the transaction of the rows that they tell of**: nothing is told that is not
//!    durable, and nothing that is durable is not told, whoever dies when;
//! 3. one [`publisher`] for each bus takes them from there, in their order, and forgets what the bus has confirmed.
//!
//! A bus that is away costs the streams nothing but the outbox, which grows on the target's disk. What was sent and not
//! forgotten is sent again, as the same event.

mod amqp;
mod broker;
mod publisher;
mod redis;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};

use ficus_rules::event::{Deed, Stamp};
use ficus_rules::mapping::{Plan, Row, Value};
use tokio::sync::watch;
use uuid::Uuid;

pub use broker::{Bus, check as check_bus};
pub(crate) use publisher::Publisher;

use crate::apply::{Identity, identity};
use crate::error::Error;
use crate::port::{Batch, Changes, Direction, Event, Outgoing, Rejected, Shared};
use crate::state::now;

/// Numbers of one millisecond. A number tells when its event was made, as far as more were not made in one millisecond; and
/// what is new is higher than what was before, also when nothing of it is left.
pub(crate) const PER_MILLISECOND: u64 = 1_000;

/// Makes and numbers the events of one capability.
pub(crate) struct Announcer {
    last: AtomicU64,
    /// Some were written.
    written: watch::Sender<u64>,
}

impl Announcer {
    pub(crate) fn new() -> Announcer {
        Announcer { last: AtomicU64::new(0), written: watch::Sender::default() }
    }

    /// From here on numbers are higher than everything that waits in these sinks.
    pub(crate) async fn begin(&self, sinks: [&Shared; 2]) -> Result<(), Error> {
        let mut last = lowest_now();
        for sink in sinks {
            last = last.max(sink.last_event().await?);
        }
        self.last.fetch_max(last, Ordering::AcqRel);
        Ok(())
    }

    /// The highest number that was given out. Whatever an event of a number up to it may follow from is in an outbox by now.
    pub(crate) fn last(&self) -> u64 {
        self.last.load(Ordering::Acquire)
    }

    /// To be told when some were written.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.written.subscribe()
    }

    /// Some were.
    pub(crate) fn wrote(&self, changes: &[Changes]) {
        if changes.iter().any(|changes| !changes.events.is_empty()) {
            self.written.send_modify(|count| *count += 1);
        }
    }

    /// Adds the events of a batch to its changes. What is there already is asked of the target, which nobody else writes to:
    /// a row that it has was changed, another one came.
    pub(crate) async fn announce(
        &self,
        plans: &[Plan],
        direction: Direction,
        batch: &Batch,
        sink: &Shared,
        changes: &mut [Changes],
    ) -> Result<(), Error> {
        for (pair, plan) in plans.iter().enumerate().filter(|(_, plan)| !plan.events.is_empty()) {
            let Changes { upserts, deletes, .. } = &changes[pair];
            let keys: Vec<Value> = upserts.iter().map(|row| &row.key).chain(deletes).cloned().collect();
            if keys.is_empty() {
                continue;
            }
            let found = sink.rows(pair, &keys).await?;
            let there: HashSet<Identity<'_>> = found.iter().map(|row| identity(&row.key)).collect();
            let read: HashMap<Identity<'_>, &Row> = match direction {
                Direction::Forward => HashMap::new(),
                Direction::Reverse => batch.rows[pair].iter().map(|row| (identity(&row.key), row)).collect(),
            };
            let mut events = Vec::new();
            for upsert in upserts {
                let deed = if there.contains(&identity(&upsert.key)) { Deed::Updated } else { Deed::Created };
                let modern = read.get(&identity(&upsert.key)).copied().unwrap_or(upsert);
                self.tell(plan, deed, &upsert.key, Some(modern), &mut events);
            }
            for key in deletes.iter().filter(|key| there.contains(&identity(key))) {
                self.tell(plan, Deed::Deleted, key, None, &mut events);
            }
            changes[pair].events = events;
        }
        Ok(())
    }

    /// The next one.
    fn number(&self) -> u64 {
        let mut last = self.last();
        loop {
            let next = (last + 1).max(lowest_now());
            match self.last.compare_exchange(last, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return next,
                Err(other) => last = other,
            }
        }
    }

    fn tell(&self, plan: &Plan, deed: Deed, key: &Value, row: Option<&Row>, events: &mut Vec<Event>) {
        for event in &plan.events {
            let Some(kind) = event.types.of(deed) else { continue };
            let number = self.number();
            let stamp = Stamp { id: Uuid::new_v4(), time: now(), number };
            let Some(body) = event.message(deed, key, &event.data(key, row), stamp) else { continue };
            let outgoing = Outgoing {
                number,
                bus: event.bus.clone(),
                id: stamp.id.to_string(),
                kind: kind.to_owned(),
                subject: event.subject(key),
                body,
            };
            events.push(Event { key: key.clone(), outgoing });
        }
    }
}

/// The lowest number of what is made now.
fn lowest_now() -> u64 {
    now().0.saturating_mul(PER_MILLISECOND)
}

/// The events of a batch but for those of rows that were set aside.
pub(crate) fn leaving<'c>(changes: &'c [Changes], rejected: &'c [Rejected]) -> impl Iterator<Item = &'c Outgoing> {
    changes.iter().enumerate().flat_map(|(pair, changes)| changes.events.iter().map(move |event| (pair, event))).filter_map(
        move |(pair, Event { key, outgoing })| {
            let kept = rejected.iter().any(|rejected| rejected.row.pair == pair && rejected.row.key == *key);
            (!kept).then_some(outgoing)
        },
    )
}
