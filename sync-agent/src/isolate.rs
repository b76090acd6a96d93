//! A batch that was refused, in ever smaller parts: what is refused alone comes back, the rest is written. Names no engine.
//!
//! What stands in the way of one row may be gone once others are written (a parent that is deleted while its last child
//! moves to another one), so that what was refused is tried again as long as anything of it succeeds.

use async_trait::async_trait;
use ficus_rules::mapping::{Row, Shape, Value};

use crate::port::{Changes, Rejected, Touched};
use crate::quarantine;

/// A refusal that a row is to blame for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Blame {
    /// Because of a unique value.
    pub(crate) unique: bool,
    /// Names columns and constraints, never values.
    pub(crate) reason: String,
    /// The foreign key that refused it, by an engine that may have to wait for the other end ([`crate::postgres`]).
    pub(crate) reference: Option<String>,
}

/// How the rows of a part make room for each other's unique values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// They do not.
    None,
    /// Those values are moved out of the way first, to where a check may not want them.
    Parked,
    /// The rows are removed first.
    Anew,
}

/// Parts of a batch, each inside a savepoint of the same transaction.
#[async_trait]
pub(crate) trait Parts: Send {
    /// What is nobody's fault.
    type Error: Send;

    /// Rows of one part at most.
    const MOST: usize = usize::MAX;

    /// The shape of a pair's rows on this side.
    fn shape(&self, pair: usize) -> &Shape;

    /// Whether rows of a pair can make room that way, and nothing else is lost by it.
    async fn can(&mut self, pair: usize, room: Room) -> Result<bool, Self::Error>;

    /// Removes or writes one part; what refused it, and then nothing of it is left.
    async fn attempt(&mut self, pair: usize, rows: &[Row], deletes: &[Value], room: Room) -> Result<Option<Blame>, Self::Error>;
}

/// Writes what can be written; the rest comes back.
pub(crate) async fn isolate<P: Parts>(parts: &mut P, changes: &[Changes]) -> Result<Vec<Rejected>, P::Error> {
    let mut left = changes.to_vec();
    loop {
        let before: usize = left.iter().map(|changes| changes.deletes.len() + changes.upserts.len()).sum();
        let rejected = once(parts, &mut left).await?;
        if rejected.is_empty() || rejected.len() == before {
            return Ok(rejected);
        }
    }
}

/// Children go first, and come last. What was refused is left.
async fn once<P: Parts>(parts: &mut P, left: &mut [Changes]) -> Result<Vec<Rejected>, P::Error> {
    let mut rejected = Vec::new();
    for (pair, changes) in left.iter_mut().enumerate().rev() {
        let keys = std::mem::take(&mut changes.deletes);
        for (key, Blame { reason, reference, .. }) in halves(parts, pair, &keys).await? {
            rejected.push(Rejected { row: Touched { pair, key: key.clone() }, image: None, reason, reference });
            changes.deletes.push(key);
        }
    }
    for (pair, changes) in left.iter_mut().enumerate() {
        let rows = std::mem::take(&mut changes.upserts);
        let refused = halves(parts, pair, &rows).await?;
        let (contested, mut refused): (Vec<_>, Vec<_>) = refused.into_iter().partition(|(_, blame)| blame.unique);
        // Rows that only stood in each other's way fit when they are written together.
        let together: Vec<Row> = contested.iter().map(|(row, _)| row.clone()).collect();
        if !together.is_empty() && fit(parts, pair, &together, &[]).await?.is_some() {
            refused.extend(contested);
        }
        for (row, Blame { reason, reference, .. }) in refused {
            let Shape { key, columns, .. } = parts.shape(pair);
            let image = Some(quarantine::image(key, columns, &row));
            rejected.push(Rejected { row: Touched { pair, key: row.key.clone() }, image, reason, reference });
            changes.upserts.push(row);
        }
    }
    Ok(rejected)
}

/// A row, or the key of one that shall not be.
trait Piece: Clone + Send + Sync {
    /// As rows to write, or as keys to remove.
    fn split(pieces: &[Self]) -> (&[Row], &[Value])
    where
        Self: Sized;
}

impl Piece for Row {
    fn split(rows: &[Row]) -> (&[Row], &[Value]) {
        (rows, &[])
    }
}

impl Piece for Value {
    fn split(deletes: &[Value]) -> (&[Row], &[Value]) {
        (&[], deletes)
    }
}

/// One part, with no more room than it takes. What refused it as it is.
async fn fit<P: Parts>(parts: &mut P, pair: usize, rows: &[Row], deletes: &[Value]) -> Result<Option<Blame>, P::Error> {
    let Some(blame) = parts.attempt(pair, rows, deletes, Room::None).await? else { return Ok(None) };
    // One alone stands in nobody's way.
    if blame.unique && rows.len() > 1 {
        for room in [Room::Parked, Room::Anew] {
            if parts.can(pair, room).await? && parts.attempt(pair, rows, deletes, room).await?.is_none() {
                return Ok(None);
            }
        }
    }
    Ok(Some(blame))
}

/// Halves whatever is refused until it is one alone; those come back, with the reason.
async fn halves<P: Parts, T: Piece>(parts: &mut P, pair: usize, all: &[T]) -> Result<Vec<(T, Blame)>, P::Error> {
    let mut refused = Vec::new();
    let mut open: Vec<&[T]> = all.chunks(P::MOST).rev().collect();
    while let Some(part) = open.pop() {
        let (rows, deletes) = T::split(part);
        let Some(blame) = fit(parts, pair, rows, deletes).await? else { continue };
        match part {
            [one] => refused.push((one.clone(), blame)),
            _ => {
                let (first, second) = part.split_at(part.len() / 2);
                open.extend([second, first]);
            }
        }
    }
    Ok(refused)
}
