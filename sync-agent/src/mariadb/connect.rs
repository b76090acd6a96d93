//! Connections: opened with the settings that the agent's statements rely on, lent, and taken back only by whoever says that
//! nothing is left open on them. A connection that is merely dropped is closed: the server rolls back what it was doing.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder};

use super::{refusal, url};
use crate::error::Error;

/// Connections that are kept while nobody uses them.
const IDLE: usize = 8;

/// How long a connection may take to be made.
const PATIENCE: Duration = Duration::from_secs(10);

/// After so long without a word TCP asks whether the server is there.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// How long a statement waits for a lock.
pub(super) const LOCK_SECONDS: u8 = 3;

/// A database on a server, opened; what tables it has can be asked before anything is compiled.
#[derive(Clone)]
pub(crate) struct Server {
    inner: Arc<Inner>,
}

struct Inner {
    label: String,
    opts: Opts,
    is_mariadb: bool,
    version: (u16, u16, u16),
    idle: Mutex<Vec<(Conn, bool)>>,
}

/// A connection, lent.
pub(super) struct Lease {
    conn: Option<Conn>,
    /// It has proved to be the agent's.
    marked: bool,
    server: Server,
}

impl Server {
    /// Connects. `label` names it in errors.
    pub(crate) async fn open(url: &str, label: &str) -> Result<Server, Error> {
        // An error means that the process has chosen already.
        drop(rustls::crypto::ring::default_provider().install_default());
        let opts = settings(url::read(url, label)?);
        let mut conn = connect(&opts).await.map_err(|error| {
            Error::Refused(format!("{label}: cannot be opened ({error}); check the server, and host, account and database in ficus.toml"))
        })?;
        let version = tokio::time::timeout(PATIENCE, conn.query_first("SELECT version()")).await;
        let text: Option<String> = version
            .map_err(|_| Error::Silent { database: label.to_owned(), seconds: PATIENCE.as_secs_f64() })?
            .map_err(|e| failed(label, e))?;
        let is_mariadb = text.is_some_and(|text| text.contains("MariaDB"));
        let version = conn.server_version();
        let inner = Inner { label: label.to_owned(), opts, is_mariadb, version, idle: Mutex::new(vec![(conn, false)]) };
        Ok(Server { inner: Arc::new(inner) })
    }

    /// What it is called in errors.
    pub(super) fn label(&self) -> &str {
        &self.inner.label
    }

    pub(super) fn is_mariadb(&self) -> bool {
        self.inner.is_mariadb
    }

    pub(super) fn version(&self) -> (u16, u16, u16) {
        self.inner.version
    }

    /// The database that the URL names.
    pub(super) fn database(&self) -> &str {
        self.inner.opts.db_name().unwrap_or_default()
    }

    /// A connection without any transaction.
    pub(super) async fn lease(&self) -> Result<Lease, Error> {
        let idle = self.inner.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let (conn, marked) = match idle {
            Some(idle) => idle,
            None => (self.fresh().await?, false),
        };
        Ok(Lease { conn: Some(conn), marked, server: self.clone() })
    }

    /// Asks the server for a sign of life, by each idle connection in turn, or a new one; comes back with any answer.
    pub(super) async fn ping(&self) {
        let idle = {
            let mut idle = self.inner.idle.lock().unwrap_or_else(PoisonError::into_inner);
            (!idle.is_empty()).then(|| idle.remove(0))
        };
        let (conn, marked) = match idle {
            Some((conn, marked)) => (Ok(conn), marked),
            None => (Conn::new(self.inner.opts.clone()).await, false),
        };
        let Ok(conn) = conn else { return };
        let mut lease = Lease { conn: Some(conn), marked, server: self.clone() };
        if lease.ping().await.is_ok() {
            lease.done();
        }
    }

    /// A connection of its own, that nobody else had or gets.
    pub(super) async fn fresh(&self) -> Result<Conn, Error> {
        connect(&self.inner.opts).await.map_err(|error| Error::Database { database: self.inner.label.clone(), source: error.into() })
    }

    pub(super) fn failed(&self, error: mysql_async::Error) -> Error {
        failed(&self.inner.label, error)
    }

    /// Closes what nobody uses.
    pub(super) async fn disconnect(&self) {
        let idle = std::mem::take(&mut *self.inner.idle.lock().unwrap_or_else(PoisonError::into_inner));
        for (conn, _) in idle {
            // It may be closed already; closed is what it shall be.
            drop(conn.disconnect().await);
        }
    }
}

fn failed(label: &str, error: mysql_async::Error) -> Error {
    Error::Database { database: label.to_owned(), source: refusal::words(&error).into() }
}

async fn connect(opts: &Opts) -> Result<Conn, String> {
    match tokio::time::timeout(PATIENCE, Conn::new(opts.clone())).await {
        Ok(connected) => connected.map_err(|error| refusal::words(&error)),
        Err(_) => Err(format!("no connection within {} s", PATIENCE.as_secs())),
    }
}

/// Strict, in UTC, with foreign keys off, and never waiting long for a lock. Zero dates are written: which of them come so
/// far is the mapping's to say. Those of a year or a month are not.
fn settings(builder: OptsBuilder) -> Opts {
    let setup = [
        "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION,NO_ZERO_IN_DATE'".to_owned(),
        format!(
            "SET SESSION autocommit = 1, time_zone = '+00:00', foreign_key_checks = 0, innodb_lock_wait_timeout = {LOCK_SECONDS}, lock_wait_timeout = {LOCK_SECONDS}"
        ),
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED".to_owned(),
    ];
    builder.setup(setup.to_vec()).stmt_cache_size(256).tcp_nodelay(true).tcp_keepalive(Some(KEEPALIVE)).into()
}

impl Lease {
    /// Gives the connection back: no transaction, no result is open on it.
    pub(super) fn done(mut self) {
        let Some(conn) = self.conn.take() else { return };
        let mut idle = self.server.inner.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE {
            idle.push((conn, self.marked));
        }
    }

    /// Makes the session one that the fence lets pass.
    pub(super) async fn prove(&mut self, mark: &str) -> Result<(), mysql_async::Error> {
        if !self.marked {
            self.exec_drop("SET @_ficus_agent = ?", (mark,)).await?;
            self.marked = true;
        }
        Ok(())
    }
}

impl Deref for Lease {
    type Target = Conn;
    fn deref(&self) -> &Conn {
        self.conn.as_ref().expect("a lease has its connection until it is done")
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Conn {
        self.conn.as_mut().expect("a lease has its connection until it is done")
    }
}

#[cfg(test)]
mod tests;
