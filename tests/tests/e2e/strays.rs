//! Somebody writes to the old database past the gateway once the new side owns, and the rules have it carried over: callers at the
//! gateways read it, the journal tells of it, and on a way back that begins meanwhile nothing of it is lost or doubled.
//! One that never stops keeps nobody from going back, whoever wishes it. One that was already running when the writes moved loses nothing
//! that it was told to be written. And each capability has its own rule for it.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use axum::routing::post;
use axum::{Json, Router};
use ficus_tests::bare::Bare;
use ficus_tests::fleet::Plan;
use ficus_tests::ledger::{Ledger, Outcome, Write};
use ficus_tests::notebook::{Book, NAME, Notebook, RULES, Store, UPSTREAMS};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::Directory;
use super::etcd::EtcdServer;
use super::notebooks::{GATEWAYS, Notebooks, Old, PATIENCE, Rows};
use super::postgres;

const FORWARD: &str = "\n[cutover]\nstray_writes = \"forward\"\n";

/// Between two writes of a job: so short that there is always one that is not carried over yet.
const BUSY: Duration = Duration::from_millis(10);

/// For how long some jobs have a transaction open: less than makes it an old one, for which a switch does not begin.
const OPEN: Duration = Duration::from_millis(600);

/// A job that writes to the old database, and knows nothing of a gateway.
struct Job {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Vec<Done>>,
}

/// A transaction that was acknowledged: when it began, and when it was done.
type Done = (Instant, Instant);

impl Job {
    fn start(store: &Store, ledger: &Ledger, every: Duration) -> Job {
        Job::start_slow(store, ledger, every, Duration::ZERO)
    }

