//! One side as a whole: its identity, its fence, its sequences, and taking everything out again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use ficus_rules::Side;
use ficus_rules::catalog::Catalog;
use ficus_rules::finding::Finding;
use ficus_rules::mapping::{Plan, Tables, Value};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::checks::rights::Account;
use super::connect::{LOCK_SECONDS, Lease};
use super::parts::name;
use super::schema::Counter;
use super::{Endpoint, Server, catalog, checks, locks, objects, schema, scope, stream, triggers};
use crate::crash;
use crate::error::Error;
use crate::port::{Busy, Database, Engine, LetIn, Refused, Rewrite, Rewritten, Same, Shared, Stray, Wanted};
use crate::quarantine::Kept;

impl Endpoint {
    /// Who this database is, once [`crate::port::Source::prepare`] has made sure that it knows.
    pub(super) async fn identity(&self, conn: &mut Conn) -> Result<String, Error> {
        if let Some(mark) = self.mark.get() {
            return Ok(mark.clone());
        }
        let found: Option<String> = conn.query_first("SELECT `database_id` FROM `_ficus_context`").await.map_err(|e| self.failed(e))?;
        let found = found.ok_or(Error::SchemaChanged)?;
        Ok(self.mark.get_or_init(|| found).clone())
    }

    /// A write transaction that only the agent whose turn it is gets. It leaves no trace in the log by itself.
    pub(super) async fn guarded(&self) -> Result<Lease, Error> {
        let mut conn = self.server.lease().await?;
        let mark = self.identity(&mut conn).await?;
        conn.prove(&mark).await.map_err(|e| self.failed(e))?;
        conn.query_drop("START TRANSACTION").await.map_err(|e| self.failed(e))?;
        let turn = "SELECT 1 FROM `_ficus_checkpoint` WHERE `stream` = ? AND `epoch` = ? FOR UPDATE";
        let mine: Option<u8> =
            conn.exec_first(turn, (self.stream(), self.epoch.load(Ordering::Acquire))).await.map_err(|e| self.failed(e))?;
        if mine.is_none() { Err(Error::Superseded) } else { Ok(conn) }
    }

    pub(super) async fn commit(&self, mut conn: Lease) -> Result<(), Error> {
        conn.query_drop("COMMIT").await.map_err(|e| self.failed(e))?;
        conn.done();
        Ok(())
    }

    /// The highest number that a row of the pair bears, or that the sequence has given out.
    pub(super) async fn highest(&self, pair: usize) -> Result<i64, Error> {
        let pair = &self.pairs[pair];
        let mut conn = self.server.lease().await?;
        let query = format!("{} ORDER BY t.{} DESC LIMIT 1", pair.sql.keys, name(&pair.shape.key));
        // As a prepared statement: the text protocol has every value as a text.
        let row: Option<mysql_async::Row> = conn.exec_first(query, ()).await.map_err(|e| self.failed(e))?;
        let row = row.map_or(Value::Null, |row| pair.key.of_result(row.unwrap().pop().unwrap_or(mysql_async::Value::NULL)));
        let given = match &pair.sequence {
            Some((table, counter)) => next(&mut conn, table, *counter).await.map_err(|e| self.failed(e))?.saturating_sub(1),
            None => 0,
        };
        conn.done();
        Ok(if let Value::Int(row) = row { row.max(given) } else { given })
    }

    /// Raising an AUTO_INCREMENT is DDL, and instant. The comment tells capture whose it is.
    pub(super) async fn raise(&self, pair: usize, above: i64) -> Result<(), Error> {
        let Some((table, counter)) = &self.pairs[pair].sequence else { return Ok(()) };
        let conn = self.guarded().await?;
        self.commit(conn).await?;
        let mut conn = self.server.lease().await?;
        let wanted = above.saturating_add(1);
        if next(&mut conn, table, *counter).await.map_err(|e| self.failed(e))? < wanted {
            let raise = match counter {
                Counter::AutoIncrement => format!("ALTER TABLE {} /* _ficus_ */ AUTO_INCREMENT = {wanted}, ALGORITHM=INPLACE", name(table)),
                Counter::Sequence => format!("SELECT SETVAL({}, {above}) /* _ficus_ */", name(table)),
            };
            locks::change(&mut conn, &raise).await.map_err(|e| self.server.unchanged(e))?;
        }
        conn.done();
        Ok(())
    }
}

