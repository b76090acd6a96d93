//! Answers as upstreams say them: what speaks of their connection, what comes before an answer, and connections that end.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ficus_proxy::{Config, Upstream};
use http_body_util::BodyExt as _;
use hyper::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::http2::streaming;
use super::support::{World, full, ramping};

const PATIENCE: Duration = Duration::from_secs(20);
/// Goes by our own path.
const PLAIN: &str = "GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n";
/// Has a body: goes by pingora's.
const LOADED: &str = "GET /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi";

/// A server that says the same to every request.
struct Server {
    address: SocketAddr,
    /// How many requests each connection had that had any.
    requests: Arc<Mutex<Vec<usize>>>,
}

impl Server {
    /// `resets`: after an answer, the connection is reset.
    async fn saying(answer: String, resets: Option<fn() -> Duration>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server { address: listener.local_addr().unwrap(), requests: Arc::default() };
        let requests = server.requests.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, answer.clone(), resets, requests.clone()));
            }
        });
        server
    }

    /// It is the monolith.
    fn behind(&self) -> impl FnOnce(&mut Config) + use<> {
        let address = self.address.to_string();
        |config| {
            config.listeners[0].http2 = true;
            config.upstreams.insert("monolith".into(), Upstream::at(address));
        }
    }
}

async fn serve(mut socket: TcpStream, answer: String, resets: Option<fn() -> Duration>, requests: Arc<Mutex<Vec<usize>>>) -> Option<()> {
    let (mut bytes, mut at) = (Vec::new(), None);
    loop {
        let head = loop {
            match bytes.windows(4).position(|end| end == b"\r\n\r\n") {
                Some(end) => break end + 4,
                None => read(&mut socket, &mut bytes).await?,
            }
        };
        let body = if String::from_utf8_lossy(&bytes[..head]).to_lowercase().contains("content-length: 2") { 2 } else { 0 };
        while bytes.len() < head + body {
            read(&mut socket, &mut bytes).await?;
        }
        bytes.drain(..head + body);
        {
            let mut requests = requests.lock().unwrap();
            let at = *at.get_or_insert(requests.len());
            let connections = requests.len().max(at + 1);
            requests.resize(connections, 0);
            requests[at] += 1;
        }
        socket.write_all(answer.as_bytes()).await.ok()?;
        if let Some(after) = resets {
            tokio::time::sleep(after()).await;
            socket.set_zero_linger().ok()?;
            return None;
        }
    }
}

async fn read(socket: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    let count = socket.read_buf(bytes).await.ok()?;
    (count > 0).then_some(())
}

/// All that comes by HTTP/1 until a text has come.
async fn told(socket: &mut TcpStream, request: &str, end: &str) -> String {
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let all = async {
        while !bytes.ends_with(end.as_bytes()) {
            assert!(read(socket, &mut bytes).await.is_some(), "{request} ended: {}", String::from_utf8_lossy(&bytes));
        }
    };
    tokio::time::timeout(PATIENCE, all).await.expect("it does not end");
    String::from_utf8(bytes).unwrap()
}

