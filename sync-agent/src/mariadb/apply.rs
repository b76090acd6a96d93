//! MariaDB as a sink: rows, position, quarantine and the loop mark in one transaction.
//!
//! The transaction writes the checkpoint row first: that is the guard of its turn, the position, and the mark that capture
//! knows it by. Deletes go children first, upserts parents first. `INSERT .. ON DUPLICATE KEY UPDATE` changes whatever row
//! any unique index finds, so it is used for keys only that are there already and locked ([`super::parts`]); the others are
//! inserted plainly. A deadlock, or a lock that is not to be had, is tried again from the start.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use ficus_rules::Side;
use ficus_rules::mapping::{Row, Shape, Value};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Value as Sql};
use sha2::{Digest, Sha256};

use super::connect::Lease;
use super::parts::{Place, Statements, name};
use super::{Endpoint, Pair, objects, refusal, triggers};
use crate::crash;
use crate::error::Error;
use crate::isolate::{self, Blame, Parts, Room};
use crate::port::{
    Applied, Changes, Checkpoint, Copied, Effort, Load, Outgoing, Position, Rejected, Rewrite, Rewritten, Same, Sink, Touched, first_turn,
};
use crate::quarantine::{self, Image, Kept};
use crate::verify;

/// Rows that one transaction of [`Sink::empty`] removes at most.
const EMPTY: u64 = 2_000;

/// Bytes of one statement's values, roughly: a packet may have 16 MiB by default.
const STATEMENT: usize = 4 << 20;

/// How often a transaction is begun again after a deadlock.
const TRIES: usize = 5;

/// A refusal, or an error that is nobody's fault.
pub(super) enum Failure {
    Blame(Blame),
    Other(mysql_async::Error),
}

impl From<mysql_async::Error> for Failure {
    fn from(error: mysql_async::Error) -> Failure {
        match refusal::blame(&error) {
            Some(blame) => Failure::Blame(blame),
            None => Failure::Other(error),
        }
    }
}

/// An open transaction.
struct Open<'a> {
    endpoint: &'a Endpoint,
    conn: &'a mut Conn,
}

#[async_trait]
impl Parts for Open<'_> {
    type Error = mysql_async::Error;

    fn shape(&self, pair: usize) -> &Shape {
        &self.endpoint.pairs[pair].shape
    }

    async fn can(&mut self, pair: usize, room: Room) -> Result<bool, mysql_async::Error> {
        let pair = &self.endpoint.pairs[pair];
        match room {
            Room::None => Ok(true),
            Room::Parked => Ok(pair.sql.park.is_some()),
            // Foreign keys do nothing in the agent's sessions.
            Room::Anew => Ok(pair.sql.whole && !triggers::notices_anew(self.conn, &pair.shape.table).await?),
        }
    }

    async fn attempt(&mut self, pair: usize, rows: &[Row], deletes: &[Value], room: Room) -> Result<Option<Blame>, mysql_async::Error> {
        self.endpoint.pairs[pair].attempt(self.conn, rows, deletes, room).await
    }
}

/// Why a transaction did not come to its end.
enum Ended {
    Superseded,
    Other(mysql_async::Error),
    Error(Error),
}

impl From<mysql_async::Error> for Ended {
    fn from(error: mysql_async::Error) -> Ended {
        Ended::Other(error)
    }
}

impl Endpoint {
    /// A write transaction of the agent whose turn it is, with the mark and, if given, the position.
    async fn marked(&self, position: Option<Position>) -> Result<Lease, Ended> {
        let mut conn = self.server.lease().await.map_err(Ended::Error)?;
        let mark = self.identity(&mut conn).await.map_err(Ended::Error)?;
        conn.prove(&mark).await?;
        conn.query_drop("START TRANSACTION").await?;
        let turn = "UPDATE `_ficus_checkpoint` SET `position` = coalesce(?, `position`), `writes` = `writes` + 1 WHERE `stream` = ? AND `epoch` = ?";
        conn.exec_drop(turn, (position.map(|position| position.0), self.stream(), self.epoch.load(Ordering::Acquire))).await?;
        if conn.affected_rows() == 0 { Err(Ended::Superseded) } else { Ok(conn) }
    }

