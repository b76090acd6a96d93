//! `kill -9` at every step: of the agent while backfilling and streaming, of everything in a cutover and a revert. Whatever
//! was acknowledged is there, once, on both sides, when all is up again.

mod anywhere;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ficus_tests::audit;
use ficus_tests::ledger::Ledger;
use ficus_tests::load::{Load, Shape};
use ficus_tests::operator::Operator;
use ficus_tests::world::{Plan, World};
use serde_json::Value;
use sqlx::{AnyConnection, Connection as _, Row as _};

use super::Directory;

pub(super) const PATIENCE: Duration = Duration::from_secs(90);

/// Points at which the process ends itself the hard way, by where they lie on the way of a capability.
const ON_THE_WAY_IN: &[&str] = &["backfill_batch", "after_apply_before_commit", "after_commit_before_confirm", "before_apply"];
const ON_THE_WAY_ONCE: &[&str] = &[
    "orchestrator:backfilling",
    "backfill_complete",
    "orchestrator:streaming",
    "verify_full",
    "orchestrator:shadowing",
    "orchestrator:ramping",
];
const WHILE_STREAMING: &[&str] = &["after_commit_before_confirm", "after_apply_before_commit", "before_apply"];
const IN_A_SWITCH: &[&str] = &[
    "orchestrator:fence",
    "orchestrator:drain",
    "orchestrator:fence_database",
    "fence",
    "orchestrator:catch_up",
    "mark_end",
    "orchestrator:verify",
    "verify_changed",
    "orchestrator:sequences",
    "sequences",
    "orchestrator:open",
    "orchestrator:release",
];

