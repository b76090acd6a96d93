//! Somebody writes to the old database past the gateway once the new side owns, and the rules have it carried over: callers at the
//! gateways read it, the journal tells of it, and on a way back that begins meanwhile nothing of it is lost or doubled.
//! One that never stops keeps nobody from going back, whoever wishes it.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use axum::routing::post;
use axum::{Json, Router};
use ficus_tests::fleet::Plan;
use ficus_tests::ledger::{Ledger, Outcome, Write};
use ficus_tests::notebook::{NAME, Store};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::Directory;
use super::etcd::EtcdServer;
use super::notebooks::{GATEWAYS, Notebooks, Old, PATIENCE};

const FORWARD: &str = "\n[cutover]\nstray_writes = \"forward\"\n";

/// Between two writes of a job: so short that there is always one that is not carried over yet.
const BUSY: Duration = Duration::from_millis(10);

/// A job that writes to the old database, and knows nothing of a gateway.
struct Job {
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Job {
    fn start(store: &Store, ledger: &Ledger, every: Duration) -> Job {
        let (store, ledger, stop) = (store.clone(), ledger.clone(), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                let text = ledger.token("note");
                let written = store.add(Notebooks::nobody(), &text).await;
                ledger.wrote(Write::Note, &text, if written.is_ok() { Outcome::Acknowledged } else { Outcome::Refused });
                tokio::time::sleep(every).await;
            }
        });
        Job { stop, task }
    }

    async fn stop(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        Ok(self.task.await?)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_job_writes_past_the_gateway_is_read_through_it_and_survives_the_way_back() -> Result<()> {
    let (directory, etcd) = (Directory::new(), EtcdServer::start());
    let plan = Plan { gateways: GATEWAYS as usize, orchestrators: 1, etcd: etcd.port, validity: "5s", waits: false };
    let mut world = Notebooks::start_with(&directory, &etcd, Old::MariaDb, plan, FORWARD).await?;
    world.write_at(0..GATEWAYS);
    world.until_ready().await?;
    let operator = world.fleet.operator()?;
    operator.until_accepted("cutover", NAME, PATIENCE).await?;
    world.until_switched("cutover", "soaking").await?;

    // Nobody has to do anything: the job's rows are the new side's, and its next row is numbered behind them.
    let ledger = Ledger::of_group(9);
    let (moved, begun) = (ledger.token("address"), Instant::now());
    while let Err(refused) = world.stores[0].move_house(Notebooks::nobody(), &moved).await {
        ensure!(begun.elapsed() < PATIENCE, "the old database lets no strangers in: {refused:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    ledger.wrote(Write::Address { user: Notebooks::nobody() }, &moved, Outcome::Acknowledged);
    let job = Job::start(&world.stores[0], &ledger, Duration::from_millis(150));
    tokio::time::sleep(Duration::from_secs(3)).await;
    job.stop().await?;
    let written = ledger.acknowledged();
    ensure!(written > 5, "only {written} writes of the job were taken");
    read_through_the_gateways(&world, &ledger, &moved).await?;
    let carried = |status: &Value| {
        let strays = status["agent"]["strays"].as_array().into_iter().flatten().find(|strays| strays["side"] == "legacy").cloned();
        strays.is_some_and(|strays| strays["reported"] == written && strays["unsettled"] == 0)
    };
    world.fleet.until("all to be carried", PATIENCE, carried).await?;
    operator.type_in(&["verify", NAME, "--wait", "60s"]).await?;
    let told = lines(&world).await?;
    ensure!(told.len() == 1 && told[0].contains("to legacy past the gateway") && told[0].contains("account `root@"), "{told:?}");

    // A way back while the job goes on, and never stops: what the database took is there, what it refused is not.
    let job = Job::start(&world.stores[0], &ledger, BUSY);
    tokio::time::sleep(Duration::from_millis(500)).await;
    operator.type_in(&["revert", NAME]).await?;
    until_it_is_back(&world, &ledger).await?;
    job.stop().await?;
    let all = ledger.entries();
    let refused = all.iter().filter(|entry| entry.outcome == Outcome::Refused).count();
    println!("the job wrote {} rows, {refused} were refused during switches", all.len() - refused);
    println!("{:#?}", lines(&world).await?);
    world.settle(GATEWAYS as usize, &[ledger]).await?;
    directory.passed();
    Ok(())
}

/// Modern's writes are taken away from it by a gate of the operator's own, under a job that writes all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_gate_goes_back_under_a_job_that_never_stops() -> Result<()> {
    let (directory, etcd) = (Directory::new(), EtcdServer::start());
    let plan = Plan { gateways: GATEWAYS as usize, orchestrators: 1, etcd: etcd.port, validity: "5s", waits: false };
    let (fails, listener) = (Arc::new(AtomicBool::new(false)), TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?);
    let gate = format!("\n[gate.checks]\nwebhook = \"http://{}/\"\nevery = \"500ms\"\n{FORWARD}", listener.local_addr()?);
    let failing = Arc::clone(&fails);
    let verdict = move || {
        let verdict = if failing.load(Ordering::Relaxed) { "fail" } else { "pass" };
        async move { Json(json!({ "verdict": verdict, "reason": "somebody was asked" })) }
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/", post(verdict))).await });
    let mut world = Notebooks::start_with(&directory, &etcd, Old::Postgres, plan, &gate).await?;
    world.write_at(0..GATEWAYS);
    world.until_ready().await?;
    world.fleet.operator()?.until_accepted("cutover", NAME, PATIENCE).await?;
    world.until_switched("cutover", "soaking").await?;

    let ledger = Ledger::of_group(9);
    let job = Job::start(&world.stores[0], &ledger, BUSY);
    world.fleet.until("strangers to be let in", PATIENCE, |status| reported(status) > 100).await?;
    fails.store(true, Ordering::Relaxed);
    let status = until_it_is_back(&world, &ledger).await?;
    ensure!(status["holds"].to_string().contains("gate:checks"), "it went back for another reason: {}", status["holds"]);
    job.stop().await?;
    world.settle(GATEWAYS as usize, &[ledger]).await?;
    directory.passed();
    Ok(())
}

fn reported(status: &Value) -> u64 {
    let sides = status["agent"]["strays"].as_array().into_iter().flatten();
    sides.filter(|strays| strays["side"] == "legacy").filter_map(|strays| strays["reported"].as_u64()).sum()
}

/// At the first try, and without waiting for the job: it writes again as soon as legacy owns.
async fn until_it_is_back(world: &Notebooks, ledger: &Ledger) -> Result<Value> {
    let status = world.fleet.until("the way back", PATIENCE, |status| status["phase"] == "reverted").await?;
    let before = ledger.acknowledged();
    let begun = Instant::now();
    while ledger.acknowledged() < before + 10 {
        ensure!(begun.elapsed() < PATIENCE, "the job's writes are refused for good");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let journal = journal(world).await?;
    let aborted: Vec<_> = journal.iter().filter(|entry| entry["kind"] == "aborted").collect();
    ensure!(aborted.is_empty(), "{aborted:#?}");
    println!("{}", journal.iter().rev().find(|entry| entry["kind"] == "switched").context("it went back")?["text"]);
    Ok(status)
}

/// At every gateway the job's newest note is there, and the address that it set.
async fn read_through_the_gateways(world: &Notebooks, ledger: &Ledger, address: &str) -> Result<()> {
    let newest = ledger.entries().last().context("one was written")?.token.clone();
    for gateway in 0..GATEWAYS as usize {
        let (http, begun) = (world.fleet.http(gateway), Instant::now());
        loop {
            let answer = http.get(&format!("/notes/{}", Notebooks::nobody())).await?;
            let side = answer.header("x-ficus-side").unwrap_or_default().to_owned();
            let read = answer.json()?;
            if side == "modern" && read["address"] == address && read["notes"][0] == newest.as_str() {
                break;
            }
            ensure!(begun.elapsed() < PATIENCE, "gateway {gateway}: {newest} and {address} are not in {read} of {side}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}

async fn journal(world: &Notebooks) -> Result<Vec<Value>> {
    let journal = world.fleet.operator()?.type_in(&["journal", NAME, "--limit", "500", "--json"]).await?;
    Ok(serde_json::from_str(&journal)?)
}

/// What the journal says of it.
async fn lines(world: &Notebooks) -> Result<Vec<String>> {
    let entries = journal(world).await?;
    Ok(entries.iter().filter(|entry| entry["kind"] == "strays").filter_map(|entry| Some(entry["text"].as_str()?.to_owned())).collect())
}
