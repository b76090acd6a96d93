//! Writers and their books, in SQLite or MariaDB on either side, an agent between them, and a random writer that speaks what
//! both engines understand.
#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ficus_rules::Side;
use ficus_rules::mapping::{ColumnMap, ColumnSource, TableMap, uuid_of};
use ficus_rules::wire::{CapabilityOrders, CapabilityReport, Fences, MarkEnd, Orders, SyncOrder, TableVerified, Verify, VerifyScope};
use ficus_sync_agent::{Agent, Config, Resolved};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Row, SqliteConnection};

use super::mariadb::{self, Server};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Engine {
    Sqlite,
    MariaDb,
}

const LEGACY: [[&str; 2]; 2] = [
    [
        "CREATE TABLE writer (id integer NOT NULL PRIMARY KEY AUTOINCREMENT, name varchar(150) NOT NULL UNIQUE, email text NULL, level integer NOT NULL, last_login datetime NULL)",
        "CREATE TABLE book (id integer NOT NULL PRIMARY KEY AUTOINCREMENT, title text NOT NULL, writer_id integer NOT NULL REFERENCES writer (id), price decimal(10,2) NOT NULL DEFAULT 0)",
    ],
    [
        "CREATE TABLE writer (id int AUTO_INCREMENT PRIMARY KEY, name varchar(150) NOT NULL UNIQUE, email varchar(250) NULL, level smallint NOT NULL, last_login datetime(6) NULL)",
        "CREATE TABLE book (id int AUTO_INCREMENT PRIMARY KEY, title longtext NOT NULL, writer_id int NOT NULL, price decimal(10,2) NOT NULL DEFAULT 0, CONSTRAINT book_writer FOREIGN KEY (writer_id) REFERENCES writer (id))",
    ],
];

const MODERN: [[&str; 4]; 2] = [
    [
        "CREATE TABLE writers (id text NOT NULL PRIMARY KEY, legacy_id integer UNIQUE, name varchar(150) NOT NULL UNIQUE, email text NULL, level integer NOT NULL, nickname text)",
        "CREATE TABLE books (id text NOT NULL PRIMARY KEY, legacy_id integer UNIQUE, title text NOT NULL, writer_id text NOT NULL REFERENCES writers (id), price decimal(10,2) NOT NULL)",
        "CREATE TABLE seq_writers (id INTEGER PRIMARY KEY AUTOINCREMENT)",
        "CREATE TABLE seq_books (id INTEGER PRIMARY KEY AUTOINCREMENT)",
    ],
    [
        "CREATE TABLE writers (id uuid NOT NULL PRIMARY KEY, legacy_id int UNIQUE, name varchar(150) NOT NULL UNIQUE, email varchar(250) NULL, level smallint NOT NULL, nickname varchar(50))",
        "CREATE TABLE books (id uuid NOT NULL PRIMARY KEY, legacy_id int UNIQUE, title longtext NOT NULL, writer_id uuid NOT NULL, price decimal(12,4) NOT NULL, FOREIGN KEY (writer_id) REFERENCES writers (id))",
        "CREATE TABLE seq_writers (id int AUTO_INCREMENT PRIMARY KEY)",
        "CREATE SEQUENCE seq_books",
    ],
];

fn map(legacy: &str, modern: &str, columns: Vec<(&str, ColumnSource)>) -> TableMap {
    TableMap {
        events: Vec::new(),
        source: format!("users.toml: {legacy}"),
        legacy: legacy.into(),
        modern: modern.into(),
        legacy_key: "id".into(),
        modern_key: "legacy_id".into(),
        sequence: Some(format!("seq_{modern}")),
        columns: columns.into_iter().map(|(modern, from)| ColumnMap { modern: modern.into(), from }).collect(),
        only: false,
        keep_legacy: Vec::new(),
        keep_modern: Vec::new(),
        zero_dates: ficus_rules::mapping::ZeroDates::default(),
        rows: ficus_rules::mapping::Rows::default(),
    }
}

fn uuid(column: &str, of: &str) -> ColumnSource {
    ColumnSource::Uuid5 { column: column.into(), of: of.into() }
}

pub fn tables() -> Vec<TableMap> {
    let mut writers = map("writer", "writers", vec![("id", uuid("id", "writer"))]);
    writers.keep_legacy.push("last_login".into());
    vec![writers, map("book", "books", vec![("id", uuid("id", "book")), ("writer_id", uuid("writer_id", "writer"))])]
}

