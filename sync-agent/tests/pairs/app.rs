//! An application's connection to any engine: statements, and results as the engine writes them as text.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, Row, SqliteConnection, ValueRef};

use super::{mariadb, postgres};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Engine {
    Postgres,
    MariaDb,
    Sqlite,
}

impl Engine {
    /// A text literal.
    pub(crate) fn text(self, text: &str) -> String {
        let text = if self == Engine::MariaDb { text.replace('\\', "\\\\") } else { text.to_owned() };
        format!("'{}'", text.replace('\'', "''"))
    }

    pub(crate) fn begin(self) -> &'static str {
        // A transaction of SQLite that begins to write late may find that another was faster.
        if self == Engine::Sqlite { "BEGIN IMMEDIATE" } else { "BEGIN" }
    }
}

pub(crate) enum App {
    Postgres(PgConnection),
    MariaDb(mysql_async::Conn),
    Sqlite(SqliteConnection),
}

impl App {
    pub(crate) async fn postgres(database: &str) -> App {
        App::Postgres(postgres::Server::shared().app(database).await)
    }

    pub(crate) async fn mariadb(database: &str) -> App {
        let mut conn = mariadb::Server::shared().root(database).await;
        // Two transactions at once are not to wait for each other's gaps.
        conn.query_drop("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await.unwrap();
        App::MariaDb(conn)
    }

    pub(crate) async fn sqlite(path: &std::path::Path) -> App {
        let options = SqliteConnectOptions::new().filename(path).create_if_missing(true).foreign_keys(true);
        let options = options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Off);
        App::Sqlite(options.busy_timeout(Duration::from_secs(30)).connect().await.unwrap())
    }

    pub(crate) fn engine(&self) -> Engine {
        match self {
            App::Postgres(_) => Engine::Postgres,
            App::MariaDb(_) => Engine::MariaDb,
            App::Sqlite(_) => Engine::Sqlite,
        }
    }

    pub(crate) async fn attempt(&mut self, sql: &str) -> Result<(), String> {
        match self {
            App::Postgres(conn) => postgres::attempt(conn, sql).await.map(drop),
            App::MariaDb(conn) => mariadb::attempt(conn, sql).await,
            App::Sqlite(conn) => {
                sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(conn).await.map(drop).map_err(|error| error.to_string())
            }
        }
    }

    pub(crate) async fn exec(&mut self, sql: &str) {
        self.attempt(sql).await.unwrap_or_else(|error| panic!("{error}: {}", sql.chars().take(400).collect::<String>()));
    }

    /// Rows of a query. SQLite has to be asked for texts.
    pub(crate) async fn rows(&mut self, sql: &str) -> Vec<Vec<Option<String>>> {
        match self {
            App::Postgres(conn) => {
                // By the simple protocol: what comes is text already.
                let rows = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch_all(conn).await.unwrap();
                let cell = |row: &sqlx::postgres::PgRow, at| {
                    let value = row.try_get_raw(at).unwrap();
                    (!value.is_null()).then(|| value.as_str().unwrap().to_owned())
                };
                rows.iter().map(|row| (0..row.len()).map(|at| cell(row, at)).collect()).collect()
            }
            App::MariaDb(conn) => {
                let rows: Vec<mysql_async::Row> = conn.query(sql).await.unwrap();
                let cell = |value| match value {
                    mysql_async::Value::NULL => None,
                    mysql_async::Value::Bytes(bytes) => Some(String::from_utf8(bytes).unwrap()),
                    other => panic!("{other:?}"),
                };
                rows.into_iter().map(|row| row.unwrap().into_iter().map(cell).collect()).collect()
            }
            App::Sqlite(conn) => {
                let rows = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(conn).await.unwrap();
                rows.iter().map(|row| (0..row.len()).map(|at| row.get::<Option<String>, _>(at)).collect()).collect()
            }
        }
    }
}
