//! Writes that modern rehearses while legacy carries them out.

use std::sync::atomic::Ordering;

use ficus_rules::Timestamp;

use super::shadow::{counts, dropped_because, settled, shadowing};
use super::support::{World, full, now};

/// A world whose modern side takes writes back when it is asked to.
async fn rehearsing() -> World {
    let world = World::start().await;
    world.serve(shadowing());
    world.modern.state.rehearses.store(true, Ordering::Relaxed);
    world
}

fn modern_says(world: &World, thing: &str) {
    *world.modern.state.thing.lock().unwrap() = thing.to_owned();
}

/// What legacy says of a write of four bytes.
const AS_LEGACY: &str = r#"{"origin": "monolith", "method": "POST", "target": "/rehearsed/slow/400?q=1", "size": 4}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_rehearsed_with_its_body_and_the_answers_are_compared() {
    let world = rehearsing().await;
    modern_says(&world, AS_LEGACY);
    let headers = [("content-type", "text/plain"), ("if-match", "\"1\""), ("x-ficus-dry-run", "1")];
    let post = async || world.send("POST", "/rehearsed/slow/400?q=1", &headers, full("body")).await;
    assert_eq!(post().await.side(), "legacy");
    settled(&world, counts(1, 0, 0, 0)).await;
    let seen = world.modern.seen("/thing").remove(0);
    assert_eq!((&*seen.method, &*seen.target, seen.size), ("POST", "/thing?q=1", 4));
    let said = |name: &str| seen.headers[name].to_str().unwrap().to_owned();
    let told = ["x-ficus-dry-run", "x-ficus-shadow", "content-type", "if-match"].map(said);
    assert_eq!(told, ["1", "1", "text/plain", "\"1\""]);
    let asked = world.legacy.seen("/rehearsed/");
    assert_eq!(asked.len(), 1, "legacy carries it out once");
    assert!(!asked[0].headers.contains_key("x-ficus-dry-run"), "nobody but the gateway asks for a rehearsal");

    modern_says(&world, &AS_LEGACY.replace("4}", "5}"));
    assert_eq!(post().await.status, 200);
    settled(&world, counts(1, 1, 0, 0)).await;
    let sample = world.gateway.report().differences.remove(0);
    assert_eq!((&*sample.method, &*sample.path, &*sample.differences[0].path), ("POST", "/rehearsed/slow/400", "$.size"));
    assert_eq!(world.modern.seen("/thing").len(), 2, "a write is rehearsed once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_difference_counts_only_if_the_write_cannot_have_arrived_before() {
    let world = rehearsing().await;
    assert_eq!(world.post("/rehearsed/quick/").await.side(), "legacy");
    settled(&world, counts(0, 0, 1, 0)).await;
    assert_eq!(world.modern.seen("/slow/300").len(), 1, "it was asked, and answered late");
    // Legacy looks at tokens, modern is not asked to.
    assert_eq!(world.post("/rehearsed/forms/status/403").await.status, 403);
    settled(&world, counts(0, 0, 2, 0)).await;
    assert_eq!(dropped_because("legacy_refused"), 1.0);
    assert!(world.gateway.report().differences.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_caller_wrote_must_have_arrived_before_its_next_write_is_rehearsed() {
    let world = rehearsing().await;
    modern_says(&world, &AS_LEGACY.replace("?q=1", ""));
    let post = async || world.send("POST", "/rehearsed/slow/400", &[("cookie", "sessionid=abcdefgh")], full("body")).await.status;
    assert_eq!(post().await, 200);
    settled(&world, counts(1, 0, 0, 0)).await;
    assert_eq!(post().await, 200);
    assert_eq!(world.modern.seen("/thing").len(), 1, "its first write is not known to be there");
    world.fresh(1, Timestamp(now().0 + 60_000));
    assert_eq!(post().await, 200);
    settled(&world, counts(2, 0, 0, 0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_modern_side_that_does_not_say_that_it_took_a_write_back_gets_no_more() {
    let world = rehearsing().await;
    world.modern.state.rehearses.store(false, Ordering::Relaxed);
    modern_says(&world, AS_LEGACY);
    assert_eq!(world.post("/rehearsed/slow/400?q=1").await.side(), "legacy");
    settled(&world, counts(0, 0, 1, 0)).await;
    assert_eq!(dropped_because("not_rehearsed"), 1.0);
    world.modern.state.rehearses.store(true, Ordering::Relaxed);
    assert_eq!(world.post("/rehearsed/slow/400?q=1").await.status, 200);
    world.get("/api/v1/users/thing").await;
    settled(&world, counts(0, 1, 1, 0)).await;
    assert_eq!(world.modern.seen("").iter().filter(|seen| seen.method == "POST").count(), 1, "reads go on, writes do not");
}
