//! Rows into tables: few as arrays of texts, many by COPY into a temporary table and one upsert. Always inside the
//! caller's transaction; a refusal names the row's fault, and leaves the transaction to be rolled back.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashSet};

use async_trait::async_trait;
use ficus_rules::mapping::{Row, Shape, Value};
use sqlx::PgConnection;
use sqlx::Row as _;

use super::capture::key_text;
use super::change::Key;
use super::copy::{self, PIECE};
use super::parts::{Place, Statements};
use super::{Endpoint, sql};
use crate::isolate::{self, Blame, Parts, Room};
use crate::port::{Changes, Effort, Rejected, Touched};

/// Rows of a batch that is written by one message.
const AT_ONCE: usize = 40;

/// From here on a batch is copied.
const MANY: usize = 1_000;

/// Rows of one statement of arrays.
const FEW: usize = 500;

/// From here on rows that are not there yet are copied straight into the table.
const FRESH: usize = 100;

/// Whether something else is done in this session when a row of a table is removed and written anew: by a foreign key, or by a
/// trigger of the application's. A reference that only refuses it does nothing.
const NOTICES_ANEW: &str = "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_constraint k WHERE k.contype = 'f' AND k.confrelid = $1::regclass
      AND k.confdeltype NOT IN ('a', 'r') AND current_setting('session_replication_role') <> 'replica')
    OR EXISTS (SELECT 1 FROM pg_catalog.pg_trigger t WHERE t.tgrelid = $1::regclass
      AND NOT t.tgisinternal AND t.tgtype & 12 <> 0 AND NOT starts_with(t.tgname, '_ficus_')
      AND t.tgenabled::text IN ('A', CASE current_setting('session_replication_role') WHEN 'replica' THEN 'R' ELSE 'O' END))";

/// The rows to copy, and those to upsert.
fn upserts(changes: &Changes) -> (&[Row], &[Row]) {
    let fresh = if changes.fresh >= FRESH { changes.fresh.min(changes.upserts.len()) } else { 0 };
    changes.upserts.split_at(fresh)
}

/// Lines of COPY into the table that the statement names.
pub(super) async fn send(tx: &mut PgConnection, statement: &str, lines: Vec<Vec<u8>>) -> Result<(), sqlx::Error> {
    let mut copy = tx.copy_in_raw(statement).await?;
    for piece in lines {
        copy.send(piece).await?;
    }
    copy.finish().await.map(drop)
}

/// Rows as they lie in the index of their key: its pages are met once.
fn by_key(rows: &[Row]) -> impl Iterator<Item = &Row> {
    let mut rows: Vec<&Row> = rows.iter().collect();
    rows.sort_by(|one, other| match (&one.key, &other.key) {
        (Value::Int(one), Value::Int(other)) => one.cmp(other),
        (Value::Text(one), Value::Text(other)) => one.cmp(other),
        _ => Ordering::Equal,
    });
    rows.into_iter()
}

/// An open transaction.
struct Open<'a> {
    endpoint: &'a Endpoint,
    tx: &'a mut PgConnection,
    /// Foreign keys that refused something.
    references: BTreeSet<String>,
}

