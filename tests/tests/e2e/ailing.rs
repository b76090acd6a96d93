//! A new service that turns bad, in every way, while its readers grow and after it took the writes: the traffic is taken away
//! from it within two windows, nobody types anything, and nothing is lost. And one that is well is never left.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, ensure};
use axum::routing::post;
use axum::{Json, Router};
use ficus_tests::bare::Bare;
use ficus_tests::http::Http;
use ficus_tests::notebook::{self, Book, Illness, NAME, Notebook, Pace, RULES, Readers, Store, UPSTREAMS, Writers};
use ficus_tests::operator::Operator;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::Directory;

const PATIENCE: Duration = Duration::from_secs(120);
/// What a gate judges by unless the rules say otherwise.
const WINDOW: Duration = ficus_rules::gate::WINDOW;
const PEOPLE: i64 = 60;
const WRITERS: Pace = Pace { writers: 5, every: Duration::from_millis(250) };
const READERS: u32 = 12;
/// How long the old service takes for an answer in the end where the new one grows slow: so long that a busy machine makes
/// neither of them slower. The new one takes more than twice as long then.
const OLD_TAKES: Duration = Duration::from_secs(2);

/// How it turns bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Errors,
    Slow,
    Lies,
    /// The same, where nobody but the old service is asked what is right.
    Differs,
    Dies,
}

/// When it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Ramp,
    Soak,
}

/// Half of the readers, until somebody goes on; or all the way.
fn rules(checks: &str, patient: bool) -> String {
    let (stay, gates) = if patient { ("1h", "") } else { ("500ms", "approve = false") };
    let steps = format!(
        "[[step]]\nshadow = \"100%\"\nhold = \"500ms\"\n\n[[step]]\nreads = \"50%\"\nhold = \"{stay}\"\n\n[[step]]\nreads = \"100%\"\nhold = \"500ms\"\n\n"
    );
    let judged = "[gate.errors]\nmax_increase = \"2%\"\nmin_requests = 40\n\n\
        [gate.latency_p99]\nmax_ratio = 1.5\nmax = \"4s\"\nfloor = \"2500ms\"\nmin_requests = 20\n\n\
        [gate.shadow]\nmax_different = \"1%\"\nmin_requests = 40\n\n";
    let rules = RULES.replacen("[[step]]\nshadow = \"1%\"\nhold = \"1h\"\n\n", &steps, 1);
    let rules = if gates.is_empty() { rules } else { rules.replacen("approve = true", gates, 1).replacen("\"7d\"", "\"2s\"", 1) };
    let checks = if checks.is_empty() { String::new() } else { format!("[gate.checks]\nwebhook = \"{checks}\"\nevery = \"500ms\"\n\n") };
    rules.replacen("[gate.lag]", &format!("{judged}{checks}[gate.lag]"), 1)
}

struct World {
    directory: Directory,
    bare: Bare,
    stores: [Store; 2],
    old: Notebook,
    /// Until it dies.
    new: Option<Notebook>,
    writers: Writers,
    readers: Readers,
}

impl World {
    async fn start(rules_for: impl AsyncFnOnce(&Notebook, &Store) -> Result<String>) -> Result<World> {
        let directory = Directory::new();
        let url = |name: &str| format!("sqlite://{}", directory.path().join(name).display());
        let urls = [url("old.sqlite3"), url("new.sqlite3")];
        let stores = [Store::open(Book::Old, &urls[0], PEOPLE).await?, Store::open(Book::New, &urls[1], PEOPLE).await?];
        let (old, new) = (Notebook::start(stores[0].clone()).await?, Notebook::start(stores[1].clone()).await?);
        let upstreams = [(UPSTREAMS[0], old.port, urls[0].as_str()), (UPSTREAMS[1], new.port, urls[1].as_str())];
        let rules = rules_for(&new, &stores[1]).await?;
        let bare = Bare::start_over(directory.path(), &upstreams, &[("notebook.toml", &rules)]).await?;
        let writers = Writers::start(&bare.http(), WRITERS, 0);
        let readers = Readers::start(&bare.http(), READERS, Duration::from_millis(100));
        bare.operator()?.type_in(&["advance", NAME]).await?;
        Ok(World { directory, bare, stores, old, new: Some(new), writers, readers })
    }

