//! An orchestrator on a loopback port, a fake gateway and a fake agent that obey it over HTTP, and an operator.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ficus_orchestrator::{Backend, Config, Listener, Orchestrator, Role, Tokens};
use ficus_rules::Timestamp;
use ficus_rules::api::{CapabilityStatus, JournalEntry, Status};
use ficus_rules::spec::Known;
use ficus_rules::wire::release::{HEADER, RELEASE};
use ficus_rules::wire::{
    AgentReport, Backfill, CapabilityReport, EndReport, Fences, GatewayCapability, GatewayReport, Orders, Published, RepairReport,
    ReportAnswer, ShadowCounts, Strays, StreamReport, SyncOrder, TableVerified, Traffic, VerifyReport,
};
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::task::JoinHandle;

#[path = "../../../rules/tests/support/release.rs"]
mod release;

pub(crate) const RULES: &str = r#"
[capability]
name = "users"
legacy = "monolith"
modern = "users-service"

[[route]]
path = "/api/v1/users/{*rest}"

[cohort]
by = ["user", "anonymous"]

[[step]]
shadow = "100%"
hold = "30ms"

[[step]]
reads = "50%"
hold = "30ms"

[[step]]
cutover = true
approve = true

[[step]]
soak = "1ms"

[gate.errors]
max_increase = "1%"
min_requests = 10

[[table]]
legacy = "accounts_customuser"
modern = "users"
"#;

pub(crate) struct World {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) config: Config,
    running: Option<(Orchestrator, JoinHandle<()>)>,
    pub(crate) http: Http,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) agent: Arc<Agent>,
    tasks: Vec<JoinHandle<()>>,
}

/// What the fake gateway can be told to do wrong.
#[derive(Default)]
pub(crate) struct Gateway {
    pub(crate) silent: AtomicBool,
    pub(crate) inflight: AtomicU64,
    pub(crate) deaf: AtomicBool,
    pub(crate) errors: AtomicU64,
    /// Modern answers in half a second.
    pub(crate) slow: AtomicBool,
    pub(crate) generation: AtomicU64,
    pub(crate) answers: Mutex<Vec<ReportAnswer>>,
}

/// What the fake agent can be told not to do.
#[derive(Default)]
pub(crate) struct Agent {
    pub(crate) refuses: Mutex<Vec<&'static str>>,
    pub(crate) drift: AtomicU64,
    /// Rows that it has applied since it was started, and when that was.
    pub(crate) rows: AtomicU64,
    pub(crate) started: AtomicU64,
    /// Who wrote past the gateway.
    pub(crate) strays: Mutex<Vec<Strays>>,
    state: Mutex<CapabilityReport>,
}

impl World {
    pub(crate) async fn start(change: impl FnOnce(&mut Config)) -> World {
        World::start_beside(Time::Now, change).await
    }

    /// The gateway and the agent are of another time.
    pub(crate) async fn start_beside(time: Time, change: impl FnOnce(&mut Config)) -> World {
        let directory = tempfile::tempdir().expect("a directory");
        let rules_dir = directory.path().join("rules");
        std::fs::create_dir(&rules_dir).expect("a rules directory");
        std::fs::write(rules_dir.join("users.toml"), RULES).expect("a rule file");
        let mut config = Config {
            rules_dir,
            state: Backend::Sqlite(directory.path().join("state.sqlite3")),
            known: Known { upstreams: vec!["monolith".into(), "users-service".into()], ..Known::default() },
            validity: Duration::from_secs(1),
            tick: Duration::from_millis(20),
            cool_down: Duration::from_millis(1),
            rules_poll: Duration::from_millis(100),
            ..Config::default()
        };
        change(&mut config);
        let http = Http::default();
        if !config.tokens.is_empty() {
            *http.token.lock().expect("not poisoned") = Some("admin-secret".into());
        }
        let (gateway, agent) = (Arc::default(), Arc::default());
        let mut world = World { directory, config, running: None, http, gateway, agent, tasks: Vec::new() };
        world.up().await;
        let part = || Part { http: world.http.clone(), time };
        let (gateway, agent) = (part(), part());
        world.tasks.push(tokio::spawn(report_as_gateway(Arc::clone(&world.gateway), gateway)));
        world.tasks.push(tokio::spawn(report_as_agent(Arc::clone(&world.agent), agent)));
        world
    }

