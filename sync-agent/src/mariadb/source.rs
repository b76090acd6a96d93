//! MariaDB as a source: batches of what the binary log has, and what is remembered of it.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::sync::mpsc;

use super::apply::stored;
use super::capture::{Change, Image, Transaction, Unfollowed};
use super::complete::Folded;
use super::follow::{Buffer, Ended, ROOM, end_of_log, file};
use super::parts::name;
use super::{Endpoint, locks, objects, schema, triggers};
use crate::error::Error;
use crate::port::{Batch, Left, Piece, Position, Source, Touched, unseen_name, unseen_token};

/// How long nothing of the log may arrive while it is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// A confirmation without any captured change is written only after so many bytes of the log.
const FAR: u64 = 64 << 20;

/// What the control table has of the log.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Noted {
    /// Durable in the target.
    confirmed: u64,
    /// The last captured change up to there.
    last: u64,
}

impl Endpoint {
    fn noted(&self) -> Noted {
        *self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down how far the log is used, with the GTID of that place: another server's log has another one there.
    pub(super) async fn note(&self, confirmed: Position, last: Position) -> Result<(), Error> {
        let mut conn = self.guarded().await?;
        let gtid = self.gtid(&mut conn, confirmed).await?;
        let update = "UPDATE `_ficus_source` SET `confirmed` = ?, `last` = ?, `gtid` = ? WHERE `scope` = ?";
        conn.exec_drop(update, (confirmed.0, last.0, gtid, &self.scope)).await.map_err(|e| self.failed(e))?;
        self.commit(conn).await?;
        *self.noted.lock().unwrap_or_else(PoisonError::into_inner) = Noted { confirmed: confirmed.0, last: last.0 };
        Ok(())
    }

    /// The GTID up to a position; none where the server cannot say.
    async fn gtid(&self, conn: &mut Conn, position: Position) -> Result<Option<String>, Error> {
        if !self.server.is_mariadb() || position.0 == 0 {
            return Ok(None);
        }
        let (base, _) = end_of_log(&self.server, conn).await?;
        let found: Option<Option<String>> = conn
            .exec_first("SELECT BINLOG_GTID_POS(?, ?)", (file(&base, position), position.0 & 0xffff_ffff))
            .await
            .map_err(|e| self.failed(e))?;
        Ok(found.flatten())
    }

    /// Reads what is noted, and refuses a log that is not the one that it was noted of.
    async fn recall(&self, conn: &mut Conn) -> Result<(), Error> {
        let query = "SELECT `confirmed`, `last`, `handled`, `gtid` FROM `_ficus_source` WHERE `scope` = ?";
        let found: Option<(u64, u64, u64, Option<String>)> = conn.exec_first(query, (&self.scope,)).await.map_err(|e| self.failed(e))?;
        let (confirmed, last, handled, gtid) = found.ok_or(Error::SchemaChanged)?;
        *self.noted.lock().unwrap_or_else(PoisonError::into_inner) = Noted { confirmed, last };
        self.handled.store(handled, Ordering::Release);
        self.last.fetch_max(last, Ordering::AcqRel);
        let now = self.gtid(conn, Position(confirmed)).await?;
        if let (Some(then), Some(now)) = (&gtid, &now)
            && then != now
        {
            return Err(self.refused(
                "its binary log is not the one that changes were read from (another server, or RESET MASTER?); put the known server back, or start over: remove the capability from sync, then add it again",
            ));
        }
        Ok(())
    }

    /// Makes the fence's triggers what they should be.
    async fn install(&self, conn: &mut Conn, mark: &str) -> Result<(), Error> {
        let there = triggers::existing(conn, &self.scope).await.map_err(|e| self.failed(e))?;
        for (table, wanted) in self.triggers(mark) {
            for trigger in &wanted {
                if there.iter().any(|known| known.is(trigger, &table)) {
                    continue;
                }
                // One of this name on another table went there with a table that was renamed, and cannot be replaced here.
                let elsewhere = there.iter().any(|known| known.name == trigger.0 && known.table != table);
                if !self.server.is_mariadb() || elsewhere {
                    let drop = format!("DROP TRIGGER IF EXISTS {}", name(&trigger.0));
                    locks::change(conn, &drop).await.map_err(|e| self.server.unchanged(e))?;
                }
                locks::change(conn, &triggers::create(trigger, &table, self.server.is_mariadb())).await.map_err(|error| match error {
                    mysql_async::Error::Server(said) if said.code == 1419 => self.refused(
                        "the agent's account may not create triggers while there is a binary log; SET GLOBAL log_bin_trust_function_creators = 1, and put it into the configuration",
                    ),
                    error => self.server.unchanged(error),
                })?;
            }
        }
        // By its name alone: the one that bears it is on the right table by now.
        for trigger in there {
            if !self.triggers(mark).iter().any(|(_, wanted)| wanted.iter().any(|known| known.0 == trigger.name)) {
                let drop = format!("DROP TRIGGER IF EXISTS {}", name(&trigger.name));
                locks::change(conn, &drop).await.map_err(|e| self.server.unchanged(e))?;
            }
        }
        Ok(())
    }

    fn triggers(&self, mark: &str) -> Vec<(String, Vec<triggers::Trigger>)> {
        let of = |table: &String| self.pairs.iter().filter(|pair| pair.shape.table == *table).map(|pair| &pair.shape).collect::<Vec<_>>();
        let on = |table: &String, known| {
            let shapes = of(table);
            let mut wanted = triggers::all(&self.scope, mark, known, &shapes);
            if self.records.load(Ordering::Acquire) {
                wanted.extend(self.keepers(mark, known, &shapes));
            }
            (table.clone(), wanted)
        };
        self.tables.iter().map(|(table, known)| on(table, known)).collect()
    }

    /// Refuses when a table is not as it was, or a trigger not as it should be.
    pub(super) async fn intact(&self, conn: &mut Conn) -> Result<(), Error> {
        let tables = schema::tables(conn, &self.tables.keys().cloned().collect::<Vec<_>>()).await.map_err(|e| self.failed(e))?;
        let mark = self.identity(conn).await?;
        let there = triggers::existing(conn, &self.scope).await.map_err(|e| self.failed(e))?;
        let has = |table: &String, wanted: &triggers::Trigger| there.iter().any(|known| known.is(wanted, table));
        let complete = self.triggers(&mark).iter().all(|(table, wanted)| wanted.iter().all(|wanted| has(table, wanted)));
        if tables == self.tables && complete { Ok(()) } else { Err(Error::SchemaChanged) }
    }

    /// Remembers pairs whose capture begins, or begins to look at other columns.
    async fn note_pairs(&self, conn: &mut Conn) -> Result<(), Error> {
        let known: Vec<(String, String)> =
            conn.exec("SELECT `pair`, `shape` FROM `_ficus_pair` WHERE `scope` = ?", (&self.scope,)).await.map_err(|e| self.failed(e))?;
        for pair in self.pairs.iter() {
            let shape = triggers::digest(&format!("{:?}", pair.shape));
            if known.iter().any(|(name, known)| (name, known) == (&pair.name, &shape)) {
                continue;
            }
            conn.query_drop("START TRANSACTION").await.map_err(|e| self.failed(e))?;
            self.note_gap(conn, &pair.name).await?;
            let note = "REPLACE INTO `_ficus_pair` (`scope`, `pair`, `shape`) VALUES (?, ?, ?)";
            conn.exec_drop(note, (&self.scope, &pair.name, shape)).await.map_err(|e| self.failed(e))?;
            conn.query_drop("COMMIT").await.map_err(|e| self.failed(e))?;
        }
        Ok(())
    }

    async fn note_gap(&self, conn: &mut Conn, pair: &str) -> Result<(), Error> {
        let gap = "INSERT IGNORE INTO `_ficus_gap` (`scope`, `pair`) VALUES (?, ?)";
        conn.exec_drop(gap, (&self.scope, pair)).await.map_err(|e| self.failed(e))
    }

    /// Something happened that the log does not tell: whoever may be concerned is compared, once.
    async fn look_at(&self, unfollowed: &Unfollowed, end: Position) -> Result<(), Error> {
        let mut conn = self.guarded().await?;
        for pair in &unfollowed.pairs {
            self.note_gap(&mut conn, &self.pairs[*pair].name).await?;
        }
        let update = "UPDATE `_ficus_source` SET `handled` = ? WHERE `scope` = ?";
        conn.exec_drop(update, (end.0, &self.scope)).await.map_err(|e| self.failed(e))?;
        self.commit(conn).await?;
        self.handled.store(end.0, Ordering::Release);
        if let Some(why) = &unfollowed.why {
            return Err(self.refused(format!("{why}; the tables are compared when it goes on")));
        }
        if !unfollowed.pairs.is_empty() {
            return Err(Error::SchemaChanged);
        }
        let mut conn = self.server.lease().await?;
        self.intact(&mut conn).await?;
        conn.done();
        Ok(())
    }

    /// Where the oldest file of the log begins; 0 when it is the first.
    async fn oldest(&self) -> Result<u64, Error> {
        let mut conn = self.server.lease().await?;
        let first: Option<mysql_async::Row> = conn.query_first("SHOW BINARY LOGS").await.map_err(|e| self.failed(e))?;
        conn.done();
        let first = first.and_then(|row| super::capture::number(&row.get::<String, _>(0)?)).ok_or_else(|| {
            self.refused("it does not say which files its binary log has; GRANT BINLOG MONITOR ON *.* TO the agent's account")
        })?;
        Ok(if first <= 1 { 0 } else { first << 32 | 4 })
    }

    /// Where to begin to follow the log. What is gone of it is passed over only if the session was told so, and compares.
    async fn beginning(&self, from: Position) -> Result<Position, Error> {
        let oldest = self.oldest().await?;
        match from.0 < oldest {
            true if oldest > self.told.load(Ordering::Acquire) => Err(Error::SchemaChanged),
            true => Ok(Position(oldest)),
            false => Ok(from),
        }
    }

    /// Waits until everything up to a position has come, or as much after `from` as is asked for.
    async fn arrive(&self, shared: &super::follow::Shared, from: Position, end: Position, limit: usize) -> Result<(), Error> {
        let enough = |buffer: &Buffer| {
            let mut changes = 0;
            let blocked = |transaction: &Transaction| self.is_new(transaction);
            let full = buffer.transactions.iter().skip_while(|transaction| transaction.end <= from).any(|transaction| {
                changes += transaction.changes.len();
                changes >= limit || blocked(transaction)
            });
            buffer.received >= end || buffer.ended.is_some() || full || buffer.bytes > ROOM
        };
        match shared.until(enough, PATIENCE).await {
            true => Ok(()),
            false => Err(self.lost(format!("nothing of its binary log arrived for {} s", PATIENCE.as_secs()))),
        }
    }

    fn is_new(&self, transaction: &Transaction) -> bool {
        transaction.unfollowed.is_some() && transaction.end.0 > self.handled.load(Ordering::Acquire)
    }

    pub(super) fn lost(&self, why: String) -> Error {
        Error::Database { database: self.server.label().to_owned(), source: why.into() }
    }
}

#[async_trait]
impl Source for Endpoint {
    async fn prepare(&self) -> Result<(), Error> {
        let mut conn = self.server.lease().await?;
        self.check(&mut conn).await?;
        objects::create(&mut conn, &self.scope).await.map_err(|e| self.failed(e))?;
        let mark = self.identity(&mut conn).await?;
        self.install(&mut conn, &mark).await?;
        self.note_pairs(&mut conn).await?;
        self.recall(&mut conn).await?;
        self.intact(&mut conn).await?;
        conn.done();
        Ok(())
    }