/// The names of a head, in small letters and in order.
fn names(head: &str) -> Vec<String> {
    let lines = head.split("\r\n\r\n").next().unwrap().split("\r\n").skip(1);
    let mut names: Vec<String> = lines.map(|line| line.split(':').next().unwrap().to_lowercase()).collect();
    names.retain(|name| name != "x-request-id" && name != "x-ficus-side");
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_answer_says_of_its_connection_goes_no_further() {
    let whole = ("Content-Length: 2\r\n", "ok", "content-length");
    let chunked = ("Transfer-Encoding: chunked\r\n", "2\r\nok\r\n0\r\n\r\n", "transfer-encoding");
    // As Apache, Node's and old proxies say it.
    let table = [
        "Upgrade: h2,h2c\r\nConnection: Upgrade, Keep-Alive\r\nKeep-Alive: timeout=5, max=100\r\n",
        "Connection: keep-alive\r\nProxy-Connection: keep-alive\r\n",
        "Connection: X-Hop, close\r\nX-Hop: 1\r\nX-Hop: 2\r\n",
        "Trailer: X-Sum\r\nTE: trailers\r\n",
        "",
    ];
    for lines in table {
        for (framing, body, framed) in [whole, chunked] {
            let server = Server::saying(format!("HTTP/1.1 200 OK\r\n{lines}ETag: a\r\n{framing}\r\n{body}"), None).await;
            let world = World::with(server.behind()).await;
            world.serve(ramping(0));
            let mut socket = TcpStream::connect(world.address).await.unwrap();
            for request in [PLAIN, LOADED, PLAIN] {
                let answer = told(&mut socket, request, body).await;
                assert!(answer.to_lowercase().contains("\r\nconnection: keep-alive\r\n"), "{answer}");
                let mut wanted = ["connection", framed, "date", "etag"];
                wanted.sort_unstable();
                assert_eq!(names(&answer), wanted, "{request} {answer}");
            }
            let mut http2 = streaming(&world).await;
            let answer = http2.send_request(Request::get("http://a.test/a").body(full("")).unwrap()).await.unwrap();
            let mut names: Vec<&str> = answer.headers().keys().map(|name| name.as_str()).collect();
            names.retain(|name| !["x-request-id", "x-ficus-side", "content-length"].contains(name));
            names.sort_unstable();
            assert_eq!(names, ["date", "etag"], "{lines}");
            assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "ok");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_before_an_answer_is_passed_on_and_the_connection_is_kept() {
    let answer = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\n\
                  HTTP/1.1 100 Continue\r\n\r\n\
                  HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    for request in [PLAIN, LOADED] {
        let server = Server::saying(answer.to_owned(), None).await;
        let world = World::with(server.behind()).await;
        world.serve(ramping(0));
        let mut socket = TcpStream::connect(world.address).await.unwrap();
        for _ in 0..3 {
            let told = told(&mut socket, request, "ok").await;
            let heads: Vec<&str> = told.split("\r\n\r\n").collect();
            let firsts: Vec<&str> = heads.iter().map(|head| head.split("\r\n").next().unwrap()).collect();
            assert_eq!(firsts, ["HTTP/1.1 103 Early Hints", "HTTP/1.1 100 Continue", "HTTP/1.1 200 OK", "ok"], "{told}");
            assert_eq!((names(heads[0]), names(heads[1])), (vec!["link".to_owned()], vec![]), "{told}");
        }
        assert_eq!(*server.requests.lock().unwrap(), [3], "{request}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_date_of_an_answer_is_its_servers_or_else_ours() {
    for (line, known) in [("Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n", true), ("", false)] {
        let server = Server::saying(format!("HTTP/1.1 200 OK\r\n{line}Content-Length: 2\r\n\r\nok"), None).await;
        let world = World::with(server.behind()).await;
        world.serve(ramping(0));
        let mut socket = TcpStream::connect(world.address).await.unwrap();
        let answer = told(&mut socket, PLAIN, "ok").await;
        assert_eq!((answer.contains("Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"), answer.matches("Date: ").count()), (known, 1), "{answer}");
        // Pingora says its own, and no second one.
        assert_eq!(told(&mut socket, LOADED, "ok").await.matches("Date: ").count(), 1);
    }
}

/// Some servers, and whatever stands before them, let go of idle connections without a word, at any moment.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_reset_while_idle_fail_no_read() {
    let soon = || Duration::from_micros(rand::random_range(0..2_000));
    for request in [PLAIN, LOADED] {
        let server = Server::saying("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned(), Some(soon)).await;
        let world = World::with(server.behind()).await;
        world.serve(ramping(0));
        let mut socket = TcpStream::connect(world.address).await.unwrap();
        for _ in 0..500 {
            let answer = told(&mut socket, request, "ok").await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{request} {answer}");
            tokio::time::sleep(soon()).await;
        }
    }
}
