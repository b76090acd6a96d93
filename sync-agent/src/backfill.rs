//! The initial copy: one exact snapshot of legacy, mapped, into emptied modern tables. Memory stays bounded by a few
//! batches. Interrupted before its end, it begins anew: what it had copied is removed first.

use std::sync::Arc;

use ficus_rules::mapping::{Plan, Row};
use tokio::sync::mpsc;

use crate::apply::{convert, rejected};
use crate::crash;
use crate::error::Error;
use crate::port::{Applied, Changes, Direction, Effort, Piece, Position, Rejected, Shared};
use crate::state::State;

/// Batches that one transaction of the copy takes (under a tenth of a second): each commit writes the pages that keys in
/// random order have touched, and nobody is served from these tables yet.
const BATCHES: usize = 2;

/// A copy from legacy to modern.
pub(crate) struct Backfill {
    pub(crate) legacy: Shared,
    pub(crate) modern: Shared,
    pub(crate) plans: Arc<Vec<Plan>>,
    pub(crate) state: Arc<State>,
    pub(crate) batch_rows: usize,
}

impl Backfill {
    /// Copies everything. The positions at which the forward and the reverse stream begin.
    pub(crate) async fn run(self) -> Result<(Position, Position), Error> {
        self.state.update(|report| report.backfill = ficus_rules::wire::Backfill::default());
        let gaps = (self.legacy.gaps().await?, self.modern.gaps().await?);
        self.modern.empty().await?;
        // Three stages, so that neither database waits for the mapping. Dropped with this task, the last receiver ends the
        // mapping, and that ends the snapshot.
        let (sender, pieces) = mpsc::channel(1);
        let (legacy, batch_rows) = (Arc::clone(&self.legacy), self.batch_rows * BATCHES);
        let snapshot = tokio::spawn(async move { legacy.snapshot(batch_rows, sender).await });
        let (sender, mut mapped) = mpsc::channel(1);
        let mapping = tokio::spawn(map(Arc::clone(&self.plans), Arc::clone(&self.state), pieces, sender));
        while let Some(batch) = mapped.recv().await {
            self.load(batch).await?;
        }
        // Only a mapping that came to its end has handed over everything.
        mapping.await.map_err(|error| Error::Task(error.to_string()))?;
        let forward = snapshot.await.map_err(|error| Error::Task(error.to_string()))??;
        let reverse = self.modern.end_position().await?;
        crash::point("backfill_complete");
        self.legacy.begin_at(reverse, true).await?;
        self.modern.begin_at(forward, true).await?;
        self.legacy.close_gaps(&gaps.0).await?;
        self.modern.close_gaps(&gaps.1).await?;
        self.state.update(|report| report.backfill.complete = true);
        Ok((forward, reverse))
    }

    async fn load(&self, Mapped { pair, read, rows, aside }: Mapped) -> Result<(), Error> {
        let plan = &self.plans[pair];
        let refused = self.modern.load(pair, &rows).await?;
        if !aside.is_empty() {
            let nothing = vec![Changes::default(); self.plans.len()];
            let Applied::Done { .. } = self.modern.apply(&nothing, Position::default(), Effort::Isolated, &aside).await? else {
                return Err(Error::Task("nothing was refused".to_owned()));
            };
        }
        for Rejected { reason, .. } in aside.iter().chain(&refused) {
            tracing::warn!(capability = %plan.capability, table = %plan.pair, %reason, "row set aside");
        }
        crash::point("backfill_batch");
        self.state.update(|report| report.backfill.done += read);
        Ok(())
    }
}

/// A batch in the shape of modern.
struct Mapped {
    pair: usize,
    /// Rows that it was made of.
    read: u64,
    rows: Vec<Row>,
    /// What has no counterpart.
    aside: Vec<Rejected>,
}

/// Maps until the snapshot ends, or nobody takes what is mapped.
async fn map(plans: Arc<Vec<Plan>>, state: Arc<State>, mut pieces: mpsc::Receiver<Piece>, batches: mpsc::Sender<Mapped>) {
    while let Some(piece) = pieces.recv().await {
        let (pair, rows) = match piece {
            Piece::Total(total) => {
                state.update(|report| report.backfill.total = total);
                continue;
            }
            Piece::Rows(pair, rows) => (pair, rows),
        };
        let plan = &plans[pair];
        let mut batch = Mapped { pair, read: rows.len() as u64, rows: Vec::with_capacity(rows.len()), aside: Vec::new() };
        for row in &rows {
            match convert(plan, Direction::Forward, row) {
                Ok(row) => batch.rows.push(row),
                Err(error) => batch.aside.push(rejected(plan, Direction::Forward, pair, row, &error)),
            }
        }
        drop(rows);
        if batches.send(batch).await.is_err() {
            return;
        }
    }
}