    fn ended(&self, ended: Ended) -> Error {
        match ended {
            Ended::Superseded => Error::Superseded,
            Ended::Other(error) => self.failed(error),
            Ended::Error(error) => error,
        }
    }

    async fn write(&self, conn: &mut Conn, changes: &[Changes], parked: bool) -> Result<(), Failure> {
        for (pair, changes) in self.pairs.iter().zip(changes).rev() {
            pair.delete(conn, &changes.deletes).await?;
        }
        if parked {
            count_anew(conn).await?;
            for (pair, changes) in self.pairs.iter().zip(changes) {
                pair.park(conn, &changes.upserts).await?;
            }
        }
        for (pair, changes) in self.pairs.iter().zip(changes) {
            pair.upsert(conn, &changes.upserts).await?;
        }
        Ok(())
    }

    async fn isolate(&self, conn: &mut Conn, changes: &[Changes]) -> Result<Vec<Rejected>, mysql_async::Error> {
        isolate::isolate(&mut Open { endpoint: self, conn }, changes).await
    }

    /// Sets rows aside, and takes those back that have been written.
    async fn quarantine(&self, conn: &mut Conn, changes: &[Changes], rejected: &[&Rejected]) -> Result<u64, mysql_async::Error> {
        if rejected.is_empty() && self.quarantined.load(Ordering::Acquire) == 0 {
            return Ok(0);
        }
        for (pair, changes) in self.pairs.iter().zip(changes) {
            let keys: Vec<String> =
                changes.upserts.iter().map(|row| &row.key).chain(&changes.deletes).map(|key| digest(&stored(key))).collect();
            for keys in keys.chunks(1_000) {
                let list = vec!["?"; keys.len()].join(",");
                let heal = format!("DELETE FROM `_ficus_quarantine` WHERE `stream` = ? AND `pair` = ? AND `digest` IN ({list})");
                let first = [Sql::from(self.stream()), Sql::from(&pair.name)];
                conn.exec_drop(heal, first.into_iter().chain(keys.iter().map(Sql::from)).collect::<Vec<_>>()).await?;
            }
        }
        for Rejected { row, image, reason, .. } in rejected {
            let pair = &self.pairs[row.pair];
            let there = pair.rows_in(conn, std::slice::from_ref(&row.key)).await?;
            let there = there.first().map(|row| crate::quarantine::image(&pair.shape.key, &pair.shape.columns, row).to_string());
            let insert = "REPLACE INTO `_ficus_quarantine` VALUES (?, ?, ?, ?, ?, ?, ?, utc_timestamp())";
            let key = stored(&row.key);
            let values = (self.stream(), &pair.name, digest(&key), key, image.as_ref().map(ToString::to_string), there, reason);
            conn.exec_drop(insert, values).await?;
        }
        self.count_quarantine(conn).await
    }

    async fn count_quarantine(&self, conn: &mut Conn) -> Result<u64, mysql_async::Error> {
        let count = "SELECT count(*) FROM `_ficus_quarantine` WHERE `stream` = ?";
        Ok(conn.exec_first(count, (self.stream(),)).await?.unwrap_or(0))
    }

    /// Rows outside the batch that hold a unique value that it brings.
    async fn holders(&self, changes: &[Changes]) -> Result<Vec<Touched>, Error> {
        let mut conn = self.server.lease().await?;
        let mut holders: Vec<Touched> = Vec::new();
        let keys = |changes: &Changes| changes.upserts.iter().map(|row| &row.key).chain(&changes.deletes).map(stored).collect();
        // Keys that are in the batch, or found already.
        let mut known: Vec<HashSet<_>> = changes.iter().map(keys).collect();
        for (brings, Changes { upserts, .. }) in self.pairs.iter().zip(changes) {
            for (index, other) in self.pairs.iter().enumerate().filter(|(_, other)| other.shape.table == brings.shape.table) {
                for (places, terms) in brings.sql.unique.iter().zip(&brings.sql.holder) {
                    let query = format!("{} AND {terms} LIMIT 1", other.sql.keys);
                    for row in upserts {
                        let value = |place: &Place| match place {
                            Place::Key => brings.key.argument(&row.key),
                            Place::Column(at) => brings.columns[*at].argument(&row.values[*at]),
                        };
                        let values: Vec<Sql> = places.iter().map(value).collect();
                        let found: Option<Sql> = conn.exec_first(&query, values).await.map_err(|e| self.failed(e))?;
                        let Some(key) = found.map(|key| other.key.of_result(key)) else { continue };
                        if known[index].insert(stored(&key)) {
                            holders.push(Touched { pair: index, key });
                        }
                    }
                }
            }
        }
        conn.done();
        Ok(holders)
    }

