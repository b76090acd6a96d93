//! Upstreams that fail: honest answers for writes, the other side for reads.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ficus_proxy::Upstream;
use ficus_rules::wire::LATENCY_BOUNDS_MS;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::http2::streaming;
use super::support::{World, eventually, full, ramping, soaking};

fn without_modern(upstreams: &mut BTreeMap<String, Upstream>) {
    // Port 9 of loopback: nobody listens there.
    upstreams.insert("users-service".into(), Upstream::at("127.0.0.1:9"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connection_is_502_and_silence_is_504() {
    let world = World::with(|config| without_modern(&mut config.upstreams)).await;
    world.serve(soaking());
    let json = world.get("/api/v1/users/1/").await;
    assert_eq!((json.status, json.header("content-type")), (502, "application/json"));
    assert_eq!(json.json()["request_id"].as_str(), Some(json.header("x-request-id")));
    let page = world.send("GET", "/api/v1/users/1/", &[("accept", "text/html,*/*")], full("")).await;
    assert_eq!((page.status, page.header("content-type")), (502, "text/html; charset=utf-8"));
    let write = world.post("/api/v1/users/1/").await;
    assert_eq!(write.status, 502);
    assert!(world.users().modern_down);
    let world = World::start().await;
    world.serve(soaking());
    let start = Instant::now();
    let json = world.get("/brief/slow/2000").await;
    assert_eq!((json.status, json.header("content-type")), (504, "application/json"));
    assert_eq!(json.json()["request_id"].as_str(), Some(json.header("x-request-id")));
    assert!(start.elapsed() < Duration::from_millis(1500));
    let page = world.send("GET", "/brief/slow/2000", &[("accept", "text/html,*/*")], full("")).await;
    assert_eq!((page.status, page.header("content-type")), (504, "text/html; charset=utf-8"));
    let start = Instant::now();
    let accepts = [("accept", "text/event-stream")];
    assert_eq!(world.send("POST", "/brief/slow/2000", &accepts, full("")).await.status, 504, "a write may not be silent for an hour");
    assert!(start.elapsed() < Duration::from_millis(1500));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_monolith_that_is_down_is_502_for_programs_and_for_people() {
    let nowhere = |upstreams: &mut BTreeMap<String, Upstream>| upstreams.insert("monolith".into(), Upstream::at("127.0.0.1:9"));
    let world = World::with(|config| drop(nowhere(&mut config.upstreams))).await;
    world.serve(ramping(0));
    for path in ["/api/v1/users/1/", "/no/route/at/all/"] {
        let json = world.get(path).await;
        assert_eq!((json.status, json.header("content-type")), (502, "application/json"), "{path}");
        assert_eq!(json.json()["request_id"].as_str(), Some(json.header("x-request-id")), "{path}");
        let page = world.send("GET", path, &[("accept", "text/html,*/*")], full("")).await;
        assert_eq!((page.status, page.header("content-type")), (502, "text/html; charset=utf-8"), "{path}");
    }
}

/// What a read is sent again with is kept, but not for ever: one with more than that gets the answer that there is, at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_falls_back_with_its_body_or_not_at_all() {
    let world = World::with(|config| config.listeners[0].http2 = true).await;
    world.serve(ramping(100));
    let mut http2 = streaming(&world).await;
    for (size, side) in
        [(0, "legacy"), (10_000, "legacy"), (65_536, "legacy"), (65_537, "modern"), (100_000, "modern"), (1 << 20, "modern")]
    {
        let start = Instant::now();
        let got = world.send("GET", "/api/v1/users/status/503", &[], full(vec![b'x'; size])).await;
        assert_eq!((got.status, got.side()), (503, side), "{size} by HTTP/1");
        let request = Request::get("http://a.test/api/v1/users/status/503").body(full(vec![b'x'; size])).unwrap();
        http2.ready().await.unwrap();
        let got = http2.send_request(request).await.unwrap();
        let told = got.headers().get("x-ficus-side").and_then(|told| told.to_str().ok());
        assert_eq!((got.status().as_u16(), told), (503, Some(side)), "{size} by HTTP/2");
        assert!(start.elapsed() < Duration::from_secs(20), "{size}: it hangs");
    }
    let sizes: Vec<usize> = world.legacy.seen("/status/503").iter().map(|seen| seen.size).collect();
    assert_eq!(sizes, [0, 0, 10_000, 10_000, 65_536, 65_536], "all of each body, and only of those that are kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_that_modern_fails_are_answered_by_legacy_and_writes_are_not() {
    let world = World::start().await;
    world.serve(ramping(100));
    for status in [500, 502, 503, 504] {
        let path = format!("/api/v1/users/status/{status}");
        let read = world.get(&path).await;
        assert_eq!((read.status, read.side()), (status, "legacy"), "legacy says the same here, but legacy says it");
    }
    assert_eq!(world.modern.seen("/status/").len(), 4);
    let slow = world.get("/brief/slow/400").await;
    assert_eq!((slow.status, world.modern.seen("/slow/").len()), (504, 1), "both sides were asked, both are slow");
    assert_eq!(world.get("/stubborn/status/503").await.side(), "modern", "fallback = false");
    let errors = || (world.users().modern.errors, world.users().modern.requests, world.users().legacy.errors);
    eventually("all are counted", || errors() == (6, 6, 5)).await;
    world.serve(soaking());
    assert_eq!(world.get("/api/v1/users/status/503").await.side(), "modern", "legacy no longer owns");
    let legacy = world.legacy.seen("/status/").len();
    assert_eq!(world.post("/api/v1/users/status/503").await.side(), "modern");
    assert_eq!(world.legacy.seen("/status/").len(), legacy);
}

#[tokio::test(flavor = "multi_thread")]
async fn gates_are_told_of_what_both_sides_are_asked_alike() {
    let world = World::start().await;
    let all = async || {
        for path in ["/api/v1/users/status/503", "/admin/users/status/503"] {
            world.get(path).await;
            world.post(path).await;
        }
    };
    let told = || {
        let users = world.users();
        [users.legacy, users.modern, users.legacy_writes, users.modern_writes].map(|traffic| (traffic.requests, traffic.errors))
    };
    world.serve(ramping(0));
    all().await;
    eventually("the owner's read and write that are not pinned", || told() == [(1, 1), (0, 0), (1, 1), (0, 0)]).await;
    world.serve(soaking());
    all().await;
    eventually("those of the other owner", || told() == [(1, 1); 4]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_modern_side_that_is_down_is_left_alone_for_a_moment() {
    let world = World::with(|config| without_modern(&mut config.upstreams)).await;
    world.serve(ramping(100));
    for _ in 0..10 {
        let read = world.get("/api/v1/users/1/").await;
        assert_eq!((read.status, read.side()), (200, "legacy"));
    }
    let modern = || {
        let modern = world.users().modern;
        (modern.requests, modern.errors, modern.took.iter().sum::<u64>())
    };
    eventually("after three failures in a row it is not tried again at once, and has failed all the same", || modern() == (10, 10, 3))
        .await;
    eventually("probes find it down", || world.users().modern_down).await;
    tokio::time::sleep(Duration::from_millis(2_000)).await;
    world.get("/api/v1/users/1/").await;
    eventually("nobody's read is spent on finding out", || modern() == (11, 11, 3)).await;
}

/// Callers and balancers give up long before the gateway does, and then a side that hangs would never be seen to.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_gives_up_on_a_silent_side_counts_as_its_failure_and_one_that_changes_its_mind_does_not() {
    let world = World::start().await;
    world.serve(soaking());
    let leave = async |text: &str, after: u64| {
        let seen = world.modern.seen("/slow/").len();
        let mut socket = TcpStream::connect(world.address).await.unwrap();
        socket.write_all(text.as_bytes()).await.unwrap();
        eventually("it is under way", || world.modern.seen("/slow/").len() > seen).await;
        tokio::time::sleep(Duration::from_millis(after)).await;
    };
    let get = "GET /api/v1/users/slow/5000 HTTP/1.1\r\nhost: a\r\n";
    leave(&format!("{get}\r\n"), 200).await;
    leave(&format!("{get}content-length: 9\r\n\r\na body"), 1_200).await;
    leave(&format!("{get}accept: text/event-stream\r\n\r\n"), 1_200).await;
    let modern = || {
        let modern = world.users().modern;
        (modern.requests, modern.errors)
    };
    world.get("/api/v1/users/status/200").await;
    eventually("the one that was answered", || modern() == (1, 0)).await;
    leave(&format!("{get}\r\n"), 1_200).await;
    eventually("the one that had waited", || modern() == (2, 1)).await;
    leave(&format!("{get}content-length: 6\r\n\r\na body"), 1_200).await;
    eventually("the one with a body", || modern() == (3, 2)).await;
    let (took, second) = (world.users().modern.took, LATENCY_BOUNDS_MS.partition_point(|bound| *bound < 1_000));
    assert_eq!(took[second..].iter().sum::<u64>(), 2, "{took:?}");
}

/// A client that is not told sends its next request by a connection that is closed at that moment.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_answers_of_a_gateway_that_ends_say_that_they_are_the_last() {
    let mut world = World::start().await;
    world.serve(ramping(0));
    let mut sockets = Vec::new();
    for method in ["GET", "HEAD"] {
        let mut socket = TcpStream::connect(world.address).await.unwrap();
        let before = ask(&mut socket, method, "/no/route/at/all/").await;
        assert!(before.starts_with("http/1.1 200") && before.contains("\r\nconnection: keep-alive\r\n"), "{before}");
        socket.write_all(format!("{method} /slow/800 HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).await.unwrap();
        sockets.push(socket);
    }
    eventually("both are under way", || world.legacy.seen("/slow/800").len() == 2).await;
    let stopping = tokio::task::spawn_blocking(move || world.stop());
    for mut socket in sockets {
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer).to_lowercase();
        assert!(answer.starts_with("http/1.1 200") && answer.contains("\r\nconnection: close\r\n"), "{answer}");
    }
    stopping.await.unwrap();
}

/// Sends a request without a body, and reads the head of its answer, in small letters; the rest is read and left.
async fn ask(socket: &mut TcpStream, method: &str, path: &str) -> String {
    socket.write_all(format!("{method} {path} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
        assert!(socket.read_buf(&mut answer).await.unwrap() > 0, "it ended");
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    let _ = socket.try_read_buf(&mut answer);
    String::from_utf8_lossy(&answer).to_lowercase()
}

/// An upstream that reads a request and closes the connection without a word.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_breaks_off_is_reported_and_never_sent_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let connections = tokio::spawn(async move {
        let mut writes = 0;
        // The gateway looks every now and then whether anybody is there.
        let end = tokio::time::Instant::now() + Duration::from_secs(3);
        while let Ok(Ok((mut socket, _))) = tokio::time::timeout_at(end, listener.accept()).await {
            let mut head = [0; 4096];
            let read = socket.read(&mut head).await.unwrap();
            if head[..read].starts_with(b"POST") {
                writes += 1;
            } else {
                socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
            }
        }
        writes
    });
    let world = World::with(|config| drop(config.upstreams.insert("users-service".into(), Upstream::at(address)))).await;
    world.serve(soaking());
    assert_eq!(world.get("/api/v1/users/1/").await.status, 200);
    assert_eq!(world.post("/api/v1/users/1/").await.status, 502);
    assert_eq!(connections.await.unwrap(), 1);
    assert_eq!(world.users().inflight_writes, 0);
}

/// A connection that was used before may be dying: a read can be sent once more, a write cannot.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_has_a_connection_of_its_own_and_reads_share() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let seen: Arc<Mutex<Vec<Vec<String>>>> = Arc::default();
    let all = seen.clone();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let at = {
                let mut all = all.lock().unwrap();
                all.push(Vec::new());
                all.len() - 1
            };
            let all = all.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                all.lock().unwrap()[at].push(request.method().to_string());
                async { Ok::<_, std::io::Error>(Response::new(full("ok"))) }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service));
        }
    });
    let world = World::with(|config| drop(config.upstreams.insert("users-service".into(), Upstream::at(address)))).await;
    world.serve(soaking());
    for method in ["GET", "GET", "POST", "GET", "PUT", "POST", "GET", "DELETE", "GET"] {
        assert_eq!(world.send(method, "/api/v1/users/1/", &[], full("")).await.status, 200, "{method}");
    }
    // Some have seen nothing: somebody looked whether anybody is there.
    let used: Vec<Vec<String>> = seen.lock().unwrap().iter().filter(|methods| !methods.is_empty()).cloned().collect();
    let mut alone: Vec<&str> = used.iter().filter(|methods| methods[0] != "GET").flatten().map(String::as_str).collect();
    alone.sort_unstable();
    assert_eq!((alone, used.len()), (vec!["DELETE", "POST", "POST", "PUT"], 5), "{used:?}");
    assert!(used.contains(&vec!["GET".to_owned(); 5]), "{used:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_reaches_a_client_that_is_still_sending() {
    let world = World::with(|config| without_modern(&mut config.upstreams)).await;
    world.serve(soaking());
    for size in [1_000, 200_000, 4 << 20] {
        let sent = world.send("POST", "/api/v1/users/1/", &[], full(vec![b'x'; size])).await;
        assert_eq!(sent.status, 502, "{size}");
        let sent = world.send("POST", "/forms/1/", &[], full(vec![b'x'; size])).await;
        assert_eq!(sent.status, 403, "{size}");
    }
}