    async fn gaps(&self) -> Result<Vec<usize>, Error> {
        let mut conn = self.server.lease().await?;
        let names: Vec<String> =
            conn.exec("SELECT `pair` FROM `_ficus_gap` WHERE `scope` = ?", (&self.scope,)).await.map_err(|e| self.failed(e))?;
        conn.done();
        Ok(names.iter().filter_map(|name| self.pair_index(name)).collect())
    }

    async fn open_gaps(&self, pairs: &[usize]) -> Result<(), Error> {
        let mut conn = self.guarded().await?;
        for pair in pairs {
            self.note_gap(&mut conn, &self.pairs[*pair].name).await?;
        }
        self.commit(conn).await
    }

    async fn close_gaps(&self, pairs: &[usize]) -> Result<(), Error> {
        let mut conn = self.guarded().await?;
        for pair in pairs {
            let delete = "DELETE FROM `_ficus_gap` WHERE `scope` = ? AND `pair` = ?";
            conn.exec_drop(delete, (&self.scope, &self.pairs[*pair].name)).await.map_err(|e| self.failed(e))?;
        }
        self.commit(conn).await
    }

    async fn unseen(&self) -> Result<Option<u64>, Error> {
        let mut conn = self.server.lease().await?;
        let query = "SELECT `pair` FROM `_ficus_gap` WHERE `scope` = ?";
        let names: Vec<String> = conn.exec(query, (&self.scope,)).await.map_err(|e| self.failed(e))?;
        conn.done();
        Ok(names.iter().filter_map(|name| unseen_token(name)).max())
    }

