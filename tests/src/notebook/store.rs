//! The rows of a notebook in a database of any engine: who has them at first counts them itself, who gets them keeps those
//! numbers in `legacy_id`.

use std::collections::HashMap;
use std::str::FromStr as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use mysql_async::prelude::Queryable as _;
use mysql_async::{Opts, OptsBuilder, Pool, PoolConstraints, PoolOpts, TxOpts};
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyPool, AssertSqlSafe, Row as _};

use crate::audit::Rows;

/// How many notes an answer shows: the newest.
const SHOWN: usize = 5;
const CONNECTIONS: u32 = 8;
/// Of the old notebook.
const ADD: &str = "INSERT INTO note (text, person_id) VALUES ($1, $2)";
/// Of the new one, in PostgreSQL.
const ADD_NEW: &str = "INSERT INTO notes (legacy_id, text, person_id) VALUES (nextval(pg_get_serial_sequence('seq_notes', 'id')), $1, $2)";
const SQLITE_SETTINGS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA busy_timeout = 20000";

/// Which of the two it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Book {
    /// Has the rows at first.
    Old,
    /// Gets them.
    New,
}

/// Connections to the rows of one of the two.
#[derive(Debug, Clone)]
pub struct Store {
    book: Book,
    connections: Connections,
}

#[derive(Debug, Clone)]
enum Connections {
    Postgres(AnyPool),
    /// One writes at a time, and waits here for it, not at the file.
    Sqlite {
        readers: AnyPool,
        writer: AnyPool,
    },
    MariaDb(Pool),
}

