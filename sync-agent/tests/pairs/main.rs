//! All nine pairs of engines: random work on both sides at once against a plain book of what was committed, and every
//! type of each engine there and back.
//!
//! `FICUS_SEED` runs another work, `FICUS_PAIRS_TIMES` so many of them, each with a greater transaction.
#![allow(clippy::unwrap_used)]

#[path = "../support/buses.rs"]
mod buses;
#[allow(dead_code, unreachable_pub)]
#[path = "../../../tests/src/cable.rs"]
mod cable;
#[path = "../support/mariadb.rs"]
mod mariadb;
#[path = "../support/own.rs"]
mod own;
#[path = "../support/postgres.rs"]
mod postgres;

mod answers;
mod app;
mod away;
mod borders;
mod changes;
mod graves;
mod late;
mod ledger;
mod links;
mod renamed;
mod resume;
mod secure;
mod strays;
mod told;
mod types;
mod work;
mod world;

use ficus_rules::Side;
use ficus_rules::mapping::{ColumnMap, ColumnSource, TableMap, ZeroDates};
use ficus_rules::wire::VerifyScope;

use app::Engine;
use ledger::Ledger;
use work::Worker;
use world::{World, report, streaming, until};

fn tables() -> Vec<TableMap> {
    let map = |legacy: &str, modern: &str, uuids: &[(&str, &str)]| TableMap {
        events: Vec::new(),
        source: format!("pairs.toml: {legacy}"),
        legacy: legacy.into(),
        modern: modern.into(),
        legacy_key: "id".into(),
        modern_key: "legacy_id".into(),
        sequence: None,
        columns: uuids
            .iter()
            .map(|(column, of)| ColumnMap {
                modern: (*column).into(),
                from: ColumnSource::Uuid5 { column: (*column).into(), of: (*of).into() },
            })
            .collect(),
        only: false,
        keep_legacy: Vec::new(),
        keep_modern: vec!["nickname".into()],
        zero_dates: ZeroDates::default(),
        rows: ficus_rules::mapping::Rows::default(),
    };
    vec![map("writer", "writers", &[("id", "writer")]), map("book", "books", &[("id", "book"), ("writer_id", "writer")])]
}

fn schema(engine: Engine, side: Side) -> Vec<String> {
    let (text, uuid) = match engine {
        Engine::MariaDb => ("longtext", "uuid"),
        Engine::Postgres => ("text", "uuid"),
        Engine::Sqlite => ("text", "text"),
    };
    let writer = format!("name varchar(150) NOT NULL UNIQUE, body {text} NULL, level integer NOT NULL, price decimal(12,2) NOT NULL");
    let book = format!("title {text} NOT NULL, price decimal(12,2) NOT NULL");
    match side {
        Side::Legacy => vec![
            format!("CREATE TABLE writer (id integer NOT NULL PRIMARY KEY, {writer})"),
            format!(
                "CREATE TABLE book (id integer NOT NULL PRIMARY KEY, writer_id integer NOT NULL, {book}, FOREIGN KEY (writer_id) REFERENCES writer (id))"
            ),
        ],
        Side::Modern => vec![
            format!("CREATE TABLE writers (id {uuid} NOT NULL PRIMARY KEY, legacy_id integer UNIQUE, {writer}, nickname varchar(50))"),
            format!(
                "CREATE TABLE books (id {uuid} NOT NULL PRIMARY KEY, legacy_id integer UNIQUE, writer_id {uuid} NOT NULL, {book}, nickname varchar(50), FOREIGN KEY (writer_id) REFERENCES writers (id))"
            ),
        ],
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|number| number.parse().ok())
}

/// Each side writes rows of its own, both at once, with an agent that dies on the way. Then each alone.
async fn at_once(engines: [Engine; 2]) {
    let times = number("FICUS_PAIRS_TIMES").unwrap_or(1);
    let first = number("FICUS_SEED").unwrap_or(1);
    for seed in first..first + times {
        println!("FICUS_SEED={seed}: {engines:?}");
        one(engines, seed, if times > 1 { 40_000 } else { 1_500 }).await;
    }
}

async fn one(engines: [Engine; 2], seed: u64, great: i64) {
    let mut world = World::new(engines, schema, tables()).await;
    world.batch_rows = 9;
    let mut legacy = Worker::new(&world, Side::Legacy, seed).await;
    let mut modern = Worker::new(&world, Side::Modern, seed).await;
    legacy.transactions(25).await;
    let agent = world.agent().await;
    streaming(&agent).await;
    tokio::join!(legacy.transactions(30), modern.transactions(30));
    drop(agent);
    let work = async { tokio::join!(legacy.transactions(30), modern.transactions(30)) };
    let (agent, _) = tokio::join!(world.agent(), work);
    legacy.great(great).await;
    modern.great(100).await;
    agree(&mut world, &agent, seed, [&legacy.committed, &modern.committed]).await;

    // What one side writes does not come back to it: the other stream carries nothing.
    for alone in Side::BOTH {
        let echoes = |report: &ficus_rules::wire::CapabilityReport| report.stream_from(alone.other()).rows;
        let before = echoes(&report(&agent));
        let (worker, still) = if alone == Side::Legacy { (&mut legacy, &modern) } else { (&mut modern, &legacy) };
        worker.transactions(15).await;
        let books = if alone == Side::Legacy { [&worker.committed, &still.committed] } else { [&still.committed, &worker.committed] };
        agree(&mut world, &agent, seed, books).await;
        assert_eq!(echoes(&report(&agent)), before, "seed {seed}: echoed to {alone}");
    }
    agent.stop().await;
}

/// Both databases have what was committed on either side, once each, and nothing else.
async fn agree(world: &mut World, agent: &ficus_sync_agent::Agent, seed: u64, books: [&Ledger; 2]) {
    streaming(agent).await;
    for side in Side::BOTH {
        world.settle(agent, side).await;
    }
    let expected = books[0].with(books[1]);
    for side in Side::BOTH {
        let found = Ledger::read(&mut world.app(side).await, side).await;
        expected.must_be(&found, &format!("seed {seed}, {side} of {:?}", world.engines));
    }
    for table in world.verify(agent, VerifyScope::Full).await {
        assert_eq!((table.drift_rows, &table.samples), (0, &Vec::new()), "seed {seed}: {}", table.legacy);
        assert_eq!((table.legacy_root, table.legacy_rows), (table.modern_root, table.modern_rows), "seed {seed}");
    }
    let seen = until(agent, "no trouble", |report| report.trouble.is_none()).await;
    assert_eq!(seen.quarantined, 0, "seed {seed}");
}

/// A test for each pair.
macro_rules! pairs {
    ($run:path) => {
        crate::pairs! { $run:
            postgres_and_postgres Postgres Postgres, postgres_and_mariadb Postgres MariaDb, postgres_and_sqlite Postgres Sqlite,
            mariadb_and_postgres MariaDb Postgres, mariadb_and_mariadb MariaDb MariaDb, mariadb_and_sqlite MariaDb Sqlite,
            sqlite_and_postgres Sqlite Postgres, sqlite_and_mariadb Sqlite MariaDb, sqlite_and_sqlite Sqlite Sqlite
        }
    };
    ($run:path: $($name:ident $legacy:ident $modern:ident),*) => {$(
        #[tokio::test]
        async fn $name() {
            $run([crate::app::Engine::$legacy, crate::app::Engine::$modern]).await;
        }
    )*};
}
pub(crate) use pairs;

mod at_once {
    super::pairs!(super::at_once);
}
