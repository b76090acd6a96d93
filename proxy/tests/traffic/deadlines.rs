//! How long an upstream may take.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use ficus_proxy::{Probe, Transport, Upstream, UpstreamTls};

use super::rules::publish;
use super::support::{World, eventually, full, ramping, soaking};

const ROUTES: &str = r#"
[[route]]
path = "/total/{*rest}"
csrf = false
deadlines = { total = "1s" }

[[route]]
path = "/connect/{*rest}"
csrf = false
deadlines = { connect = "300ms" }

[[route]]
path = "/first/{*rest}"
csrf = false
deadlines = { first_byte = "500ms", idle = "1m" }

[[route]]
path = "/idle/{*rest}"
csrf = false
deadlines = { first_byte = "1m", idle = "500ms" }
"#;

/// A server whose queue of connections is full: nobody gets one. Held for as long as what is given back.
async fn full_up() -> (String, Vec<TcpStream>, tokio::net::TcpListener) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(connected) = tokio::time::timeout(Duration::from_millis(500), TcpStream::connect(address)).await {
        waiting.push(connected.unwrap());
        assert!(waiting.len() < 100, "its queue has no end");
    }
    (address.to_string(), waiting, listener)
}

/// A server that takes connections, and never says a word of TLS.
async fn mute() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let mut taken = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            taken.push(connection);
        }
    });
    address
}

/// What the gateway itself would wait for is an hour, and nobody but requests finds out that modern is away.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_not_made_has_a_deadline() {
    let (full_up, _waiting, _listener) = full_up().await;
    let tls = Transport { tls: Some(UpstreamTls { name: Some("a.test".into()), ..UpstreamTls::default() }), ..Transport::default() };
    for (what, upstream) in [("a full queue", Upstream::at(full_up)), ("TLS", Upstream { transport: tls, ..Upstream::at(mute().await) })] {
        let world = World::with(|config| {
            config.timeouts.connect = Duration::from_secs(3_600);
            let probe = Probe { interval: Duration::from_secs(3_600), ..Probe::default() };
            config.upstreams.insert("users-service".into(), Upstream { probe, ..upstream });
        })
        .await;
        publish(&world, ROUTES, ramping(100));
        world.fresh(1, super::support::now());
        let start = Instant::now();
        let read = tokio::time::timeout(Duration::from_secs(60), world.get("/connect/1")).await;
        let read = read.unwrap_or_else(|_| panic!("{what}: it waits for ever"));
        assert_eq!((read.status, read.side()), (200, "legacy"), "{what}");
        assert!(start.elapsed() >= Duration::from_millis(300), "{what}: modern was not asked");
        publish(&world, ROUTES, soaking());
        for method in ["GET", "POST"] {
            let start = Instant::now();
            let asked = tokio::time::timeout(Duration::from_secs(60), asked(&world, method, "/connect/1")).await;
            assert_eq!(asked.unwrap_or_else(|_| panic!("{what}: {method} waits for ever")), (504, true), "{what}: {method}");
            assert!(start.elapsed() >= Duration::from_millis(300), "{what}: {method}");
        }
        eventually("no write is counted any more", || world.users().inflight_writes == 0).await;
    }
}