impl Endpoint {
    async fn set_fence(&self, value: i64) -> Result<(), Error> {
        let mut conn = self.guarded().await?;
        self.intact(&mut conn).await?;
        // Whoever has written to a fenced table since it began holds a shared lock on this row: this waits for them, as
        // long as the session waits for a lock at all.
        let update = "UPDATE `_ficus_fence` SET `fenced` = ? WHERE `scope` = ?";
        self.closing.store(conn.id(), Ordering::Release);
        let updated = conn.exec_drop(update, (value, &self.scope)).await;
        self.closing.store(0, Ordering::Release);
        match updated {
            Ok(()) => {}
            Err(mysql_async::Error::Server(said)) if said.code == 1205 => {
                let account = Account::of(&mut conn).await.map_err(|e| self.failed(e))?;
                let ends = match account.may_end_others().filter(|_| self.side == Side::Modern && self.server.is_mariadb()) {
                    Some(grant) => format!("; so that a revert ends such a one by itself: {grant}"),
                    None => String::new(),
                };
                let what = "a transaction that has written to a captured table has been open for too long; let it end, then try again";
                return Err(self.refused(format!("{what}{ends}")));
            }
            Err(error) => return Err(self.failed(error)),
        }
        crash::point("fence");
        self.commit(conn).await
    }
}

/// What the fence stands at.
pub(super) async fn fence_value(conn: &mut Conn, scope: &str) -> Result<Option<i64>, mysql_async::Error> {
    conn.exec_first("SELECT `fenced` FROM `_ficus_fence` WHERE `scope` = ?", (scope,)).await
}

/// The number that is given out next.
pub(super) async fn next(conn: &mut Conn, table: &str, counter: Counter) -> Result<i64, mysql_async::Error> {
    let number: Option<Option<i64>> = match counter {
        Counter::AutoIncrement => {
            let query = "SELECT AUTO_INCREMENT FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND BINARY TABLE_NAME = ?";
            conn.exec_first(query, (table,)).await?
        }
        Counter::Sequence => conn.query_first(format!("SELECT next_not_cached_value FROM {}", name(table))).await?,
    };
    Ok(number.flatten().unwrap_or(1))
}

#[async_trait]
impl Database for Endpoint {
    async fn id(&self) -> Result<String, Error> {
        let mut conn = self.server.lease().await?;
        let id = self.identity(&mut conn).await?;
        conn.done();
        Ok(id)
    }

    async fn obey(&self, epoch: u64) -> Result<(), Error> {
        let mut conn = self.server.lease().await?;
        let known = objects::obey(&mut conn, &self.scope, epoch).await.map_err(|e| self.failed(e))?;
        conn.done();
        Error::unless_newest(self.server.label(), epoch, known)
    }

    async fn obeyed(&self) -> Result<u64, Error> {
        let mut conn = self.server.lease().await?;
        let known = objects::obeyed(&mut conn, &self.scope).await.map_err(|e| self.failed(e))?;
        conn.done();
        Ok(known)
    }

    async fn fence(&self, on: bool) -> Result<(), Error> {
        self.set_fence(if on { triggers::CLOSED } else { triggers::OPEN }).await
    }

    async fn is_fenced(&self) -> Result<bool, Error> {
        let mut conn = self.server.lease().await?;
        let value = fence_value(&mut conn, &self.scope).await.map_err(|e| self.failed(e))?;
        conn.done();
        Ok(value == Some(triggers::CLOSED))
    }

    fn record_strays(&self) {
        self.records.store(true, Ordering::Release);
    }

