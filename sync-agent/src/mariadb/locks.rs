//! Statements that change tables of the application or their triggers. Whoever waits for such a lock keeps out all who come
//! later: it is asked for without waiting, again and again.

use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::Server;
use crate::error::Error;

/// How often it is asked for, with pauses that grow; ten seconds in all.
const ATTEMPTS: u32 = 14;
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// MySQL waits for a second at least.
const AT_ONCE: &str = "SET SESSION lock_wait_timeout = IF(version() LIKE '%MariaDB%', 0, 1)";

/// Runs such a statement.
pub(super) async fn change(conn: &mut Conn, statement: &str) -> Result<(), mysql_async::Error> {
    attempt(conn, statement, ATTEMPTS).await
}

/// The same for who comes again by himself.
pub(super) async fn change_at_once(conn: &mut Conn, statement: &str) -> Result<(), mysql_async::Error> {
    attempt(conn, statement, 1).await
}

async fn attempt(conn: &mut Conn, statement: &str, attempts: u32) -> Result<(), mysql_async::Error> {
    conn.query_drop(AT_ONCE).await?;
    let mut pause = PAUSE;
    let mut done = conn.query_drop(statement).await;
    for _ in 1..attempts {
        if !done.as_ref().is_err_and(is_locked) {
            break;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        done = conn.query_drop(statement).await;
    }
    conn.query_drop(format!("SET SESSION lock_wait_timeout = {}", super::connect::LOCK_SECONDS)).await?;
    done
}

fn is_locked(error: &mysql_async::Error) -> bool {
    matches!(error, mysql_async::Error::Server(said) if said.code == 1205)
}

impl Server {
    /// Why such a statement failed, with what to do about it.
    pub(super) fn unchanged(&self, error: mysql_async::Error) -> Error {
        if !is_locked(&error) {
            return self.failed(error);
        }
        Error::Refused(format!(
            "{}: the capability's tables are in use by others, for longer than {ATTEMPTS} attempts to change them; look who: SELECT trx_mysql_thread_id, trx_started, trx_query FROM information_schema.INNODB_TRX ORDER BY trx_started",
            self.label()
        ))
    }
}
