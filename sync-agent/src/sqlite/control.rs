//! One side as a whole: its identity, its fence, its sequences, and taking everything out again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use ficus_rules::Side;
use ficus_rules::catalog::Catalog;
use ficus_rules::finding::Finding;
use ficus_rules::mapping::{Plan, Tables, Value};

use super::{BUSY, Endpoint, File, catalog, findings, objects, schema, scope, sql, stream, triggers};
use crate::crash;
use crate::error::Error;
use crate::port::{Busy, Database, Engine, LetIn, Rewrite, Rewritten, Same, Shared, Stray, Wanted};
use crate::quarantine::Kept;

impl Endpoint {
    /// The highest number that a row of the pair bears, or that the sequence has given out.
    pub(super) async fn highest(&self, pair: usize) -> Result<i64, Error> {
        let pair = &self.pairs[pair];
        let mut connection = self.file.read.acquire().await.map_err(|e| self.failed(e))?;
        let query = format!("{} ORDER BY {} DESC LIMIT 1", pair.sql.keys, pair.sql.key);
        let integer = |value| match value {
            Some(Value::Int(number)) => number,
            _ => 0,
        };
        let row = integer(sql::one(&mut connection, &query, &[]).await.map_err(|e| self.failed(e))?);
        let Some(sequence) = &pair.sequence else { return Ok(row) };
        let query = "SELECT seq FROM sqlite_sequence WHERE name = ?1";
        let given = sql::one(&mut connection, query, &[Value::Text(sequence.clone())]).await.map_err(|e| self.failed(e))?;
        Ok(row.max(integer(given)))
    }

    /// SQLite keeps the last number of an AUTOINCREMENT table in `sqlite_sequence`; no row until the first insert.
    pub(super) async fn raise(&self, pair: usize, above: i64) -> Result<(), Error> {
        let Some(sequence) = &self.pairs[pair].sequence else { return Ok(()) };
        let mut tx = self.guarded().await?;
        let values = [Value::Text(sequence.clone()), Value::Int(above)];
        let create =
            "INSERT INTO sqlite_sequence (name, seq) SELECT ?1, 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = ?1)";
        sql::run_with(&mut tx, create, &values[..1]).await.map_err(|e| self.failed(e))?;
        let update = "UPDATE sqlite_sequence SET seq = max(seq, ?2) WHERE name = ?1";
        sql::run_with(&mut tx, update, &values).await.map_err(|e| self.failed(e))?;
        tx.commit().await.map_err(|e| self.failed(e))
    }
}

impl Endpoint {
    async fn set_fence(&self, value: i64) -> Result<(), Error> {
        let mut tx = self.guarded().await?;
        self.intact(&mut tx).await?;
        let update = "UPDATE \"_ficus_fence\" SET \"fenced\" = ?2 WHERE \"scope\" = ?1";
        sql::run_with(&mut tx, update, &[self.scope_value(), Value::Int(value)]).await.map_err(|e| self.failed(e))?;
        crash::point("fence");
        tx.commit().await.map_err(|e| self.failed(e))
    }

    /// What the fence stands at.
    pub(super) async fn fence_value(&self) -> Result<Option<i64>, Error> {
        let mut connection = self.file.read.acquire().await.map_err(|e| self.failed(e))?;
        let query = "SELECT \"fenced\" FROM \"_ficus_fence\" WHERE \"scope\" = ?1";
        let found = sql::one(&mut connection, query, &[self.scope_value()]).await.map_err(|e| self.failed(e))?;
        Ok(if let Some(Value::Int(value)) = found { Some(value) } else { None })
    }
}

#[async_trait]
impl Database for Endpoint {
    async fn id(&self) -> Result<String, Error> {
        let mut connection = self.file.read.acquire().await.map_err(|e| self.failed(e))?;
        let id = sql::one(&mut connection, "SELECT \"database_id\" FROM \"_ficus_context\"", &[]).await.map_err(|e| self.failed(e))?;
        match id {
            Some(Value::Text(id)) => Ok(id),
            _ => Err(Error::SchemaChanged),
        }
    }

    async fn obey(&self, epoch: u64) -> Result<(), Error> {
        let mut tx = self.file.begin().await?;
        let known = objects::obey(&mut tx, &self.scope, epoch).await.map_err(|e| self.failed(e))?;
        tx.commit().await.map_err(|e| self.failed(e))?;
        Error::unless_newest(&self.file.label, epoch, known)
    }

    async fn obeyed(&self) -> Result<u64, Error> {
        let mut tx = self.file.begin().await?;
        objects::obeyed(&mut tx, &self.scope).await.map_err(|e| self.failed(e))
    }

    async fn fence(&self, on: bool) -> Result<(), Error> {
        self.set_fence(if on { triggers::CLOSED } else { triggers::OPEN }).await
    }

    async fn is_fenced(&self) -> Result<bool, Error> {
        Ok(self.fence_value().await? == Some(triggers::CLOSED))
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

    async fn busy(&self) -> Result<Busy, Error> {
        self.write_lock().await
    }

    fn fence_waits(&self) -> Duration {
        BUSY
    }
}

#[async_trait]
impl Engine for File {
    async fn columns(&self, tables: &[String]) -> Result<Tables, Error> {
        let mut connection = self.read.acquire().await.map_err(|e| self.failed(e))?;
        let tables = schema::tables(&mut connection, tables.iter()).await.map_err(|e| self.failed(e))?;
        Ok(tables.into_iter().map(|(name, table)| (name, table.columns)).collect())
    }

    async fn catalog(&self) -> Result<Catalog, Error> {
        let mut connection = self.read.acquire().await.map_err(|e| self.failed(e))?;
        catalog::read(&mut connection).await.map_err(|e| self.failed(e))
    }

    async fn findings(&self, wanted: &Wanted) -> Result<Vec<Finding>, Error> {
        findings::find(self, wanted).await
    }

    async fn side(&self, capability: &str, side: Side, plans: &[Plan]) -> Result<Shared, Error> {
        Ok(Arc::new(Endpoint::new(self.clone(), capability, side, plans).await?))
    }

    async fn remove(&self, capability: &str, side: Side, epoch: u64) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        let known = objects::obeyed(&mut tx, &scope(capability, side)).await.map_err(|e| self.failed(e))?;
        Error::unless_newest(&self.label, epoch, known)?;
        objects::remove(&mut tx, &scope(capability, side), &stream(capability, side)).await.map_err(|e| self.failed(e))?;
        crash::point("remove");
        tx.commit().await.map_err(|e| self.failed(e))
    }

    async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
        self.probe.close().await;
    }
}