    async fn set_unseen(&self, token: Option<u64>) -> Result<(), Error> {
        let mut conn = self.guarded().await?;
        let forget = "DELETE FROM `_ficus_gap` WHERE `scope` = ? AND (`pair` = '' OR `pair` LIKE CONCAT(CHAR(9), '%'))";
        conn.exec_drop(forget, (&self.scope,)).await.map_err(|e| self.failed(e))?;
        if let Some(token) = token {
            self.note_gap(&mut conn, &unseen_name(token)).await?;
        }
        self.commit(conn).await
    }

    async fn snapshot(&self, left: &[Left], _lines: &[usize], batch_rows: usize, pieces: mpsc::Sender<Piece>) -> Result<(), Error> {
        self.read_snapshot(left, batch_rows, pieces).await
    }

    async fn changed(&self) -> Result<bool, Error> {
        let mut conn = self.server.lease().await?;
        let (_, end) = end_of_log(&self.server, &mut conn).await?;
        conn.done();
        Ok(*self.seen.lock().unwrap_or_else(PoisonError::into_inner) != Some(end))
    }

    async fn wait(&self, at_most: Duration) {
        let shared = self.follow.lock().await.running.as_ref().map(|running| std::sync::Arc::clone(&running.shared));
        match shared {
            Some(shared) => drop(tokio::time::timeout(at_most, shared.arrived.notified()).await),
            None => tokio::time::sleep(at_most).await,
        }
    }

