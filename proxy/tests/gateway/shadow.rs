//! Mirrored reads.

use ficus_rules::wire::{Serving, ShadowCounts};
use ficus_rules::{Share, Timestamp};

use super::support::{World, eventually, full, now, ramping};

fn shadowing() -> Serving {
    Serving { shadow: Share::ALL, ..ramping(0) }
}

fn counts(same: u64, different: u64, dropped: u64, failed: u64) -> ShadowCounts {
    ShadowCounts { same, different, dropped, failed }
}

async fn settled(world: &World, expected: ShadowCounts) {
    eventually(&format!("{expected:?}"), || world.users().shadow == expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_compared_off_the_path_and_differences_are_looked_at_twice() {
    let world = World::start().await;
    world.serve(shadowing());
    let set = |legacy: &str, modern: &str| {
        *world.legacy.state.thing.lock().unwrap() = legacy.to_owned();
        *world.modern.state.thing.lock().unwrap() = modern.to_owned();
    };
    set(r#"{"a": 1, "b": 2}"#, r#"{"b":2,"a":1}"#);
    let headers = [
        ("x-forwarded-for", "6.6.6.6"),
        ("x-forwarded-ssl", "on"),
        ("accept-encoding", "gzip"),
        ("keep-alive", "timeout=5"),
        ("connection", "x-secret"),
        ("x-secret", "1"),
        ("x-request-id", "client-id-1"),
    ];
    assert_eq!(world.send("GET", "/api/v1/users/thing?q=1", &headers, full("")).await.side(), "legacy");
    settled(&world, counts(1, 0, 0, 0)).await;
    let mirrored = world.modern.seen("/users/thing?q=1").remove(0).headers;
    assert_eq!(
        (&mirrored["x-ficus-shadow"], &mirrored["x-ficus-original-path"]),
        (&"1".parse().unwrap(), &"/api/v1/users/thing".parse().unwrap())
    );
    assert_eq!(
        (&mirrored["x-forwarded-for"], &mirrored["x-forwarded-proto"], &mirrored["x-request-id"]),
        (&"127.0.0.1".parse().unwrap(), &"http".parse().unwrap(), &"client-id-1".parse().unwrap())
    );
    let gone = ["x-forwarded-ssl", "accept-encoding", "keep-alive", "connection", "x-secret"];
    assert!(gone.iter().all(|name| !mirrored.contains_key(*name)), "{mirrored:?}");
    set(r#"{"a": 1}"#, r#"{"a": 2}"#);
    world.get("/api/v1/users/thing").await;
    settled(&world, counts(1, 1, 0, 0)).await;
    assert_eq!(world.modern.seen("/users/thing").len(), 3, "a difference is looked at twice");
    let sample = world.gateway.report().differences.remove(0);
    assert_eq!((sample.path.as_str(), sample.differences[0].path.as_str()), ("/api/v1/users/thing", "$.a"));
    world.confirm();
    assert!(world.gateway.report().differences.is_empty(), "told once");
    world.modern.state.counter.store(1_000, std::sync::atomic::Ordering::Relaxed);
    world.get("/api/v1/users/noise").await;
    world.get("/api/v1/users/noise").await;
    settled(&world, counts(3, 1, 0, 0)).await;
    world.get("/forms/thing").await;
    world.post("/api/v1/users/thing").await;
    world.get("/api/v1/users/download/1").await;
    settled(&world, counts(3, 1, 1, 0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_behind_is_waited_for_and_never_blamed() {
    let world = World::start().await;
    world.serve(shadowing());
    world.fresh(1, Timestamp(now().0 + 60_000));
    *world.legacy.state.thing.lock().unwrap() = r#"{"a": 1}"#.into();
    *world.modern.state.thing.lock().unwrap() = r#"{"a": 0}"#.into();
    // The row arrives on the other side a moment after the answer; only then the copy says that it is fresh.
    let world2 = World::start().await;
    world2.serve(shadowing());
    world2.fresh(1, Timestamp(1));
    *world2.legacy.state.thing.lock().unwrap() = r#"{"a": 1}"#.into();
    *world2.modern.state.thing.lock().unwrap() = r#"{"a": 0}"#.into();
    world2.get("/api/v1/users/thing").await;
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert_eq!(world2.modern.seen("thing").len(), 0, "not asked yet");
    *world2.modern.state.thing.lock().unwrap() = r#"{"a": 1}"#.into();
    world2.fresh(1, Timestamp(now().0 + 60_000));
    settled(&world2, counts(1, 0, 0, 0)).await;
    world.get("/api/v1/users/thing").await;
    settled(&world, counts(0, 1, 0, 0)).await;
}
