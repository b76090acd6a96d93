//! Rows in the shape of the plans. Each call is one short statement.

use async_trait::async_trait;
use ficus_rules::mapping::{Row, Value};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

use super::parts::Pair;
use super::schema::Column;
use super::{Endpoint, sql};
use crate::error::Error;
use crate::port::{KeyRange, Reader};

/// Keys of one statement.
const KEYS: usize = 5_000;

/// References of one table that could lead nowhere: the referencing columns, the other table and its columns.
const REFERENCES: &str = "SELECT k.confrelid::regclass::text,
      ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS c(n, o) JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = c.n ORDER BY c.o),
      ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY AS c(n, o) JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = c.n ORDER BY c.o)
    FROM pg_catalog.pg_constraint k WHERE k.contype = 'f' AND k.conrelid = $1::int8::oid";

/// A column of a row that was selected as texts.
pub(super) fn cell(row: &PgRow, index: usize, column: &Column) -> Result<Value, sqlx::Error> {
    match row.try_get::<Option<&str>, _>(index)? {
        None => Ok(Value::Null),
        Some(text) => column.read(text).map_err(|reason| sqlx::Error::Decode(format!("column {} {reason}", column.info.name).into())),
    }
}

/// A row of a pair that was selected as texts.
pub(super) fn keyed(row: &PgRow, pair: &Pair) -> Result<Row, sqlx::Error> {
    let columns = pair.columns.iter().chain(&pair.lookups).enumerate();
    let values = columns.map(|(index, column)| cell(row, index + 1, column)).collect::<Result<_, _>>()?;
    Ok(Row { key: cell(row, 0, &pair.key)?, values })
}

impl Endpoint {
    /// The rows of these keys, in the caller's transaction.
    pub(super) async fn rows_in(&self, connection: &mut PgConnection, pair: usize, keys: &[Value]) -> Result<Vec<Row>, sqlx::Error> {
        let pair = &self.pairs[pair];
        let query = format!("{} AND {}", pair.sql.select, pair.sql.is_key);
        let mut rows = Vec::with_capacity(keys.len());
        for keys in keys.chunks(KEYS) {
            let keys = pair.keys(keys.iter());
            if !keys.is_empty() {
                for row in keys.bind(sql::query(&query)).fetch_all(&mut *connection).await? {
                    rows.push(keyed(&row, pair)?);
                }
            }
        }
        Ok(rows)
    }
}

#[async_trait]
impl Reader for Endpoint {
    async fn rows(&self, pair: usize, keys: &[Value]) -> Result<Vec<Row>, Error> {
        let mut connection = self.server.pool.acquire().await.map_err(|e| self.failed(e))?;
        self.rows_in(&mut connection, pair, keys).await.map_err(|e| self.failed(e))
    }

    async fn chunk(&self, pair: usize, range: &KeyRange, limit: usize) -> Result<Vec<Row>, Error> {
        let pair = &self.pairs[pair];
        let order = &pair.sql.order;
        let mut query = format!("{} AND t.{} IS NOT NULL", pair.sql.select, sql::name(&pair.shape.key));
        let mut bounds: Vec<String> = Vec::new();
        for (bound, compare) in [(&range.after, ">"), (&range.through, "<=")] {
            let text = match bound {
                Some(Value::Int(number)) => number.to_string(),
                Some(Value::Text(text)) => text.clone(),
                _ => continue,
            };
            bounds.push(text);
            query.push_str(&format!(" AND {order} {compare} ${}::text{}", bounds.len(), pair.sql.order_cast));
        }
        query.push_str(&format!(" ORDER BY {order} LIMIT {limit}"));
        let mut connection = self.server.pool.acquire().await.map_err(|e| self.failed(e))?;
        let query = bounds.into_iter().fold(sql::query(&query), sqlx::query::Query::bind);
        let rows = query.fetch_all(&mut *connection).await.map_err(|e| self.failed(e))?;
        rows.iter().map(|row| keyed(row, pair).map_err(|e| self.failed(e))).collect()
    }

    async fn keyless(&self, pair: usize) -> Result<u64, Error> {
        let pair = &self.pairs[pair];
        let query = format!(
            "SELECT count(*) FROM {} AS t WHERE {} AND t.{} IS NULL",
            pair.table,
            sql::belongs(&pair.filters, "t"),
            sql::name(&pair.shape.key)
        );
        let mut connection = self.server.pool.acquire().await.map_err(|e| self.failed(e))?;
        let count: i64 = sql::query(&query).fetch_one(&mut *connection).await.and_then(|row| row.try_get(0)).map_err(|e| self.failed(e))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    async fn orphans(&self) -> Result<Vec<String>, Error> {
        let mut connection = self.server.pool.acquire().await.map_err(|e| self.failed(e))?;
        let mut orphans = Vec::new();
        for (name, table) in &self.tables {
            let found = sqlx::query(REFERENCES).bind(i64::from(table.oid)).fetch_all(&mut *connection).await.map_err(|e| self.failed(e))?;
            for row in found {
                let decoded = || {
                    Ok::<_, sqlx::Error>((
                        row.try_get::<String, _>(0)?,
                        row.try_get::<Vec<String>, _>(1)?,
                        row.try_get::<Vec<String>, _>(2)?,
                    ))
                };
                let (parent, from, to) = decoded().map_err(|e| self.failed(e))?;
                let set: Vec<String> = from.iter().map(|column| format!("c.{} IS NOT NULL", sql::name(column))).collect();
                let same: Vec<String> =
                    from.iter().zip(&to).map(|(from, to)| format!("p.{} = c.{}", sql::name(to), sql::name(from))).collect();
                let query = format!(
                    "SELECT count(*) FROM {} AS c WHERE {} AND NOT EXISTS (SELECT 1 FROM {parent} AS p WHERE {})",
                    table.qualified,
                    set.join(" AND "),
                    same.join(" AND ")
                );
                let rows: i64 =
                    sql::query(&query).fetch_one(&mut *connection).await.and_then(|row| row.try_get(0)).map_err(|e| self.failed(e))?;
                if rows > 0 {
                    orphans.push(format!("{rows} rows of {} table {name} refer to rows that {parent} does not have", self.side));
                }
            }
        }
        Ok(orphans)
    }
}
