//! Switches through three gateways, one of which is killed or cut off at some moment of each: nothing is lost or doubled, and
//! nobody at the other two notices.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use ficus_tests::fleet::{Behind, Fleet, Plan};
use ficus_tests::ledger::Ledger;
use ficus_tests::notebook::{self, Book, NAME, Notebook, Pace, RULES, Store, UPSTREAMS, Writers};
use hyper::Method;

use crate::etcd::EtcdServer;
use crate::postgres;
use crate::switches::{PEOPLE, promises, quiet, rate};

const PATIENCE: Duration = Duration::from_secs(120);
const GATEWAYS: usize = 3;

/// Whether all bars were met.
pub(crate) async fn measure(switches: u32, writes: u32) -> Result<bool> {
    let (directory, etcd) = (tempfile::tempdir()?, EtcdServer::start());
    let server = postgres::Server::start(&[]);
    let urls = [server.url(&server.database().await), server.url(&server.database().await)];
    let stores = [Store::open(Book::Old, &urls[0], PEOPLE).await?, Store::open(Book::New, &urls[1], PEOPLE).await?];
    let notebooks = [Notebook::start(stores[0].clone()).await?, Notebook::start(stores[1].clone()).await?];
    let behind = |at: usize| Behind { name: UPSTREAMS[at], port: notebooks[at].port, health: "/health", database: urls[at].clone() };
    let plan = Plan { gateways: GATEWAYS, orchestrators: 2, etcd: etcd.port, validity: "5s", waits: false };
    let mut fleet = Fleet::start_before(directory.path(), plan, [behind(0), behind(1)], NAME, RULES).await?;
    fleet.operator()?.type_in(&["advance", NAME]).await?;
    fleet.until("shadowing", PATIENCE, |status| status["phase"] == "shadowing").await?;
    let pace = Pace::per_second(writes / GATEWAYS as u32);
    let writers: Vec<Writers> = (0..GATEWAYS).map(|at| Writers::start(&fleet.http(at), pace, at as u32)).collect();
    let (begun, mut away) = (Instant::now(), vec![Vec::new(); GATEWAYS]);
    let (mut killed, mut cut) = (0, 0);
    for number in 0..switches {
        let (wish, phase) = if number % 2 == 0 { ("cutover", "soaking") } else { ("revert", "reverted") };
        let (hit, kill) = (rand::random_range(0..GATEWAYS), rand::random_bool(0.5));
        fleet.operator()?.until_accepted(wish, NAME, PATIENCE).await?;
        tokio::time::sleep(Duration::from_millis(rand::random_range(0..60))).await;
        let from = Instant::now();
        if kill {
            killed += 1;
            fleet.gateways[hit].process.kill()?;
        } else {
            cut += 1;
            fleet.gateways[hit].cables.iter().for_each(|cable| cable.cut());
        }
        switched(&fleet, wish, phase).await.with_context(|| format!("switch {number}, gateway {hit}, killed: {kill}"))?;
        if kill {
            fleet.start_gateway(hit)?;
        } else {
            fleet.gateways[hit].cables.iter().for_each(|cable| cable.mend());
        }
        takes_writes(&fleet, hit).await?;
        away[hit].push((from, Instant::now()));
    }
    let took = begun.elapsed();
    let mut ledgers = Vec::new();
    for one in writers {
        ledgers.push(one.stop().await);
    }
    fleet.until("the streams to be empty", PATIENCE, quiet).await?;
    fleet.operator()?.type_in(&["verify", NAME, "--wait", "120s"]).await?;
    let entries: Vec<_> = ledgers.iter().flat_map(Ledger::entries).collect();
    let findings = notebook::audit([&stores[0], &stores[1]], &entries).await?;
    let failed: usize = ledgers.iter().zip(&away).map(|(ledger, away)| ledger.failures_outside(away)).sum();
    let all: Vec<&Ledger> = ledgers.iter().collect();
    let mut met = promises("switches_fleet", [findings.lost.len(), findings.doubled.len()], failed as u64, &all);
    for said in findings.lost.iter().chain(&findings.doubled).take(20) {
        eprintln!("switches_fleet: {said}");
    }
    for (at, ledger) in ledgers.iter().enumerate() {
        let seconds: f64 = away[at].iter().map(|(from, to)| (*to - *from).as_secs_f64()).sum();
        eprintln!("switches_fleet: gateway {at}: {} times away, {seconds:.0} s in all: {:?}", away[at].len(), ledger.failures());
        if failed > 0 {
            eprintln!("switches_fleet: {:?}", ledger.samples());
        }
    }
    eprintln!("switches_fleet: {killed} killed, {cut} cut off");
    // A gateway that is away takes none, and in a switch that waits for its validity to pass nobody does.
    met &= rate("switches_fleet", 0, &all, took);
    for store in &stores {
        store.close().await;
    }
    Ok(met)
}

/// Until it has come about, however often it is taken back.
async fn switched(fleet: &Fleet, wish: &str, phase: &str) -> Result<()> {
    let begun = Instant::now();
    loop {
        let status = fleet.until("the switch to end", PATIENCE, |status| status["phase"] == phase || status["switch"].is_null()).await?;
        if status["phase"] == phase {
            return Ok(());
        }
        ensure!(begun.elapsed() < PATIENCE, "the {wish} never came about: {status:#}");
        let _ = fleet.operator()?.try_type(&[wish, NAME]).await?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Until a gateway takes writes again.
async fn takes_writes(fleet: &Fleet, at: usize) -> Result<()> {
    let (http, begun) = (fleet.http(at), Instant::now());
    loop {
        let body = serde_json::json!({ "address": "nobody in particular" }).to_string();
        let answer = http.send(Method::PUT, &format!("/notes/{PEOPLE}"), &[("content-type", "application/json")], body.into()).await;
        if answer.is_ok_and(|answer| answer.status.is_success()) {
            return Ok(());
        }
        ensure!(begun.elapsed() < PATIENCE, "gateway {at} does not take writes again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