#[async_trait]
impl Parts for Open<'_> {
    type Error = sqlx::Error;

    fn shape(&self, pair: usize) -> &Shape {
        &self.endpoint.pairs[pair].shape
    }

    async fn can(&mut self, pair: usize, room: Room) -> Result<bool, sqlx::Error> {
        let pair = &self.endpoint.pairs[pair];
        match room {
            Room::None => Ok(true),
            Room::Parked => Ok(pair.sql.park.is_some()),
            Room::Anew if !pair.sql.whole => Ok(false),
            Room::Anew => {
                let noticed: bool = sqlx::query_scalar(NOTICES_ANEW).bind(&pair.table).fetch_one(&mut *self.tx).await?;
                Ok(!noticed)
            }
        }
    }

    async fn attempt(&mut self, pair: usize, rows: &[Row], deletes: &[Value], room: Room) -> Result<Option<Blame>, sqlx::Error> {
        let blame = self.endpoint.attempt(self.tx, pair, rows, deletes, room).await?;
        // What only stands against removing rows for a moment is nothing to wait for.
        if room == Room::None {
            self.references.extend(blame.as_ref().and_then(|blame| blame.reference.clone()));
        }
        Ok(blame)
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

impl From<Blame> for Failure {
    fn from(blame: Blame) -> Failure {
        Failure::Blame(blame)
    }
}

impl Endpoint {
    /// What the transaction of [`Endpoint::write`] and [`Endpoint::isolate`] has to begin with.
    pub(super) fn opening(&self, changes: &[Changes], effort: Effort) -> String {
        let create = self.staged(changes, effort).map(|pair| self.pairs[pair].sql.staging[0].as_str());
        std::iter::once("SET CONSTRAINTS ALL DEFERRED").chain(create).collect::<Vec<_>>().join("; ")
    }

    /// The pairs whose upserts are staged.
    pub(super) fn staged(&self, changes: &[Changes], effort: Effort) -> impl Iterator<Item = usize> {
        let staged = move |changes: &Changes| (if effort == Effort::Plain { upserts(changes).1 } else { &changes.upserts }).len() >= MANY;
        changes.iter().enumerate().filter(move |(_, changes)| staged(changes)).map(|(pair, _)| pair)
    }

    /// A batch of few rows as statements that follow [`Endpoint::opening`] in its message, so that it is written in one;
    /// `None`: it has many, or the number of rows that each statement writes matters.
    pub(super) fn in_one(&self, changes: &[Changes]) -> Result<Option<String>, Blame> {
        let rows = |changes: &Changes| changes.upserts.len() + changes.deletes.len();
        let counted = self.pairs.iter().zip(changes).any(|(pair, changes)| rows(changes) > 0 && !pair.filters.is_empty());
        // Such keys are not removed by what the column takes for equal.
        let loose = self.pairs.iter().zip(changes).any(|(pair, changes)| pair.key.loose && !changes.deletes.is_empty());
        if counted || loose || changes.iter().map(rows).sum::<usize>() > AT_ONCE {
            return Ok(None);
        }
        let mut message = String::new();
        for (pair, changes) in self.pairs.iter().zip(changes).rev() {
            let keys = pair.keys(changes.deletes.iter());
            if !keys.is_empty() {
                let [before, after] = &pair.sql.delete_around;
                message.extend(["; ", before, &keys.literal(), after]);
            }
        }
        for (pair, changes) in self.pairs.iter().zip(changes).filter(|(_, changes)| !changes.upserts.is_empty()) {
            let mut rows = changes.upserts.iter().map(|row| pair.texts(row)).collect::<Result<Vec<_>, _>>()?;
            let columns = (0..=pair.columns.len()).map(|column| sql::text_array(rows.iter_mut().map(|row| row[column].take())));
            let [before, after] = &pair.sql.upsert_around;
            message.extend(["; ", before, &columns.collect::<Vec<_>>().join(", "), after]);
        }
        Ok(Some(message))
    }

    /// Everything, in one go. Constraints stay deferred.
    pub(super) async fn write(&self, tx: &mut PgConnection, changes: &[Changes], effort: Effort) -> Result<(), Failure> {
        let parked = effort != Effort::Plain;
        if parked {
            for (pair, changes) in changes.iter().enumerate() {
                self.park(tx, pair, changes.upserts.iter().map(|row| &row.key).chain(&changes.deletes)).await?;
            }
        } else {
            self.delete_all(tx, changes).await?;
        }
        for (pair, changes) in changes.iter().enumerate() {
            let (fresh, rows) = if parked { (&[][..], changes.upserts.as_slice()) } else { upserts(changes) };
            if !fresh.is_empty() {
                // One that is there nevertheless refuses the batch, which then is written as upserts.
                self.copy_in(tx, pair, &self.pairs[pair].sql.copy_in, fresh.iter()).await?;
            }
            self.upsert(tx, pair, rows).await?;
        }
        if parked {
            // By now nothing of the batch refers to them: a reference need not be deferrable.
            self.delete_all(tx, changes).await?;
        }
        Ok(())
    }

    async fn delete_all(&self, tx: &mut PgConnection, changes: &[Changes]) -> Result<(), Failure> {
        for (pair, changes) in changes.iter().enumerate().rev() {
            self.delete(tx, pair, &changes.deletes).await?;
        }
        Ok(())
    }

    pub(super) async fn delete(&self, tx: &mut PgConnection, pair: usize, keys: &[Value]) -> Result<(), Failure> {
        let pair = &self.pairs[pair];
        for keys in keys.chunks(5_000) {
            let keys = pair.keys(keys.iter());
            if !keys.is_empty() {
                keys.bind(sql::query(&pair.sql.delete)).execute(&mut *tx).await?;
            }
        }
        Ok(())
    }

    async fn park(&self, tx: &mut PgConnection, pair: usize, keys: impl Iterator<Item = &Value>) -> Result<(), Failure> {
        let pair = &self.pairs[pair];
        let keys = pair.keys(keys);
        if let Some(park) = pair.sql.park.as_ref().filter(|_| !keys.is_empty()) {
            keys.bind(sql::query(park)).execute(&mut *tx).await?;
        }
        Ok(())
    }

    pub(super) async fn upsert(&self, tx: &mut PgConnection, pair: usize, rows: &[Row]) -> Result<(), Failure> {
        let this = &self.pairs[pair];
        if rows.len() >= MANY {
            let [_, fill, merge] = &this.sql.staging;
            self.copy_in(tx, pair, fill, by_key(rows)).await?;
            if let Some(change) = &this.sql.change
                && sql::run(tx, change).await? == rows.len() as u64
            {
                return Ok(());
            }
            let written = sql::query(merge).execute(&mut *tx).await?;
            this.owns_all(rows.len(), written.rows_affected())?;
            return Ok(());
        }
        for rows in rows.chunks(FEW) {
            let width = this.columns.len() + 1;
            let mut columns: Vec<Vec<Option<String>>> = (0..width).map(|_| Vec::with_capacity(rows.len())).collect();
            for row in rows {
                for (column, text) in columns.iter_mut().zip(this.texts(row)?) {
                    column.push(text.map(|text| text.into_owned()));
                }
            }
            let upsert = columns.into_iter().fold(sql::query(&this.sql.upsert), sqlx::query::Query::bind);
            this.owns_all(rows.len(), upsert.execute(&mut *tx).await?.rows_affected())?;
        }
        Ok(())
    }

    /// Rows by COPY into the table that the statement names: the server takes in the first while the last are put into lines.
    /// After a refusal the caller takes back what was copied.
    pub(super) async fn copy_in(
        &self,
        tx: &mut PgConnection,
        pair: usize,
        statement: &str,
        rows: impl Iterator<Item = &Row>,
    ) -> Result<(), Failure> {
        let mut copy = tx.copy_in_raw(statement).await?;
        let mut piece = Vec::with_capacity(PIECE * 2);
        for row in rows {
            if let Err(blame) = self.pairs[pair].line(row, &mut piece) {
                // It may have been refused already, which an abort would leave unread. Nothing of it stays.
                let _ = copy.finish().await;
                return Err(blame.into());
            }
            if piece.len() >= PIECE {
                copy.send(std::mem::replace(&mut piece, Vec::with_capacity(PIECE * 2))).await?;
            }
        }
        copy.send(piece).await?;
        copy.finish().await?;
        Ok(())
    }

    /// Rows as COPY takes them, in pieces.
    pub(super) fn lines<'r>(&self, pair: usize, rows: impl Iterator<Item = &'r Row>) -> Result<Vec<Vec<u8>>, Blame> {
        let mut pieces = copy::Pieces::default();
        for row in rows {
            self.pairs[pair].line(row, pieces.last())?;
        }
        Ok(pieces.into_inner())
    }

    /// And the foreign keys that refused something, if anything was refused in the end.
    pub(super) async fn isolate(
        &self,
        tx: &mut PgConnection,
        changes: &[Changes],
    ) -> Result<(Vec<Rejected>, BTreeSet<String>), sqlx::Error> {
        let mut open = Open { endpoint: self, tx, references: BTreeSet::new() };
        let rejected = isolate::isolate(&mut open, changes).await?;
        let references = if rejected.is_empty() { BTreeSet::new() } else { open.references };
        Ok((rejected, references))
    }

    /// One part inside a savepoint; what refused it. Its staging table may have rows of the part before it.
    async fn attempt(
        &self,
        tx: &mut PgConnection,
        pair: usize,
        rows: &[Row],
        deletes: &[Value],
        room: Room,
    ) -> Result<Option<Blame>, sqlx::Error> {
        if rows.is_empty() && deletes.is_empty() {
            return Ok(None);
        }
        let Statements { staging: [staging, ..], staged, .. } = &self.pairs[pair].sql;
        let clean = if rows.len() >= MANY { format!("; {staging}; DELETE FROM {staged}") } else { String::new() };
        sql::run(tx, &format!("SAVEPOINT part; SET CONSTRAINTS ALL DEFERRED{clean}")).await?;
        let written = async {
            self.delete(tx, pair, deletes).await?;
            match room {
                Room::None => {}
                Room::Parked => self.park(tx, pair, rows.iter().map(|row| &row.key)).await?,
                Room::Anew => self.delete(tx, pair, &rows.iter().map(|row| row.key.clone()).collect::<Vec<_>>()).await?,
            }
            self.upsert(tx, pair, rows).await?;
            sql::run(tx, "SET CONSTRAINTS ALL IMMEDIATE").await?;
            Ok(())
        };
        let blame = match written.await {
            Ok(()) => None,
            Err(Failure::Blame(blame)) => Some(blame),
            Err(Failure::Other(error)) => return Err(error),
        };
        let end = if blame.is_some() { "ROLLBACK TO part; RELEASE part" } else { "RELEASE part" };
        sql::run(tx, end).await?;
        Ok(blame)
    }

    /// Rows outside the batch that hold a unique value that it brings.
    pub(super) async fn holders(&self, changes: &[Changes]) -> Result<Vec<Touched>, sqlx::Error> {
        let mut connection = self.server.pool.acquire().await?;
        let mut holders: Vec<Touched> = Vec::new();
        let inside: Vec<HashSet<String>> = changes
            .iter()
            .map(|changes| changes.upserts.iter().map(|row| &row.key).chain(&changes.deletes).map(key_text).collect())
            .collect();
        for (brings, Changes { upserts, .. }) in changes.iter().enumerate() {
            // Rows that cannot even be written hold nothing.
            let texts: Vec<_> = upserts.iter().filter_map(|row| self.pairs[brings].texts(row).ok()).collect();
            if texts.is_empty() {
                continue;
            }
            for (pair, other) in self.pairs.iter().enumerate().filter(|(_, other)| other.table == self.pairs[brings].table) {
                for (places, query) in self.pairs[brings].sql.unique.iter().zip(&self.pairs[brings].sql.holder) {
                    let query = query.replacen(&self.pairs[brings].sql.from["FROM ".len()..], &other.sql.from["FROM ".len()..], 1);
                    let mut bound = sql::query(&query);
                    for place in places {
                        let at = match place {
                            Place::Key => 0,
                            Place::Column(index) => index + 1,
                        };
                        bound = bound.bind(texts.iter().map(|row| row[at].as_deref().map(str::to_owned)).collect::<Vec<Option<String>>>());
                    }
                    let Ok(found) = bound.fetch_all(&mut *connection).await else {
                        // A value does not fit the column's type: nobody holds it.
                        continue;
                    };
                    for row in found {
                        let Some(key) = other.key.read(row.try_get(0)?).ok().filter(|key| Key::of(key).is_some()) else { continue };
                        let holder = Touched { pair, key };
                        if !inside[pair].contains(&key_text(&holder.key)) && !holders.contains(&holder) {
                            holders.push(holder);
                        }
                    }
                }
            }
        }
        Ok(holders)
    }
}
