//! A gateway between two origins, and clients for it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ficus_proxy::{Config, Gateway, Upstream};
use ficus_rules::migration::Phase;
use ficus_rules::wire::{Freshness, GatewayCapability, Published, ReportAnswer, RuleFile, Serving};
use ficus_rules::{Share, Side, Timestamp};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::sync::watch;

pub type Body = BoxBody<Bytes, std::io::Error>;

pub const RULES: &str = r#"
[capability]
name = "users"
description = "Accounts"
legacy = "monolith"
modern = "users-service"

[[route]]
path = "/api/v1/users/{*rest}"
modern_path = "/users/{rest}"
csrf = false

[[route]]
path = "/forms/{*rest}"
shadow = false

[[route]]
path = "/brief/{*rest}"
csrf = false
timeout = "300ms"

[[route]]
path = "/stubborn/{*rest}"
fallback = false

[[route]]
path = "/admin/users/{*rest}"
pin = "legacy"
writes_tables = true

[[route]]
path = "/rehearsed/slow/{milliseconds}"
modern_path = "/thing"
csrf = false
dry_run = true

[[route]]
path = "/rehearsed/quick/"
modern_path = "/slow/300"
csrf = false
dry_run = true

[[route]]
path = "/rehearsed/forms/{*rest}"
dry_run = true

[cohort]
by = ["user", "cookie:sessionid", "anonymous"]

[gate.shadow]
max_different = "1%"
ignore = ["$.noise"]
"#;

pub fn full(body: impl Into<Bytes>) -> Body {
    Full::new(body.into()).map_err(|never| match never {}).boxed()
}

pub fn streamed(pieces: usize, size: usize, pause: Duration) -> Body {
    let piece = Bytes::from(vec![b'x'; size]);
    let frames = futures::stream::unfold(0, move |n| {
        let piece = piece.clone();
        async move {
            if n > 0 {
                tokio::time::sleep(pause).await;
            }
            (n < pieces).then(|| (Ok(Frame::data(piece)), n + 1))
        }
    });
    StreamBody::new(frames).boxed()
}

/// A request as an origin saw it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub target: String,
    pub headers: HeaderMap,
    pub size: usize,
}

/// A server behind the gateway. Its answers are chosen by the last segments of the path.
pub struct Origin {
    pub address: SocketAddr,
    pub seen: Arc<Mutex<Vec<Seen>>>,
    pub state: Arc<State>,
}

/// A write, as it is carried out.
pub type Commit = Box<dyn Fn() -> String + Send>;

#[derive(Default)]
pub struct State {
    name: &'static str,
    pub counter: AtomicUsize,
    pub connections: AtomicUsize,
    /// The body of `/thing`, and of `/packed/CODING`.
    pub thing: Mutex<String>,
    /// What `/thing` says before that, once each.
    pub first: Mutex<std::collections::VecDeque<&'static str>>,
    /// It takes writes back where it is asked to, and says so.
    pub rehearses: AtomicBool,
    /// The status of `/thing`, unless 0.
    pub status: std::sync::atomic::AtomicU16,
    /// What a POST to `/thing` does, in its midst; its body.
    pub commits: Mutex<Option<Commit>>,
    /// Headers of `/thing`.
    pub headers: Mutex<Vec<(&'static str, &'static str)>>,
}

impl Origin {
    pub async fn start(name: &'static str) -> Origin {
        Origin::speaking(name, None, false).await
    }

