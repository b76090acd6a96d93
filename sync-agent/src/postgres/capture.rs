//! PostgreSQL as a source: what arrived over the replication connection, in batches.

use std::any::Any;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use ficus_rules::mapping::Value;
use pgwire_replication::PgWireError;
use sqlx::Row;
use tokio::sync::mpsc;

use super::feed::{Feed, MOST_BYTES};
use super::straight::Printed;
use super::visible::Log;
use super::{Endpoint, sql};
use crate::error::Error;
use crate::port::{Batch, Left, Piece, Position, Source, Touched, unseen_name, unseen_token};

/// How long a batch that has rows waits for the end of the log.
const GRACE: Duration = Duration::from_millis(5);

/// How long it waits to become full when it is so many bytes of the log behind: many small batches would not catch up.
const FULL: Duration = Duration::from_millis(100);
const BACKLOG: u64 = 1 << 20;

/// How long an empty one does. Commits that are not written through yet take up to three times `wal_writer_delay`.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is taken in beside a batch that is being written, in bytes: a few batches.
const GATHERED: usize = 6 << 20;

/// Between two looks at what has arrived meanwhile.
const PAUSE: Duration = Duration::from_millis(1);

impl Endpoint {
    /// Takes in what comes until it is enough, or everything is here: up to the end of the log, or, when there are rows to
    /// go on with, what is on the disk; the rest is of transactions that go on.
    async fn fill(&self, feed: &mut Feed, log: &Log, limit: usize) -> Result<(), Error> {
        let begun = Instant::now();
        loop {
            feed.drain(self, MOST_BYTES)?;
            let end = if feed.entries() == 0 { log.end } else { log.flushed };
            if feed.received >= end || feed.is_enough(limit) {
                return Ok(());
            }
            let patience = match log.flushed.saturating_sub(feed.received) {
                _ if feed.entries() == 0 => PATIENCE,
                behind if behind > BACKLOG => FULL,
                _ => GRACE,
            };
            let Some(left) = patience.checked_sub(begun.elapsed()) else { return Ok(()) };
            if let Ok(arrived) = tokio::time::timeout(left, feed.next(self)).await {
                arrived?;
            }
        }
    }
}

impl Endpoint {
    /// What follows a position, up to a limit, as far as it has arrived and others see it. Where the log ended at the beginning.
    async fn take_in(&self, feed: &mut Feed, after: Position, limit: usize) -> Result<u64, Error> {
        feed.drain(self, MOST_BYTES)?;
        self.look_for_note().await?;
        let still = self.still.now();
        let log = self.look().await?;
        let end = log.end;
        if end < after.0 {
            return Err(Error::Refused(format!(
                "{}: its log ends at {end} and {after} is already applied: an older copy of the database was put in place; put the newer one back, or start over with a new backfill",
                self.server.label
            )));
        }
        if feed.rests(after.0, &log, still.as_deref().copied()) {
            self.seems_right(feed).await?;
            return Ok(end);
        }
        drop(still);
        feed.seek(self, after.0).await?;
        self.fill(feed, &log, limit).await?;
        self.look_out(feed, log.seen, limit).await?;
        self.seems_right(feed).await?;
        Ok(end)
    }

    /// What is known of the tables still holds.
    async fn seems_right(&self, feed: &mut Feed) -> Result<(), Error> {
        if std::mem::take(&mut feed.suspect) { self.assert_intact().await } else { self.seems_intact().await }
    }
}

#[async_trait]
impl Source for Endpoint {
    async fn prepare(&self) -> Result<(), Error> {
        self.make_ready().await
    }

    async fn gaps(&self) -> Result<Vec<usize>, Error> {
        let mut connection = self.server.pool.acquire().await.map_err(|e| self.failed(e))?;
        let query = "SELECT pair FROM _ficus.gap WHERE scope = $1";
        let rows = sqlx::query(query).bind(&self.names.scope).fetch_all(&mut *connection).await.map_err(|e| self.failed(e))?;
        Ok(rows.iter().filter_map(|row| self.pair_index(row.try_get(0).ok()?)).collect())
    }

    async fn open_gaps(&self, pairs: &[usize]) -> Result<(), Error> {
        self.note_gaps(pairs, None).await
    }

