//! Mirrored reads.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ficus_proxy::Upstream;
use ficus_rules::wire::{Serving, ShadowCounts};
use ficus_rules::{Share, Timestamp};
use tokio::net::TcpListener;

use super::support::{Origin, World, eventually, full, now, published, ramping, soaking};

pub fn shadowing() -> Serving {
    Serving { shadow: Share::ALL, ..ramping(0) }
}

pub fn counts(same: u64, different: u64, dropped: u64, failed: u64) -> ShadowCounts {
    ShadowCounts { same, different, dropped, failed }
}

pub async fn settled(world: &World, expected: ShadowCounts) {
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
    assert_eq!((&mirrored["x-forwarded-for"], &mirrored["x-forwarded-proto"]), (&"127.0.0.1".parse().unwrap(), &"http".parse().unwrap()));
    let asked = world.legacy.seen("/users/thing?q=1").remove(0).headers;
    assert_eq!(mirrored["x-request-id"], asked["x-request-id"], "both have the gateway's, and not a stranger's");
    let trace = |headers: &hyper::HeaderMap| headers["traceparent"].to_str().unwrap().split('-').nth(1).unwrap().to_owned();
    assert_eq!(trace(&mirrored), trace(&asked));
    let gone = ["x-forwarded-ssl", "accept-encoding", "keep-alive", "connection", "x-secret"];
    assert!(gone.iter().all(|name| !mirrored.contains_key(*name)), "{mirrored:?}");
    set(r#"{"a": 1}"#, r#"{"a": 2}"#);
    world.get("/api/v1/users/thing").await;
    settled(&world, counts(1, 1, 0, 0)).await;
    assert_eq!(world.modern.seen("/users/thing").len(), 1 + 3, "a difference is looked at twice more");
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

/// Of a copy that nobody has spoken of in this epoch, as while an agent is away, nobody knows how old it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_nobody_speaks_of_is_never_blamed() {
    let world = World::start().await;
    let mut with_rows = published(1, shadowing());
    with_rows.rules[0].text += "\n[[table]]\nlegacy = \"accounts_customuser\"\nmodern = \"users\"\n";
    world.gateway.publish(with_rows).unwrap();
    world.confirm();
    *world.legacy.state.thing.lock().unwrap() = r#"{"a": 1}"#.into();
    *world.modern.state.thing.lock().unwrap() = r#"{"a": 0}"#.into();
    world.get("/api/v1/users/thing").await;
    settled(&world, counts(0, 0, 1, 0)).await;
    world.fresh(1, Timestamp(now().0 + 60_000));
    world.get("/api/v1/users/thing").await;
    settled(&world, counts(0, 1, 1, 0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_and_taken_back_between_two_questions_is_no_difference() {
    let world = World::start().await;
    world.serve(shadowing());
    *world.legacy.state.thing.lock().unwrap() = r#"{"count": 313}"#.into();
    *world.modern.state.thing.lock().unwrap() = r#"{"count": 313}"#.into();
    *world.modern.state.first.lock().unwrap() = [r#"{"count": 312}"#, r#"{"count": 312}"#].into();
    world.get("/api/v1/users/thing").await;
    settled(&world, counts(1, 0, 0, 0)).await;
    *world.modern.state.first.lock().unwrap() = [r#"{"count": 311}"#, r#"{"count": 312}"#, r#"{"count": 314}"#].into();
    world.get("/api/v1/users/thing").await;
    settled(&world, counts(2, 0, 0, 0)).await;
}

/// Once modern owns, a share of what it answers is asked of legacy, too, with what legacy wants of a caller.
#[tokio::test(flavor = "multi_thread")]
async fn once_modern_owns_its_answers_are_compared_with_what_legacy_would_have_said() {
    let world = World::start().await;
    world.serve(Serving { shadow: Share::ALL, ..soaking() });
    let set = |legacy: &str, modern: &str| {
        *world.legacy.state.thing.lock().unwrap() = legacy.to_owned();
        *world.modern.state.thing.lock().unwrap() = modern.to_owned();
    };
    set(r#"{"a": 1, "b": 2}"#, r#"{"b":2,"a":1}"#);
    let asked = world.send("GET", "/api/v1/users/thing?q=1", &[("cookie", "sessionid=abcdefgh")], full("")).await;
    assert_eq!(asked.side(), "modern");
    settled(&world, counts(1, 0, 0, 0)).await;
    let mirrored = world.legacy.seen("/api/v1/users/thing?q=1").remove(0).headers;
    assert_eq!((&mirrored["x-ficus-shadow"], &mirrored["cookie"]), (&"1".parse().unwrap(), &"sessionid=abcdefgh".parse().unwrap()));
    set(r#"{"a": 1}"#, r#"{"a": 2}"#);
    world.get("/api/v1/users/thing").await;
    settled(&world, counts(1, 1, 0, 0)).await;
    let sample = world.gateway.report().differences.remove(0);
    let found = &sample.differences[0];
    assert_eq!((sample.path.as_str(), &*found.path, &*found.legacy, &*found.modern), ("/api/v1/users/thing", "$.a", "1", "2"));
    world.confirm();
    // What legacy has anew each time is its noise, also where only it has some.
    let legacy_says = |from: u32| {
        let all: Vec<&'static str> = (from..from + 8).map(|n| &*format!(r#"{{"nonce": {n}, "a": 2}}"#).leak()).collect();
        *world.legacy.state.first.lock().unwrap() = all.into();
    };
    set("{}", r#"{"nonce": 900, "a": 2}"#);
    legacy_says(1);
    world.get("/api/v1/users/thing").await;
    settled(&world, counts(2, 1, 0, 0)).await;
    // Its tables are fenced: a read of it that writes fails, and says nothing of modern.
    world.get("/api/v1/users/status/500").await;
    settled(&world, counts(2, 1, 1, 0)).await;
    let before = world.legacy.seen("").len();
    world.post("/api/v1/users/thing").await;
    set(r#"{"a": 1}"#, r#"{"a": 1}"#);
    *world.legacy.state.first.lock().unwrap() = Default::default();
    world.get("/api/v1/users/thing").await;
    settled(&world, counts(3, 1, 1, 0)).await;
    assert_eq!(world.legacy.seen("").len(), before + 1, "no write is asked of it");
}

/// What legacy has anew each time is found out by asking it twice, and no difference; a route that is known for it costs one
/// more question. Anything else still counts.
#[tokio::test(flavor = "multi_thread")]
async fn where_legacy_does_not_agree_with_itself_is_noise() {
    let world = World::start().await;
    world.serve(shadowing());
    let legacy_says = |answers: Vec<&'static str>| *world.legacy.state.first.lock().unwrap() = answers.into();
    let modern_says = |thing: &str| *world.modern.state.thing.lock().unwrap() = thing.to_owned();
    let asked = || world.legacy.seen("thing").len();
    modern_says(r#"{"nonce": 900, "a": 1}"#);
    legacy_says(vec![
        r#"{"nonce": 1, "a": 1}"#,
        r#"{"nonce": 2, "a": 1}"#,
        r#"{"nonce": 3, "a": 1}"#,
        r#"{"nonce": 4, "a": 1}"#,
        r#"{"nonce": 5, "a": 1}"#,
    ]);
    world.get("/api/v1/users/thing").await;
    settled(&world, counts(1, 0, 0, 0)).await;
    assert_eq!(asked(), 5, "the answer, and two rounds of two questions");
    legacy_says(vec![r#"{"nonce": 6, "a": 1}"#, r#"{"nonce": 7, "a": 1}"#]);
    world.get("/api/v1/users/thing").await;
    settled(&world, counts(2, 0, 0, 0)).await;
    assert_eq!(asked(), 5 + 2, "known noise costs one more question");
    for (n, modern) in [r#"{"nonce": 900, "a": 2}"#, r#"{"nonce": "900", "a": 1}"#, r#"{"a": 1}"#].into_iter().enumerate() {
        modern_says(modern);
        legacy_says(vec![
            r#"{"nonce": 11, "a": 1}"#,
            r#"{"nonce": 12, "a": 1}"#,
            r#"{"nonce": 13, "a": 1}"#,
            r#"{"nonce": 14, "a": 1}"#,
            r#"{"nonce": 15, "a": 1}"#,
        ]);
        world.get("/api/v1/users/thing").await;
        settled(&world, counts(2, n as u64 + 1, 0, 0)).await;
        let sample = world.gateway.report().differences.remove(0);
        let paths: Vec<&str> = sample.differences.iter().map(|difference| difference.path.as_str()).collect();
        assert_eq!(paths, [if n == 0 { "$.a" } else { "$.nonce" }], "{modern}");
        world.confirm();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_are_compared_by_name_and_attributes_but_for_those_of_sessions() {
    let world = World::start().await;
    world.serve(shadowing());
    let says = |origin: &Origin, headers: &[(&'static str, &'static str)]| {
        *origin.state.thing.lock().unwrap() = "{}".to_owned();
        *origin.state.headers.lock().unwrap() = headers.to_vec();
    };
    says(
        &world.legacy,
        &[("set-cookie", "theme=one; Path=/"), ("set-cookie", "sessionid=s3cret; HttpOnly"), ("set-cookie", "csrftoken=s3cret")],
    );
    says(&world.modern, &[("set-cookie", "theme=two; path=/")]);
    world.get("/api/v1/users/thing").await;
    settled(&world, counts(1, 0, 0, 0)).await;
    says(&world.modern, &[("set-cookie", "theme=two; path=/; Secure")]);
    world.get("/api/v1/users/thing").await;
    settled(&world, counts(1, 1, 0, 0)).await;
    let told = world.gateway.report().differences.remove(0).differences.remove(0);
    assert_eq!((&*told.path, &*told.legacy, &*told.modern), ("cookie:theme", "set; Path=/", "set; Path=/; Secure"));
}

/// Copies that were dropped for a reason, in this process.
pub fn dropped_because(reason: &str) -> f64 {
    let families = prometheus::gather();
    let dropped = families.iter().filter(|family| family.name() == "ficus_shadow_dropped_total").flat_map(|family| family.get_metric());
    let because = dropped.filter(|metric| metric.get_label().iter().any(|label| label.value() == reason));
    because.map(|metric| metric.get_counter().get_value()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_safe_method_is_mirrored_as_what_it_is() {
    let world = World::start().await;
    world.serve(shadowing());
    let answers = |origin: &Origin, body: &str, headers: &[(&'static str, &'static str)]| {
        *origin.state.thing.lock().unwrap() = body.to_owned();
        *origin.state.headers.lock().unwrap() = headers.to_vec();
    };
    let asked = |n: usize| world.modern.seen("/users/thing").get(n).map(|seen| (seen.method.clone(), seen.size));
    answers(&world.legacy, r#"{"a": 1}"#, &[("allow", "GET, HEAD, OPTIONS")]);
    answers(&world.modern, r#"{"a": 22}"#, &[("allow", "GET")]);
    let head = world.send("HEAD", "/api/v1/users/thing", &[], full("")).await;
    assert_eq!((head.side(), head.header("content-length"), head.body.len()), ("legacy", "8", 0));
    settled(&world, counts(1, 0, 0, 0)).await;
    assert_eq!(asked(0), Some(("HEAD".into(), 0)), "no body, and whom it lets in is no part of the answer");

    answers(&world.modern, r#"{"a": 1}"#, &[("allow", "OPTIONS,HEAD,get")]);
    world.send("OPTIONS", "/api/v1/users/thing", &[("origin", "http://app.test")], full("")).await;
    settled(&world, counts(2, 0, 0, 0)).await;
    assert_eq!(asked(1), Some(("OPTIONS".into(), 0)));

    answers(&world.modern, r#"{"a": 1}"#, &[("allow", "GET"), ("location", "/elsewhere/")]);
    for (method, differs) in [("HEAD", vec!["header:location"]), ("OPTIONS", vec!["header:allow", "header:location"])] {
        world.send(method, "/api/v1/users/thing", &[], full("")).await;
        eventually(method, || !world.gateway.report().differences.is_empty()).await;
        let sample = world.gateway.report().differences.remove(0);
        let paths: Vec<&str> = sample.differences.iter().map(|difference| difference.path.as_str()).collect();
        assert_eq!((sample.method.as_str(), paths), (method, differs));
        world.confirm();
    }
    settled(&world, counts(2, 2, 0, 0)).await;

    let before = world.modern.seen("").len();
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        world.send(method, "/api/v1/users/thing", &[], full("")).await;
    }
    world.send("OPTIONS", "/api/v1/users/thing", &[], full("a body")).await;
    settled(&world, counts(2, 2, 1, 0)).await;
    assert_eq!((dropped_because("request_body"), world.modern.seen("").len()), (1.0, before), "no write reaches the other side");
}

#[tokio::test(flavor = "multi_thread")]
async fn packed_answers_are_unpacked_within_bounds_and_compared() {
    let world = World::start().await;
    world.serve(shadowing());
    let things = |legacy: String, modern: &str| {
        *world.legacy.state.thing.lock().unwrap() = legacy;
        *world.modern.state.thing.lock().unwrap() = modern.to_owned();
    };
    let browser = [("accept-encoding", "gzip, deflate, br")];
    let get = async |coding: &str| world.send("GET", &format!("/api/v1/users/packed/{coding}"), &browser, full("")).await;
    let asked = |coding: &str| (world.legacy.seen(coding).len(), world.modern.seen(coding).len());
    things(r#"{"a": 1, "b": 2}"#.into(), r#"{"b":2,"a":1}"#);
    let packed = get("gzip").await;
    assert_eq!((packed.header("content-encoding"), &packed.body[..2]), ("gzip", &[0x1f, 0x8b][..]), "the client gets it as it is");
    get("deflate").await;
    settled(&world, counts(2, 0, 0, 0)).await;
    assert_eq!((asked("gzip"), asked("deflate")), ((1, 1), (1, 1)), "what was unpacked needs no second look");
    things(r#"{"a": 1}"#.into(), r#"{"a": 2}"#);
    get("gzip").await;
    settled(&world, counts(2, 1, 0, 0)).await;
    assert_eq!(world.gateway.report().differences.remove(0).differences[0].path, "$.a");

    let before = world.modern.seen("").len();
    get("br").await;
    settled(&world, counts(2, 1, 1, 0)).await;
    assert_eq!(dropped_because("coding"), 1.0);
    // A few thousand bytes that unpack to many megabytes.
    let large = dropped_because("too_large");
    things(" ".repeat(8 << 20), "{}");
    assert!(get("gzip").await.body.len() < 64 * 1024);
    settled(&world, counts(2, 1, 2, 0)).await;
    assert!(dropped_because("too_large") > large);
    assert_eq!(world.modern.seen("").len(), before, "what cannot be compared is not asked for");
}

/// The other side takes connections and never says a word. Copies pile up to the queue's bound and are dropped beyond it;
/// whoever reads does not wait for any of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_modern_costs_no_reader_anything() {
    const READERS: u64 = 8;
    const EACH: u64 = 75;
    /// Copies that wait, and those that are being compared.
    const AWAY: u64 = 256 + 2 * READERS;
    let silence = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silence.local_addr().unwrap().to_string();
    let world = Arc::new(World::with(|config| drop(config.upstreams.insert("users-service".into(), Upstream::at(address)))).await);
    world.serve(shadowing());
    world.fresh(1, Timestamp(now().0 + 60_000));
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let world = world.clone();
            tokio::spawn(async move {
                let mut longest = Duration::ZERO;
                for _ in 0..EACH {
                    let sent = Instant::now();
                    let read = world.get("/api/v1/users/thing").await;
                    assert_eq!((read.status, read.side()), (200, "legacy"));
                    longest = longest.max(sent.elapsed());
                }
                longest
            })
        })
        .collect();
    for reader in readers {
        let longest = reader.await.unwrap();
        assert!(longest < Duration::from_secs(1), "somebody waited {longest:?}");
    }
    // The last copies are still being dropped when their readers have their answers.
    let begun = Instant::now();
    let (mut dropped, mut counted);
    loop {
        (dropped, counted) = (dropped_because("queue_full") as u64, world.users().shadow);
        if counted.dropped == dropped || begun.elapsed() > Duration::from_secs(5) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(dropped >= READERS * EACH - AWAY, "{dropped} of {} reads", READERS * EACH);
    assert_eq!((counted.dropped, counted.same, counted.different), (dropped, 0, 0));
}