    pub(super) async fn rewrite_rows(&self, pair: usize, number: i64, steps: &[Rewrite], same: &Same<'_>) -> Result<Rewritten, Error> {
        let mut conn = self.guarded().await?;
        let refused = match self.rewrite_in(&mut conn, pair, number, steps, same).await {
            Ok(true) => {
                crash::point("after_rewrite_before_commit");
                return self.commit(conn).await.map(|()| Rewritten::Done);
            }
            Ok(false) => Rewritten::Changed,
            Err(Failure::Blame(blame)) => Rewritten::Refused(blame.reason),
            Err(Failure::Other(error)) => return Err(self.failed(error)),
        };
        conn.query_drop("ROLLBACK").await.map_err(|e| self.failed(e))?;
        conn.done();
        Ok(refused)
    }

    /// Whether all rows were as expected.
    async fn rewrite_in(&self, conn: &mut Conn, pair: usize, number: i64, steps: &[Rewrite], same: &Same<'_>) -> Result<bool, Failure> {
        let last: Option<i64> =
            conn.exec_first("SELECT `number` FROM `_ficus_carried` WHERE `stream` = ? FOR UPDATE", (self.stream(),)).await?;
        if last == Some(number) {
            return Ok(true);
        }
        conn.exec_drop("REPLACE INTO `_ficus_carried` VALUES (?, ?)", (self.stream(), number)).await?;
        for step in steps {
            if !self.pairs[pair].rewrite(conn, step, same).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Before the first copy ever, the modern tables must be empty: rows that no copy of ours wrote are not ours to remove.
    async fn uninhabited(&self, conn: &mut Conn) -> Result<(), Error> {
        for pair in self.pairs.iter() {
            let found: Option<Sql> = conn.query_first(format!("{} LIMIT 1", pair.sql.keys)).await.map_err(|e| self.failed(e))?;
            if found.is_some() {
                return Err(Error::Inhabited {
                    database: self.server.label().to_owned(),
                    table: pair.shape.table.clone(),
                    statement: format!("DELETE FROM {}", name(&pair.shape.table)),
                });
            }
        }
        Ok(())
    }

    async fn apply_once(
        &self,
        changes: &[Changes],
        position: Position,
        effort: Effort,
        aside: &[Rejected],
    ) -> Result<Option<Applied>, Ended> {
        let mut conn = self.marked(Some(position)).await?;
        let written = match effort {
            Effort::Plain => self.write(&mut conn, changes, false).await.map(|()| Vec::new()),
            Effort::Parked => self.write(&mut conn, changes, true).await.map(|()| Vec::new()),
            Effort::Isolated => self.isolate(&mut conn, changes).await.map_err(Failure::Other),
        };
        let rejected = match written {
            Ok(rejected) => rejected,
            Err(Failure::Other(error)) => return Err(error.into()),
            Err(Failure::Blame(_)) => {
                conn.query_drop("ROLLBACK").await?;
                conn.done();
                return Ok(None);
            }
        };
        let all: Vec<&Rejected> = aside.iter().chain(&rejected).collect();
        let quarantined = self.quarantine(&mut conn, changes, &all).await?;
        self.tell(&mut conn, changes, &rejected).await?;
        crash::point("after_apply_before_commit");
        self.commit(conn).await.map_err(Ended::Error)?;
        self.quarantined.store(quarantined, Ordering::Release);
        Ok(Some(Applied::Done { rejected, quarantined }))
    }

    async fn load_once(&self, pair: usize, rows: &[Row], copied: Option<&Copied>) -> Result<Vec<Rejected>, Ended> {
        let mut conn = self.marked(None).await?;
        let mut changes = vec![Changes::default(); self.pairs.len()];
        let rejected = match self.pairs[pair].upsert(&mut conn, rows).await {
            Ok(()) => Vec::new(),
            Err(Failure::Other(error)) => return Err(error.into()),
            Err(Failure::Blame(_)) => {
                conn.query_drop("ROLLBACK").await?;
                conn.done();
                conn = self.marked(None).await?;
                changes[pair].upserts = rows.to_vec();
                self.isolate(&mut conn, &changes).await?
            }
        };
        if !rejected.is_empty() {
            let quarantined = self.quarantine(&mut conn, &changes, &rejected.iter().collect::<Vec<_>>()).await?;
            self.quarantined.store(quarantined, Ordering::Release);
        }
        self.note_in(&mut conn, copied).await?;
        self.commit(conn).await.map_err(Ended::Error)?;
        Ok(rejected)
    }

    /// Remembers in the caller's transaction what was copied.
    async fn note_in(&self, conn: &mut Conn, copied: impl IntoIterator<Item = &Copied>) -> Result<(), mysql_async::Error> {
        let note = "REPLACE INTO `_ficus_copied` (`stream`, `pair`, `plan`, `rows`, `rest`) VALUES (?, ?, ?, ?, ?)";
        for copied in copied {
            conn.exec_drop(note, (self.stream(), &copied.pair, &copied.plan, copied.rows, copied.text_of_left())).await?;
        }
        Ok(())
    }

    async fn empty_some(&self, pair: &Pair) -> Result<u64, Ended> {
        let mut conn = self.marked(None).await?;
        conn.exec_drop(&pair.sql.delete_some, (EMPTY,)).await?;
        let removed = conn.affected_rows();
        self.commit(conn).await.map_err(Ended::Error)?;
        Ok(removed)
    }
}

impl Pair {
    async fn delete(&self, conn: &mut Conn, keys: &[Value]) -> Result<(), Failure> {
        for keys in keys.chunks(Statements::most()) {
            let (among, length, times) = self.sql.among(keys.len());
            conn.exec_drop(format!("{} AND {among}", self.sql.delete), self.listed(keys, length, times)).await?;
        }
        Ok(())
    }

    async fn park(&self, conn: &mut Conn, rows: &[Row]) -> Result<(), Failure> {
        let Some(park) = &self.sql.park else { return Ok(()) };
        let keys: Vec<Value> = rows.iter().map(|row| row.key.clone()).collect();
        for keys in keys.chunks(Statements::most()) {
            let (among, length, times) = self.sql.among(keys.len());
            conn.exec_drop(format!("{park} AND {among}"), self.listed(keys, length, times)).await?;
        }
        Ok(())
    }

    /// Which of these keys are there; locked until the end of the transaction.
    async fn there(&self, conn: &mut Conn, rows: &[Row]) -> Result<HashSet<String>, Failure> {
        let mut there = HashSet::new();
        for rows in rows.chunks(Statements::most()) {
            let keys: Vec<Value> = rows.iter().map(|row| row.key.clone()).collect();
            let (among, length, times) = self.sql.among(keys.len());
            let query = format!("{} AND {among} FOR UPDATE", self.sql.writable);
            let found: Vec<Sql> = conn.exec(query, self.listed(&keys, length, times)).await?;
            there.extend(found.into_iter().map(|key| stored(&self.key.of_result(key))));
        }
        Ok(there)
    }

    async fn upsert(&self, conn: &mut Conn, rows: &[Row]) -> Result<(), Failure> {
        if rows.is_empty() {
            return Ok(());
        }
        let there = self.there(conn, rows).await?;
        let (known, new): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| there.contains(&stored(&row.key)));
        self.statements(conn, &known, |size| self.sql.overwrites(size)).await?;
        self.statements(conn, &new, |size| self.sql.inserts(size)).await
    }

    async fn statements(&self, conn: &mut Conn, rows: &[&Row], text: impl Fn(usize) -> String) -> Result<(), Failure> {
        let mut left = rows;
        while !left.is_empty() {
            let mut size = self.sql.size(left.len());
            while size > 1 && left[..size].iter().map(|row| weight(row)).sum::<usize>() > STATEMENT {
                size = self.sql.size(size - 1);
            }
            let (now, later) = left.split_at(size);
            let mut arguments = Vec::new();
            for row in now {
                arguments.push(self.key.argument(&row.key));
                arguments.extend(self.columns.iter().zip(&row.values).map(|(column, value)| column.argument(value)));
            }
            conn.exec_drop(text(size), arguments).await?;
            left = later;
        }
        Ok(())
    }

    /// A row, which nobody else changes until the transaction ends; nor makes it, if there is none.
    async fn locked(&self, conn: &mut Conn, key: &Value) -> Result<Option<Row>, mysql_async::Error> {
        let (among, length, times) = self.sql.among(1);
        let query = format!("{} AND {among} FOR UPDATE", self.sql.select);
        let found: Option<mysql_async::Row> = conn.exec_first(query, self.listed(std::slice::from_ref(key), length, times)).await?;
        Ok(found.map(|row| self.row(row)))
    }

    /// One step of a rewrite; whether the row was as expected.
    async fn rewrite(&self, conn: &mut Conn, step: &Rewrite, same: &Same<'_>) -> Result<bool, Failure> {
        let found = self.locked(conn, &step.key).await?;
        if !step.fits(found.as_ref(), same) {
            return Ok(false);
        }
        match step.over(found.as_ref()) {
            None => self.delete(conn, std::slice::from_ref(&step.key)).await?,
            Some(row) if found.is_some() => self.statements(conn, &[&row], |size| self.sql.overwrites(size)).await?,
            Some(row) => self.statements(conn, &[&row], |size| self.sql.inserts(size)).await?,
        }
        Ok(true)
    }

    /// One part inside a savepoint; what refused it.
    async fn attempt(&self, conn: &mut Conn, rows: &[Row], deletes: &[Value], room: Room) -> Result<Option<Blame>, mysql_async::Error> {
        conn.query_drop("SAVEPOINT part").await?;
        let written = async {
            self.delete(conn, deletes).await?;
            match room {
                Room::None => {}
                Room::Parked => {
                    count_anew(conn).await?;
                    self.park(conn, rows).await?;
                }
                Room::Anew => self.delete(conn, &rows.iter().map(|row| row.key.clone()).collect::<Vec<_>>()).await?,
            }
            self.upsert(conn, rows).await
        };
        let blame = match written.await {
            Ok(()) => None,
            Err(Failure::Blame(blame)) => Some(blame),
            Err(Failure::Other(error)) => return Err(error),
        };
        if blame.is_some() {
            conn.query_drop("ROLLBACK TO SAVEPOINT part").await?;
        }
        conn.query_drop("RELEASE SAVEPOINT part").await?;
        Ok(blame)
    }
}

/// Begins to count what is moved out of the way: nothing that was moved before is left there. A count that never ended
/// would not fit into a small integer any more.
async fn count_anew(conn: &mut Conn) -> Result<(), Failure> {
    Ok(conn.query_drop("SET @_ficus_n = 0").await?)
}

/// A key as the control tables keep it: a text that keys of other types do not have.
pub(super) fn stored(key: &Value) -> String {
    serde_json::to_string(key).unwrap_or_default()
}

/// What stands for a key in an index, whose entries have a greatest length.
fn digest(stored: &str) -> String {
    Sha256::digest(stored.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn weight(row: &Row) -> usize {
    let of = |value: &Value| match value {
        Value::Text(text) => text.len(),
        Value::Blob(bytes) => bytes.len(),
        _ => 9,
    };
    row.values.iter().map(of).sum()
}

#[async_trait]
impl Sink for Endpoint {
    async fn turn(&self) -> Result<Option<i64>, Error> {
        let mut conn = self.server.lease().await?;
        let turn = if objects::has(&mut conn, "_ficus_checkpoint").await.map_err(|e| self.failed(e))? {
            let turn = "SELECT `epoch` FROM `_ficus_checkpoint` WHERE `stream` = ?";
            conn.exec_first(turn, (self.stream(),)).await.map_err(|e| self.failed(e))?
        } else {
            None
        };
        conn.done();
        Ok(turn)
    }

    async fn claim(&self, source_id: &str, held: Option<i64>) -> Result<Checkpoint, Error> {
        let mut conn = self.server.lease().await?;
        conn.query_drop("START TRANSACTION").await.map_err(|e| self.failed(e))?;
        let claim = "INSERT INTO `_ficus_checkpoint` (`stream`, `source_id`, `epoch`) VALUES (?, ?, ?) ON DUPLICATE KEY UPDATE `epoch` = `epoch` + 1";
        let first = first_turn();
        conn.exec_drop(claim, (self.stream(), source_id, first)).await.map_err(|e| self.failed(e))?;
        let query = "SELECT `source_id`, `epoch`, `position`, `backfilled` FROM `_ficus_checkpoint` WHERE `stream` = ?";
        let found: Option<(String, i64, Option<u64>, bool)> = conn.exec_first(query, (self.stream(),)).await.map_err(|e| self.failed(e))?;
        let (known, epoch, position, backfilled) = found.ok_or_else(|| self.refused("the checkpoint cannot be read"))?;
        let first = epoch == first;
        if let Some(held) = held {
            Error::unless_next(self.server.label(), held, epoch, first)?;
        }
        if first && self.side == Side::Modern {
            self.uninhabited(&mut conn).await?;
        }
        if known != source_id {
            return Err(self.refused(format!(
                "its copy was made from another {} database (replaced?); put the known one back, or order a new start: remove the capability from sync, then add it again",
                self.side.other()
            )));
        }
        let quarantined = self.count_quarantine(&mut conn).await.map_err(|e| self.failed(e))?;
        self.commit(conn).await?;
        self.epoch.store(epoch, Ordering::Release);
        self.quarantined.store(quarantined, Ordering::Release);
        Ok(Checkpoint { position: position.map(Position), backfilled, turn: epoch })
    }

    async fn apply(&self, changes: &[Changes], position: Position, effort: Effort, aside: &[Rejected]) -> Result<Applied, Error> {
        crash::point("before_apply");
        let mut tries = 0;
        loop {
            tries += 1;
            match self.apply_once(changes, position, effort, aside).await {
                Ok(Some(applied)) => return Ok(applied),
                Ok(None) => return Ok(Applied::Refused { holders: self.holders(changes).await? }),
                Err(Ended::Other(error)) if tries < TRIES && refusal::is_passing(&error) => {}
                Err(ended) => return Err(self.ended(ended)),
            }
        }
    }

    async fn load(&self, Load { pair, rows, copied, .. }: Load) -> Result<Vec<Rejected>, Error> {
        let rows = rows.into_rows()?;
        let mut tries = 0;
        loop {
            tries += 1;
            match self.load_once(pair, &rows, copied.as_ref()).await {
                Ok(rejected) => return Ok(rejected),
                Err(Ended::Other(error)) if tries < TRIES && refusal::is_passing(&error) => {}
                Err(ended) => return Err(self.ended(ended)),
            }
        }
    }

    async fn copied(&self) -> Result<Vec<Copied>, Error> {
        let mut conn = self.server.lease().await?;
        let query = "SELECT `pair`, `plan`, `rows`, `rest` FROM `_ficus_copied` WHERE `stream` = ?";
        let found: Vec<(String, String, u64, Option<String>)> = conn.exec(query, (self.stream(),)).await.map_err(|e| self.failed(e))?;
        conn.done();
        Ok(found.into_iter().map(|(pair, plan, rows, left)| Copied::read(pair, plan, rows, left.as_deref())).collect())
    }

    async fn note_copied(&self, copied: &[Copied]) -> Result<(), Error> {
        let mut conn = self.guarded().await?;
        self.note_in(&mut conn, copied).await.map_err(|e| self.failed(e))?;
        self.commit(conn).await
    }

    async fn rename_copied(&self, copied: &[Copied], former: &[String]) -> Result<(), Error> {
        let mut conn = self.guarded().await?;
        self.note_in(&mut conn, copied).await.map_err(|e| self.failed(e))?;
        for table in ["_ficus_copied", "_ficus_quarantine"] {
            for name in former {
                let forget = format!("DELETE FROM `{table}` WHERE `stream` = ? AND `pair` = ?");
                conn.exec_drop(forget, (self.stream(), name)).await.map_err(|e| self.failed(e))?;
            }
        }
        let quarantined = self.count_quarantine(&mut conn).await.map_err(|e| self.failed(e))?;
        self.commit(conn).await?;
        self.quarantined.store(quarantined, Ordering::Release);
        Ok(())
    }

    async fn empty(&self) -> Result<(), Error> {
        let mut conn = self.guarded().await?;
        let forget = "UPDATE `_ficus_checkpoint` SET `position` = NULL, `backfilled` = 0 WHERE `stream` = ?";
        conn.exec_drop(forget, (self.stream(),)).await.map_err(|e| self.failed(e))?;
        conn.exec_drop("DELETE FROM `_ficus_quarantine` WHERE `stream` = ?", (self.stream(),)).await.map_err(|e| self.failed(e))?;
        conn.exec_drop("DELETE FROM `_ficus_copied` WHERE `stream` = ?", (self.stream(),)).await.map_err(|e| self.failed(e))?;
        self.commit(conn).await?;
        self.quarantined.store(0, Ordering::Release);
        for pair in self.pairs.iter().rev() {
            while self.empty_some(pair).await.map_err(|ended| self.ended(ended))? > 0 {}
        }
        Ok(())
    }

    async fn forget_aside(&self) -> Result<(), Error> {
        let mut conn = self.guarded().await?;
        conn.exec_drop("DELETE FROM `_ficus_quarantine` WHERE `stream` = ?", (self.stream(),)).await.map_err(|e| self.failed(e))?;
        self.commit(conn).await?;
        self.quarantined.store(0, Ordering::Release);
        Ok(())
    }

    async fn begin_at(&self, position: Position, backfilled: bool) -> Result<(), Error> {
        let mut conn = self.guarded().await?;
        let update = "UPDATE `_ficus_checkpoint` SET `position` = ?, `backfilled` = ? WHERE `stream` = ?";
        conn.exec_drop(update, (position.0, backfilled, self.stream())).await.map_err(|e| self.failed(e))?;
        self.commit(conn).await
    }

    async fn quarantined(&self) -> Result<u64, Error> {
        Ok(self.quarantined.load(Ordering::Acquire))
    }

    async fn set_aside(&self, at_most: u32) -> Result<Vec<Kept>, Error> {
        let image = |column: &str| format!("LENGTH(`{column}`), IF(LENGTH(`{column}`) <= {}, `{column}`, NULL)", quarantine::LARGEST);
        let select = format!(
            "SELECT `pair`, `key`, TIMESTAMPDIFF(SECOND, '1970-01-01', `at`), `reason`, {}, {} FROM `_ficus_quarantine` \
             WHERE `stream` = ? ORDER BY `at` DESC, `pair`, `digest` LIMIT {at_most}",
            image("source_row"),
            image("target_row")
        );
        type Columns = (String, String, i64, String, Option<i64>, Option<String>, Option<i64>, Option<String>);
        let mut conn = self.server.lease().await?;
        let rows: Vec<Columns> = conn.exec(select, (self.stream(),)).await.map_err(|e| self.failed(e))?;
        let kept = |(pair, key, at, reason, wanted, wanted_text, there, there_text): Columns| Kept {
            pair,
            key: serde_json::from_str(&key).map_or(key, |key| verify::show(&key)),
            at: u64::try_from(at).unwrap_or(0) * 1_000,
            reason,
            wanted: Image::read(wanted, wanted_text),
            there: Image::read(there, there_text),
        };
        Ok(rows.into_iter().map(kept).collect())
    }

    async fn outbox(&self, bus: &str, at_most: u32) -> Result<Vec<Outgoing>, Error> {
        self.kept_events(bus, at_most).await
    }

    async fn sent(&self, bus: &str, numbers: &[u64]) -> Result<(), Error> {
        self.forget_events(bus, numbers).await
    }

    async fn waiting(&self, bus: &str) -> Result<u64, Error> {
        self.count_events(bus).await
    }

    async fn last_event(&self) -> Result<u64, Error> {
        self.highest_event().await
    }

    async fn sequence(&self, pair: usize) -> Result<i64, Error> {
        self.highest(pair).await
    }

    async fn raise_sequence(&self, pair: usize, above: i64) -> Result<(), Error> {
        self.raise(pair, above).await
    }
}

#[cfg(test)]
pub(super) mod tests;
