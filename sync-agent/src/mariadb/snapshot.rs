//! The exact snapshot. On MariaDB a transaction with a consistent snapshot knows the place in the binary log that it stands
//! for (`binlog_snapshot_file`, `binlog_snapshot_position`), without any lock. MySQL has no such thing: there the tables are
//! locked for reading while the transaction begins. Rows come by their key, so that a copy that was broken off can go on
//! behind the last one.

use ficus_rules::mapping::Row;
use futures::StreamExt;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::sync::mpsc;

use super::follow::{end_of_log, place};
use super::parts::name;
use super::{Endpoint, Pair};
use crate::error::Error;
use crate::port::{Left, PIECE_BYTES, Piece, Position};

const BEGIN: &str = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";

impl Endpoint {
    pub(super) async fn read_snapshot(&self, left: &[Left], batch_rows: usize, pieces: mpsc::Sender<Piece>) -> Result<(), Error> {
        let mut conn = self.server.fresh().await?;
        conn.query_drop("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ").await.map_err(|e| self.failed(e))?;
        let position = if self.server.is_mariadb() { self.begin(&mut conn).await? } else { self.begin_locked(&mut conn).await? };
        if left.iter().all(|left| *left == Left::All) {
            // A copy that goes on has its changes read from where it began.
            self.note(position, position).await?;
        }
        if self.copy(&mut conn, position, left, batch_rows, &pieces).await.map_err(|e| self.failed(e))? {
            conn.query_drop("ROLLBACK").await.map_err(|e| self.failed(e))?;
        }
        drop(conn.disconnect().await);
        Ok(())
    }

    /// Begins a transaction that sees one moment. Its position.
    pub(super) async fn begin(&self, conn: &mut Conn) -> Result<Position, Error> {
        conn.query_drop("START TRANSACTION WITH CONSISTENT SNAPSHOT").await.map_err(|e| self.failed(e))?;
        let status: Vec<(String, String)> = conn
            .query("SHOW STATUS WHERE Variable_name IN ('binlog_snapshot_file', 'binlog_snapshot_position')")
            .await
            .map_err(|e| self.failed(e))?;
        let of = |wanted: &str| status.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.as_str());
        let found = of("binlog_snapshot_file").zip(of("binlog_snapshot_position").and_then(|offset| offset.parse().ok()));
        let found = found.and_then(|(file, offset)| place(file, offset));
        found.ok_or_else(|| self.refused("it does not say which place of its binary log a snapshot stands for; is log_bin ON?"))
    }

    async fn begin_locked(&self, conn: &mut Conn) -> Result<Position, Error> {
        let mut lock = self.server.fresh().await?;
        let tables: Vec<String> = self.tables.keys().map(|table| format!("{} READ", name(table))).collect();
        lock.query_drop(format!("LOCK TABLES {}", tables.join(", "))).await.map_err(|e| self.failed(e))?;
        conn.query_drop(BEGIN).await.map_err(|e| self.failed(e))?;
        let (_, position) = end_of_log(&self.server, &mut lock).await?;
        lock.query_drop("UNLOCK TABLES").await.map_err(|e| self.failed(e))?;
        drop(lock.disconnect().await);
        Ok(position)
    }

    /// Whether everything was read; not, when the receiver is gone.
    async fn copy(
        &self,
        conn: &mut Conn,
        position: Position,
        left: &[Left],
        batch_rows: usize,
        pieces: &mpsc::Sender<Piece>,
    ) -> Result<bool, mysql_async::Error> {
        let left = |index: usize| left.get(index).unwrap_or(&Left::All);
        let mut total = 0;
        for (index, pair) in self.pairs.iter().enumerate() {
            let Some((condition, arguments)) = condition(pair, left(index)) else { continue };
            let count = format!("SELECT count(*) FROM ({}{condition}) AS k", pair.sql.keys);
            total += conn.exec_first::<u64, _, _>(count, arguments).await?.unwrap_or(0);
        }
        if pieces.send(Piece::Begins(position, total)).await.is_err() {
            return Ok(false);
        }
        for (index, pair) in self.pairs.iter().enumerate() {
            if !copy_pair(conn, (index, pair), left(index), batch_rows, pieces).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// What narrows a pair down to the rows that are left; none when there are none.
fn condition(pair: &Pair, left: &Left) -> Option<(String, Vec<mysql_async::Value>)> {
    match left {
        Left::Nothing => None,
        Left::After(key) => Some((format!(" AND t.{} > ?", name(&pair.shape.key)), vec![pair.key.argument(key)])),
        Left::All => Some((String::new(), Vec::new())),
    }
}

async fn copy_pair(
    conn: &mut Conn,
    (index, pair): (usize, &Pair),
    left: &Left,
    batch_rows: usize,
    pieces: &mpsc::Sender<Piece>,
) -> Result<bool, mysql_async::Error> {
    let Some((condition, arguments)) = condition(pair, left) else { return Ok(true) };
    let query = format!("{} AND t.{key} IS NOT NULL{condition} ORDER BY t.{key}", pair.sql.select, key = name(&pair.shape.key));
    let mut found = conn.exec_stream::<mysql_async::Row, _, _>(query, arguments).await?;
    let mut rows: Vec<Row> = Vec::with_capacity(batch_rows);
    let mut bytes = 0;
    while let Some(row) = found.next().await {
        let row = pair.row(row?);
        bytes += row.bytes();
        rows.push(row);
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
