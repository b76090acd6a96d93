//! Capabilities whose databases are PostgreSQL, on one side or on both: copied, streamed both ways, fenced, switched.
#![allow(clippy::unwrap_used)]

#[path = "support/own.rs"]
mod own;
#[path = "support/postgres.rs"]
mod server;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ficus_rules::Side;
use ficus_rules::mapping::{ColumnMap, ColumnSource, TableMap, uuid_of};
use ficus_rules::wire::{CapabilityOrders, Fences, MarkEnd, Orders, SyncOrder, Verify, VerifyScope};
use ficus_sync_agent::{Agent, Config, Resolved};
use server::Server;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, Row, SqliteConnection};
use support::workload::Random;
use support::{report, streaming, until};

const LEGACY_POSTGRES: &str = "
CREATE TABLE accounts_user (id serial PRIMARY KEY, username varchar(150) NOT NULL UNIQUE, email text NOT NULL, age int, last_login timestamptz, bio text,
  active boolean NOT NULL DEFAULT true, joined timestamptz NOT NULL DEFAULT '2026-01-02 03:04:05.000006+02', score numeric(10,2), born date, token uuid);
CREATE TABLE accounts_note (id bigserial PRIMARY KEY, user_id int NOT NULL REFERENCES accounts_user DEFERRABLE INITIALLY DEFERRED, text text NOT NULL);
CREATE TABLE attendance (id serial PRIMARY KEY, user_id int);";

const MODERN_POSTGRES: &str = "
CREATE TABLE users (id uuid PRIMARY KEY, legacy_id int UNIQUE, username text NOT NULL UNIQUE, email text NOT NULL, age int, bio text, nickname text DEFAULT 'nobody',
  active boolean NOT NULL DEFAULT false, joined timestamptz NOT NULL DEFAULT '2026-05-05 05:05:05+00', score numeric(10,2), born date, token uuid);
CREATE TABLE notes (id uuid PRIMARY KEY, legacy_id bigint UNIQUE, user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE, text text NOT NULL);
CREATE SEQUENCE seq_users; CREATE TABLE seq_notes (id bigserial PRIMARY KEY);";

const LEGACY_SQLITE: &str = "
CREATE TABLE accounts_user (id integer NOT NULL PRIMARY KEY AUTOINCREMENT, username varchar(150) NOT NULL UNIQUE, email text NOT NULL, age integer, last_login text, bio text,
  active bool NOT NULL DEFAULT 1, joined datetime NOT NULL DEFAULT '2026-01-02 03:04:05.000006', score decimal(10,2), born date, token char(32));
CREATE TABLE accounts_note (id integer NOT NULL PRIMARY KEY AUTOINCREMENT, user_id integer NOT NULL REFERENCES accounts_user (id) DEFERRABLE INITIALLY DEFERRED, text text NOT NULL);
CREATE TABLE attendance (id integer PRIMARY KEY, user_id integer);";

const MODERN_SQLITE: &str = "
CREATE TABLE users (id text PRIMARY KEY NOT NULL, legacy_id integer UNIQUE, username text NOT NULL UNIQUE, email text NOT NULL, age integer, bio text, nickname text DEFAULT 'nobody',
  active bool NOT NULL DEFAULT 0, joined datetime NOT NULL DEFAULT '2026-05-05 05:05:05', score decimal(10,2), born date, token char(32));
CREATE TABLE notes (id text PRIMARY KEY NOT NULL, legacy_id integer UNIQUE, user_id text NOT NULL REFERENCES users (id) ON DELETE CASCADE, text text NOT NULL);
CREATE TABLE seq_users (id INTEGER PRIMARY KEY AUTOINCREMENT); CREATE TABLE seq_notes (id INTEGER PRIMARY KEY AUTOINCREMENT);";

fn tables() -> Vec<TableMap> {
    let map = |legacy: &str, modern: &str, sequence: &str, columns: &[(&str, &str, &str)]| TableMap {
        events: Vec::new(),
        source: format!("users.toml: {legacy}"),
        legacy: legacy.into(),
        modern: modern.into(),
        legacy_key: "id".into(),
        modern_key: "legacy_id".into(),
        sequence: Some(sequence.into()),
        columns: columns
            .iter()
            .map(|(modern, column, of)| ColumnMap {
                modern: (*modern).into(),
                from: ColumnSource::Uuid5 { column: (*column).into(), of: (*of).into() },
            })
            .collect(),
        only: false,
        keep_legacy: Vec::new(),
        keep_modern: Vec::new(),
        zero_dates: ficus_rules::mapping::ZeroDates::default(),
        rows: ficus_rules::mapping::Rows::default(),
    };
    let mut users = map("accounts_user", "users", "seq_users", &[("id", "id", "accounts_user")]);
    users.keep_legacy.push("last_login".into());
    users.keep_modern.push("nickname".into());
    vec![users, map("accounts_note", "notes", "seq_notes", &[("id", "id", "accounts_note"), ("user_id", "user_id", "accounts_user")])]
}

/// What stands on a side.
#[derive(Clone, Copy, PartialEq)]
enum Engine {
    /// With the role that the documentation asks for: references are enforced.
    Postgres,
    /// With a superuser: they are not.
    Superuser,
    Sqlite,
}

/// An application's connection.
enum App {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

impl App {
    async fn attempt(&mut self, sql: &str) -> Result<(), String> {
        match self {
            App::Postgres(connection) => server::attempt(connection, sql).await.map(drop),
            App::Sqlite(connection) => support::attempt(connection, sql).await.map(drop).map_err(|error| error.to_string()),
        }
    }

    async fn exec(&mut self, sql: &str) {
        self.attempt(sql).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
    }

    async fn number(&mut self, sql: &str) -> i64 {
        match self {
            App::Postgres(connection) => server::number(connection, sql).await,
            App::Sqlite(connection) => sqlx::query(AssertSqlSafe(format!("SELECT ({sql})"))).fetch_one(connection).await.unwrap().get(0),
        }
    }

