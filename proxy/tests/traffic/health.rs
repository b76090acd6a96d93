//! Instances that are not well, and what counts as a side that is down.

use std::sync::atomic::Ordering;
use std::time::Duration;

use ficus_proxy::{Ejection, Upstream};

use super::instance::{Instance, fixed, spread, upstream, world};
use super::support::{eventually, ramping, soaking};

#[tokio::test(flavor = "multi_thread")]
async fn an_outlier_is_left_alone_and_comes_back() {
    let (good, bad) = (Instance::start().await, Instance::start().await);
    let ejection = Ejection { failures: 2, first: Duration::from_millis(700), ..Ejection::default() };
    let world = world(Upstream { ejection, ..upstream(fixed(&[&good, &bad])) }).await;
    world.serve(soaking());
    bad.state.status.store(503, Ordering::SeqCst);
    while bad.seen("GET") < 2 {
        spread(&world, 1, &[]).await;
    }
    spread(&world, 20, &[]).await;
    assert_eq!(bad.seen("GET"), 2, "two failures, and it is left alone; no caller noticed");
    bad.state.status.store(200, Ordering::SeqCst);
    while bad.seen("GET") < 10 {
        spread(&world, 1, &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_says_that_it_is_not_well_gets_nothing_until_it_says_otherwise() {
    let (good, bad) = (Instance::start().await, Instance::start().await);
    bad.state.is_well.store(false, Ordering::SeqCst);
    let world = world(Upstream { health: Some("/health".into()), ..upstream(fixed(&[&good, &bad])) }).await;
    world.serve(soaking());
    while spread(&world, 4, &[]).await.len() > 1 {}
    let before = bad.seen("GET");
    assert_eq!(spread(&world, 20, &[]).await.len(), 1);
    assert_eq!(bad.seen("GET"), before);
    bad.state.is_well.store(true, Ordering::SeqCst);
    while spread(&world, 4, &[]).await.len() < 2 {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_side_is_down_only_when_no_instance_is_well() {
    let (one, other) = (Instance::start().await, Instance::start().await);
    let world = world(Upstream { health: Some("/health".into()), ..upstream(fixed(&[&one, &other])) }).await;
    world.serve(ramping(100));
    world.fresh(1, super::support::now());
    one.kill().await;
    for _ in 0..30 {
        let got = world.get("/api/v1/users/1/").await;
        assert_eq!((got.status, got.side()), (200, "modern"));
    }
    assert!(!world.users().modern_down, "one is well");
    other.kill().await;
    for _ in 0..30 {
        let got = world.get("/api/v1/users/1/").await;
        assert_eq!((got.status, got.side()), (200, "legacy"));
    }
    eventually("it is reported", || world.users().modern_down).await;
    other.revive().await;
    eventually("it is well again", || !world.users().modern_down).await;
    while world.get("/api/v1/users/1/").await.side() != "modern" {
        world.fresh(1, super::support::now());
    }
}
