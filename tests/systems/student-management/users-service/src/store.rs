//! The tables. One module per table; [`Database`] owns the connections. Decides nothing about who may do what.

pub mod notes;
pub mod photos;
pub mod profiles;
pub mod users;

use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use sqlx::{Sqlite, SqlitePool, Transaction};

/// How long a write waits for another process, such as the sync agent.
const BUSY_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a request waits for a connection of this process. Above [`BUSY_TIMEOUT`], so that it does not hide it.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);
const READERS: u32 = 8;

/// Connections to one SQLite file.
///
/// SQLite has one writer at a time. Writers of this process queue, in order, for a single connection, instead of
/// polling for the lock; the busy timeout is left for other processes.
#[derive(Clone)]
pub struct Database {
    readers: SqlitePool,
    writer: SqlitePool,
}

/// A transaction that holds the write lock from its beginning.
pub type Write = Transaction<'static, Sqlite>;

impl Database {
    /// Opens the file, or makes it. Applies no schema.
    pub async fn open(options: &SqliteConnectOptions) -> Result<Self, sqlx::Error> {
        let options =
            options.clone().create_if_missing(true).journal_mode(SqliteJournalMode::Wal).busy_timeout(BUSY_TIMEOUT).foreign_keys(true);
        let pool = SqlitePoolOptions::new().acquire_timeout(ACQUIRE_TIMEOUT);
        let writer = pool.clone().max_connections(1).connect_with(options.clone()).await?;
        let readers = pool.max_connections(READERS).connect_lazy_with(options);
        Ok(Self { readers, writer })
    }

    /// For statements that only read.
    pub fn read(&self) -> &SqlitePool {
        &self.readers
    }

    /// Begins a write. Dropped without a commit, it is rolled back.
    pub async fn write(&self) -> Result<Write, sqlx::Error> {
        self.writer.begin_with("BEGIN IMMEDIATE").await
    }

    /// Waits for the connections in use and closes all.
    pub async fn close(&self) {
        self.writer.close().await;
        self.readers.close().await;
    }
}
