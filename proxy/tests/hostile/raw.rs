//! The gateway between a client and a server that both speak bytes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ficus_proxy::{Certificate, Config, Gateway, Limits, Upstream};
use ficus_rules::wire::{Published, ReportAnswer, RuleFile, Serving};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::client::{self, Got};

const RULES: &str = r#"
[capability]
name = "users"
legacy = "server"
modern = "modern"
[[route]]
path = "/api/v1/users/{*rest}"
"#;
/// What the gateway adds to every request.
const ADDED: [&str; 6] = ["traceparent", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-request-id"];

/// The size of the body of `/large`: more than sockets buffer.
pub const LARGE: usize = 64 << 20;
/// One gateway at a time: its counters are the process's.
static ONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A server that keeps what it gets. It reads heads and bodies by the book, and answers `ok`.
#[derive(Clone, Default)]
pub struct Server {
    address: String,
    /// Complete requests.
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
    /// Heads, of complete requests and of others.
    heads: Arc<Mutex<Vec<String>>>,
    /// How long it waits between a head and its body.
    pub pause: Arc<Mutex<Duration>>,
}

impl Server {
    async fn start() -> (Server, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server { address: address.to_string(), ..Server::default() };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(socket));
            }
        });
        (server, address)
    }

    /// The complete requests since the last time, without what the gateway added, and with `upstream` for the server's own address.
    pub fn taken(&self) -> Vec<Vec<u8>> {
        self.seen.lock().unwrap().drain(..).map(|request| without_added(&request, &self.address)).collect()
    }

    /// The heads since the last time.
    pub fn heads(&self) -> Vec<String> {
        std::mem::take(&mut self.heads.lock().unwrap())
    }

    async fn serve(self, mut socket: TcpStream) -> Option<()> {
        let mut bytes = Vec::new();
        loop {
            let head = loop {
                match bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                    Some(at) => break at + 4,
                    None => more(&mut socket, &mut bytes).await?,
                }
            };
            let said = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
            self.heads.lock().unwrap().push(said.clone());
            let pause = *self.pause.lock().unwrap();
            tokio::time::sleep(pause).await;
            let value = |name: &str| said.split("\r\n").find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned());
            let end = if value("transfer-encoding:").is_some() {
                loop {
                    match chunks(&bytes[head..]) {
                        Some(length) => break head + length,
                        None => more(&mut socket, &mut bytes).await?,
                    }
                }
            } else {
                let end = head + value("content-length:").map_or(0, |length| length.parse::<usize>().unwrap());
                while bytes.len() < end {
                    more(&mut socket, &mut bytes).await?;
                }
                end
            };
            let rest = bytes.split_off(end);
            self.seen.lock().unwrap().push(std::mem::replace(&mut bytes, rest));
            let (length, body) = match () {
                () if said.starts_with("head ") => (2, Vec::new()),
                () if said.starts_with("get /large ") => (LARGE, vec![b'x'; LARGE]),
                () => (2, b"ok".to_vec()),
            };
            socket.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").as_bytes()).await.ok()?;
            socket.write_all(&body).await.ok()?;
        }
    }
}

async fn more(socket: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    let count = socket.read_buf(bytes).await.ok()?;
    (count > 0).then_some(())
}

/// The length of a chunked body, once all of it is there.
fn chunks(mut bytes: &[u8]) -> Option<usize> {
    let all = bytes.len();
    loop {
        let line = bytes.windows(2).position(|two| two == b"\r\n")?;
        let size = usize::from_str_radix(str::from_utf8(&bytes[..line]).unwrap(), 16).unwrap();
        bytes = bytes.get(line + 2 + size + 2..)?;
        if size == 0 {
            return Some(all - bytes.len());
        }
    }
}

fn without_added(request: &[u8], address: &str) -> Vec<u8> {
    let head = request.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 2;
    let added = |line: &[u8]| {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default().to_ascii_lowercase();
        ADDED.iter().any(|added| added.as_bytes() == name)
    };
    let own = format!("Host: {address}\r\n");
    let kept = request[..head].split_inclusive(|byte| *byte == b'\n').filter(|line| !added(line));
    let kept = kept.map(|line| if line == own.as_bytes() { b"Host: upstream\r\n" } else { line });
    [&kept.collect::<Vec<_>>().concat(), &request[head..]].concat()
}

/// A gateway before one server.
pub struct World {
    pub address: SocketAddr,
    pub server: Server,
    stop: watch::Sender<bool>,
    thread: Option<std::thread::JoinHandle<()>>,
    _one: tokio::sync::MutexGuard<'static, ()>,
}

impl World {
    pub async fn start() -> World {
        World::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Limits)) -> World {
        World::configured(|config| change(&mut config.limits)).await
    }

    /// Behind TLS, with a certificate.
    pub async fn over_tls(certificate: Certificate) -> World {
        World::configured(|config| {
            config.listeners[0].tls = true;
            config.certificates = vec![certificate];
        })
        .await
    }

    pub async fn configured(change: impl FnOnce(&mut Config)) -> World {
        let one = ONE.lock().await;
        let (server, address) = Server::start().await;
        let upstream = || Upstream::at(address.to_string());
        let upstreams = BTreeMap::from([("server".to_owned(), upstream()), ("modern".to_owned(), upstream())]);
        let mut config = Config::new("g1", upstreams, "server");
        config.grace = Duration::from_millis(100);
        change(&mut config);
        let gateway = Gateway::new(config).unwrap();
        let rules = vec![RuleFile { name: "users.toml".into(), text: RULES.into() }];
        let capabilities = BTreeMap::from([("users".to_owned(), Serving::untouched())]);
        gateway.publish(Published { generation: 1, rules_generation: 1, rules, capabilities, ..Published::default() }).unwrap();
        gateway.report();
        gateway.answered(&ReportAnswer { generation: 1, valid_for_ms: 600_000, ..ReportAnswer::default() });
        let (stop, stopped) = watch::channel(false);
        let address = gateway.bound()[0];
        let thread = std::thread::spawn(move || gateway.run(stopped).unwrap());
        World { address, server, stop, thread: Some(thread), _one: one }
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes and reads whatever comes back, until the gateway closes or nothing has come for a while after the
    /// answers that are expected.
    pub async fn send(&self, bytes: &[u8], expected: usize) -> Got {
        self.send_in(bytes, bytes.len(), expected, Duration::from_millis(60)).await
    }

    /// The same, in pieces of a size. `quiet`: for how long nothing comes after the answers.
    pub async fn send_in(&self, bytes: &[u8], piece: usize, expected: usize, quiet: Duration) -> Got {
        client::send(self.address, bytes, piece, expected, quiet).await
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// How many requests the gateway has counted, in this process. Those that it answered itself are among them: the fault of
/// a body may be found when its head was sent on already.
pub fn counted() -> u64 {
    let all = ficus_metrics("ficus_requests_total");
    all.iter().map(|metric| metric.get_counter().get_value() as u64).sum()
}

fn ficus_metrics(name: &str) -> Vec<prometheus::proto::Metric> {
    prometheus::gather().into_iter().filter(|family| family.name() == name).flat_map(|family| family.get_metric().to_vec()).collect()
}
