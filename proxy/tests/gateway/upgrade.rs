//! Connections that become tunnels.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::support::{World, soaking};

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
    tokio::time::timeout(Duration::from_secs(5), socket.read_exact(&mut back)).await.unwrap().unwrap();
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
    tokio::time::timeout(Duration::from_secs(5), socket.read_exact(&mut back)).await.unwrap().unwrap();
    assert_eq!(&back, b"one,two");
}
