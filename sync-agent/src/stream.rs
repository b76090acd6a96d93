//! One direction, for as long as the session lasts: wake up, fold, apply, report, confirm. Names no engine.
//!
//! Commits at once while the queue is empty; while it is not, batches grow up to a cap, nothing waits, and each is read
//! while the one before it is written. Freshness is the agent's clock *before* it looked at the source: whatever was
//! committed then is in what it read.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ficus_rules::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::apply::{Applier, Mapped, Mapper, Outcome};
use crate::crash;
use crate::error::{Error, finished};
use crate::freshness::{Freshness, Look};
use crate::metrics;
use crate::port::{Batch, Changes, Effort, Position, Shared};
use crate::quarantine;
use crate::state::{State, now};

/// The log is pruned this often, or after this many entries.
const CONFIRM_EVERY: Duration = Duration::from_secs(1);
const CONFIRM_ENTRIES: u64 = 20_000;
/// So often a batch that is being written is shown to have grown older.
const AGING: Duration = Duration::from_secs(1);

/// A stream.
pub(crate) struct Stream {
    pub(crate) applier: Applier,
    pub(crate) state: Arc<State>,
    pub(crate) position: Position,
    pub(crate) poll: Duration,
    pub(crate) batch_rows: usize,
    /// Transactions may come in parts: not those of which a part was refused.
    pub(crate) parts: bool,
    pub(crate) stop: watch::Receiver<bool>,
}

impl Stream {
    /// Runs until it is told to stop, between two batches.
    pub(crate) async fn run(mut self) -> Result<(), Error> {
        let direction = self.applier.direction;
        self.state.set_quarantined(direction, self.applier.sink.quarantined().await?);
        self.show_aside().await?;
        self.state.advance(direction, self.position, now(), false);
        self.state.stream(direction, |stream| stream.live = true);
        self.note_bytes(self.position, 0);
        let mut ahead = JoinSet::new();
        let ran = self.follow(&mut ahead).await;
        drop(ahead.join_next().await);
        self.state.stream(direction, |stream| stream.live = false);
        ran
    }

    async fn follow(&mut self, ahead: &mut JoinSet<Result<Taken, Error>>) -> Result<(), Error> {
        let state = Arc::clone(&self.state);
        let flow = state.flow(self.applier.direction);
        let mut pruned = Pruned { at: Instant::now(), position: self.position, entries: 0, telling: JoinSet::new() };
        // The first look is a real one, whatever the wake-up says.
        let mut look = true;
        let mut freshness = Freshness::default();
        while !*self.stop.borrow() {
            let asked = now();
            look |= !ahead.is_empty() || self.applier.source.changed().await?;
            if look {
                let taken = match ahead.join_next().await {
                    Some(taken) => finished(taken)?,
                    None => {
                        take(Arc::clone(&self.applier.source), self.applier.mapper(), self.position, self.batch_rows, self.parts).await?
                    }
                };
                let Taken { asked, batch: Batch { entries, end, upto, .. }, .. } = taken;
                pruned.entries += entries;
                let again = self.carry(taken, ahead).await?;
                let through = freshness.after(Look { asked, end, reached: self.position });
                self.state.advance(self.applier.direction, self.position, through.unwrap_or(asked), through.is_some());
                if again {
                    // It may be older than what was read again. Nobody is cut short in the middle of a look.
                    drop(ahead.join_next().await);
                }
                look = again || upto != end;
                crash::point_if(entries > 0, "after_commit_before_confirm");
            } else {
                self.state.advance(self.applier.direction, self.position, asked, true);
            }
            self.prune(&mut pruned)?;
            if look || !ahead.is_empty() {
                continue;
            }
            tokio::select! {
                () = self.applier.source.wait(self.poll) => {}
                () = flow.wake.notified() => look = true,
                _ = self.stop.changed() => {}
            }
        }
        pruned.telling.join_next().await.map_or(Ok(()), finished)
    }

    /// Shows that the oldest change of a batch grows older while it is written: a lock in the target may hold it for long.
    async fn aging(&self, age: f64) -> Infallible {
        let begun = Instant::now();
        loop {
            tokio::time::sleep(AGING).await;
            self.state.stream(self.applier.direction, |stream| stream.lag_seconds = age + begun.elapsed().as_secs_f64());
        }
    }

