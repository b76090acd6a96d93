//! Bad services are left without anybody typing, good ones never.

use std::sync::atomic::Ordering;
use std::time::Duration;

use ficus_rules::Side;
use ficus_rules::migration::Phase;
use serde_json::json;

use crate::support::{RULES, World};

async fn with(rules: String) -> World {
    World::start(|config| std::fs::write(config.rules_dir.join("users.toml"), rules).expect("it writes")).await
}

async fn walk_in(world: &World) {
    world.must("advance").await;
    world.until("the cutover step", |s| s.step_action.as_deref() == Some("cutover")).await;
}

/// Shadow, 10 %, 50 %, and then the cutover, with a limit for latency.
fn steps(more: &str) -> String {
    let ramp = "[[step]]\nreads = \"10%\"\nhold = \"30ms\"\n\n[[step]]\nreads = \"50%\"";
    let latency = "[gate.latency_p99]\nmax_ratio = 1.2\nmax = \"100ms\"\nfloor = \"1ms\"\nmin_requests = 10\n";
    RULES.replace("[[step]]\nreads = \"50%\"", ramp) + latency + more
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ramp_goes_back_step_by_step_where_the_rules_say_so() {
    let world = with(steps("[return]\nramp = \"last_good\"\n")).await;
    walk_in(&world).await;
    assert_eq!(world.users().await.step, Some(3));
    world.gateway.errors.store(20, Ordering::SeqCst);
    let left = world.until("no reader on modern", |s| s.phase == Phase::Shadowing).await;
    assert_eq!((left.serving.reads.millionths(), left.holds), (0, vec!["gate:errors".to_owned()]));
    let journal = world.journal().await;
    let back: Vec<_> = journal.iter().filter(|entry| entry.line.kind == "stepped_back").collect();
    assert_eq!(back.len(), 2, "first to 10%: {back:?}");
    assert_eq!(back[0].line.detail["to_step"], json!(1), "{:?}", back[0]);
    assert!(back[0].line.text.contains("10% of the callers"), "{}", back[0].line.text);
    assert_eq!(back[0].line.detail["gates"]["errors"]["verdict"], json!("fail"), "what was measured is written down");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twice_the_latency_and_drift_are_left_too_while_it_waits_for_approval() {
    let world = with(steps("")).await;
    walk_in(&world).await;
    assert!(world.users().await.waiting_for.iter().any(|w| w.text.contains("waits for approval")));
    world.gateway.slow.store(true, Ordering::SeqCst);
    let back = world.until("all reads on legacy", |s| s.phase == Phase::Streaming).await;
    assert_eq!(back.holds, ["gate:latency_p99"]);
    world.gateway.slow.store(false, Ordering::SeqCst);
    world.must("release").await;
    world.until("the cutover step", |s| s.step_action.as_deref() == Some("cutover")).await;
    world.agent.drift.store(2, Ordering::SeqCst);
    world.must("verify").await;
    let back = world.until("all reads on legacy", |s| s.phase == Phase::Streaming).await;
    assert_eq!(back.holds, ["gate:parity"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_grows_slow_while_it_owns_loses_the_writes() {
    let world = with(steps("")).await;
    walk_in(&world).await;
    world.must("approve").await;
    let soaking = world.until("soaking", |s| s.phase == Phase::Soaking).await;
    let reverse = soaking.gates.iter().find(|judged| judged.gate == "reverse").expect("the way back is judged");
    assert!(reverse.measured.starts_with("a revert is lossless now: "), "{reverse:?}");
    world.gateway.slow.store(true, Ordering::SeqCst);
    let back = world.until("reverted", |s| s.phase == Phase::Reverted).await;
    assert_eq!((back.owner, back.holds), (Side::Legacy, vec!["gate:latency_p99".to_owned()]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_only_wants_to_be_told_is_told_once() {
    for (word, kind, holds) in [("page", "page", 0), ("hold", "hold", 1)] {
        let world = with(RULES.to_owned() + &format!("\n[return]\nsoak = \"{word}\"\n")).await;
        walk_in(&world).await;
        world.must("approve").await;
        world.until("soaking", |s| s.phase == Phase::Soaking).await;
        world.gateway.errors.store(20, Ordering::SeqCst);
        world.until("a failing gate", |s| s.gates.iter().any(|judged| judged.gate == "errors" && judged.fails())).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        let after = world.users().await;
        assert_eq!((after.phase, after.owner, after.holds.len()), (Phase::Soaking, Side::Modern, holds), "{word}");
        let journal = world.journal().await;
        let told: Vec<_> = journal.iter().filter(|entry| entry.line.kind == kind).map(|entry| &entry.line.text).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("gate errors fails ("), "{told:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_tries_again_after_its_cool_down_and_not_for_ever() {
    let world = with(RULES.to_owned() + "\n[return]\ntries = 2\ncool_down = \"100ms\"\n").await;
    walk_in(&world).await;
    world.gateway.errors.store(20, Ordering::SeqCst);
    let given_up = async || {
        let journal = world.journal().await;
        journal.iter().filter(|entry| entry.line.kind == "stepped_back").count() == 3
    };
    let begun = std::time::Instant::now();
    while !given_up().await {
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", world.users().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(400)).await;
    let left = world.users().await;
    assert_eq!((left.phase, left.holds), (Phase::Streaming, vec!["gate:errors".to_owned()]), "somebody has to look");
    let journal = world.journal().await;
    let tried: Vec<_> = journal.iter().filter(|entry| entry.line.kind == "retried").collect();
    assert_eq!(tried.len(), 2, "{tried:?}");
    // What was measured stands beside what was decided, on the way forth too.
    let told = |kind: &str| {
        let mut lines = journal.iter().filter(|entry| entry.line.kind == kind);
        lines.all(|entry| {
            entry.line.detail["gates"].as_object().is_some_and(|gates| gates.values().any(|gate| gate["measured"].is_string()))
        })
    };
    assert!(told("step") && told("retried") && told("stepped_back"), "{journal:?}");
    // Somebody did.
    world.gateway.errors.store(0, Ordering::SeqCst);
    world.must("release").await;
    world.until("the cutover step", |s| s.step_action.as_deref() == Some("cutover")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_service_is_never_left() {
    let world = with(steps("")).await;
    walk_in(&world).await;
    world.must("approve").await;
    world.until("soaking", |s| s.phase == Phase::Soaking).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let kinds: Vec<_> = world.journal().await.into_iter().map(|entry| entry.line.kind).collect();
    assert!(!kinds.iter().any(|kind| ["stepped_back", "page", "retried", "aborted"].contains(&kind.as_str())), "{kinds:?}");
    assert_eq!(world.users().await.phase, Phase::Soaking);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_begins_outside_its_hours_and_the_way_back_is_open() {
    // An hour that is never now: the day after tomorrow.
    let day =
        |ahead: u64| ["thu", "fri", "sat", "sun", "mon", "tue", "wed"][usize::try_from((now_days() + ahead) % 7).expect("below seven")];
    let closed = format!("cutover = true\nwindows = [\"{} 00:00-24:00 UTC\"]", day(2));
    let world = with(RULES.replace("cutover = true", &closed)).await;
    walk_in_until_window(&world).await;
    world.must("approve").await;
    let (status, why) = world.wish("cutover").await;
    assert_eq!(status, hyper::StatusCode::CONFLICT);
    assert!(why["detail"].as_str().is_some_and(|why| why.contains("not at this hour")), "{why}");
    world.must("revert").await;
    world.until("streaming", |s| s.phase == Phase::Streaming).await;
}

async fn walk_in_until_window(world: &World) {
    world.must("advance").await;
    let waits = |s: &ficus_rules::api::CapabilityStatus| s.waiting_for.iter().any(|w| w.text.starts_with("not at this hour"));
    world.until("an hour is waited for", |s| s.phase == Phase::Ramping && waits(s)).await;
}

/// Days since 1970, a Thursday.
fn now_days() -> u64 {
    ficus_rules::Timestamp::from(std::time::SystemTime::now()).seconds() / 86_400
}
