//! The API's manners.

use std::time::{Duration, Instant};

use ficus_rules::api::JournalEntry;
use ficus_rules::migration::Phase;
use ficus_rules::wire::Published;
use hyper::{Method, StatusCode};
use serde_json::json;

use crate::support::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_say_why() {
    let world = World::start(|_| {}).await;
    let post = async |path: &str, body: serde_json::Value| world.http.send(Method::POST, path, Some(body.to_string())).await;
    let (status, body) = world.wish("cutover").await;
    assert_eq!((status, body), (StatusCode::CONFLICT, json!({ "detail": "no cutover from phase draft" })));
    assert_eq!(world.wish("dance").await.0, StatusCode::NOT_FOUND);
    assert_eq!(post("/api/v1/capabilities/nobody/advance", json!({})).await.0, StatusCode::NOT_FOUND);
    let (status, body) = post("/api/v1/capabilities/users/hold", json!({ "resaon": "typo" })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(body["detail"].as_str().is_some_and(|d| d.contains("resaon")), "{body}");
    let (status, body) = post("/api/v1/capabilities/users/hold", json!({ "by": "ada", "reason": "holidays" })).await;
    assert_eq!((status, &body["holds"]), (StatusCode::OK, &json!(["holidays"])));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overrides_are_published_and_expire() {
    let mut world = World::start(|_| {}).await;
    let early = json!({ "capability": "users", "side": "modern" });
    let (status, body) = world.http.send(Method::POST, "/api/v1/pins", Some(early.to_string())).await;
    assert_eq!(status, StatusCode::CONFLICT, "there is nothing to read from: {body}");
    assert!(body["detail"].as_str().is_some_and(|why| why.contains("before shadowing")), "{body}");
    world.must("advance").await;
    world.until("shadowing", |s| s.phase >= Phase::Shadowing).await;
    let pin = json!({ "capability": "users", "user": "42", "side": "modern", "by": "ada", "reason": "tries it" });
    let (status, body) = world.http.send(Method::POST, "/api/v1/pins", Some(pin.to_string())).await;
    assert_eq!((status, &body["pins"][0]["note"]), (StatusCode::OK, &json!("ada: tries it")));
    world.down().await;
    world.up().await;
    let published: Published = world.http.get("/api/v1/published").await;
    assert_eq!(published.overrides.pins[0].user.as_deref(), Some("42"), "it survives a restart");
    let (status, _) = world.http.send(Method::DELETE, "/api/v1/pins", Some(pin.to_string())).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(world.http.send(Method::DELETE, "/api/v1/pins", Some(pin.to_string())).await.0, StatusCode::NOT_FOUND);
    let short = json!({ "capability": "users", "side": "modern", "for_seconds": 0 });
    assert_eq!(world.http.send(Method::POST, "/api/v1/pins", Some(short.to_string())).await.0, StatusCode::OK);
    let begun = Instant::now();
    while !world.http.get::<Published>("/api/v1/published").await.overrides.pins.is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(5), "it never expires");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let flag = world.http.send(Method::PUT, "/api/v1/flags/nothing", Some(json!({ "on": true }).to_string())).await;
    assert_eq!(flag.0, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_poll_waits_for_something_newer() {
    let world = World::start(|_| {}).await;
    let generation = world.http.get::<Published>("/api/v1/published").await.generation;
    let path = format!("/api/v1/published?after={generation}&wait_ms=30");
    assert_eq!(world.http.send(Method::GET, &path, None).await.0, StatusCode::NO_CONTENT);
    let path = format!("/api/v1/published?after={generation}&wait_ms=20000");
    let begun = Instant::now();
    let (polled, ()) = tokio::join!(world.http.send(Method::GET, &path, None), world.must("advance"));
    assert!(polled.1["generation"].as_u64() > Some(generation) && begun.elapsed() < Duration::from_secs(5), "{polled:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_page_does_not_operate_it() {
    let world = World::start(|_| {}).await;
    let hold = "/api/v1/capabilities/users/hold";
    let json = ("content-type", "application/json");
    let body = || Some(r#"{"by":"mallory"}"#.to_owned());
    for (headers, expected) in [
        (&[][..], StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (&[("content-type", "text/plain")], StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (&[("content-type", "application/x-www-form-urlencoded")], StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (&[json, ("origin", "https://evil.example")], StatusCode::FORBIDDEN),
        (&[json, ("origin", "null")], StatusCode::FORBIDDEN),
        (&[("content-type", "application/json; charset=utf-8")], StatusCode::OK),
    ] {
        let (status, _) = world.http.send_with(Method::POST, hold, headers, body()).await.expect("an answer");
        assert_eq!(status, expected, "{headers:?}");
    }
    let foreign = [("origin", "https://evil.example")];
    for (method, path) in [(Method::POST, "/api/v1/reload"), (Method::GET, "/api/v1/status"), (Method::DELETE, "/api/v1/flags/x")] {
        let (status, _) = world.http.send_with(method, path, &foreign, None).await.expect("an answer");
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}");
    }
    let (status, _) = world.http.send_with(Method::POST, "/api/v1/reload", &[], None).await.expect("an answer");
    assert_eq!(status, StatusCode::OK, "no body, no kind of body");
    // Its name leads to this machine by now: to the browser it is its own origin.
    let rebound = [("host", "evil.example:7070"), ("origin", "http://evil.example:7070"), json];
    let (status, why) = world.http.send_with(Method::POST, hold, &rebound, body()).await.expect("an answer");
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(String::from_utf8_lossy(&why).contains("token_file"), "{why:?}");
    for (path, expected) in [("/api/v1/status", StatusCode::FORBIDDEN), ("/health", StatusCode::OK), ("/ready", StatusCode::OK)] {
        let (status, _) = world.http.send_with(Method::GET, path, &rebound[..1], None).await.expect("an answer");
        assert_eq!(status, expected, "{path}");
    }
    for host in ["localhost:7070", "127.0.0.1", "[::1]:7070"] {
        let (status, _) = world.http.send_with(Method::GET, "/api/v1/status", &[("host", host)], None).await.expect("an answer");
        assert_eq!(status, StatusCode::OK, "{host}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_journal_names_who_cleared_a_flag() {
    let world = World::start(|config| {
        std::fs::write(config.rules_dir.join("flags.toml"), "[flag.new-profile]\ndefault = false\n").expect("it writes");
    })
    .await;
    let path = "/api/v1/flags/new-profile";
    let set = world.http.send(Method::PUT, path, Some(json!({ "on": true, "by": "ada" }).to_string())).await;
    assert_eq!(set.0, StatusCode::OK, "{}", set.1);
    let cleared = world.http.send(Method::DELETE, path, Some(json!({ "by": "grace", "reason": "done" }).to_string())).await;
    assert_eq!(cleared.0, StatusCode::OK, "{}", cleared.1);
    let journal: Vec<JournalEntry> = world.http.get("/api/v1/journal").await;
    let last = journal.last().expect("entries");
    assert_eq!((last.line.kind.as_str(), last.by.as_deref(), &last.line.detail["reason"]), ("flag", Some("grace"), &json!("done")));
}
