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
use std::sync::{Mutex, PoisonError};

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
    joining: Mutex<HashSet<usize>>,
    /// Some were written.
    written: watch::Sender<u64>,
}

impl Announcer {
    pub(crate) fn new() -> Announcer {
        Announcer { last: AtomicU64::new(0), joining: Mutex::default(), written: watch::Sender::default() }
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

    /// Pairs whose rows are being copied while others flow: they have joined.
    pub(crate) fn set_joining(&self, pairs: HashSet<usize>) {
        *self.joining.lock().unwrap_or_else(PoisonError::into_inner) = pairs;
    }

    fn joins(&self, pair: usize) -> bool {
        self.joining.lock().unwrap_or_else(PoisonError::into_inner).contains(&pair)
    }

    /// Adds the events of a batch to its changes. What is there already is asked of the target, which nobody else writes to:
    /// a row that it has was changed, another one came. What the agent only looked at is told if it turns out to be another
    /// than the target has, but not when it is copied.
    pub(crate) async fn announce(
        &self,
        plans: &[Plan],
        direction: Direction,
        batch: &Batch,
        sink: &Shared,
        changes: &mut [Changes],
    ) -> Result<(), Error> {
        let mut found = vec![Vec::new(); plans.len()];
        for (pair, _) in plans.iter().enumerate().filter(|(_, plan)| !plan.events.is_empty()) {
            let Changes { upserts, deletes, .. } = &changes[pair];
            let keys: Vec<Value> = upserts.iter().map(|row| &row.key).chain(deletes).cloned().collect();
            if !keys.is_empty() {
                found[pair] = sink.rows(pair, &keys).await?;
            }
        }
        let told: Vec<Vec<Event>> = {
            let batch = Told { announcer: self, plans, direction, changes, batch, found: &found };
            (0..plans.len()).map(|pair| batch.events(pair)).collect()
        };
        for (changes, events) in changes.iter_mut().zip(told) {
            changes.events = events;
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

/// A batch, and what the target has of it.
struct Told<'b> {
    announcer: &'b Announcer,
    plans: &'b [Plan],
    direction: Direction,
    batch: &'b Batch,
    changes: &'b [Changes],
    found: &'b [Vec<Row>],
}

impl Told<'_> {
    fn events(&self, pair: usize) -> Vec<Event> {
        let (plan, Changes { upserts, deletes, .. }) = (&self.plans[pair], &self.changes[pair]);
        let mut events = Vec::new();
        if plan.events.is_empty() || upserts.is_empty() && deletes.is_empty() {
            return events;
        }
        let (asked, born) = (self.asked(pair), self.born(pair));
        let there: HashMap<Identity<'_>, &Row> = self.found[pair].iter().map(|row| (identity(&row.key), row)).collect();
        let read: HashMap<Identity<'_>, &Row> = self.batch.rows[pair].iter().map(|row| (identity(&row.key), row)).collect();
        let (left, came) = (self.elsewhere(pair, true), self.elsewhere(pair, false));
        for upsert in upserts {
            let key = identity(&upsert.key);
            let modern = match self.direction {
                Direction::Forward => upsert,
                Direction::Reverse => read.get(&key).copied().unwrap_or(upsert),
            };
            let deed = match there.get(&key) {
                Some(row) if asked.contains(&key) && self.is_as(plan, row, modern) => continue,
                Some(_) => Deed::Updated,
                None if left.contains(&key) => Deed::Updated,
                None if asked.contains(&key) && self.announcer.joins(pair) => continue,
                // The log tells that it was there before.
                None if self.announcer.joins(pair) && born.as_ref().is_some_and(|born| !born.contains(&key)) => Deed::Updated,
                None => Deed::Created,
            };
            self.announcer.tell(plan, deed, &upsert.key, Some(modern), &mut events);
        }
        for key in deletes {
            let of = identity(key);
            // Of a row that has not been copied yet nothing else is known. Where only some rows are of the pair, it may be another one.
            let uncopied = self.announcer.joins(pair) && plan.shape(self.direction.source()).filter.is_empty() && !asked.contains(&of);
            if (there.contains_key(&of) || uncopied) && !came.contains(&of) {
                self.announcer.tell(plan, Deed::Deleted, key, None, &mut events);
            }
        }
        events
    }

    /// What nobody wrote.
    fn asked(&self, pair: usize) -> HashSet<Identity<'_>> {
        let asked = self.batch.asked.iter().filter_map(|at| self.batch.touched.get(*at));
        asked.filter(|touched| touched.pair == pair).map(|touched| identity(&touched.key)).collect()
    }

    /// What was not there before, where the log tells.
    fn born(&self, pair: usize) -> Option<HashSet<Identity<'_>>> {
        let fresh = *self.batch.fresh.get(pair)?;
        Some(self.batch.rows[pair].iter().take(fresh).map(|row| identity(&row.key)).collect())
    }

    /// Rows of another pair of the same two tables that leave it with this batch, or come to it: to whoever listens they are the same
    /// row, which has changed.
    fn elsewhere(&self, pair: usize, leave: bool) -> HashSet<Identity<'_>> {
        let tables = |plan: &'_ Plan| [plan.legacy.table.clone(), plan.modern.table.clone()];
        let mine = tables(&self.plans[pair]);
        let others = (0..self.plans.len()).filter(|other| *other != pair && tables(&self.plans[*other]) == mine);
        let mut keys = HashSet::new();
        for other in others {
            let Changes { upserts, deletes, .. } = &self.changes[other];
            if leave {
                let gone: HashSet<Identity<'_>> = deletes.iter().map(identity).collect();
                keys.extend(self.found[other].iter().map(|row| identity(&row.key)).filter(|key| gone.contains(key)));
            } else {
                keys.extend(upserts.iter().map(|row| identity(&row.key)));
            }
        }
        keys
    }

    /// Whether the target's row means what modern's row of the source does, or will.
    fn is_as(&self, plan: &Plan, there: &Row, modern: &Row) -> bool {
        let there = match self.direction {
            Direction::Forward => Some(there.clone()),
            Direction::Reverse => plan.forward(there).ok(),
        };
        there.is_some_and(|there| {
            let both = [there, modern.clone()].map(|mut row| {
                row.values.truncate(plan.modern.columns.len());
                plan.canonical(row)
            });
            plan.differing_column(&both[0], &both[1]).is_none()
        })
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
