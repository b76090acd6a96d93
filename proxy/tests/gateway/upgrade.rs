//! Connections that become tunnels.

use std::time::Duration;

use ficus_proxy::{Transport, Upstream, UpstreamTls};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::pki::Authority;
use super::support::{Origin, World, soaking};

const PATIENCE: Duration = Duration::from_secs(120);
/// As every world has it.
const GRACE: Duration = Duration::from_secs(2);

pub async fn open(world: &World, path: &str) -> TcpStream {
    let mut socket = ask(world, path).await;
    opened(&mut socket).await;
    socket
}

async fn ask(world: &World, path: &str) -> TcpStream {
    let mut socket = TcpStream::connect(world.address).await.unwrap();
    let head = format!(
        "GET {path} HTTP/1.1\r\nhost: a.test\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket
}

async fn opened(socket: &mut TcpStream) {
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(socket.read_u8().await.unwrap());
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
}

pub async fn echo(socket: &mut TcpStream, text: &[u8]) {
    socket.write_all(text).await.unwrap();
    let mut back = vec![0; text.len()];
    tokio::time::timeout(PATIENCE, socket.read_exact(&mut back)).await.unwrap().unwrap();
    assert_eq!(back, text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_passes_both_ways_on_either_side() {
    let world = World::start().await;
    let mut on_legacy = open(&world, "/live/ws").await;
    echo(&mut on_legacy, b"one").await;
    world.serve(soaking());
    let mut on_modern = open(&world, "/api/v1/users/ws").await;
    echo(&mut on_modern, b"two").await;
    echo(&mut on_legacy, b"three").await;
    assert_eq!(world.modern.seen("/users/ws").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_answers_at_once_does_not_lose_its_socket() {
    let world = World::start().await;
    for _ in 0..400 {
        let mut socket = open(&world, "/live/ws").await;
        echo(&mut socket, b"one").await;
        echo(&mut socket, b"two").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_ahead_of_the_answer_goes_into_the_tunnel() {
    let world = World::start().await;
    let mut socket = ask(&world, "/live/slow/300").await;
    for piece in [b"on", b"e,"] {
        tokio::time::sleep(Duration::from_millis(50)).await;
        socket.write_all(piece).await.unwrap();
    }
    opened(&mut socket).await;
    socket.write_all(b"two").await.unwrap();
    let mut back = [0; 7];
    tokio::time::timeout(PATIENCE, socket.read_exact(&mut back)).await.unwrap().unwrap();
    assert_eq!(&back, b"one,two");
}

/// Far more than goes at once, and nobody reads at first.
#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_waits_for_whoever_is_slow_and_loses_nothing() {
    let world = World::start().await;
    there_and_back(open(&world, "/live/ws").await, 24 << 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_goes_inside_tls_by_http_1_whatever_else_is_spoken_there() {
    let authority = Authority::new();
    let shown = authority.sign("monolith", &["monolith.internal"]);
    for http2 in [false, true] {
        let origin = Origin::speaking("monolith", Some(authority.server(&shown, b"http/1.1", false)), false).await;
        let tls = UpstreamTls { name: Some("monolith.internal".into()), authorities: Some(authority.file("ca.pem")), certificate: None };
        let upstream = Upstream { transport: Transport { tls: Some(tls), http2 }, ..Upstream::at(origin.address.to_string()) };
        let world = World::with(|config| drop(config.upstreams.insert("monolith".into(), upstream))).await;
        there_and_back(open(&world, "/live/ws").await, 24 << 20).await;
    }
    // Nothing is told to somebody else.
    let stranger = Authority::new();
    let theirs = stranger.sign("monolith", &["monolith.internal"]);
    let origin = Origin::speaking("monolith", Some(stranger.server(&theirs, b"http/1.1", false)), false).await;
    let tls = UpstreamTls { name: Some("monolith.internal".into()), authorities: Some(authority.file("ca.pem")), certificate: None };
    let upstream = Upstream { transport: Transport { tls: Some(tls), http2: false }, ..Upstream::at(origin.address.to_string()) };
    let world = World::with(|config| drop(config.upstreams.insert("monolith".into(), upstream))).await;
    let mut answer = [0; 12];
    ask(&world, "/live/ws").await.read_exact(&mut answer).await.unwrap();
    assert_eq!((&answer, origin.seen("").len()), (b"HTTP/1.1 502", 0));
}

async fn there_and_back(socket: TcpStream, size: usize) {
    let (mut read, mut write) = socket.into_split();
    let all: Vec<u8> = (0..size).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let sent = all.clone();
    let writing = tokio::spawn(async move {
        write.write_all(&sent).await.unwrap();
        write
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut back = vec![0; size];
    tokio::time::timeout(PATIENCE, read.read_exact(&mut back)).await.unwrap().unwrap();
    assert!(back == all, "other bytes came back");
    // The end of one side is the end of the other.
    writing.await.unwrap().shutdown().await.unwrap();
    assert_eq!(tokio::time::timeout(PATIENCE, read.read_to_end(&mut back)).await.unwrap().unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_upstream_says_with_its_101_and_before_it_leaves_arrives() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = Upstream::at(listener.local_addr().unwrap().to_string());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") && socket.read_buf(&mut head).await.unwrap_or(0) > 0 {}
                let said = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello, and ";
                let _ = socket.write_all(said).await;
                tokio::time::sleep(Duration::from_millis(u64::from(head[5] - b'0') * 20)).await;
                let _ = socket.write_all(b"good bye").await;
            });
        }
    });
    let world = World::with(|config| drop(config.upstreams.insert("monolith".into(), upstream))).await;
    for n in 0..100 {
        let mut socket = open(&world, &format!("/{}", n % 4)).await;
        let mut told = Vec::new();
        tokio::time::timeout(PATIENCE, socket.read_to_end(&mut told)).await.unwrap().unwrap();
        assert_eq!(told, b"hello, and good bye", "{n}");
    }
}

/// A connection that is closed with something unread is reset, and what its other end has not read yet is forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_talks_on_reads_the_last_words_of_an_upstream() {
    const WORDS: usize = 256 << 10;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = Upstream::at(listener.local_addr().unwrap().to_string());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") && socket.read_buf(&mut head).await.unwrap_or(0) > 0 {}
                let _ = socket.write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").await;
                let _ = socket.write_all(&vec![b'x'; WORDS]).await;
                let _ = socket.shutdown().await;
                while socket.read(&mut [0; 1024]).await.is_ok_and(|count| count > 0) {}
            });
        }
    });
    let world = World::with(|config| drop(config.upstreams.insert("monolith".into(), upstream))).await;
    for _ in 0..10 {
        let (mut read, mut write) = open(&world, "/live/ws").await.into_split();
        let talking = tokio::spawn(async move {
            while write.write_all(&[b'y'; 512]).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        let mut told = Vec::new();
        // It reads slowly: the last of it is on its way when the upstream is gone.
        while told.len() < WORDS {
            let count = tokio::time::timeout(PATIENCE, read.read_buf(&mut told)).await.unwrap().expect("it is not reset");
            assert!(count > 0, "the last words are lost: {} bytes came", told.len());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        talking.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_has_its_place_until_it_ends() {
    let world = World::with(|config| config.limits.connections = 1).await;
    let mut socket = open(&world, "/live/ws").await;
    echo(&mut socket, b"one").await;
    let mut other = TcpStream::connect(world.address).await.unwrap();
    let _ = other.write_all(b"GET /page HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, other.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.is_empty() && world.legacy.seen("/page").is_empty(), "there was no place");
    drop(socket);
    for n in 0.. {
        let mut other = TcpStream::connect(world.address).await.unwrap();
        let _ = other.write_all(b"GET /page HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
        let _ = tokio::time::timeout(PATIENCE, other.read_to_end(&mut answer)).await.unwrap();
        if answer.starts_with(b"HTTP/1.1 200") {
            break;
        }
        assert!(n < 12_000, "its place is never free");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_ends_leaves_tunnels_the_grace_period_and_no_more() {
    let mut world = World::start().await;
    let mut socket = open(&world, "/live/ws").await;
    echo(&mut socket, b"one").await;
    let begun = std::time::Instant::now();
    let stopping = tokio::task::spawn_blocking(move || {
        world.stop();
        world
    });
    echo(&mut socket, b"two").await;
    let world = stopping.await.unwrap();
    assert!(begun.elapsed() >= GRACE, "{:?}", begun.elapsed());
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut rest)).await.expect("it has ended");
    assert!(rest.is_empty());
    drop(world);
}
