//! Events that wait in MariaDB: written with the rows that they tell of, read and forgotten by who sends them. Capture passes
//! over what the log says of the table, as over every table that is none of its pairs'.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::Endpoint;
use crate::error::Error;
use crate::events::leaving;
use crate::port::{Changes, OUTBOX, Outgoing, Rejected};

/// Events of one statement, and roughly its bytes: a packet may have 16 MiB by default.
const STATEMENT: (usize, usize) = (200, 4 << 20);

impl Endpoint {
    /// Inside the caller's transaction.
    pub(super) async fn tell(&self, conn: &mut Conn, changes: &[Changes], rejected: &[Rejected]) -> Result<(), mysql_async::Error> {
        let mut events = leaving(changes, rejected).peekable();
        while events.peek().is_some() {
            let (mut values, mut rows, mut bytes) = (Vec::new(), 0, 0);
            while let Some(event) = events.next_if(|event| rows == 0 || rows < STATEMENT.0 && bytes + event.body.len() < STATEMENT.1) {
                let Outgoing { number, bus, id, kind, subject, body } = event;
                values.extend([self.stream().into(), bus.into(), (*number).into()]);
                values.extend([id, kind, subject, body].map(mysql_async::Value::from));
                (rows, bytes) = (rows + 1, bytes + body.len());
            }
            let insert = format!("INSERT INTO `_ficus_outbox` VALUES {}", vec!["(?, ?, ?, ?, ?, ?, ?)"; rows].join(", "));
            conn.exec_drop(insert, values).await?;
        }
        Ok(())
    }

    pub(super) async fn kept_events(&self, bus: &str, at_most: u32) -> Result<Vec<Outgoing>, Error> {
        let oldest = "SELECT * FROM `_ficus_outbox` WHERE `stream` = ? AND `bus` = ? ORDER BY `number` LIMIT ?";
        let room = format!(
            "SELECT `number`, `id`, `kind`, `subject`, `body` FROM (SELECT o.*, sum(length(`body`)) OVER (ORDER BY `number`) \
             - length(`body`) AS `before` FROM ({oldest}) AS o) AS o WHERE `before` < {OUTBOX} ORDER BY `number`"
        );
        let mut conn = self.server.lease().await?;
        let rows: Vec<(u64, String, String, String, String)> =
            conn.exec(room, (self.stream(), bus, at_most)).await.map_err(|e| self.failed(e))?;
        conn.done();
        let event = |(number, id, kind, subject, body)| Outgoing { number, bus: bus.to_owned(), id, kind, subject, body };
        Ok(rows.into_iter().map(event).collect())
    }

    pub(super) async fn forget_events(&self, bus: &str, numbers: &[u64]) -> Result<(), Error> {
        let mut conn = self.server.lease().await?;
        let these = numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        let delete = format!("DELETE FROM `_ficus_outbox` WHERE `stream` = ? AND `bus` = ? AND `number` IN ({these})");
        conn.exec_drop(delete, (self.stream(), bus)).await.map_err(|e| self.failed(e))?;
        conn.done();
        Ok(())
    }

    pub(super) async fn count_events(&self, bus: &str) -> Result<u64, Error> {
        let mut conn = self.server.lease().await?;
        let count = "SELECT count(*) FROM `_ficus_outbox` WHERE `stream` = ? AND `bus` = ?";
        let found: Option<u64> = conn.exec_first(count, (self.stream(), bus)).await.map_err(|e| self.failed(e))?;
        conn.done();
        Ok(found.unwrap_or(0))
    }

    pub(super) async fn highest_event(&self) -> Result<u64, Error> {
        let mut conn = self.server.lease().await?;
        let highest = "SELECT coalesce(max(`number`), 0) FROM `_ficus_outbox` WHERE `stream` = ?";
        let found: Option<u64> = conn.exec_first(highest, (self.stream(),)).await.map_err(|e| self.failed(e))?;
        conn.done();
        Ok(found.unwrap_or(0))
    }
}
