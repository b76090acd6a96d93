//! Two databases shaped like the student management system's, an agent between them, and questions to ask of them.
#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)]

pub mod workload;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ficus_rules::Side;
use ficus_rules::mapping::{ColumnMap, ColumnSource, TableMap, Value};
use ficus_rules::wire::{CapabilityOrders, CapabilityReport, Fences, MarkEnd, Orders, SyncOrder, TableVerified, Verify, VerifyScope};
use ficus_sync_agent::{Agent, Config, Resolved};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row, SqliteConnection};

pub const LEGACY: &str = "
CREATE TABLE accounts_customuser (id integer NOT NULL PRIMARY KEY AUTOINCREMENT, password varchar(128) NOT NULL, last_login datetime NULL,
  is_superuser bool NOT NULL, username varchar(150) NOT NULL UNIQUE, first_name varchar(150) NOT NULL, last_name varchar(150) NOT NULL,
  email varchar(254) NOT NULL, is_staff bool NOT NULL, is_active bool NOT NULL, date_joined datetime NOT NULL, user_type smallint NOT NULL);
CREATE TABLE accounts_staff (id integer NOT NULL PRIMARY KEY AUTOINCREMENT, created_at datetime NOT NULL, updated_at datetime NOT NULL,
  address text NOT NULL, user_id bigint NOT NULL UNIQUE REFERENCES accounts_customuser (id) DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE accounts_student (id integer NOT NULL PRIMARY KEY AUTOINCREMENT, created_at datetime NOT NULL, updated_at datetime NOT NULL,
  gender varchar(20) NOT NULL, address text NOT NULL, course_id bigint NULL, session_year_id bigint NULL,
  user_id bigint NOT NULL UNIQUE REFERENCES accounts_customuser (id) DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE accounts_usernote (id integer NOT NULL PRIMARY KEY AUTOINCREMENT, text text NOT NULL, created_at datetime NOT NULL,
  user_id bigint NOT NULL REFERENCES accounts_customuser (id) DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE accounts_photo (user_id bigint NOT NULL PRIMARY KEY REFERENCES accounts_customuser (id) DEFERRABLE INITIALLY DEFERRED,
  content_type varchar(100) NOT NULL, sha256 varchar(64) NOT NULL, data BLOB NOT NULL, uploaded_at datetime NOT NULL);
CREATE TABLE attendance (id integer PRIMARY KEY, student_id bigint);
";

pub const MODERN: &str = "
CREATE TABLE users (id TEXT PRIMARY KEY NOT NULL, legacy_id INTEGER UNIQUE, username TEXT NOT NULL UNIQUE, email TEXT NOT NULL, password TEXT NOT NULL,
  given_name TEXT NOT NULL, family_name TEXT NOT NULL, role TEXT NOT NULL CHECK (role IN ('admin', 'staff', 'student')), is_active INTEGER NOT NULL,
  is_staff INTEGER NOT NULL, is_superuser INTEGER NOT NULL, joined_at TEXT NOT NULL, nickname TEXT);
CREATE TABLE profiles (id TEXT PRIMARY KEY NOT NULL, kind TEXT NOT NULL, legacy_id INTEGER, user_id TEXT NOT NULL UNIQUE REFERENCES users (id) ON DELETE CASCADE,
  address TEXT NOT NULL DEFAULT '', gender TEXT, course_id INTEGER, session_year_id INTEGER, created_at TEXT NOT NULL, updated_at TEXT NOT NULL,
  UNIQUE (kind, legacy_id));
CREATE TABLE notes (id TEXT PRIMARY KEY NOT NULL, legacy_id INTEGER UNIQUE, user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE, text TEXT NOT NULL, created_at TEXT NOT NULL);
CREATE TABLE photos (user_id TEXT PRIMARY KEY NOT NULL REFERENCES users (id) ON DELETE CASCADE, legacy_id INTEGER UNIQUE, content_type TEXT NOT NULL, sha256 TEXT NOT NULL,
  data BLOB NOT NULL, uploaded_at TEXT NOT NULL);
CREATE TABLE seq_users (id INTEGER PRIMARY KEY AUTOINCREMENT);
CREATE TABLE seq_profiles_staff (id INTEGER PRIMARY KEY AUTOINCREMENT);
CREATE TABLE seq_profiles_student (id INTEGER PRIMARY KEY AUTOINCREMENT);
CREATE TABLE seq_notes (id INTEGER PRIMARY KEY AUTOINCREMENT);
";

fn map(legacy: &str, modern: &str, sequence: Option<&str>, columns: Vec<(&str, ColumnSource)>) -> TableMap {
    TableMap {
        events: Vec::new(),
        source: format!("users.toml: {legacy}"),
        legacy: legacy.into(),
        modern: modern.into(),
        legacy_key: "id".into(),
        modern_key: "legacy_id".into(),
        sequence: sequence.map(Into::into),
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
    let column = |name: &str| ColumnSource::Column(name.into());
    let user = || ("user_id", uuid("user_id", "accounts_customuser"));
    let constant = |kind: &str| ("kind", ColumnSource::Constant(Value::Text(kind.into())));
    let roles =
        ["admin", "staff", "student"].into_iter().zip(1..).map(|(role, number)| (Value::Int(number), Value::Text(role.into()))).collect();
    let mut users = map(
        "accounts_customuser",
        "users",
        Some("seq_users"),
        vec![
            ("id", uuid("id", "accounts_customuser")),
            ("given_name", column("first_name")),
            ("family_name", column("last_name")),
            ("role", ColumnSource::Map { column: "user_type".into(), values: roles }),
            ("joined_at", column("date_joined")),
        ],
    );
    users.keep_legacy.push("last_login".into());
    let mut photos = map("accounts_photo", "photos", None, vec![user()]);
    photos.legacy_key = "user_id".into();
    vec![
        users,
        map(
            "accounts_staff",
            "profiles",
            Some("seq_profiles_staff"),
            vec![("id", uuid("id", "accounts_staff")), user(), constant("staff")],
        ),
        map(
            "accounts_student",
            "profiles",
            Some("seq_profiles_student"),
            vec![("id", uuid("id", "accounts_student")), user(), constant("student")],
        ),
        map("accounts_usernote", "notes", Some("seq_notes"), vec![("id", uuid("id", "accounts_usernote")), user()]),
        photos,
    ]
}

pub struct World {
    dir: tempfile::TempDir,
    pub orders: Orders,
    token: u64,
    /// Rows of a batch; with few, whatever is behind is a backlog.
    pub batch_rows: usize,
    pub tables: Vec<TableMap>,
}

impl World {
    pub async fn new() -> World {
        let world = World {
            dir: tempfile::tempdir().unwrap(),
            orders: Orders {
                generation: 1,
                rules: Vec::new(),
                capabilities: BTreeMap::from([(
                    "users".to_owned(),
                    CapabilityOrders {
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
                    },
                )]),
            },
            token: 0,
            batch_rows: 200,
            tables: tables(),
        };
        for (side, ddl) in [(Side::Legacy, LEGACY), (Side::Modern, MODERN)] {
            let options = world.options(side).create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
            let mut connection = options.connect().await.unwrap();
            exec(&mut connection, ddl).await;
            connection.close().await.unwrap();
        }
        world
    }

    pub fn path(&self, side: Side) -> PathBuf {
        self.dir.path().join(format!("{side}.sqlite3"))
    }

    fn options(&self, side: Side) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(self.path(side))
            .busy_timeout(Duration::from_secs(10))
            .synchronous(SqliteSynchronous::Off)
            .foreign_keys(true)
    }

    /// The application on a side.
    pub async fn app(&self, side: Side) -> SqliteConnection {
        self.options(side).connect().await.unwrap()
    }

    pub async fn agent(&self) -> Agent {
        let mut config = Config::new("test", BTreeMap::new());
        config.poll = Duration::from_millis(2);
        config.batch_rows = self.batch_rows;
        self.agent_with(config).await
    }

    pub async fn agent_with(&self, config: Config) -> Agent {
        let url = |side| format!("sqlite://{}", self.path(side).display());
        let resolved = Resolved {
            legacy: "monolith".into(),
            legacy_url: url(Side::Legacy),
            modern: "users-service".into(),
            modern_url: url(Side::Modern),
            tables: self.tables.clone(),
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
        let tables = self.verify(agent, VerifyScope::Full).await;
        for table in tables {
            assert_eq!((table.drift_rows, &table.samples), (0, &Vec::new()), "{} / {}", table.legacy, table.modern);
            assert_eq!(table.legacy_root, table.modern_root);
            assert_eq!(table.legacy_rows, table.modern_rows);
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
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let report = report(agent);
        if holds(&report) {
            return report;
        }
        assert!(Instant::now() < deadline, "not within 120 s: {what}; {report:#?}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

pub async fn streaming(agent: &Agent) -> CapabilityReport {
    until(agent, "streaming", |report| report.backfill.complete && report.forward.live && report.reverse.live).await
}

pub async fn exec(connection: &mut SqliteConnection, sql: &str) {
    attempt(connection, sql).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
}

pub async fn attempt(connection: &mut SqliteConnection, sql: &str) -> Result<u64, sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await.map(|done| done.rows_affected())
}

pub async fn number(connection: &mut SqliteConnection, sql: &str) -> i64 {
    sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_one(connection).await.unwrap().get(0)
}

pub async fn text(connection: &mut SqliteConnection, sql: &str) -> Option<String> {
    sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_optional(connection).await.unwrap().map(|row| row.get(0))
}

/// A legacy user with a profile and a note.
pub async fn legacy_user(connection: &mut SqliteConnection, id: i64) {
    let (table, columns) = if id % 2 == 0 { ("accounts_staff", "") } else { ("accounts_student", ", gender, course_id") };
    let values = if id % 2 == 0 { "" } else { ", 'female', 3" };
    exec(
        connection,
        &format!(
            "BEGIN;
             INSERT INTO accounts_customuser VALUES ({id}, 'pbkdf2$x', NULL, 0, 'user{id}', 'Ada', 'Ray', 'u{id}@example.test', 0, 1, '2026-01-02 03:04:05.000006', {kind});
             INSERT INTO {table} (id, created_at, updated_at, address, user_id{columns}) VALUES ({id}, '2026-01-01 00:00:00', '2026-01-01 00:00:00', '1 High St', {id}{values});
             INSERT INTO accounts_usernote (text, created_at, user_id) VALUES ('note of {id}', '2026-01-01 00:00:00', {id});
             COMMIT;",
            kind = if id % 2 == 0 { 2 } else { 3 },
        ),
    )
    .await;
}
