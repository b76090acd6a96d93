//! A copy that is killed goes on where it was: rows that are there are not written again, whatever happened meanwhile.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ficus_rules::Side;
use ficus_rules::wire::VerifyScope;
use ficus_sync_agent::{Agent, Config, Resolved};

use super::app::{App, Engine};
use super::world::{World, streaming};
use super::{schema, tables};
use crate::postgres;

const WRITERS: u32 = 1_500;
const BOOKS: u32 = 300;
/// The copy takes four of these at once.
const BATCH: usize = 25;

/// Writes down which rows of a table are written, as the database sees it.
fn audit(engine: Engine) -> Vec<String> {
    let mut statements = vec!["CREATE TABLE audit (tab varchar(20), legacy_id integer)".to_owned()];
    for table in ["writers", "books"] {
        let insert = format!("INSERT INTO audit VALUES ('{table}', NEW.legacy_id)");
        if engine == Engine::Postgres {
            statements.push(format!(
                "CREATE FUNCTION audit_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {insert}; RETURN NULL; END $$"
            ));
        }
        for event in ["INSERT", "UPDATE"] {
            let body = match engine {
                Engine::Postgres => format!("EXECUTE FUNCTION audit_{table}()"),
                Engine::MariaDb => insert.clone(),
                Engine::Sqlite => format!("BEGIN {insert}; END"),
            };
            statements.push(format!("CREATE TRIGGER audit_{table}_{event} AFTER {event} ON {table} FOR EACH ROW {body}"));
        }
    }
    statements
}

#[tokio::test]
#[ignore = "the agent that others kill"]
async fn the_agent_that_is_killed_in_its_copy() {
    let url = |name: &str| std::env::var(name).ok();
    let Some((legacy_url, modern_url)) = url("FICUS_TEST_LEGACY").zip(url("FICUS_TEST_MODERN")) else { return };
    let (legacy, modern) = ("monolith".to_owned(), "users-service".to_owned());
    let resolved = Resolved { legacy, legacy_url, modern, modern_url, tables: tables() };
    let config = Config { batch_rows: BATCH, ..Config::new("test", BTreeMap::new()) };
    let agent = Agent::start_resolved(config, BTreeMap::from([("users".to_owned(), resolved)])).await.unwrap();
    agent.order(serde_json::from_str(&url("FICUS_TEST_ORDERS").unwrap()).unwrap());
    tokio::time::sleep(Duration::from_secs(600)).await;
}

/// Runs an agent until it kills itself.
pub(crate) async fn killed_at(world: &World, point: &str) {
    let child = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "resume::the_agent_that_is_killed_in_its_copy"])
        .env("FICUS_CRASH_AT", point)
        .env("FICUS_TEST_LEGACY", world.url(Side::Legacy))
        .env("FICUS_TEST_MODERN", world.url(Side::Modern))
        .env("FICUS_TEST_ORDERS", serde_json::to_string(&world.orders).unwrap())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let ended = tokio::time::timeout(Duration::from_secs(120), child.unwrap().wait()).await;
    let ended = ended.unwrap_or_else(|_| panic!("the agent does not come to {point}")).unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended), Some(6), "it died at {point}, and not of something else");
}

async fn number(app: &mut App, sql: &str) -> u32 {
    app.rows(sql).await[0][0].as_deref().unwrap().trim().parse().unwrap()
}

async fn goes_on(engines: [Engine; 2]) {
    let mut world = World::new(engines, schema, tables()).await;
    world.batch_rows = BATCH;
    let (mut legacy, mut modern) = (world.app(Side::Legacy).await, world.app(Side::Modern).await);
    for from in (1..=WRITERS).step_by(100) {
        let rows: Vec<String> = (from..from + 100).map(|id| format!("({id}, 'writer {id}', 'body', 1, 1.5)")).collect();
        legacy.exec(&format!("INSERT INTO writer (id, name, body, level, price) VALUES {}", rows.join(", "))).await;
    }
    for from in (1..=BOOKS).step_by(100) {
        let rows: Vec<String> = (from..from + 100).map(|id| format!("({id}, {id}, 'book {id}', 2.5)")).collect();
        legacy.exec(&format!("INSERT INTO book (id, writer_id, title, price) VALUES {}", rows.join(", "))).await;
    }
    for statement in audit(engines[1]) {
        modern.exec(&statement).await;
    }
    // WHEN it is killed in the first table, again later there, and in the second table
    let mut copied = 0;
    let audited = "SELECT CAST(count(*) AS char(20)) FROM audit";
    for (round, point) in ["backfill_batch:4", "backfill_batch:5", "backfill_batch:7"].into_iter().enumerate() {
        let round = u32::try_from(round).unwrap() * 10;
        killed_at(&world, point).await;
        let now = number(&mut modern, audited).await;
        assert!(now >= copied + 400, "{point}: {now} rows after {copied}");
        copied = now;
        // AND rows that are there, and others, change, change places, go and come
        legacy.exec(&format!("UPDATE writer SET level = 7 WHERE id IN ({}, {})", 2 + round, 1_402 + round)).await;
        legacy.exec(&format!("UPDATE writer SET name = 'free' WHERE id = {}", 3 + round)).await;
        legacy.exec(&format!("UPDATE writer SET name = 'writer {}' WHERE id = {}", 3 + round, 1_403 + round)).await;
        legacy.exec(&format!("UPDATE writer SET name = 'writer {}' WHERE id = {}", 1_403 + round, 3 + round)).await;
        legacy.exec(&format!("DELETE FROM writer WHERE id IN ({}, {})", 400 + round, 1_404 + round)).await;
        legacy.exec(&format!("INSERT INTO writer (id, name, level, price) VALUES ({}, 'new {round}', 3, 2.5)", 9_000 + round)).await;
        legacy.exec(&format!("INSERT INTO book (id, writer_id, title, price) VALUES ({0}, {0}, 'new', 2.5)", 9_000 + round)).await;
    }
    let agent = world.agent().await;
    let seen = streaming(&agent).await;
    assert!(seen.backfill.done >= u64::from(copied) && seen.backfill.done <= seen.backfill.total, "{:?}", seen.backfill);
    world.settle(&agent, Side::Legacy).await;
    // THEN both sides are equal
    for table in world.verify(&agent, VerifyScope::Full).await {
        assert_eq!((table.drift_rows, &table.samples), (0, &Vec::new()), "{engines:?}: {}", table.legacy);
        assert_eq!(table.legacy_root, table.modern_root, "{engines:?}");
    }
    let report = super::world::until(&agent, "no row is set aside", |report| report.quarantined == 0).await;
    assert_eq!(report.trouble, None);
    // AND only what changed was written more than once
    let again = modern.rows("SELECT CAST(legacy_id AS char(20)) FROM audit GROUP BY tab, legacy_id HAVING count(*) > 1 ORDER BY 1").await;
    let again: Vec<u32> = again.into_iter().map(|row| row[0].as_deref().unwrap().trim().parse().unwrap()).collect();
    let changed = |id: u32| [2, 3, 400, 1_402, 1_403, 1_404, 9_000].iter().any(|first| (0..3).any(|round| first + 10 * round == id));
    assert!(!again.is_empty() && again.iter().all(|id| changed(*id)), "{engines:?}: written again: {again:?}");
    agent.stop().await;
}

