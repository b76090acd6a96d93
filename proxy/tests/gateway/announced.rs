//! A load balancer announces whom it connects for (the PROXY protocol): believed from those who are named, and demanded of them.

use ficus_proxy::Listener;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::support::{World, ramping};

const ASKED: &str = "HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";

async fn say(world: &World, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(world.address).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

async fn announced_by(networks: &[&str]) -> World {
    let networks = networks.iter().map(|network| (*network).to_owned()).collect();
    let world = World::with(|config| {
        config.listeners = vec![Listener { announced_by: networks, ..Listener::plain("127.0.0.1:0") }];
    })
    .await;
    world.serve(ramping(0));
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn the_announced_client_is_the_one_that_counts() {
    let world = announced_by(&["127.0.0.0/8"]).await;
    let one = format!("PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\r\nGET /one {ASKED}");
    assert!(say(&world, one.as_bytes()).await.starts_with("HTTP/1.1 200"));
    let mut two = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    two.extend([192, 0, 2, 2, 10, 0, 0, 1, 0xdc, 0x04, 0x01, 0xbb]);
    two.extend(format!("GET /two {ASKED}").bytes());
    assert!(say(&world, &two).await.starts_with("HTTP/1.1 200"));
    for (path, client) in [("/one", "192.0.2.1"), ("/two", "192.0.2.2")] {
        assert_eq!(world.legacy.seen(path).remove(0).headers.get("x-forwarded-for").unwrap(), client);
    }
    assert_eq!(say(&world, format!("GET /none {ASKED}").as_bytes()).await, "", "who is named must announce");
    assert!(world.legacy.seen("/none").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_may_announce() {
    let world = announced_by(&["10.0.0.0/8"]).await;
    let forged = format!("PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\r\nGET /forged {ASKED}");
    assert!(say(&world, forged.as_bytes()).await.starts_with("HTTP/1.1 400"));
    assert!(world.legacy.seen("/forged").is_empty());
    assert!(say(&world, format!("GET /plain {ASKED}").as_bytes()).await.starts_with("HTTP/1.1 200"));
}