    async fn let_through(&self) -> Result<(), Error> {
        self.set_fence(triggers::LETTING).await
    }

    async fn lets_through(&self) -> Result<bool, Error> {
        self.is_letting().await
    }

    async fn let_in(&self) -> Result<LetIn, Error> {
        self.count_let_in().await
    }

    async fn unsettled(&self) -> Result<Vec<i64>, Error> {
        self.undecided().await
    }

    async fn show_unsettled(&self, at_most: u32) -> Result<Vec<Kept>, Error> {
        self.show_let_in(at_most).await
    }

    async fn settle_strays(&self, numbers: &[i64]) -> Result<(), Error> {
        self.decided(numbers).await
    }

    async fn forget_strays(&self) -> Result<bool, Error> {
        self.forget_decided().await
    }

    async fn oldest_strays(&self, at_most: u32) -> Result<Vec<Stray>, Error> {
        self.unread(at_most).await
    }

    async fn pass_stray(&self, number: i64, reason: &str) -> Result<(), Error> {
        self.passed(number, reason).await
    }

    async fn rewrite(&self, pair: usize, number: i64, steps: &[Rewrite], same: &Same<'_>) -> Result<Rewritten, Error> {
        self.rewrite_rows(pair, number, steps, same).await
    }

    async fn busy(&self) -> Result<Busy, Error> {
        self.old_writers().await
    }

    async fn end_writers(&self) -> Result<Vec<String>, Error> {
        self.end_old_writers().await
    }

    fn fence_waits(&self) -> Duration {
        Duration::from_secs(LOCK_SECONDS.into())
    }

    async fn load_of_server(&self) -> Result<Option<u64>, Error> {
        self.running_threads().await.map(Some)
    }

    async fn refused(&self) -> Result<Option<Refused>, Error> {
        self.strays().await.map(Some)
    }
}

#[async_trait]
impl Engine for Server {
    async fn columns(&self, tables: &[String]) -> Result<Tables, Error> {
        let mut conn = self.lease().await?;
        let tables = schema::tables(&mut conn, tables).await.map_err(|e| self.failed(e))?;
        conn.done();
        Ok(tables.into_iter().map(|(name, table)| (name, table.info())).collect())
    }

    async fn catalog(&self) -> Result<Catalog, Error> {
        let mut conn = self.lease().await?;
        let catalog = catalog::read(self, &mut conn).await.map_err(|e| self.failed(e))?;
        conn.done();
        Ok(catalog)
    }

    async fn findings(&self, wanted: &Wanted) -> Result<Vec<Finding>, Error> {
        let mut conn = self.lease().await?;
        let found = checks::find(self, &mut conn, wanted).await?;
        conn.done();
        Ok(found)
    }

    async fn side(&self, capability: &str, side: Side, plans: &[Plan]) -> Result<Shared, Error> {
        Ok(Arc::new(Endpoint::new(self.clone(), capability, side, plans).await?))
    }

    async fn make_way(&self, capability: &str, side: Side) -> Result<(), Error> {
        let mut conn = self.lease().await?;
        objects::make_way(&mut conn, &scope(capability, side)).await.map_err(|e| self.unchanged(e))?;
        conn.done();
        Ok(())
    }

    async fn remove(&self, capability: &str, side: Side, epoch: u64) -> Result<(), Error> {
        let mut conn = self.lease().await?;
        let known = objects::obeyed(&mut conn, &scope(capability, side)).await.map_err(|e| self.failed(e))?;
        Error::unless_newest(self.label(), epoch, known)?;
        objects::remove(&mut conn, &scope(capability, side), &stream(capability, side)).await.map_err(|e| self.unchanged(e))?;
        crash::point("remove");
        conn.done();
        Ok(())
    }

    async fn pulse(&self) {
        self.ping().await;
    }

    async fn close(&self) {
        self.disconnect().await;
    }
}

#[cfg(test)]
mod tests;
