//! An upstream that has enough, and one that fails too often.

use std::sync::atomic::Ordering;
use std::time::Duration;

use ficus_proxy::{Breaker, Bulkhead, Upstream};
use ficus_rules::Share;

use super::instance::{Instance, fixed, upstream, world};
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