    async fn close_gaps(&self, pairs: &[usize]) -> Result<(), Error> {
        let mut tx = self.guarded_then().await?;
        let names: Vec<&str> = pairs.iter().map(|pair| self.pairs[*pair].name.as_str()).collect();
        let delete = "DELETE FROM _ficus.gap WHERE scope = $1 AND pair = ANY($2)";
        sqlx::query(delete).bind(&self.names.scope).bind(names).execute(&mut *tx).await.map_err(|e| self.failed(e))?;
        tx.commit().await.map_err(|e| self.failed(e))
    }

    async fn unseen(&self) -> Result<Option<u64>, Error> {
        let mut connection = self.server.pool.acquire().await.map_err(|e| self.failed(e))?;
        let query = "SELECT pair FROM _ficus.gap WHERE scope = $1";
        let rows = sqlx::query(query).bind(&self.names.scope).fetch_all(&mut *connection).await.map_err(|e| self.failed(e))?;
        Ok(rows.iter().filter_map(|row| unseen_token(row.try_get(0).ok()?)).max())
    }

    async fn set_unseen(&self, token: Option<u64>) -> Result<(), Error> {
        let mut tx = self.guarded().await?;
        let forget = "DELETE FROM _ficus.gap WHERE scope = $1 AND (pair = '' OR starts_with(pair, E'\\t'))";
        sqlx::query(forget).bind(&self.names.scope).execute(&mut *tx).await.map_err(|e| self.failed(e))?;
        if let Some(token) = token {
            let note = "INSERT INTO _ficus.gap (scope, pair) VALUES ($1, $2)";
            sqlx::query(note).bind(&self.names.scope).bind(unseen_name(token)).execute(&mut *tx).await.map_err(|e| self.failed(e))?;
        }
        tx.commit().await.map_err(|e| self.failed(e))
    }

    async fn snapshot(&self, left: &[Left], lines: &[usize], batch_rows: usize, pieces: mpsc::Sender<Piece>) -> Result<(), Error> {
        self.read_snapshot(left, lines, batch_rows, &pieces).await
    }

    fn printed(&self, pair: usize) -> Option<Box<dyn Any + Send>> {
        Some(Box::new(Printed { label: self.server.label.clone(), pair: Arc::clone(&self.pairs[pair]) }))
    }

    async fn changed(&self) -> Result<bool, Error> {
        let mut feed = self.feed.lock().await;
        if !feed.is_connected() || feed.drain(self, MOST_BYTES)? || feed.has_news() {
            return Ok(true);
        }
        Ok(self.end_now().await? > feed.received)
    }

