//! Whose old transaction the fence would wait for. Who has written to a captured table holds a shared lock on the fence's
//! row: whether somebody does is tried, without waiting, because a lock that waits would have all writers queue behind it.
//! Who it is has to be told by the list of open transactions, which needs `PROCESS`, and has no tables in it.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};

use super::Endpoint;
use super::checks::rights::Account;
use crate::busy::{OLD, Open, sentence, statement};
use crate::error::Error;
use crate::port::Busy;

/// Who has what the connection that closes the fence waits for: who had written before, and nobody else.
const IN_ITS_WAY: &str = "SELECT DISTINCT t.trx_mysql_thread_id,
        UNIX_TIMESTAMP(NOW(6)) - UNIX_TIMESTAMP(CONVERT_TZ(t.trx_started, 'SYSTEM', '+00:00')) + 0e0,
        p.USER, p.HOST, p.DB, p.COMMAND, coalesce(p.INFO, t.trx_query)
    FROM information_schema.INNODB_LOCK_WAITS AS w JOIN information_schema.INNODB_TRX AS f ON f.trx_id = w.requesting_trx_id
    JOIN information_schema.INNODB_TRX AS t ON t.trx_id = w.blocking_trx_id
    JOIN information_schema.PROCESSLIST AS p ON p.ID = t.trx_mysql_thread_id
    WHERE f.trx_mysql_thread_id = ? AND t.trx_mysql_thread_id <> connection_id()";

/// `trx_started` is in the time zone of the server, whatever the session's, and has no fractions. A transaction without a
/// connection is a prepared one.
const TRANSACTIONS: &str =
    "SELECT t.trx_mysql_thread_id, UNIX_TIMESTAMP(NOW(6)) - UNIX_TIMESTAMP(CONVERT_TZ(t.trx_started, 'SYSTEM', '+00:00')) + 0e0,
        p.USER, p.HOST, p.DB, p.COMMAND, coalesce(p.INFO, t.trx_query)
    FROM information_schema.INNODB_TRX AS t LEFT JOIN information_schema.PROCESSLIST AS p ON p.ID = t.trx_mysql_thread_id
    WHERE t.trx_lock_structs > 0 AND t.trx_mysql_thread_id <> connection_id()";

impl Endpoint {
    pub(super) async fn old_writers(&self) -> Result<Busy, Error> {
        let mut conn = self.server.lease().await?;
        let asked = Instant::now();
        let lock = "SELECT 1 FROM `_ficus_fence` WHERE `scope` = ? FOR UPDATE NOWAIT";
        let free = match conn.exec_drop(lock, (&self.scope,)).await {
            Ok(()) => true,
            // What MariaDB says, and what MySQL does.
            Err(mysql_async::Error::Server(said)) if matches!(said.code, 1205 | 3572) => false,
            Err(error) => return Err(self.failed(error)),
        };
        let since = {
            let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
            *waits = (!free).then(|| waits.unwrap_or(asked));
            *waits
        };
        let Some(known) = since.map(|since| since.elapsed()) else {
            conn.done();
            return Ok(Busy::Free);
        };
        if known < OLD {
            conn.done();
            return Ok(Busy::Perhaps);
        }
        let open = self.transactions(&mut conn, known).await;
        conn.done();
        match open.map(|open| {
            sentence(self.server.label(), self.side, "a transaction that holds up the fence of the capability is open for", open)
        }) {
            // Many who write at once look the same as one who does not end.
            Ok(Busy::Free) => {
                *self.waits.lock().unwrap_or_else(PoisonError::into_inner) = None;
                Ok(Busy::Perhaps)
            }
            // Without the right to see them nobody is accused.
            Err(mysql_async::Error::Server(said)) if matches!(said.code, 1142 | 1227) => Ok(Busy::Free),
            other => other.map_err(|e| self.failed(e)),
        }
    }

    /// The transactions that have been open for as long as the lock has not been to be had.
    async fn transactions(&self, conn: &mut Conn, known: Duration) -> Result<Vec<Open>, mysql_async::Error> {
        let rows: Vec<Row> = conn.exec(TRANSACTIONS, ()).await?;
        // Cut to a second, an age may be a second too great.
        let least = known.max(OLD + Duration::from_secs(1));
        let (user, ends) = self.may_end(conn).await?;
        Ok(rows.into_iter().map(|row| open(row, &user, &ends)).filter(|open| open.age >= least).collect())
    }

    /// Ends the sessions of those that the fence, which is being closed, waits for.
    pub(super) async fn end_old_writers(&self) -> Result<Vec<String>, Error> {
        let closing = self.closing.load(Ordering::Acquire);
        if closing == 0 || !self.server.is_mariadb() {
            return Ok(Vec::new());
        }
        let mut conn = self.server.lease().await?;
        let (user, ends) = self.may_end(&mut conn).await.map_err(|e| self.failed(e))?;
        let rows: Vec<Row> = conn.exec(IN_ITS_WAY, (closing,)).await.map_err(|e| self.failed(e))?;
        let mut ended = Vec::new();
        for row in rows {
            let id = row.get_opt::<u64, _>(0).and_then(Result::ok).unwrap_or(0);
            let open = open(row, &user, &ends);
            if open.ends.is_err() {
                continue;
            }
            match conn.query_drop(format!("KILL {id}")).await {
                Ok(()) => ended.push(open.in_words()),
                // It has ended by itself.
                Err(mysql_async::Error::Server(said)) if said.code == 1094 => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
        conn.done();
        Ok(ended)
    }

    /// Whose sessions may always be ended: those of the agent's own account; and whether others' may.
    async fn may_end(&self, conn: &mut Conn) -> Result<(String, Result<(), String>), mysql_async::Error> {
        let account = Account::of(conn).await?;
        let ends = match account.may_end_others() {
            _ if !self.server.is_mariadb() => Err(String::new()),
            None => Ok(()),
            Some(grant) => Err(format!("so that a revert ends such a one by itself: {grant}")),
        };
        Ok((account.user, ends))
    }
}

fn open(row: Row, user: &str, ends: &Result<(), String>) -> Open {
    let text = |index: usize| row.get_opt::<Option<String>, _>(index).and_then(Result::ok).flatten().filter(|text| !text.is_empty());
    let id = row.get_opt::<u64, _>(0).and_then(Result::ok).unwrap_or(0);
    let age = row.get_opt::<f64, _>(1).and_then(Result::ok).and_then(|age| Duration::try_from_secs_f64(age).ok()).unwrap_or_default();
    if id == 0 {
        let remedy = "XA RECOVER; lists it, XA COMMIT or XA ROLLBACK ends it".to_owned();
        return Open::endless(age, vec!["prepared, without a connection".to_owned()], remedy);
    }
    let mut who = vec![format!("connection {id}")];
    who.extend(text(2).map(|account| format!("account `{account}`")));
    who.extend(text(3).map(|host| format!("from {host}")));
    who.extend(text(4).map(|database| format!("in {database}")));
    who.extend(text(5).map(|command| command.to_lowercase()));
    let shown = text(6).and_then(|query| statement(&query, &['\'', '"']));
    who.extend(shown.map(|shown| format!("statement `{shown}`")));
    let ends = if text(2).as_deref() == Some(user) { Ok(()) } else { ends.clone() };
    Open { age, who, remedy: format!("wait for its end, or end it: KILL {id};"), ends }
}
