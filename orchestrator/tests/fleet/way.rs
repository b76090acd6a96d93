//! The way of a capability.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ficus_rules::Side;
use ficus_rules::api::CapabilityStatus;
use ficus_rules::migration::{Phase, Stage};
use hyper::{Method, StatusCode};
use serde_json::json;

use crate::support::World;

/// As far as the approval of the cutover.
async fn walk_in(world: &World) {
    world.must("advance").await;
    world.until("the cutover step", |s| s.step_action.as_deref() == Some("cutover")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_and_back_and_there_again() {
    let world = World::start(|_| {}).await;
    walk_in(&world).await;
    assert_eq!(world.users().await.waiting_for[0].text, "step 3 waits for approval: `ficus approve`");
    world.must("approve").await;
    let soaking = world.until("soaking", |s| s.phase == Phase::Soaking).await;
    assert_eq!((soaking.owner, soaking.epoch), (Side::Modern, 1));
    println!("pause of the cutover: {:?} ms", soaking.last_pause_ms);
    world.must("revert").await;
    let reverted = world.until("reverted", |s| s.phase == Phase::Reverted).await;
    assert_eq!((reverted.owner, reverted.epoch), (Side::Legacy, 2));
    println!("pause of the revert: {:?} ms", reverted.last_pause_ms);
    assert!(reverted.last_pause_ms.is_some_and(|ms| ms < 1_000), "{:?}", reverted.last_pause_ms);
    world.must("cutover").await;
    world.until("soaking again", |s| s.phase == Phase::Soaking && s.epoch == 3).await;
    world.must("retire").await;
    world.until("retired", |s| s.phase == Phase::Retired && s.waiting_for.is_empty()).await;

    let journal = world.journal().await;
    let kinds: Vec<_> = journal.iter().map(|e| e.line.kind.as_str()).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "flipped").count(), 3, "{kinds:?}");
    assert!(journal.iter().any(|e| e.by.as_deref() == Some("ada")), "operators are named");
    let answers = world.gateway.answers.lock().expect("not poisoned");
    let last = answers.last().expect("answers");
    assert_eq!((last.valid_for_ms, last.freshness["users"].epoch), (1_000, 3));
}