#[tokio::test]
async fn from_postgres_to_mariadb() {
    goes_on([Engine::Postgres, Engine::MariaDb]).await;
}

#[tokio::test]
async fn from_mariadb_to_sqlite() {
    goes_on([Engine::MariaDb, Engine::Sqlite]).await;
}

#[tokio::test]
async fn from_sqlite_to_postgres() {
    goes_on([Engine::Sqlite, Engine::Postgres]).await;
}

/// A copy may not take more from its source than it is allowed.
#[tokio::test]
async fn a_copy_that_is_throttled_says_how_long_it_takes() {
    let mut world = World::new([Engine::Sqlite, Engine::Sqlite], schema, tables()).await;
    let mut legacy = world.app(Side::Legacy).await;
    let all = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 1000)";
    legacy.exec(&format!("INSERT INTO writer (id, name, level, price) {all} SELECT i, 'writer ' || i, 1, 1.5 FROM n")).await;
    world.batch_rows = BATCH;
    world.copy_rows_per_second = Some(400);
    let begun = Instant::now();
    let agent = world.agent().await;
    let seen = super::world::until(&agent, "a rate", |report| report.backfill.done > 300).await.backfill;
    assert!(!seen.complete && seen.rows_per_second > 0.0, "{seen:?}");
    assert!(seen.seconds_left().is_some_and(|left| left > 0.5), "{seen:?}");
    streaming(&agent).await;
    // A piece of a hundred rows comes at once, and the others in their time.
    assert!(begun.elapsed() >= Duration::from_millis(900 * 1_000 / 400), "{:?}", begun.elapsed());
    agent.stop().await;
}

/// While the source's server has more to do than it may have beside a copy, the copy stands nearly still, and says so.
async fn gives_way(engine: Engine, work: &'static str) {
    let mut world = World::new([engine, Engine::Sqlite], schema, tables()).await;
    let mut legacy = world.app(Side::Legacy).await;
    let all = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900)";
    legacy
        .exec(&format!(
            "INSERT INTO writer (id, name, level, price) {}",
            match engine {
                Engine::MariaDb => format!("{all} SELECT i, concat('writer ', i), 1, 1.5 FROM n"),
                _ => "SELECT i, 'writer ' || i, 1, 1.5 FROM generate_series(1, 900) AS n(i)".to_owned(),
            }
        ))
        .await;
    (world.batch_rows, world.copy_max_load) = (BATCH, Some(MAX_LOAD));
    let mut busy = tokio::task::JoinSet::new();
    for _ in 0..MAX_LOAD + 10 {
        let mut app = world.app(Side::Legacy).await;
        busy.spawn(async move {
            loop {
                app.exec(work).await;
            }
        });
    }
    let agent = world.agent().await;
    if engine == Engine::Postgres {
        let grant = "GRANT pg_read_all_stats TO \"agent\";";
        super::world::until(&agent, "the remedy", |report| report.trouble.as_ref().is_some_and(|said| said.contains(grant))).await;
        postgres::exec(&mut postgres::Server::shared().root("postgres").await, grant).await;
    }
    let seen = super::world::until(&agent, "the copy to give way", |report| report.backfill.gives_way_to.is_some()).await.backfill;
    assert!(seen.gives_way_to.is_some_and(|load| load > MAX_LOAD) && !seen.complete, "{seen:?}");
    let slow = super::world::until(&agent, "a batch all the same", |report| report.backfill.done > seen.done).await.backfill;
    assert!(!slow.complete, "{slow:?}");
    busy.shutdown().await;
    streaming(&agent).await;
    let seen = super::world::until(&agent, "the end", |report| report.backfill.complete).await.backfill;
    assert_eq!(seen.gives_way_to, None);
    agent.stop().await;
}

const MAX_LOAD: u64 = 20;

#[tokio::test]
async fn a_copy_gives_way_to_what_postgresql_serves() {
    gives_way(Engine::Postgres, "SELECT pg_sleep(0.2)").await;
}

#[tokio::test]
async fn a_copy_gives_way_to_what_mariadb_serves() {
    gives_way(Engine::MariaDb, "DO sleep(0.2)").await;
}