pub struct Pairs<'a> {
    dir: tempfile::TempDir,
    server: &'a Server,
    engines: [Engine; 2],
    databases: [String; 2],
    pub orders: Orders,
    token: u64,
    /// Rows of a batch; with few, whatever is behind is a backlog.
    pub batch_rows: usize,
}

/// An application's connection.
pub enum App {
    Sqlite(SqliteConnection),
    MariaDb(mysql_async::Conn),
}

impl<'a> Pairs<'a> {
    pub async fn new(server: &'a Server, legacy: Engine, modern: Engine) -> Pairs<'a> {
        let capability = CapabilityOrders {
            epoch: 1,
            owner: Side::Legacy,
            sync: SyncOrder::Run,
            may_copy: true,
            fenced: Fences::default(),
            mark_end: None,
            strays: ficus_rules::plan::StrayWrites::default(),
            carry_strays: false,
            end_sessions: false,
            leaves_aside: false,
            verify: None,
            raise_sequences: None,
            repair: None,
        };
        let world = Pairs {
            dir: tempfile::tempdir().unwrap(),
            server,
            engines: [legacy, modern],
            databases: [server.database().await, server.database().await],
            orders: Orders { generation: 1, rules: Vec::new(), capabilities: BTreeMap::from([("users".to_owned(), capability)]) },
            token: 0,
            batch_rows: 200,
        };
        for statement in LEGACY[usize::from(legacy == Engine::MariaDb)] {
            world.app(Side::Legacy).await.exec(statement).await;
        }
        for statement in MODERN[usize::from(modern == Engine::MariaDb)] {
            world.app(Side::Modern).await.exec(statement).await;
        }
        world
    }

    pub async fn app(&self, side: Side) -> App {
        let at = usize::from(side == Side::Modern);
        match self.engines[at] {
            Engine::MariaDb => App::MariaDb(self.server.root(&self.databases[at]).await),
            Engine::Sqlite => {
                let options = SqliteConnectOptions::new().filename(self.dir.path().join(side.as_str())).create_if_missing(true);
                let options = options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Off).foreign_keys(true);
                App::Sqlite(options.busy_timeout(Duration::from_secs(10)).connect().await.unwrap())
            }
        }
    }

    fn url(&self, side: Side) -> String {
        let at = usize::from(side == Side::Modern);
        match self.engines[at] {
            Engine::MariaDb => self.server.url(&self.databases[at]),
            Engine::Sqlite => format!("sqlite://{}", self.dir.path().join(side.as_str()).display()),
        }
    }

    pub async fn agent(&self) -> Agent {
        let mut config = Config::new("test", BTreeMap::new());
        config.poll = Duration::from_millis(5);
        config.batch_rows = self.batch_rows;
        let resolved = Resolved {
            legacy: "monolith".into(),
            legacy_url: self.url(Side::Legacy),
            modern: "users-service".into(),
            modern_url: self.url(Side::Modern),
            tables: tables(),
        };
        let agent = Agent::start_resolved(config, BTreeMap::from([("users".to_owned(), resolved)])).await.unwrap();
        agent.order(self.orders.clone());
        agent
    }

    /// Changes the orders, and gives them.
    pub fn order(&mut self, agent: &Agent, change: impl FnOnce(&mut CapabilityOrders, u64)) -> u64 {
        self.token += 1;
        self.orders.generation += 1;
        change(self.orders.capabilities.get_mut("users").unwrap(), self.token);
        agent.order(self.orders.clone());
        self.token
    }

    /// Fences a side, reads its end, waits until it is applied.
    pub async fn fence_and_drain(&mut self, agent: &Agent, side: Side) {
        let token = self.order(agent, |orders, token| {
            orders.fenced = Fences { legacy: side == Side::Legacy, modern: side == Side::Modern };
            orders.mark_end = Some(MarkEnd { token, side });
        });
        until(agent, "the end is reached", |report| report.end.as_ref().is_some_and(|end| end.token == token && end.reached)).await;
    }

    pub async fn open(&mut self, agent: &Agent) {
        self.order(agent, |orders, _| orders.fenced = Fences::default());
        until(agent, "open", |report| !report.fenced.legacy && !report.fenced.modern).await;
    }

