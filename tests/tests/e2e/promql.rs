//! A gate of the operator's own asks a real Prometheus, which scrapes a queue. While nobody can be asked, no traffic moves, forth or
//! back, and it is said; when the queue grows too long, the traffic goes back, and nobody types anything.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::routing::get;
use ficus_tests::bare::Bare;
use ficus_tests::notebook::{self, Book, NAME, Notebook, Pace, RULES, Readers, Store, UPSTREAMS, Writers};
use ficus_tests::operator::Operator;
use ficus_tests::process::free_port;
use ficus_tests::prometheus::Prometheus;
use serde_json::Value;
use tokio::net::TcpListener;

use super::Directory;

const PATIENCE: Duration = Duration::from_secs(120);
/// For so long nothing may happen while nobody can be asked: a lag that nobody knows would lead back by then.
const UNASKED: Duration = Duration::from_secs(12);
const PEOPLE: i64 = 20;
const READERS: u32 = 4;
const QUERY: &str = "max by () (notebook_queue_length{job=\"queue\"})";

fn rules() -> String {
    let steps = "[[step]]\nshadow = \"100%\"\nhold = \"500ms\"\n\n[[step]]\nreads = \"50%\"\nhold = \"1h\"\n\n";
    let gate = format!("[gate.queue]\npromql = '{QUERY}'\nmax = 100\nevery = \"500ms\"\ndeadline = \"2s\"\n\n");
    RULES.replacen("[[step]]\nshadow = \"1%\"\nhold = \"1h\"\n\n", steps, 1).replacen(
        "[gate.lag]\nmax = \"2s\"",
        &format!("{gate}[gate.lag]\nmax = \"1m\""),
        1,
    )
}

