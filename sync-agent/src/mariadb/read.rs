//! Rows in the shape of the plans. Each call is one short statement.

use async_trait::async_trait;
use ficus_rules::mapping::{Row, Value};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Value as Sql};

use super::parts::{Statements, name};
use super::{Endpoint, Pair};
use crate::error::Error;
use crate::port::{KeyRange, Reader};

impl Pair {
    /// A row that begins with its key.
    pub(super) fn row(&self, found: mysql_async::Row) -> Row {
        let mut values = found.unwrap().into_iter();
        let key = values.next().map_or(Value::Null, |value| self.key.of_result(value));
        let rest = self.columns.iter().chain(&self.lookups).zip(values);
        Row { key, values: rest.map(|(column, value)| column.of_result(value)).collect() }
    }

    /// Keys as arguments of [`Statements::among`].
    pub(super) fn listed(&self, keys: &[Value], length: usize, times: usize) -> Vec<Sql> {
        let mut list: Vec<Sql> = keys.iter().map(|key| self.key.argument(key)).collect();
        if let Some(last) = list.last().cloned() {
            list.resize(length, last);
        }
        let mut all = Vec::with_capacity(length * times);
        for _ in 0..times {
            all.extend(list.iter().cloned());
        }
        all
    }

    /// The rows of these keys, in the caller's transaction.
    pub(super) async fn rows_in(&self, conn: &mut Conn, keys: &[Value]) -> Result<Vec<Row>, mysql_async::Error> {
        let mut rows = Vec::with_capacity(keys.len());
        for keys in keys.chunks(Statements::most()) {
            let (among, length, times) = self.sql.among(keys.len());
            let query = format!("{} AND {among}", self.sql.select);
            let found: Vec<mysql_async::Row> = conn.exec(query, self.listed(keys, length, times)).await?;
            rows.extend(found.into_iter().map(|row| self.row(row)));
        }
        Ok(rows)
    }
}

#[async_trait]
impl Reader for Endpoint {
    async fn rows(&self, pair: usize, keys: &[Value]) -> Result<Vec<Row>, Error> {
        let mut conn = self.server.lease().await?;
        let rows = self.pairs[pair].rows_in(&mut conn, keys).await.map_err(|e| self.failed(e))?;
        conn.done();
        Ok(rows)
    }

    async fn chunk(&self, pair: usize, range: &KeyRange, limit: usize) -> Result<Vec<Row>, Error> {
        let pair = &self.pairs[pair];
        let order = &pair.sql.order;
        let mut query = format!("{} AND {} IS NOT NULL", pair.sql.select, pair.sql.order);
        let mut arguments = Vec::new();
        for (bound, compare) in [(&range.after, ">"), (&range.through, "<=")] {
            if let Some(bound) = bound {
                query.push_str(&format!(" AND {order} {compare} ?"));
                arguments.push(pair.key.argument(bound));
            }
        }
        query.push_str(&format!(" ORDER BY {order} LIMIT {limit}"));
        let mut conn = self.server.lease().await?;
        let found: Vec<mysql_async::Row> = conn.exec(query, arguments).await.map_err(|e| self.failed(e))?;
        conn.done();
        Ok(found.into_iter().map(|row| pair.row(row)).collect())
    }

    async fn keyless(&self, pair: usize) -> Result<u64, Error> {
        let shape = &self.pairs[pair].shape;
        let query = format!(
            "SELECT count(*) FROM {} AS t WHERE {} AND t.{} IS NULL",
            name(&shape.table),
            super::parts::belongs(&shape.filter, "t"),
            name(&shape.key)
        );
        let mut conn = self.server.lease().await?;
        let rows: Option<u64> = conn.query_first(query).await.map_err(|e| self.failed(e))?;
        conn.done();
        Ok(rows.unwrap_or(0))
    }

    async fn orphans(&self) -> Result<Vec<String>, Error> {
        let mut conn = self.server.lease().await?;
        let mut orphans = Vec::new();
        for (table, known) in &self.tables {
            for reference in &known.references {
                let there = reference.columns.iter().map(|column| format!("t.{} IS NOT NULL", name(column)));
                let same = reference
                    .columns
                    .iter()
                    .zip(&reference.parent_columns)
                    .map(|(column, parent)| format!("p.{} = t.{}", name(parent), name(column)));
                let query = format!(
                    "SELECT count(*) FROM {} AS t WHERE {} AND NOT EXISTS (SELECT 1 FROM {} AS p WHERE {})",
                    name(table),
                    there.collect::<Vec<_>>().join(" AND "),
                    name(&reference.parent),
                    same.collect::<Vec<_>>().join(" AND "),
                );
                let rows: Option<u64> = conn.query_first(query).await.map_err(|e| self.failed(e))?;
                if let Some(rows) = rows.filter(|rows| *rows > 0) {
                    orphans
                        .push(format!("{rows} rows of {} table {table} refer to rows that {} does not have", self.side, reference.parent));
                }
            }
        }
        conn.done();
        Ok(orphans)
    }
}