    /// Moves the ownership as a cutover does.
    pub async fn switch(&mut self, agent: &Agent, to: Side) {
        self.fence_and_drain(agent, to.other()).await;
        let token = self.order(agent, |orders, token| orders.raise_sequences = Some(token));
        until(agent, "the sequences are raised", |report| report.sequences_raised == Some(token)).await;
        self.order(agent, |orders, _| {
            orders.owner = to;
            orders.epoch += 1;
            orders.fenced = Fences { legacy: to == Side::Modern, modern: to == Side::Legacy };
            orders.mark_end = None;
        });
        let generation = Some(self.orders.generation);
        let open = |report: &CapabilityReport| report.generation == generation && !report.fenced.of(to) && report.fenced.of(to.other());
        until(agent, "the new owner is open", open).await;
    }

    pub async fn verify(&mut self, agent: &Agent, scope: VerifyScope) -> Vec<TableVerified> {
        let token = self.order(agent, |orders, token| orders.verify = Some(Verify { token, scope }));
        let report = until(agent, "verified", |report| report.verified.as_ref().is_some_and(|v| v.token == token && v.done)).await;
        report.verified.unwrap().tables
    }

    pub async fn must_be_equal(&mut self, agent: &Agent) {
        for table in self.verify(agent, VerifyScope::Full).await {
            assert_eq!((table.drift_rows, &table.samples), (0, &Vec::new()), "{} / {}", table.legacy, table.modern);
            assert_eq!(table.legacy_rows, table.modern_rows);
        }
        // And by counting, which no agent does.
        for (legacy, modern) in [("writer", "writers"), ("book", "books")] {
            let legacy = self.app(Side::Legacy).await.number(&format!("SELECT count(*) FROM {legacy}")).await;
            assert_eq!(self.app(Side::Modern).await.number(&format!("SELECT count(*) FROM {modern}")).await, legacy);
        }
    }

    /// Everything that was committed on a side is applied on the other.
    pub async fn settle(&self, agent: &Agent, side: Side) {
        let asked = ficus_rules::Timestamp::from(std::time::SystemTime::now());
        until(agent, "settled", |report| report.stream_from(side).through > asked).await;
    }
}

pub fn report(agent: &Agent) -> CapabilityReport {
    agent.report().capabilities.get("users").cloned().unwrap_or_default()
}

