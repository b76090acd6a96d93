//! What is sent to another instance, and what never is.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ficus_proxy::{Ejection, Retry, Upstream};
use ficus_rules::Share;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::instance::{Instance, fixed, upstream, world};
use super::support::{World, eventually, full, ramping, soaking};

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_made_at_most_once_when_its_instance_dies_with_it() {
    let instances = [Instance::start().await, Instance::start().await, Instance::start().await];
    let world = world(upstream(fixed(&instances.each_ref()))).await;
    world.serve(soaking());
    for size in [0, 1_000, 200_000] {
        let before: usize = instances.iter().map(|instance| instance.seen("POST")).sum();
        for nth in 1..=6 {
            let got = world.send("POST", "/api/v1/users/die", &[], full(vec![b'x'; size])).await;
            assert_eq!(got.status, 502, "the caller must know");
            assert_eq!(instances.iter().map(|instance| instance.seen("POST")).sum::<usize>() - before, nth, "{size}");
        }
    }
    eventually("no write is counted any more", || world.users().inflight_writes == 0).await;
    // A read that dies is sent elsewhere, as often as there are others.
    let got = world.get("/api/v1/users/die").await;
    assert_eq!((got.status, instances.iter().map(|instance| instance.seen("GET")).sum::<usize>()), (502, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_could_not_be_sent_goes_to_another_instance() {
    let (gone, there) = (Instance::start().await, Instance::start().await);
    let world = world(upstream(fixed(&[&gone, &there]))).await;
    world.serve(soaking());
    gone.kill().await;
    for size in [10, 1_000_000] {
        for _ in 0..6 {
            assert_eq!(world.send("POST", "/api/v1/users/1/", &[], full(vec![b'x'; size])).await.status, 200);
        }
    }
    assert_eq!((gone.seen("POST"), there.seen("POST")), (0, 12));
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_are_sent_again_within_the_budget_and_then_fail_as_they_do() {
    let instances = [Instance::start().await, Instance::start().await];
    instances.iter().for_each(|instance| instance.state.status.store(503, Ordering::SeqCst));
    let retry = Retry { share: Share::from_millionths(100_000), least: 0, ..Retry::default() };
    let world = world(Upstream { retry, ..upstream(fixed(&instances.each_ref())) }).await;
    world.serve(soaking());
    for _ in 0..100 {
        assert_eq!(world.get("/api/v1/users/1/").await.status, 503);
    }
    let sent: usize = instances.iter().map(|instance| instance.seen("GET")).sum();
    assert_eq!(sent, 110, "a tenth of them twice");
}

/// Of a read whose body is no longer known nothing is sent again.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_goes_to_another_instance_with_its_body_or_not_at_all() {
    let (fails, works) = (Instance::start().await, Instance::start().await);
    fails.state.status.store(503, Ordering::SeqCst);
    let retry = Retry { share: Share::from_millionths(1_000_000), least: 100, ..Retry::default() };
    // Nobody is sent away for good while this looks at it.
    let ejection = Ejection { failures: 1_000, ..Ejection::default() };
    let world = world(Upstream { retry, ejection, ..upstream(fixed(&[&fails, &works])) }).await;
    world.serve(soaking());
    for (size, wanted) in [(0, 200), (65_536, 200), (65_537, 503), (100_000, 503), (1 << 20, 503)] {
        let (start, before) = (Instant::now(), fails.seen("GET"));
        let mut statuses = Vec::new();
        for _ in 0..4 {
            statuses.push(world.send("GET", "/api/v1/users/1/", &[], full(vec![b'x'; size])).await.status);
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{size}: it hangs");
        let failed = fails.seen("GET") - before;
        assert!(failed > 0, "{size}: the one that fails was not asked");
        assert_eq!(
            statuses.iter().filter(|status| **status == 503).count(),
            if wanted == 503 { failed } else { 0 },
            "{size}: {statuses:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_fallback_a_pooled_connection_to_legacy_that_died_is_made_anew() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let legacy = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        // Each connection answers once, and breaks off at the second request.
        while let Ok((mut connection, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = [0; 4096];
                let _ = connection.read(&mut head).await;
                let _ = connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
                let _ = connection.read(&mut head).await;
            });
        }
    });
    let world = World::with(|config| drop(config.upstreams.insert("monolith".into(), Upstream::at(legacy)))).await;
    world.serve(ramping(100));
    world.fresh(1, super::support::now());
    for _ in 0..6 {
        let got = world.get("/api/v1/users/status/503").await;
        assert_eq!((got.status, got.side()), (200, "legacy"), "a pooled connection that died is made anew");
    }
}
