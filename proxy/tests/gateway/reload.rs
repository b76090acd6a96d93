//! Publishing while requests are served, starting without anybody, stopping in good order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ficus_rules::migration::Phase;
use ficus_rules::wire::{Published, RuleFile, Serving};

use super::support::{World, eventually, full, published, ramping, send, soaking};
use super::upgrade::{echo, open};

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_generations_pass_without_a_failed_request() {
    let world = Arc::new(World::start().await);
    world.serve(ramping(50));
    let mut socket = open(&world, "/api/v1/users/ws").await;
    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|n| {
            let (world, stop, sent) = (world.clone(), stop.clone(), sent.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let got = if n % 2 == 0 { world.get("/api/v1/users/1/").await } else { world.post("/api/v1/users/1/").await };
                    assert_eq!(got.status, 200);
                    let expected = if got.side() == "modern" { "users-service" } else { "monolith" };
                    assert_eq!(got.json()["origin"], expected);
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for n in 0..200 {
        world.serve(ramping(n % 101));
        echo(&mut socket, b"still here").await;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(world.gateway.generation(), 201);
    assert!(sent.load(Ordering::Relaxed) > 100, "{sent:?}");
    assert_eq!(world.users().inflight_writes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_rule_file_or_an_older_generation_changes_nothing() {
    let world = World::start().await;
    world.serve(ramping(100));
    let mut bad = published(2, ramping(0));
    bad.rules = vec![RuleFile { name: "users.toml".into(), text: "[capability]\nnmae = 'users'".into() }];
    let complaints = world.gateway.publish(bad).unwrap_err();
    assert_eq!(complaints[0].file, "users.toml");
    let report = world.gateway.report();
    assert!(report.trouble.unwrap().contains("users.toml"));
    assert_eq!((report.generation, world.get("/api/v1/users/1/").await.side()), (1, "modern"));
    world.gateway.publish(published(3, ramping(100))).unwrap();
    assert_eq!(world.gateway.report().trouble, None);
    assert!(world.gateway.publish(published(2, ramping(0))).is_err());
    assert_eq!(world.gateway.generation(), 3);
    let trouble = world.gateway.report().trouble.unwrap();
    assert!(trouble.contains("generation 2, older than 3") && trouble.contains("remove gateway-snapshot.json"), "{trouble}");
    world.gateway.publish(published(4, ramping(0))).unwrap();
    assert_eq!(world.gateway.report().trouble, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_starts_from_its_last_good_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("snapshot.json");
    let mut world = World::with(|config| config.snapshot_file = Some(file.clone())).await;
    world.serve(soaking());
    world.stop();
    let world = World::with(|config| config.snapshot_file = Some(file.clone())).await;
    assert_eq!(world.gateway.generation(), 1);
    assert_eq!(world.get("/api/v1/users/1/").await.side(), "modern");
    assert_eq!(world.post("/api/v1/users/1/").await.status, 503, "until the orchestrator has confirmed it");
    world.confirm();
    assert_eq!(world.post("/api/v1/users/1/").await.side(), "modern");
}

/// Writes of a capability that has not begun to move go to legacy without anybody's leave: a gateway that begins again must know
/// that it has begun, and one that could not know it does not take part.
#[tokio::test(flavor = "multi_thread")]
async fn that_something_begins_to_move_is_on_disk_before_it_is_served_by() {
    let folder = tempfile::tempdir().unwrap();
    let (file, away) = (folder.path().join("state/snapshot.json"), folder.path().join("away"));
    let mut world = World::with(|config| config.snapshot_file = Some(file.clone())).await;
    let draft = || Serving { phase: Phase::Draft, ..ramping(0) };
    world.gateway.publish(published(1, draft())).unwrap();
    eventually("the draft is kept", || file.exists()).await;
    // The disk takes nothing any more.
    std::fs::rename(folder.path().join("state"), &away).unwrap();
    std::fs::write(folder.path().join("state"), "no folder").unwrap();
    let refused = world.gateway.publish(published(2, ramping(0))).unwrap_err();
    assert!(refused[0].message.contains("generation 2 cannot be kept in") && refused[0].hint.contains("make room"), "{refused:?}");
    assert_eq!(world.gateway.generation(), 1, "and it is not acknowledged");
    assert!(world.gateway.report().trouble.unwrap().contains("cannot be kept"));
    std::fs::remove_file(folder.path().join("state")).unwrap();
    std::fs::rename(&away, folder.path().join("state")).unwrap();
    world.gateway.publish(published(2, ramping(0))).unwrap();
    let kept: Published = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!((kept.generation, kept.capabilities["users"].phase), (2, Phase::Ramping), "it need not wait for the disk");
    assert_eq!(world.gateway.report().trouble, None);
    world.stop();
    // What has begun already is known to have: a disk that is full then keeps nobody from serving.
    let world = World::with(|config| config.snapshot_file = Some(file.clone())).await;
    assert_eq!(world.post("/api/v1/users/1/").await.status, 503, "nobody has given it a validity");
    std::fs::rename(folder.path().join("state"), &away).unwrap();
    std::fs::write(folder.path().join("state"), "no folder").unwrap();
    world.gateway.publish(published(3, ramping(50))).unwrap();
    assert_eq!(world.gateway.generation(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_begins_to_move_is_on_disk_before_it_is_served() {
    let folder = tempfile::tempdir().unwrap();
    for times in 0..10 {
        let file = folder.path().join(format!("{times}.json"));
        let world = World::with(|config| config.snapshot_file = Some(file.clone())).await;
        world.serve(Serving::untouched());
        let begun = Serving { phase: Phase::Backfilling, ..Serving::untouched() };
        world.serve(begun.clone());
        // Killed at this moment, it starts anew with this.
        let kept: Published = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        assert_eq!(kept.capabilities["users"], begun, "a gateway that starts with a draft forwards its writes without being allowed to");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_was_never_told_anything_refuses_writes() {
    let world = World::start().await;
    assert!(tokio::time::timeout(Duration::from_millis(20), world.gateway.informed()).await.is_err());
    assert_eq!(world.get("/api/v1/users/1/").await.side(), "legacy");
    let write = world.post("/api/v1/users/1/").await;
    assert_eq!((write.status, write.header("retry-after")), (503, "1"), "the owner may have changed long ago");
    assert_eq!(world.legacy.seen("/1/").len(), 1);
    world.serve(soaking());
    world.gateway.informed().await;
    assert_eq!(world.post("/api/v1/users/1/").await.side(), "modern");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_whose_snapshot_is_of_no_use_refuses_everything_until_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("snapshot.json");
    let mut outdated = published(7, soaking());
    outdated.rules[0].text = "[capability]\nnmae = 'users'".into();
    for text in ["{half".to_owned(), serde_json::to_string(&outdated).unwrap()] {
        std::fs::write(&file, text).unwrap();
        let world = World::with(|config| config.snapshot_file = Some(file.clone())).await;
        assert_eq!(world.post("/api/v1/users/1/").await.status, 503);
        assert_eq!(world.get("/api/v1/users/1/").await.status, 503, "a stale read is no better");
        world.serve(soaking());
        assert_eq!(world.get("/api/v1/users/1/").await.side(), "modern");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_finishes_what_is_under_way_and_no_more() {
    let mut world = World::start().await;
    let (client, address) = (world.client.clone(), world.address);
    let slow = tokio::spawn(async move { send(&client, address, "GET", "/slow/300", &[], full("")).await });
    eventually("it is under way", || !world.legacy.seen("/slow/").is_empty()).await;
    let start = Instant::now();
    tokio::task::block_in_place(|| world.stop());
    assert!(start.elapsed() < Duration::from_millis(1_500), "{:?}", start.elapsed());
    assert_eq!(slow.await.unwrap().status, 200);
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens any more");
}
