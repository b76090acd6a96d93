//! Several of everything: three gateways, two orchestrators on an etcd, PostgreSQL on both sides; and a leader that is killed, put to
//! sleep, or cut off in the middle of a switch. Nobody at a gateway that lives notices, and nothing is lost or doubled.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ficus_tests::audit;
use ficus_tests::fleet::{Fleet, Plan, School};
use ficus_tests::http::Http;
use ficus_tests::ledger::Ledger;
use ficus_tests::load::{Load, Shape};
use rustix::process::Signal;
use serde_json::Value;

use super::Directory;
use super::etcd::EtcdServer;
use super::kills::{crash_at, settle, until_accepted, walk_in};
use super::postgres::Server;

const PATIENCE: Duration = Duration::from_secs(180);
const PEOPLE: Shape = Shape { people: 4, admins: 1, pause: Duration::from_millis(60) };
/// Those through which no request may fail.
const SPARED: usize = 2;
/// The one that is cut off and killed.
const HIT: usize = 2;

struct World {
    fleet: Fleet,
    loads: Vec<Load>,
}

impl World {
    /// Everything runs, the capability may be cut over, and people are at work at every gateway.
    async fn start(directory: &Directory, etcd: &EtcdServer) -> Result<World> {
        let server = Server::shared();
        let school = School {
            users: 300,
            school_database: Some(server.url(&server.database().await)),
            service_database: Some(server.url(&server.database().await)),
        };
        let plan = Plan { gateways: 3, orchestrators: 2, etcd: etcd.port, validity: "12s", waits: false };
        let fleet = Fleet::start(directory.path(), plan, school).await?;
        fleet.operator()?.type_in(&["advance", "users"]).await?;
        let walked = |status: &Value| status["phase"] == "shadowing" || status["phase"] == "ramping";
        fleet.until("shadowing", PATIENCE, walked).await?;
        let mut loads = Vec::new();
        for gateway in 0..3 {
            loads.push(Load::start_as(&fleet.http(gateway), PEOPLE, u32::try_from(gateway)?).await?);
        }
        Ok(World { fleet, loads })
    }

