//! One side as a whole: its identity, its sequences, and taking everything out again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use ficus_rules::Side;
use ficus_rules::catalog::Catalog;
use ficus_rules::finding::Finding;
use ficus_rules::mapping::{Kind, Plan, Tables};
use sqlx::{ConnectOptions, PgConnection, Row};

use super::fence::{CLOSED, PATIENCE};
use super::locks::Attempts;
use super::objects::Names;
use super::parts::Pair;
use super::{Endpoint, Server, catalog, findings, objects, schema, slot, sql};
use crate::crash;
use crate::error::Error;
use crate::port::{Busy, Database, Engine, LetIn, Refused, Rewrite, Rewritten, Same, Shared, Stray, Wanted};
use crate::quarantine::Kept;

/// The sequence that the column `$2` of the table `$1` owns, or else whose number its default is. (One that makes something else of that
/// number says nothing about how high it has to be.)
pub(super) const OF_COLUMN: &str = "SELECT coalesce(pg_get_serial_sequence($1, $2), (SELECT min(s.oid::regclass::text)
      FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_attrdef e ON e.adrelid = a.attrelid AND e.adnum = a.attnum
      JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_attrdef'::regclass AND d.objid = e.oid AND d.refclassid = 'pg_catalog.pg_class'::regclass
      JOIN pg_catalog.pg_class s ON s.oid = d.refobjid AND s.relkind = 'S'
      WHERE a.attrelid = $1::text::regclass AND a.attname = $2 AND pg_get_expr(e.adbin, e.adrelid) ~ '^nextval\\(''.*''::regclass\\)$'))";

/// The sequence that gives out a pair's numbers, quoted: the key column's own, or on modern what `sequence` in the rule
/// file names, which is a sequence or a table with one.
pub(super) async fn sequence(
    connection: &mut PgConnection,
    pair: &Pair,
    named: Option<&String>,
    side: Side,
) -> Result<Result<Option<String>, Error>, sqlx::Error> {
    let Some(named) = named else {
        return sqlx::query(OF_COLUMN).bind(&pair.table).bind(&pair.shape.key).fetch_one(connection).await?.try_get(0).map(Ok);
    };
    let found = "SELECT CASE c.relkind WHEN 'S' THEN c.oid::regclass::text ELSE (SELECT min(s.sequence) FROM (
          SELECT pg_get_serial_sequence(c.oid::regclass::text, a.attname) AS sequence FROM pg_catalog.pg_attribute a
          WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) s) END
        FROM pg_catalog.pg_class c WHERE c.oid = to_regclass($1)";
    let row = sqlx::query(found).bind(schema::lookup(named)).fetch_optional(connection).await?;
    let sequence: Option<String> = row.map(|row| row.try_get(0)).transpose()?.flatten();
    Ok(match sequence {
        Some(sequence) => Ok(Some(sequence)),
        None => Err(Error::Refused(format!(
            "{side} has no sequence {named}, and no table of that name with one; create it: CREATE SEQUENCE {}",
            schema::lookup(named)
        ))),
    })
}

impl Endpoint {
    /// The highest number that a row of the pair bears, or that the sequence has given out.
    pub(super) async fn highest(&self, pair: usize) -> Result<i64, Error> {
        let pair = &self.pairs[pair];
        let mut connection = self.server.pool.acquire().await.map_err(|e| self.failed(e))?;
        let mut highest = 0;
        if pair.key.info.kind == Kind::Int {
            let query = format!("SELECT max(t.{})::int8 {}", sql::name(&pair.shape.key), pair.sql.from);
            let row: Option<i64> =
                sql::query(&query).fetch_one(&mut *connection).await.and_then(|row| row.try_get(0)).map_err(|e| self.failed(e))?;
            highest = row.unwrap_or(0);
        }
        if let Some(sequence) = &pair.sequence {
            let given = format!("SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM {sequence}");
            let given: i64 =
                sql::query(&given).fetch_one(&mut *connection).await.and_then(|row| row.try_get(0)).map_err(|e| self.failed(e))?;
            highest = highest.max(given);
        }
        Ok(highest)
    }

    pub(super) async fn raise(&self, pair: usize, above: i64) -> Result<(), Error> {
        let Some(sequence) = &self.pairs[pair].sequence else { return Ok(()) };
        let mut tx = self.guarded().await?;
        let raise = format!(
            "SELECT setval({}, $1) FROM {sequence} WHERE last_value < $1 OR last_value = $1 AND NOT is_called",
            sql::text(sequence)
        );
        sql::query(&raise).bind(above.max(1)).execute(&mut *tx).await.map_err(|e| self.failed(e))?;
        tx.commit().await.map_err(|e| self.failed(e))
    }
}

#[async_trait]
impl Database for Endpoint {
    async fn id(&self) -> Result<String, Error> {
        let mut connection = self.server.pool.acquire().await.map_err(|e| self.failed(e))?;
        // A database that was copied within its server has the same text, and another oid.
        let query = "SELECT concat_ws('/', (SELECT system_identifier FROM pg_control_system()), (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()), database_id) FROM _ficus.context";
        sqlx::query(query).fetch_one(&mut *connection).await.and_then(|row| row.try_get(0)).map_err(|e| self.failed(e))
    }

    async fn obey(&self, epoch: u64) -> Result<(), Error> {
        let mut connection = self.server.pool.acquire().await.map_err(|e| self.failed(e))?;
        let known = objects::obey(&mut connection, &self.names, epoch).await.map_err(|e| self.failed(e))?;
        Error::unless_newest(&self.server.label, epoch, known)
    }

