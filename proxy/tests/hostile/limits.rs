//! How slow, how large, how many.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::raw::{LARGE, World};

const SECOND: Duration = Duration::from_secs(1);

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Reads to the end.
async fn rest(socket: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = timeout(8 * SECOND, socket.read_to_end(&mut bytes)).await.expect("the connection is closed");
    bytes
}

fn status(answer: &[u8]) -> &str {
    str::from_utf8(answer.get(9..12).unwrap_or_default()).unwrap()
}

/// Sends a piece again and again, until the connection is closed; gives back what came, and when.
async fn drip(world: &World, head: &[u8], piece: &[u8], every: Duration) -> (Vec<u8>, Duration) {
    let (mut socket, start) = (world.connect().await, Instant::now());
    socket.write_all(head).await.unwrap();
    let mut answer = Vec::new();
    loop {
        match timeout(every, socket.read_buf(&mut answer)).await {
            Err(_) if socket.write_all(piece).await.is_ok() => {}
            Ok(Ok(count)) if count > 0 => {}
            _ => return (answer, start.elapsed()),
        }
        assert!(start.elapsed() < 8 * SECOND, "it is never closed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_must_be_complete_in_time_however_lively_it_drips() {
    let world = World::with(|limits| limits.head_within = ms(400)).await;
    let (answer, took) = drip(&world, b"GET /a HTTP/1.1\r\nHost: a.test\r\nX-A: ", b"a", ms(20)).await;
    assert_eq!(status(&answer), "408");
    assert!(took >= ms(380) && took < 2 * SECOND, "{took:?}");
    assert!(answer.windows(17).any(|seen| seen.eq_ignore_ascii_case(b"Connection: close")), "{}", answer.escape_ascii());
    assert!(world.server.heads().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_must_keep_a_pace() {
    let change = |limits: &mut ficus_proxy::Limits| (limits.body_patience, limits.body_rate) = (ms(500), 1_000);
    let world = World::with(change).await;
    let head = |length: usize| format!("POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: {length}\r\n\r\n");
    let (answer, took) = drip(&world, head(1 << 20).as_bytes(), b"0123456789", ms(50)).await;
    assert_eq!(status(&answer), "408", "200 bytes a second");
    assert!(took >= ms(500) && took < 4 * SECOND, "{took:?}");
    let (answer, took) = drip(&world, head(10).as_bytes(), b"", ms(50)).await;
    assert_eq!(status(&answer), "408", "silence");
    assert!(took >= ms(480) && took < 2 * SECOND, "{took:?}");
    assert!(world.server.taken().is_empty());
    let start = Instant::now();
    let mut socket = world.connect().await;
    socket.write_all(head(8_000).as_bytes()).await.unwrap();
    for _ in 0..40 {
        socket.write_all(&[b'x'; 200]).await.unwrap();
        sleep(ms(50)).await;
    }
    let mut answer = [0; 12];
    socket.read_exact(&mut answer).await.unwrap();
    assert_eq!(status(&answer), "200", "4,000 bytes a second");
    assert!(start.elapsed() > ms(1_500), "longer than the patience");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_not_blamed_for_a_slow_server() {
    let change = |limits: &mut ficus_proxy::Limits| (limits.body_patience, limits.body_rate, limits.send_within) = (ms(500), 0, ms(700));
    let world = World::with(change).await;
    *world.server.pause.lock().unwrap() = ms(1_500);
    let body = vec![b'x'; 16 << 20];
    let head = format!("POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n", body.len());
    let got = world.send(&[head.as_bytes(), &body].concat(), 1).await;
    assert_eq!(got.statuses(), [200]);
    assert_eq!(world.server.taken().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_closed_without_a_word() {
    let world = World::with(|limits| limits.idle = ms(300)).await;
    // The gateway may have it before we know.
    let start = Instant::now();
    let mut fresh = world.connect().await;
    assert_eq!(rest(&mut fresh).await, b"");
    assert!(start.elapsed() >= ms(280) && start.elapsed() < 2 * SECOND, "{:?}", start.elapsed());
    let mut used = world.connect().await;
    for _ in 0..4 {
        used.write_all(b"GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"ok") {
            assert_ne!(used.read_buf(&mut answer).await.unwrap(), 0);
        }
        assert_eq!(status(&answer), "200");
        sleep(ms(150)).await;
    }
    let start = Instant::now();
    rest(&mut used).await;
    assert!(start.elapsed() < ms(900), "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_is_left() {
    let world = World::with(|limits| limits.send_within = ms(400)).await;
    let mut socket = world.connect().await;
    socket.write_all(b"GET /large HTTP/1.1\r\nHost: a.test\r\n\r\n").await.unwrap();
    sleep(ms(1_500)).await;
    assert!(rest(&mut socket).await.len() < LARGE);
    let mut socket = world.connect().await;
    socket.write_all(b"GET /large HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").await.unwrap();
    let (mut piece, mut size, start) = (vec![0; 4 << 20], 0, Instant::now());
    loop {
        let count = socket.read(&mut piece).await.unwrap();
        size += count;
        if count == 0 {
            break;
        }
        sleep(ms(20)).await;
    }
    assert!(size > LARGE, "{size} bytes of a client that is only slow");
    assert!(start.elapsed() > ms(400), "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_is_refused_and_the_client_gets_to_read_it() {
    let world = World::with(|limits| limits.body = 100_000).await;
    for size in [100_001, 8 << 20] {
        let body = vec![b'x'; size];
        let length = format!("POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: {size}\r\n\r\n");
        assert_eq!(world.send(&[length.as_bytes(), &body].concat(), 1).await.statuses(), [413], "{size}");
        assert!(world.server.heads().iter().all(|head| !head.contains("content-length")), "its head says so");
        let chunks = body.chunks(4096).flat_map(|piece| [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat());
        let head = b"POST /a HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n";
        let chunked: Vec<u8> = head.iter().copied().chain(chunks).chain(*b"0\r\n\r\n").collect();
        assert_eq!(world.send(&chunked, 1).await.statuses(), [413], "{size} in chunks");
    }
    let exactly = [&b"POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000\r\n\r\n"[..], &[b'x'; 100_000]].concat();
    assert_eq!(world.send(&exactly, 1).await.statuses(), [200]);
    assert_eq!(world.server.taken().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_so_many_connections_and_no_more() {
    for in_all in [true, false] {
        let world = World::with(|limits| *(if in_all { &mut limits.connections } else { &mut limits.connections_per_address }) = 2).await;
        let (first, mut second) = (world.connect().await, world.connect().await);
        sleep(ms(50)).await;
        let mut third = world.connect().await;
        assert_eq!(rest(&mut third).await, b"");
        second.write_all(b"GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n").await.unwrap();
        let mut answer = [0; 12];
        second.read_exact(&mut answer).await.unwrap();
        assert_eq!(status(&answer), "200");
        drop(first);
        sleep(ms(50)).await;
        assert_eq!(world.send(b"GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n", 1).await.statuses(), [200]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_ends_after_so_many_requests() {
    let world = World::with(|limits| limits.requests_per_connection = 3).await;
    let got = world.send(&b"GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n".repeat(5), 3).await;
    assert_eq!((got.statuses(), got.closed), (vec![200; 3], true));
}