    /// Nothing is lost; the end of everything.
    async fn settle(self) -> Result<()> {
        ensure!(self.readers.count() == READERS as usize, "a reader ended");
        drop(self.readers);
        let ledger = self.writers.stop().await;
        let operator = self.bare.operator()?;
        let quiet = |status: &Value| {
            let agent = &status["agent"];
            agent["forward"]["live"] == true && agent["forward"]["lag_entries"] == 0 && agent["reverse"]["lag_entries"] == 0
        };
        operator.until(NAME, "the streams to be empty", PATIENCE, quiet).await?;
        // The status is of a moment ago: comparing every row waits for what is on its way.
        operator.type_in(&["verify", NAME, "--wait", "120s"]).await?;
        let findings = notebook::audit([&self.stores[0], &self.stores[1]], &ledger.entries()).await?;
        ensure!(findings.lost.is_empty() && findings.doubled.is_empty(), "{findings:?}");
        ensure!(ledger.acknowledged() > 0, "nobody wrote");
        self.directory.passed();
        Ok(())
    }
}

/// Readers and, in the soak, writers are at the new service.
async fn until_it_carries(operator: &Operator, when: When) -> Result<()> {
    operator.until(NAME, "half of the readers", PATIENCE, |status| status["phase"] == "ramping").await?;
    if when == When::Soak {
        let begun = Instant::now();
        loop {
            let printed = operator.try_type(&["cutover", NAME, "--wait", "60s"]).await?;
            if printed.code == 0 {
                break;
            }
            let status = operator.status(NAME).await?;
            ensure!(begun.elapsed() < PATIENCE, "the cutover never came about: {} {status:#}", printed.err);
            if !printed.err.contains("refused") {
                operator.try_type(&["release", NAME]).await?;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    // Enough to judge by, and it passes.
    let passes = |status: &Value| judged(status, "errors") == "pass" && judged(status, "latency_p99") != "fail";
    operator.until(NAME, "a healthy service to be judged so", PATIENCE, passes).await?;
    Ok(())
}

fn judged(status: &Value, gate: &str) -> String {
    let all = status["gates"].as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().find(|one| one["gate"] == gate).and_then(|one| one["verdict"].as_str()).unwrap_or_default().to_owned()
}

async fn journal(bare: &Bare) -> Result<Vec<Value>> {
    let answer = Http::new(&bare.admin_url(), PATIENCE).get("/api/v1/journal?limit=500").await?;
    answer.json()?.as_array().cloned().context("a list")
}

/// What the journal says that nobody typed.
async fn went_back(bare: &Bare) -> Result<Vec<Value>> {
    let kinds = ["stepped_back", "page", "aborted", "hold"];
    // On a crowded machine a stream may lag, of which somebody is told.
    let of_service =
        |entry: &Value| !["lag", "parity", "reverse"].iter().any(|gate| entry["kind"] == "page" && entry["detail"]["gate"] == *gate);
    let back = |entry: &Value| entry["by"].is_null() && (kinds.iter().any(|kind| entry["kind"] == *kind) || says_going_back(entry));
    let back = |entry: &Value| back(entry) && of_service(entry);
    Ok(journal(bare).await?.into_iter().filter(back).collect())
}

fn says_going_back(entry: &Value) -> bool {
    entry["text"].as_str().is_some_and(|text| text.contains("fails (") && text.contains("back to legacy"))
}

/// Checks of the operator's own, which a gate asks for: does the service say what is written in its database?
async fn checks(new: &Notebook, store: &Store) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/verdict", listener.local_addr()?);
    let (service, store) = (Http::new(&format!("http://127.0.0.1:{}", new.port), Duration::from_secs(3)), store.clone());
    // Nobody writes this person's.
    let person = PEOPLE;
    let verdict = move || {
        let (service, store) = (service.clone(), store.clone());
        async move {
            let told = service.get(&format!("/notes/{person}")).await.and_then(|answer| answer.json());
            let verdict = match (told, store.read(person).await) {
                (Ok(told), Ok((address, _))) if told["address"] == json!(address) => "pass",
                (Ok(_), Ok(_)) => "fail",
                _ => "inconclusive",
            };
            Json(json!({ "verdict": verdict, "reason": "what the service says of a person" }))
        }
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/verdict", post(verdict))).await });
    Ok(url)
}

async fn is_left(when: When, turn: Turn) -> Result<()> {
    let checked = when == When::Soak && turn == Turn::Lies;
    let mut world = World::start(async |new, store| {
        let url = if checked { checks(new, store).await? } else { String::new() };
        let compared = if turn == Turn::Differs { "soak = \"7d\"\ncompare = \"50%\"" } else { "soak = \"7d\"" };
        Ok(rules(&url, true).replacen("soak = \"7d\"", compared, 1))
    })
    .await?;
    let operator = world.bare.operator()?;
    until_it_carries(&operator, when).await?;
    let before = went_back(&world.bare).await?;
    ensure!(before.is_empty(), "it was left while it was well: {before:#?}");

    // Half of them are held when it happens: nobody comes to let go of it.
    if matches!(turn, Turn::Errors | Turn::Dies) {
        operator.type_in(&["hold", NAME, "--reason", "exams"]).await?;
    }
    let turned = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    match (turn, &world.new) {
        (Turn::Errors, Some(new)) => new.becomes(Illness::Fails(20)),
        (Turn::Slow, Some(new)) => {
            world.old.becomes(Illness::Slow(OLD_TAKES));
            new.becomes(Illness::Slow(OLD_TAKES * 5 / 2));
        }
        (Turn::Lies | Turn::Differs, Some(new)) => new.becomes(Illness::Lies),
        (Turn::Dies, _) => drop(world.new.take()),
        (_, None) => {}
    }
    let left = |status: &Value| match when {
        When::Ramp => status["owner"] == "legacy" && status["phase"] != "ramping" && status["serving"]["reads"] == 0,
        When::Soak => status["phase"] == "reverted" && status["owner"] == "legacy",
    };
    let status = operator.until(NAME, "the traffic to be taken away", PATIENCE * 2, left).await?;
    let gate = match turn {
        Turn::Errors | Turn::Dies => "gate:errors",
        Turn::Slow => "gate:latency_p99",
        Turn::Lies if when == When::Soak => "gate:checks",
        Turn::Lies | Turn::Differs => "gate:shadow",
    };
    ensure!(status["holds"].to_string().contains(gate), "held by another reason: {}", status["holds"]);
    let entries = journal(&world.bare).await?;
    let kind = if when == When::Ramp { "stepped_back" } else { "switched" };
    let moved = entries.iter().rev().find(|entry| entry["kind"] == kind).context("the journal says that it went back")?;
    ensure!(moved["by"].is_null(), "somebody typed: {moved:#}");
    let took = Duration::from_millis(moved["at"].as_u64().context("a time")?).saturating_sub(turned);
    println!("{when:?}, {turn:?}: away after {took:?}");
    ensure!(took <= WINDOW * 2, "it took {took:?}: {moved:#}");
    let text = serde_json::to_string(&entries)?;
    ensure!(text.contains(&format!("gate {} fails (", gate.trim_start_matches("gate:"))), "the journal does not say why");
    world.settle().await
}

/// A test for each way at each time.
macro_rules! cells {
    ($($name:ident: $when:ident $turn:ident $(#[$more:meta])*;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            $(#[$more])*
            async fn $name() -> Result<()> {
                is_left(When::$when, Turn::$turn).await
            }
        )*
    };
}

cells! {
    errors_in_the_ramp: Ramp Errors;
    twice_the_latency_in_the_ramp: Ramp Slow;
    wrong_data_in_the_ramp: Ramp Lies;
    a_crash_in_the_ramp: Ramp Dies;
    errors_in_the_soak: Soak Errors;
    twice_the_latency_in_the_soak: Soak Slow;
    wrong_data_in_the_soak: Soak Differs;
    what_the_operators_checks_find_in_the_soak: Soak Lies;
    a_crash_in_the_soak: Soak Dies;
}

/// From the draft to the end of the soak, by itself.
async fn moves(number: u32) -> Result<()> {
    let world = World::start(async |_, _| Ok(rules("", false))).await?;
    let operator = world.bare.operator()?;
    operator.until_phase(NAME, "soaking", PATIENCE).await.with_context(|| format!("migration {number}"))?;
    // Until the soak is over: it may retire, and somebody has to say so.
    let over = |status: &Value| status["waiting_for"].to_string().contains("retire");
    operator.until(NAME, "the end of the soak", PATIENCE, over).await.with_context(|| format!("migration {number}"))?;
    let back = went_back(&world.bare).await?;
    ensure!(back.is_empty(), "migration {number}: a healthy service was left: {back:#?}");
    world.settle().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_healthy_service_moves_and_is_never_left() -> Result<()> {
    moves(0).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: part of `make soak`"]
async fn fifty_healthy_services_move_and_none_is_ever_left() -> Result<()> {
    for number in 1..=50 {
        let begun = Instant::now();
        moves(number).await?;
        println!("migration {number}: {:?}", begun.elapsed());
    }
    Ok(())
}
