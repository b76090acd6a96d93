//! SQLite as a sink: rows, position, quarantine and the loop mark in one transaction.
//!
//! The transaction claims its turn first (the checkpoint's epoch), then sets the context row that keeps the triggers
//! quiet, and clears it last. Deletes go children first, upserts parents first.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use ficus_rules::Side;
use ficus_rules::mapping::{Row, Shape, Value};
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, Connection, Sqlite, SqliteConnection, Transaction};

use super::parts::Place;
use super::{Endpoint, sql, triggers};
use crate::crash;
use crate::error::Error;
use crate::isolate::{self, Blame, Parts, Room};
use crate::port::{Applied, Changes, Checkpoint, Copied, Effort, Load, Outgoing, Position, Rejected, Sink, Touched, first_turn};
use crate::quarantine::{self, Image, Kept};

/// Rows that one transaction of [`Sink::empty`] removes at most.
const EMPTY: i64 = 2_000;

/// Rows of one savepoint at most: the pages that they change are kept in memory until it is released.
const ATTEMPT: usize = 2_000;

/// Page cache of the write connection in KiB while it copies: keys in random order touch every page of their index.
const ROOMY: i64 = 8_192;
/// SQLite's default.
const USUAL: i64 = 2_000;

/// An open transaction.
struct Open<'a> {
    endpoint: &'a Endpoint,
    tx: &'a mut SqliteConnection,
}

#[async_trait]
impl Parts for Open<'_> {
    type Error = sqlx::Error;

    const MOST: usize = ATTEMPT;

    fn shape(&self, pair: usize) -> &Shape {
        &self.endpoint.pairs[pair].shape
    }

    async fn can(&mut self, pair: usize, room: Room) -> Result<bool, sqlx::Error> {
        let pair = &self.endpoint.pairs[pair];
        match room {
            Room::None => Ok(true),
            Room::Parked => Ok(pair.sql.park.is_some()),
            Room::Anew => Ok(pair.sql.whole && !triggers::notices_anew(self.tx, &pair.shape.table).await?),
        }
    }

    async fn attempt(&mut self, pair: usize, rows: &[Row], deletes: &[Value], room: Room) -> Result<Option<Blame>, sqlx::Error> {
        self.endpoint.attempt(self.tx, pair, rows, deletes, room).await
    }
}

/// A refusal, or an error that is nobody's fault.
pub(super) enum Failure {
    Blame(Blame),
    Other(sqlx::Error),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Failure {
        match sql::blame(&error) {
            Some(blame) => Failure::Blame(blame),
            None => Failure::Other(error),
        }
    }
}