/// Gateways that keep answers forget them when the number is another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_agent_applies_is_another_number_for_gateways_also_when_it_counts_anew() {
    let world = World::start(|_| {}).await;
    walk_in(&world).await;
    let another = async |known: Option<u64>, what: &str| {
        let begun = Instant::now();
        loop {
            let told = world.gateway.answers.lock().expect("not poisoned").last().and_then(|last| last.changes.get("users").copied());
            if told.is_some() && told != known {
                return told;
            }
            assert!(begun.elapsed() < Duration::from_secs(120), "gateways never hear of {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let none = another(None, "the agent").await;
    world.agent.rows.store(1, Ordering::SeqCst);
    let one = another(none, "a row").await;
    // Its successor has applied one as well before anybody hears of it.
    world.agent.started.store(1, Ordering::SeqCst);
    let again = another(one, "the first row of another process").await;
    assert_ne!(again, none);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_a_moment_behind_refuses_no_cutover() {
    let world = World::start(|_| {}).await;
    walk_in(&world).await;
    abort_while_the_gateway_is_deaf(&world).await;
    let (status, body) = world.wish("cutover").await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(body["detail"].as_str().is_some_and(|detail| detail.contains("gateway gw-1 is at generation")), "{body}");
    let (cutover, ()) = tokio::join!(world.wish("cutover"), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        world.gateway.deaf.store(false, Ordering::SeqCst);
    });
    assert_eq!(cutover.0, StatusCode::OK, "{}", cutover.1);
    world.until("soaking", |s| s.phase == Phase::Soaking).await;
}

/// A cutover is begun and taken back; of the latter the gateway hears nothing, and it stays deaf.
async fn abort_while_the_gateway_is_deaf(world: &World) -> CapabilityStatus {
    spoil(world, Stage::CatchUp, Side::Modern, true).await;
    world.must("cutover").await;
    world.until("catching up", |s| s.stage == Some(Stage::CatchUp)).await;
    world.gateway.deaf.store(true, Ordering::SeqCst);
    // Nothing that it asked for before is under way any more.
    tokio::time::sleep(Duration::from_millis(200)).await;
    world.must("abort").await;
    spoil(world, Stage::CatchUp, Side::Modern, false).await;
    world.until("back", |s| s.switch.is_none()).await
}

/// The abort finds nothing under way and says so; nothing may begin behind its back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_ends_the_wait_of_a_cutover_that_was_not_begun() {
    let world = World::start(|_| {}).await;
    walk_in(&world).await;
    let back = abort_while_the_gateway_is_deaf(&world).await;
    let (cutover, ()) = tokio::join!(world.wish("cutover"), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let (status, _) = world.wish("abort").await;
        assert_eq!(status, StatusCode::CONFLICT, "nothing is under way");
        world.gateway.deaf.store(false, Ordering::SeqCst);
    });
    assert_eq!(cutover.0, StatusCode::CONFLICT, "{}", cutover.1);
    world.until("the gateway to have caught up", |s| s.waiting_for.iter().all(|w| !w.text.contains("is at generation"))).await;
    assert_eq!((world.users().await.phase, world.users().await.switch), (back.phase, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_stage_before_the_flip_can_be_aborted() {
    let world = World::start(|_| {}).await;
    walk_in(&world).await;
    for stage in stages() {
        spoil(&world, stage, Side::Modern, true).await;
        world.must("cutover").await;
        world.until(stage.as_str(), |s| s.stage == Some(stage)).await;
        world.must("abort").await;
        spoil(&world, stage, Side::Modern, false).await;
        let back = world.until("back", |s| s.switch.is_none()).await;
        assert_eq!((back.phase, back.owner, back.epoch, back.serving.fenced), (Phase::Ramping, Side::Legacy, 0, false), "{stage:?}");
        assert_eq!(back.holds, ["cutover: aborted by an operator"]);
    }
    world.must("cutover").await;
    world.until("soaking", |s| s.phase == Phase::Soaking).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_orchestrator_restarts_at_every_stage() {
    let mut world = World::start(|config| config.switch_deadline = std::time::Duration::from_secs(30)).await;
    walk_in(&world).await;
    for stage in stages().into_iter().chain([Stage::Open, Stage::Release]) {
        for (wish, to, phase) in [("cutover", Side::Modern, Phase::Soaking), ("revert", Side::Legacy, Phase::Reverted)] {
            let first = if stage == Stage::Release { Stage::Open } else { stage };
            spoil(&world, first, to, true).await;
            world.must(wish).await;
            world.until(first.as_str(), |s| s.stage == Some(first)).await;
            if stage == Stage::Release {
                spoil(&world, Stage::Release, to, true).await;
                spoil(&world, Stage::Open, to, false).await;
                world.until("release", |s| s.stage == Some(Stage::Release)).await;
            }
            world.down().await;
            world.up().await;
            assert_eq!(world.users().await.stage, Some(stage), "it is where it was");
            spoil(&world, stage, to, false).await;
            world.until("the end of the switch", |s| s.phase == phase).await;
        }
    }
    assert_eq!(world.users().await.epoch, 16);
}

fn stages() -> [Stage; 6] {
    [Stage::Fence, Stage::Drain, Stage::FenceDatabase, Stage::CatchUp, Stage::Verify, Stage::Sequences]
}

/// Makes a stage last, or lets it end.
async fn spoil(world: &World, stage: Stage, to: Side, on: bool) {
    let agent = |what| {
        let mut refuses = world.agent.refuses.lock().expect("not poisoned");
        refuses.clear();
        refuses.extend(Some(what).filter(|_| on));
    };
    match (stage, to) {
        (Stage::Fence | Stage::Release, _) => {
            world.gateway.deaf.store(on, Ordering::SeqCst);
            // A poll that is under way still hears.
            tokio::time::sleep(std::time::Duration::from_millis(60)).await;
        }
        (Stage::Drain, _) => world.gateway.inflight.store(u64::from(on), Ordering::SeqCst),
        (Stage::FenceDatabase, Side::Modern) | (Stage::Open, Side::Legacy) => agent("fence of legacy"),
        (Stage::FenceDatabase, Side::Legacy) | (Stage::Open, Side::Modern) => agent("fence of modern"),
        (Stage::CatchUp, _) => agent("end"),
        (Stage::Verify, _) => agent("verify"),
        (Stage::Sequences, _) => agent("sequences"),
        (Stage::Lift, _) => unreachable!("nothing keeps it"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_and_drift_abort() {
    let world = World::start(|config| config.switch_deadline = std::time::Duration::from_millis(1_500)).await;
    walk_in(&world).await;
    spoil(&world, Stage::CatchUp, Side::Modern, true).await;
    world.must("cutover").await;
    let back = world.until("back", |s| s.switch.is_none() && !s.holds.is_empty()).await;
    assert!(back.holds[0].starts_with("cutover: the deadline has passed: end "), "{:?}", back.holds);
    spoil(&world, Stage::CatchUp, Side::Modern, false).await;
    world.agent.drift.store(2, Ordering::SeqCst);
    world.must("cutover").await;
    let back = world.until("back", |s| s.switch.is_none() && s.holds.iter().any(|h| h.contains("differ"))).await;
    assert!(back.holds.contains(&"cutover: 2 rows differ".to_owned()), "{:?}", back.holds);
    let back = world.until("streaming", |s| s.holds.contains(&"gate:parity".to_owned())).await;
    assert_eq!(back.phase, Phase::Streaming, "the same rows fail the gate");
    world.must("repair").await;
    world.must("release").await;
    world.must("cutover").await;
    world.until("soaking", |s| s.phase == Phase::Soaking).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_pinned_to_modern_is_taken_back_with_the_others() {
    let world = World::start(|_| {}).await;
    let pin = async |user: Option<&str>, side: &str| {
        let body = json!({ "capability": "users", "user": user, "side": side, "by": "ada" }).to_string();
        world.http.send(Method::POST, "/api/v1/pins", Some(body)).await
    };
    let pinned = async || world.status().await.overrides.pins.into_iter().map(|pin| (pin.user, pin.side)).collect::<Vec<_>>();
    walk_in(&world).await;
    for (user, side) in [(None, "modern"), (Some("42"), "modern"), (Some("7"), "legacy")] {
        assert_eq!(pin(user, side).await.0, StatusCode::OK);
    }
    let left = [(Some("7".to_owned()), Side::Legacy)];
    world.must("revert").await;
    world.until("streaming", |s| s.phase == Phase::Streaming).await;
    let begun = Instant::now();
    while pinned().await != left {
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", pinned().await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let journal = world.journal().await;
    let ended = journal.iter().find(|entry| entry.line.kind == "unpinned").expect("it is written down");
    assert!(ended.line.text.starts_with("pins to modern end for everybody, user 42: no read goes to modern"), "{}", ended.line.text);

    world.must("release").await;
    world.until("the cutover step", |s| s.step_action.as_deref() == Some("cutover")).await;
    world.must("cutover").await;
    world.until("soaking", |s| s.phase == Phase::Soaking).await;
    assert_eq!(pin(None, "modern").await.0, StatusCode::OK, "where it reads anyway");
    world.must("revert").await;
    world.until("reverted", |s| s.phase == Phase::Reverted).await;
    let (status, why) = pin(None, "modern").await;
    assert_eq!(status, StatusCode::CONFLICT, "{why}");
    let begun = Instant::now();
    while pinned().await != left {
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", pinned().await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_on_modern_take_the_reads_back_and_later_the_writes() {
    let world = World::start(|_| {}).await;
    walk_in(&world).await;
    world.gateway.errors.store(20, Ordering::SeqCst);
    let back = world.until("streaming", |s| s.phase == Phase::Streaming).await;
    assert_eq!((back.holds, back.serving.reads.millionths()), (vec!["gate:errors".to_owned()], 0));
    world.gateway.errors.store(0, Ordering::SeqCst);
    world.must("release").await;
    world.until("the cutover step again", |s| s.step_action.as_deref() == Some("cutover")).await;
    world.must("cutover").await;
    world.until("soaking", |s| s.phase == Phase::Soaking).await;
    world.gateway.errors.store(20, Ordering::SeqCst);
    let back = world.until("reverted", |s| s.phase == Phase::Reverted).await;
    assert_eq!((back.owner, back.holds), (Side::Legacy, vec!["gate:errors".to_owned()]));
}

/// One whose tables join those of `users`, and that moves at once.
const LEDGER: &str = r#"
[capability]
name = "ledger"
legacy = "monolith"
modern = "users-service"
depends_on = ["users"]

[[route]]
path = "/api/v1/ledger/{*rest}"

[[step]]
cutover = true
[[step]]
soak = "1ms"
"#;

/// What the orchestrator tells Prometheus that `ledger` waits for: kind and name.
fn ledger_waits_for() -> Vec<(String, String)> {
    let families = prometheus::gather();
    let waiting = families.iter().filter(|family| family.name() == "ficus_waiting_for").flat_map(|family| family.get_metric());
    let of =
        |metric: &prometheus::proto::Metric| -> Vec<String> { metric.get_label().iter().map(|label| label.value().to_owned()).collect() };
    let ledger = waiting.map(of).filter(|labels| labels[0] == "ledger");
    ledger.map(|labels| (labels[1].clone(), labels[2].clone())).collect()
}

async fn until_ledger_waits_for(kind: &str, on: &str) {
    let (begun, expected) = (Instant::now(), [(kind.to_owned(), on.to_owned())]);
    while ledger_waits_for() != expected {
        assert!(begun.elapsed() < Duration::from_secs(20), "it waits for {:?}, not for {expected:?}", ledger_waits_for());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_another_capability_names_it_to_prometheus() {
    // GIVEN a capability that depends on another one
    let world = World::start(|config| std::fs::write(config.rules_dir.join("ledger.toml"), LEDGER).expect("a rule file")).await;
    until_ledger_waits_for("wish", "advance").await;
    // WHEN it has moved, and the other has not
    let (status, body) = world.http.send(Method::POST, "/api/v1/capabilities/ledger/advance", Some(r#"{"by":"ada"}"#.into())).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    // THEN the other one is named, until it has moved too
    until_ledger_waits_for("capability", "users").await;
    walk_in(&world).await;
    world.must("approve").await;
    until_ledger_waits_for("wish", "retire").await;
}
