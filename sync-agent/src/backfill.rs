//! The initial copy: one exact snapshot of legacy, mapped, into emptied modern tables. Memory stays bounded by a few
//! batches. Interrupted before its end, it begins anew: what it had copied is removed first.

use std::sync::Arc;

use ficus_rules::mapping::Plan;
use tokio::sync::mpsc;

use crate::apply::rejected;
use crate::crash;
use crate::error::Error;
use crate::port::{Applied, Changes, Direction, Effort, Load, Piece, Position, Rejected, Shared};
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
        let mapping = tokio::spawn(map(self.clone(), pieces, sender));
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

    async fn load(&self, Mapped { read, load, aside }: Mapped) -> Result<(), Error> {
        let plan = &self.plans[load.pair];
        let refused = self.modern.load(load).await?;
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
    /// Rows that it was made of.
    read: u64,
    load: Load,
    /// What has no counterpart.
    aside: Vec<Rejected>,
}

/// Maps until the snapshot ends, or nobody takes what is mapped.
async fn map(copy: Backfill, mut pieces: mpsc::Receiver<Piece>, batches: mpsc::Sender<Mapped>) {
    while let Some(piece) = pieces.recv().await {
        let (pair, rows) = match piece {
            Piece::Total(total) => {
                copy.state.update(|report| report.backfill.total = total);
                continue;
            }
            Piece::Rows(pair, rows) => (pair, rows),
        };
        let plan = &copy.plans[pair];
        let (mut mapped, mut aside) = (Vec::with_capacity(rows.len()), Vec::new());
        let read = rows.len() as u64;
        for row in rows {
            match plan.into_forward(row) {
                Ok(row) => mapped.push(row),
                Err((row, error)) => aside.push(rejected(plan, Direction::Forward, pair, &row, &error)),
            }
        }
        let batch = Mapped { read, load: copy.modern.ready(pair, mapped), aside };
        if batches.send(batch).await.is_err() {
            return;
        }
    }
}