    async fn text(&mut self, sql: &str) -> Option<String> {
        match self {
            App::Postgres(connection) => server::text(connection, sql).await,
            App::Sqlite(connection) => sqlx::query(AssertSqlSafe(format!("SELECT ({sql})"))).fetch_one(connection).await.unwrap().get(0),
        }
    }
}

struct World {
    dir: tempfile::TempDir,
    engines: [Engine; 2],
    databases: [String; 2],
    orders: Orders,
    token: u64,
    /// Rows of a batch; with few, whatever is behind is a backlog.
    batch_rows: usize,
    /// Another process's world, as the environment names it.
    theirs: Option<[String; 2]>,
}

impl World {
    async fn new(engines: [Engine; 2]) -> World {
        let orders = CapabilityOrders {
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
        let mut world = World {
            dir: tempfile::tempdir().unwrap(),
            engines,
            databases: [String::new(), String::new()],
            orders: Orders { generation: 1, rules: Vec::new(), capabilities: BTreeMap::from([("users".to_owned(), orders)]) },
            token: 0,
            batch_rows: 200,
            theirs: None,
        };
        for (index, side) in Side::BOTH.into_iter().enumerate() {
            let ddl = match (engines[index], side) {
                (Engine::Sqlite, Side::Legacy) => LEGACY_SQLITE,
                (Engine::Sqlite, Side::Modern) => MODERN_SQLITE,
                (_, Side::Legacy) => LEGACY_POSTGRES,
                (_, Side::Modern) => MODERN_POSTGRES,
            };
            world.databases[index] =
                if engines[index] == Engine::Sqlite { side.as_str().to_owned() } else { Server::shared().database().await };
            world.app(side).await.exec(ddl).await;
        }
        world
    }

    fn index(side: Side) -> usize {
        usize::from(side == Side::Modern)
    }

    fn url(&self, side: Side) -> String {
        if let Some(theirs) = &self.theirs {
            return theirs[World::index(side)].clone();
        }
        let database = &self.databases[World::index(side)];
        match self.engines[World::index(side)] {
            Engine::Postgres => Server::shared().url(database),
            Engine::Superuser => Server::shared().root_url(database),
            Engine::Sqlite => format!("sqlite://{}", self.dir.path().join(database).display()),
        }
    }

    async fn app(&self, side: Side) -> App {
        let database = &self.databases[World::index(side)];
        if self.engines[World::index(side)] != Engine::Sqlite {
            return App::Postgres(Server::shared().app(database).await);
        }
        let options = SqliteConnectOptions::new().filename(self.dir.path().join(database)).create_if_missing(true).foreign_keys(true);
        App::Sqlite(options.journal_mode(SqliteJournalMode::Wal).busy_timeout(Duration::from_secs(20)).connect().await.unwrap())
    }

    async fn agent(&self) -> Agent {
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

    fn order(&mut self, agent: &Agent, change: impl FnOnce(&mut CapabilityOrders, u64)) -> u64 {
        self.token += 1;
        self.orders.generation += 1;
        change(self.orders.capabilities.get_mut("users").unwrap(), self.token);
        agent.order(self.orders.clone());
        self.token
    }

    /// Moves the ownership as a cutover does: fence, end, sequences, new owner.
    async fn switch(&mut self, agent: &Agent, to: Side) {
        let token = self.order(agent, |orders, token| {
            orders.fenced = Fences { legacy: to == Side::Modern, modern: to == Side::Legacy };
            orders.mark_end = Some(MarkEnd { token, side: to.other() });
        });
        until(agent, "the end is reached", |report| report.end.as_ref().is_some_and(|end| end.token == token && end.reached)).await;
        let token = self.order(agent, |orders, token| orders.raise_sequences = Some(token));
        until(agent, "the sequences are raised", |report| report.sequences_raised == Some(token)).await;
        self.order(agent, |orders, _| {
            orders.owner = to;
            orders.epoch += 1;
            orders.mark_end = None;
        });
        until(agent, "the new owner is open", |report| !report.fenced.of(to) && report.fenced.of(to.other())).await;
    }

    async fn settle(&self, agent: &Agent, side: Side) {
        let asked = ficus_rules::Timestamp::from(std::time::SystemTime::now());
        until(agent, "settled", |report| report.stream_from(side).through > asked).await;
    }

    async fn must_be_equal(&mut self, agent: &Agent) {
        let token = self.order(agent, |orders, token| orders.verify = Some(Verify { token, scope: VerifyScope::Full }));
        let seen = until(agent, "verified", |report| report.verified.as_ref().is_some_and(|v| v.token == token && v.done)).await;
        for table in seen.verified.unwrap().tables {
            assert_eq!((table.drift_rows, &table.samples), (0, &Vec::new()), "{} / {}", table.legacy, table.modern);
            assert_eq!((table.legacy_root, table.legacy_rows), (table.modern_root, table.modern_rows));
        }
    }
}

/// Users 1 to 30 and some notes.
async fn fill(app: &mut App) {
    for id in 1..=30 {
        app.exec(&format!(
            "INSERT INTO accounts_user (id, username, email, age, bio, score, born, token) VALUES ({id}, 'user{id}', 'e', {id}, 'It''s a \\ {id}', {id}.50, '2000-02-{:02}', '550e8400e29b41d4a7164466554400{id:02}')",
            1 + id % 28
        ))
        .await;
        app.exec(&format!("INSERT INTO accounts_note (id, user_id, text) VALUES ({id}, {id}, 'note {id}')")).await;
    }
}

async fn over_and_back(engines: [Engine; 2]) {
    let mut world = World::new(engines).await;
    let (mut legacy, mut modern) = (world.app(Side::Legacy).await, world.app(Side::Modern).await);
    fill(&mut legacy).await;
    let agent = world.agent().await;
    let seen = streaming(&agent).await;
    assert_eq!((seen.backfill.done, seen.backfill.total), (60, 60));
    world.must_be_equal(&agent).await;

    legacy.exec("UPDATE accounts_user SET username = 'Grace' WHERE id = 7").await;
    legacy.exec("DELETE FROM accounts_note WHERE user_id = 9").await;
    legacy.exec("UPDATE accounts_note SET id = 900 WHERE id = 8").await;
    world.settle(&agent, Side::Legacy).await;
    world.must_be_equal(&agent).await;
    assert_eq!(modern.text("SELECT username FROM users WHERE legacy_id = 7").await.as_deref(), Some("Grace"));
    let rows = report(&agent).forward.rows;
    legacy.exec("UPDATE accounts_user SET last_login = '2026-01-01 00:00:00'").await;
    world.settle(&agent, Side::Legacy).await;
    assert_eq!((report(&agent).forward.rows, report(&agent).reverse.rows), (rows, 0), "kept columns do not flow, and nothing flows back");

    world.switch(&agent, Side::Modern).await;
    for refused in
        ["UPDATE accounts_user SET email = 'x'", "DELETE FROM accounts_note", "INSERT INTO accounts_note (user_id, text) VALUES (1, 'x')"]
    {
        let error = legacy.attempt(refused).await.unwrap_err();
        assert!(error.contains("ficus: "), "{error}");
    }
    legacy.exec("UPDATE accounts_user SET last_login = '2026-05-05 00:00:00'").await;
    legacy.exec("INSERT INTO attendance (user_id) VALUES (1)").await;
    let sequence = if engines[1] == Engine::Sqlite {
        "SELECT 1 + max(seq) FROM sqlite_sequence WHERE name = 'seq_users'"
    } else {
        "SELECT nextval('seq_users')"
    };
    let id = modern.number(sequence).await;
    assert_eq!(id, 31, "above all of legacy's");
    let uuid = uuid_of("users", "accounts_user", id);
    modern.exec(&format!("INSERT INTO users (id, legacy_id, username, email) VALUES ('{uuid}', {id}, 'born', 'e')")).await;
    modern.exec("UPDATE users SET nickname = 'nick', age = 99 WHERE legacy_id = 5").await;
    modern.exec("DELETE FROM users WHERE legacy_id = 3").await;
    world.settle(&agent, Side::Modern).await;
    assert_eq!(legacy.number("SELECT count(*) FROM accounts_user WHERE id = 3 OR username = 'born' AND id <> 31").await, 0);
    assert_eq!(legacy.number("SELECT count(*) FROM accounts_note WHERE user_id = 3").await, 0, "the cascade came along");
    world.must_be_equal(&agent).await;

    world.switch(&agent, Side::Legacy).await;
    assert!(modern.attempt("DELETE FROM users").await.unwrap_err().contains("ficus: "));
    legacy.exec("INSERT INTO accounts_user (username, email) VALUES ('later', 'e')").await;
    assert_eq!(legacy.number("SELECT max(id) FROM accounts_user").await, 32);
    world.settle(&agent, Side::Legacy).await;
    world.must_be_equal(&agent).await;
    assert_eq!(modern.text("SELECT nickname FROM users WHERE legacy_id = 5").await.as_deref(), Some("nick"), "unmapped columns stay");
    assert_eq!(report(&agent).quarantined, 0);

    world.order(&agent, |orders, _| orders.sync = SyncOrder::Remove);
    until(&agent, "removed", |report| report.removed).await;
    for side in Side::BOTH {
        if engines[World::index(side)] != Engine::Sqlite {
            let left = "SELECT (SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal) + (SELECT count(*) FROM pg_publication) + (SELECT count(*) FROM pg_replication_slots WHERE database = current_database())
                + (SELECT count(*) FROM pg_namespace WHERE nspname = '_ficus') + (SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relreplident = 'f' AND relnamespace = 'public'::regnamespace)";
            assert_eq!(world.app(side).await.number(left).await, 0, "{side}");
        }
    }
    agent.stop().await;
}

#[tokio::test]
async fn postgres_to_postgres_over_and_back() {
    over_and_back([Engine::Postgres, Engine::Postgres]).await;
}

#[tokio::test]
async fn postgres_to_postgres_as_a_superuser() {
    over_and_back([Engine::Superuser, Engine::Superuser]).await;
}

#[tokio::test]
async fn sqlite_to_postgres_over_and_back() {
    over_and_back([Engine::Sqlite, Engine::Postgres]).await;
}

#[tokio::test]
async fn postgres_to_sqlite_over_and_back() {
    over_and_back([Engine::Postgres, Engine::Sqlite]).await;
}

/// What an application may do to its rows; statements may fail on a constraint, and then leave nothing.
async fn step(app: &mut App, side: Side, random: &mut Random, two: &mut App) {
    let (id, other, word) = (1 + random.below(40), 1 + random.below(40), random.next() % 1000);
    let uuid = |of: &str, id: u64| uuid_of("users", of, i64::try_from(id).unwrap());
    let (user, note) = (uuid("accounts_user", id), uuid("accounts_note", id));
    let big = format!("{word}-").repeat(usize::try_from(random.below(4)).unwrap() * 3_000);
    let sql = match (side, random.below(12)) {
        (Side::Legacy, 0 | 1) => format!("INSERT INTO accounts_user (id, username, email, age, bio) VALUES ({id}, 'user{other}', 'e{word}', {word}, '{big}')"),
        (Side::Legacy, 2) => format!(
            "UPDATE accounts_user SET email = 'e{word}', age = NULL, score = {word}.25, joined = '2026-03-04 05:06:07.{word:06}', active = {} WHERE id = {id}",
            if matches!(app, App::Sqlite(_)) { "0" } else { "false" }
        ),
        (Side::Legacy, 3) => format!("UPDATE accounts_user SET last_login = '2026-01-01 00:00:{:02}' WHERE id = {id}", word % 60),
        (Side::Legacy, 4) => format!(
            "BEGIN; UPDATE accounts_user SET username = 'swap' WHERE id = {id}; UPDATE accounts_user SET username = 'user{id}x' WHERE id = {other};
             UPDATE accounts_user SET username = 'user{other}' WHERE id = {id}; COMMIT"
        ),
        (Side::Legacy, 5) => format!("UPDATE accounts_note SET id = {other} WHERE id = {id}"),
        (Side::Legacy, 6) => format!(
            "BEGIN; DELETE FROM accounts_note WHERE user_id = {id}; DELETE FROM accounts_user WHERE id = {id};
             INSERT INTO accounts_user (id, username, email, bio) VALUES ({id}, 'user{word}', 'again', '{big}'); COMMIT"
        ),
        (Side::Legacy, 7) => format!("BEGIN; DELETE FROM accounts_note WHERE user_id = {id}; DELETE FROM accounts_user WHERE id = {id}; COMMIT"),
        (Side::Legacy, 8) => format!(
            "BEGIN; INSERT INTO accounts_note (id, user_id, text) SELECT {id} + 100, min(id), 'kept{word}' FROM accounts_user HAVING min(id) > 0;
             SAVEPOINT s; DELETE FROM accounts_note; UPDATE accounts_user SET email = 'lost'; ROLLBACK TO s; COMMIT"
        ),
        (Side::Legacy, 9) => format!("UPDATE accounts_user SET bio = '{big}', username = 'user{other}' WHERE id = {id}"),
        (Side::Legacy, 10) => {
            // Two transactions that overlap, and commit in the other order.
            let first = app.attempt(&format!("BEGIN; UPDATE accounts_user SET age = {word} WHERE id = {id}")).await;
            if matches!(app, App::Postgres(_)) && first.is_ok() && id != other {
                let _ = two.attempt(&format!("UPDATE accounts_user SET age = {word} WHERE id = {other}")).await;
            }
            "COMMIT".to_owned()
        }
        (Side::Legacy, _) => format!("INSERT INTO accounts_note (id, user_id, text) SELECT {id}, id, 't{word}' FROM accounts_user WHERE id = {other}"),
        (Side::Modern, 0 | 1) => {
            format!("INSERT INTO users (id, legacy_id, username, email, bio) VALUES ('{user}', {id}, 'user{other}', 'e{word}', '{big}')")
        }
        (Side::Modern, 2 | 3) => format!("UPDATE users SET email = 'e{word}', username = 'user{other}' WHERE legacy_id = {id}"),
        (Side::Modern, 4) => format!("DELETE FROM users WHERE legacy_id = {id}"),
        (Side::Modern, 5) => format!("UPDATE users SET nickname = 'n{word}' WHERE legacy_id = {id}"),
        (Side::Modern, 6) => format!("UPDATE users SET age = {word}, score = -{word}.5, born = '1999-12-31', token = NULL WHERE legacy_id = {id}"),
        (Side::Modern, 7) => format!("DELETE FROM notes WHERE legacy_id = {id}"),
        (Side::Modern, 8) => format!(
            "BEGIN; UPDATE users SET username = 'swap' WHERE legacy_id = {id}; UPDATE users SET username = 'user{id}y' WHERE legacy_id = {other};
             UPDATE users SET username = 'user{other}' WHERE legacy_id = {id}; COMMIT"
        ),
        (Side::Modern, 9) => format!("UPDATE notes SET text = 't{word}' WHERE legacy_id = {id}"),
        (Side::Modern, _) => format!("INSERT INTO notes (id, legacy_id, user_id, text) SELECT '{note}', {id}, id, 't{word}' FROM users WHERE legacy_id = {other}"),
    };
    if let Err(error) = app.attempt(&sql).await {
        assert!(
            error.contains("constraint") || error.contains("deadlock") || error.contains("aborted"),
            "{error}: {}",
            &sql[..sql.len().min(200)]
        );
        let _ = app.attempt("ROLLBACK").await;
    }
}

async fn random_work(engines: [Engine; 2], seed: u64, kills: bool) {
    let mut world = World::new(engines).await;
    world.batch_rows = 5;
    let mut random = Random(seed);
    let mut apps = [world.app(Side::Legacy).await, world.app(Side::Modern).await];
    let mut others = [world.app(Side::Legacy).await, world.app(Side::Modern).await];
    fill(&mut apps[0]).await;
    let mut agent = world.agent().await;
    for (round, owner) in [Side::Legacy, Side::Modern, Side::Legacy].into_iter().enumerate() {
        streaming(&agent).await;
        for _ in 0..150 {
            let index = World::index(owner);
            step(&mut apps[index], owner, &mut random, &mut others[index]).await;
            if kills && random.below(40) == 0 {
                drop(agent);
                agent = world.agent().await;
                tokio::time::sleep(Duration::from_millis(random.below(40))).await;
            }
        }
        streaming(&agent).await;
        world.settle(&agent, owner).await;
        world.must_be_equal(&agent).await;
        assert_eq!(report(&agent).quarantined, 0, "seed {seed}, round {round}");
        world.switch(&agent, owner.other()).await;
        world.must_be_equal(&agent).await;
    }
    agent.stop().await;
}

#[tokio::test]
async fn random_work_between_postgres_and_postgres() {
    random_work([Engine::Postgres, Engine::Superuser], 1, false).await;
    random_work([Engine::Superuser, Engine::Postgres], 2, false).await;
}

#[tokio::test]
async fn random_work_survives_agents_that_die() {
    random_work([Engine::Superuser, Engine::Superuser], 11, true).await;
    random_work([Engine::Postgres, Engine::Postgres], 12, true).await;
}

#[tokio::test]
async fn random_work_from_sqlite_to_postgres() {
    random_work([Engine::Sqlite, Engine::Superuser], 21, true).await;
}

#[tokio::test]
async fn random_work_from_postgres_to_sqlite() {
    random_work([Engine::Superuser, Engine::Sqlite], 31, true).await;
}

#[tokio::test]
async fn the_copy_is_exact_while_others_write() {
    let mut world = World::new([Engine::Superuser, Engine::Superuser]).await;
    let mut legacy = world.app(Side::Legacy).await;
    legacy.exec("INSERT INTO accounts_user (username, email) SELECT 'u' || i, 'e' FROM generate_series(1, 20000) i").await;
    let mut writer = world.app(Side::Legacy).await;
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let writing = tokio::spawn(async move {
        let mut round = 0;
        while !*stopped.borrow_and_update() {
            round += 1;
            writer.exec(&format!("INSERT INTO accounts_user (username, email) VALUES ('w{round}', 'e'); UPDATE accounts_user SET email = 'r{round}' WHERE id % 997 = {round} % 997; DELETE FROM accounts_user WHERE id = {round}")).await;
        }
    });
    let agent = world.agent().await;
    streaming(&agent).await;
    stop.send_replace(true);
    writing.await.unwrap();
    world.settle(&agent, Side::Legacy).await;
    world.must_be_equal(&agent).await;
    agent.stop().await;
}

#[tokio::test]
async fn an_emptied_table_is_compared_and_a_lost_slot_too() {
    let mut world = World::new([Engine::Superuser, Engine::Superuser]).await;
    let (mut legacy, mut modern) = (world.app(Side::Legacy).await, world.app(Side::Modern).await);
    fill(&mut legacy).await;
    let agent = world.agent().await;
    streaming(&agent).await;
    legacy.exec("TRUNCATE accounts_note; INSERT INTO accounts_note (id, user_id, text) VALUES (77, 1, 'new')").await;
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while modern.number("SELECT count(*) FROM notes").await != 1 {
        assert!(std::time::Instant::now() < deadline, "the rows of the emptied table stay: {:#?}", report(&agent));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    until(&agent, "compared", |report| report.trouble.is_none() && report.forward.live).await;
    world.settle(&agent, Side::Legacy).await;
    world.must_be_equal(&agent).await;
    agent.stop().await;

    // The server may take a moment to see that the agent is gone.
    let free = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database() AND NOT active";
    while legacy.number(free).await != 1 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let slot = "SELECT count(pg_drop_replication_slot(slot_name)) FROM pg_replication_slots WHERE database = current_database()";
    assert_eq!(legacy.number(slot).await, 1);
    legacy.exec("UPDATE accounts_user SET email = 'unseen' WHERE id < 4; DELETE FROM accounts_note").await;
    let agent = world.agent().await;
    streaming(&agent).await;
    until(&agent, "compared", |report| report.trouble.is_none() && report.forward.live).await;
    world.settle(&agent, Side::Legacy).await;
    world.must_be_equal(&agent).await;
    assert_eq!(modern.number("SELECT count(*) FROM users WHERE email = 'unseen'").await, 3);
    agent.stop().await;
}

#[tokio::test]
async fn a_row_that_does_not_fit_is_set_aside_and_heals() {
    let mut world = World::new([Engine::Sqlite, Engine::Postgres]).await;
    let (mut legacy, mut modern) = (world.app(Side::Legacy).await, world.app(Side::Modern).await);
    fill(&mut legacy).await;
    let agent = world.agent().await;
    streaming(&agent).await;
    legacy
        .exec("UPDATE accounts_user SET bio = 'a' || char(0) || 'b' WHERE id = 1; UPDATE accounts_user SET email = 'good' WHERE id = 2")
        .await;
    until(&agent, "set aside", |report| report.quarantined == 1).await;
    assert_eq!(modern.text("SELECT email FROM users WHERE legacy_id = 2").await.as_deref(), Some("good"));
    let reason = modern.text("SELECT reason FROM _ficus.quarantine").await.unwrap();
    assert!(reason.contains("bio") && reason.contains("zero byte"), "{reason}");
    legacy.exec("UPDATE accounts_user SET bio = 'fine' WHERE id = 1").await;
    until(&agent, "healed", |report| report.quarantined == 0).await;
    world.settle(&agent, Side::Legacy).await;
    world.must_be_equal(&agent).await;
    agent.stop().await;
}

#[tokio::test]
async fn what_a_server_lacks_is_refused_with_the_statement() {
    let world = World::new([Engine::Postgres, Engine::Postgres]).await;
    let mut root = Server::shared().root(&world.databases[0]).await;
    server::exec(&mut root, "CREATE ROLE stranger").await;
    server::exec(&mut root, "ALTER TABLE accounts_note OWNER TO stranger").await;
    let agent = world.agent().await;
    let seen = until(&agent, "trouble", |report| report.trouble.is_some()).await;
    assert!(seen.trouble.as_ref().is_some_and(|why| why.contains("GRANT \"stranger\" TO \"agent\";")), "{:?}", seen.trouble);
    server::exec(&mut root, "GRANT stranger TO agent").await;
    let seen = streaming(&agent).await;
    assert_eq!(seen.trouble, None, "once it is done, the agent goes on by itself");
    agent.stop().await;
    root.close().await.unwrap();
}

/// Else a service that is about to fail could switch its own return off, by one row that only legacy's database refuses.
async fn a_way_back_leaves_rows_set_aside(engines: [Engine; 2]) {
    let mut world = World::new(engines).await;
    let (mut legacy, mut modern) = (world.app(Side::Legacy).await, world.app(Side::Modern).await);
    fill(&mut legacy).await;
    legacy.exec("CREATE UNIQUE INDEX only_on_legacy ON accounts_user (age)").await;
    let agent = world.agent().await;
    streaming(&agent).await;
    world.switch(&agent, Side::Modern).await;
    let uuid = uuid_of("users", "accounts_user", 31);
    modern.exec(&format!("INSERT INTO users (id, legacy_id, username, email, age) VALUES ('{uuid}', 31, 'refused', 'e', 5)")).await;
    until(&agent, "set aside", |report| report.quarantined == 1).await;

    // WHEN both sides are compared, THEN it is drift, but not for a way back that leaves it
    for (leaves, rows) in [(false, 1), (true, 0)] {
        let token = world.order(&agent, |orders, token| {
            (orders.leaves_aside, orders.verify) = (leaves, Some(Verify { token, scope: VerifyScope::Changed }));
        });
        let seen = until(&agent, "compared", |report| report.verified.as_ref().is_some_and(|v| v.token == token && v.done)).await;
        assert_eq!(seen.verified.unwrap().drift_rows(), rows, "{leaves}");
    }

    // WHEN legacy owns again, THEN the row is shown as before, goes nowhere, and is in nobody's way
    world.order(&agent, |orders, _| (orders.leaves_aside, orders.verify) = (false, None));
    world.switch(&agent, Side::Legacy).await;
    legacy.exec("UPDATE accounts_user SET email = 'later' WHERE id = 1").await;
    world.settle(&agent, Side::Legacy).await;
    assert_eq!(report(&agent).quarantined, 1);
    let told = agent.quarantine().rows;
    assert!(matches!(told.as_slice(), [row] if (row.from, row.key.as_str()) == (Side::Modern, "31")), "{told:#?}");
    assert_eq!(told[0].wanted.as_ref().map(|row| row["username"].clone()), Some("refused".into()));
    assert_eq!(legacy.number("SELECT count(*) FROM accounts_user WHERE id = 31").await, 0);
    assert_eq!(modern.number("SELECT count(*) FROM users WHERE legacy_id = 31").await, 1);

    // WHEN somebody has written to legacy what is to be kept of it, and says that legacy's rows are right, THEN it is over
    legacy.exec("INSERT INTO accounts_user (id, username, email, age) VALUES (31, 'refused', 'e', 31)").await;
    let token = world.order(&agent, |orders, token| orders.repair = Some(token));
    until(&agent, "repaired", |report| report.repaired.as_ref().is_some_and(|known| known.token == token && known.done)).await;
    assert_eq!((report(&agent).quarantined, agent.quarantine().rows.len()), (0, 0));
    world.must_be_equal(&agent).await;
    assert_eq!(modern.number("SELECT age FROM users WHERE legacy_id = 31").await, 31);
    agent.stop().await;
}

#[tokio::test]
async fn a_way_back_leaves_rows_set_aside_in_postgresql() {
    a_way_back_leaves_rows_set_aside([Engine::Postgres, Engine::Postgres]).await;
}

#[tokio::test]
async fn a_way_back_leaves_rows_set_aside_in_sqlite() {
    a_way_back_leaves_rows_set_aside([Engine::Sqlite, Engine::Postgres]).await;
}

/// Otherwise a service that hangs in a transaction, or whose machine is gone, could not be left before somebody ends its sessions.
#[tokio::test]
async fn a_session_that_keeps_the_way_back_waiting_is_ended_and_nobody_elses() {
    let mut world = World::new([Engine::Postgres, Engine::Postgres]).await;
    let (mut legacy, server, name) = (world.app(Side::Legacy).await, Server::shared(), world.databases[1].clone());
    fill(&mut legacy).await;
    let mut root = server.root(&name).await;
    let role = "CREATE ROLE service LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO service; CREATE TABLE other (id int); ALTER TABLE other OWNER TO service";
    server::exec(&mut root, &role.replace("LOGIN", &format!("LOGIN PASSWORD '{}'", server::PASSWORD.replace('\'', "''")))).await;
    let agent = world.agent().await;
    streaming(&agent).await;
    world.switch(&agent, Side::Modern).await;

    // GIVEN one who writes elsewhere, one who reads, and one who has written to a table of the capability and does not end
    let (mut elsewhere, mut reader, mut hung) =
        (server.connect("service", &name).await, server.connect("service", &name).await, server.connect("service", &name).await);
    server::exec(&mut elsewhere, "BEGIN; INSERT INTO other VALUES (1)").await;
    server::exec(&mut reader, "BEGIN; SELECT count(*) FROM users").await;
    server::exec(&mut hung, "SET application_name = 'users-service'").await;
    let pid = server::number(&mut hung, "SELECT pg_backend_pid()").await;
    server::exec(&mut hung, "BEGIN; UPDATE users SET email = 'secret' WHERE legacy_id = 1").await;
    // THEN an agent that may not end it says what lets it
    let seen = until(&agent, "named", |report| report.busy.is_some()).await;
    let said = seen.busy.unwrap();
    assert!(said.contains(&format!("pid {pid}, ")) && said.ends_with("GRANT pg_signal_backend TO \"agent\";"), "{said}");
    assert!(!seen.busy_ends);
    let (_, grant) = said.rsplit_once(": ").unwrap();
    server::exec(&mut root, grant).await;
    let seen = until(&agent, "it may", |report| report.busy_ends).await;
    assert!(seen.busy.is_some_and(|said| said.ends_with("a revert ends it by itself")), "the one who may says so");

    // AND without an order, nobody is ended: the fence gives up
    world.order(&agent, |orders, _| orders.fenced.modern = true);
    until(&agent, "it gives up", |report| report.trouble.is_some()).await;
    world.order(&agent, |orders, _| orders.fenced.modern = false);
    until(&agent, "open again", |report| report.trouble.is_none() && !report.fenced.modern && report.reverse.live).await;
    assert_eq!(server::number(&mut hung, "SELECT count(*) FROM users WHERE email = 'secret'").await, 1);

    // WHEN the way back is ordered to, THEN it is ended and told, as far as may be seen, and the fence goes up
    server::exec(&mut root, "GRANT pg_read_all_stats TO agent").await;
    world.order(&agent, |orders, _| (orders.fenced.modern, orders.end_sessions) = (true, true));
    let seen = until(&agent, "fenced", |report| report.fenced.modern).await;
    let [who] = seen.ended.as_slice() else { panic!("{:?}", seen.ended) };
    assert!(
        who.starts_with(&format!("pid {pid}, role `service`, application `users-service`, from 127.0.0.1, idle in transaction")),
        "{who}"
    );
    assert!(
        who.contains("last statement `SELECT (SELECT count(*) FROM users WHERE email = …`, open for ") && !who.contains("secret"),
        "{who}"
    );
    assert!(server::attempt(&mut hung, "COMMIT").await.is_err(), "nobody hears that it is done");
    // AND what the others did stays theirs
    server::exec(&mut elsewhere, "COMMIT").await;
    server::exec(&mut reader, "COMMIT").await;
    world.must_be_equal(&agent).await;
    assert_eq!(server::number(&mut root, "SELECT count(*) FROM users WHERE email = 'secret'").await, 0);

    // AND one that is ordered to end somebody, of legacy's, does not
    world.switch(&agent, Side::Legacy).await;
    legacy.exec("BEGIN").await;
    legacy.exec("UPDATE accounts_user SET email = 'kept' WHERE id = 1").await;
    world.order(&agent, |orders, _| (orders.fenced.legacy, orders.end_sessions) = (true, true));
    until(&agent, "it gives up", |report| report.trouble.is_some()).await;
    legacy.exec("COMMIT").await;
    server::exec(&mut root, "REVOKE pg_signal_backend, pg_read_all_stats FROM agent").await;
    agent.stop().await;
}

#[tokio::test]
async fn a_server_that_was_killed_goes_on_where_it_was() {
    let server = Server::start(&[]);
    let name = server.database().await;
    let mut world = World::new([Engine::Sqlite, Engine::Sqlite]).await;
    let mut legacy = server.app(&name).await;
    server::exec(&mut legacy, LEGACY_POSTGRES).await;
    server::exec(&mut legacy, "INSERT INTO accounts_user (username, email) SELECT 'u' || i, 'e' FROM generate_series(1, 300) i").await;
    let resolved = Resolved {
        legacy: "monolith".into(),
        legacy_url: server.url(&name),
        modern: "users-service".into(),
        modern_url: world.url(Side::Modern),
        tables: tables(),
    };
    let config = Config::new("test", BTreeMap::new());
    let agent = Agent::start_resolved(config, BTreeMap::from([("users".to_owned(), resolved)])).await.unwrap();
    agent.order(world.orders.clone());
    streaming(&agent).await;
    for round in 0..2 {
        server::exec(
            &mut legacy,
            &format!("UPDATE accounts_user SET email = 'r{round}'; INSERT INTO accounts_user (username, email) VALUES ('n{round}', 'e')"),
        )
        .await;
        server.crash_and_restart();
        legacy = server.app(&name).await;
        server::exec(&mut legacy, "DELETE FROM accounts_user WHERE id = (SELECT min(id) FROM accounts_user)").await;
        until(&agent, "live again", |report| report.forward.live && report.trouble.is_none()).await;
    }
    world.settle(&agent, Side::Legacy).await;
    world.must_be_equal(&agent).await;
    agent.stop().await;
}

/// The log brings a commit that waits for a standby; the tables do not show it yet, nor is it acknowledged.
#[tokio::test]
async fn a_batch_that_a_lock_holds_grows_older() {
    let world = World::new([Engine::Postgres, Engine::Postgres]).await;
    let (mut legacy, mut modern) = (world.app(Side::Legacy).await, world.app(Side::Modern).await);
    fill(&mut legacy).await;
    let agent = world.agent().await;
    streaming(&agent).await;
    world.settle(&agent, Side::Legacy).await;
    modern.exec("BEGIN").await;
    modern.exec("SELECT 1 FROM users WHERE legacy_id = 5 FOR UPDATE").await;
    legacy.exec("UPDATE accounts_user SET age = 77 WHERE id = 5").await;
    until(&agent, "the change is shown as old", |report| report.forward.lag_seconds > 2.0).await;
    modern.exec("ROLLBACK").await;
    world.settle(&agent, Side::Legacy).await;
    until(&agent, "nothing is old", |report| report.forward.lag_seconds == 0.0).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_commit_that_nobody_sees_yet_is_waited_for() {
    let server = Server::start(&["synchronous_commit=local"]);
    let name = server.database().await;
    let mut world = World::new([Engine::Sqlite, Engine::Sqlite]).await;
    let mut legacy = world.app(Side::Legacy).await;
    fill(&mut legacy).await;
    let (mut waiting, mut other) = (server.app(&name).await, server.app(&name).await);
    server::exec(&mut waiting, MODERN_POSTGRES).await;
    world.theirs = Some([world.url(Side::Legacy), server.url(&name)]);
    let agent = world.agent().await;
    streaming(&agent).await;
    world.switch(&agent, Side::Modern).await;

    let mut root = server.root(&name).await;
    server::exec(&mut root, "ALTER SYSTEM SET synchronous_standby_names = 'nowhere'").await;
    server::exec(&mut root, "SELECT pg_reload_conf()").await;
    // Takes effect some time later: when a commit stalls.
    let mut scout = server.root(&name).await;
    server::exec(&mut scout, "SET synchronous_commit = on").await;
    let commit = "SELECT pg_logical_emit_message(true, 'scout', '')";
    while tokio::time::timeout(Duration::from_millis(200), server::exec(&mut scout, commit)).await.is_ok() {}
    drop(scout);
    server::exec(&mut waiting, "SET synchronous_commit = on").await;
    let row = |id: i64| {
        let (user, note) = (uuid_of("users", "accounts_user", id), uuid_of("users", "accounts_note", id));
        format!(
            "BEGIN; INSERT INTO users (id, legacy_id, username, email) VALUES ('{user}', {id}, 'new{id}', 'e'); \
             INSERT INTO notes (id, legacy_id, user_id, text) VALUES ('{note}', {id}, '{user}', 'theirs'); COMMIT"
        )
    };
    let pid = server::number(&mut waiting, "SELECT pg_backend_pid()").await;
    let committing = tokio::spawn(async move {
        server::exec(&mut waiting, &row(98)).await;
        waiting
    });
    // The agent's own connections may wait as well.
    let waits = format!("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND pid = {pid}");
    while server::number(&mut root, &waits).await == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let asked = ficus_rules::Timestamp::from(std::time::SystemTime::now());
    server::exec(&mut other, &row(99)).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let seen = report(&agent);
    assert!(seen.quarantined == 0 && seen.trouble.is_none() && seen.reverse.live, "{seen:#?}");
    assert!(seen.reverse.through <= asked, "it is not said to be there: {seen:#?}");
    assert_eq!(legacy.number("SELECT count(*) FROM accounts_user WHERE username LIKE 'new%'").await, 0);

    server::exec(&mut root, "ALTER SYSTEM RESET synchronous_standby_names").await;
    server::exec(&mut root, "SELECT pg_reload_conf()").await;
    committing.await.unwrap();
    world.settle(&agent, Side::Modern).await;
    let notes = "SELECT count(*) FROM accounts_note n JOIN accounts_user u ON u.id = n.user_id WHERE u.username IN ('new98', 'new99')";
    assert_eq!(legacy.number(notes).await, 2);
    world.must_be_equal(&agent).await;
    agent.stop().await;
}

/// Every place at which an agent may die while it works. The second time where the first is too early to be interesting.
const POINTS: [&str; 10] = [
    "backfill_batch",
    "backfill_complete",
    "before_apply",
    "before_apply:3",
    "after_apply_before_commit",
    "after_apply_before_commit:4",
    "after_commit_before_confirm:2",
    "fence",
    "mark_end",
    "sequences",
];

#[tokio::test]
#[ignore = "the agent that others kill"]
async fn the_agent_that_is_killed() {
    let url = |name: &str| std::env::var(name).ok();
    let Some(urls) = url("FICUS_TEST_LEGACY").zip(url("FICUS_TEST_MODERN")) else { return };
    let mut world = World::new([Engine::Sqlite, Engine::Sqlite]).await;
    world.theirs = Some([urls.0, urls.1]);
    let agent = world.agent().await;
    streaming(&agent).await;
    // Some batches, however slow the machine is: a point may be one of a later batch.
    let mut seen = BTreeSet::new();
    until(&agent, "several batches", |report| {
        seen.insert(report.forward.rows);
        seen.len() > 6
    })
    .await;
    world.switch(&agent, Side::Modern).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
}

/// An agent between the databases of a world that dies at a point.
fn one_that_dies_at(point: &str, world: &World) -> tokio::process::Child {
    let child = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "the_agent_that_is_killed"])
        .env("FICUS_CRASH_AT", point)
        .env("FICUS_TEST_LEGACY", world.url(Side::Legacy))
        .env("FICUS_TEST_MODERN", world.url(Side::Modern))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn();
    child.unwrap()
}

async fn killed_at(point: &str, engines: [Engine; 2]) {
    let mut world = World::new(engines).await;
    let (mut random, mut app, mut other) = (Random(77), world.app(Side::Legacy).await, world.app(Side::Legacy).await);
    fill(&mut app).await;
    let mut child = one_that_dies_at(point, &world);
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    let ended = loop {
        if let Some(ended) = child.try_wait().unwrap() {
            break ended;
        }
        assert!(std::time::Instant::now() < deadline, "the agent does not come to {point}");
        let id = 1 + random.below(30);
        // Refused once the fence is closed.
        let _ = app.attempt(&format!("UPDATE accounts_user SET age = {id}, email = 'e{}' WHERE id = {id}", random.next())).await;
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended), Some(6), "it died at {point}, and not of something else");
    let agent = world.agent().await;
    streaming(&agent).await;
    for _ in 0..40 {
        step(&mut app, Side::Legacy, &mut random, &mut other).await;
    }
    world.settle(&agent, Side::Legacy).await;
    world.must_be_equal(&agent).await;
    world.switch(&agent, Side::Modern).await;
    world.must_be_equal(&agent).await;
    assert_eq!(report(&agent).quarantined, 0);
    agent.stop().await;
}

#[tokio::test]
async fn an_agent_may_die_anywhere() {
    for point in POINTS {
        killed_at(point, [Engine::Postgres, Engine::Superuser]).await;
    }
}

/// Many users, of every kind of text that there is, in several pieces of the copy.
const ODD: &str = "INSERT INTO accounts_user (id, username, email, age, bio, active, joined, score, born, token)
  SELECT i, 'user' || i, E'a\\tb\\nc\\rd\\\\e\\bf\\fg\\v \\\\N \\\\. ☃ ' || i, nullif(i % 90, 0), CASE i % 500 WHEN 0 THEN repeat('long ☃', 20000) WHEN 1 THEN '' WHEN 2 THEN E'\\\\N' WHEN 3 THEN NULL ELSE 'b' END,
    i % 2 = 0, CASE i % 7 WHEN 0 THEN 'infinity' WHEN 1 THEN '0044-03-15 12:00:00+00 BC' ELSE timestamptz '2026-01-02 03:04:05.000006+02' + i * interval '1 second' END,
    i % 1000 + 0.50, CASE i % 5 WHEN 0 THEN '-infinity' WHEN 1 THEN NULL ELSE date '2000-02-01' + i END, md5(i::text)::uuid
  FROM generate_series(1, 3000) i";

#[tokio::test]
async fn a_copy_of_odd_values_survives_a_death_and_a_row_that_is_refused() {
    let mut world = World::new([Engine::Postgres, Engine::Postgres]).await;
    let (mut legacy, mut modern) = (world.app(Side::Legacy).await, world.app(Side::Modern).await);
    legacy.exec(ODD).await;
    legacy.exec("INSERT INTO accounts_note (id, user_id, text) SELECT i, i, E'note\\t' || i FROM generate_series(1, 3000, 7) i").await;
    legacy.exec("UPDATE accounts_user SET email = 'refused' WHERE id IN (5, 2700)").await;
    modern.exec("ALTER TABLE users ADD CHECK (email <> 'refused')").await;
    for point in ["backfill_batch:2", "backfill_batch"] {
        let ended = tokio::time::timeout(Duration::from_secs(60), one_that_dies_at(point, &world).wait()).await.unwrap().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended), Some(6), "it died at {point}, and not of something else");
    }
    let there = modern.number("SELECT count(*) FROM users").await;
    assert!((1..2998).contains(&there), "it died on the way: {there}");
    // Behind what has been copied, and before it: the one is in the rest of the copy, the other in the log.
    legacy.exec("UPDATE accounts_user SET email = E'changed\\tsince' WHERE id IN (1, 2999)").await;
    let agent = world.agent().await;
    streaming(&agent).await;
    // Nothing passes for settled while rows are set aside.
    let changed = "SELECT count(*) FROM users WHERE email = E'changed\\tsince'";
    for _ in 0..600 {
        if modern.number(changed).await == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!((modern.number(changed).await, report(&agent).quarantined), (2, 2));
    assert_eq!(modern.number("SELECT count(*) FROM users").await, 2998);
    let reason = modern.text("SELECT string_agg(DISTINCT reason, ' ') FROM _ficus.quarantine").await.unwrap();
    assert!(reason.contains("users_email_check"), "{reason}");
    legacy.exec("UPDATE accounts_user SET email = 'good' WHERE email = 'refused'").await;
    until(&agent, "healed", |report| report.quarantined == 0).await;
    world.settle(&agent, Side::Legacy).await;
    let digest = |table: &str, key: &str| {
        format!(
            "SELECT md5(string_agg(row({key}, username, email, age, bio, active, joined, score, born, token)::text, ',' ORDER BY {key})) FROM {table}"
        )
    };
    assert_eq!(modern.text(&digest("users", "legacy_id")).await, legacy.text(&digest("accounts_user", "id")).await);
    let id = uuid_of("users", "accounts_user", 2999);
    assert_eq!(modern.number(&format!("SELECT count(*) FROM users WHERE legacy_id = 2999 AND id = '{id}'")).await, 1);
    world.must_be_equal(&agent).await;
    agent.stop().await;
}

/// What a large transaction brings, in bytes, and what the agent may need for it.
const BROUGHT: u64 = 160 << 20;
const NEEDED: u64 = 110 << 20;

#[tokio::test]
#[ignore = "the agent whose memory is looked at"]
async fn the_agent_that_is_looked_at() {
    let url = |name: &str| std::env::var(name).ok();
    let Some(urls) = url("FICUS_TEST_LEGACY").zip(url("FICUS_TEST_MODERN")) else { return };
    let mut world = World::new([Engine::Sqlite, Engine::Sqlite]).await;
    world.theirs = Some([urls.0, urls.1]);
    world.batch_rows = 2_000;
    let agent = world.agent().await;
    streaming(&agent).await;
    // Until the one who looks has seen enough, or is gone.
    tokio::task::spawn_blocking(|| std::io::read_to_string(std::io::stdin())).await.unwrap().unwrap();
    agent.stop().await;
}

#[tokio::test]
async fn a_large_transaction_needs_no_memory_of_its_size() {
    // GIVEN an agent in a process of its own
    let mut world = World::new([Engine::Postgres, Engine::Superuser]).await;
    let (mut app, mut copy) = (world.app(Side::Legacy).await, world.app(Side::Modern).await);
    fill(&mut app).await;
    let child = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "the_agent_that_is_looked_at"])
        .env("FICUS_TEST_LEGACY", world.url(Side::Legacy))
        .env("FICUS_TEST_MODERN", world.url(Side::Modern))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let mut child = child.unwrap();
    let most = |child: &tokio::process::Child| {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id().unwrap())).unwrap();
        let kilobytes: u64 = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok()).unwrap();
        kilobytes << 10
    };
    let arrived = async |copy: &mut App, wanted: &str| {
        let deadline = std::time::Instant::now() + Duration::from_secs(240);
        while copy.number(&format!("SELECT count(*) FROM users WHERE {wanted}")).await == 0 {
            assert!(std::time::Instant::now() < deadline, "not there: {wanted}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    arrived(&mut copy, "legacy_id = 30").await;
    app.exec("UPDATE accounts_user SET email = 'streamed' WHERE id = 30").await;
    arrived(&mut copy, "email = 'streamed'").await;
    let before = most(&child);
    // WHEN one transaction brings far more than it may need
    let rows = BROUGHT / 2_048;
    app.exec(&format!(
        "BEGIN; INSERT INTO accounts_user (id, username, email, bio) SELECT 1000 + i, 'many' || i, 'e', repeat(md5(i::text), 64) FROM generate_series(1, {rows}) i; \
         UPDATE accounts_user SET email = 'last' WHERE id = 1001; COMMIT"
    ))
    .await;
    arrived(&mut copy, "email = 'last'").await;
    // THEN all of it has arrived, and its memory has not grown with it
    let grown = most(&child) - before;
    assert!(grown < NEEDED, "{} MB more", grown >> 20);
    let sum =
        |table: &str, key: &str| format!("SELECT count(*) || ' ' || sum(hashtext({key} || username || email || bio)::int8) FROM {table}");
    assert_eq!(copy.text(&sum("users", "legacy_id")).await, app.text(&sum("accounts_user", "id")).await);
    drop(child.stdin.take());
    assert!(child.wait().await.unwrap().success());
    // An agent after it finds nothing to do.
    let agent = world.agent().await;
    streaming(&agent).await;
    world.must_be_equal(&agent).await;
    agent.stop().await;
}

/// What is on the side that nobody could write to was written by the agent: nothing is lost with its log.
#[tokio::test]
async fn a_lost_slot_of_the_fenced_side_is_made_up_for() {
    let mut world = World::new([Engine::Superuser, Engine::Superuser]).await;
    let (mut legacy, mut modern) = (world.app(Side::Legacy).await, world.app(Side::Modern).await);
    fill(&mut legacy).await;
    for owner in Side::BOTH {
        let agent = world.agent().await;
        streaming(&agent).await;
        match owner {
            Side::Legacy => drop(world.order(&agent, |orders, _| orders.fenced.modern = true)),
            Side::Modern => world.switch(&agent, Side::Modern).await,
        }
        until(&agent, "fenced", |report| report.fenced.of(owner.other())).await;
        world.settle(&agent, owner).await;
        agent.stop().await;
        let (owns, fenced) = if owner == Side::Legacy { (&mut legacy, &mut modern) } else { (&mut modern, &mut legacy) };
        lose_slot(fenced).await;
        let users = if owner == Side::Legacy { "accounts_user" } else { "users" };
        owns.exec(&format!("UPDATE {users} SET email = 'while it was lost' WHERE username LIKE '%1'")).await;
        // Nor is it a reason to compare again and again.
        for _ in 0..2 {
            let agent = world.agent().await;
            streaming(&agent).await;
            until(&agent, "compared", |report| report.trouble.is_none() && report.forward.live && report.reverse.live).await;
            world.settle(&agent, owner).await;
            world.must_be_equal(&agent).await;
            agent.stop().await;
        }
    }
}

#[tokio::test]
async fn a_lost_slot_of_a_side_that_others_could_write_to_is_refused_until_somebody_decides() {
    let mut world = World::new([Engine::Superuser, Engine::Superuser]).await;
    let (mut legacy, mut modern) = (world.app(Side::Legacy).await, world.app(Side::Modern).await);
    fill(&mut legacy).await;
    let agent = world.agent().await;
    streaming(&agent).await;
    world.settle(&agent, Side::Legacy).await;
    agent.stop().await;
    lose_slot(&mut modern).await;
    modern.exec("UPDATE users SET email = 'unseen' WHERE legacy_id = 1").await;
    // A repair that was ordered before anybody knew of this says nothing about it.
    world.orders.capabilities.get_mut("users").unwrap().repair = Some(1);
    let agent = world.agent().await;
    until(&agent, "refused", |report| report.trouble.as_ref().is_some_and(|trouble| trouble.contains("not fenced"))).await;
    assert_eq!(modern.number("SELECT count(*) FROM users WHERE email = 'unseen'").await, 1);

    // Neither a fence nor another agent makes it seen.
    world.order(&agent, |orders, _| orders.fenced.modern = true);
    until(&agent, "fenced", |report| report.fenced.modern).await;
    agent.stop().await;
    let agent = world.agent().await;
    until(&agent, "refused", |report| report.trouble.as_ref().is_some_and(|trouble| trouble.contains("not fenced"))).await;
    assert_eq!(modern.number("SELECT count(*) FROM users WHERE email = 'unseen'").await, 1);

    // Somebody does who says so now.
    world.order(&agent, |orders, token| orders.repair = Some(token + 1));
    until(&agent, "repaired", |report| report.trouble.is_none() && report.repaired.as_ref().is_some_and(|repaired| repaired.done)).await;
    assert_eq!(modern.number("SELECT count(*) FROM users WHERE email = 'unseen'").await, 0);
    agent.stop().await;
    world.orders.capabilities.get_mut("users").unwrap().repair = None;
    let agent = world.agent().await;
    until(&agent, "streaming", |report| report.trouble.is_none() && report.forward.live && report.reverse.live).await;
    world.must_be_equal(&agent).await;
    agent.stop().await;
}

/// Drops the slot of an agent that has ended.
async fn lose_slot(app: &mut App) {
    // The server may take a moment to see that the agent is gone.
    let free = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database() AND NOT active";
    let deadline = std::time::Instant::now() + Duration::from_secs(120);
    while app.number(free).await != 1 {
        assert!(std::time::Instant::now() < deadline, "the slot is never let go");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let slot = "SELECT count(pg_drop_replication_slot(slot_name)) FROM pg_replication_slots WHERE database = current_database()";
    assert_eq!(app.number(slot).await, 1);
}

#[tokio::test]
async fn a_side_that_cannot_be_reached_keeps_nothing_on_the_other() {
    let mut world = World::new([Engine::Postgres, Engine::Postgres]).await;
    let mut modern = world.app(Side::Modern).await;
    let agent = world.agent().await;
    streaming(&agent).await;
    agent.stop().await;
    world.orders.capabilities.get_mut("users").unwrap().sync = SyncOrder::Remove;
    world.theirs = Some(["postgres://agent:none@127.0.0.1:1/gone?sslmode=disable".to_owned(), world.url(Side::Modern)]);
    let agent = world.agent().await;
    let seen = until(&agent, "trouble", |report| report.trouble.is_some()).await;
    assert!(seen.trouble.as_ref().is_some_and(|why| why.contains("monolith (legacy)") && why.contains("stays")), "{:?}", seen.trouble);
    assert!(!seen.removed);
    let left = "(SELECT count(*) FROM pg_replication_slots WHERE database = current_database()) + (SELECT count(*) FROM pg_publication) \
        + (SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal) + (SELECT count(*) FROM pg_namespace WHERE nspname = '_ficus')";
    assert_eq!(modern.number(left).await, 0);
    agent.stop().await;
}

#[tokio::test]
async fn a_statement_that_misses_a_table_for_ever_is_said() {
    let mut world = World::new([Engine::Postgres, Engine::Postgres]).await;
    let (mut legacy, mut modern) = (world.app(Side::Legacy).await, world.app(Side::Modern).await);
    fill(&mut legacy).await;
    let agent = world.agent().await;
    streaming(&agent).await;
    modern
        .exec(
            "CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO gone VALUES (1); RETURN NEW; END $$; \
             CREATE TRIGGER audit AFTER UPDATE ON users FOR EACH ROW EXECUTE FUNCTION audit()",
        )
        .await;
    legacy.exec("UPDATE accounts_user SET email = 'audited' WHERE id = 1").await;
    until(&agent, "said", |report| report.trouble.as_ref().is_some_and(|why| why.contains("again and again"))).await;
    modern.exec("CREATE TABLE gone (id int)").await;
    until(&agent, "over", |report| report.trouble.is_none() && report.forward.live).await;
    world.settle(&agent, Side::Legacy).await;
    world.must_be_equal(&agent).await;
    agent.stop().await;
}

/// Two that claim at the same moment may each get one side: whoever has modern's turn takes the other one as well.
#[tokio::test]
async fn of_two_agents_with_a_side_each_one_works() {
    let mut world = World::new([Engine::Postgres, Engine::Postgres]).await;
    let (mut legacy, mut modern) = (world.app(Side::Legacy).await, world.app(Side::Modern).await);
    fill(&mut legacy).await;
    let agent = world.agent().await;
    streaming(&agent).await;
    // WHEN another one, whose turn at modern is over, takes legacy's
    legacy.exec("UPDATE _ficus.checkpoint SET epoch = epoch + 1").await;
    modern.exec("UPDATE users SET email = 'by modern' WHERE legacy_id = 1").await;
    // THEN this one takes it back
    let deadline = std::time::Instant::now() + Duration::from_secs(120);
    while legacy.number("SELECT count(*) FROM accounts_user WHERE email = 'by modern'").await == 0 {
        assert!(std::time::Instant::now() < deadline, "nobody works: {:#?}", report(&agent));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    until(&agent, "live", |report| report.trouble.is_none() && report.forward.live).await;
    world.settle(&agent, Side::Legacy).await;
    world.must_be_equal(&agent).await;
    // But modern's is not taken back from anybody.
    modern.exec("UPDATE _ficus.checkpoint SET epoch = epoch + 1").await;
    legacy.exec("UPDATE accounts_user SET email = 'by legacy' WHERE id = 1").await;
    until(&agent, "stopped", |report| report.trouble.as_ref().is_some_and(|why| why.contains("another agent"))).await;
    let turn = "SELECT epoch FROM _ficus.checkpoint";
    let (of_legacy, of_modern) = (legacy.number(turn).await, modern.number(turn).await);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((legacy.number(turn).await, modern.number(turn).await), (of_legacy, of_modern));
    agent.stop().await;
}

#[tokio::test]
async fn orders_for_one_capability_do_not_wait_for_the_end_of_another() {
    let server = Server::start(&["fsync=off"]);
    let name = server.database().await;
    let mut world = World::new([Engine::Sqlite, Engine::Sqlite]).await;
    let (others, mut holder, mut look) = (World::new([Engine::Sqlite; 2]).await, server.app(&name).await, server.app(&name).await);
    server::exec(&mut holder, LEGACY_POSTGRES).await;
    let resolved = |legacy_url, modern_url| Resolved {
        legacy: "monolith".into(),
        legacy_url,
        modern: "users-service".into(),
        modern_url,
        tables: tables(),
    };
    let both = BTreeMap::from([
        ("slow".to_owned(), resolved(server.url(&name), others.url(Side::Modern))),
        ("users".to_owned(), resolved(world.url(Side::Legacy), world.url(Side::Modern))),
    ]);
    let agent = Agent::start_resolved(Config::new("test", BTreeMap::new()), both).await.unwrap();
    agent.order(world.orders.clone());
    streaming(&agent).await;
    // GIVEN a capability that waits for its slot
    server::exec(&mut holder, "BEGIN; SELECT txid_current()").await;
    world.orders.capabilities.insert("slow".to_owned(), world.orders.capabilities["users"].clone());
    world.order(&agent, |_, _| {});
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT%pg_create_logical_replication_slot%' AND pid <> pg_backend_pid()";
    let deadline = std::time::Instant::now() + Duration::from_secs(120);
    while server::number(&mut look, waits).await == 0 {
        assert!(std::time::Instant::now() < deadline, "no slot is made");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // WHEN it is ended, THEN the other one's fence does not wait for that
    world.orders.capabilities.remove("slow");
    world.order(&agent, |_, _| {});
    world.order(&agent, |orders, _| orders.fenced.legacy = true);
    until(&agent, "fenced", |report| report.fenced.legacy).await;
    assert_eq!(server::number(&mut look, waits).await, 1, "the fence waited for it");
    server::exec(&mut holder, "ROLLBACK").await;
    agent.stop().await;
}

/// Notes of people, each table in a capability of its own; modern has the foreign key, too, and the role may not switch it off.
async fn two_with_a_key_between_them() -> (Agent, Orders, [App; 2]) {
    let databases = [Server::shared().database().await, Server::shared().database().await];
    let [mut legacy, mut modern] =
        [Server::shared().app(&databases[0]).await, Server::shared().app(&databases[1]).await].map(App::Postgres);
    legacy.exec("CREATE TABLE person (id int PRIMARY KEY); CREATE TABLE note (id int PRIMARY KEY, person_id int NOT NULL REFERENCES person); INSERT INTO person VALUES (1); INSERT INTO note VALUES (1, 1)").await;
    modern.exec("CREATE TABLE people (legacy_id int PRIMARY KEY); CREATE TABLE notes (legacy_id int PRIMARY KEY, person_id int NOT NULL REFERENCES people)").await;
    let resolved = |legacy: &str, modern: &str| Resolved {
        legacy: "monolith".into(),
        legacy_url: Server::shared().url(&databases[0]),
        modern: "service".into(),
        modern_url: Server::shared().url(&databases[1]),
        tables: vec![TableMap {
            legacy: legacy.into(),
            modern: modern.into(),
            sequence: None,
            columns: Vec::new(),
            keep_legacy: Vec::new(),
            keep_modern: Vec::new(),
            ..tables().remove(0)
        }],
    };
    let both = [("people".to_owned(), resolved("person", "people")), ("notes".to_owned(), resolved("note", "notes"))];
    let mut config = Config::new("test", BTreeMap::new());
    config.poll = Duration::from_millis(5);
    let agent = Agent::start_resolved(config, BTreeMap::from(both)).await.unwrap();
    let mut orders = World::new([Engine::Sqlite, Engine::Sqlite]).await.orders;
    let notes = orders.capabilities.remove("users").unwrap();
    orders.capabilities.insert("notes".into(), notes);
    agent.order(orders.clone());
    (agent, orders, [legacy, modern])
}

async fn until_notes(agent: &Agent, what: &str, holds: impl Fn(&ficus_rules::wire::CapabilityReport) -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        let report = agent.report().capabilities.get("notes").cloned().unwrap_or_default();
        if holds(&report) {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{what}: {report:#?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_row_that_comes_before_its_parent_of_another_capability_waits_for_it() {
    let (agent, mut orders, [mut legacy, mut modern]) = two_with_a_key_between_them().await;
    until_notes(&agent, "the key is told", |report| report.refers.as_ref().is_some_and(|keys| keys[0].columns == ["person_id"])).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(modern.number("SELECT count(*) FROM notes").await, 0);
    // WHEN the other capability begins, THEN the copy goes on, and nothing was set aside
    orders.generation += 1;
    orders.capabilities.insert("people".into(), orders.capabilities["notes"].clone());
    agent.order(orders.clone());
    until_notes(&agent, "copied", |report| report.backfill.complete && report.forward.live).await;
    assert_eq!(modern.number("SELECT count(*) FROM notes").await, 1);
    // WHEN both are written to at once, one transaction after the other, THEN neither stream has to be the faster one
    for id in 2..200 {
        legacy.exec(&format!("BEGIN; INSERT INTO person VALUES ({id}); INSERT INTO note VALUES ({id}, {id}); COMMIT")).await;
        if id % 3 == 0 {
            legacy.exec(&format!("BEGIN; DELETE FROM note WHERE id = {0}; DELETE FROM person WHERE id = {0}; COMMIT", id - 1)).await;
        }
    }
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    let left = legacy.number("SELECT count(*) FROM note").await;
    while (modern.number("SELECT count(*) FROM notes").await, modern.number("SELECT count(*) FROM people").await) != (left, left) {
        assert!(std::time::Instant::now() < deadline, "they are not equal; {:#?}", agent.report().capabilities);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(agent.report().capabilities.values().all(|report| report.quarantined == 0), "{:#?}", agent.report().capabilities);
    agent.stop().await;
}

#[tokio::test]
async fn a_row_whose_parent_nobody_brings_is_set_aside_after_a_while() {
    let (agent, _, [_, mut modern]) = two_with_a_key_between_them().await;
    // Where none of them is there yet, the copy stands still and says so.
    let waits = |trouble: &String| trouble.contains("refers to people, which is empty");
    until_notes(&agent, "stands still", |report| report.trouble.as_ref().is_some_and(waits) && report.quarantined == 0).await;
    modern.exec("INSERT INTO people VALUES (99)").await;
    let begun = std::time::Instant::now();
    until_notes(&agent, "set aside", |report| report.quarantined == 1).await;
    assert!(begun.elapsed() > Duration::from_secs(4), "it waited for {:?}", begun.elapsed());
    let reason = modern.text("SELECT reason FROM _ficus.quarantine").await.unwrap();
    assert!(reason.contains("notes_person_id_fkey"), "{reason}");
    agent.stop().await;
}
