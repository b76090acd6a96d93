//! Whose old transaction the fence would wait for. Who has written to a captured table holds a shared lock on the fence's
//! row: whether somebody does is tried, without waiting, because a lock that waits would have all writers queue behind it.
//! Who it is has to be told by the list of open transactions, which needs `PROCESS`, and has no tables in it.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};

use super::Endpoint;
use crate::busy::{OLD, Open, sentence, statement};
use crate::error::Error;
use crate::port::Busy;

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
        let open = transactions(&mut conn, known).await;
        conn.done();
        match open.map(|open| sentence(self.server.label(), "a transaction that holds up the fence of the capability is open for", open)) {
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
}

/// The transactions that have been open for as long as the lock has not been to be had.
async fn transactions(conn: &mut Conn, known: Duration) -> Result<Vec<Open>, mysql_async::Error> {
    let rows: Vec<Row> = conn.exec(TRANSACTIONS, ()).await?;
    // Cut to a second, an age may be a second too great.
    let least = known.max(OLD + Duration::from_secs(1));
    Ok(rows.into_iter().map(open).filter(|open| open.age >= least).collect())
}

fn open(row: Row) -> Open {
    let text = |index: usize| row.get_opt::<Option<String>, _>(index).and_then(Result::ok).flatten().filter(|text| !text.is_empty());
    let id = row.get_opt::<u64, _>(0).and_then(Result::ok).unwrap_or(0);
    let age = row.get_opt::<f64, _>(1).and_then(Result::ok).and_then(|age| Duration::try_from_secs_f64(age).ok()).unwrap_or_default();
    if id == 0 {
        let remedy = "XA RECOVER; lists it, XA COMMIT or XA ROLLBACK ends it".to_owned();
        return Open { age, who: vec!["prepared, without a connection".to_owned()], remedy };
    }
    let mut who = vec![format!("connection {id}")];
    who.extend(text(2).map(|account| format!("account `{account}`")));
    who.extend(text(3).map(|host| format!("from {host}")));
    who.extend(text(4).map(|database| format!("in {database}")));
    who.extend(text(5).map(|command| command.to_lowercase()));
    let shown = text(6).and_then(|query| statement(&query, &['\'', '"']));
    who.extend(shown.map(|shown| format!("statement `{shown}`")));
    Open { age, who, remedy: format!("wait for its end, or end it: KILL {id};") }
}