    pub(crate) async fn up(&mut self) {
        let orchestrator = Orchestrator::start(self.config.clone()).await.expect("it starts");
        let listener = Listener::bind("127.0.0.1:0", None).await.expect("a port");
        *self.http.base.lock().expect("not poisoned") = format!("http://{}", listener.local_addr().expect("an address"));
        let router = orchestrator.router();
        let serving = tokio::spawn(async move { listener.serve(router).await.expect("it serves") });
        self.running = Some((orchestrator, serving));
    }

    /// Ends without a word to anybody.
    pub(crate) async fn down(&mut self) {
        let (orchestrator, serving) = self.running.take().expect("it runs");
        serving.abort();
        orchestrator.stop().await;
    }

    pub(crate) fn orchestrator(&self) -> &Orchestrator {
        &self.running.as_ref().expect("it runs").0
    }

    pub(crate) fn rules_file(&self) -> PathBuf {
        self.config.rules_dir.join("users.toml")
    }

    pub(crate) async fn status(&self) -> Status {
        self.http.get("/api/v1/status").await
    }

    pub(crate) async fn users(&self) -> CapabilityStatus {
        self.status().await.capabilities.remove("users").expect("users is there")
    }

    pub(crate) async fn until(&self, what: &str, done: impl Fn(&CapabilityStatus) -> bool) -> CapabilityStatus {
        let begun = Instant::now();
        loop {
            let status = self.users().await;
            if done(&status) {
                return status;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "never: {what}; {status:#?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn wish(&self, wish: &str) -> (StatusCode, Value) {
        self.http.send(Method::POST, &format!("/api/v1/capabilities/users/{wish}"), Some(r#"{"by":"ada"}"#.into())).await
    }

    /// Wishes until it is granted: right after a start some things are not known yet.
    pub(crate) async fn must(&self, wish: &str) {
        let begun = Instant::now();
        loop {
            let (status, body) = self.wish(wish).await;
            if status == StatusCode::OK {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(15), "{wish}: {status} {body}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn journal(&self) -> Vec<JournalEntry> {
        self.http.get("/api/v1/journal?capability=users&limit=1000").await
    }
}

/// The tokens of a world that has some: one of each role, called as the role, with `ROLE-secret` as its secret.
pub(crate) fn tokens() -> Tokens {
    let named = Role::ALL.map(|role| (role.as_str(), role, format!("{role}-secret")));
    Tokens::new(named.iter().map(|(name, role, secret)| (*name, *role, secret.as_str())))
}

impl Drop for World {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        if let Some((_, serving)) = &self.running {
            serving.abort();
        }
    }
}

#[derive(Clone)]
pub(crate) struct Http {
    base: Arc<Mutex<String>>,
    pub(crate) token: Arc<Mutex<Option<String>>>,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Default for Http {
    fn default() -> Self {
        Http { base: Arc::default(), token: Arc::default(), client: Client::builder(TokioExecutor::new()).build_http() }
    }
}

impl Http {
    pub(crate) fn at(base: &str) -> Http {
        let http = Http::default();
        base.clone_into(&mut http.base.lock().expect("not poisoned"));
        http
    }

    /// The same way, from another address of this machine, without a token.
    pub(crate) fn from(&self, address: Ipv4Addr) -> Http {
        let mut connector = HttpConnector::new();
        connector.set_local_address(Some(address.into()));
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Http { base: Arc::clone(&self.base), token: Arc::default(), client }
    }

    /// Where a call is sent on to, and what is said beside it.
    pub(crate) async fn redirected(&self, path: &str) -> (String, Value) {
        let uri = format!("{}{path}", self.base.lock().expect("not poisoned"));
        let request = Request::builder().uri(uri).body(Full::default()).expect("a request");
        let answer = self.client.request(request).await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT);
        let location = answer.headers()["location"].to_str().expect("text").to_owned();
        let body = answer.into_body().collect().await.expect("a body").to_bytes();
        (location, serde_json::from_slice(&body).expect("JSON"))
    }

    pub(crate) async fn try_send(&self, method: Method, path: &str, body: Option<String>) -> Option<(StatusCode, Bytes)> {
        self.send_with(method, path, &[("content-type", "application/json")], body).await
    }

    pub(crate) async fn send_with(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> Option<(StatusCode, Bytes)> {
        let uri = format!("{}{path}", self.base.lock().expect("not poisoned"));
        let mut request = Request::builder().method(method).uri(uri);
        if let Some(token) = &*self.token.lock().expect("not poisoned") {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let request = request.body(Full::from(body.unwrap_or_default())).expect("a request");
        let answer = self.client.request(request).await.ok()?;
        let status = answer.status();
        // A stream of events never ends: that it begins is all there is to wait for.
        if answer.headers().get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream")) {
            return Some((status, Bytes::new()));
        }
        Some((status, answer.into_body().collect().await.ok()?.to_bytes()))
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<String>) -> (StatusCode, Value) {
        let (status, body) = self.try_send(method, path, body).await.expect("an answer");
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        let (status, body) = self.send(Method::GET, path, None).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        serde_json::from_value(body).expect("the answer is as described")
    }
}

/// Of which release the fake gateway and agent are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Time {
    /// The one before: it says nothing of itself, and knows nothing that has come since.
    Before,
    #[default]
    Now,
    /// The next one: it says more than is known here.
    Next,
}

/// A fake gateway's or agent's way to the orchestrator.
struct Part {
    http: Http,
    time: Time,
}

impl Part {
    async fn poll<T: DeserializeOwned>(&self, path: &str, message: &str) -> Option<T> {
        let (status, body) = self.send(Method::GET, path, None).await?;
        (status == StatusCode::OK).then(|| self.read(&body, message))
    }

    /// A report, and the answer.
    async fn report(&self, path: &str, report: &impl Serialize, message: &str) -> Option<(StatusCode, Bytes)> {
        let report = serde_json::to_value(report).expect("a report is JSON");
        let report = match self.time {
            Time::Before => release::narrowed(&report, &release::first(message)),
            Time::Now => report,
            Time::Next => release::widened(&report),
        };
        self.send(Method::POST, path, Some(report.to_string())).await
    }

    fn read<T: DeserializeOwned>(&self, body: &[u8], message: &str) -> T {
        let mut answer = serde_json::from_slice(body).expect("an answer is JSON");
        if self.time == Time::Before {
            answer = release::narrowed(&answer, &release::first(message));
        }
        serde_json::from_value(answer).expect("the answer is as described")
    }

    async fn send(&self, method: Method, path: &str, body: Option<String>) -> Option<(StatusCode, Bytes)> {
        let said = match self.time {
            Time::Before => None,
            Time::Now => Some(RELEASE),
            Time::Next => Some(RELEASE + 1),
        };
        let said = said.map(|release| release.to_string());
        let headers = said.iter().map(|said| (HEADER, said.as_str())).chain([("content-type", "application/json")]);
        self.http.send_with(method, path, &headers.collect::<Vec<_>>(), body).await
    }
}

/// Takes what is published, and reports it, at once and now and then.
async fn report_as_gateway(gateway: Arc<Gateway>, orchestrator: Part) {
    let (mut requests, mut errors, mut latency) = (0, 0, vec![0; 11]);
    loop {
        let after = gateway.generation.load(Ordering::SeqCst);
        if !gateway.deaf.load(Ordering::SeqCst)
            && let Some(published) =
                orchestrator.poll::<Published>(&format!("/api/v1/published?after={after}&wait_ms=20"), "published").await
        {
            assert!(published.generation > after, "only newer ones");
            gateway.generation.store(published.generation, Ordering::SeqCst);
        }
        if gateway.silent.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        }
        requests += 50;
        errors += gateway.errors.load(Ordering::SeqCst) / 2;
        latency[if gateway.slow.load(Ordering::SeqCst) { 10 } else { 0 }] += 50;
        let capability = GatewayCapability {
            inflight_writes: gateway.inflight.load(Ordering::SeqCst),
            held: 0,
            legacy: Traffic::reported(requests, 0, vec![requests]),
            modern: Traffic::reported(requests, errors, latency.clone()),
            shadow: ShadowCounts { same: requests, ..ShadowCounts::default() },
            ..GatewayCapability::default()
        };
        let report = GatewayReport {
            gateway: "gw-1".into(),
            incarnation: "a".into(),
            generation: gateway.generation.load(Ordering::SeqCst),
            capabilities: [("users".to_owned(), capability)].into(),
            ..GatewayReport::default()
        };
        if let Some((StatusCode::OK, answer)) = orchestrator.report("/api/v1/gateways/report", &report, "gateway_report").await {
            gateway.answers.lock().expect("not poisoned").push(orchestrator.read(&answer, "report_answer"));
        } else {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Does what is ordered, and reports it.
async fn report_as_agent(agent: Arc<Agent>, orchestrator: Part) {
    let (mut orders, mut serial) = (Orders::default(), 0);
    loop {
        let after = orders.generation;
        if let Some(newer) = orchestrator.poll::<Orders>(&format!("/api/v1/orders?after={after}&wait_ms=20"), "orders").await {
            orders = newer;
        }
        serial += 1;
        let report = AgentReport {
            incarnation: 1 + agent.started.load(Ordering::SeqCst),
            serial,
            agent: "agent-1".into(),
            generation: orders.generation,
            capabilities: orders.capabilities.iter().map(|(name, orders)| (name.clone(), agent.obey(orders))).collect(),
        };
        if orchestrator.report("/api/v1/agents/report", &report, "agent_report").await.is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Agent {
    fn obey(&self, orders: &ficus_rules::wire::CapabilityOrders) -> CapabilityReport {
        let refuses = |what: &str| self.refuses.lock().expect("not poisoned").contains(&what);
        let now = Timestamp::from(std::time::SystemTime::now());
        let mut state = self.state.lock().expect("not poisoned");
        let rows = self.rows.load(Ordering::SeqCst);
        let live = StreamReport { live: orders.sync == SyncOrder::Run, through: now, rows, ..StreamReport::default() };
        state.epoch = orders.epoch;
        state.strays.clone_from(&self.strays.lock().expect("not poisoned"));
        state.backfill = Backfill { done: 40, total: 40, complete: true, ..Backfill::default() };
        (state.forward, state.reverse) = (live.clone(), live);
        state.removed = orders.sync == SyncOrder::Remove;
        if !refuses("fence of legacy") {
            state.fenced = Fences { legacy: orders.fenced.legacy, modern: state.fenced.modern };
        }
        if !refuses("fence of modern") {
            state.fenced = Fences { modern: orders.fenced.modern, ..state.fenced };
        }
        if let Some(wish) = orders.mark_end.filter(|_| !refuses("end")) {
            assert!(state.fenced.of(wish.side), "the end is read behind the fence");
            state.end = Some(EndReport { token: wish.token, position: "4711".into(), reached: true });
        }
        if let Some(wish) = orders.verify.filter(|wish| !refuses("verify") && state.verified.as_ref().map(|v| v.token) != Some(wish.token))
        {
            let drift_rows = self.drift.load(Ordering::SeqCst);
            let table = TableVerified {
                legacy: "accounts_customuser".into(),
                modern: "users".into(),
                legacy_rows: 40,
                modern_rows: 40,
                drift_rows,
                legacy_root: "aa".into(),
                modern_root: "aa".into(),
                samples: vec![],
            };
            state.verified = Some(VerifyReport { token: wish.token, done: true, at: now, tables: vec![table] });
        }
        if !refuses("sequences") {
            state.sequences_raised = orders.raise_sequences.or(state.sequences_raised);
        }
        if let Some(token) = orders.repair {
            self.drift.store(0, Ordering::SeqCst);
            state.repaired = Some(RepairReport { token, done: true, rows: 3 });
        }
        state.clone()
    }
}
