//! An upstream that has enough, and one that fails too often.

use std::sync::atomic::Ordering;
use std::time::Duration;

use ficus_proxy::{Breaker, Bulkhead, Upstream};
use ficus_rules::Share;

use super::instance::{Instance, fixed, upstream, world};
use super::rules::publish;
use super::support::{World, eventually, full, ramping, soaking};

async fn narrow(instance: &Instance, requests: usize, queue: usize, wait: Duration) -> World {
    let bulkhead = Some(Bulkhead { requests, queue, wait });
    world(Upstream { bulkhead, ..upstream(fixed(&[instance])) }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_has_so_many_requests_at_once_some_wait_and_the_rest_is_told_when_to_come_back() {
    let instance = Instance::start().await;
    let world = narrow(&instance, 2, 2, Duration::from_secs(30)).await;
    world.serve(soaking());
    let requests = (0..8).map(|_| world.send("POST", "/api/v1/users/slow/1000", &[], full("body")));
    let answers = futures::future::join_all(requests).await;
    let (good, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|got| got.status == 200);
    assert_eq!((good.len(), refused.len(), instance.seen("POST")), (4, 4, 4));
    assert!(refused.iter().all(|got| got.status == 503 && got.header("retry-after") == "1"));
    assert_eq!(instance.state.most.load(Ordering::SeqCst), 2);
    assert_eq!(world.get("/api/v1/users/1/").await.status, 200, "the places are free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_in_vain_or_leaves_is_not_sent() {
    let instance = Instance::start().await;
    let world = narrow(&instance, 1, 5, Duration::from_millis(300)).await;
    world.serve(soaking());
    let (first, second) = tokio::join!(world.send("POST", "/api/v1/users/slow/3000", &[], full("body")), async {
        eventually("it has one", || instance.seen("POST") == 1).await;
        world.post("/api/v1/users/1/").await
    });
    assert_eq!((first.status, second.status, instance.seen("POST")), (200, 503, 1));
    let world = narrow(&instance, 1, 5, Duration::from_secs(20)).await;
    world.serve(soaking());
    let (first, ()) = tokio::join!(world.send("POST", "/api/v1/users/slow/1500", &[], full("body")), async {
        eventually("it has one", || instance.seen("POST") == 2).await;
        let impatient = tokio::time::timeout(Duration::from_millis(300), world.post("/api/v1/users/1/")).await;
        assert!(impatient.is_err(), "it waited for its place");
    });
    assert_eq!((first.status, world.post("/api/v1/users/1/").await.status), (200, 200));
    assert_eq!(instance.seen("POST"), 3, "who left meanwhile was not sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_that_may_go_to_legacy_when_modern_has_enough() {
    let instance = Instance::start().await;
    let world = narrow(&instance, 1, 0, Duration::from_secs(1)).await;
    world.serve(ramping(100));
    world.fresh(1, super::support::now());
    let (first, second) = tokio::join!(world.get("/api/v1/users/slow/1500"), async {
        eventually("it has one", || instance.seen("GET") == 1).await;
        world.get("/api/v1/users/1/").await
    });
    assert_eq!((first.side(), second.status, second.side()), ("modern", 200, "legacy"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_circuit_opens_spares_its_upstream_and_closes_when_it_is_well() {
    let instance = Instance::start().await;
    let breaker = Breaker {
        share: Share::from_millionths(500_000),
        requests: 4,
        window: Duration::from_secs(60),
        open_for: Duration::from_millis(800),
        passes: 2,
    };
    let world = world(Upstream { breaker: Some(breaker), ..upstream(fixed(&[&instance])) }).await;
    world.serve(soaking());
    instance.state.status.store(503, Ordering::SeqCst);
    for _ in 0..4 {
        assert_eq!(world.get("/api/v1/users/1/").await.header("x-instance"), instance.address.to_string());
    }
    for _ in 0..10 {
        let got = world.post("/api/v1/users/1/").await;
        assert_eq!((got.status, got.header("retry-after"), got.header("x-instance")), (503, "1", ""));
    }
    assert_eq!((instance.seen("GET"), instance.seen("POST")), (4, 0));
    instance.state.status.store(200, Ordering::SeqCst);
    let mut good = 0;
    while good < 6 {
        good = if world.get("/api/v1/users/1/").await.status == 200 { good + 1 } else { 0 };
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Reads of a ramp do not wait for that.
    world.serve(ramping(100));
    world.fresh(1, super::support::now());
    instance.state.status.store(503, Ordering::SeqCst);
    for _ in 0..20 {
        let got = world.get("/api/v1/users/1/").await;
        assert_eq!((got.status, got.side()), (200, "legacy"));
    }
    assert!(instance.seen("GET") < 4 + 20 + 20);
}

/// Of an upstream that takes requests and says nothing, a deadline tells.
#[tokio::test(flavor = "multi_thread")]
async fn a_circuit_opens_for_silence_tries_after_its_time_and_closes_by_answers_late_ones_too() {
    const OPEN_FOR: Duration = Duration::from_millis(1_500);
    let routes = "[[route]]\npath = \"/quick/{*rest}\"\ncsrf = false\ndeadlines = { first_byte = \"300ms\" }\n\
                  [[route]]\npath = \"/patient/{*rest}\"\ncsrf = false\ndeadlines = { first_byte = \"1m\" }\n";
    let instance = Instance::start().await;
    let breaker =
        Breaker { share: Share::from_millionths(500_000), requests: 4, window: Duration::from_secs(60), open_for: OPEN_FOR, passes: 2 };
    let world = world(Upstream { breaker: Some(breaker), ..upstream(fixed(&[&instance])) }).await;
    publish(&world, routes, soaking());
    let status = async |path: &str| world.get(path).await.status;
    let several = async |path: &str| futures::future::join_all((0..4).map(|_| status(path))).await;
    let (hung, good, late) = ("/quick/slow/600000", "/quick/1", "/patient/slow/5000");
    // GIVEN one that hangs
    assert_eq!(several(hung).await, [504; 4]);
    // THEN nothing is sent
    let refused = world.get(good).await;
    assert_eq!((refused.status, instance.seen("GET")), (503, 4));
    assert!(["1", "2"].contains(&refused.header("retry-after")), "{refused:?}");
    // WHEN its time is over, one is tried, and hangs as well
    tokio::time::sleep(OPEN_FOR).await;
    assert_eq!((status(hung).await, instance.seen("GET")), (504, 5));
    assert_eq!((several(good).await, instance.seen("GET")), (vec![503; 4], 5), "it is open again");
    // WHEN two are answered
    tokio::time::sleep(OPEN_FOR).await;
    assert_eq!((status(good).await, status(good).await), (200, 200));
    // THEN it is closed
    assert_eq!(several(good).await, [200; 4]);
    // GIVEN an upstream that was silent and is slow now
    while several(hung).await != [503; 4] {}
    tokio::time::sleep(OPEN_FOR).await;
    let sent = instance.seen("GET");
    let tried = async {
        eventually("one is tried", || instance.seen("GET") > sent).await;
        let (at_once, ()) = (status(good).await, tokio::time::sleep(OPEN_FOR).await);
        // WHEN another is tried in its place
        (at_once, status(good).await)
    };
    let (late, tried) = tokio::join!(status(late), tried);
    assert_eq!((tried, late), ((503, 200), 200));
    // THEN what was answered late counts beside it
    assert_eq!(several(good).await, [200; 4]);
}
