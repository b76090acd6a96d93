//! PostgreSQL as a sink: rows, position, quarantine and the loop mark in one transaction.
//!
//! The transaction writes the checkpoint first. That claims the agent's turn (the epoch), and it is the mark by which the
//! capture of the opposite direction knows the transaction as the agent's own.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use ficus_rules::Side;
use ficus_rules::mapping::{Plan, Row};
use sqlx::{AssertSqlSafe, PgConnection, Postgres, Row as _, Transaction};

use super::long::Long;
use super::straight::Way;
use super::write::{Failure, send};
use super::{Endpoint, sql};
use crate::crash;
use crate::error::Error;
use crate::events::leaving;
use crate::isolate::Blame;
use crate::port::{
    Applied, Changes, Checkpoint, Copied, Effort, InParts, Load, LoadRows, Outgoing, Position, Rejected, Sink, Straight, Touched,
    first_turn,
};
use crate::quarantine::Kept;

/// Rows that one transaction of [`Sink::empty`] removes at most.
const EMPTY: i64 = 5_000;

/// A batch keeps the row for less than that, and is let pass.
const SOON: &str = "BEGIN; SET LOCAL lock_timeout = '100ms'";

/// Between two attempts to get the row that a large transaction has.
const PAUSE: Duration = Duration::from_millis(50);

/// How often a batch is written again when the server chose it as the victim of a deadlock.
const AGAIN: u32 = 3;

