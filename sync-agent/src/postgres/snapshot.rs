//! The exact snapshot: a temporary slot exports what was committed exactly before its position, and COPY reads that, while
//! the lasting slot has kept everything since before. Nothing else lines up with the log: a commit stands in it before
//! others see its rows. Rows come by their key, so that a copy that was broken off can go on behind the last one.

use std::time::Duration;

use ficus_rules::mapping::{Row, Value, canonical_integer};
use futures::TryStreamExt;
use pgwire_replication::{Lsn, PgWireError, ReplicationClient};
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Row as _};
use tokio::sync::mpsc;

use super::parts::Pair;
use super::schema::Column;
use super::{Endpoint, copy, sql};
use crate::error::Error;
use crate::port::{Left, PIECE_BYTES, Piece, Position};

/// How long the snapshot may take to come about: like any slot it waits for every transaction that is open.
const PATIENCE: Duration = Duration::from_secs(30);

impl Endpoint {
    pub(super) async fn read_snapshot(
        &self,
        left: &[Left],
        lines: &[usize],
        batch_rows: usize,
        pieces: &mpsc::Sender<Piece>,
    ) -> Result<(), Error> {
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
        // The index on the key hands rows over at once; a sort would be made on the disk first.
        sql::run(&mut tx, "SET LOCAL enable_sort = off").await.map_err(|e| self.failed(e))?;
        self.copy(&mut tx, Position(position), left, lines, batch_rows.max(1), pieces).await?;
        tx.rollback().await.map_err(|e| self.failed(e))
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

    async fn copy(
        &self,
        tx: &mut PgConnection,
        position: Position,
        left: &[Left],
        lines: &[usize],
        batch_rows: usize,
        pieces: &mpsc::Sender<Piece>,
    ) -> Result<(), Error> {
        let conditions: Vec<Option<String>> =
            self.pairs.iter().enumerate().map(|(index, pair)| condition(pair, left.get(index).unwrap_or(&Left::All))).collect();
        let mut total = 0;
        for (pair, condition) in self.pairs.iter().zip(&conditions) {
            let Some(condition) = condition else { continue };
            let count = format!("SELECT count(*) {}{condition}", pair.sql.from);
            let rows: i64 = sql::query(&count).fetch_one(&mut *tx).await.and_then(|row| row.try_get(0)).map_err(|e| self.failed(e))?;
            total += u64::try_from(rows).unwrap_or(0);
        }
        if pieces.send(Piece::Begins(position, total)).await.is_err() {
            return Ok(());
        }
        for (index, condition) in conditions.iter().enumerate() {
            let Some(condition) = condition else { continue };
            let listens = if lines.contains(&index) {
                self.copy_lines(tx, index, condition, batch_rows, pieces).await?
            } else {
                self.copy_pair(tx, index, condition, batch_rows, pieces).await?
            };
            if !listens {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether anybody still listens.
    async fn copy_pair(
        &self,
        tx: &mut PgConnection,
        index: usize,
        condition: &str,
        batch_rows: usize,
        pieces: &mpsc::Sender<Piece>,
    ) -> Result<bool, Error> {
        let pair = &self.pairs[index];
        let mut chunks = tx.copy_out_raw(&statement(pair, condition)).await.map_err(|e| self.failed(e))?;
        let mut lines = copy::Cut::default();
        let mut rows: Vec<Row> = Vec::with_capacity(batch_rows);
        let mut bytes = 0;
        while let Some(chunk) = chunks.try_next().await.map_err(|e| self.failed(e))? {
            bytes += chunk.len();
            lines.feed(&chunk, |line| {
                rows.push(row(pair, line).map_err(|(column, reason)| self.unfit(index, &column, reason))?);
                Ok::<(), Error>(())
            })?;
            if rows.len() >= batch_rows || bytes >= PIECE_BYTES {
                bytes = 0;
                let full = std::mem::replace(&mut rows, Vec::with_capacity(batch_rows));
                if pieces.send(Piece::Rows(index, full)).await.is_err() {
                    return Ok(false);
                }
            }
        }
        Ok(rows.is_empty() || pieces.send(Piece::Rows(index, rows)).await.is_ok())
    }

    /// The same as lines, which are not looked into.
    async fn copy_lines(
        &self,
        tx: &mut PgConnection,
        index: usize,
        condition: &str,
        batch_rows: usize,
        pieces: &mpsc::Sender<Piece>,
    ) -> Result<bool, Error> {
        let mut chunks = tx.copy_out_raw(&statement(&self.pairs[index], condition)).await.map_err(|e| self.failed(e))?;
        let mut lines = copy::Whole::default();
        while let Some(chunk) = chunks.try_next().await.map_err(|e| self.failed(e))? {
            lines.feed(&chunk);
            if lines.rows() >= batch_rows || lines.bytes() >= PIECE_BYTES {
                let Some(full) = lines.take() else { continue };
                if pieces.send(Piece::Lines(index, full)).await.is_err() {
                    return Ok(false);
                }
            }
        }
        match lines.take() {
            Some(rest) => Ok(pieces.send(Piece::Lines(index, rest)).await.is_ok()),
            None => Ok(true),
        }
    }
}

/// What reads the rows of a pair that are left.
fn statement(pair: &Pair, condition: &str) -> String {
    format!("COPY ({}{condition} ORDER BY t.{}) TO STDOUT", pair.sql.copy_out, sql::name(&pair.shape.key))
}

/// What narrows a pair down to the rows that are left; none when there are none.
fn condition(pair: &Pair, left: &Left) -> Option<String> {
    let key = match left {
        Left::Nothing => return None,
        Left::After(Value::Text(text)) => sql::text(text),
        Left::After(key) => canonical_integer(key).map(|number| number.to_string())?,
        Left::All => return Some(String::new()),
    };
    Some(format!(" AND t.{} > {key}::{}", sql::name(&pair.shape.key), pair.key.cast))
}

/// A row from a line of COPY.
pub(super) fn row(pair: &Pair, line: &[u8]) -> Result<Row, super::change::Unfit> {
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
