//! MariaDB on the old side and PostgreSQL on the new one, behind three gateways and two orchestrators; and an agent that is cut
//! off in the middle of a switch and replaced. When it is back it does nothing any more, for its epoch is another one's, and
//! nobody noticed.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use ficus_tests::fleet::{Behind, Fleet, Member, Plan};
use ficus_tests::ledger::Ledger;
use ficus_tests::notebook::{self, Book, NAME, Notebook, Pace, RULES, Store, UPSTREAMS, Writers};
use serde_json::Value;

use super::Directory;
use super::etcd::EtcdServer;
use super::{mariadb, postgres};

const PATIENCE: Duration = Duration::from_secs(180);
const GATEWAYS: u32 = 3;
const PACE: Pace = Pace { writers: 4, every: Duration::from_millis(200) };
/// What an agent says whose capability is another one's.
const SUPERSEDED: &str = "another agent has taken over this capability";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_was_cut_off_and_replaced_does_nothing_when_it_is_back() -> Result<()> {
    let (directory, etcd) = (Directory::new(), EtcdServer::start());
    let (maria, server) = (mariadb::Server::shared(), postgres::Server::shared());
    let database = maria.database().await;
    let urls = [maria.url(&database), server.url(&server.database().await)];
    let people = i64::from(GATEWAYS * PACE.writers);
    // The application's account is not the agent's.
    let app = format!("mysql://root@127.0.0.1:{}/{database}", maria.port);
    let stores = [Store::open(Book::Old, &app, people).await?, Store::open(Book::New, &urls[1], people).await?];
    let notebooks = [Notebook::start(stores[0].clone()).await?, Notebook::start(stores[1].clone()).await?];
    let behind = |at: usize| Behind { name: UPSTREAMS[at], port: notebooks[at].port, health: "/health", database: urls[at].clone() };
    let plan = Plan { gateways: 3, orchestrators: 2, etcd: etcd.port, validity: "12s", waits: false };
    let fleet = Fleet::start_before(directory.path(), plan, [behind(0), behind(1)], NAME, RULES).await?;
    fleet.operator()?.type_in(&["advance", NAME]).await?;
    fleet.until("shadowing", PATIENCE, |status| status["phase"] == "shadowing").await?;
    let writers: Vec<Writers> = (0..GATEWAYS).map(|at| Writers::start(&fleet.http(at as usize), PACE, at)).collect();

    let second = switch_without(&fleet, &fleet.agent, "cutover", "soaking").await?;
    let third = switch_without(&fleet, &second, "revert", "reverted").await?;

    let mut ledgers = Vec::new();
    for one in writers {
        ledgers.push(one.stop().await);
    }
    let quiet = |status: &Value| {
        let agent = &status["agent"];
        agent["forward"]["live"] == true && agent["forward"]["lag_entries"] == 0 && agent["reverse"]["lag_entries"] == 0
    };
    fleet.until("the streams to be empty", PATIENCE, quiet).await?;
    let operator = fleet.operator()?;
    operator.type_in(&["verify", NAME, "--wait", "120s"]).await?;
    operator.type_in(&["journal", "--verify"]).await?;
    ensure!(!third.process.log().contains(SUPERSEDED), "the one that works was superseded: {}", third.process.log());
    let entries: Vec<_> = ledgers.iter().flat_map(Ledger::entries).collect();
    let findings = notebook::audit([&stores[0], &stores[1]], &entries).await?;
    ensure!(findings.lost.is_empty() && findings.doubled.is_empty(), "{findings:?}");
    for (gateway, ledger) in ledgers.iter().enumerate() {
        ensure!(ledger.failures().is_empty(), "somebody at gateway {gateway} noticed: {:?} {:?}", ledger.failures(), ledger.samples());
        ensure!(ledger.stale_reads().is_empty(), "stale at gateway {gateway}: {:?}", ledger.stale_reads());
        ensure!(ledger.acknowledged() > 0, "nobody wrote at gateway {gateway}");
    }
    drop(fleet);
    directory.passed();
    Ok(())
}

/// A switch in which nobody hears of the agent any more, though it has its databases; another one comes, and ends it. Then
/// the first is heard again.
async fn switch_without(fleet: &Fleet, agent: &Member, wish: &str, phase: &str) -> Result<Member> {
    let ready = |status: &Value| status["agent"]["forward"]["live"] == true && status["agent"]["reverse"]["live"] == true;
    fleet.until("both streams", PATIENCE, ready).await?;
    fleet.operator()?.until_accepted(wish, NAME, PATIENCE).await?;
    tokio::time::sleep(Duration::from_millis(rand::random_range(0..200))).await;
    agent.cables.iter().for_each(|cable| cable.cut());
    let next = fleet.another_agent(&format!("agent-after-{wish}")).await?;
    let begun = Instant::now();
    loop {
        let ended = |status: &Value| status["phase"] == phase || status["switch"].is_null();
        let status = fleet.until("the switch to end", PATIENCE, ended).await?;
        if status["phase"] == phase {
            break;
        }
        ensure!(begun.elapsed() < PATIENCE, "the {wish} never came about: {status:#}");
        let _ = fleet.operator()?.try_type(&[wish, NAME]).await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    agent.cables.iter().for_each(|cable| cable.mend());
    while !agent.process.log().contains(SUPERSEDED) {
        ensure!(begun.elapsed() < PATIENCE, "it does not say that another one has taken over: {}", agent.process.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // It says so to the orchestrators, too; theirs is the other one.
    fleet.until("the new one's streams", PATIENCE, |status| ready(status) && status["agent"]["trouble"].is_null()).await?;
    Ok(next)
}