    /// With TLS, or by HTTP/2.
    pub async fn speaking(name: &'static str, tls: Option<tokio_rustls::TlsAcceptor>, http2: bool) -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = Origin::at(name, listener.local_addr().unwrap());
        let (seen, state) = (origin.seen.clone(), origin.state.clone());
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                state.connections.fetch_add(1, Ordering::Relaxed);
                let (seen, state, tls) = (seen.clone(), state.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        Some(tls) => {
                            if let Ok(connection) = tls.accept(connection).await {
                                serve(connection, http2, seen, state).await;
                            }
                        }
                        None => serve(connection, http2, seen, state).await,
                    }
                });
            }
        });
        origin
    }

    /// On a Unix socket.
    pub fn local(name: &'static str, path: &std::path::Path) -> Origin {
        let listener = tokio::net::UnixListener::bind(path).unwrap();
        let origin = Origin::at(name, "127.0.0.1:9".parse().unwrap());
        let (seen, state) = (origin.seen.clone(), origin.state.clone());
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(serve(connection, false, seen.clone(), state.clone()));
            }
        });
        origin
    }

    fn at(name: &'static str, address: SocketAddr) -> Origin {
        Origin { address, seen: Arc::default(), state: Arc::new(State { name, ..State::default() }) }
    }

    /// The requests whose target holds this text.
    pub fn seen(&self, part: &str) -> Vec<Seen> {
        self.seen.lock().unwrap().iter().filter(|seen| seen.target.contains(part)).cloned().collect()
    }
}

async fn serve<S>(connection: S, http2: bool, seen: Arc<Mutex<Vec<Seen>>>, state: Arc<State>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| answer(request, seen.clone(), state.clone()));
    let connection = TokioIo::new(connection);
    // Whoever leaves early is no fault of ours.
    match http2 {
        true => drop(hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(connection, service).await),
        false => drop(hyper::server::conn::http1::Builder::new().serve_connection(connection, service).with_upgrades().await),
    }
}

async fn answer(mut request: Request<Incoming>, seen: Arc<Mutex<Vec<Seen>>>, state: Arc<State>) -> Result<Response<Body>, std::io::Error> {
    let path = request.uri().path().to_owned();
    let upgrade = request.headers().contains_key("upgrade").then(|| hyper::upgrade::on(&mut request));
    let (head, mut body) = request.into_parts();
    let at = {
        let mut all = seen.lock().unwrap();
        all.push(Seen { method: head.method.to_string(), target: head.uri.to_string(), headers: head.headers.clone(), size: 0 });
        all.len() - 1
    };
    while let Some(frame) = body.frame().await {
        let size = frame.map_err(std::io::Error::other)?.data_ref().map_or(0, Bytes::len);
        seen.lock().unwrap()[at].size += size;
    }
    let size = seen.lock().unwrap()[at].size;
    let number = |prefix: &str| path.rsplit(prefix).next().and_then(|n| n.trim_matches('/').parse::<usize>().ok()).unwrap_or(0);
    if path.contains("/slow/") {
        tokio::time::sleep(Duration::from_millis(number("/slow/") as u64)).await;
    }
    if let Some(upgrade) = upgrade {
        tokio::spawn(async move {
            let mut tunnel = TokioIo::new(upgrade.await.unwrap());
            let (mut read, mut write) = tokio::io::split(&mut tunnel);
            let _ = tokio::io::copy(&mut read, &mut write).await;
        });
        let response = Response::builder().status(101).header("upgrade", "websocket").header("connection", "upgrade");
        return Ok(response.body(full("")).unwrap());
    }
    let asked = head.headers.get("x-ficus-dry-run").filter(|_| state.rehearses.load(Ordering::Relaxed));
    let response = Response::builder().header("x-origin", state.name);
    let response = asked.into_iter().fold(response, |response, asked| response.header("x-ficus-dry-run", asked));
    if path.contains("/status/") {
        let status = u16::try_from(number("/status/")).unwrap();
        return Ok(response.status(status).body(full("{}")).unwrap());
    }
    if path.contains("/Method") {
        let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
        let frames = [Ok(Frame::data(Bytes::from_static(b"\0\0\0\0\x02hi"))), Ok(Frame::trailers(trailers))];
        let body = StreamBody::new(futures::stream::iter(frames)).boxed();
        return Ok(response.header("content-type", "application/grpc").body(body).unwrap());
    }
    if path.contains("/download/") {
        return Ok(response.body(streamed(number("/download/"), 1 << 20, Duration::ZERO)).unwrap());
    }
    if path.contains("/events/") {
        return Ok(response.header("content-type", "text/event-stream").body(streamed(3, 8, Duration::from_millis(150))).unwrap());
    }
    if path.contains("/logout") {
        return Ok(response.header("set-cookie", "sessionid=\"\"; Max-Age=0; Path=/").body(full("")).unwrap());
    }
    let json = response.header("content-type", "application/json");
    if path.contains("/thing") && head.method == "POST" && state.commits.lock().unwrap().is_some() {
        tokio::time::sleep(Duration::from_millis(40)).await;
        let wrote = state.commits.lock().unwrap().as_ref().map(|commit| commit()).unwrap_or_default();
        tokio::time::sleep(Duration::from_millis(10)).await;
        return Ok(json.body(full(wrote)).unwrap());
    }
    if path.contains("/thing") {
        let first = state.first.lock().unwrap().pop_front();
        let thing = first.map_or_else(|| state.thing.lock().unwrap().clone(), str::to_owned);
        let headers = state.headers.lock().unwrap().clone();
        let json = headers.into_iter().fold(json, |json, (name, value)| json.header(name, value));
        let status = state.status.load(Ordering::Relaxed);
        return Ok(json.status(if status == 0 { 200 } else { status }).body(full(thing)).unwrap());
    }
    if let Some((_, coding)) = path.split_once("/packed/") {
        let thing = state.thing.lock().unwrap().clone();
        return Ok(match head.headers.contains_key("accept-encoding") {
            true => json.header("content-encoding", coding).body(full(packed(coding, thing.as_bytes()))).unwrap(),
            false => json.body(full(thing)).unwrap(),
        });
    }
    if path.contains("/noise") {
        let nth = state.counter.fetch_add(1, Ordering::Relaxed);
        return Ok(json.body(full(format!("{{\"noise\": {nth}, \"same\": 1}}"))).unwrap());
    }
    let told = serde_json::json!({"origin": state.name, "method": head.method.as_str(), "target": head.uri.to_string(), "size": size});
    Ok(json.body(full(told.to_string())).unwrap())
}