    async fn read(&self, after: Position, limit: usize, also: &[Touched]) -> Result<Batch, Error> {
        let mut follow = self.follow.lock().await;
        let mut conn = self.server.lease().await?;
        let (base, end) = end_of_log(&self.server, &mut conn).await?;
        conn.done();
        if end < after {
            return Err(self.refused(format!(
                "its binary log ends at {end} and {after} is already applied: an older copy of the database was put in place, or RESET MASTER was run; put the newer one back, or start over with a new backfill"
            )));
        }
        let noted = self.noted();
        // Nothing of ours stands between the last captured change and what was confirmed.
        let from = if (noted.last..noted.confirmed).contains(&after.0) { Position(noted.confirmed) } else { after };
        let from = from.max(Position(1 << 32 | 4));
        if follow.running.as_ref().is_none_or(|running| from < running.floor || running.shared.buffer().ended.is_some()) {
            let mut running = self.start(&base, self.beginning(from).await?).await?;
            (running.floor, running.asked) = (from, from);
            follow.running = Some(running);
        }
        let Some(running) = follow.running.as_mut() else { return Err(self.lost("its binary log is not followed".to_owned())) };
        running.ask(from);
        let shared = std::sync::Arc::clone(&running.shared);
        self.arrive(&shared, from, end, limit).await?;

        let mut batch = Batch { upto: after, end, ..Batch::default() };
        let mut folded: Vec<Folded> = Vec::new();
        let mut places: HashMap<(usize, String), usize> = HashMap::new();
        let mut fold = |Change { pair, key, image, born }: &Change| {
            let place = *places.entry((*pair, stored(key))).or_insert_with(|| {
                folded.push(Folded { pair: *pair, key: key.clone(), image: Image::Asked, born: false });
                folded.len() - 1
            });
            let known = &mut folded[place];
            if matches!(known.image, Image::Asked) {
                known.born = *born;
            }
            known.image = std::mem::replace(&mut known.image, Image::Asked).then(image.clone());
        };
        let mut blocked = None;
        {
            let buffer = shared.buffer();
            let mut left = buffer.transactions.iter().skip_while(|transaction| transaction.end <= from);
            let mut complete = true;
            for transaction in left.by_ref() {
                if batch.entries >= limit as u64 || self.is_new(transaction) {
                    blocked = transaction.unfollowed.clone().filter(|_| batch.entries == 0).map(|unfollowed| (unfollowed, transaction.end));
                    batch.left = transaction.changes.len() as u64;
                    complete = false;
                    break;
                }
                if batch.entries == 0 && !transaction.changes.is_empty() {
                    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |now| now.as_secs_f64());
                    batch.age = (now - f64::from(transaction.at)).max(0.0);
                }
                batch.entries += transaction.changes.len() as u64;
                batch.upto = transaction.end;
                transaction.changes.iter().for_each(&mut fold);
            }
            batch.left += left.map(|transaction| transaction.changes.len() as u64).sum::<u64>();
            if batch.entries > 0 {
                self.last.fetch_max(batch.upto.0, Ordering::AcqRel);
            }
            if complete && buffer.received >= end {
                batch.upto = buffer.received.max(after);
                batch.end = batch.upto;
            } else if complete {
                match &buffer.ended {
                    Some(Ended::Refused(why)) => return Err(self.refused(why)),
                    Some(Ended::Lost(why)) => return Err(self.lost(why.clone())),
                    None => {}
                }
            }
        }
        if let Some((unfollowed, end)) = blocked {
            drop(follow);
            self.look_at(&unfollowed, end).await?;
            return self.read(after, limit, also).await;
        }
        for touched in also {
            if !places.contains_key(&(touched.pair, stored(&touched.key))) {
                folded.push(Folded { pair: touched.pair, key: touched.key.clone(), image: Image::Asked, born: false });
            }
        }
        (batch.rows, batch.fresh) = self.rows_of(&folded, batch.upto).await?;
        batch.asked = (0..folded.len()).filter(|at| matches!(folded[*at].image, Image::Asked)).collect();
        batch.touched = folded.into_iter().map(|Folded { pair, key, .. }| Touched { pair, key }).collect();
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = (batch.upto == batch.end).then_some(batch.end);
        Ok(batch)
    }