    async fn obeyed(&self) -> Result<u64, Error> {
        let mut connection = self.server.pool.acquire().await.map_err(|e| self.failed(e))?;
        objects::obeyed(&mut connection, &self.names).await.map_err(|e| self.failed(e))
    }

    async fn fence(&self, on: bool) -> Result<(), Error> {
        if on { self.fence_up().await } else { self.fence_down().await }
    }

    async fn is_fenced(&self) -> Result<bool, Error> {
        self.stands_at(CLOSED).await
    }

    async fn busy(&self) -> Result<Busy, Error> {
        self.old_writers().await
    }

    async fn end_writers(&self) -> Result<Vec<String>, Error> {
        self.end_old_writers().await
    }

    fn fence_waits(&self) -> Duration {
        PATIENCE
    }

    async fn load_of_server(&self) -> Result<Option<u64>, Error> {
        self.running_statements().await.map(Some)
    }

    fn record_strays(&self) {
        self.records.store(true, Ordering::Release);
    }

    async fn let_through(&self) -> Result<(), Error> {
        self.let_strangers_in().await
    }

    async fn lets_through(&self) -> Result<bool, Error> {
        self.is_letting().await
    }

    async fn let_in(&self) -> Result<LetIn, Error> {
        self.count_let_in().await.map_err(|e| self.failed(e))
    }

    async fn unsettled(&self) -> Result<Vec<i64>, Error> {
        self.undecided().await.map_err(|e| self.failed(e))
    }

    async fn show_unsettled(&self, at_most: u32) -> Result<Vec<Kept>, Error> {
        self.show_let_in(at_most).await.map_err(|e| self.failed(e))
    }

    async fn settle_strays(&self, numbers: &[i64]) -> Result<(), Error> {
        self.decided(numbers).await
    }

    async fn forget_strays(&self) -> Result<bool, Error> {
        self.forget_decided().await
    }

    async fn oldest_strays(&self, at_most: u32) -> Result<Vec<Stray>, Error> {
        self.unread(at_most).await.map_err(|e| self.failed(e))
    }

    async fn pass_stray(&self, number: i64, reason: &str) -> Result<(), Error> {
        self.passed(number, reason).await
    }

    async fn rewrite(&self, pair: usize, number: i64, steps: &[Rewrite], same: &Same<'_>) -> Result<Rewritten, Error> {
        self.rewrite_rows(pair, number, steps, same).await
    }

    async fn refused(&self) -> Result<Option<Refused>, Error> {
        self.strays().await.map(Some)
    }
}

#[async_trait]
impl Engine for Server {
    async fn columns(&self, tables: &[String]) -> Result<Tables, Error> {
        let mut connection = self.pool.acquire().await.map_err(|e| self.failed(e))?;
        let tables = schema::tables(&mut connection, tables.iter()).await.map_err(|e| self.failed(e))?;
        let columns = |table: schema::Table| table.columns.into_iter().map(|column| column.info).collect();
        Ok(tables.into_iter().map(|(name, table)| (name, columns(table))).collect())
    }

    async fn catalog(&self) -> Result<Catalog, Error> {
        let mut connection = self.pool.acquire().await.map_err(|e| self.failed(e))?;
        catalog::read(&mut connection).await.map_err(|e| self.failed(e))
    }

    async fn findings(&self, wanted: &Wanted) -> Result<Vec<Finding>, Error> {
        let mut connection = self.pool.acquire().await.map_err(|e| self.failed(e))?;
        let names = Names::of(&mut connection, &wanted.capability, wanted.side).await.map_err(|e| self.failed(e))?;
        findings::find(self, &mut connection, &names, wanted).await
    }

    async fn side(&self, capability: &str, side: Side, plans: &[Plan]) -> Result<Shared, Error> {
        Ok(Arc::new(Endpoint::new(self.clone(), capability, side, plans).await?))
    }

    async fn remove(&self, capability: &str, side: Side, epoch: u64) -> Result<(), Error> {
        let mut connection = self.pool.acquire().await.map_err(|e| self.failed(e))?;
        let names = Names::of(&mut connection, capability, side).await.map_err(|e| self.failed(e))?;
        let known = objects::obeyed(&mut connection, &names).await.map_err(|e| self.failed(e))?;
        Error::unless_newest(&self.label, epoch, known)?;
        drop(connection);
        // First what would keep the server's log from being forgotten.
        slot::drop_slot(self, &names).await?;
        let mut attempts = Attempts::default();
        loop {
            let mut tx = self.begin().await?;
            match objects::remove_some(&mut tx, &names).await {
                Ok(more) => {
                    crash::point("remove");
                    tx.commit().await.map_err(|e| self.failed(e))?;
                    if !more {
                        return Ok(());
                    }
                    // Every table has its own.
                    attempts = Attempts::default();
                }
                Err(error) => {
                    // What goes wrong with it goes wrong because of the same.
                    drop(tx.rollback().await);
                    attempts.again(self, error).await?;
                }
            }
        }
    }

    async fn pulse(&self) {
        // Whatever the answer is.
        match self.pool.try_acquire() {
            Some(mut connection) => drop(sql::run(&mut connection, "SELECT 1").await),
            None => drop(self.address.queries().connect().await),
        }
    }

    async fn close(&self) {
        self.pool.close().await;
    }
}
