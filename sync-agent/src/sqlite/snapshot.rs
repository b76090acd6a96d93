//! The exact snapshot: one read transaction sees the end of the log and every row; SQLite has one serial history, so
//! they belong together. In WAL mode it blocks nobody. Rows come by their key, so that a copy that was broken off can go on
//! behind the last one.

use ficus_rules::mapping::{Row, Value};
use futures::TryStreamExt;
use sqlx::SqliteConnection;
use tokio::sync::mpsc;

use super::{Endpoint, Pair, sql};
use crate::error::Error;
use crate::port::{Left, PIECE_BYTES, Piece, Position};

impl Endpoint {
    pub(super) async fn read_snapshot(&self, left: &[Left], batch_rows: usize, pieces: mpsc::Sender<Piece>) -> Result<(), Error> {
        let mut connection = self.file.read.begin().await.map_err(|e| self.failed(e))?;
        let position = self.end_in(&mut connection).await.map_err(|e| self.failed(e))?;
        self.copy(&mut connection, position, left, batch_rows, &pieces).await?;
        connection.rollback().await.map_err(|e| self.failed(e))
    }

    async fn copy(
        &self,
        connection: &mut SqliteConnection,
        position: Position,
        left: &[Left],
        batch_rows: usize,
        pieces: &mpsc::Sender<Piece>,
    ) -> Result<(), Error> {
        let queries: Vec<Option<(String, Vec<Value>)>> =
            self.pairs.iter().enumerate().map(|(index, pair)| query(pair, left.get(index).unwrap_or(&Left::All))).collect();
        let mut total = 0;
        for (query, arguments) in queries.iter().flatten() {
            let count = format!("SELECT count(*) FROM ({query})");
            if let Some(Value::Int(rows)) = sql::one(connection, &count, arguments).await.map_err(|e| self.failed(e))? {
                total += u64::try_from(rows).unwrap_or(0);
            }
        }
        if pieces.send(Piece::Begins(position, total)).await.is_err() {
            return Ok(());
        }
        for (index, pair) in self.pairs.iter().enumerate() {
            let Some((query, arguments)) = &queries[index] else { continue };
            let query = format!("{query} ORDER BY {}", pair.sql.key);
            let mut found = sql::query(&query, sql::arguments(arguments)).fetch(&mut *connection);
            let mut rows: Vec<Row> = Vec::with_capacity(batch_rows);
            let mut bytes = 0;
            while let Some(row) = found.try_next().await.map_err(|e| self.failed(e))? {
                let row = sql::keyed(&row).map_err(|e| self.failed(e))?;
                if !sql::is_key(&row.key) {
                    return Err(self.no_key(index));
                }
                bytes += row.bytes();
                rows.push(row);
                if rows.len() >= batch_rows || bytes >= PIECE_BYTES {
                    bytes = 0;
                    let full = std::mem::replace(&mut rows, Vec::with_capacity(batch_rows));
                    if pieces.send(Piece::Rows(index, full)).await.is_err() {
                        return Ok(());
                    }
                }
            }
            if !rows.is_empty() && pieces.send(Piece::Rows(index, rows)).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// The rows of a pair that are left; none when there are none.
fn query(pair: &Pair, left: &Left) -> Option<(String, Vec<Value>)> {
    let key = &pair.sql.key;
    let all = format!("{} AND {key} IS NOT NULL", pair.sql.select);
    match left {
        Left::Nothing => None,
        Left::After(after) => Some((format!("{all} AND {key} > ?1"), vec![after.clone()])),
        Left::All => Some((all, Vec::new())),
    }
}
