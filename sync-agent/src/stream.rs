//! One direction, for as long as the session lasts: wake up, fold, apply, report, confirm. Names no engine.
//!
//! Commits at once while the queue is empty; while it is not, batches grow up to a cap and nothing waits. Freshness is
//! the agent's clock *before* it looked at the source: whatever was committed then is in what it read.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::apply::{Applier, Outcome};
use crate::crash;
use crate::error::Error;
use crate::freshness::{Freshness, Look};
use crate::metrics;
use crate::port::{Batch, Position};
use crate::state::{State, now};

/// The log is pruned this often, or after this many entries.
const CONFIRM_EVERY: Duration = Duration::from_secs(1);
const CONFIRM_ENTRIES: u64 = 20_000;

/// A stream.
pub(crate) struct Stream {
    pub(crate) applier: Applier,
    pub(crate) state: Arc<State>,
    pub(crate) position: Position,
    pub(crate) poll: Duration,
    pub(crate) batch_rows: usize,
    pub(crate) stop: watch::Receiver<bool>,
}

impl Stream {
    /// Runs until it is told to stop, between two batches.
    pub(crate) async fn run(mut self) -> Result<(), Error> {
        let direction = self.applier.direction;
        self.state.set_quarantined(direction, self.applier.sink.quarantined().await?);
        self.state.advance(direction, self.position, now(), false);
        self.state.stream(direction, |stream| stream.live = true);
        self.note_bytes(self.position, 0);
        let ran = self.follow().await;
        self.state.stream(direction, |stream| stream.live = false);
        ran
    }

    async fn follow(&mut self) -> Result<(), Error> {
        let state = Arc::clone(&self.state);
        let flow = state.flow(self.applier.direction);
        let mut pruned = Pruned { at: Instant::now(), position: self.position, entries: 0 };
        // The first look is a real one, whatever the wake-up says.
        let mut look = true;
        let mut freshness = Freshness::default();
        // Doubles while batches come full.
        let mut limit = self.batch_rows;
        while !*self.stop.borrow() {
            let asked = now();
            look |= self.applier.source.changed().await?;
            if look {
                let batch = self.applier.source.read(self.position, limit, &[]).await?;
                let (entries, end, complete) = (batch.entries, batch.end, batch.upto == batch.end);
                pruned.entries += self.carry(batch, limit).await?;
                let full = usize::try_from(entries).is_ok_and(|entries| entries >= limit);
                limit = if full { (limit * 2).min(self.batch_rows * self.applier.sink.growth()) } else { self.batch_rows };
                let through = freshness.after(Look { asked, end, reached: self.position });
                self.state.advance(self.applier.direction, self.position, through.unwrap_or(asked), through.is_some());
                look = !complete;
                crash::point_if(entries > 0, "after_commit_before_confirm");
            } else {
                self.state.advance(self.applier.direction, self.position, asked, true);
            }
            self.prune(&mut pruned).await?;
            if look {
                continue;
            }
            tokio::select! {
                () = self.applier.source.wait(self.poll) => {}
                () = flow.wake.notified() => look = true,
                _ = self.stop.changed() => {}
            }
        }
        Ok(())
    }

    /// Applies a batch and moves the position. The number of entries that it had.
    async fn carry(&mut self, batch: Batch, limit: usize) -> Result<u64, Error> {
        let direction = self.applier.direction;
        let entries = batch.entries;
        if batch.touched.is_empty() {
            self.position = batch.upto.max(self.position);
            return Ok(entries);
        }
        self.note_bytes(batch.end, batch.entries + batch.left);
        self.state.stream(direction, |stream| {
            stream.lag_entries = batch.entries + batch.left;
            stream.lag_seconds = batch.age;
        });
        let Outcome { batch, rows, quarantined } = tokio::select! {
            applied = self.applier.apply(self.position, limit, batch) => applied?,
            never = self.applier.source.gather() => match never {},
        };
        self.position = batch.upto.max(self.position);
        self.note_bytes(batch.end, batch.left);
        self.state.stream(direction, |stream| {
            stream.lag_entries = batch.left;
            stream.lag_seconds = if batch.left == 0 { 0.0 } else { batch.age };
            stream.rows += rows.iter().sum::<u64>();
        });
        for (plan, rows) in self.applier.plans.iter().zip(&rows).filter(|(_, rows)| **rows > 0) {
            metrics::ROWS.with_label_values(&[&self.state.capability, direction.as_str(), &plan.pair]).inc_by(*rows);
        }
        self.state.set_quarantined(direction, quarantined);
        self.state.touched(batch.touched);
        Ok(entries)
    }

    /// Shows how much of the log is left. What is nobody's entry is no backlog.
    fn note_bytes(&self, end: Position, entries: u64) {
        let bytes = if entries == 0 { 0 } else { self.applier.source.bytes(self.position, end, entries) };
        let labels = [self.state.capability.as_str(), self.applier.direction.as_str()];
        metrics::LAG_BYTES.with_label_values(&labels).set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Tells the source what is durable, seldom: it is a write to the application's database.
    async fn prune(&self, pruned: &mut Pruned) -> Result<(), Error> {
        let due = pruned.at.elapsed() >= CONFIRM_EVERY && self.position > pruned.position || pruned.entries >= CONFIRM_ENTRIES;
        if due {
            self.applier.source.confirm(self.position).await?;
            *pruned = Pruned { at: Instant::now(), position: self.position, entries: pruned.entries.saturating_sub(2_000) };
        }
        Ok(())
    }
}

/// What the source was told last.
struct Pruned {
    at: Instant,
    position: Position,
    entries: u64,
}
