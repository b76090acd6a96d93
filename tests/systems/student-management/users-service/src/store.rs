//! The tables. One module per table; [`Database`] owns the connections. Decides nothing about who may do what.
//!
//! Statements are written for PostgreSQL; what SQLite does not know of them, their casts, is left out for it.

pub mod notes;
pub mod photos;
pub mod profiles;
pub(crate) mod rehearsal;
pub mod users;

use std::ops::{Deref, DerefMut};
use std::str::FromStr;
use std::time::Duration;

use sqlx::any::{AnyArguments, AnyConnectOptions, AnyPoolOptions};
use sqlx::pool::PoolConnection;
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, AnyPool, AssertSqlSafe, Transaction};

/// How long a request waits for a connection of this process. Above the time for which SQLite waits for a writer of
/// another process, such as the sync agent, so that it does not hide it.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);
const READERS: u32 = 8;
const REHEARSALS: u32 = 4;
const POSTGRES_WRITERS: u32 = 8;
const SQLITE_SETTINGS: &str = "PRAGMA journal_mode = WAL; PRAGMA busy_timeout = 20000; PRAGMA foreign_keys = ON";
/// A write that a lock holds up for longer is refused, and may be tried again.
const POSTGRES_SETTINGS: &str = "SET lock_timeout = '20s'; SET TimeZone = 'UTC'; SET DateStyle = 'ISO'";

/// Where a database is: `sqlite:///path` or `postgres://user@host:port/name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(String);

/// Connections to one database.
///
/// SQLite has one writer at a time. Writers of this process queue, in order, for a single connection, instead of
/// polling for the lock; the busy timeout is left for other processes.
#[derive(Clone)]
pub struct Database {
    readers: AnyPool,
    writer: AnyPool,
    /// Their own: on PostgreSQL a statement that was prepared before would not notice the copies before the tables.
    rehearsals: AnyPool,
    begin: &'static str,
}

/// A transaction that writes. SQLite's holds the write lock from its beginning. A rehearsal's never leaves anything.
pub struct Write {
    transaction: Transaction<'static, Any>,
    rehearses: bool,
}

impl Address {
    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn is_sqlite(&self) -> bool {
        self.0.starts_with("sqlite:")
    }

    /// What the driver is told: a file of SQLite is made when it is missing.
    fn url(&self) -> String {
        match self.0.contains('?') {
            false if self.is_sqlite() => format!("{}?mode=rwc", self.0),
            _ => self.0.clone(),
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        sqlx::any::install_default_drivers();
        let known = ["sqlite:", "postgres:", "postgresql:"].iter().any(|scheme| text.starts_with(scheme));
        if !known {
            return Err("write it as sqlite:///path or postgres://user@host:port/name".to_owned());
        }
        let address = Address(text.to_owned());
        AnyConnectOptions::from_str(&address.url()).map_err(|error| error.to_string())?;
        Ok(address)
    }
}

impl Database {
    /// Opens the database. Applies no schema.
    pub async fn open(address: &Address) -> Result<Self, sqlx::Error> {
        let options = AnyConnectOptions::from_str(&address.url())?;
        let (settings, writers, begin) = match address.is_sqlite() {
            true => (SQLITE_SETTINGS, 1, "BEGIN IMMEDIATE"),
            false => (POSTGRES_SETTINGS, POSTGRES_WRITERS, "BEGIN"),
        };
        let pool = || {
            AnyPoolOptions::new()
                .acquire_timeout(ACQUIRE_TIMEOUT)
                .after_connect(move |connection, _| Box::pin(async move { sqlx::raw_sql(settings).execute(connection).await.map(drop) }))
        };
        let writer = pool().max_connections(writers).connect_with(options.clone()).await?;
        let readers = pool().max_connections(READERS).connect_lazy_with(options.clone());
        let rehearsals = pool().max_connections(REHEARSALS).connect_lazy_with(options);
        Ok(Self { readers, writer, rehearsals, begin })
    }

    /// For statements that only read.
    pub async fn read(&self) -> Result<PoolConnection<Any>, sqlx::Error> {
        self.readers.acquire().await
    }

    /// Begins a write. Dropped without a commit, it is rolled back. While a request only rehearses, it is so anyway.
    pub async fn write(&self) -> Result<Write, sqlx::Error> {
        if !rehearsal::is_on() {
            return Ok(Write { transaction: self.writer.begin_with(self.begin).await?, rehearses: false });
        }
        // Its writes are to copies of its own: it waits for no writer, and none for it.
        let mut transaction = self.rehearsals.begin().await?;
        rehearsal::set_the_stage(&mut transaction).await?;
        Ok(Write { transaction, rehearses: true })
    }

    /// Waits for the connections in use and closes all.
    pub async fn close(&self) {
        self.writer.close().await;
        self.rehearsals.close().await;
        self.readers.close().await;
    }
}

impl Write {
    /// Makes it last, unless it is a rehearsal.
    pub async fn commit(self) -> Result<(), sqlx::Error> {
        match self.rehearses {
            true => self.transaction.rollback().await,
            false => self.transaction.commit().await,
        }
    }
}

impl Deref for Write {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        &self.transaction
    }
}

impl DerefMut for Write {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        &mut self.transaction
    }
}

/// A statement, in the words of the connection's database.
pub(crate) fn query<'q>(connection: &AnyConnection, sql: &str) -> Query<'q, Any, AnyArguments> {
    let sql = if is_sqlite(connection) { without_casts(sql) } else { sql.to_owned() };
    sqlx::query(AssertSqlSafe(sql))
}

/// Whether it leads to a file.
pub(crate) fn is_sqlite(connection: &AnyConnection) -> bool {
    connection.backend_name() == "SQLite"
}

fn without_casts(sql: &str) -> String {
    let mut parts = sql.split("::");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.trim_start_matches(|letter: char| letter.is_ascii_lowercase()));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlite_gets_no_casts() {
        assert_eq!(without_casts("SELECT a::text AS b FROM c WHERE id = $1::uuid"), "SELECT a AS b FROM c WHERE id = $1");
    }

    #[test]
    fn other_databases_are_refused_with_a_remedy() {
        assert!(Address::from_str("mysql://x/y").expect_err("refused").contains("sqlite:///path"));
    }
}
