//! One folded batch to its target: mapped, written, and if a constraint refuses it, written in a more patient way.
//! Names no engine. Does not decide when; the stream does.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ficus_rules::mapping::{Plan, Row, RowError, Shape, Value};
use tokio::task::JoinSet;

use crate::error::{Error, finished};
use crate::port::{Applied, Batch, Changes, Direction, Effort, Position, Rejected, Shared, Touched};
use crate::quarantine;
use crate::state::{Dirty, State, now};

/// How often rows that hold a contested unique value are pulled into the batch, before rows are set aside.
const ROUNDS: usize = 8;

/// Carries batches of one direction.
pub(crate) struct Applier {
    pub(crate) source: Shared,
    pub(crate) sink: Shared,
    pub(crate) plans: Arc<Vec<Plan>>,
    pub(crate) direction: Direction,
    /// Where its announcer is.
    pub(crate) state: Arc<State>,
}

/// Brings batches of one direction into the target's shape. Asks nobody: it can be done while another batch is written.
#[derive(Clone)]
pub(crate) struct Mapper {
    plans: Arc<Vec<Plan>>,
    direction: Direction,
    /// Others are told of rows, and have to know what they were read as.
    tells: bool,
}

/// A batch in the target's shape, and what has no counterpart there.
#[derive(Default)]
pub(crate) struct Mapped {
    changes: Vec<Changes>,
    aside: Vec<Rejected>,
}

/// What came of a batch.
pub(crate) struct Outcome {
    /// The batch as it was applied in the end.
    pub(crate) batch: Batch,
    /// Rows written or removed, by pair.
    pub(crate) rows: Vec<u64>,
    /// Set aside in all.
    pub(crate) quarantined: u64,
    /// Some were set aside now.
    pub(crate) set_aside: bool,
    /// It was refused and read again: its rows are of a later moment.
    pub(crate) again: bool,
    /// The keys of what was written in parts; else they are in the batch.
    pub(crate) dirty: Dirty,
}

impl Applier {
    pub(crate) fn mapper(&self) -> Mapper {
        let tells = self.plans.iter().any(|plan| !plan.events.is_empty());
        Mapper { plans: Arc::clone(&self.plans), direction: self.direction, tells }
    }

    /// Applies what was read after a position, and was mapped. When it returns, rows and position are durable.
    pub(crate) async fn apply(&self, after: Position, limit: usize, mut batch: Batch, mut mapped: Mapped) -> Result<Outcome, Error> {
        let mut effort = Effort::Plain;
        let mut also: Vec<Touched> = Vec::new();
        for round in 0.. {
            let Mapped { mut changes, aside } = mapped;
            let announcer = &self.state.announcer;
            announcer.announce(&self.plans, self.direction, &batch, &self.sink, &mut changes).await?;
            let taken_over = self.bury(&mut changes).await?;
            if taken_over.iter().any(|changes| !changes.upserts.is_empty()) {
                // Ahead of the batch, so that nobody is in the way of who takes the row over: at the position before it.
                self.sink.apply(&taken_over, after, Effort::Isolated, &[]).await?;
            }
            match self.sink.apply(&changes, batch.upto, effort, &aside).await? {
                Applied::Done { rejected, quarantined } => {
                    announcer.wrote(&changes);
                    self.tell(aside.iter().chain(&rejected));
                    let set_aside = !aside.is_empty() || !rejected.is_empty();
                    let rows = changes.iter().map(written).collect();
                    return Ok(Outcome { batch, rows, quarantined, set_aside, again: round > 0, dirty: Dirty::nothing() });
                }
                Applied::Refused { holders } => {
                    effort = match effort {
                        Effort::Plain => Effort::Parked,
                        _ if !holders.is_empty() && round < ROUNDS => Effort::Parked,
                        _ => Effort::Isolated,
                    };
                    also.extend(holders);
                    batch = self.source.read(after, limit, &also).await?;
                    mapped = self.mapper().map(&mut batch);
                }
            }
        }
        unreachable!("an isolated batch is never refused")
    }