impl Endpoint {
    /// A write transaction that only the agent whose turn it is gets.
    pub(super) async fn guarded(&self) -> Result<Transaction<'static, Sqlite>, Error> {
        let mut tx = self.file.begin().await?;
        let turn = "UPDATE \"_ficus_checkpoint\" SET \"epoch\" = \"epoch\" WHERE \"stream\" = ?1 AND \"epoch\" = ?2";
        let values = [Value::Text(self.stream()), Value::Int(self.epoch.load(Ordering::Acquire))];
        match sql::run_with(&mut tx, turn, &values).await.map_err(|e| self.failed(e))? {
            0 => Err(Error::Superseded),
            _ => Ok(tx),
        }
    }

    /// The same, with the loop mark set and, if given, the position moved.
    async fn marked(&self, position: Option<Position>) -> Result<Transaction<'static, Sqlite>, Error> {
        let mut tx = self.file.begin().await?;
        let turn = "UPDATE \"_ficus_checkpoint\" SET \"position\" = coalesce(?3, \"position\") WHERE \"stream\" = ?1 AND \"epoch\" = ?2";
        let position = position.map_or(Value::Null, |position| Value::Int(i64::try_from(position.0).unwrap_or(i64::MAX)));
        let values = [Value::Text(self.stream()), Value::Int(self.epoch.load(Ordering::Acquire)), position];
        if sql::run_with(&mut tx, turn, &values).await.map_err(|e| self.failed(e))? == 0 {
            return Err(Error::Superseded);
        }
        sql::run(&mut tx, "UPDATE \"_ficus_context\" SET \"writer\" = 'agent'").await.map_err(|e| self.failed(e))?;
        Ok(tx)
    }

    async fn commit(&self, mut tx: Transaction<'static, Sqlite>) -> Result<(), Error> {
        sql::run(&mut tx, "UPDATE \"_ficus_context\" SET \"writer\" = NULL").await.map_err(|e| self.failed(e))?;
        tx.commit().await.map_err(|e| self.failed(e))
    }

    async fn write(&self, tx: &mut SqliteConnection, changes: &[Changes], parked: bool) -> Result<(), Failure> {
        for (pair, changes) in changes.iter().enumerate().rev() {
            self.delete(tx, pair, &changes.deletes).await?;
        }
        for (pair, changes) in changes.iter().enumerate() {
            if parked {
                self.park(tx, pair, &changes.upserts).await?;
            }
        }
        for (pair, changes) in changes.iter().enumerate() {
            self.upsert(tx, pair, &changes.upserts).await?;
        }
        Ok(())
    }

    pub(super) async fn delete(&self, tx: &mut SqliteConnection, pair: usize, keys: &[Value]) -> Result<(), Failure> {
        for keys in keys.chunks(2_000) {
            sql::run_with(tx, &self.pairs[pair].sql.delete, &[sql::json_keys(keys.iter())]).await?;
        }
        Ok(())
    }

    async fn park(&self, tx: &mut SqliteConnection, pair: usize, rows: &[Row]) -> Result<(), Failure> {
        if let Some(park) = &self.pairs[pair].sql.park
            && !rows.is_empty()
        {
            sql::run_with(tx, park, &[sql::json_keys(rows.iter().map(|row| &row.key))]).await?;
        }
        Ok(())
    }

    pub(super) async fn upsert(&self, tx: &mut SqliteConnection, pair: usize, rows: &[Row]) -> Result<(), Failure> {
        let statements = &self.pairs[pair].sql;
        for rows in statements.parts(rows) {
            sql::query(&statements.upsert(rows.len()), row_arguments(rows)).execute(&mut *tx).await?;
        }
        Ok(())
    }

    /// Inserts rows that are not there; one that is there after all refuses them, like any constraint. While a statement
    /// runs, the arguments of the next one are put together.
    async fn insert(&self, tx: &mut SqliteConnection, pair: usize, rows: &[Row]) -> Result<(), Failure> {
        let statements = &self.pairs[pair].sql;
        let mut parts = statements.parts(rows);
        let mut ready = parts.next().map(|rows| (rows.len(), row_arguments(rows)));
        while let Some((size, arguments)) = ready {
            let statement = statements.fresh(size);
            let running = sql::query(&statement, arguments).execute(&mut *tx);
            let following = async { parts.next().map(|rows| (rows.len(), row_arguments(rows))) };
            // Polled in this order: the statement is on its way when the arguments are made.
            let (ran, next) = futures::join!(running, following);
            ran?;
            ready = next;
        }
        Ok(())
    }

    async fn isolate(&self, tx: &mut SqliteConnection, changes: &[Changes]) -> Result<Vec<Rejected>, sqlx::Error> {
        isolate::isolate(&mut Open { endpoint: self, tx }, changes).await
    }

    /// One part inside a savepoint; what refused it.
    async fn attempt(
        &self,
        tx: &mut SqliteConnection,
        pair: usize,
        rows: &[Row],
        deletes: &[Value],
        room: Room,
    ) -> Result<Option<Blame>, sqlx::Error> {
        sql::run(tx, "SAVEPOINT part").await?;
        let written = async {
            self.delete(tx, pair, deletes).await?;
            match room {
                Room::None => {}
                Room::Parked => self.park(tx, pair, rows).await?,
                Room::Anew => self.delete(tx, pair, &rows.iter().map(|row| row.key.clone()).collect::<Vec<_>>()).await?,
            }
            self.upsert(tx, pair, rows).await
        };
        let blame = match written.await {
            Ok(()) => None,
            Err(Failure::Blame(blame)) => Some(blame),
            Err(Failure::Other(error)) => return Err(error),
        };
        if blame.is_some() {
            sql::run(tx, "ROLLBACK TO part").await?;
        }
        sql::run(tx, "RELEASE part").await?;
        Ok(blame)
    }

    /// Sets rows aside, and takes those back that have been written.
    async fn quarantine(&self, tx: &mut SqliteConnection, changes: &[Changes], rejected: &[&Rejected]) -> Result<u64, sqlx::Error> {
        if rejected.is_empty() && self.quarantined.load(Ordering::Acquire) == 0 {
            return Ok(0);
        }
        for (pair, changes) in changes.iter().enumerate() {
            let keys = sql::json_keys(changes.upserts.iter().map(|row| &row.key).chain(&changes.deletes));
            let heal = "DELETE FROM \"_ficus_quarantine\" WHERE \"stream\" = ?1 AND \"pair\" = ?2 AND \"key\" IN (SELECT value FROM json_each(?3))";
            let values = [Value::Text(self.stream()), Value::Text(self.pairs[pair].name.clone()), keys];
            sql::run_with(tx, heal, &values).await?;
        }
        for Rejected { row, image, reason, .. } in rejected {
            let shape = &self.pairs[row.pair].shape;
            let there = self.rows_in(tx, row.pair, std::slice::from_ref(&row.key)).await?;
            let there = there.first().map(|row| crate::quarantine::image(&shape.key, &shape.columns, row));
            let text = |image: Option<&serde_json::Value>| image.map_or(Value::Null, |image| Value::Text(image.to_string()));
            let insert = "INSERT OR REPLACE INTO \"_ficus_quarantine\" VALUES (?1, ?2, ?3, ?4, ?5, ?6, datetime('now'))";
            let pair = Value::Text(self.pairs[row.pair].name.clone());
            let values = [
                Value::Text(self.stream()),
                pair,
                row.key.clone(),
                text(image.as_ref()),
                text(there.as_ref()),
                Value::Text(reason.clone()),
            ];
            sql::run_with(tx, insert, &values).await?;
        }
        self.count_quarantine(tx).await
    }

    async fn count_quarantine(&self, connection: &mut SqliteConnection) -> Result<u64, sqlx::Error> {
        let count = "SELECT count(*) FROM \"_ficus_quarantine\" WHERE \"stream\" = ?1";
        match sql::one(connection, count, &[Value::Text(self.stream())]).await? {
            Some(Value::Int(rows)) => Ok(u64::try_from(rows).unwrap_or(0)),
            _ => Ok(0),
        }
    }

    /// Rows outside the batch that hold a unique value that it brings.
    async fn holders(&self, changes: &[Changes]) -> Result<Vec<Touched>, sqlx::Error> {
        let mut connection = self.file.read.acquire().await?;
        let mut holders: Vec<Touched> = Vec::new();
        let keys = |changes: &Changes| changes.upserts.iter().map(|row| &row.key).chain(&changes.deletes).map(sql::literal).collect();
        // Keys that are in the batch, or found already.
        let mut known: Vec<HashSet<String>> = changes.iter().map(keys).collect();
        for (brings, Changes { upserts, .. }) in changes.iter().enumerate() {
            let table = &self.pairs[brings].shape.table;
            for (pair, other) in self.pairs.iter().enumerate().filter(|(_, other)| other.shape.table == *table) {
                for (places, terms) in self.pairs[brings].sql.unique.iter().zip(&self.pairs[brings].sql.holder) {
                    let query = format!("{} AND {terms}", other.sql.keys);
                    for row in upserts {
                        let value = |place: &Place| match place {
                            Place::Key => row.key.clone(),
                            Place::Column(index) => row.values[*index].clone(),
                        };
                        let values: Vec<Value> = places.iter().map(value).collect();
                        let Some(key) = sql::one(&mut connection, &query, &values).await? else { continue };
                        if known[pair].insert(sql::literal(&key)) {
                            holders.push(Touched { pair, key });
                        }
                    }
                }
            }
        }
        Ok(holders)
    }

    /// Remembers in the caller's transaction what was copied.
    async fn note_in(&self, tx: &mut SqliteConnection, copied: impl IntoIterator<Item = &Copied>) -> Result<(), sqlx::Error> {
        let note =
            "INSERT OR REPLACE INTO \"_ficus_copied\" (\"stream\", \"pair\", \"plan\", \"rows\", \"rest\") VALUES (?1, ?2, ?3, ?4, ?5)";
        for copied in copied {
            let rows = Value::Int(i64::try_from(copied.rows).unwrap_or(i64::MAX));
            let left = copied.text_of_left().map_or(Value::Null, Value::Text);
            let values = [Value::Text(self.stream()), Value::Text(copied.pair.clone()), Value::Text(copied.plan.clone()), rows, left];
            sql::run_with(tx, note, &values).await?;
        }
        Ok(())
    }

    /// Gives the copy more memory.
    async fn expand(&self) -> Result<(), sqlx::Error> {
        let mut connection = self.file.write.acquire().await?;
        sql::run(&mut connection, &format!("PRAGMA cache_size = -{ROOMY}")).await?;
        Ok(())
    }

    /// Gives back what the copy took: pages, and its long statements.
    async fn shrink(&self) -> Result<(), sqlx::Error> {
        let mut connection = self.file.write.acquire().await?;
        connection.clear_cached_statements().await?;
        sql::run(&mut connection, &format!("PRAGMA cache_size = -{USUAL}")).await?;
        sql::run(&mut connection, "PRAGMA shrink_memory").await?;
        Ok(())
    }

    /// Before the first copy ever, the modern tables must be empty: rows that no copy of ours wrote are not ours to remove.
    async fn uninhabited(&self, tx: &mut SqliteConnection) -> Result<(), Error> {
        for pair in &self.pairs {
            if sql::one(tx, &format!("{} LIMIT 1", pair.sql.keys), &[]).await.map_err(|e| self.failed(e))?.is_some() {
                return Err(Error::Inhabited {
                    database: self.file.label.clone(),
                    table: pair.shape.table.clone(),
                    statement: format!("DELETE FROM \"{}\"", pair.shape.table),
                });
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Sink for Endpoint {
    async fn turn(&self) -> Result<Option<i64>, Error> {
        let mut connection = self.file.read.acquire().await.map_err(|e| self.failed(e))?;
        let exists = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = '_ficus_checkpoint'";
        if sql::one(&mut connection, exists, &[]).await.map_err(|e| self.failed(e))?.is_none() {
            return Ok(None);
        }
        let turn = "SELECT \"epoch\" FROM \"_ficus_checkpoint\" WHERE \"stream\" = ?1";
        let found = sql::one(&mut connection, turn, &[Value::Text(self.stream())]).await.map_err(|e| self.failed(e))?;
        Ok(if let Some(Value::Int(turn)) = found { Some(turn) } else { None })
    }

    async fn claim(&self, source_id: &str, held: Option<i64>) -> Result<Checkpoint, Error> {
        let mut tx = self.file.begin().await?;
        let claim = "INSERT INTO \"_ficus_checkpoint\" (\"stream\", \"source_id\", \"epoch\") VALUES (?1, ?2, ?3) ON CONFLICT (\"stream\") DO UPDATE SET \"epoch\" = \"epoch\" + 1";
        let stream = Value::Text(self.stream());
        let first = first_turn();
        let values = [stream.clone(), Value::Text(source_id.to_owned()), Value::Int(first)];
        sql::run_with(&mut tx, claim, &values).await.map_err(|e| self.failed(e))?;
        let query = "SELECT \"source_id\", \"epoch\", \"position\", \"backfilled\" FROM \"_ficus_checkpoint\" WHERE \"stream\" = ?1";
        let rows = sql::all(&mut tx, query, &[stream]).await.map_err(|e| self.failed(e))?;
        let Some([Value::Text(known), Value::Int(epoch), position, Value::Int(backfilled)]) = rows.first().map(Vec::as_slice) else {
            return Err(Error::Refused(format!("{}: the checkpoint cannot be read", self.file.label)));
        };
        let first = *epoch == first;
        if let Some(held) = held {
            Error::unless_next(&self.file.label, held, *epoch, first)?;
        }
        if first && self.side == Side::Modern {
            self.uninhabited(&mut tx).await?;
        }
        if known != source_id {
            return Err(Error::Refused(format!(
                "{}: its copy was made from another {} database (file replaced?); put the known one back, or order a new start: remove the capability from sync, then add it again",
                self.file.label,
                self.side.other()
            )));
        }
        let position = match position {
            Value::Int(position) => Some(Position(u64::try_from(*position).unwrap_or(0))),
            _ => None,
        };
        let checkpoint = Checkpoint { position, backfilled: *backfilled == 1, turn: *epoch };
        let quarantined = self.count_quarantine(&mut tx).await.map_err(|e| self.failed(e))?;
        let epoch = *epoch;
        tx.commit().await.map_err(|e| self.failed(e))?;
        self.epoch.store(epoch, Ordering::Release);
        self.quarantined.store(quarantined, Ordering::Release);
        Ok(checkpoint)
    }

    async fn apply(&self, changes: &[Changes], position: Position, effort: Effort, aside: &[Rejected]) -> Result<Applied, Error> {
        crash::point("before_apply");
        let mut tx = self.marked(Some(position)).await?;
        let written = match effort {
            Effort::Plain => self.write(&mut tx, changes, false).await.map(|()| Vec::new()),
            Effort::Parked => self.write(&mut tx, changes, true).await.map(|()| Vec::new()),
            Effort::Isolated => self.isolate(&mut tx, changes).await.map_err(Failure::Other),
        };
        let rejected = match written {
            Ok(rejected) => rejected,
            Err(Failure::Other(error)) => return Err(self.failed(error)),
            Err(Failure::Blame(_)) => {
                tx.rollback().await.map_err(|e| self.failed(e))?;
                return Ok(Applied::Refused { holders: self.holders(changes).await.map_err(|e| self.failed(e))? });
            }
        };
        let all: Vec<&Rejected> = aside.iter().chain(&rejected).collect();
        let quarantined = self.quarantine(&mut tx, changes, &all).await.map_err(|e| self.failed(e))?;
        self.tell(&mut tx, changes, &rejected).await.map_err(|e| self.failed(e))?;
        crash::point("after_apply_before_commit");
        self.commit(tx).await?;
        self.quarantined.store(quarantined, Ordering::Release);
        Ok(Applied::Done { rejected, quarantined })
    }

    async fn load(&self, Load { pair, rows, copied, .. }: Load) -> Result<Vec<Rejected>, Error> {
        let rows = rows.into_rows()?;
        let mut tx = self.marked(None).await?;
        let mut changes = vec![Changes::default(); self.pairs.len()];
        let rejected = match self.insert(&mut tx, pair, &rows).await {
            Ok(()) => Vec::new(),
            Err(Failure::Other(error)) => return Err(self.failed(error)),
            Err(Failure::Blame(_)) => {
                tx.rollback().await.map_err(|e| self.failed(e))?;
                tx = self.marked(None).await?;
                changes[pair].upserts = rows;
                self.isolate(&mut tx, &changes).await.map_err(|e| self.failed(e))?
            }
        };
        let all: Vec<&Rejected> = rejected.iter().collect();
        if !all.is_empty() {
            let quarantined = self.quarantine(&mut tx, &changes, &all).await.map_err(|e| self.failed(e))?;
            self.quarantined.store(quarantined, Ordering::Release);
        }
        self.note_in(&mut tx, &copied).await.map_err(|e| self.failed(e))?;
        self.commit(tx).await?;
        Ok(rejected)
    }

    async fn copied(&self) -> Result<Vec<Copied>, Error> {
        let mut connection = self.file.read.acquire().await.map_err(|e| self.failed(e))?;
        let query = "SELECT \"pair\", \"plan\", \"rows\", \"rest\" FROM \"_ficus_copied\" WHERE \"stream\" = ?1";
        let found = sql::all(&mut connection, query, &[Value::Text(self.stream())]).await.map_err(|e| self.failed(e))?;
        let read = |row: Vec<Value>| match <[Value; 4]>::try_from(row) {
            Ok([Value::Text(pair), Value::Text(plan), Value::Int(rows), left]) => {
                let left = if let Value::Text(left) = &left { Some(left.as_str()) } else { None };
                Some(Copied::read(pair, plan, u64::try_from(rows).unwrap_or(0), left))
            }
            _ => None,
        };
        Ok(found.into_iter().filter_map(read).collect())
    }

    async fn note_copied(&self, copied: &[Copied]) -> Result<(), Error> {
        let mut tx = self.guarded().await?;
        self.note_in(&mut tx, copied).await.map_err(|e| self.failed(e))?;
        tx.commit().await.map_err(|e| self.failed(e))
    }

    async fn rename_copied(&self, copied: &[Copied], former: &[String]) -> Result<(), Error> {
        let mut tx = self.guarded().await?;
        self.note_in(&mut tx, copied).await.map_err(|e| self.failed(e))?;
        for table in ["_ficus_copied", "_ficus_quarantine"] {
            for name in former {
                let forget = format!("DELETE FROM \"{table}\" WHERE \"stream\" = ?1 AND \"pair\" = ?2");
                let values = [Value::Text(self.stream()), Value::Text(name.clone())];
                sql::run_with(&mut tx, &forget, &values).await.map_err(|e| self.failed(e))?;
            }
        }
        let quarantined = self.count_quarantine(&mut tx).await.map_err(|e| self.failed(e))?;
        tx.commit().await.map_err(|e| self.failed(e))?;
        self.quarantined.store(quarantined, Ordering::Release);
        Ok(())
    }

    async fn empty(&self) -> Result<(), Error> {
        let mut tx = self.guarded().await?;
        let stream = [Value::Text(self.stream())];
        let forget = "UPDATE \"_ficus_checkpoint\" SET \"position\" = NULL, \"backfilled\" = 0 WHERE \"stream\" = ?1";
        sql::run_with(&mut tx, forget, &stream).await.map_err(|e| self.failed(e))?;
        for table in ["_ficus_quarantine", "_ficus_copied"] {
            let clear = format!("DELETE FROM \"{table}\" WHERE \"stream\" = ?1");
            sql::run_with(&mut tx, &clear, &stream).await.map_err(|e| self.failed(e))?;
        }
        tx.commit().await.map_err(|e| self.failed(e))?;
        self.quarantined.store(0, Ordering::Release);
        self.expand().await.map_err(|e| self.failed(e))?;
        for pair in self.pairs.iter().rev() {
            loop {
                let mut tx = self.marked(None).await?;
                let removed = sql::run_with(&mut tx, &pair.sql.delete_some, &[Value::Int(EMPTY)]).await.map_err(|e| self.failed(e))?;
                self.commit(tx).await?;
                if removed == 0 {
                    break;
                }
            }
        }
        Ok(())
    }

    async fn forget_aside(&self) -> Result<(), Error> {
        let mut tx = self.guarded().await?;
        let clear = "DELETE FROM \"_ficus_quarantine\" WHERE \"stream\" = ?1";
        sql::run_with(&mut tx, clear, &[Value::Text(self.stream())]).await.map_err(|e| self.failed(e))?;
        tx.commit().await.map_err(|e| self.failed(e))?;
        self.quarantined.store(0, Ordering::Release);
        Ok(())
    }

    async fn begin_at(&self, position: Position, backfilled: bool) -> Result<(), Error> {
        let mut tx = self.guarded().await?;
        let update = "UPDATE \"_ficus_checkpoint\" SET \"position\" = ?2, \"backfilled\" = ?3 WHERE \"stream\" = ?1";
        let position = Value::Int(i64::try_from(position.0).unwrap_or(i64::MAX));
        let values = [Value::Text(self.stream()), position, Value::Int(i64::from(backfilled))];
        sql::run_with(&mut tx, update, &values).await.map_err(|e| self.failed(e))?;
        tx.commit().await.map_err(|e| self.failed(e))?;
        let room = if backfilled { self.shrink().await } else { self.expand().await };
        room.map_err(|e| self.failed(e))
    }

    async fn quarantined(&self) -> Result<u64, Error> {
        Ok(self.quarantined.load(Ordering::Acquire))
    }

    async fn set_aside(&self, at_most: u32) -> Result<Vec<Kept>, Error> {
        let image = |column: &str| {
            format!("length({column}), CASE WHEN length(CAST({column} AS BLOB)) <= {} THEN {column} END", quarantine::LARGEST)
        };
        let select = format!(
            "SELECT \"pair\", CASE typeof(\"key\") WHEN 'blob' THEN hex(\"key\") ELSE CAST(\"key\" AS TEXT) END, \
             CAST(strftime('%s', \"at\") AS INTEGER), \"reason\", {}, {} FROM \"_ficus_quarantine\" WHERE \"stream\" = ?1 \
             ORDER BY \"at\" DESC, rowid DESC LIMIT ?2",
            image("\"source_row\""),
            image("\"target_row\"")
        );
        let mut connection = self.file.read.acquire().await.map_err(|e| self.failed(e))?;
        let values = [Value::Text(self.stream()), Value::Int(i64::from(at_most))];
        let rows = sql::all(&mut connection, &select, &values).await.map_err(|e| self.failed(e))?;
        let text = |value: &Value| if let Value::Text(text) = value { Some(text.clone()) } else { None };
        let number = |value: &Value| if let Value::Int(number) = value { Some(*number) } else { None };
        let kept = |row: &Vec<Value>| {
            let [pair, key, at, reason, wanted, wanted_text, there, there_text] = row.as_slice() else { return None };
            Some(Kept {
                pair: text(pair)?,
                key: text(key).unwrap_or_default(),
                at: u64::try_from(number(at)?).unwrap_or(0) * 1_000,
                reason: text(reason)?,
                wanted: Image::read(number(wanted), text(wanted_text)),
                there: Image::read(number(there), text(there_text)),
            })
        };
        Ok(rows.iter().filter_map(kept).collect())
    }

    async fn outbox(&self, bus: &str, at_most: u32) -> Result<Vec<Outgoing>, Error> {
        self.kept_events(bus, at_most).await.map_err(|e| self.failed(e))
    }

    async fn sent(&self, bus: &str, numbers: &[u64]) -> Result<(), Error> {
        self.forget_events(bus, numbers).await
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

/// Rows as the arguments of one statement.
fn row_arguments(rows: &[Row]) -> SqliteArguments {
    let mut arguments = SqliteArguments::default();
    arguments.reserve(rows.iter().map(|row| row.values.len() + 1).sum(), 0);
    for row in rows {
        sql::bind(&mut arguments, &row.key);
        row.values.iter().for_each(|value| sql::bind(&mut arguments, value));
    }
    arguments
}
