//! Rows in the shape of the plans. Each call is one short statement.

use async_trait::async_trait;
use ficus_rules::mapping::{Row, Value};
use futures::TryStreamExt;
use sqlx::SqliteConnection;

use super::{Endpoint, sql};
use crate::error::Error;
use crate::port::{KeyRange, Reader};

/// Keys of one statement.
const KEYS: usize = 2_000;

impl Endpoint {
    /// The rows of these keys, in the caller's transaction.
    pub(super) async fn rows_in(&self, connection: &mut SqliteConnection, pair: usize, keys: &[Value]) -> Result<Vec<Row>, sqlx::Error> {
        let statements = &self.pairs[pair].sql;
        let query = format!("{} AND {} IN (SELECT value FROM json_each(?))", statements.select, statements.key);
        let mut rows = Vec::with_capacity(keys.len());
        for keys in keys.chunks(KEYS) {
            let arguments = sql::arguments(&[sql::json_keys(keys.iter())]);
            let mut found = sql::query(&query, arguments).fetch(&mut *connection);
            while let Some(row) = found.try_next().await? {
                rows.push(sql::keyed(&row)?);
            }
        }
        Ok(rows)
    }
}

#[async_trait]
impl Reader for Endpoint {
    async fn rows(&self, pair: usize, keys: &[Value]) -> Result<Vec<Row>, Error> {
        let mut connection = self.file.read.acquire().await.map_err(|e| self.failed(e))?;
        self.rows_in(&mut connection, pair, keys).await.map_err(|e| self.failed(e))
    }

    async fn chunk(&self, pair: usize, range: &KeyRange, limit: usize) -> Result<Vec<Row>, Error> {
        let statements = &self.pairs[pair].sql;
        let key = &statements.key;
        let mut query = format!("{} AND {key} IS NOT NULL", statements.select);
        let mut arguments = Vec::new();
        for (bound, compare) in [(&range.after, ">"), (&range.through, "<=")] {
            if let Some(bound) = bound {
                query.push_str(&format!(" AND {key} {compare} ?"));
                arguments.push(bound.clone());
            }
        }
        query.push_str(&format!(" ORDER BY {key} LIMIT {limit}"));
        let mut connection = self.file.read.acquire().await.map_err(|e| self.failed(e))?;
        let rows = sql::query(&query, sql::arguments(&arguments)).fetch_all(&mut *connection).await.map_err(|e| self.failed(e))?;
        rows.iter().map(|row| sql::keyed(row).map_err(|e| self.failed(e))).collect()
    }

    async fn keyless(&self, pair: usize) -> Result<u64, Error> {
        let statements = &self.pairs[pair].sql;
        let query = format!("SELECT count(*) FROM ({} AND {} IS NULL)", statements.select, statements.key);
        let mut connection = self.file.read.acquire().await.map_err(|e| self.failed(e))?;
        match sql::one(&mut connection, &query, &[]).await.map_err(|e| self.failed(e))? {
            Some(Value::Int(rows)) => Ok(u64::try_from(rows).unwrap_or(0)),
            _ => Ok(0),
        }
    }

    async fn orphans(&self) -> Result<Vec<String>, Error> {
        let mut connection = self.file.read.acquire().await.map_err(|e| self.failed(e))?;
        let mut orphans = Vec::new();
        for table in self.tables.keys() {
            let query = "SELECT \"parent\", count(*) FROM pragma_foreign_key_check(?1) GROUP BY \"parent\"";
            let found = sql::all(&mut connection, query, &[Value::Text(table.clone())]).await.map_err(|e| self.failed(e))?;
            for row in found {
                if let [Value::Text(parent), Value::Int(rows)] = row.as_slice() {
                    orphans.push(format!("{rows} rows of {} table {table} refer to rows that {parent} does not have", self.side));
                }
            }
        }
        Ok(orphans)
    }
}