    /// Whether transactions may come in parts. What is marked instead of deleted has to be read first, and so has what others
    /// are told of; whoever reads does not see the parts.
    pub(crate) fn takes_parts(&self) -> bool {
        let target = self.direction.source().other();
        self.sink.in_parts().is_some() && !self.plans.iter().any(|plan| plan.buries(target) || !plan.events.is_empty())
    }

    /// Applies a transaction that comes in parts, from its first on, as one. `None`: something refused it and nothing is
    /// written; it is to be read whole, so that what is in the way can be found.
    pub(crate) async fn apply_parts(&self, after: Position, limit: usize, first: Batch, mapped: Mapped) -> Result<Option<Outcome>, Error> {
        let mut ahead = JoinSet::new();
        let applied = self.write_parts(after, limit, (first, mapped), &mut ahead).await;
        // Nobody is cut short in the middle of a look.
        drop(ahead.join_next().await);
        applied
    }

    /// The same. Each part is read and mapped while the one before it is written.
    async fn write_parts(
        &self,
        after: Position,
        limit: usize,
        first: (Batch, Mapped),
        ahead: &mut JoinSet<Result<(Batch, Mapped), Error>>,
    ) -> Result<Option<Outcome>, Error> {
        let Some(mut parts) = self.sink.in_parts() else { return Ok(None) };
        let (mut entries, mut rows, mut set_aside) = (0, vec![0; self.plans.len()], false);
        let mut dirty = Dirty::nothing();
        let (mut batch, mut mapped) = first;
        loop {
            if batch.more {
                let (source, mapper) = (Arc::clone(&self.source), self.mapper());
                ahead.spawn(async move {
                    let mut batch = source.rest(after, limit).await?;
                    let mapped = mapper.map(&mut batch);
                    Ok((batch, mapped))
                });
            }
            let Mapped { changes, aside } = mapped;
            if !parts.write(&changes, &aside).await? {
                return Ok(None);
            }
            self.tell(aside.iter());
            set_aside |= !aside.is_empty();
            rows.iter_mut().zip(&changes).for_each(|(rows, changes)| *rows += written(changes));
            entries += batch.entries;
            dirty.add(std::mem::take(&mut batch.touched).into_iter().map(|row| (row.pair, row.key)));
            match ahead.join_next().await {
                Some(next) => (batch, mapped) = finished(next)?,
                None => break,
            }
        }
        let Some(quarantined) = parts.commit(batch.upto).await? else { return Ok(None) };
        let batch = Batch { entries, rows: Vec::new(), ..batch };
        Ok(Some(Outcome { batch, rows, quarantined, set_aside, again: false, dirty }))
    }

    fn tell<'r>(&self, aside: impl Iterator<Item = &'r Rejected>) {
        for Rejected { row, reason, .. } in aside {
            let plan = &self.plans[row.pair];
            tracing::warn!(capability = %plan.capability, table = %plan.pair, %reason, "row set aside");
        }
    }

    /// Rows that stay on the target when they are deleted are marked instead. The target's side is fenced against everybody
    /// else, so that a row is what it was when it was read. Comes back with those that another pair of the same table has
    /// from now on.
    async fn bury(&self, changes: &mut [Changes]) -> Result<Vec<Changes>, Error> {
        let target = self.direction.source().other();
        let mut taken_over = vec![Changes::default(); changes.len()];
        for (pair, plan) in self.plans.iter().enumerate() {
            if !plan.buries(target) || changes[pair].deletes.is_empty() {
                continue;
            }
            let rows = self.sink.rows(pair, &changes[pair].deletes).await?;
            changes[pair].deletes.retain(|key| !rows.iter().any(|row| row.key == *key));
            let table = |plan: &Plan| plan.shape(target).table.clone();
            let others = self.plans.iter().zip(&*changes).enumerate();
            let others = others.filter(|(other, (of, _))| *other != pair && table(of) == table(plan));
            let brought: HashSet<Identity<'_>> =
                others.flat_map(|(_, (_, changes))| changes.upserts.iter().map(|row| identity(&row.key))).collect();
            let (moved, gone): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(|row| brought.contains(&identity(&row.key)));
            let bury = |rows: Vec<Row>| rows.into_iter().map(|row| plan.bury(target, row, now())).collect::<Vec<Row>>();
            let (moved, gone) = (bury(moved), bury(gone));
            taken_over[pair].upserts = moved;
            changes[pair].upserts.extend(gone);
        }
        Ok(taken_over)
    }
}

