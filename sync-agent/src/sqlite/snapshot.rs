//! The exact snapshot: one read transaction sees the end of the log and every row; SQLite has one serial history, so
//! they belong together. In WAL mode it blocks nobody.

use ficus_rules::mapping::{Row, Value};
use futures::TryStreamExt;
use sqlx::SqliteConnection;
use tokio::sync::mpsc;

use super::{Endpoint, sql};
use crate::error::Error;
use crate::port::{Piece, Position};

/// A piece ends where it holds this many bytes of texts and blobs: photos are not as small as notes.
const BYTES: usize = 4 << 20;

impl Endpoint {
    pub(super) async fn read_snapshot(&self, batch_rows: usize, pieces: mpsc::Sender<Piece>) -> Result<Position, Error> {
        let mut connection = self.file.read.begin().await.map_err(|e| self.failed(e))?;
        let position = self.end_in(&mut connection).await.map_err(|e| self.failed(e))?;
        self.copy(&mut connection, batch_rows, &pieces).await?;
        connection.rollback().await.map_err(|e| self.failed(e))?;
        Ok(position)
    }

    async fn copy(&self, connection: &mut SqliteConnection, batch_rows: usize, pieces: &mpsc::Sender<Piece>) -> Result<(), Error> {
        let mut total = 0;
        for pair in &self.pairs {
            let count = format!("SELECT count(*) FROM ({} AND {} IS NOT NULL)", pair.sql.select, pair.sql.key);
            if let Some(Value::Int(rows)) = sql::one(connection, &count, &[]).await.map_err(|e| self.failed(e))? {
                total += u64::try_from(rows).unwrap_or(0);
            }
        }
        if pieces.send(Piece::Total(total)).await.is_err() {
            return Ok(());
        }
        for (index, pair) in self.pairs.iter().enumerate() {
            let query = format!("{} AND {key} IS NOT NULL ORDER BY {key}", pair.sql.select, key = pair.sql.key);
            let mut found = sql::query(&query, sql::arguments(&[])).fetch(&mut *connection);
            let mut rows: Vec<Row> = Vec::with_capacity(batch_rows);
            let mut bytes = 0;
            while let Some(row) = found.try_next().await.map_err(|e| self.failed(e))? {
                let row = sql::keyed(&row).map_err(|e| self.failed(e))?;
                if !sql::is_key(&row.key) {
                    return Err(self.no_key(index));
                }
                bytes += size(&row);
                rows.push(row);
                if rows.len() >= batch_rows || bytes >= BYTES {
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

/// Bytes of a row's texts and blobs.
fn size(row: &Row) -> usize {
    let of = |value: &Value| match value {
        Value::Text(text) => text.len(),
        Value::Blob(bytes) => bytes.len(),
        _ => 0,
    };
    row.values.iter().map(of).sum()
}