impl Endpoint {
    /// A transaction that only the agent whose turn it is gets. What it writes is captured.
    pub(super) async fn guarded(&self) -> Result<Transaction<'static, Postgres>, Error> {
        let mut tx = self.server.begin().await?;
        if self.has_turn(&mut tx).await.map_err(|e| self.failed(e))? { Ok(tx) } else { Err(Error::Superseded) }
    }

    /// The same, or none: a large transaction that is being written part by part has the row until it ends
    /// ([`super::long`]), and who would wait for it might be waited for by whoever goes on with it.
    pub(super) async fn guarded_now(&self) -> Result<Option<Transaction<'static, Postgres>>, Error> {
        let mut tx = self.server.pool.begin_with(SOON).await.map_err(|e| self.failed(e))?;
        match self.has_turn(&mut tx).await {
            Ok(true) => {
                sql::run(&mut tx, "SET LOCAL lock_timeout = DEFAULT").await.map_err(|e| self.failed(e))?;
                Ok(Some(tx))
            }
            Ok(false) => Err(Error::Superseded),
            Err(error) if sql::code(&error) == Some("55P03") => {
                tx.rollback().await.map_err(|e| self.failed(e))?;
                Ok(None)
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    /// The same, once that one has ended.
    pub(super) async fn guarded_then(&self) -> Result<Transaction<'static, Postgres>, Error> {
        loop {
            if let Some(tx) = self.guarded_now().await? {
                return Ok(tx);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Whether it is this agent's turn; it stays so until the transaction ends.
    async fn has_turn(&self, tx: &mut PgConnection) -> Result<bool, sqlx::Error> {
        let turn = "SELECT 1 FROM _ficus.checkpoint WHERE stream = $1 AND epoch = $2 FOR UPDATE";
        let turn = sqlx::query(turn).bind(&self.names.stream).bind(self.epoch.load(Ordering::Acquire));
        Ok(turn.fetch_optional(tx).await?.is_some())
    }

    /// The same, with the loop mark and, if given, the position moved; then whatever else is to come first. One message:
    /// a batch of few rows costs little else but answers that are waited for.
    pub(super) async fn marked(&self, position: Option<Position>, more: &str) -> Result<Transaction<'static, Postgres>, Error> {
        let begin = format!("BEGIN; {}; {more}", self.mark(position));
        self.server.pool.begin_with(AssertSqlSafe(begin)).await.map_err(|error| self.not_ours(error))
    }

    /// The statements that set the mark, or fail.
    pub(super) fn mark(&self, position: Option<Position>) -> String {
        let position = position.map_or_else(|| "position".to_owned(), |position| i64::try_from(position.0).unwrap_or(i64::MAX).to_string());
        let turn = format!("stream = {} AND epoch = {}", sql::text(&self.names.stream), self.epoch.load(Ordering::Acquire));
        // Of no row there is no share: that is how the message ends when the turn is another agent's.
        format!("UPDATE _ficus.checkpoint SET position = {position} WHERE {turn}; SELECT 1 / count(*) FROM _ficus.checkpoint WHERE {turn}")
    }

    pub(super) fn not_ours(&self, error: sqlx::Error) -> Error {
        if sql::code(&error) == Some("22012") { Error::Superseded } else { self.failed(error) }
    }

    /// A batch of few rows as one message, which is a transaction of its own.
    async fn attempt_at_once(&self, changes: &[Changes], position: Position) -> Result<AtOnce, Failed> {
        if self.quarantined.load(Ordering::Acquire) > 0 {
            return Ok(AtOnce::NotThatSimple);
        }
        let rows = match self.in_one(changes) {
            Ok(Some(rows)) => rows,
            Ok(None) => return Ok(AtOnce::NotThatSimple),
            Err(_) => return Ok(AtOnce::Refused),
        };
        let (opening, telling) = (self.opening(changes, Effort::Plain), self.telling(changes));
        let message = format!("{}; {opening}{rows}{telling}", self.mark(Some(position)));
        // Nothing lies between the rows and the commit of one message: whoever dies here has written nothing.
        crash::point("after_apply_before_commit");
        let mut connection = self.server.pool.acquire().await?;
        match sql::run(&mut connection, &message).await {
            Ok(_) => Ok(AtOnce::Written),
            Err(error) if sql::code(&error) == Some("22012") => self.turn_is_ours().await.map(|()| AtOnce::Refused),
            Err(error) if sql::blame(&error).is_some() => Ok(AtOnce::Refused),
            Err(error) => Err(Failed::Server(error)),
        }
    }

    /// A division by zero says that it is not, unless an expression of the application's divides as well.
    async fn turn_is_ours(&self) -> Result<(), Failed> {
        Ok(self.guarded().await?.rollback().await?)
    }

    /// One attempt at a batch; `None`: a constraint refused it.
    async fn attempt_batch(
        &self,
        changes: &[Changes],
        position: Position,
        effort: Effort,
        aside: &[Rejected],
    ) -> Result<Option<Applied>, Failed> {
        if effort == Effort::Plain && aside.is_empty() {
            match self.attempt_at_once(changes, position).await? {
                AtOnce::Written => {
                    self.absent.ended();
                    return Ok(Some(Applied::Done { rejected: Vec::new(), quarantined: 0 }));
                }
                AtOnce::Refused => return Ok(None),
                AtOnce::NotThatSimple => {}
            }
        }
        let (mut tx, written) = match effort {
            Effort::Plain | Effort::Parked => {
                let mut tx = self.marked(Some(position), &self.opening(changes, effort)).await?;
                let written = self.write(&mut tx, changes, effort).await;
                (tx, written.map(|()| Vec::new()))
            }
            Effort::Isolated => {
                let (mut tx, rejected) = self.isolate_patiently(changes, &self.opening(changes, effort)).await?;
                sql::run(&mut tx, &self.mark(Some(position))).await.map_err(|error| self.not_ours(error))?;
                (tx, Ok(rejected))
            }
        };
        let rejected = match written {
            Ok(rejected) => rejected,
            Err(Failure::Other(error)) => return Err(Failed::Server(error)),
            Err(Failure::Blame(_)) => {
                tx.rollback().await?;
                return Ok(None);
            }
        };
        let all: Vec<&Rejected> = aside.iter().chain(&rejected).collect();
        let quarantined = self.quarantine(&mut tx, changes, &all, self.quarantined.load(Ordering::Acquire)).await?;
        if effort != Effort::Isolated {
            self.tell(&mut tx, &leaving(changes, &rejected).collect::<Vec<_>>()).await?;
        }
        crash::point("after_apply_before_commit");
        // What is deferred to the commit is a refusal as well.
        match tx.commit().await {
            Err(error) if sql::blame(&error).is_some() && effort != Effort::Isolated => return Ok(None),
            committed => committed?,
        }
        self.quarantined.store(quarantined, Ordering::Release);
        if rejected.is_empty() {
            self.absent.ended();
        }
        Ok(Some(Applied::Done { rejected, quarantined }))
    }

    /// Before the first copy ever, the modern tables must be empty: rows that no copy of ours wrote are not ours to remove.
    async fn uninhabited(&self, tx: &mut Transaction<'static, Postgres>) -> Result<(), Error> {
        for pair in &self.pairs {
            let any = format!("SELECT 1 {} LIMIT 1", pair.sql.from);
            if sql::query(&any).fetch_optional(&mut **tx).await.map_err(|e| self.failed(e))?.is_some() {
                return Err(Error::Inhabited {
                    database: self.server.label.clone(),
                    table: pair.shape.table.clone(),
                    statement: format!("DELETE FROM {}", pair.table),
                });
            }
        }
        Ok(())
    }

    /// Loads lines straight into the table; what refused them, and then nothing was written.
    async fn load_plain(&self, pair: usize, lines: Vec<Vec<u8>>, copied: Option<&Copied>) -> Result<Option<Blame>, Error> {
        let mut tx = self.marked(None, "").await?;
        match send(&mut tx, &self.pairs[pair].sql.copy_in, lines).await.map_err(Failure::from) {
            Ok(()) => {}
            Err(Failure::Other(error)) => return Err(self.failed(error)),
            Err(Failure::Blame(blame)) => {
                tx.rollback().await.map_err(|e| self.failed(e))?;
                return Ok(Some(blame));
            }
        }
        self.note_in(&mut tx, copied).await.map_err(|e| self.failed(e))?;
        // What is deferred to the commit is a refusal as well.
        match tx.commit().await {
            Ok(()) => Ok(None),
            Err(error) => match sql::blame(&error) {
                Some(blame) => Ok(Some(blame)),
                None => Err(self.failed(error)),
            },
        }
    }

    /// Remembers in the caller's transaction what was copied.
    async fn note_in(&self, tx: &mut PgConnection, copied: impl IntoIterator<Item = &Copied>) -> Result<(), sqlx::Error> {
        let note = "INSERT INTO _ficus.copied (stream, pair, plan, rows, rest) VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (stream, pair) DO UPDATE SET plan = excluded.plan, rows = excluded.rows, rest = excluded.rest";
        for copied in copied {
            let rows = i64::try_from(copied.rows).unwrap_or(i64::MAX);
            let note = sqlx::query(note).bind(&self.names.stream).bind(&copied.pair).bind(&copied.plan);
            note.bind(rows).bind(copied.text_of_left()).execute(&mut *tx).await?;
        }
        Ok(())
    }
}

/// What came of one message.
enum AtOnce {
    Written,
    Refused,
    /// Nothing was tried: it takes more than one.
    NotThatSimple,
}

/// Why an attempt came to nothing.
pub(super) enum Failed {
    Agent(Error),
    Server(sqlx::Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Failed {
        Failed::Agent(error)
    }
}

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Failed {
        Failed::Server(error)
    }
}

#[async_trait]
impl Sink for Endpoint {
    async fn turn(&self) -> Result<Option<i64>, Error> {
        let mut connection = self.server.pool.acquire().await.map_err(|e| self.failed(e))?;
        let there = sqlx::query("SELECT 1 WHERE to_regclass('_ficus.checkpoint') IS NOT NULL").fetch_optional(&mut *connection).await;
        if there.map_err(|e| self.failed(e))?.is_none() {
            return Ok(None);
        }
        let turn = "SELECT epoch FROM _ficus.checkpoint WHERE stream = $1";
        let row = sqlx::query(turn).bind(&self.names.stream).fetch_optional(&mut *connection).await.map_err(|e| self.failed(e))?;
        row.map(|row| row.try_get(0)).transpose().map_err(|e| self.failed(e))
    }

    async fn claim(&self, source_id: &str, held: Option<i64>) -> Result<Checkpoint, Error> {
        let mut tx = self.server.begin().await?;
        let claim = "INSERT INTO _ficus.checkpoint AS c (stream, source_id, epoch) VALUES ($1, $2, $3) ON CONFLICT (stream) DO UPDATE SET epoch = c.epoch + 1
            RETURNING source_id, epoch, position, backfilled";
        let first = first_turn();
        let row = sqlx::query(claim).bind(&self.names.stream).bind(source_id).bind(first);
        let row = row.fetch_one(&mut *tx).await.map_err(|e| self.failed(e))?;
        let decoded = || {
            Ok::<_, sqlx::Error>((
                row.try_get::<String, _>(0)?,
                row.try_get::<i64, _>(1)?,
                row.try_get::<Option<i64>, _>(2)?,
                row.try_get(3)?,
            ))
        };
        let (known, epoch, position, backfilled) = decoded().map_err(|e| self.failed(e))?;
        let first = epoch == first;
        if let Some(held) = held {
            Error::unless_next(&self.server.label, held, epoch, first)?;
        }
        if first && self.side == Side::Modern {
            self.uninhabited(&mut tx).await?;
        }
        if known != source_id {
            return Err(Error::Refused(format!(
                "{}: its copy was made from another {} database (server or database replaced?); put the known one back, or order a new start: remove the capability from sync, then add it again",
                self.server.label,
                self.side.other()
            )));
        }
        self.reopen_half_closed(&mut tx).await?;
        let quarantined = self.count_quarantine(&mut tx).await.map_err(|e| self.failed(e))?;
        tx.commit().await.map_err(|e| self.failed(e))?;
        self.epoch.store(epoch, Ordering::Release);
        self.quarantined.store(quarantined, Ordering::Release);
        let position = position.map(|position| Position(u64::try_from(position).unwrap_or(0)));
        Ok(Checkpoint { position, backfilled, turn: epoch })
    }

    async fn apply(&self, changes: &[Changes], position: Position, effort: Effort, aside: &[Rejected]) -> Result<Applied, Error> {
        crash::point("before_apply");
        for attempt in 1.. {
            match self.attempt_batch(changes, position, effort, aside).await {
                Ok(Some(done)) => return Ok(done),
                Ok(None) => break,
                Err(Failed::Server(error)) if matches!(sql::code(&error), Some("40P01" | "40001")) && attempt < AGAIN => {
                    tracing::debug!(stream = %self.names.stream, "a batch met a deadlock and is written again");
                }
                Err(Failed::Server(error)) => return Err(self.failed(error)),
                Err(Failed::Agent(error)) => return Err(error),
            }
        }
        Ok(Applied::Refused { holders: self.holders(changes).await.map_err(|e| self.failed(e))? })
    }

    fn in_parts(&self) -> Option<Box<dyn InParts + '_>> {
        Some(Box::new(Long::new(self)))
    }

    fn growth(&self) -> usize {
        8
    }

    fn ready(&self, pair: usize, rows: Vec<Row>) -> Load {
        // What cannot be written is found when they are written one by one.
        let wire = self.lines(pair, rows.iter()).ok();
        Load { pair, rows: LoadRows::Rows(rows), wire, copied: None }
    }

    fn straight(&self, pair: usize, plan: &Plan, printed: Box<dyn Any + Send>) -> Option<Arc<dyn Straight>> {
        let way = Way::new(pair, plan, *printed.downcast().ok()?, Arc::clone(&self.pairs[pair]))?;
        Some(Arc::new(way))
    }

    async fn load(&self, Load { pair, rows, wire, copied }: Load) -> Result<Vec<Rejected>, Error> {
        if let Some(lines) = wire {
            match self.load_plain(pair, lines, copied.as_ref()).await? {
                None => return Ok(Vec::new()),
                Some(Blame { reference: Some(key), .. }) => self.begins_after(&key).await?,
                Some(_) => {}
            }
        }
        let mut changes = vec![Changes::default(); self.pairs.len()];
        changes[pair].upserts = rows.into_rows()?;
        let (mut tx, rejected) = self.isolate_patiently(&changes, "").await.map_err(|failed| match failed {
            Failed::Agent(error) => error,
            Failed::Server(error) => self.failed(error),
        })?;
        let all: Vec<&Rejected> = rejected.iter().collect();
        let before = self.quarantined.load(Ordering::Acquire);
        let quarantined = self.quarantine(&mut tx, &changes, &all, before).await.map_err(|e| self.failed(e))?;
        self.note_in(&mut tx, &copied).await.map_err(|e| self.failed(e))?;
        tx.commit().await.map_err(|e| self.failed(e))?;
        self.quarantined.store(quarantined, Ordering::Release);
        if rejected.is_empty() {
            self.absent.ended();
        }
        Ok(rejected)
    }

    async fn copied(&self) -> Result<Vec<Copied>, Error> {
        let mut connection = self.server.pool.acquire().await.map_err(|e| self.failed(e))?;
        let query = "SELECT pair, plan, rows, rest FROM _ficus.copied WHERE stream = $1";
        let rows = sqlx::query(query).bind(&self.names.stream).fetch_all(&mut *connection).await.map_err(|e| self.failed(e))?;
        let read = |row: &sqlx::postgres::PgRow| {
            let (pair, plan, rows): (String, String, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            let left: Option<String> = row.try_get(3)?;
            Ok::<_, sqlx::Error>(Copied::read(pair, plan, u64::try_from(rows).unwrap_or(0), left.as_deref()))
        };
        rows.iter().map(read).collect::<Result<_, _>>().map_err(|e| self.failed(e))
    }

    async fn note_copied(&self, copied: &[Copied]) -> Result<(), Error> {
        let mut tx = self.guarded().await?;
        self.note_in(&mut tx, copied).await.map_err(|e| self.failed(e))?;
        tx.commit().await.map_err(|e| self.failed(e))
    }

    async fn rename_copied(&self, copied: &[Copied], former: &[String]) -> Result<(), Error> {
        let mut tx = self.guarded().await?;
        self.note_in(&mut tx, copied).await.map_err(|e| self.failed(e))?;
        for table in ["copied", "quarantine"] {
            let forget = sql::query(&format!("DELETE FROM _ficus.{table} WHERE stream = $1 AND pair = ANY($2)"));
            forget.bind(&self.names.stream).bind(former).execute(&mut *tx).await.map_err(|e| self.failed(e))?;
        }
        let quarantined = self.count_quarantine(&mut tx).await.map_err(|e| self.failed(e))?;
        tx.commit().await.map_err(|e| self.failed(e))?;
        self.quarantined.store(quarantined, Ordering::Release);
        Ok(())
    }

    async fn empty(&self) -> Result<(), Error> {
        let mut tx = self.guarded().await?;
        let stream = &self.names.stream;
        let forget = "UPDATE _ficus.checkpoint SET position = NULL, backfilled = false WHERE stream = $1";
        sqlx::query(forget).bind(stream).execute(&mut *tx).await.map_err(|e| self.failed(e))?;
        let clear = "DELETE FROM _ficus.quarantine WHERE stream = $1";
        sqlx::query(clear).bind(stream).execute(&mut *tx).await.map_err(|e| self.failed(e))?;
        let clear = "DELETE FROM _ficus.copied WHERE stream = $1";
        sqlx::query(clear).bind(stream).execute(&mut *tx).await.map_err(|e| self.failed(e))?;
        tx.commit().await.map_err(|e| self.failed(e))?;
        self.quarantined.store(0, Ordering::Release);
        for pair in self.pairs.iter().rev() {
            loop {
                let mut tx = self.marked(None, "").await?;
                let delete = sql::query(&pair.sql.delete_some).bind(EMPTY).execute(&mut *tx).await.map_err(|e| self.failed(e))?;
                tx.commit().await.map_err(|e| self.failed(e))?;
                if delete.rows_affected() == 0 {
                    break;
                }
            }
        }
        Ok(())
    }

    async fn forget_aside(&self) -> Result<(), Error> {
        let mut tx = self.guarded().await?;
        let clear = "DELETE FROM _ficus.quarantine WHERE stream = $1";
        sqlx::query(clear).bind(&self.names.stream).execute(&mut *tx).await.map_err(|e| self.failed(e))?;
        tx.commit().await.map_err(|e| self.failed(e))?;
        self.quarantined.store(0, Ordering::Release);
        Ok(())
    }

    async fn begin_at(&self, position: Position, backfilled: bool) -> Result<(), Error> {
        let mut tx = self.guarded().await?;
        let update = "UPDATE _ficus.checkpoint SET position = $2, backfilled = $3 WHERE stream = $1";
        let position = i64::try_from(position.0).unwrap_or(i64::MAX);
        let update = sqlx::query(update).bind(&self.names.stream).bind(position).bind(backfilled);
        update.execute(&mut *tx).await.map_err(|e| self.failed(e))?;
        tx.commit().await.map_err(|e| self.failed(e))
    }

    async fn quarantined(&self) -> Result<u64, Error> {
        Ok(self.quarantined.load(Ordering::Acquire))
    }

    async fn set_aside(&self, at_most: u32) -> Result<Vec<Kept>, Error> {
        self.kept(at_most).await.map_err(|e| self.failed(e))
    }

    async fn returning(&self, at_most: u32) -> Result<Vec<Touched>, Error> {
        self.no_longer_refused(at_most).await.map_err(|e| self.failed(e))
    }

    async fn outbox(&self, bus: &str, at_most: u32) -> Result<Vec<Outgoing>, Error> {
        self.kept_events(bus, at_most).await.map_err(|e| self.failed(e))
    }

    async fn sent(&self, bus: &str, numbers: &[u64]) -> Result<(), Error> {
        self.forget_events(bus, numbers).await.map_err(|e| self.failed(e))
    }

    async fn waiting(&self, bus: &str) -> Result<u64, Error> {
        self.count_events(bus).await.map_err(|e| self.failed(e))
    }

    async fn last_event(&self) -> Result<u64, Error> {
        self.highest_event().await.map_err(|e| self.failed(e))
    }

    async fn sequence(&self, pair: usize) -> Result<i64, Error> {
        self.highest(pair).await
    }

    async fn raise_sequence(&self, pair: usize, above: i64) -> Result<(), Error> {
        self.raise(pair, above).await
    }
}