    async fn gather(&self) -> Infallible {
        loop {
            {
                let mut feed = self.feed.lock().await;
                if feed.drain(self, GATHERED).is_err() {
                    drop(feed);
                    // The next read meets it.
                    std::future::pending::<()>().await;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn wait(&self, at_most: Duration) {
        let mut feed = self.feed.lock().await;
        if feed.is_connected() && !feed.has_news() {
            // An error has made the feed begin anew; the next read meets it.
            let _ = tokio::time::timeout(at_most, feed.next(self)).await;
        } else if !feed.is_connected() || feed.waits_for_others() {
            drop(feed);
            tokio::time::sleep(at_most).await;
        }
    }

    async fn read(&self, after: Position, limit: usize, also: &[Touched]) -> Result<Batch, Error> {
        let mut feed = self.feed.lock().await;
        feed.parts = false;
        let end = self.take_in(&mut feed, after, limit).await?;
        let batch = self.fold(&feed, after, end, limit, also).await?;
        feed.handed = batch.upto.0;
        Ok(batch)
    }

    async fn read_parts(&self, after: Position, limit: usize) -> Result<Batch, Error> {
        let mut feed = self.feed.lock().await;
        feed.parts = true;
        let end = self.take_in(&mut feed, after, limit).await?;
        let batch = match self.fold_part(&mut feed, after, end).await? {
            Some(part) => part,
            None => self.fold(&feed, after, end, limit, &[]).await?,
        };
        feed.handed = batch.upto.0;
        Ok(batch)
    }

    async fn rest(&self, after: Position, limit: usize) -> Result<Batch, Error> {
        let mut feed = self.feed.lock().await;
        loop {
            while feed.goes_on() {
                if !feed.is_connected() {
                    return Err(self.lost(&PgWireError::Task("it ended inside a transaction".to_owned())));
                }
                feed.next(self).await?;
            }
            let log = self.look().await?;
            self.look_out(&mut feed, log.seen, limit).await?;
            self.seems_right(&mut feed).await?;
            if let Some(part) = self.fold_part(&mut feed, after, log.end).await? {
                return Ok(part);
            }
            if feed.ends_torn() {
                let batch = self.fold(&feed, after, log.end, limit, &[]).await?;
                feed.handed = batch.upto.0;
                return Ok(batch);
            }
        }
    }

    fn bytes(&self, from: Position, to: Position, _entries: u64) -> u64 {
        to.0.saturating_sub(from.0)
    }

    async fn kept_log(&self) -> Result<u64, Error> {
        self.kept_by_slot().await.map_err(|e| self.failed(e))
    }

    async fn confirm(&self, position: Position) -> Result<(), Error> {
        let (last, noted) = {
            let feed = self.feed.lock().await;
            (feed.last_with_entries(position.0), feed.noted)
        };
        if last > noted {
            // Later will do.
            let Some(mut tx) = self.guarded_now().await? else { return Ok(()) };
            let note = "UPDATE _ficus.capture SET pruned = greatest(pruned, $2) WHERE scope = $1";
            let number = i64::try_from(last).unwrap_or(i64::MAX);
            sqlx::query(note).bind(&self.names.scope).bind(number).execute(&mut *tx).await.map_err(|e| self.failed(e))?;
            tx.commit().await.map_err(|e| self.failed(e))?;
        }
        let mut feed = self.feed.lock().await;
        feed.noted = feed.noted.max(last);
        feed.confirm(position.0);
        self.settle(&mut feed, position.0).await
    }

    async fn pruned(&self) -> Result<Position, Error> {
        Ok(Position(self.notes().await?.0))
    }

    async fn lost(&self, position: Position) -> Result<bool, Error> {
        Ok(self.lost_up_to().await? > position.0 && !self.gaps().await?.is_empty())
    }

    async fn end_position(&self) -> Result<Position, Error> {
        self.assert_intact().await?;
        let mut tx = self.server.begin().await?;
        // Written through here at once, whatever standbys do: the stream then gets everything before it.
        sql::run(&mut tx, "SET LOCAL synchronous_commit = local").await.map_err(|e| self.failed(e))?;
        let mark = "SELECT (pg_logical_emit_message(true, 'ficus', '') - '0/0'::pg_lsn)::int8";
        let end: i64 = sqlx::query(mark).fetch_one(&mut *tx).await.and_then(|row| row.try_get(0)).map_err(|e| self.failed(e))?;
        tx.commit().await.map_err(|e| self.failed(e))?;
        Ok(Position(u64::try_from(end).unwrap_or(0)))
    }

    async fn touch(&self, rows: &[Touched]) -> Result<(), Error> {
        // No row here has a key with a zero byte.
        let _writing = self.unrest().await?;
        let rows: Vec<&Touched> = rows.iter().filter(|row| !matches!(&row.key, Value::Text(text) if text.contains('\0'))).collect();
        for rows in rows.chunks(1_000) {
            let mut tx = self.guarded_then().await?;
            let pairs: Vec<&str> = rows.iter().map(|row| self.pairs[row.pair].name.as_str()).collect();
            let keys: Vec<String> = rows.iter().map(|row| key_text(&row.key)).collect();
            let insert =
                "INSERT INTO _ficus.touch (scope, pair, key) SELECT $1, pair, key FROM unnest($2::text[], $3::text[]) AS t(pair, key)";
            let scope = &self.names.scope;
            sqlx::query(insert).bind(scope).bind(pairs).bind(keys).execute(&mut *tx).await.map_err(|e| self.failed(e))?;
            // The log keeps what the table need not.
            let delete = "DELETE FROM _ficus.touch WHERE scope = $1";
            sqlx::query(delete).bind(scope).execute(&mut *tx).await.map_err(|e| self.failed(e))?;
            tx.commit().await.map_err(|e| self.failed(e))?;
        }
        Ok(())
    }
}

/// A key as the tables of `_ficus` keep it.
pub(super) fn key_text(key: &Value) -> String {
    match key {
        Value::Int(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        Value::Real(number) => number.to_string(),
        Value::Null | Value::Blob(_) => String::new(),
    }
}