impl Mapper {
    /// Takes the rows out of the batch, unless others are told of them.
    pub(crate) fn map(&self, batch: &mut Batch) -> Mapped {
        let mut mapped = Mapped { changes: vec![Changes::default(); self.plans.len()], aside: Vec::new() };
        let touched = batch.touched.iter().map(|touched| ((touched.pair, identity(&touched.key)), Cell::new(false)));
        let there: HashMap<(usize, Identity<'_>), Cell<bool>> = touched.collect();
        for (pair, rows) in batch.rows.iter_mut().enumerate() {
            let rows = if self.tells { rows.clone() } else { std::mem::take(rows) };
            let fresh = batch.fresh.get(pair).copied().unwrap_or(0);
            let changes = &mut mapped.changes[pair];
            changes.upserts.reserve(rows.len());
            for (index, row) in rows.into_iter().enumerate() {
                let Some(there) = there.get(&(pair, identity(&row.key))) else { continue };
                there.set(true);
                match self.convert(pair, row) {
                    Ok(row) => changes.upserts.push(row),
                    Err(rejected) => mapped.aside.push(rejected),
                }
                if index < fresh {
                    changes.fresh = changes.upserts.len();
                }
            }
        }
        let gone = |touched: &&Touched| there.get(&(touched.pair, identity(&touched.key))).is_some_and(|there| !there.get());
        for touched in batch.touched.iter().filter(gone) {
            mapped.changes[touched.pair].deletes.push(touched.key.clone());
        }
        mapped
    }

    /// A row in the target's shape.
    fn convert(&self, pair: usize, row: Row) -> Result<Row, Rejected> {
        let plan = &self.plans[pair];
        let converted = match self.direction {
            Direction::Forward => plan.into_forward(row),
            Direction::Reverse => plan.back(&row).map_err(|error| (row, error)),
        };
        converted.map_err(|(row, error)| rejected(plan, self.direction, pair, &row, &error))
    }
}

/// How many rows are written or removed.
fn written(changes: &Changes) -> u64 {
    (changes.upserts.len() + changes.deletes.len()) as u64
}

/// A row that has no counterpart.
pub(crate) fn rejected(plan: &Plan, direction: Direction, pair: usize, row: &Row, error: &RowError) -> Rejected {
    let Shape { key, columns, .. } = match direction {
        Direction::Forward => &plan.legacy,
        Direction::Reverse => &plan.modern,
    };
    let image = Some(quarantine::image(key, columns, row));
    Rejected { row: Touched { pair, key: row.key.clone() }, image, reason: error.to_string(), reference: None }
}

/// Something to find a key by.
#[derive(PartialEq, Eq, Hash)]
pub(crate) enum Identity<'v> {
    Null,
    Int(i64),
    Real(u64),
    Text(&'v str),
    Blob(&'v [u8]),
}

pub(crate) fn identity(key: &Value) -> Identity<'_> {
    match key {
        Value::Null => Identity::Null,
        Value::Int(number) => Identity::Int(*number),
        Value::Real(number) => Identity::Real(number.to_bits()),
        Value::Text(text) => Identity::Text(text),
        Value::Blob(bytes) => Identity::Blob(bytes),
    }
}
