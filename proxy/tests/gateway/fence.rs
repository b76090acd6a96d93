//! Held writes, counted writes, and a gateway that has lost touch.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ficus_proxy::{HoldLimits, Upstream};
use ficus_rules::wire::{ReportAnswer, Serving};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::Request;
use hyper::body::Frame;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::http2::streaming;
use super::support::{Body, World, eventually, full, ramping, soaking, streamed};

/// A hold that does not end by itself while a test waits for something else to end it.
const FOR_EVER: Duration = Duration::from_secs(3_600);

fn fenced() -> Serving {
    Serving { fenced: true, ..ramping(100) }
}

#[tokio::test(flavor = "multi_thread")]
async fn held_writes_go_to_the_new_owner_once_it_is_published() {
    let world = Arc::new(World::start().await);
    world.serve(fenced());
    let writes: Vec<_> = (0..20)
        .map(|n| {
            let world = world.clone();
            tokio::spawn(async move { world.post(&format!("/api/v1/users/held-{n}")).await })
        })
        .collect();
    eventually("all are held", || world.users().held == 20).await;
    assert_eq!(world.get("/api/v1/users/1/").await.side(), "modern", "reads go on");
    assert_eq!(world.users().inflight_writes, 0);
    assert_eq!(world.legacy.seen("held").len() + world.modern.seen("held").len(), 0);
    world.serve(soaking());
    for write in writes {
        let write = write.await.unwrap();
        assert_eq!((write.status, write.side(), write.json()["size"].as_u64()), (200, "modern", Some(4)));
    }
    assert_eq!(world.modern.seen("held").len(), 20, "each once");
    assert_eq!((world.users().held, world.users().inflight_writes), (0, 0));
}

