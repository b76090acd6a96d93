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
        let (sender, mut pieces) = mpsc::channel(3);
        let (legacy, batch_rows) = (Arc::clone(&self.legacy), self.batch_rows);
        // Dropped with this task, the receiver ends the snapshot.
        let snapshot = tokio::spawn(async move { legacy.snapshot(batch_rows, sender).await });
        while let Some(piece) = pieces.recv().await {
            match piece {
                Piece::Total(total) => self.state.update(|report| report.backfill.total = total),
                Piece::Rows(pair, rows) => self.load(pair, rows).await?,
            }
        }
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

    async fn load(&self, pair: usize, rows: Vec<Row>) -> Result<(), Error> {
        let plan = &self.plans[pair];
        let done = rows.len() as u64;
        let mut mapped = Vec::with_capacity(rows.len());
        let mut aside: Vec<Rejected> = Vec::new();
        for row in &rows {
            match convert(plan, Direction::Forward, row) {
                Ok(row) => mapped.push(row),
                Err(error) => aside.push(rejected(plan, Direction::Forward, pair, row, &error)),
            }
        }
        let refused = self.modern.load(pair, &mapped).await?;
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
        self.state.update(|report| report.backfill.done += done);
        Ok(())
    }
}