    /// Applies a batch and moves the position. While there is a backlog, the next batch is read meanwhile, twice as long as
    /// this one until it is as long as may be. Whether this one was refused and read again.
    async fn carry(&mut self, taken: Taken, ahead: &mut JoinSet<Result<Taken, Error>>) -> Result<bool, Error> {
        let Taken { limit, batch, mapped, .. } = taken;
        let direction = self.applier.direction;
        if batch.touched.is_empty() && !batch.more {
            self.position = batch.upto.max(self.position);
            return Ok(false);
        }
        if self.state.flow(direction).discards() {
            return self.discard(batch).await;
        }
        self.note_bytes(batch.end, batch.entries + batch.left);
        self.state.stream(direction, |stream| {
            stream.lag_entries = batch.entries + batch.left;
            stream.lag_seconds = batch.age;
        });
        let (upto, full) = (batch.upto, usize::try_from(batch.entries).is_ok_and(|entries| entries >= limit));
        let (applier, position, more, aging) = (&self.applier, self.position, batch.more, self.aging(batch.age));
        let writing = self.state.writing((!more).then(|| batch.touched.clone()));
        let apply = async {
            if more {
                applier.apply_parts(position, limit, batch, mapped).await
            } else {
                applier.apply(position, limit, batch, mapped).await.map(Some)
            }
        };
        let apply = async {
            tokio::select! {
                applied = apply => applied,
                never = aging => match never {},
            }
        };
        let applied = if full && !more {
            let longer = (limit * 2).min(self.batch_rows * self.applier.sink.growth());
            ahead.spawn(take(Arc::clone(&applier.source), applier.mapper(), upto, longer, self.parts));
            apply.await?
        } else {
            tokio::select! {
                applied = apply => applied?,
                never = self.applier.source.gather() => match never {},
            }
        };
        writing.ended();
        let Some(Outcome { batch, rows, quarantined, set_aside, again, dirty }) = applied else {
            self.parts = false;
            return Ok(false);
        };
        self.parts = self.applier.takes_parts();
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
        if self.state.set_quarantined(direction, quarantined) || set_aside {
            self.show_aside().await?;
        }
        if again {
            self.state.touched(batch.touched);
        }
        self.state.keep_dirty(dirty);
        Ok(again)
    }

    /// Moves on behind what strangers wrote. Their rows are kept by the source ([`crate::port::Database::let_in`]); of them the next
    /// verification says that they differ.
    async fn discard(&mut self, batch: Batch) -> Result<bool, Error> {
        if batch.more {
            self.parts = false;
            return Ok(false);
        }
        let upto = batch.upto.max(self.position);
        let nothing = vec![Changes::default(); self.applier.plans.len()];
        self.applier.sink.apply(&nothing, upto, Effort::Plain, &[]).await?;
        self.position = upto;
        self.state.touched(batch.touched);
        Ok(false)
    }

    /// Reads the rows that are set aside, for people.
    async fn show_aside(&self) -> Result<(), Error> {
        let Applier { sink, plans, direction, .. } = &self.applier;
        let rows = if sink.quarantined().await? == 0 { Vec::new() } else { sink.set_aside(quarantine::SHOWN).await? };
        let shown = |kept| quarantine::shown(&self.state.capability, direction.source(), plans, kept);
        self.state.show_aside(direction.source(), rows.into_iter().map(shown).collect());
        Ok(())
    }

    /// Shows how much of the log is left. What is nobody's entry is no backlog.
    fn note_bytes(&self, end: Position, entries: u64) {
        let bytes = if entries == 0 { 0 } else { self.applier.source.bytes(self.position, end, entries) };
        let labels = [self.state.capability.as_str(), self.applier.direction.as_str()];
        metrics::LAG_BYTES.with_label_values(&labels).set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Tells the source what is durable, seldom, and while the stream goes on: it is a commit in the application's database.
    fn prune(&self, pruned: &mut Pruned) -> Result<(), Error> {
        if let Some(told) = pruned.telling.try_join_next() {
            finished(told)?;
        }
        let due = pruned.at.elapsed() >= CONFIRM_EVERY && self.position > pruned.position || pruned.entries >= CONFIRM_ENTRIES;
        if due && pruned.telling.is_empty() {
            let (source, position) = (Arc::clone(&self.applier.source), self.position);
            pruned.telling.spawn(async move { source.confirm(position).await });
            (pruned.at, pruned.position, pruned.entries) = (Instant::now(), position, pruned.entries.saturating_sub(2_000));
        }
        Ok(())
    }
}

/// Reads at most `limit` entries after a position, in parts or not, and maps them.
async fn take(source: Shared, mapper: Mapper, after: Position, limit: usize, parts: bool) -> Result<Taken, Error> {
    let asked = now();
    let mut batch = if parts { source.read_parts(after, limit).await? } else { source.read(after, limit, &[]).await? };
    let mapped = mapper.map(&mut batch);
    Ok(Taken { asked, limit, batch, mapped })
}

/// A batch that was read.
struct Taken {
    /// When the look at the source began.
    asked: Timestamp,
    /// How many entries were asked for.
    limit: usize,
    batch: Batch,
    mapped: Mapped,
}

/// What the source was told last.
struct Pruned {
    at: Instant,
    position: Position,
    entries: u64,
    /// The source is being told; ends with the stream.
    telling: JoinSet<Result<(), Error>>,
}