/// What the new service counts, for whoever scrapes it.
async fn queue() -> Result<(Arc<AtomicU64>, u16)> {
    let length = Arc::new(AtomicU64::new(3));
    let told = Arc::clone(&length);
    let page = move || async move {
        format!("# TYPE notebook_queue_length gauge\nnotebook_queue_length{{kind=\"letters\"}} {}\n", told.load(Ordering::SeqCst))
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/metrics", get(page))).await });
    Ok((length, port))
}

struct World {
    bare: Bare,
    operator: Operator,
    length: Arc<AtomicU64>,
    /// Where Prometheus is, or would be.
    port: u16,
    folder: PathBuf,
    jobs: String,
    _services: [Notebook; 2],
}

impl World {
    async fn start(directory: &Directory, stores: [&Store; 2], urls: &[String; 2]) -> Result<World> {
        let services = [Notebook::start(stores[0].clone()).await?, Notebook::start(stores[1].clone()).await?];
        let upstreams = [(UPSTREAMS[0], services[0].port, urls[0].as_str()), (UPSTREAMS[1], services[1].port, urls[1].as_str())];
        let (length, exporter) = queue().await?;
        let port = free_port()?;
        let more = format!("[orchestrator]\nprometheus = \"http://127.0.0.1:{port}\"\n");
        let bare = Bare::start_over_with(directory.path(), &upstreams, &[("notebook.toml", &rules())], &more).await?;
        let jobs = format!("  - job_name: queue\n    static_configs:\n      - targets: [\"127.0.0.1:{exporter}\"]\n");
        let operator = bare.operator()?;
        Ok(World { bare, operator, length, port, folder: directory.path().join("prometheus"), jobs, _services: services })
    }

    async fn prometheus(&self) -> Result<Prometheus> {
        Prometheus::start_at(self.port, &self.folder, &self.jobs).await
    }

    async fn until_judged(&self, verdict: &str, measured: &str) -> Result<Value> {
        let is = |status: &Value| {
            let gate = gate(status);
            gate["verdict"] == verdict && gate["measured"].as_str().is_some_and(|text| text.contains(measured))
        };
        self.operator.until(NAME, &format!("the queue to be judged {verdict}, {measured}"), PATIENCE, is).await
    }

    /// Nobody can be asked: that is said, and for a long while nothing else happens.
    async fn nothing_moves(&self) -> Result<()> {
        let before = self.until_judged("error", "Prometheus: ").await?;
        let said = self.operator.type_in(&["status", NAME]).await?;
        let line = said.lines().find(|line| line.contains("queue")).with_context(|| format!("the gate is not shown: {said}"))?;
        ensure!(line.contains("error") && line.contains("Prometheus"), "{line}");
        let (begun, lines) = (Instant::now(), self.journal().await?.len());
        while begun.elapsed() < UNASKED {
            let now = self.operator.status(NAME).await?;
            for what in ["phase", "step", "owner", "holds"] {
                ensure!(now[what] == before[what], "{what} moved while nobody could be asked: {now:#}");
            }
            ensure!(now["serving"]["reads"] == before["serving"]["reads"], "reads moved while nobody could be asked: {now:#}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        ensure!(gate(&self.operator.status(NAME).await?)["verdict"] == "error", "somebody was asked");
        let told = self.journal().await?;
        let moved: Vec<_> = told[lines..].iter().filter(|entry| entry["kind"] != "page" && entry["kind"] != "verified").collect();
        ensure!(moved.is_empty(), "{moved:#?}");
        Ok(())
    }

    async fn journal(&self) -> Result<Vec<Value>> {
        let told: Value = serde_json::from_str(&self.operator.type_in(&["journal", NAME, "--limit", "1000", "--json"]).await?)?;
        told.as_array().cloned().context("a list")
    }

    /// What the journal says of a way back since so many lines: of this kind, by nobody, for the queue alone.
    async fn says_why(&self, since: usize, kind: &str) -> Result<()> {
        let told = self.journal().await?;
        let typed = told[since..].iter().find(|entry| !entry["by"].is_null());
        ensure!(typed.is_none(), "somebody typed: {typed:#?}");
        let back = told[since..].iter().find(|entry| entry["kind"] == kind && entry["detail"]["gates"]["queue"]["verdict"] == "fail");
        let back = back.with_context(|| format!("no {kind} with what was measured: {:#?}", &told[since..]))?;
        let text = back["text"].as_str().context("a text")?;
        ensure!(text.contains("gate queue fails (250, limit at most 100)"), "{text}");
        ensure!(back["detail"]["gates"]["queue"]["measured"] == "250, limit at most 100", "{back:#}");
        println!("{kind}: {text}");
        Ok(())
    }

    /// The queue is short again, and Prometheus knows it.
    async fn shrinks(&self, prometheus: &Prometheus) -> Result<()> {
        self.length.store(3, Ordering::SeqCst);
        let begun = Instant::now();
        while prometheus.query(QUERY).await?.first().is_none_or(|series| series.values != [3.0]) {
            ensure!(begun.elapsed() < PATIENCE, "it is not scraped");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// The queue grows too long; what the capability is then.
    async fn grows(&self, back: impl Fn(&Value) -> bool) -> Result<usize> {
        let since = self.journal().await?.len();
        self.length.store(250, Ordering::SeqCst);
        let begun = Instant::now();
        let status = self.operator.until(NAME, "the traffic to be taken away", PATIENCE, back).await?;
        println!("away after {:?}", begun.elapsed());
        ensure!(status["holds"].to_string().contains("gate:queue"), "held by another reason: {}", status["holds"]);
        Ok(since)
    }
}

fn gate(status: &Value) -> Value {
    let all = status["gates"].as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().find(|one| one["gate"] == "queue").cloned().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_prometheus_knows_takes_the_traffic_back_and_its_silence_does_not() -> Result<()> {
    let directory = Directory::new();
    let url = |name: &str| format!("sqlite://{}", directory.path().join(name).display());
    let urls = [url("old.sqlite3"), url("new.sqlite3")];
    let stores = [Store::open(Book::Old, &urls[0], PEOPLE).await?, Store::open(Book::New, &urls[1], PEOPLE).await?];
    let world = World::start(&directory, [&stores[0], &stores[1]], &urls).await?;
    let writers = Writers::start(&world.bare.http(), Pace { writers: 2, every: Duration::from_millis(250) }, 0);
    let readers = Readers::start(&world.bare.http(), READERS, Duration::from_millis(100));
    let operator = &world.operator;
    operator.type_in(&["advance", NAME]).await?;

    // WHEN there is no Prometheus THEN no reader goes to the new service
    operator.until_phase(NAME, "shadowing", PATIENCE).await?;
    world.nothing_moves().await?;
    // WHEN there is one THEN they do, and while it is gone they stay
    let prometheus = world.prometheus().await?;
    operator.until_phase(NAME, "ramping", PATIENCE).await?;
    world.until_judged("pass", "3, limit at most 100").await?;
    prometheus.kill()?;
    world.nothing_moves().await?;
    let prometheus = world.prometheus().await?;
    world.until_judged("pass", "3, limit at most 100").await?;

    // WHEN the queue grows in the ramp THEN all readers go back
    let since = world.grows(|status| status["phase"] == "streaming" && status["serving"]["reads"] == 0).await?;
    world.says_why(since, "stepped_back").await?;

    // GIVEN that it is short again, and that modern has taken the writes
    world.shrinks(&prometheus).await?;
    operator.type_in(&["release", NAME]).await?;
    operator.until_phase(NAME, "ramping", PATIENCE).await?;
    world.until_judged("pass", "3, limit at most 100").await?;
    operator.until_accepted("cutover", NAME, PATIENCE).await?;
    operator.until_phase(NAME, "soaking", PATIENCE).await?;
    world.until_judged("pass", "3, limit at most 100").await?;
    // WHEN Prometheus dies THEN the writes stay
    prometheus.kill()?;
    world.nothing_moves().await?;
    let prometheus = world.prometheus().await?;
    world.until_judged("pass", "3, limit at most 100").await?;
    // WHEN the queue grows THEN they go back
    let since = world.grows(|status| status["phase"] == "reverted" && status["owner"] == "legacy").await?;
    world.says_why(since, "stage").await?;

    ensure!(readers.count() == READERS as usize, "a reader ended");
    drop((readers, prometheus));
    let ledger = writers.stop().await;
    operator.type_in(&["verify", NAME, "--wait", "120s"]).await?;
    let findings = notebook::audit([&stores[0], &stores[1]], &ledger.entries()).await?;
    ensure!(findings.lost.is_empty() && findings.doubled.is_empty() && ledger.acknowledged() > 0, "{findings:?}");
    drop(world);
    directory.passed();
    Ok(())
}
