//! Bodies of any size, both ways, as they come.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ficus_proxy::Upstream;
use http_body_util::BodyExt as _;
use hyper::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::support::{World, full, soaking, streamed};

const MIB: usize = 1 << 20;

/// The memory of this process, in bytes.
fn memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    status.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_pass_both_ways_without_being_kept() {
    let world = World::start().await;
    world.serve(soaking());
    let before = memory();
    let up = world.send("POST", "/api/v1/users/upload", &[], streamed(64, MIB, Duration::ZERO)).await;
    assert_eq!((up.status, up.json()["size"].as_u64()), (200, Some(64 * MIB as u64)));
    let request = Request::get(format!("http://{}/api/v1/users/download/64", world.address)).body(full("")).unwrap();
    let mut down = world.client.request(request).await.unwrap().into_body();
    let mut size = 0;
    let mut most = 0;
    while let Some(frame) = down.frame().await {
        size += frame.unwrap().data_ref().map_or(0, bytes::Bytes::len);
        most = most.max(memory());
    }
    assert_eq!(size, 64 * MIB);
    assert!(most < before + 48 * MIB, "{} MiB more", (most - before) / MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_arrive_when_they_are_sent() {
    let world = World::start().await;
    world.serve(soaking());
    let start = Instant::now();
    let request = Request::get(format!("http://{}/api/v1/users/events/", world.address)).body(full("")).unwrap();
    let mut body = world.client.request(request).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    assert!(start.elapsed() < Duration::from_millis(140), "the first event waited {:?}", start.elapsed());
    assert_eq!(body.collect().await.unwrap().to_bytes().len(), 16);
    assert!(start.elapsed() >= Duration::from_millis(300));
}

/// A server that answers every request with a head and half of a body at once, and with the other half when it is let.
async fn halves(let_go: Arc<Notify>, breaks_off: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let let_go = let_go.clone();
            tokio::spawn(async move {
                let mut head = [0; 4096];
                while socket.read(&mut head).await.unwrap() > 0 {
                    socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\nfirst.").await.unwrap();
                    let_go.notified().await;
                    if breaks_off {
                        return;
                    }
                    socket.write_all(b"second").await.unwrap();
                }
            });
        }
    });
    address
}

async fn until(socket: &mut TcpStream, end: &str) -> String {
    let mut told = Vec::new();
    let read = async {
        while !told.ends_with(end.as_bytes()) {
            assert_ne!(socket.read_buf(&mut told).await.unwrap(), 0, "it ends with {:?}", String::from_utf8_lossy(&told));
        }
    };
    tokio::time::timeout(Duration::from_secs(5), read).await.expect("what there is does not come");
    String::from_utf8(told).unwrap()
}

/// An answer is put together in few pieces, but not by keeping its client waiting.
#[tokio::test(flavor = "multi_thread")]
async fn what_there_is_of_an_answer_comes_at_once() {
    for breaks_off in [false, true] {
        let let_go = Arc::new(Notify::new());
        let address = halves(let_go.clone(), breaks_off).await;
        let world = World::with(|config| drop(config.upstreams.insert("users-service".into(), Upstream::at(address)))).await;
        world.serve(soaking());
        let mut socket = TcpStream::connect(world.address).await.unwrap();
        for _ in 0..3 {
            socket.write_all(b"GET /api/v1/users/1/ HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            assert!(until(&mut socket, "first.").await.starts_with("HTTP/1.1 200"));
            let_go.notify_one();
            if breaks_off {
                assert_eq!(socket.read(&mut [0; 16]).await.unwrap(), 0, "half an answer ends its connection");
                break;
            }
            assert_eq!(until(&mut socket, "second").await, "second");
        }
    }
}

/// Every piece costs the client's side a wake-up and ours a system call: a head never goes before a body that is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_small_answer_comes_in_one_piece() {
    let world = World::start().await;
    world.serve(soaking());
    let mut socket = TcpStream::connect(world.address).await.unwrap();
    for turn in 0..300 {
        socket.write_all(b"GET /api/v1/users/1/ HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut piece = vec![0; 64 * 1024];
        let read = socket.read(&mut piece).await.unwrap();
        let told = String::from_utf8_lossy(&piece[..read]);
        let (head, body) = told.split_once("\r\n\r\n").expect("a whole head");
        let length = head.to_ascii_lowercase().split("content-length: ").nth(1).unwrap().lines().next().unwrap().parse::<usize>().unwrap();
        assert_eq!(body.len(), length, "answer {turn} comes in pieces: {told}");
    }
}

/// A server that ends its answers with the connection, and says so or not.
async fn ends_with_its_connection(head: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut seen = Vec::new();
                while !seen.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = socket.read_u8().await else { return };
                    seen.push(byte);
                }
                socket.write_all(head.as_bytes()).await.unwrap();
                socket.write_all(b"until the end").await.unwrap();
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_its_connection_does_not_end_the_clients() {
    for head in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\n"] {
        let address = ends_with_its_connection(head).await;
        let world = World::with(|config| drop(config.upstreams.insert("users-service".into(), Upstream::at(address)))).await;
        world.serve(soaking());
        let mut socket = TcpStream::connect(world.address).await.unwrap();
        for _ in 0..3 {
            socket.write_all(b"GET /api/v1/users/1/ HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            let told = until(&mut socket, "0\r\n\r\n").await;
            assert!(told.starts_with("HTTP/1.1 200") && told.contains("until the end"), "{head}: {told}");
        }
    }
}
