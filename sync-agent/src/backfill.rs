//! The initial copy: an exact snapshot of legacy, mapped, into emptied modern tables. Memory stays bounded by a few
//! batches, which are bounded in bytes.
//!
//! Interrupted before its end, it goes on behind the last row that it wrote: with every batch the target remembers up to
//! which key a pair is there. The snapshot is gone by then, and the rest comes from another one, of a later moment; but the
//! stream begins where the *first* one stood. So whatever changed in between, in rows that had been copied or not, is in the
//! log after that position, and is as it should be once the log has been followed past the second snapshot. Until then a row
//! may be older than its neighbours; nobody reads from modern before the stream has caught up. Under another plan, or when
//! nothing is remembered, the copy begins anew: what there was of it is removed first.

mod pace;
mod way;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use ficus_rules::mapping::{Plan, Row};
use tokio::sync::mpsc;

use self::pace::Pace;
use self::way::Way;
use crate::apply::rejected;
use crate::carried;
use crate::crash;
use crate::error::Error;
use crate::port::{Applied, Changes, Copied, Direction, Effort, Left, Mapped, Piece, Position, Rejected, Shared, Straight};
use crate::state::State;

/// Batches that one transaction of the copy takes (under a tenth of a second): each commit writes the pages that keys in
/// random order have touched, and nobody is served from these tables yet.
const BATCHES: usize = 4;

/// A copy from legacy to modern.
#[derive(Clone)]
pub(crate) struct Backfill {
    pub(crate) legacy: Shared,
    pub(crate) modern: Shared,
    pub(crate) plans: Arc<Vec<Plan>>,
    pub(crate) state: Arc<State>,
    pub(crate) batch_rows: usize,
    /// Rows in a second at most.
    pub(crate) most: Option<u64>,
    /// Statements that the source may execute beside it.
    pub(crate) max_load: Option<u64>,
}

impl Backfill {
    /// Copies everything, or what is left of it when a copy began at a position already. The positions at which the forward
    /// and the reverse stream begin.
    pub(crate) async fn run(self, begun: Option<Position>) -> Result<(Position, Position), Error> {
        self.state.update(|report| report.backfill = ficus_rules::wire::Backfill::default());
        let (begun, mut copied) = match (begun, self.known().await?) {
            (Some(begun), Some(copied)) => (Some(begun), copied),
            _ => {
                self.modern.empty().await?;
                let nothing = |plan: &Plan| Copied { pair: plan.pair.clone(), plan: carried::text(plan), rows: 0, left: Left::All };
                (None, self.plans.iter().map(nothing).collect())
            }
        };
        let gaps = self.modern.gaps().await?;
        let before: u64 = copied.iter().map(|copied| copied.rows).sum();
        let mut pace = Pace::new(self.most, Instant::now());
        let mut way = Way::new(self.max_load);
        // Three stages, so that neither database waits for the mapping. Dropped with this task, the last receiver ends the
        // mapping, and that ends the snapshot.
        let (sender, mut pieces) = mpsc::channel(1);
        let (legacy, batch_rows) = (Arc::clone(&self.legacy), pace.piece(self.batch_rows * BATCHES));
        let left: Vec<Left> = copied.iter().map(|copied| copied.left.clone()).collect();
        let ways = self.ways();
        let lines: Vec<usize> = ways.keys().copied().collect();
        let snapshot = tokio::spawn(async move { legacy.snapshot(&left, &lines, batch_rows, sender).await });
        let mut forward = begun;
        if let Some(Piece::Begins(position, total)) = pieces.recv().await {
            let position = self.begin(begun, position, &copied).await?;
            forward = Some(position);
            self.state.update(|report| (report.backfill.done, report.backfill.total) = (before, before + total));
            let (sender, mut mapped) = mpsc::channel(1);
            let mapping = tokio::spawn(map(self.clone(), ways, pieces, sender));
            while let Some(batch) = mapped.recv().await {
                way.give(&self.legacy, &self.state).await?;
                self.load(batch, position, &mut copied, &mut pace).await?;
            }
            // Only a mapping that came to its end has handed over everything.
            mapping.await.map_err(|error| Error::Task(error.to_string()))??;
        }
        snapshot.await.map_err(|error| Error::Task(error.to_string()))??;
        let Some(forward) = forward else { return Err(Error::Task("a snapshot without a beginning".to_owned())) };
        let reverse = self.modern.end_position().await?;
        crash::point("backfill_complete");
        copied.iter_mut().for_each(|copied| copied.left = Left::Nothing);
        self.modern.note_copied(&copied).await?;
        self.legacy.begin_at(reverse, true).await?;
        self.modern.begin_at(forward, true).await?;
        self.modern.close_gaps(&gaps).await?;
        self.state.update(|report| report.backfill.complete = true);
        Ok((forward, reverse))
    }

