//! `ficus gateway` as a process, between an orchestrator and an upstream inside the test: how it begins and how it ends.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use ficus_rules::migration::Phase;
use ficus_rules::wire::{GatewayReport, Published, ReportAnswer, RuleFile, Serving};
use ficus_rules::{Share, Side};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const RULES: &str =
    "[capability]\nname = 'users'\ndescription = 'x'\nlegacy = 'monolith'\nmodern = 'service'\n\n[[route]]\npath = '/users/{*rest}'\n";

/// Publishes the newest of these generations: 0 nothing, 1 fenced, 2 open.
#[derive(Default)]
struct Desk {
    newest: AtomicU64,
    held: AtomicU64,
    reports: AtomicUsize,
    /// How often somebody has asked for a state.
    asked: AtomicUsize,
    /// It answers no report.
    deaf: AtomicBool,
}

async fn published(State(desk): State<Arc<Desk>>, Query(asked): Query<std::collections::BTreeMap<String, u64>>) -> Response {
    desk.asked.fetch_add(1, Ordering::SeqCst);
    for _ in 0..100 {
        let generation = desk.newest.load(Ordering::SeqCst);
        if generation > asked["after"] {
            let serving = Serving {
                phase: Phase::Fencing,
                epoch: 1,
                owner: Side::Legacy,
                reads: Share::NONE,
                shadow: Share::NONE,
                fenced: generation == 1,
            };
            let rules = vec![RuleFile { name: "users.toml".into(), text: RULES.into() }];
            let capabilities = [("users".to_owned(), serving)].into();
            return Json(Published { generation, rules_generation: 1, rules, capabilities, ..Published::default() }).into_response();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    StatusCode::NO_CONTENT.into_response()
}

async fn report(State(desk): State<Arc<Desk>>, Json(report): Json<GatewayReport>) -> Response {
    desk.held.store(report.capabilities.values().map(|users| users.held).sum(), Ordering::SeqCst);
    desk.reports.fetch_add(1, Ordering::SeqCst);
    if desk.deaf.load(Ordering::SeqCst) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    Json(ReportAnswer { generation: desk.newest.load(Ordering::SeqCst), valid_for_ms: 5_000, ..ReportAnswer::default() }).into_response()
}

async fn start(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

struct World {
    desk: Arc<Desk>,
    address: SocketAddr,
    process: Child,
    _folder: tempfile::TempDir,
}

impl World {
    async fn start() -> World {
        World::before(Desk::default()).await
    }

    async fn before(desk: Desk) -> World {
        let desk = Arc::new(desk);
        let api = Router::new().route("/api/v1/published", get(published)).route("/api/v1/gateways/report", post(report));
        let admin = start(api.with_state(desk.clone())).await;
        let slow = async || {
            tokio::time::sleep(Duration::from_secs(8)).await;
            "late"
        };
        let upstream = start(Router::new().route("/slow", get(slow)).fallback(async || "done")).await;
        let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (address, own_admin) = (free(), free());
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "[gateway]\nlisten = ['{address}']\nadmin = '{own_admin}'\ndefault = 'monolith'\n\n\
             [upstream.monolith]\naddress = '{upstream}'\n\n[upstream.service]\naddress = '{upstream}'\n"
        );
        std::fs::write(folder.path().join("ficus.toml"), config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_ficus"));
        command.arg("--config").arg(folder.path().join("ficus.toml")).arg("--admin").arg(format!("http://{admin}")).arg("gateway");
        let process = command.stderr(Stdio::null()).spawn().unwrap();
        World { desk, address, process, _folder: folder }
    }

    fn publish(&self, generation: u64) {
        self.desk.newest.store(generation, Ordering::SeqCst);
    }

    /// Sends a request, as soon as somebody listens; the status of its answer.
    fn send(&self, request: &str) -> tokio::task::JoinHandle<String> {
        let (address, request) = (self.address, format!("{request} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"));
        tokio::spawn(async move {
            let start = Instant::now();
            let mut socket = loop {
                match TcpStream::connect(address).await {
                    Ok(socket) => break socket,
                    Err(error) => assert!(start.elapsed() < Duration::from_secs(5), "{error}"),
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            };
            socket.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            let _ = socket.read_to_end(&mut answer).await;
            String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap_or("none").to_owned()
        })
    }

    fn terminate(&self) {
        assert!(Command::new("kill").arg(self.process.id().to_string()).status().unwrap().success());
    }

    async fn ended(&mut self, within: Duration) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < within, "it still runs");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn eventually(what: &str, so: impl Fn() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < Duration::from_secs(5), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_answers_nobody_before_its_first_state_or_two_seconds() {
    let world = World::start().await;
    let early = world.send("POST /users/1/");
    eventually("it reports", || world.desk.reports.load(Ordering::SeqCst) > 0).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!early.is_finished(), "a write would have been refused");
    world.publish(2);
    assert_eq!(early.await.unwrap(), "200");
    let without = World::start().await;
    let (read, write) = (without.send("GET /users/1/"), without.send("POST /users/1/"));
    assert_eq!((read.await.unwrap(), write.await.unwrap()), ("200".to_owned(), "503".to_owned()));
}

/// Nobody reckons yet with a gateway whose name is not stored: by a state it would serve past the next fence.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_no_report_was_answered_to_takes_no_state() {
    let world = World::before(Desk { newest: 2.into(), deaf: true.into(), ..Desk::default() }).await;
    eventually("it reports", || world.desk.reports.load(Ordering::SeqCst) > 2).await;
    assert_eq!(world.desk.asked.load(Ordering::SeqCst), 0, "it asked for a state");
    assert_eq!(world.send("POST /users/1/").await.unwrap(), "503");
    world.desk.deaf.store(false, Ordering::SeqCst);
    eventually("it asks for a state", || world.desk.asked.load(Ordering::SeqCst) > 0).await;
    let start = Instant::now();
    while world.send("POST /users/1/").await.unwrap() != "200" {
        assert!(start.elapsed() < Duration::from_secs(5), "the state was never taken");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_held_when_the_end_begins_is_released_by_what_is_published_then() {
    let mut world = World::start().await;
    world.publish(1);
    let held = world.send("POST /users/1/");
    eventually("it is held", || world.desk.held.load(Ordering::SeqCst) == 1).await;
    world.terminate();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let reports = world.desk.reports.load(Ordering::SeqCst);
    eventually("it goes on reporting", || world.desk.reports.load(Ordering::SeqCst) > reports + 2).await;
    world.publish(2);
    assert_eq!(held.await.unwrap(), "200");
    assert!(world.ended(Duration::from_secs(3)).await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_at_once() {
    let mut world = World::start().await;
    world.publish(2);
    assert_eq!(world.send("GET /users/1/").await.unwrap(), "200");
    let slow = world.send("GET /slow");
    tokio::time::sleep(Duration::from_millis(200)).await;
    world.terminate();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!slow.is_finished(), "one signal lets it finish");
    world.terminate();
    assert_eq!(world.ended(Duration::from_secs(2)).await.code(), Some(130));
}
