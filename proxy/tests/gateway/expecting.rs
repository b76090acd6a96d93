//! `Expect: 100-continue`: a client that waits to be told before it sends its body is told by whoever wants it, and nobody waits
//! for a body that was refused.

use std::time::Duration;

use ficus_rules::wire::Serving;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::support::{World, eventually, ramping, soaking};

const PATIENCE: Duration = Duration::from_secs(20);
const SECRET: &str = "abcdefghijklmnopqrstuvwxyz012345";

/// A client that has sent a head, and no body.
struct Client(TcpStream);

impl Client {
    async fn asks(world: &World, target: &str, more: &str) -> Client {
        let mut socket = TcpStream::connect(world.address).await.unwrap();
        let head = format!("POST {target} HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\n{more}\r\n");
        socket.write_all(head.as_bytes()).await.unwrap();
        Client(socket)
    }

    /// The next head of an answer; empty when the connection ends.
    async fn head(&mut self) -> String {
        let mut head = Vec::new();
        let read = async {
            while !head.ends_with(b"\r\n\r\n") {
                match self.0.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => break,
                }
            }
        };
        tokio::time::timeout(PATIENCE, read).await.expect("nothing comes");
        String::from_utf8(head).unwrap()
    }

    async fn is_told_to_go_on(&mut self) {
        assert_eq!(self.head().await.lines().next(), Some("HTTP/1.1 100 Continue"));
    }

    /// The status of the answer after a body.
    async fn sends(&mut self, body: &str) -> String {
        self.0.write_all(body.as_bytes()).await.unwrap();
        self.status().await
    }

    async fn status(&mut self) -> String {
        self.head().await.split(' ').nth(1).unwrap_or_default().to_owned()
    }

    /// After an answer that came before its body there is no telling what comes next.
    async fn is_left(&mut self) {
        let end = tokio::time::timeout(PATIENCE, self.0.read_to_end(&mut Vec::new())).await;
        assert!(end.is_ok(), "the connection stays open, and the next request would be taken for the body");
    }
}

fn length(body: &str) -> String {
    format!("Content-Length: {}\r\n", body.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_says_when_it_wants_the_body() {
    let world = World::start().await;
    world.serve(soaking());
    for (more, body) in [(length("hello"), "hello"), ("Transfer-Encoding: chunked\r\n".to_owned(), "5\r\nhello\r\n0\r\n\r\n")] {
        let before = world.modern.seen("/upload").len();
        let mut client = Client::asks(&world, "/api/v1/users/upload", &more).await;
        client.is_told_to_go_on().await;
        assert_eq!(world.modern.seen("/upload")[before].size, 0, "nothing was sent yet");
        assert_eq!(client.sends(body).await, "200", "{more}");
        assert_eq!(world.modern.seen("/upload")[before].size, 5, "{more}");
        assert_eq!(world.modern.seen("/upload").len(), before + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_refused_before_the_body() {
    let world = World::with(|config| config.limits.body = 1_000).await;
    world.serve(soaking());
    let form = "Content-Type: application/json\r\nContent-Length: 5\r\n";
    for (target, more, status) in [
        ("/api/v1/users/upload", "Content-Length: 1001\r\n", "413"),
        ("/api/v1/users/upload", "Expect: a miracle\r\nContent-Length: 5\r\n", "417"),
        ("/forms/x", form, "403"),
    ] {
        let mut client = Client::asks(&world, target, more).await;
        assert_eq!(client.status().await, status, "{target}: {more}");
        client.is_left().await;
    }
    assert!(world.modern.seen("/").iter().all(|seen| seen.method != "POST"), "{:?}", world.modern.seen("/"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_held_is_asked_for_its_body_when_it_goes() {
    let world = World::start().await;
    world.serve(Serving { fenced: true, ..ramping(100) });
    let mut client = Client::asks(&world, "/api/v1/users/held", &length("hello")).await;
    let gone = Client::asks(&world, "/api/v1/users/gone", &length("hello")).await;
    eventually("both are held", || world.users().held == 2).await;
    let early = tokio::time::timeout(Duration::from_millis(300), client.0.read_u8()).await;
    assert!(early.is_err(), "it is asked for a body that nobody wants yet");
    drop(gone);
    eventually("who leaves is not held", || world.users().held == 1).await;
    world.serve(soaking());
    client.is_told_to_go_on().await;
    assert_eq!(client.sends("hello").await, "200");
    assert_eq!((world.modern.seen("/held").len(), world.modern.seen("/held")[0].size), (1, 5));
    assert_eq!(world.modern.seen("/gone").len() + world.legacy.seen("/gone").len(), 0);
}

/// Its token stands in the body: the gateway itself asks for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_form_is_asked_for_by_whoever_looks_for_its_token() {
    let world = World::start().await;
    world.serve(soaking());
    let head = |body: &str| {
        format!("Cookie: csrftoken={SECRET}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n", body.len())
    };
    let good = format!("a=1&csrfmiddlewaretoken={SECRET}");
    for (body, status) in [(good.clone(), "200"), (good.replace("z01", "z10"), "403")] {
        let mut client = Client::asks(&world, "/forms/x", &head(&body)).await;
        client.is_told_to_go_on().await;
        assert_eq!(client.sends(&body).await, status, "once told, the next head is the answer's");
    }
    let chunked = head("").replace("Content-Length: 0", "Transfer-Encoding: chunked");
    let mut client = Client::asks(&world, "/forms/x", &chunked).await;
    client.is_told_to_go_on().await;
    assert_eq!(client.sends(&format!("{:x}\r\n{good}\r\n0\r\n\r\n", good.len())).await, "200");
    let seen = world.modern.seen("/forms/");
    assert_eq!(seen.iter().map(|seen| seen.size).collect::<Vec<_>>(), [good.len(); 2]);
    assert!(seen.iter().all(|seen| !seen.headers.contains_key("expect")), "it has come already");
}

/// Held, and a form: it is asked for once.
#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_was_held_is_asked_for_once() {
    let world = World::start().await;
    world.serve(Serving { fenced: true, ..ramping(100) });
    let body = format!("a=1&csrfmiddlewaretoken={SECRET}");
    let head = format!("Cookie: csrftoken={SECRET}\r\nContent-Type: application/x-www-form-urlencoded\r\n{}", length(&body));
    let mut client = Client::asks(&world, "/forms/x", &head).await;
    eventually("it is held", || world.users().held == 1).await;
    world.serve(soaking());
    client.is_told_to_go_on().await;
    assert_eq!(client.sends(&body).await, "200");
    assert_eq!(world.modern.seen("/forms/")[0].size, body.len());
}
