//! The exact snapshot: a temporary slot exports what was committed exactly before its position, and COPY reads that, while
//! the lasting slot has kept everything since before. Nothing else lines up with the log: a commit stands in it before
//! others see its rows.

use std::time::Duration;

use ficus_rules::mapping::{Row, Value};
use futures::TryStreamExt;
use pgwire_replication::{Lsn, PgWireError, ReplicationClient};
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Row as _};
use tokio::sync::mpsc;

use super::parts::Pair;
use super::schema::Column;
use super::{Endpoint, copy, sql};
use crate::error::Error;
use crate::port::{Piece, Position};

/// How long the snapshot may take to come about: like any slot it waits for every transaction that is open.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes of a piece, but for its last row.
const PIECE: usize = 4 << 20;

impl Endpoint {
    pub(super) async fn read_snapshot(&self, batch_rows: usize, pieces: &mpsc::Sender<Piece>) -> Result<Position, Error> {
        let slot = format!("{}_copy", self.names.slot);
        let config = self.server.address.replication(&slot, &self.names.publication, 0, 0);
        let mut exporter = ReplicationClient::connect_gated(config).await.map_err(|error| self.lost(&error))?;
        let (position, snapshot) = tokio::time::timeout(PATIENCE, self.export(&mut exporter, &slot)).await.map_err(|_| {
            Error::Refused(format!(
                "{}: a transaction is open that is older than {} s, and the initial copy has to wait for it; find it: SELECT pid, xact_start, state FROM pg_stat_activity WHERE backend_xid IS NOT NULL ORDER BY xact_start",
                self.server.label,
                PATIENCE.as_secs()
            ))
        })??;
        let mut connection = self.server.pool.acquire().await.map_err(|e| self.failed(e))?;
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        let mut tx = connection.begin_with(begin).await.map_err(|e| self.failed(e))?;
        sql::run(&mut tx, &format!("SET TRANSACTION SNAPSHOT {}", sql::text(&snapshot))).await.map_err(|e| self.failed(e))?;
        // Imported: it lasts as long as the transaction now.
        drop(exporter);
        self.copy(&mut tx, batch_rows.max(1), pieces).await?;
        tx.rollback().await.map_err(|e| self.failed(e))?;
        Ok(Position(position))
    }

    async fn export(&self, exporter: &mut ReplicationClient, slot: &str) -> Result<(u64, String), Error> {
        let create = format!("CREATE_REPLICATION_SLOT {} TEMPORARY LOGICAL pgoutput EXPORT_SNAPSHOT", sql::name(slot));
        loop {
            match exporter.simple_query(&create).await {
                Ok(rows) => {
                    let text = |index: usize| {
                        let cell = rows.first().and_then(|row| row.get(index)).and_then(Option::as_ref);
                        cell.and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
                    };
                    let position = Lsn::parse(text(1))
                        .map_err(|_| Error::Refused(format!("{}: its answer to a slot has no position", self.server.label)))?;
                    return Ok((position.as_u64(), text(2).to_owned()));
                }
                // The one of a copy that was broken off goes with its connection.
                Err(PgWireError::Server(message)) if message.contains("42710") => tokio::time::sleep(Duration::from_millis(50)).await,
                Err(PgWireError::Server(message)) if message.contains("53400") => {
                    return Err(Error::Refused(format!(
                        "{}: no replication slot is free for the initial copy; raise max_replication_slots, then restart the server",
                        self.server.label
                    )));
                }
                Err(error) => return Err(self.lost(&error)),
            }
        }
    }

    async fn copy(&self, tx: &mut PgConnection, batch_rows: usize, pieces: &mpsc::Sender<Piece>) -> Result<(), Error> {
        let mut total = 0;
        for pair in &self.pairs {
            let count = format!("SELECT count(*) {}", pair.sql.from);
            let rows: i64 = sql::query(&count).fetch_one(&mut *tx).await.and_then(|row| row.try_get(0)).map_err(|e| self.failed(e))?;
            total += u64::try_from(rows).unwrap_or(0);
        }
        if pieces.send(Piece::Total(total)).await.is_err() {
            return Ok(());
        }
        for index in 0..self.pairs.len() {
            if !self.copy_pair(tx, index, batch_rows, pieces).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether anybody still listens.
    async fn copy_pair(&self, tx: &mut PgConnection, index: usize, batch_rows: usize, pieces: &mpsc::Sender<Piece>) -> Result<bool, Error> {
        let pair = &self.pairs[index];
        let statement = format!("COPY ({}) TO STDOUT", pair.sql.copy_out);
        let mut chunks = tx.copy_out_raw(&statement).await.map_err(|e| self.failed(e))?;
        let mut lines = copy::Lines::default();
        let mut rows: Vec<Row> = Vec::with_capacity(batch_rows);
        let mut bytes = 0;
        while let Some(chunk) = chunks.try_next().await.map_err(|e| self.failed(e))? {
            bytes += chunk.len();
            lines.feed(&chunk, |line| {
                rows.push(row(pair, line).map_err(|(column, reason)| self.unfit(index, &column, reason))?);
                Ok::<(), Error>(())
            })?;
            if rows.len() >= batch_rows || bytes >= PIECE {
                bytes = 0;
                let full = std::mem::replace(&mut rows, Vec::with_capacity(batch_rows));
                if pieces.send(Piece::Rows(index, full)).await.is_err() {
                    return Ok(false);
                }
            }
        }
        Ok(rows.is_empty() || pieces.send(Piece::Rows(index, rows)).await.is_ok())
    }
}

/// A row from a line of COPY.
fn row(pair: &Pair, line: &[u8]) -> Result<Row, super::change::Unfit> {
    let mut fields = copy::fields(line);
    let mut value = |column: &Column| {
        let unfit = |reason| (column.info.name.clone(), reason);
        match fields.next().flatten() {
            None => Ok(Value::Null),
            Some(bytes) => column.read(std::str::from_utf8(&bytes).map_err(|_| unfit("holds bytes that are no UTF-8"))?).map_err(unfit),
        }
    };
    let key = value(&pair.key)?;
    let mut values = Vec::with_capacity(pair.columns.len() + pair.lookups.len());
    for column in pair.columns.iter().chain(&pair.lookups) {
        values.push(value(column)?);
    }
    Ok(Row { key, values })
}
