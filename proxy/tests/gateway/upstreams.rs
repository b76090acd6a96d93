//! How upstreams are spoken to: TLS, HTTP/2, gRPC's trailers, certificates of ours, Unix sockets.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use ficus_proxy::{Certificate, Config, Listener, Transport, Upstream, UpstreamTls};
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::pki::Authority;
use super::support::{Origin, World, eventually, ramping, soaking};
use ficus_rules::Share;

fn at(config: &mut Config, origin: &Origin, transport: Transport) {
    for name in ["monolith", "users-service"] {
        config.upstreams.insert(name.into(), Upstream { transport: transport.clone(), ..Upstream::at(origin.address.to_string()) });
    }
}

fn trusting(authority: &Authority, name: &str) -> UpstreamTls {
    UpstreamTls { name: Some(name.to_owned()), authorities: Some(authority.file("ca.pem")), certificate: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_spoken_to_by_tls_and_must_be_who_it_should_be() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let server = authority.sign("server", &["users.internal"]);
    for (http2, protocol) in [(false, &b"http/1.1"[..]), (true, b"h2")] {
        let origin = Origin::speaking("monolith", Some(authority.server(&server, protocol, false)), http2).await;
        let with = async |tls: UpstreamTls| {
            let world = World::with(|config| at(config, &origin, Transport { tls: Some(tls), http2 })).await;
            world.serve(ramping(0));
            let (first, written) = (world.get("/one").await, world.post("/two").await.status);
            (first.status, written, world.get("/three").await.status)
        };
        assert_eq!(with(trusting(&authority, "users.internal")).await, (200, 200, 200), "HTTP/2: {http2}");
        let seen = origin.seen("/two").remove(0);
        assert_eq!((seen.size, seen.headers.contains_key("connection")), (4, !http2));
        assert_eq!(with(trusting(&authority, "other.internal")).await, (502, 502, 502));
        assert_eq!(with(trusting(&stranger, "users.internal")).await, (502, 502, 502));
        assert_eq!(origin.seen("").len(), 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_we_show_a_server_is_read_anew() {
    let authority = Authority::new();
    let server = authority.sign("server", &["users.internal"]);
    let stranger = Authority::new();
    let ours = authority.sign("ours", &["gateway.internal"]);
    let foreign = stranger.sign("ours", &["gateway.internal"]);
    let origin = Origin::speaking("monolith", Some(authority.server(&server, b"http/1.1", true)), false).await;
    let with = async |certificate: Option<Certificate>| {
        let tls = UpstreamTls { certificate, ..trusting(&authority, "users.internal") };
        let world = World::with(|config| at(config, &origin, Transport { tls: Some(tls), http2: false })).await;
        world.serve(ramping(0));
        world
    };
    assert_eq!(with(None).await.get("/none").await.status, 502);
    let world = with(Some(ours.clone())).await;
    assert_eq!(world.post("/ours").await.status, 200);
    std::fs::copy(&foreign.key, &ours.key).unwrap();
    std::fs::copy(&foreign.chain, &ours.chain).unwrap();
    // Each write has a connection of its own.
    for _ in 0..200 {
        if world.post("/foreign").await.status == 502 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the changed certificate is never shown");
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_without_tls_shares_connections_and_carries_trailers() {
    let origin = Origin::speaking("monolith", None, true).await;
    let world = World::with(|config| {
        at(config, &origin, Transport { tls: None, http2: true });
        config.listeners = vec![Listener { http2: true, ..Listener::plain("127.0.0.1:0") }];
    })
    .await;
    world.serve(ramping(0));
    for _ in 0..20 {
        assert_eq!(world.post("/write").await.status, 200);
        assert_eq!(world.get("/read").await.status, 200);
    }
    // A connection that is being taken or given back is not seen by others for a moment, so there may be a few.
    assert!(origin.state.connections.load(Ordering::Relaxed) <= 8, "{:?} connections for 40 requests", origin.state.connections);
    let stream = TcpStream::connect(world.address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let body = Full::new(Bytes::from_static(b"\0\0\0\0\x02hi"));
    let asked = Request::post("http://a.test/school.Users/Method").header("te", "trailers").header("content-type", "application/grpc");
    let answer = sender.send_request(asked.body(body).unwrap()).await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    let answer = answer.into_body().collect().await.unwrap();
    assert_eq!(answer.trailers().and_then(|trailers| trailers.get("grpc-status")).map(|status| status.as_bytes()), Some(&b"0"[..]));
    assert_eq!(&answer.to_bytes()[5..], b"hi");
    let seen = origin.seen("/Method").remove(0);
    assert_eq!((seen.headers.get("te").unwrap().as_bytes(), seen.size), (&b"trailers"[..], 7));
}

/// A server by HTTP/1.1 that answers with the head that it got.
async fn parrot() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while connection.read_buf(&mut head).await.is_ok_and(|count| count > 0) {
                    if head.ends_with(b"\r\n\r\n") {
                        let answer = [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", head.len()).as_bytes(), &head].concat();
                        let _ = connection.write_all(&answer).await;
                        head.clear();
                    }
                }
            });
        }
    });
    address
}

/// What the gateway carries by itself it sends with names in small letters; pingora's proxy spells them as they came.
#[tokio::test(flavor = "multi_thread")]
async fn one_upstream_by_http_2_leaves_the_reads_of_others_their_short_way() {
    let modern = Origin::speaking("users-service", None, true).await;
    let legacy = parrot().await;
    let world = World::with(|config| {
        let transport = Transport { tls: None, http2: true };
        config.upstreams.insert("users-service".into(), Upstream { transport, ..Upstream::at(modern.address.to_string()) });
        config.upstreams.insert("monolith".into(), Upstream::at(legacy));
    })
    .await;
    world.serve(soaking());
    let mut socket = TcpStream::connect(world.address).await.unwrap();
    // All by one connection of the client's: what was handed over comes back.
    for round in 0..3 {
        for (method, path, http2, spelled) in [
            ("GET", "/page", false, "\r\nx-spelled: 1\r\n"),
            ("GET", "/api/v1/users/1", true, ""),
            ("GET", "/api/v1/users/slow/20", true, ""),
            ("OPTIONS", "/page", false, "x-spelled: 1\r\n"),
            ("GET", "/page", false, "\r\nx-spelled: 1\r\n"),
        ] {
            let before = modern.seen("").len();
            let asked = format!("{method} {path} HTTP/1.1\r\nHost: a.test\r\nX-Spelled: 1\r\nCookie: a={round}\r\n\r\n");
            socket.write_all(asked.as_bytes()).await.unwrap();
            let (head, body) = answer(&mut socket).await;
            assert!(head.starts_with("HTTP/1.1 200 "), "{method} {path}: {head}");
            match http2 {
                false if method == "GET" => assert!(body.contains(spelled), "{body}"),
                false => assert!(body.to_ascii_lowercase().contains(spelled), "{body}"),
                true => {
                    let seen = modern.seen("")[before..].to_vec();
                    assert_eq!(seen.iter().map(|seen| &*seen.method).collect::<Vec<_>>(), [method], "{path}, once");
                    assert_eq!(
                        (&seen[0].headers["x-spelled"], &seen[0].headers["cookie"]),
                        (&"1".parse().unwrap(), &format!("a={round}").parse().unwrap())
                    );
                    assert_eq!(seen[0].headers["x-forwarded-for"], "127.0.0.1");
                    assert!(head.contains("x-ficus-side: modern"), "{head}");
                }
            }
        }
    }
}

/// It was handed over when its upstream was chosen, and goes where it would otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_could_not_be_sent_by_http_2_is_answered_by_legacy() {
    let world = World::with(|config| {
        let transport = Transport { tls: None, http2: true };
        config.upstreams.insert("users-service".into(), Upstream { transport, ..Upstream::at("127.0.0.1:9") });
    })
    .await;
    world.serve(ramping(100));
    for nth in 1..=4 {
        world.fresh(1, super::support::now());
        let got = world.get("/api/v1/users/1").await;
        assert_eq!((got.status, got.side(), got.json()["origin"].as_str()), (200, "legacy", Some("monolith")));
        assert_eq!(world.legacy.seen("/api/v1/users/1").len(), nth);
    }
}

/// An answer that says its length: its head and its body.
async fn answer(socket: &mut TcpStream) -> (String, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let said = head.to_ascii_lowercase();
    let length = said.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    socket.read_exact(&mut body).await.unwrap();
    (head, String::from_utf8(body).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_on_a_unix_socket_serves_reads_writes_and_tunnels() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gunicorn.sock");
    let origin = Origin::local("monolith", &path);
    let world = World::with(|config| {
        for name in ["monolith", "users-service"] {
            config.upstreams.insert(name.into(), Upstream::at(format!("unix:{}", path.display())));
        }
    })
    .await;
    world.serve(ramping(0));
    for n in 0..3 {
        assert_eq!((world.get(&format!("/get/{n}")).await.status, world.post(&format!("/post/{n}")).await.status), (200, 200));
    }
    assert_eq!(origin.seen("/get/").len(), 3);
    let mut socket = TcpStream::connect(world.address).await.unwrap();
    let asked = "GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    socket.write_all(asked.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        assert_ne!(socket.read_buf(&mut answer).await.unwrap(), 0);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", answer.escape_ascii());
    socket.write_all(b"hello").await.unwrap();
    let mut echo = [0; 5];
    socket.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn mirrored_reads_and_probes_go_the_same_ways() {
    let authority = Authority::new();
    let server = authority.sign("server", &["users.internal"]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users.sock");
    let tls = |http2| Transport { tls: Some(trusting(&authority, "users.internal")), http2 };
    for (way, transport) in
        [("one", tls(false)), ("two", tls(true)), ("plain two", Transport { tls: None, http2: true }), ("unix", Transport::default())]
    {
        let modern = match way {
            "unix" => Origin::local("users-service", &path),
            "plain two" => Origin::speaking("users-service", None, true).await,
            "one" => Origin::speaking("users-service", Some(authority.server(&server, b"http/1.1", false)), false).await,
            _ => Origin::speaking("users-service", Some(authority.server(&server, b"h2", false)), true).await,
        };
        let address = if way == "unix" { format!("unix:{}", path.display()) } else { modern.address.to_string() };
        let upstream = Upstream { transport, health: Some("/health".to_owned()), ..Upstream::at(address) };
        let world = World::with(|config| drop(config.upstreams.insert("users-service".into(), upstream))).await;
        for origin in [&world.legacy, &modern] {
            *origin.state.thing.lock().unwrap() = "{\"a\": 1}".to_owned();
        }
        world.serve(ficus_rules::wire::Serving { shadow: Share::ALL, ..ramping(0) });
        assert_eq!(world.get("/api/v1/users/thing").await.status, 200);
        eventually(&format!("{way}: it is compared"), || world.users().shadow.same == 1).await;
        let seen = modern.seen("/users/thing").remove(0);
        assert_eq!(seen.headers.get("x-ficus-shadow").unwrap(), "1");
        eventually(&format!("{way}: it is probed"), || !modern.seen("/health").is_empty()).await;
        assert!(!world.users().modern_down, "{way}");
        world.serve(soaking());
        assert_eq!(world.get("/api/v1/users/thing").await.side(), "modern");
    }
}