    /// Of a log in several files, what the newest has: how long the others are is not asked.
    fn bytes(&self, from: Position, to: Position, _entries: u64) -> u64 {
        if from.0 >> 32 == to.0 >> 32 { to.0.saturating_sub(from.0) } else { to.0 & 0xffff_ffff }
    }

    async fn confirm(&self, position: Position) -> Result<(), Error> {
        if let Some(running) = self.follow.lock().await.running.as_mut() {
            running.forget(position);
        }
        let noted = self.noted();
        let last = self.last.load(Ordering::Acquire).min(position.0).max(noted.last);
        let far = position.0 >> 32 != noted.confirmed >> 32 || position.0.saturating_sub(noted.confirmed) > FAR;
        if position.0 <= noted.confirmed || last == noted.last && !far {
            return Ok(());
        }
        self.note(position, Position(last)).await
    }

    async fn pruned(&self) -> Result<Position, Error> {
        let oldest = self.oldest().await?;
        self.told.fetch_max(oldest, Ordering::AcqRel);
        let noted = self.noted();
        // Nothing of ours stands between the last captured change and what was confirmed; what comes after is another matter.
        Ok(Position(oldest.min(noted.last)))
    }

    async fn lost(&self, position: Position) -> Result<bool, Error> {
        let oldest = self.oldest().await?;
        Ok(oldest > self.noted().confirmed && oldest > position.0)
    }

    async fn end_position(&self) -> Result<Position, Error> {
        let mut conn = self.server.lease().await?;
        self.intact(&mut conn).await?;
        let (_, end) = end_of_log(&self.server, &mut conn).await?;
        conn.done();
        Ok(end)
    }

    async fn touch(&self, rows: &[Touched]) -> Result<(), Error> {
        for rows in rows.chunks(1_000) {
            let mut conn = self.guarded().await?;
            let list = vec!["(?,?,?)"; rows.len()].join(",");
            let mut values = Vec::with_capacity(rows.len() * 3);
            for row in rows {
                values.extend([
                    mysql_async::Value::from(&self.scope),
                    mysql_async::Value::from(&self.pairs[row.pair].name),
                    mysql_async::Value::from(stored(&row.key)),
                ]);
            }
            conn.exec_drop(format!("INSERT INTO `_ficus_touch` (`scope`, `pair`, `key`) VALUES {list}"), values)
                .await
                .map_err(|e| self.failed(e))?;
            // The log has them now: that is all that they are for.
            conn.exec_drop("DELETE FROM `_ficus_touch` WHERE `scope` = ?", (&self.scope,)).await.map_err(|e| self.failed(e))?;
            self.commit(conn).await?;
        }
        Ok(())
    }
}
