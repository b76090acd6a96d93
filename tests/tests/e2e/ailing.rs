//! A new service that turns bad, in every way, while its readers grow and after it took the writes: the traffic is taken away
//! from it within two windows, nobody types anything, and nothing is lost. And one that is well is never left.

mod healthy;
mod world;

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, ensure};
use axum::routing::post;
use axum::{Json, Router};
use ficus_tests::http::Http;
use ficus_tests::notebook::{Illness, NAME, Notebook, Store};
use ficus_tests::operator::Operator;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use self::world::{Engines, Latency, PATIENCE, PEOPLE, World, patient};

/// What a gate judges by unless the rules say otherwise.
const WINDOW: Duration = ficus_rules::gate::WINDOW;
const READERS: u32 = 12;
/// Where each answer takes long.
const SLOW_READERS: u32 = 40;
/// How long the old service takes for an answer where the new one grows slow: so long that a busy machine makes neither of
/// them slower. The new one takes as long, and then twice as long.
const OLD_TAKES: Duration = Duration::from_secs(2);
/// How long somebody waits for an answer, and where the service hangs: long before the gateway would give it up.
const CALLERS_WAIT: Duration = Duration::from_secs(60);
const CALLERS_WAIT_BRIEFLY: Duration = Duration::from_secs(2);

/// How it turns bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Errors,
    Slow,
    Lies,
    /// The same, where nobody but the old service is asked what is right.
    Differs,
    Dies,
    Hangs,
    /// In transactions that stay open.
    HangsWithin,
}

/// When it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Ramp,
    Soak,
}

/// Readers and, in the soak, writers are at the new service.
async fn until_it_carries(operator: &Operator, when: When, turn: Turn) -> Result<()> {
    operator.until(NAME, "half of the readers", PATIENCE, |status| status["phase"] == "ramping").await?;
    // In the soak it is held against what the old service took before.
    if turn == Turn::Slow {
        operator.until(NAME, "one that is as slow to be judged by the other", PATIENCE, is_as_slow).await?;
    }
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
    let passes = |status: &Value| {
        let in_time = if turn == Turn::Slow { is_as_slow(status) } else { judged(status, "latency_p99").0 != "fail" };
        judged(status, "errors").0 == "pass" && in_time
    };
    operator.until(NAME, "a healthy service to be judged so", PATIENCE, passes).await?;
    Ok(())
}

/// It is held against the old one, and against nothing else.
fn is_as_slow(status: &Value) -> bool {
    let (verdict, measured) = judged(status, "latency_p99");
    verdict == "pass" && measured.contains(", limit 1.6×")
}