/// All points, or the one that `FICUS_CRASH_POINT` names, as often as `FICUS_CRASH_TIMES` says.
fn chosen(points: &[&'static str]) -> Vec<&'static str> {
    let only = std::env::var("FICUS_CRASH_POINT").ok();
    let chosen: Vec<_> = points.iter().copied().filter(|point| only.as_ref().is_none_or(|only| only == point)).collect();
    chosen.repeat(times())
}

/// How often everything is done.
fn times() -> usize {
    std::env::var("FICUS_CRASH_TIMES").ok().and_then(|times| times.parse().ok()).unwrap_or(1)
}

pub(super) fn crash_at(point: &str) -> Vec<(String, String)> {
    vec![("FICUS_CRASH_AT".into(), point.into())]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_on_the_way_in() -> Result<()> {
    for point in chosen(ON_THE_WAY_IN) {
        let directory = Directory::new();
        let mut world = World::start(directory.path(), Plan { environment: crash_at(point), ..Plan::default() }).await?;
        let load = Load::start(&world.http(), Shape { people: 6, admins: 1, pause: Duration::from_millis(40) }).await?;
        world.operator()?.type_in(&["advance", "users"]).await?;
        crashed(&mut world, point).await?;
        world.restart_ficus(&[]).await?;
        walk_in(&world).await.with_context(|| format!("after a crash at {point}"))?;
        settle(&world, load.stop().await, point).await?;
        drop(world);
        directory.passed();
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_a_cutover() -> Result<()> {
    for point in chosen(IN_A_SWITCH) {
        let directory = Directory::new();
        let mut world = World::start(directory.path(), Plan::default()).await?;
        let load = Load::start(&world.http(), Shape { people: 6, admins: 1, pause: Duration::from_millis(40) }).await?;
        world.operator()?.type_in(&["advance", "users"]).await?;
        walk_in(&world).await?;
        rearm(&mut world, point).await?;
        switch(&mut world, "cutover", "soaking", point).await?;
        settle(&world, load.stop().await, point).await?;
        drop(world);
        directory.passed();
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_a_revert() -> Result<()> {
    for point in chosen(IN_A_SWITCH) {
        let directory = Directory::new();
        let mut world = World::start(directory.path(), Plan::default()).await?;
        let load = Load::start(&world.http(), Shape { people: 6, admins: 1, pause: Duration::from_millis(40) }).await?;
        let operator = world.operator()?;
        operator.type_in(&["advance", "users"]).await?;
        walk_in(&world).await?;
        wish_until_accepted(&world, "cutover").await?;
        operator.until_phase("users", "soaking", PATIENCE).await?;
        rearm(&mut world, point).await?;
        switch(&mut world, "revert", "reverted", point).await?;
        settle(&world, load.stop().await, point).await?;
        drop(world);
        directory.passed();
    }
    Ok(())
}

/// Each phase of the way in is written down, and the process dies before anybody is told; once the copy is complete too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_every_phase_of_the_way_in() -> Result<()> {
    let directory = Directory::new();
    let mut points = ON_THE_WAY_ONCE.iter();
    let mut point = *points.next().context("a point")?;
    let mut world = World::start(directory.path(), Plan { environment: crash_at(point), ..Plan::default() }).await?;
    let load = Load::start(&world.http(), Shape { people: 6, admins: 1, pause: Duration::from_millis(40) }).await?;
    let wish = world.operator()?.try_type(&["advance", "users"]).await?;
    ensure!(wish.code != 64, "{wish:?}");
    for next in points {
        crashed(&mut world, point).await?;
        world.restart_ficus(&crash_at(next)).await?;
        point = next;
    }
    crashed(&mut world, point).await?;
    world.restart_ficus(&[]).await?;
    let ramps = |status: &Value| status["phase"] == "ramping" && status["agent"]["forward"]["live"] == true;
    world.operator()?.until("users", "ramping", PATIENCE, ramps).await?;
    settle(&world, load.stop().await, "every phase of the way in").await?;
    drop(world);
    directory.passed();
    Ok(())
}

/// The agent alone dies in the middle of a switch. Nobody at the gateway notices more than a longer pause; the switch ends,
/// or is aborted and wished for again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_agents_in_switches_are_not_noticed() -> Result<()> {
    let directory = Directory::new();
    let mut world = World::start(directory.path(), Plan { apart: true, ..Plan::default() }).await?;
    let load = Load::start(&world.http(), Shape { people: 6, admins: 1, pause: Duration::from_millis(40) }).await?;
    world.operator()?.type_in(&["advance", "users"]).await?;
    walk_in(&world).await?;
    for point in ["fence", "mark_end", "verify_changed", "sequences"] {
        for (wish, phase) in [("cutover", "soaking"), ("revert", "reverted")] {
            world.agent.as_mut().context("apart")?.kill()?;
            world.restart_agent(&crash_at(point))?;
            until_both_stream(&world).await?;
            wish_until_accepted(&world, wish).await?;
            agent_crashed(&mut world, point).await.with_context(|| format!("in a {wish}"))?;
            world.restart_agent(&[])?;
            until_switched(&world, wish, phase, point).await?;
            let ledger = &load.ledger;
            ensure!(ledger.failures().is_empty(), "{point}, {wish}: {:?} {:?}", ledger.failures(), ledger.samples());
        }
    }
    settle(&world, load.stop().await, "the agent alone in switches").await?;
    drop(world);
    directory.passed();
    Ok(())
}

/// The process dies while it repairs, and while it takes its objects out of the databases: both go on where they stopped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_a_repair_and_in_retiring() -> Result<()> {
    let directory = Directory::new();
    let mut world = World::start(directory.path(), Plan::default()).await?;
    let load = Load::start(&world.http(), Shape { people: 6, admins: 1, pause: Duration::from_millis(40) }).await?;
    world.operator()?.type_in(&["advance", "users"]).await?;
    walk_in(&world).await?;
    rearm(&mut world, "repair").await?;
    until_both_stream(&world).await?;
    behind_the_fence(&world, "DELETE FROM photos WHERE 1; UPDATE profiles SET address = 'drifted'").await?;
    let wish = world.operator()?.try_type(&["repair", "users"]).await?;
    ensure!(wish.code != 3, "{wish:?}");
    crashed(&mut world, "repair").await?;
    world.restart_ficus(&[]).await?;
    world.operator()?.until("users", "the repair to end", PATIENCE, |status| status["repairing"] == false).await?;
    settle(&world, load.stop().await, "repair").await?;

    soak_no_longer(&world)?;
    rearm(&mut world, "remove").await?;
    until_both_stream(&world).await?;
    // The drift was seen by the shadow too, whose gate may hold the capability for it.
    let _ = world.operator()?.try_type(&["release", "users"]).await?;
    walk_in(&world).await?;
    wish_until_accepted(&world, "cutover").await?;
    world.operator()?.until_phase("users", "soaking", PATIENCE).await?;
    wish_until_accepted(&world, "retire").await?;
    crashed(&mut world, "remove").await?;
    world.restart_ficus(&[]).await?;
    until_nothing_is_left(&world).await?;
    drop(world);
    directory.passed();
    Ok(())
}

/// Changes rows of the service as nobody can who respects the fence.
async fn behind_the_fence(world: &World, change: &str) -> Result<()> {
    sqlx::any::install_default_drivers();
    let mut connection = AnyConnection::connect(world.service_database()).await?;
    let script = format!(
        "PRAGMA busy_timeout = 5000; BEGIN IMMEDIATE; UPDATE _ficus_context SET writer = 'agent'; {change}; \
         UPDATE _ficus_context SET writer = NULL; COMMIT"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(script)).execute(&mut connection).await?;
    Ok(connection.close().await?)
}

/// The rules of the world let the capability retire at once.
pub(super) fn soak_no_longer(world: &World) -> Result<()> {
    let file = world.directory.join("rules/users.toml");
    let rules = std::fs::read_to_string(&file)?;
    ensure!(rules.contains("soak = \"7d\""), "another soak: {rules}");
    Ok(std::fs::write(&file, rules.replace("soak = \"7d\"", "soak = \"1s\""))?)
}

/// Neither database has a table, trigger or index of Ficus.
pub(super) async fn until_nothing_is_left(world: &World) -> Result<()> {
    let mut left = Vec::new();
    for _ in 0..2_400 {
        left.clear();
        for database in [world.school_database().url(), world.service_database().to_owned()] {
            left.extend(objects_of_ficus(&database).await?);
        }
        if left.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("still there after two minutes: {left:?}")
}

/// Tables, triggers and indexes of Ficus in a database.
pub(super) async fn objects_of_ficus(database: &str) -> Result<Vec<String>> {
    sqlx::any::install_default_drivers();
    let mut connection = AnyConnection::connect(database).await?;
    let query = "SELECT name FROM sqlite_master WHERE instr(name, '_ficus_') > 0";
    let names = sqlx::query(query).fetch_all(&mut connection).await?.iter().map(|row| row.get(0)).collect();
    connection.close().await?;
    Ok(names)
}

/// The agent alone dies, again and again; nobody at the gateway notices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_agents_are_not_noticed() -> Result<()> {
    let directory = Directory::new();
    let plan = Plan { environment: crash_at("backfill_batch"), apart: true, ..Plan::default() };
    let mut world = World::start(directory.path(), plan).await?;
    let load = Load::start(&world.http(), Shape { people: 6, admins: 1, pause: Duration::from_millis(40) }).await?;
    world.operator()?.type_in(&["advance", "users"]).await?;
    agent_crashed(&mut world, "backfill_batch").await?;
    for point in ["backfill_complete"].iter().chain(WHILE_STREAMING) {
        world.restart_agent(&crash_at(point))?;
        agent_crashed(&mut world, point).await?;
    }
    world.restart_agent(&[])?;
    walk_in(&world).await?;
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        world.agent.as_mut().context("apart")?.kill()?;
        world.restart_agent(&[])?;
    }
    wish_until_accepted(&world, "cutover").await?;
    world.operator()?.until_phase("users", "soaking", PATIENCE).await?;
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        world.agent.as_mut().context("apart")?.kill()?;
        world.restart_agent(&[])?;
    }
    wish_until_accepted(&world, "revert").await?;
    world.operator()?.until_phase("users", "reverted", PATIENCE).await?;
    let ledger = load.stop().await;
    ensure!(ledger.failures().is_empty(), "somebody noticed: {:?} {:?}", ledger.failures(), ledger.samples());
    settle(&world, ledger, "the agent alone").await?;
    drop(world);
    directory.passed();
    Ok(())
}

pub(super) async fn agent_crashed(world: &mut World, point: &str) -> Result<()> {
    let status = world.agent.as_mut().context("apart")?.wait(PATIENCE).with_context(|| format!("the point {point}"))?;
    ensure!(!status.success(), "the agent ended well instead of crashing at {point}");
    Ok(())
}

/// Until it streams, is verified, and may cut over.
pub(super) async fn walk_in(world: &World) -> Result<()> {
    let verified = |status: &Value| status["phase"] == "shadowing" || status["phase"] == "ramping";
    world.operator()?.until("users", "shadowing", PATIENCE, verified).await?;
    Ok(())
}

/// Both directions run.
pub(super) async fn until_both_stream(world: &World) -> Result<()> {
    let ready = |status: &Value| status["agent"]["forward"]["live"] == true && status["agent"]["reverse"]["live"] == true;
    world.operator()?.until("users", "both streams", PATIENCE, ready).await?;
    Ok(())
}

/// Whoever began a switch waits for its end.
pub(super) async fn until_ended(world: &World, phase: &str) -> Result<Value> {
    let ended = |status: &Value| status["phase"] == phase || status["switch"].is_null();
    world.operator()?.until("users", "the switch to end", PATIENCE, ended).await
}

/// The process is started anew, with the crash point armed.
pub(super) async fn rearm(world: &mut World, point: &str) -> Result<()> {
    world.ficus.kill()?;
    world.restart_ficus(&crash_at(point)).await
}

/// Wishes for a switch, until it is done: the process dies under it once, is started again, and the wish is repeated if
/// the first one was aborted.
async fn switch(world: &mut World, wish: &str, phase: &str, point: &str) -> Result<()> {
    until_both_stream(world).await?;
    wish_until_accepted(world, wish).await?;
    crashed(world, point).await?;
    world.restart_ficus(&[]).await?;
    until_switched(world, wish, phase, point).await
}

/// Until the switch has ended well, however often it is aborted; the wish is repeated then.
async fn until_switched(world: &World, wish: &str, phase: &str, point: &str) -> Result<()> {
    let operator = world.operator()?;
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let status = until_ended(world, phase).await?;
        if status["phase"] == phase {
            return Ok(());
        }
        ensure!(std::time::Instant::now() < deadline, "the {wish} never came about after a crash at {point}: {status:#}");
        let _ = operator.try_type(&[wish, "users"]).await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Right after a start some preconditions are not measured yet.
pub(super) async fn wish_until_accepted(world: &World, wish: &str) -> Result<()> {
    until_accepted(&world.operator()?, wish).await
}

pub(super) async fn until_accepted(operator: &Operator, wish: &str) -> Result<()> {
    operator.until_accepted(wish, "users", Duration::from_secs(120)).await
}

pub(super) async fn crashed(world: &mut World, point: &str) -> Result<()> {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        if let Some(status) = world.ficus.ended() {
            ensure!(!status.success(), "ficus ended well instead of crashing at {point}");
            return Ok(());
        }
        ensure!(std::time::Instant::now() < deadline, "the point {point} was never reached; log:\n{}", world.ficus.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until both copies are equal, and compares them with the ledger.
pub(super) async fn settle(world: &World, ledger: Ledger, point: &str) -> Result<()> {
    settle_with(world, ledger, &[], point).await
}

/// The same, with notes that were written past the gateway.
pub(super) async fn settle_with(world: &World, ledger: Ledger, direct: &[String], point: &str) -> Result<()> {
    let operator = world.operator()?;
    let quiet = |status: &Value| {
        let agent = &status["agent"];
        agent["forward"]["live"] == true && agent["forward"]["lag_entries"] == 0 && agent["reverse"]["lag_entries"] == 0
    };
    operator.until("users", "the streams to be empty", PATIENCE, quiet).await?;
    operator.type_in(&["verify", "users", "--wait", "60s"]).await.with_context(|| format!("after a crash at {point}"))?;
    let findings = audit::audit(&world.school_database().url(), world.service_database(), &ledger.entries(), direct).await?;
    ensure!(findings.lost.is_empty(), "a crash at {point} lost {:?}", findings.lost);
    ensure!(findings.doubled.is_empty(), "a crash at {point} doubled {:?}", findings.doubled);
    ensure!(ledger.stale_reads().is_empty(), "a crash at {point}: stale {:?}", ledger.stale_reads());
    ensure!(ledger.unexcused().is_empty(), "a crash at {point}: {:?} {:?}", ledger.unexcused(), ledger.samples());
    for late in &findings.late {
        println!("{point}: late: {late}");
        for entry in ledger.entries() {
            println!("{entry:?}");
        }
    }
    println!("{point}: {} acknowledged writes, all there once on both sides", ledger.acknowledged());
    Ok(())
}