    /// The pairs whose rows need not be taken apart.
    fn ways(&self) -> BTreeMap<usize, Arc<dyn Straight>> {
        let way = |(pair, plan)| Some((pair, self.modern.straight(pair, plan, self.legacy.printed(pair)?)?));
        self.plans.iter().enumerate().filter_map(way).collect()
    }

    /// What is remembered of a copy of these pairs by these plans, if anything was copied.
    async fn known(&self) -> Result<Option<Vec<Copied>>, Error> {
        let known = self.modern.copied().await?;
        let of = |plan: &Plan| known.iter().find(|copied| copied.pair == plan.pair && copied.plan == carried::text(plan)).cloned();
        let known: Option<Vec<Copied>> = self.plans.iter().map(of).collect();
        Ok(known.filter(|known| known.iter().any(|copied| copied.left != Left::All)))
    }

    /// Makes durable where the stream will begin, unless that is known from the beginning of this copy.
    async fn begin(&self, begun: Option<Position>, position: Position, copied: &[Copied]) -> Result<Position, Error> {
        if let Some(begun) = begun {
            tracing::info!(capability = %self.state.capability, "the initial copy goes on where it was");
            self.modern.begin_at(begun, false).await?;
            return Ok(begun);
        }
        // What was not captured before the position is in the snapshot; what will not be from now on is a gap.
        let gaps = self.legacy.gaps().await?;
        self.modern.begin_at(position, false).await?;
        self.modern.note_copied(copied).await?;
        self.legacy.close_gaps(&gaps).await?;
        Ok(position)
    }

    async fn load(&self, batch: Mapped, position: Position, copied: &mut [Copied], pace: &mut Pace) -> Result<(), Error> {
        let Mapped { read, last, mut load, aside } = batch;
        let plan = &self.plans[load.pair];
        if !aside.is_empty() {
            let nothing = vec![Changes::default(); self.plans.len()];
            let Applied::Done { .. } = self.modern.apply(&nothing, position, Effort::Isolated, &aside).await? else {
                return Err(Error::Task("nothing was refused".to_owned()));
            };
        }
        let copied = &mut copied[load.pair];
        (copied.rows, copied.left) = (copied.rows + read, Left::After(last));
        load.copied = Some(copied.clone());
        let refused = self.modern.load(load).await?;
        for Rejected { reason, .. } in aside.iter().chain(&refused) {
            tracing::warn!(capability = %plan.capability, table = %plan.pair, %reason, "row set aside");
        }
        crash::point("backfill_batch");
        let pause = pace.after(read, Instant::now());
        self.state.update(|report| {
            report.backfill.done += read;
            report.backfill.rows_per_second = pace.rate();
        });
        // Sleeping for no time takes a millisecond.
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        Ok(())
    }
}

/// Maps until the snapshot ends, or nobody takes what is mapped.
async fn map(
    copy: Backfill,
    ways: BTreeMap<usize, Arc<dyn Straight>>,
    mut pieces: mpsc::Receiver<Piece>,
    batches: mpsc::Sender<Mapped>,
) -> Result<(), Error> {
    while let Some(piece) = pieces.recv().await {
        let batch = match piece {
            Piece::Begins(..) => continue,
            Piece::Lines(pair, lines) => match ways.get(&pair) {
                Some(way) => Arc::clone(way).map(lines)?,
                None => return Err(Error::Task("lines that nobody asked for".to_owned())),
            },
            Piece::Rows(pair, rows) => match by_values(&copy, pair, rows) {
                Some(batch) => batch,
                None => continue,
            },
        };
        if batches.send(batch).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Rows by their values; none of none.
fn by_values(copy: &Backfill, pair: usize, rows: Vec<Row>) -> Option<Mapped> {
    let last = rows.last()?.key.clone();
    let plan = &copy.plans[pair];
    let (mut mapped, mut aside) = (Vec::with_capacity(rows.len()), Vec::new());
    let read = rows.len() as u64;
    for row in rows {
        match plan.into_forward(row) {
            Ok(row) => mapped.push(row),
            Err((row, error)) => aside.push(rejected(plan, Direction::Forward, pair, &row, &error)),
        }
    }
    Some(Mapped { read, last, load: copy.modern.ready(pair, mapped), aside })
}
