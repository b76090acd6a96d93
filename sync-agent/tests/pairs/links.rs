//! Links between the agent and a database on which nothing passes any more, and nobody is told; and links that break.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ficus_rules::Side;
use ficus_rules::wire::VerifyScope;

use super::app::{App, Engine};
use super::cable::Cable;
use super::world::{World, report, streaming, until};
use super::{mariadb, postgres, schema, tables};

/// Short for a test, and long for the answer to the smallest question on a busy machine.
const SILENCE: Duration = Duration::from_secs(9);

struct Linked {
    world: World,
    cables: [Cable; 2],
}

impl Linked {
    async fn new(engines: [Engine; 2]) -> Linked {
        let mut world = World::new(engines, schema, tables()).await;
        let [legacy, modern] = engines.map(|engine| match engine {
            Engine::Postgres => postgres::Server::shared().port,
            _ => mariadb::Server::shared().port,
        });
        let cables = [Cable::to(legacy).await.unwrap(), Cable::to(modern).await.unwrap()];
        world.through = cables.each_ref().map(|cable| Some(cable.port()));
        world.silence = Some(SILENCE);
        Linked { world, cables }
    }
}

/// Writes to legacy, a row in a transaction, until it is told to end; how many there are.
async fn writes(mut app: App, go_on: Arc<AtomicBool>) -> u64 {
    let mut id = 0;
    while go_on.load(Ordering::Acquire) {
        id += 1;
        app.exec(&format!("INSERT INTO writer (id, name, level, price) VALUES ({id}, 'writer {id}', 1, 1.5)")).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    id
}

/// The agent says of a side that it is silent.
async fn said(agent: &ficus_sync_agent::Agent, side: Side) {
    let seen = until(agent, "said", |report| report.trouble.as_ref().is_some_and(|trouble| trouble.contains("no answer for"))).await;
    let of = if side == Side::Legacy { "monolith (legacy)" } else { "users-service (modern)" };
    assert!(seen.trouble.as_ref().is_some_and(|trouble| trouble.starts_with(of)), "{:?}", seen.trouble);
}

/// Everything has arrived, once.
async fn arrived(world: &mut World, agent: &ficus_sync_agent::Agent, written: u64) {
    until(agent, "no trouble", |report| report.trouble.is_none() && report.forward.live && report.reverse.live).await;
    world.settle(agent, Side::Legacy).await;
    world.settle(agent, Side::Modern).await;
    for table in world.verify(agent, VerifyScope::Full).await {
        assert_eq!((table.drift_rows, &table.samples), (0, &Vec::new()), "{}", table.legacy);
        assert_eq!((table.legacy_root, table.legacy_rows), (table.modern_root, table.modern_rows));
    }
    let count = world.app(Side::Modern).await.rows("SELECT CAST(count(*) AS char(20)) FROM writers").await;
    assert_eq!(count[0][0].as_deref().unwrap().trim(), written.to_string());
    assert_eq!(report(agent).quarantined, 0);
}

/// GIVEN both streams, and writes that go on, WHEN nothing passes on the link to a side, THEN that is said, and of which side;
/// and WHEN it passes again, THEN nothing is lost or doubled. WHEN the agent is stopped meanwhile, THEN it ends.
async fn stalled(side: Side) {
    let Linked { mut world, cables } = Linked::new([Engine::Postgres, Engine::MariaDb]).await;
    let go_on = Arc::new(AtomicBool::new(true));
    let agent = world.agent().await;
    streaming(&agent).await;
    let writing = tokio::spawn(writes(world.app(Side::Legacy).await, Arc::clone(&go_on)));
    until(&agent, "rows flow", |report| report.forward.rows > 5).await;
    let cable = &cables[usize::from(side == Side::Modern)];
    cable.cut();
    said(&agent, side).await;
    let seen = report(&agent);
    assert!(!seen.forward.live && !seen.reverse.live);
    cable.mend();
    world.app(Side::Modern).await.exec("UPDATE writers SET level = 7 WHERE legacy_id = 1").await;
    let rows = report(&agent).forward.rows;
    until(&agent, "rows flow again", |report| report.forward.live && report.forward.rows > rows).await;
    go_on.store(false, Ordering::Release);
    let written = writing.await.unwrap();
    arrived(&mut world, &agent, written).await;
    cable.cut();
    tokio::time::timeout(Duration::from_secs(120), agent.stop()).await.expect("it ends");
}

#[tokio::test]
async fn a_link_to_legacy_that_stalls_is_said_and_made_anew() {
    stalled(Side::Legacy).await;
}

#[tokio::test]
async fn a_link_to_modern_that_stalls_is_said_and_made_anew() {
    stalled(Side::Modern).await;
}

/// WHEN every connection of both links breaks, again and again, THEN it goes on by itself, and nothing is lost or doubled.
#[tokio::test]
async fn links_that_break_are_made_anew() {
    let Linked { mut world, cables } = Linked::new([Engine::Postgres, Engine::MariaDb]).await;
    let go_on = Arc::new(AtomicBool::new(true));
    let agent = world.agent().await;
    streaming(&agent).await;
    let writing = tokio::spawn(writes(world.app(Side::Legacy).await, Arc::clone(&go_on)));
    for round in 0..6 {
        let rows = report(&agent).forward.rows;
        until(&agent, "rows flow", |report| report.forward.live && report.forward.rows > rows).await;
        cables[round % 2].tear();
    }
    go_on.store(false, Ordering::Release);
    let written = writing.await.unwrap();
    arrived(&mut world, &agent, written).await;
    agent.stop().await;
}

/// The same in the initial copy, which goes on where it was; then a link stalls in it.
#[tokio::test]
async fn a_copy_goes_on_after_links_that_break_and_stall() {
    const ROWS: u64 = 1_500;
    let Linked { mut world, cables } = Linked::new([Engine::MariaDb, Engine::Postgres]).await;
    (world.batch_rows, world.copy_rows_per_second) = (25, Some(300));
    let mut legacy = world.app(Side::Legacy).await;
    for from in (1..=ROWS).step_by(100) {
        let rows: Vec<String> = (from..from + 100).map(|id| format!("({id}, 'writer {id}', 1, 1.5)")).collect();
        legacy.exec(&format!("INSERT INTO writer (id, name, level, price) VALUES {}", rows.join(", "))).await;
    }
    let agent = world.agent().await;
    for round in 0..4 {
        let done = report(&agent).backfill.done;
        let seen = until(&agent, "rows are copied", |report| report.backfill.done > done || report.backfill.complete).await;
        assert!(round > 0 || !seen.backfill.complete, "it was over before anything broke");
        legacy.exec(&format!("UPDATE writer SET level = 7 WHERE id IN ({}, {})", 1 + round, ROWS - round)).await;
        match round {
            3 => cables[1].cut(),
            _ => cables[usize::from(round % 2 == 1)].tear(),
        }
    }
    said(&agent, Side::Modern).await;
    cables[1].mend();
    streaming(&agent).await;
    arrived(&mut world, &agent, ROWS).await;
    agent.stop().await;
}