    /// Each of its transactions stays open for a while.
    fn start_slow(store: &Store, ledger: &Ledger, every: Duration, open: Duration) -> Job {
        let (store, ledger, stop) = (store.clone(), ledger.clone(), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let mut done = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let (text, begun) = (ledger.token("note"), Instant::now());
                let written = match open {
                    Duration::ZERO => store.add(Notebooks::nobody(), &text).await,
                    _ => store.add_slowly(Notebooks::nobody(), &text, open).await,
                };
                done.extend(written.is_ok().then(|| (begun, Instant::now())));
                ledger.wrote(Write::Note, &text, if written.is_ok() { Outcome::Acknowledged } else { Outcome::Refused });
                tokio::time::sleep(every).await;
            }
            done
        });
        Job { stop, task }
    }

    /// What was acknowledged.
    async fn stop(self) -> Result<Vec<Done>> {
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_that_run_through_a_cutover_and_are_refused_lose_nothing_that_was_written() -> Result<()> {
    runs_through_a_cutover(Old::Postgres, "").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_that_run_through_a_cutover_and_are_carried_over_lose_nothing_that_was_written() -> Result<()> {
    runs_through_a_cutover(Old::MariaDb, FORWARD).await
}

/// One writes all the time; two have a transaction open, one or the other always, also when the cutover is wished.
async fn runs_through_a_cutover(old: Old, mode: &str) -> Result<()> {
    let (directory, etcd) = (Directory::new(), EtcdServer::start());
    let plan = Plan { gateways: GATEWAYS as usize, orchestrators: 1, etcd: etcd.port, validity: "5s", waits: false };
    let mut world = Notebooks::start_with(&directory, &etcd, old, plan, mode).await?;
    world.write_at(0..GATEWAYS);
    world.until_ready().await?;
    let ledgers = [9, 10, 11].map(Ledger::of_group);
    let mut jobs = vec![Job::start(&world.stores[0], &ledgers[0], BUSY)];
    for ledger in &ledgers[1..] {
        jobs.push(Job::start_slow(&world.stores[0], ledger, BUSY, OPEN));
        tokio::time::sleep(OPEN / 2).await;
    }
    world.fleet.operator()?.until_accepted("cutover", NAME, PATIENCE).await?;
    let wished = Instant::now();
    world.until_switched("cutover", "soaking").await?;
    let moved = Instant::now();
    if mode.is_empty() {
        tokio::time::sleep(Duration::from_secs(2)).await;
    } else {
        world.fleet.until("strangers to be let in", PATIENCE, |status| reported(status) > 20).await?;
    }
    let mut done = Vec::new();
    for job in jobs {
        done.extend(job.stop().await?);
    }
    let open = done.iter().filter(|(begun, ended)| *begun < wished && *ended > wished && *ended < moved).count();
    let later = done.iter().filter(|(begun, _)| *begun > moved).count();
    let refused = ledgers.iter().flat_map(Ledger::entries).filter(|entry| entry.outcome == Outcome::Refused).count();
    println!(
        "{} were written, {open} of them begun before the wish and done during the cutover, {later} after it; {refused} refused",
        done.len()
    );
    ensure!(open > 0, "no transaction was open when the cutover was wished");
    ensure!(refused > 0, "nobody was refused");
    if mode.is_empty() {
        ensure!(later == 0, "legacy's database took {later} writes after the cutover");
    } else {
        ensure!(later > 0, "legacy's database takes no strangers' writes");
        world.fleet.until("all to be carried", PATIENCE, |status| strays(status, "unsettled") == 0).await?;
    }
    world.settle(GATEWAYS as usize, &ledgers).await?;
    directory.passed();
    Ok(())
}

/// Beside the notes, in the same two databases.
const PEOPLE: &str = r#"[capability]
name = "people"
legacy = "old-notebook"
modern = "new-notebook"

[[route]]
path = "/people/{*rest}"

[[step]]
cutover = true
approve = true

[[step]]
soak = "1d"

[[table]]
legacy = "person"
modern = "people"

[cutover]
stray_writes = "report"
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_capability_refuses_strangers_and_its_neighbour_in_the_database_lets_them_in() -> Result<()> {
    let (directory, server) = (Directory::new(), postgres::Server::shared());
    let rows = [Rows::in_postgres(server).await, Rows::in_postgres(server).await];
    let person = Notebooks::nobody();
    let stores = [Store::open(Book::Old, &rows[0].app, person).await?, Store::open(Book::New, &rows[1].app, person).await?];
    let services = [Notebook::start(stores[0].clone()).await?, Notebook::start(stores[1].clone()).await?];
    let upstreams = [0, 1].map(|at| (UPSTREAMS[at], services[at].port, rows[at].agent.as_str()));
    let notes = RULES.replace("[[table]]\nlegacy = \"person\"\nmodern = \"people\"\n\n", "");
    ensure!(notes != RULES, "people are still in the other rules");
    let bare = Bare::start_over(directory.path(), &upstreams, &[("notebook.toml", &notes), ("people.toml", PEOPLE)]).await?;
    let operator = bare.operator()?;
    for (name, phase) in [(NAME, "shadowing"), ("people", "streaming")] {
        operator.type_in(&["advance", name]).await?;
        operator.until_phase(name, phase, PATIENCE).await?;
        operator.until_accepted("cutover", name, PATIENCE).await?;
        operator.until_phase(name, "soaking", PATIENCE).await?;
    }

    // WHEN a stranger writes to a table of each THEN one is refused, the other is let in, and each capability says its own
    let begun = Instant::now();
    while let Err(refused) = stores[0].move_house(person, "past the gateway").await {
        ensure!(begun.elapsed() < PATIENCE, "the old database lets no strangers in: {refused:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let refused = stores[0].add(person, "past the gateway").await.err().context("the old database takes a note")?;
    ensure!(format!("{refused:#}").contains("ficus: table"), "{refused:#}");
    operator.until(NAME, "one to be refused", PATIENCE, |status| (strays(status, "refused"), reported(status)) == (1, 0)).await?;
    let told = |status: &Value| (reported(status), strays(status, "unsettled")) == (1, 1);
    operator.until("people", "one to be let in", PATIENCE, told).await?;

    // AND it is carried nowhere; its capability goes back once somebody has decided, and the other one at once
    ensure!(stores[1].read(person).await?.0 == "address", "the new side has it");
    let printed = operator.try_type(&["revert", "people"]).await?;
    ensure!(printed.code != 0 && printed.err.contains("past the gateway"), "{printed:?}");
    operator.until_accepted("revert", NAME, PATIENCE).await?;
    operator.until_phase(NAME, "reverted", PATIENCE).await?;
    operator.type_in(&["repair", "people"]).await?;
    operator.until_accepted("revert", "people", PATIENCE).await?;
    operator.until_phase("people", "reverted", PATIENCE).await?;
    ensure!(stores[0].read(person).await?.0 == "address", "the repair left what the stranger wrote");
    drop(bare);
    directory.passed();
    Ok(())
}

/// A count of the strangers at legacy's database.
fn strays(status: &Value, what: &str) -> u64 {
    let sides = status["agent"]["strays"].as_array().into_iter().flatten();
    sides.filter(|strays| strays["side"] == "legacy").filter_map(|strays| strays[what].as_u64()).sum()
}

fn reported(status: &Value) -> u64 {
    strays(status, "reported")
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