impl Store {
    /// Opens the database behind a URL, makes the tables, and in the old notebook so many people.
    ///
    /// # Errors
    /// It cannot be reached, or has such tables already.
    pub async fn open(book: Book, url: &str, people: i64) -> Result<Store> {
        sqlx::any::install_default_drivers();
        let connections = match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("mariadb" | "mysql") => {
                ensure!(book == Book::Old, "the new notebook counts its notes by a sequence of PostgreSQL or a table of SQLite");
                let opts = Opts::from_url(&url.replacen("mariadb:", "mysql:", 1))?;
                let limits = PoolConstraints::new(1, CONNECTIONS as usize).context("at least one")?;
                // The application's isolation is the server's own. A row that is already as it should be counts as changed, as elsewhere.
                let opts = OptsBuilder::from_opts(opts)
                    .pool_opts(PoolOpts::new().with_constraints(limits))
                    .prefer_socket(false)
                    .client_found_rows(true);
                Connections::MariaDb(Pool::new(opts))
            }
            Some("sqlite") => {
                let writer = sqlite(url, 1).await?;
                Connections::Sqlite { readers: sqlite(url, CONNECTIONS).await?, writer }
            }
            _ => Connections::Postgres(AnyPoolOptions::new().max_connections(CONNECTIONS).connect(url).await?),
        };
        let store = Store { book, connections };
        store.make(people).await.context("cannot make the tables")?;
        Ok(store)
    }

    /// A person's address, and the newest notes, the newest first.
    ///
    /// # Errors
    /// There is no such person, or the database fails.
    pub async fn read(&self, person: i64) -> Result<(String, Vec<String>)> {
        let Words { person: people, id, note } = self.words();
        let address = format!("SELECT address FROM {people} WHERE {id} = {person}");
        let notes = format!("SELECT text FROM {note} WHERE person_id = {person} ORDER BY {id} DESC LIMIT {SHOWN}");
        let address = self.texts(&address).await?.pop().context("no such person")?;
        Ok((address, self.texts(&notes).await?))
    }

    /// Adds a note.
    ///
    /// # Errors
    /// The database refuses it.
    pub async fn add(&self, person: i64, text: &str) -> Result<()> {
        match (self.book, &self.connections) {
            (Book::Old, _) => self.write(ADD, text, person).await.map(drop),
            (Book::New, Connections::Sqlite { writer, .. }) => {
                let mut write = writer.begin_with("BEGIN IMMEDIATE").await?;
                let number: i64 =
                    sqlx::query("INSERT INTO seq_notes DEFAULT VALUES RETURNING id").fetch_one(&mut *write).await?.try_get(0)?;
                let add = sqlx::query("INSERT INTO notes (legacy_id, text, person_id) VALUES ($1, $2, $3)");
                add.bind(number).bind(text.to_owned()).bind(person).execute(&mut *write).await?;
                Ok(write.commit().await?)
            }
            (Book::New, _) => self.write(ADD_NEW, text, person).await.map(drop),
        }
    }

    /// Adds a note, in a transaction that stays open for a while after it: to the old notebook, or to the new one in PostgreSQL.
    ///
    /// # Errors
    /// The database refuses it, or ends the session.
    pub async fn add_slowly(&self, person: i64, text: &str, open: Duration) -> Result<()> {
        let on_postgres = matches!(self.connections, Connections::Postgres(_));
        ensure!(self.book == Book::Old || on_postgres, "such notes are added at once");
        match &self.connections {
            Connections::Postgres(pool) | Connections::Sqlite { writer: pool, .. } => {
                let mut write = pool.begin().await?;
                sqlx::query(if self.book == Book::Old { ADD } else { ADD_NEW })
                    .bind(text.to_owned())
                    .bind(person)
                    .execute(&mut *write)
                    .await?;
                tokio::time::sleep(open).await;
                Ok(write.commit().await?)
            }
            Connections::MariaDb(pool) => {
                let mut write = pool.start_transaction(TxOpts::default()).await?;
                write.exec_drop(ADD.replace("$1", "?").replace("$2", "?"), (text, person)).await?;
                tokio::time::sleep(open).await;
                Ok(write.commit().await?)
            }
        }
    }

    /// Sets a person's address.
    ///
    /// # Errors
    /// The database refuses it, or there is nobody.
    pub async fn move_house(&self, person: i64, address: &str) -> Result<()> {
        let Words { person: people, id, .. } = self.words();
        let changed = self.write(&format!("UPDATE {people} SET address = $1 WHERE {id} = $2"), address, person).await?;
        ensure!(changed == 1, "no such person");
        Ok(())
    }

    /// Everything that is there.
    ///
    /// # Errors
    /// The database fails.
    pub async fn rows(&self) -> Result<Rows> {
        let Words { person, id, note } = self.words();
        let mut notes = HashMap::new();
        for text in self.texts(&format!("SELECT text FROM {note}")).await? {
            *notes.entry(text).or_default() += 1;
        }
        let cast = if matches!(self.connections, Connections::MariaDb(_)) { "char" } else { "text" };
        let people = format!("SELECT CONCAT(CAST({id} AS {cast}), ' ', address) FROM {person}");
        let mut addresses = HashMap::new();
        for line in self.texts(&people).await? {
            let (number, address) = line.split_once(' ').context("a number and an address")?;
            addresses.insert(number.parse()?, address.to_owned());
        }
        let side = if self.book == Book::Old { "legacy" } else { "modern" };
        Ok(Rows { side, notes, addresses, ..Rows::default() })
    }

    /// The end of all connections.
    pub async fn close(&self) {
        match &self.connections {
            Connections::Postgres(pool) => pool.close().await,
            Connections::Sqlite { readers, writer } => {
                readers.close().await;
                writer.close().await;
            }
            Connections::MariaDb(pool) => drop(pool.clone().disconnect().await),
        }
    }

    fn words(&self) -> Words {
        match self.book {
            Book::Old => Words { person: "person", id: "id", note: "note" },
            Book::New => Words { person: "people", id: "legacy_id", note: "notes" },
        }
    }

    async fn make(&self, people: i64) -> Result<()> {
        let counted = match self.connections {
            Connections::Postgres(_) => "bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY",
            Connections::Sqlite { .. } => "INTEGER PRIMARY KEY AUTOINCREMENT",
            Connections::MariaDb(_) => "bigint NOT NULL AUTO_INCREMENT PRIMARY KEY",
        };
        let Words { person, id, note } = self.words();
        let key = if self.book == Book::Old { counted } else { "bigint NOT NULL PRIMARY KEY" };
        self.run(&format!("CREATE TABLE {person} ({id} bigint NOT NULL PRIMARY KEY, address varchar(60) NOT NULL)")).await?;
        self.run(&format!("CREATE TABLE {note} ({id} {key}, person_id bigint NOT NULL, text varchar(60) NOT NULL)")).await?;
        self.run(&format!("CREATE INDEX {note}_of_person ON {note} (person_id, {id})")).await?;
        if self.book == Book::New {
            return self.run(&format!("CREATE TABLE seq_notes (id {counted})")).await;
        }
        let rows: Vec<String> = (1..=people).map(|number| format!("({number}, 'address')")).collect();
        self.run(&format!("INSERT INTO person (id, address) VALUES {}", rows.join(", "))).await
    }

    async fn run(&self, sql: &str) -> Result<()> {
        match &self.connections {
            Connections::Postgres(pool) | Connections::Sqlite { writer: pool, .. } => {
                sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await?;
            }
            Connections::MariaDb(pool) => pool.get_conn().await?.query_drop(sql).await?,
        }
        Ok(())
    }

    /// A statement with a text and then a number. How many rows it changed.
    async fn write(&self, sql: &str, text: &str, number: i64) -> Result<u64> {
        match &self.connections {
            Connections::Postgres(pool) | Connections::Sqlite { writer: pool, .. } => {
                let query = sqlx::query(AssertSqlSafe(sql)).bind(text.to_owned()).bind(number);
                Ok(query.execute(pool).await?.rows_affected())
            }
            Connections::MariaDb(pool) => {
                let mut conn = pool.get_conn().await?;
                conn.exec_drop(sql.replace("$1", "?").replace("$2", "?"), (text, number)).await?;
                Ok(conn.affected_rows())
            }
        }
    }

    async fn texts(&self, sql: &str) -> Result<Vec<String>> {
        match &self.connections {
            Connections::Postgres(pool) | Connections::Sqlite { readers: pool, .. } => {
                let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(pool).await?;
                Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
            }
            Connections::MariaDb(pool) => Ok(pool.get_conn().await?.query(sql).await?),
        }
    }
}

/// What the tables and their key are called.
struct Words {
    person: &'static str,
    id: &'static str,
    note: &'static str,
}

async fn sqlite(url: &str, connections: u32) -> Result<AnyPool> {
    let options = AnyConnectOptions::from_str(&format!("{url}?mode=rwc"))?;
    let pool = AnyPoolOptions::new().max_connections(connections).acquire_timeout(Duration::from_secs(30));
    let pool =
        pool.after_connect(|connection, _| Box::pin(async move { sqlx::raw_sql(SQLITE_SETTINGS).execute(connection).await.map(drop) }));
    Ok(pool.connect_with(options).await?)
}