pub async fn until(agent: &Agent, what: &str, mut holds: impl FnMut(&CapabilityReport) -> bool) -> CapabilityReport {
    let deadline = Instant::now() + Duration::from_secs(40);
    loop {
        let report = report(agent);
        if holds(&report) {
            return report;
        }
        assert!(Instant::now() < deadline, "not within 40 s: {what}; {report:#?}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

pub async fn streaming(agent: &Agent) -> CapabilityReport {
    until(agent, "streaming", |report| report.backfill.complete && report.forward.live && report.reverse.live).await
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, seedable, good enough to shuffle work.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, most: u64) -> u64 {
        self.next() % most
    }
}

/// Ids that the random work plays with.
const IDS: u64 = 40;

impl App {
    pub async fn attempt(&mut self, sql: &str) -> Result<(), String> {
        for statement in sql.split(';').map(str::trim).filter(|statement| !statement.is_empty()) {
            match self {
                App::Sqlite(conn) => {
                    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(conn).await.map(drop).map_err(|error| error.to_string())?;
                }
                App::MariaDb(conn) => mariadb::attempt(conn, statement).await?,
            }
        }
        Ok(())
    }

    pub async fn exec(&mut self, sql: &str) {
        self.attempt(sql).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
    }

    pub async fn number(&mut self, sql: &str) -> i64 {
        match self {
            App::Sqlite(conn) => sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_one(conn).await.unwrap().get(0),
            App::MariaDb(conn) => mariadb::number(conn, sql).await,
        }
    }

    /// The first column of the first row.
    pub async fn text(&mut self, sql: &str) -> Option<String> {
        match self {
            App::Sqlite(conn) => sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_optional(conn).await.unwrap().map(|row| row.get(0)),
            App::MariaDb(conn) => {
                use mysql_async::prelude::Queryable;
                conn.query_first::<mysql_async::Row, _>(sql).await.unwrap().and_then(|row| row.get(0))
            }
        }
    }

    /// A legacy writer with a book.
    pub async fn writer(&mut self, id: u64) {
        self.exec(&format!(
            "BEGIN; INSERT INTO writer (id, name, email, level) VALUES ({id}, 'writer{id}', 'w{id}@example.test', {})",
            id % 4
        ))
        .await;
        self.exec(&format!("INSERT INTO book (title, writer_id, price) VALUES ('book of {id}', {id}, 12.5); COMMIT")).await;
    }

    /// Statements may fail on a constraint; then they leave nothing.
    pub async fn step(&mut self, side: Side, random: &mut Random) {
        let sql = if side == Side::Legacy { legacy(random) } else { modern(random) };
        if let Err(error) = self.attempt(&sql).await {
            let refused = ["constraint", "Duplicate entry", "foreign key"].iter().any(|word| error.contains(word));
            assert!(refused, "{error}: {sql}");
            // There is none unless the statement began one.
            let _ = self.attempt("ROLLBACK").await;
        }
    }
}

fn legacy(random: &mut Random) -> String {
    let (id, other, word) = (1 + random.below(IDS), 1 + random.below(IDS), random.next() % 1000);
    match random.below(12) {
        0 | 1 => format!("INSERT INTO writer (id, name, email, level) VALUES ({id}, 'writer{id}', NULL, {})", word % 5),
        2 => format!("INSERT INTO writer (name, email, level) VALUES ('writer{other}', 'é€ {word}', 1)"),
        3 => format!("UPDATE writer SET email = 'e{word}', level = {} WHERE id = {id}", word % 7),
        4 => format!(
            "BEGIN; UPDATE writer SET name = 'swap' WHERE id = {id}; UPDATE writer SET name = 'writer{id}' WHERE id = {other}; UPDATE writer SET name = 'writer{other}' WHERE id = {id}; COMMIT"
        ),
        5 => format!("BEGIN; DELETE FROM book WHERE writer_id = {id}; DELETE FROM writer WHERE id = {id}; COMMIT"),
        6 => format!(
            "BEGIN; DELETE FROM book WHERE writer_id = {id}; REPLACE INTO writer (id, name, email, level) VALUES ({id}, 'writer{other}', 'r{word}', 2); COMMIT"
        ),
        7 => format!("UPDATE book SET id = {other} WHERE id = {id}"),
        8 => format!(
            "BEGIN; INSERT INTO book (title, writer_id, price) SELECT 'kept{word}', id, 1.{word} FROM writer WHERE id = {id}; SAVEPOINT s; DELETE FROM book; ROLLBACK TO s; COMMIT"
        ),
        9 => format!("BEGIN; DELETE FROM book WHERE id > {id}; UPDATE writer SET email = 'lost'; ROLLBACK"),
        10 => format!("REPLACE INTO book (id, title, writer_id, price) SELECT {other}, 'r{word}', id, -0.5 FROM writer WHERE id = {id}"),
        _ => format!("INSERT INTO book (title, writer_id, price) SELECT 'many', w.id, {word} FROM writer w WHERE w.id < {id}"),
    }
}

fn modern(random: &mut Random) -> String {
    let (id, other, word) = (1 + random.below(IDS), 1 + random.below(IDS), random.next() % 1000);
    let of = |table: &str, id: u64| uuid_of("users", table, i64::try_from(id).unwrap());
    match random.below(8) {
        0 | 1 => format!(
            "INSERT INTO writers (id, legacy_id, name, email, level) VALUES ('{}', {id}, 'writer{other}', 'e{word}', 1)",
            of("writer", id)
        ),
        2 => format!("UPDATE writers SET email = 'ž{word}', level = 3 WHERE legacy_id = {id}"),
        3 => format!("UPDATE writers SET nickname = 'only here' WHERE legacy_id = {id}"),
        4 => format!("BEGIN; DELETE FROM books WHERE writer_id = '{0}'; DELETE FROM writers WHERE id = '{0}'; COMMIT", of("writer", id)),
        5 => format!(
            "REPLACE INTO books (id, legacy_id, title, writer_id, price) SELECT '{}', {other}, 't{word}', id, 3.25 FROM writers WHERE legacy_id = {id}",
            of("book", other)
        ),
        6 => format!("DELETE FROM books WHERE legacy_id = {id}"),
        _ => format!("UPDATE books SET title = 'u{word}', price = {word} WHERE legacy_id > {id}"),
    }
}
