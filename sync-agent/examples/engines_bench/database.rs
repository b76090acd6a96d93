//! A database of any engine with a server of its own, and an application's connection to it.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

use futures::TryStreamExt;
use mysql_async::prelude::Queryable;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, Row, SqliteConnection};

use crate::machine::{POSTGRES, cpu_of_server};
use crate::{Result, mariadb, postgres};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Engine {
    Postgres,
    MariaDb,
    Sqlite,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Engine::Postgres => "postgres",
            Engine::MariaDb => "mariadb",
            Engine::Sqlite => "sqlite",
        })
    }
}

/// Memory as on a small production machine, and logs that no round has to wait for.
const MARIADB: [&str; 2] = ["--innodb-buffer-pool-size=512M", "--innodb-log-file-size=1G"];

/// One that has to keep what it has acknowledged.
pub(crate) const DURABLE: [&str; 2] = ["--innodb-flush-log-at-trx-commit=1", "--sync-binlog=1"];

/// A database.
pub(crate) enum Database {
    Postgres { server: postgres::Server, name: String },
    MariaDb { server: mariadb::Server, name: String },
    Sqlite { directory: tempfile::TempDir },
}

impl Database {
    pub(crate) async fn start(engine: Engine) -> Result<Database> {
        Ok(match engine {
            Engine::Postgres => {
                let server = postgres::Server::start(&POSTGRES);
                let name = server.database().await;
                Database::Postgres { server, name }
            }
            Engine::MariaDb => Database::mariadb(&[]).await,
            Engine::Sqlite => Database::Sqlite { directory: tempfile::tempdir()? },
        })
    }

    /// A MariaDB with these settings too.
    pub(crate) async fn mariadb(more: &[&str]) -> Database {
        let server = mariadb_server(more);
        let name = server.database().await;
        Database::MariaDb { server, name }
    }

    pub(crate) fn engine(&self) -> Engine {
        match self {
            Database::Postgres { .. } => Engine::Postgres,
            Database::MariaDb { .. } => Engine::MariaDb,
            Database::Sqlite { .. } => Engine::Sqlite,
        }
    }

    /// The URL that an agent is given.
    pub(crate) fn url(&self) -> String {
        match self {
            Database::Postgres { server, name } => server.url(name),
            Database::MariaDb { server, name } => server.url(name),
            Database::Sqlite { directory } => format!("sqlite://{}", file(directory).display()),
        }
    }

    /// An application's connection.
    pub(crate) async fn app(&self) -> Result<App> {
        Ok(match self {
            Database::Postgres { server, name } => App::Postgres(server.app(name).await),
            Database::MariaDb { server, name } => App::MariaDb(server.root(name).await),
            Database::Sqlite { directory } => {
                let options = SqliteConnectOptions::new().filename(file(directory)).create_if_missing(true);
                let options = options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Normal);
                App::Sqlite(options.connect().await?)
            }
        })
    }

    /// Runs statements.
    pub(crate) async fn run(&self, statements: impl IntoIterator<Item = impl AsRef<str>>) -> Result<()> {
        let mut app = self.app().await?;
        for statement in statements {
            app.run(statement.as_ref()).await?;
        }
        Ok(())
    }

    /// Writes everything to the disk, so that no round pays for another.
    pub(crate) async fn checkpoint(&self) -> Result<()> {
        match self {
            Database::Postgres { server, name } => App::Postgres(server.root(name).await).run("CHECKPOINT").await,
            Database::MariaDb { .. } => Ok(()),
            Database::Sqlite { .. } => self.run(["PRAGMA wal_checkpoint(TRUNCATE)"]).await,
        }
    }

    /// How many rows there are, and what is the same for the same rows.
    pub(crate) async fn state(&self, names: &[&str; 13]) -> Result<State> {
        self.app().await?.state(&crate::person::texts(self.engine(), names)).await
    }

    /// Seconds of CPU that its server has spent. SQLite has none.
    fn cpu(&self) -> Result<f64> {
        match self {
            Database::Postgres { server, .. } => cpu_of_server(server.path()),
            Database::MariaDb { server, .. } => cpu_of_server(server.path()),
            Database::Sqlite { .. } => Ok(0.0),
        }
    }
}

/// A server of MariaDB with these settings too.
pub(crate) fn mariadb_server(more: &[&str]) -> mariadb::Server {
    mariadb::Server::start(&[&MARIADB, more].concat())
}

/// Seconds of CPU that these have spent.
pub(crate) fn cpu(databases: &[&Database]) -> Result<f64> {
    databases.iter().map(|database| database.cpu()).sum()
}

/// The file of a SQLite.
pub(crate) fn file(directory: &tempfile::TempDir) -> PathBuf {
    directory.path().join("legacy.sqlite3")
}

/// Rows, whatever their order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct State {
    rows: u64,
    hash: u64,
}

impl State {
    fn add(&mut self, row: &str) {
        let mut hasher = DefaultHasher::new();
        row.hash(&mut hasher);
        self.rows += 1;
        self.hash = self.hash.wrapping_add(hasher.finish());
    }

    /// A bench of rows that are not there says nothing.
    pub(crate) fn must_be(self, source: State, whose: &str) -> Result<()> {
        if self == source { Ok(()) } else { Err(format!("{whose} has other rows than the source: {self:?}, {source:?}").into()) }
    }
}

/// A connection.
pub(crate) enum App {
    Postgres(PgConnection),
    MariaDb(mysql_async::Conn),
    Sqlite(SqliteConnection),
}

impl App {
    /// Runs statements in one message.
    pub(crate) async fn run(&mut self, sql: &str) -> Result<()> {
        let done = match self {
            App::Postgres(conn) => postgres::attempt(conn, sql).await.map(drop),
            App::MariaDb(conn) => mariadb::attempt(conn, sql).await,
            App::Sqlite(conn) => {
                let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(conn).await;
                done.map(drop).map_err(|error| error.to_string())
            }
        };
        done.map_err(|error| format!("{error}: {}", sql.chars().take(200).collect::<String>()).into())
    }

    pub(crate) async fn number(&mut self, sql: &str) -> Result<i64> {
        Ok(match self {
            App::Postgres(conn) => postgres::number(conn, sql).await,
            App::MariaDb(conn) => mariadb::number(conn, sql).await,
            App::Sqlite(conn) => sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_one(conn).await?.try_get(0)?,
        })
    }

    async fn state(&mut self, texts: &str) -> Result<State> {
        let mut state = State::default();
        match self {
            App::Postgres(conn) => {
                let mut rows = sqlx::query(AssertSqlSafe(texts.to_owned())).fetch(conn);
                while let Some(row) = rows.try_next().await? {
                    state.add(row.try_get(0)?);
                }
            }
            App::MariaDb(conn) => {
                let mut rows = conn.query_stream::<String, _>(texts).await?;
                while let Some(row) = rows.try_next().await? {
                    state.add(&row);
                }
            }
            App::Sqlite(conn) => {
                let mut rows = sqlx::query(AssertSqlSafe(texts.to_owned())).fetch(conn);
                while let Some(row) = rows.try_next().await? {
                    state.add(row.try_get(0)?);
                }
            }
        }
        Ok(state)
    }
}