/// A server that begins to answer after `first`, and sends a byte every `drip` then, ten in all.
async fn dripping(first: Duration, drip: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = vec![0; 65_536];
                let _ = connection.read(&mut head).await;
                tokio::time::sleep(first).await;
                let _ = connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n").await;
                for _ in 0..10 {
                    tokio::time::sleep(drip).await;
                    if connection.write_all(b"x").await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

async fn world(first: u64, drip: u64) -> World {
    let address = dripping(Duration::from_millis(first), Duration::from_millis(drip)).await;
    let world = World::with(|config| drop(config.upstreams.insert("users-service".into(), Upstream::at(address)))).await;
    publish(&world, ROUTES, soaking());
    world
}

/// The status, and whether the answer came to its end.
async fn asked(world: &World, method: &str, path: &str) -> (u16, bool) {
    let request = hyper::Request::builder().method(method).uri(format!("http://{}{path}", world.address)).body(full("body")).unwrap();
    let (head, body) = world.client.request(request).await.unwrap().into_parts();
    (head.status.as_u16(), http_body_util::BodyExt::collect(body).await.is_ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_total_ends_an_answer_that_does_not_begin_and_one_that_drips() {
    let silent = world(60_000, 0).await;
    let start = Instant::now();
    for method in ["GET", "POST"] {
        assert_eq!(asked(&silent, method, "/total/1").await, (504, true), "{method}");
    }
    assert!(start.elapsed() < Duration::from_secs(30));
    eventually("the write is counted no more", || silent.users().inflight_writes == 0).await;
    let drips = world(0, 300).await;
    for method in ["GET", "POST"] {
        assert_eq!(asked(&drips, method, "/total/1").await, (200, false), "{method}: three seconds are too long");
    }
    assert_eq!(asked(&world(0, 10).await, "GET", "/total/1").await, (200, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_byte_and_those_after_it_have_deadlines_of_their_own() {
    let late = world(1_500, 0).await;
    assert_eq!(asked(&late, "GET", "/first/1").await, (504, true));
    assert_eq!(asked(&late, "POST", "/first/1").await, (504, true));
    assert_eq!(asked(&late, "GET", "/idle/1").await, (200, true));
    let pauses = world(0, 1_500).await;
    assert_eq!(asked(&pauses, "GET", "/idle/1").await, (200, false));
    assert_eq!(asked(&pauses, "POST", "/idle/1").await, (200, false));
    assert_eq!(asked(&world(0, 700).await, "GET", "/first/1").await, (200, true), "the later ones may be late");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_is_late_on_modern_is_answered_by_legacy_in_the_time_that_is_left() {
    let address = dripping(Duration::from_secs(60), Duration::ZERO).await;
    let world = World::with(|config| {
        config.upstreams.insert("users-service".into(), Upstream::at(address));
        // Connections are counted below.
        config.upstreams.get_mut("monolith").unwrap().probe.interval = Duration::from_secs(3_600);
    })
    .await;
    publish(&world, ROUTES, ramping(100));
    world.fresh(1, super::support::now());
    let connections = || world.legacy.state.connections.load(std::sync::atomic::Ordering::Relaxed);
    let late = futures::future::join_all((0..5).map(|_| world.get("/total/1"))).await;
    assert!(late.iter().all(|got| got.status == 504), "no time is left");
    let got = world.get("/first/1").await;
    assert_eq!((got.status, got.side()), (200, "legacy"));
    // One is that answer's; and the gateway itself looks once, perhaps, whether anybody is there.
    assert!(connections() <= 2, "{} connections for nobody", connections());
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlines_end_tunnels_too() {
    let world = World::start().await;
    publish(&world, ROUTES, soaking());
    let open = async |path: &str| {
        let mut socket = TcpStream::connect(world.address).await.unwrap();
        let asked = format!(
            "GET {path} HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        socket.write_all(asked.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(socket.read_u8().await.unwrap());
        }
        assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", answer.escape_ascii());
        socket
    };
    let begun = Instant::now();
    let mut socket = open("/idle/ws").await;
    let ended = tokio::time::timeout(Duration::from_secs(120), socket.read_to_end(&mut Vec::new())).await;
    assert!(ended.is_ok(), "nothing moves");
    assert!(begun.elapsed() >= Duration::from_millis(500), "it is cut at once");
    let begun = Instant::now();
    let (mut read, mut write) = open("/total/ws").await.into_split();
    let talking = tokio::spawn(async move {
        while write.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await
        }
    });
    let all = tokio::time::timeout(Duration::from_secs(120), tokio::io::copy(&mut read, &mut tokio::io::sink())).await;
    assert!(all.is_ok(), "it talks and talks");
    assert!(begun.elapsed() >= Duration::from_secs(1), "it is cut at once");
    talking.await.unwrap();
}