/// A body in a coding; in one that nobody knows, as it is.
fn packed(coding: &str, body: &[u8]) -> Vec<u8> {
    use std::io::Read as _;
    let (mut packed, level) = (Vec::new(), flate2::Compression::best());
    match coding {
        "gzip" => flate2::read::GzEncoder::new(body, level).read_to_end(&mut packed).unwrap(),
        "deflate" => flate2::read::ZlibEncoder::new(body, level).read_to_end(&mut packed).unwrap(),
        _ => return body.to_vec(),
    };
    packed
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Got {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Got {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn side(&self) -> &str {
        self.header("x-ficus-side")
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The value of a cookie that was set.
    pub fn cookie(&self, name: &str) -> Option<String> {
        let lines = self.headers.get_all("set-cookie").iter().map(|line| line.to_str().unwrap().to_owned());
        lines.filter_map(|line| Some(line.split(';').next()?.strip_prefix(name)?.strip_prefix('=')?.to_owned())).next()
    }
}

/// The claims of the token that modern saw last.
pub fn claims(world: &World) -> Option<serde_json::Value> {
    let seen = world.modern.seen("/users/").pop().unwrap().headers;
    let token = seen.get("authorization")?.to_str().unwrap().strip_prefix("Bearer ").unwrap().to_owned();
    let jwks = world.gateway.jwks();
    let key = jsonwebtoken::DecodingKey::from_ed_components(jwks["keys"][0]["x"].as_str().unwrap()).unwrap();
    let mut expected = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::EdDSA);
    expected.set_audience(&["users-service"]);
    expected.set_issuer(&["ficus"]);
    Some(jsonwebtoken::decode::<serde_json::Value>(&token, &key, &expected).unwrap().claims)
}

/// The claims of the token that modern saw for a read with these headers; `None`: it saw none, or was not asked.
pub async fn told(world: &World, headers: &[(&str, &str)]) -> Option<serde_json::Value> {
    let got = world.send("GET", "/api/v1/users/me/", headers, full("")).await;
    if got.side() == "modern" { claims(world) } else { None }
}

/// A gateway between `monolith` and `users-service`.
pub struct World {
    pub gateway: Gateway,
    pub address: SocketAddr,
    pub legacy: Origin,
    pub modern: Origin,
    pub client: Pool<HttpConnector, Body>,
    stop: watch::Sender<bool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl World {
    pub async fn start() -> World {
        World::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Config)) -> World {
        let (legacy, modern) = (Origin::start("monolith").await, Origin::start("users-service").await);
        let upstream = |origin: &Origin| Upstream::at(origin.address.to_string());
        let upstreams = BTreeMap::from([("monolith".to_owned(), upstream(&legacy)), ("users-service".to_owned(), upstream(&modern))]);
        let mut config = Config::new("g1", upstreams, "monolith");
        config.expose_side = true;
        config.marker_key = b"marker".to_vec();
        config.grace = Duration::from_secs(2);
        change(&mut config);
        let gateway = Gateway::new(config).unwrap();
        let (stop, stopped) = watch::channel(false);
        let running = gateway.clone();
        let thread = std::thread::spawn(move || running.run(stopped).unwrap());
        let client = Pool::builder(TokioExecutor::new()).build_http();
        let address = gateway.bound()[0];
        World { gateway, address, legacy, modern, client, stop, thread: Some(thread) }
    }

    /// Publishes the next generation of the usual rules, and has it confirmed.
    pub fn serve(&self, serving: Serving) {
        self.publish(serving);
        self.confirm();
    }

    pub fn publish(&self, serving: Serving) {
        let generation = self.gateway.generation() + 1;
        self.gateway.publish(published(generation, serving)).unwrap();
    }

    pub fn confirm(&self) {
        self.gateway.report();
        self.gateway.answered(&ReportAnswer { generation: self.gateway.generation(), valid_for_ms: 60_000, ..ReportAnswer::default() });
    }

    /// Tells how fresh modern's copy is.
    pub fn fresh(&self, epoch: u64, through: Timestamp) {
        let freshness = BTreeMap::from([("users".to_owned(), Freshness { epoch, through })]);
        self.gateway.answered(&ReportAnswer {
            generation: self.gateway.generation(),
            valid_for_ms: 60_000,
            freshness,
            ..ReportAnswer::default()
        });
    }

    pub fn users(&self) -> GatewayCapability {
        self.gateway.report().capabilities.remove("users").unwrap_or_default()
    }

    pub async fn get(&self, path: &str) -> Got {
        self.send("GET", path, &[], full("")).await
    }

    pub async fn post(&self, path: &str) -> Got {
        self.send("POST", path, &[], full("body")).await
    }

    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Body) -> Got {
        send(&self.client, self.address, method, path, headers, body).await
    }

    pub fn stop(&mut self) {
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop();
    }
}

pub async fn send(
    client: &Pool<HttpConnector, Body>,
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Body,
) -> Got {
    let mut request = Request::builder().method(method).uri(format!("http://{address}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (head, body) = client.request(request.body(body).unwrap()).await.unwrap().into_parts();
    Got { status: head.status.as_u16(), headers: head.headers, body: body.collect().await.unwrap().to_bytes() }
}

pub fn published(generation: u64, serving: Serving) -> Published {
    Published {
        generation,
        rules_generation: 1,
        rules: vec![RuleFile { name: "users.toml".into(), text: RULES.into() }],
        capabilities: BTreeMap::from([("users".to_owned(), serving)]),
        ..Published::default()
    }
}

pub fn ramping(percent: u32) -> Serving {
    Serving {
        phase: Phase::Ramping,
        epoch: 1,
        owner: Side::Legacy,
        reads: Share::from_millionths(percent * 10_000),
        shadow: Share::NONE,
        fenced: false,
    }
}

pub fn soaking() -> Serving {
    Serving { phase: Phase::Soaking, epoch: 2, owner: Side::Modern, ..ramping(0) }
}

/// Waits until something is so.
pub async fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < Duration::from_secs(120), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub fn now() -> Timestamp {
    Timestamp::from(std::time::SystemTime::now())
}