    /// Wishes for a switch, and does something bad at the `moment`, which is given the leader; until the switch is done,
    /// however often it is taken back and wished for anew.
    async fn switch(&mut self, wish: &str, phase: &str, moment: impl AsyncFnOnce(&mut Fleet, usize) -> Result<()>) -> Result<()> {
        let ready = |status: &Value| status["agent"]["forward"]["live"] == true && status["agent"]["reverse"]["live"] == true;
        self.fleet.until("both streams", PATIENCE, ready).await?;
        let leader = self.fleet.leader(PATIENCE).await?;
        until_accepted(&self.fleet.operator()?, wish).await?;
        moment(&mut self.fleet, leader).await?;
        let begun = std::time::Instant::now();
        loop {
            let ended = |status: &Value| status["phase"] == phase || status["switch"].is_null();
            let status = self.fleet.until("the switch to end", PATIENCE, ended).await?;
            if status["phase"] == phase {
                return Ok(());
            }
            ensure!(begun.elapsed() < PATIENCE, "the {wish} never came about: {status:#}");
            let _ = self.fleet.operator()?.try_type(&[wish, "users"]).await?;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Ends the load, and holds everything against the ledgers. Through the first gateways, `spared` of them, no request may have failed.
    async fn settle(self, spared: usize) -> Result<Fleet> {
        let mut ledgers = Vec::new();
        for load in self.loads {
            ledgers.push(load.stop().await);
        }
        let fleet = self.fleet;
        let quiet = |status: &Value| {
            let agent = &status["agent"];
            agent["forward"]["live"] == true && agent["forward"]["lag_entries"] == 0 && agent["reverse"]["lag_entries"] == 0
        };
        fleet.until("the streams to be empty", PATIENCE, quiet).await?;
        let operator = fleet.operator()?;
        operator.type_in(&["verify", "users", "--wait", "120s"]).await?;
        operator.type_in(&["journal", "--verify"]).await.context("the journal is one chain, whoever wrote it")?;
        let (school, service) = fleet.databases();
        let entries: Vec<_> = ledgers.iter().flat_map(Ledger::entries).collect();
        let findings = audit::audit(&school, &service, &entries, &[]).await?;
        ensure!(findings.lost.is_empty(), "lost {:?}", findings.lost);
        ensure!(findings.doubled.is_empty(), "doubled {:?}", findings.doubled);
        for (gateway, ledger) in ledgers.iter().enumerate() {
            ensure!(ledger.stale_reads().is_empty(), "stale at gateway {gateway}: {:?}", ledger.stale_reads());
            let failed = if gateway < spared { ledger.failures() } else { ledger.unexcused() };
            ensure!(failed.is_empty(), "somebody at gateway {gateway} noticed: {failed:?} {:?}", ledger.samples());
            ensure!(ledger.acknowledged() > 0, "nobody wrote at gateway {gateway}");
            println!("gateway {gateway}: {} requests, {} acknowledged writes", ledger.requests(), ledger.acknowledged());
        }
        Ok(fleet)
    }
}

/// Whether an orchestrator says itself that it leads.
async fn says_that_it_leads(fleet: &Fleet, at: usize) -> bool {
    let http = Http::new(&format!("http://127.0.0.1:{}", fleet.orchestrators[at].port), Duration::from_secs(5));
    http.get("/leader").await.is_ok_and(|answer| answer.status.is_success())
}

/// A moment into a switch: of most of them it is the midst.
async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(rand::random_range(0..200))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaders_that_die_sleep_or_are_cut_off_in_a_switch_are_not_noticed() -> Result<()> {
    let (directory, mut etcd) = (Directory::new(), EtcdServer::start());
    let mut world = World::start(&directory, &etcd).await?;

    // Killed; and started again, it stands by.
    let killed = async |fleet: &mut Fleet, leader: usize| {
        a_moment().await;
        fleet.orchestrators[leader].process.kill()?;
        let next = fleet.other_leader(Some(leader), PATIENCE).await?;
        fleet.start_orchestrator(leader, &[])?;
        ensure!(next != leader, "who is dead does not lead");
        anyhow::Ok(())
    };
    world.switch("cutover", "soaking", killed).await.context("killed in a cutover")?;

    // Asleep: when it wakes up, another one leads, and it says so at once.
    let asleep = async |fleet: &mut Fleet, leader: usize| {
        a_moment().await;
        fleet.orchestrators[leader].process.signal(Signal::STOP);
        let next = fleet.other_leader(Some(leader), PATIENCE).await;
        fleet.orchestrators[leader].process.signal(Signal::CONT);
        ensure!(!says_that_it_leads(fleet, leader).await, "it woke up, and believed to lead");
        next.map(drop)
    };
    world.switch("revert", "reverted", asleep).await.context("asleep in a revert")?;

    // Cut off from etcd: it stops by itself before the next one begins. And a gateway that nobody hears of.
    let cut_off = async |fleet: &mut Fleet, leader: usize| {
        a_moment().await;
        fleet.orchestrators[leader].cables[0].cut();
        fleet.gateways[HIT].cables.iter().for_each(|cable| cable.cut());
        let next = fleet.other_leader(Some(leader), PATIENCE).await;
        ensure!(!says_that_it_leads(fleet, leader).await, "two lead at once");
        fleet.orchestrators[leader].cables[0].mend();
        next.map(drop)
    };
    world.switch("cutover", "soaking", cut_off).await.context("cut off in a cutover")?;
    world.fleet.gateways[HIT].cables.iter().for_each(|cable| cable.mend());

    // A gateway dies in a switch, and comes back.
    let gateway = async |fleet: &mut Fleet, _: usize| {
        a_moment().await;
        fleet.gateways[HIT].process.kill()?;
        fleet.start_gateway(HIT)
    };
    world.switch("revert", "reverted", gateway).await.context("a gateway killed in a revert")?;

    // etcd is away for longer than a lease: nobody leads, and whoever does next goes on.
    let no_etcd = async |fleet: &mut Fleet, leader: usize| {
        a_moment().await;
        etcd.kill();
        while says_that_it_leads(fleet, leader).await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        etcd.start_again();
        fleet.leader(PATIENCE).await.map(drop)
    };
    world.switch("cutover", "soaking", no_etcd).await.context("without etcd in a cutover")?;

    let fleet = world.settle(SPARED).await?;
    drop(fleet);
    directory.passed();
    Ok(())
}

/// A newer binary, or another configuration, on all of them: gateways make way for their successors, orchestrators end and begin, in the
/// midst of switches too. No request fails, at any gateway.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: part of `make soak`"]
async fn a_fleet_is_restarted_part_by_part_and_nobody_notices() -> Result<()> {
    let (directory, etcd) = (Directory::new(), EtcdServer::start());
    let mut world = World::start(&directory, &etcd).await?;
    for gateway in 0..3 {
        replace(&world.fleet, gateway).await?;
    }
    for orchestrator in 0..2 {
        restart(&mut world.fleet, orchestrator).await?;
    }
    world.switch("cutover", "soaking", async |fleet, leader| restart(fleet, leader).await).await.context("the leader in a cutover")?;
    let both = async |fleet: &mut Fleet, leader: usize| {
        replace(fleet, HIT).await?;
        restart(fleet, 1 - leader).await
    };
    world.switch("revert", "reverted", both).await.context("a gateway and the other orchestrator in a revert")?;
    drop(world.settle(3).await?);
    directory.passed();
    Ok(())
}

/// A gateway's process makes way for another one.
pub(super) async fn replace(fleet: &Fleet, gateway: usize) -> Result<()> {
    let process = &fleet.gateways[gateway].process;
    let followed = || process.log().lines().filter_map(super::handover::told).count();
    let before = followed();
    let pid = process.log().lines().filter_map(super::handover::told).next_back().unwrap_or(process.id());
    super::handover::signal(pid, Signal::USR2);
    super::handover::until(|| followed() > before, "another process takes over").await
}

/// An orchestrator ends as its service manager has it end, and is there again.
pub(super) async fn restart(fleet: &mut Fleet, orchestrator: usize) -> Result<()> {
    let ended = fleet.orchestrators[orchestrator].process.end(PATIENCE)?;
    ensure!(ended.success(), "{ended}");
    fleet.start_orchestrator(orchestrator, &[])?;
    let base = format!("http://127.0.0.1:{}", fleet.orchestrators[orchestrator].port);
    ficus_tests::school::until_up(&base, "/health").await?;
    fleet.leader(PATIENCE).await.map(drop)
}

/// One orchestrator becomes several: its state moves while gateways and agent go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_moves_from_its_file_into_etcd() -> Result<()> {
    let (directory, etcd) = (Directory::new(), EtcdServer::start());
    let mut world = ficus_tests::world::World::start(directory.path(), apart()).await?;
    let load = Load::start(&world.http(), PEOPLE).await?;
    let operator = world.operator()?;
    operator.type_in(&["advance", "users"]).await?;
    walk_in(&world).await?;
    let missing = operator.try_type(&["state", "move"]).await?;
    ensure!(missing.code == 64 && missing.err.contains("[orchestrator.etcd]"), "{missing:?}");

    let file = world.directory.join("ficus.toml");
    let configured = std::fs::read_to_string(&file)?;
    std::fs::write(&file, format!("{configured}\n[orchestrator.etcd]\nendpoints = [\"{}\"]\n", etcd.url()))?;
    let refused = operator.try_type(&["state", "move"]).await?;
    ensure!(refused.code == 3 && refused.err.contains("another orchestrator works on"), "{refused:?}");
    world.ficus.end(Duration::from_secs(20))?;
    let rehearsed = operator.type_in(&["state", "move", "--dry-run"]).await?;
    ensure!(rehearsed.starts_with("would move 1 capability,"), "{rehearsed}");
    let moved = operator.type_in(&["state", "move"]).await?;
    ensure!(moved.starts_with("moved 1 capability,"), "{moved}");
    world.restart_orchestrator().await?;

    let there = operator.until("users", "the phase that it was in", PATIENCE, |status| status["phase"] != "draft").await?;
    ensure!(there["phase"] == "shadowing" || there["phase"] == "ramping", "{there:#}");
    until_accepted(&operator, "cutover").await?;
    operator.until_phase("users", "soaking", PATIENCE).await?;
    operator.type_in(&["journal", "--verify"]).await?;

    // Whoever starts with the file again is told where its state is.
    world.ficus.end(Duration::from_secs(20))?;
    std::fs::write(&file, &configured)?;
    let old = operator.try_type(&["orchestrator"]).await?;
    ensure!(old.code != 0 && old.err.contains("has moved to"), "{old:?}");
    std::fs::write(&file, format!("{configured}\n[orchestrator.etcd]\nendpoints = [\"{}\"]\n", etcd.url()))?;
    world.restart_orchestrator().await?;
    settle(&world, load.stop().await, "the move of the state").await?;
    drop(world);
    directory.passed();
    Ok(())
}

fn apart() -> ficus_tests::world::Plan {
    ficus_tests::world::Plan { apart: true, ..ficus_tests::world::Plan::default() }
}

/// The leader dies as it enters a step, at each of them, there and back; every restart is a rolling one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: part of `make soak`"]
async fn leaders_that_die_at_each_step_of_a_switch() -> Result<()> {
    let (directory, etcd) = (Directory::new(), EtcdServer::start());
    let mut world = World::start(&directory, &etcd).await?;
    for stage in ["fence", "drain", "fence_database", "catch_up", "verify", "sequences", "open", "release"] {
        for (wish, phase) in [("cutover", "soaking"), ("revert", "reverted")] {
            let armed = arm(&mut world.fleet, &format!("orchestrator:{stage}")).await?;
            let died = async |fleet: &mut Fleet, leader: usize| {
                ensure!(leader == armed, "the one that is armed leads");
                fleet.orchestrators[leader].process.wait(PATIENCE).with_context(|| format!("{stage} was never reached"))?;
                fleet.other_leader(Some(leader), PATIENCE).await?;
                fleet.start_orchestrator(leader, &[])
            };
            world.switch(wish, phase, died).await.with_context(|| format!("a {wish}, died at {stage}"))?;
        }
    }
    let fleet = world.settle(SPARED).await?;
    drop(fleet);
    directory.passed();
    Ok(())
}

/// Has an orchestrator lead that dies at a point, with another one standing by that does not.
async fn arm(fleet: &mut Fleet, point: &str) -> Result<usize> {
    let leader = fleet.leader(PATIENCE).await?;
    let other = 1 - leader;
    fleet.orchestrators[other].process.end(Duration::from_secs(20))?;
    fleet.start_orchestrator(other, &crash_at(point))?;
    ficus_tests::school::until_up(&format!("http://127.0.0.1:{}", fleet.orchestrators[other].port), "/health").await?;
    fleet.orchestrators[leader].process.end(Duration::from_secs(20))?;
    let next = fleet.other_leader(Some(leader), PATIENCE).await?;
    fleet.start_orchestrator(leader, &[])?;
    Ok(next)
}