/// A server that looks at one connection after the other, as they come, and takes its time for an answer.
async fn in_turn(targets: mpsc::UnboundedSender<String>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut head = vec![0; 4096];
            let length = socket.read(&mut head).await.unwrap_or_default();
            // Probes of its health say nothing.
            let Some(target) = String::from_utf8_lossy(&head[..length]).split(' ').nth(1).map(ToOwned::to_owned) else { continue };
            targets.send(target).unwrap();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(200)).await;
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                let _ = socket.write_all(answer).await;
                let _ = socket.read_to_end(&mut Vec::new()).await;
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn held_writes_of_a_session_reach_the_new_owner_in_the_order_in_which_they_came() {
    let (targets, mut came) = mpsc::unbounded_channel();
    let modern = in_turn(targets).await;
    let upstream = Upstream::at(modern.to_string());
    let world = Arc::new(World::with(|config| drop(config.upstreams.insert("users-service".into(), upstream))).await);
    for round in 0..10 {
        world.serve(fenced());
        let mut writes = Vec::new();
        for n in 0..20 {
            let (theirs, path) = (world.clone(), format!("/api/v1/users/{round}-{n}"));
            let write = async move { theirs.send("POST", &path, &[("cookie", "sessionid=somebody")], full("body")).await.status };
            writes.push(tokio::spawn(write));
            eventually("it is held", || world.users().held == n + 1).await;
        }
        let began = Instant::now();
        world.serve(soaking());
        for write in writes {
            assert_eq!(write.await.unwrap(), 200);
        }
        assert!(began.elapsed() < Duration::from_secs(2), "nobody waits for the answer to another: {:?}", began.elapsed());
        for n in 0..20 {
            assert_eq!(came.recv().await.unwrap(), format!("/users/{round}-{n}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_abort_held_writes_go_to_the_old_owner() {
    let world = Arc::new(World::start().await);
    world.serve(fenced());
    let theirs = world.clone();
    let pinned = tokio::spawn(async move { theirs.post("/admin/users/1/").await });
    eventually("the pinned write is held too", || world.users().held == 1).await;
    world.serve(ramping(100));
    assert_eq!(pinned.await.unwrap().side(), "legacy");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_is_bounded_in_number_and_in_time() {
    let limits = HoldLimits { max_requests: 1, max_wait: Duration::from_millis(400) };
    let world = Arc::new(World::with(|config| config.hold = limits).await);
    world.serve(fenced());
    let theirs = world.clone();
    let first = tokio::spawn(async move { theirs.post("/api/v1/users/first").await });
    eventually("one is held", || world.users().held == 1).await;
    let second = world.post("/api/v1/users/second").await;
    assert_eq!((second.status, second.header("retry-after")), (503, "1"));
    let first = first.await.unwrap();
    assert_eq!((first.status, first.header("retry-after")), (503, "1"));
    assert_eq!(world.legacy.seen.lock().unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_write_whose_client_leaves_is_never_sent() {
    let world = World::with(|config| config.hold.max_wait = FOR_EVER).await;
    world.serve(fenced());
    for (what, length) in [("small", 4), ("large", 1_000_000)] {
        let mut socket = TcpStream::connect(world.address).await.unwrap();
        let head = format!("POST /api/v1/users/gone-{what} HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\nbody");
        socket.write_all(head.as_bytes()).await.unwrap();
        eventually("it is held", || world.users().held == 1).await;
        drop(socket);
        eventually("its place is free", || world.users().held == 0).await;
    }
    world.serve(soaking());
    world.post("/api/v1/users/after").await;
    assert_eq!(world.modern.seen("gone").len() + world.legacy.seen("gone").len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_streams_through_after_a_hold() {
    let world = Arc::new(World::start().await);
    world.serve(fenced());
    let theirs = world.clone();
    let body = streamed(8, 1 << 20, Duration::ZERO);
    let upload = tokio::spawn(async move { theirs.send("POST", "/api/v1/users/upload", &[], body).await });
    eventually("it is held", || world.users().held == 1).await;
    world.serve(soaking());
    assert_eq!(upload.await.unwrap().json()["size"].as_u64(), Some(8 << 20));
}

/// A gateway with one thread, which speaks HTTP/2 too, and holds writes.
async fn multiplexed() -> World {
    let world = World::with(|config| {
        config.listeners[0].http2 = true;
        config.hold.max_wait = FOR_EVER;
        config.threads = 1;
    })
    .await;
    world.serve(fenced());
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_by_http_2_are_whole_after_a_hold() {
    let trailed = || {
        let trailers = hyper::HeaderMap::from_iter([("x-sum".parse().unwrap(), "1".parse().unwrap())]);
        let frames = [Ok(Frame::data(Bytes::from(vec![b'x'; 20_000]))), Ok(Frame::trailers(trailers))];
        StreamBody::new(futures::stream::iter(frames)).boxed()
    };
    let all: [(&str, Body, usize); 5] = [
        ("without a length", streamed(10, 10_000, Duration::ZERO), 100_000),
        ("large, without a length", streamed(4, 1 << 20, Duration::ZERO), 4 << 20),
        ("with a length", full(vec![b'x'; 50_000]), 50_000),
        ("large, with a length", full(vec![b'x'; 1 << 20]), 1 << 20),
        ("with trailers", trailed(), 20_000),
    ];
    for (what, body, size) in all {
        let world = multiplexed().await;
        let mut sender = streaming(&world).await;
        sender.ready().await.unwrap();
        let upload = tokio::spawn(sender.send_request(Request::post("http://a.test/api/v1/users/upload").body(body).unwrap()));
        eventually("it is held", || world.users().held == 1).await;
        // What the client has sent meanwhile is there, and nobody is kept busy by it.
        for _ in 0..20 {
            let other = tokio::time::timeout(Duration::from_secs(120), world.get("/one")).await;
            assert_eq!(other.expect("the only thread is free").status, 200, "{what}");
        }
        world.serve(soaking());
        let answer = upload.await.unwrap().unwrap().into_body().collect().await.unwrap().to_bytes();
        let told: serde_json::Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!((told["size"].as_u64(), told["origin"].as_str()), (Some(size as u64), Some("users-service")), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_write_that_is_taken_back_by_http_2_is_never_sent() {
    let world = multiplexed().await;
    let bodies: [(&str, Body); 3] =
        [("small", full("body")), ("large", full(vec![b'x'; 1 << 20])), ("endless", streamed(1 << 20, 1_000, Duration::from_millis(10)))];
    for (what, body) in bodies {
        let mut sender = streaming(&world).await;
        sender.ready().await.unwrap();
        let held = tokio::spawn(sender.send_request(Request::post(format!("http://a.test/api/v1/users/gone-{what}")).body(body).unwrap()));
        eventually("it is held", || world.users().held == 1).await;
        held.abort();
        eventually(what, || world.users().held == 0).await;
        // The connection is as good as before.
        sender.ready().await.unwrap();
        let other = sender.send_request(Request::get("http://a.test/one").body(full("")).unwrap()).await.unwrap();
        assert_eq!(other.status().as_u16(), 200);
    }
    world.serve(soaking());
    world.post("/api/v1/users/after").await;
    assert_eq!(world.modern.seen("gone").len() + world.legacy.seen("gone").len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_counts_as_in_flight_until_its_upstream_has_answered() {
    let world = Arc::new(World::start().await);
    world.serve(ramping(100));
    let theirs = world.clone();
    let slow = tokio::spawn(async move { theirs.post("/api/v1/users/slow/400").await });
    eventually("it is in flight", || world.users().inflight_writes == 1).await;
    world.serve(fenced());
    assert_eq!(world.users().inflight_writes, 1, "the fence does not hide what was sent before it");
    assert_eq!(slow.await.unwrap().status, 200);
    assert_eq!(world.users().inflight_writes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_closes_its_half_does_not_end_the_count() {
    let world = World::start().await;
    world.serve(ramping(100));
    let mut socket = TcpStream::connect(world.address).await.unwrap();
    socket.write_all(b"POST /api/v1/users/slow/300 HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    eventually("it is in flight", || world.users().inflight_writes == 1).await;
    socket.shutdown().await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(world.users().inflight_writes, 1);
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_out_of_touch_refuses_writes_of_what_is_moving_and_nothing_else() {
    let world = World::start().await;
    world.publish(ramping(0));
    let write = world.post("/api/v1/users/1/").await;
    assert_eq!((write.status, write.header("retry-after")), (503, "1"), "no report was ever answered");
    assert!(write.json()["detail"].as_str().unwrap().contains("orchestrator"));
    assert_eq!(world.get("/api/v1/users/1/").await.status, 200);
    assert_eq!(world.post("/other/").await.status, 200);
    let answer = |generation, valid_for_ms| ReportAnswer { generation, valid_for_ms, ..ReportAnswer::default() };
    world.gateway.answered(&answer(99, 60_000));
    assert_eq!(world.post("/api/v1/users/1/").await.status, 503, "there is a newer state than ours");
    world.gateway.answered(&answer(1, 200));
    assert_eq!(world.post("/api/v1/users/1/").await.status, 200);
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert_eq!(world.post("/api/v1/users/1/").await.status, 503, "it has lapsed");
    world.publish(Serving::untouched());
    assert_eq!(world.send("POST", "/api/v1/users/1/", &[], full("")).await.status, 200, "a draft does not move");
}