/// What a gate says, and what was measured.
fn judged<'a>(status: &'a Value, gate: &str) -> (&'a str, &'a str) {
    let all = status["gates"].as_array().map(Vec::as_slice).unwrap_or_default();
    let said = |name| all.iter().find(|one| one["gate"] == gate).and_then(|one| one[name].as_str()).unwrap_or_default();
    (said("verdict"), said("measured"))
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

async fn is_left(engines: Engines, when: When, turn: Turn) -> Result<()> {
    let slow = turn == Turn::Slow;
    let (readers, latency) = if slow { (SLOW_READERS, Latency::ByRatio) } else { (READERS, Latency::Leniently) };
    let checked = when == When::Soak && turn == Turn::Lies;
    let callers_wait = if matches!(turn, Turn::Hangs | Turn::HangsWithin) { CALLERS_WAIT_BRIEFLY } else { CALLERS_WAIT };
    let mut world = World::start(engines, readers, callers_wait, async |new, store| {
        let url = if checked { checks(new, store).await? } else { String::new() };
        let compared = if turn == Turn::Differs { "soak = \"7d\"\ncompare = \"50%\"" } else { "soak = \"7d\"" };
        Ok(patient(latency, &url).replacen("soak = \"7d\"", compared, 1))
    })
    .await?;
    if slow {
        [Some(&world.old), world.new.as_ref()].iter().flatten().for_each(|one| one.becomes(Illness::Slow(OLD_TAKES)));
    }
    let operator = world.bare.operator()?;
    until_it_carries(&operator, when, turn).await?;
    let before = world.went_back().await?;
    ensure!(before.is_empty(), "it was left while it was as well as the old one: {before:#?}");

    // Half of them are held when it happens: nobody comes to let go of it.
    if matches!(turn, Turn::Errors | Turn::Dies) {
        operator.type_in(&["hold", NAME, "--reason", "exams"]).await?;
    }
    let (turned, turned_at) = (Instant::now(), SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?);
    match (turn, &world.new) {
        (Turn::Errors, Some(new)) => new.becomes(Illness::Fails(20)),
        (Turn::Slow, Some(new)) => new.becomes(Illness::Slow(OLD_TAKES * 2)),
        (Turn::Lies | Turn::Differs, Some(new)) => new.becomes(Illness::Lies),
        (Turn::Hangs, Some(new)) => new.becomes(Illness::Hangs),
        (Turn::HangsWithin, Some(new)) => new.becomes(Illness::HangsWithin),
        (Turn::Dies, _) => drop(world.new.take()),
        (_, None) => {}
    }
    let left = |status: &Value| match when {
        When::Ramp => status["owner"] == "legacy" && status["phase"] != "ramping" && status["serving"]["reads"] == 0,
        When::Soak => status["phase"] == "reverted" && status["owner"] == "legacy",
    };
    let status = operator.until(NAME, "the traffic to be taken away", WINDOW * 2, left).await?;
    let held_by = |gate| status["holds"].to_string().contains(gate);
    let gate = match turn {
        // A dead one does not answer what is mirrored to it, either.
        Turn::Dies | Turn::Hangs if when == When::Ramp && held_by("gate:shadow") => "gate:shadow",
        Turn::Errors | Turn::Dies | Turn::Hangs | Turn::HangsWithin => "gate:errors",
        Turn::Slow => "gate:latency_p99",
        Turn::Lies if when == When::Soak => "gate:checks",
        Turn::Lies | Turn::Differs => "gate:shadow",
    };
    ensure!(held_by(gate), "held by another reason: {}", status["holds"]);
    // What people feel: who is answered by it, and who no longer.
    let a_while = Duration::from_secs(2) + if slow { OLD_TAKES * 2 } else { Duration::ZERO };
    let last = world.until_nobody_is_at_new(a_while, turned + WINDOW * 2).await?;
    let felt = last.saturating_duration_since(turned);

    let entries = world.journal().await?;
    let kind = if when == When::Ramp { "stepped_back" } else { "switched" };
    let moved = entries.iter().rev().find(|entry| entry["kind"] == kind).context("the journal says that it went back")?;
    ensure!(moved["by"].is_null(), "somebody typed: {moved:#}");
    let took = Duration::from_millis(moved["at"].as_u64().context("a time")?).saturating_sub(turned_at);
    println!("{engines:?}, {when:?}, {turn:?}: away after {took:?} by the journal, the last answer of the new one after {felt:?}");
    ensure!(took <= WINDOW * 2 && felt <= WINDOW * 2, "it took {took:?}, {felt:?}: {moved:#}");
    let text = serde_json::to_string(&entries)?;
    ensure!(text.contains(&format!("gate {} fails (", gate.trim_start_matches("gate:"))), "the journal does not say why");
    ensure!(turn != Turn::HangsWithin || text.contains("was ended: pid "), "the journal does not say whose sessions were ended");
    ensure!(world.last_of_new() == Some(last), "somebody came back to it");
    world.settle().await
}

/// A test for each way at each time.
macro_rules! cells {
    ($engines:ident: $($name:ident: $when:ident $turn:ident $(#[$more:meta])*;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            $(#[$more])*
            async fn $name() -> Result<()> {
                is_left(Engines::$engines, When::$when, Turn::$turn).await
            }
        )*
    };
}

cells! {
    Sqlite:
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

cells! {
    Postgres:
    errors_in_the_ramp_on_postgresql: Ramp Errors;
    wrong_data_in_the_soak_on_postgresql: Soak Differs;
    silence_in_the_ramp_on_postgresql: Ramp Hangs;
    silence_in_the_soak_on_postgresql: Soak Hangs;
    silence_within_transactions_in_the_soak_on_postgresql: Soak HangsWithin;
    twice_the_latency_in_the_ramp_on_postgresql: Ramp Slow #[ignore = "part of `make soak`"];
    wrong_data_in_the_ramp_on_postgresql: Ramp Lies #[ignore = "part of `make soak`"];
    a_crash_in_the_ramp_on_postgresql: Ramp Dies #[ignore = "part of `make soak`"];
    errors_in_the_soak_on_postgresql: Soak Errors #[ignore = "part of `make soak`"];
    twice_the_latency_in_the_soak_on_postgresql: Soak Slow #[ignore = "part of `make soak`"];
    what_the_operators_checks_find_in_the_soak_on_postgresql: Soak Lies #[ignore = "part of `make soak`"];
    a_crash_in_the_soak_on_postgresql: Soak Dies #[ignore = "part of `make soak`"];
}

cells! {
    MariaDbToPostgres:
    errors_in_the_ramp_from_mariadb_to_postgresql: Ramp Errors #[ignore = "part of `make soak`"];
    twice_the_latency_in_the_ramp_from_mariadb_to_postgresql: Ramp Slow #[ignore = "part of `make soak`"];
    wrong_data_in_the_ramp_from_mariadb_to_postgresql: Ramp Lies #[ignore = "part of `make soak`"];
    a_crash_in_the_ramp_from_mariadb_to_postgresql: Ramp Dies #[ignore = "part of `make soak`"];
    errors_in_the_soak_from_mariadb_to_postgresql: Soak Errors #[ignore = "part of `make soak`"];
    twice_the_latency_in_the_soak_from_mariadb_to_postgresql: Soak Slow #[ignore = "part of `make soak`"];
    wrong_data_in_the_soak_from_mariadb_to_postgresql: Soak Differs #[ignore = "part of `make soak`"];
    what_the_operators_checks_find_in_the_soak_from_mariadb_to_postgresql: Soak Lies #[ignore = "part of `make soak`"];
    a_crash_in_the_soak_from_mariadb_to_postgresql: Soak Dies #[ignore = "part of `make soak`"];
}
