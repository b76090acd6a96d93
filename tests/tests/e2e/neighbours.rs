//! A fleet is brought up to date one process after the other. Between its orchestrator and its gateways and agent every message is
//! made, both ways, what the release before knows of it, or what the next one may say: a capability moves and goes back all the same,
//! and nobody notices.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use ficus_rules::lease::BELIEVED;
use ficus_rules::wire::release::{HEADER, RELEASE};
use ficus_tests::fleet::Plan;
use ficus_tests::http::Http;
use ficus_tests::notebook::NAME;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::Directory;
use super::etcd::EtcdServer;
use super::notebooks::{GATEWAYS, Notebooks, Old, PATIENCE};

#[path = "../../../rules/tests/support/release.rs"]
mod release;

/// Whom each side takes the other one for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Time {
    Before,
    Next,
}

/// What is asked and answered, by the names of release 1.
const MESSAGES: [(&str, Option<&str>, Option<&str>); 5] = [
    ("/api/v1/gateways/report", Some("gateway_report"), Some("report_answer")),
    ("/api/v1/agents/report", Some("agent_report"), None),
    ("/api/v1/agents/quarantine", Some("quarantine_report"), None),
    ("/api/v1/published", None, Some("published")),
    ("/api/v1/orders", None, Some("orders")),
];

/// Stands between an orchestrator and its parts.
#[derive(Clone)]
struct Between {
    orchestrator: Http,
    time: Time,
    /// How many of each it has changed.
    changed: Arc<Mutex<BTreeMap<&'static str, u64>>>,
}

impl Between {
    async fn start(port: u16, time: Time) -> Result<(Between, String, JoinHandle<()>)> {
        let between = Between { orchestrator: Http::new(&format!("http://127.0.0.1:{port}"), PATIENCE), time, changed: Arc::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let router = Router::new().fallback(pass).with_state(between.clone());
        let serving = tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        Ok((between, url, serving))
    }

    fn release(&self) -> Option<String> {
        (self.time == Time::Next).then(|| (RELEASE + 1).to_string())
    }

    fn change(&self, body: &[u8], message: Option<&'static str>) -> Result<Vec<u8>> {
        let Some(message) = message.filter(|_| !body.is_empty()) else { return Ok(body.to_vec()) };
        let whole: Value = serde_json::from_slice(body)?;
        let changed = match self.time {
            Time::Before => release::narrowed(&whole, &release::first(message)),
            Time::Next => release::widened(&whole),
        };
        if changed != whole {
            *self.changed.lock().unwrap_or_else(PoisonError::into_inner).entry(message).or_default() += 1;
        }
        Ok(serde_json::to_vec(&changed)?)
    }

    async fn exchange(&self, request: Request) -> Result<Response> {
        let (head, body) = request.into_parts();
        let path = head.uri.path_and_query().context("a path")?.as_str();
        let (asked, answered) = MESSAGES
            .iter()
            .find(|(message, ..)| head.uri.path() == *message)
            .map_or((None, None), |(_, asked, answered)| (*asked, *answered));
        let body = self.change(&axum::body::to_bytes(body, usize::MAX).await?, asked)?;
        let said = self.release();
        let headers: Vec<(&str, &str)> =
            [("content-type", "application/json")].into_iter().chain(said.iter().map(|said| (HEADER, said.as_str()))).collect();
        let answer = self.orchestrator.send(head.method.clone(), path, &headers, body.into()).await?;
        let answered = answered.filter(|_| answer.status == StatusCode::OK);
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/json".parse()?);
        if let Some(said) = said {
            headers.insert(HEADER, said.parse()?);
        }
        Ok((answer.status, headers, self.change(&answer.body, answered)?).into_response())
    }
}

async fn pass(State(between): State<Between>, request: Request) -> Response {
    between.exchange(request).await.unwrap_or_else(|error| (StatusCode::BAD_GATEWAY, format!("{error:#}")).into_response())
}

/// From now on the parts reach the orchestrator by this address only.
async fn move_parts(world: &mut Notebooks, url: &str) -> Result<()> {
    let fleet = &mut world.fleet;
    let parts: Vec<String> = (1..=GATEWAYS).map(|at| format!("gateway-{at}")).chain(["agent".to_owned()]).collect();
    for part in &parts {
        let file = fleet.directory.join(part).join("ficus.toml");
        let text = std::fs::read_to_string(&file)?;
        let line = |line: &str| if line.starts_with("addresses = ") { format!("addresses = [\"{url}\"]\n") } else { format!("{line}\n") };
        std::fs::write(&file, text.lines().map(line).collect::<String>())?;
    }
    for part in fleet.gateways.iter_mut().chain([&mut fleet.agent]) {
        part.process.end(PATIENCE)?;
    }
    // A report of the release before does not say that it is a later one: nobody believes it for so long.
    tokio::time::sleep(BELIEVED).await;
    fleet.start_agent()?;
    for at in 0..GATEWAYS as usize {
        fleet.start_gateway(at)?;
    }
    for at in 0..GATEWAYS as usize {
        takes_writes(&fleet.http(at)).await?;
    }
    Ok(())
}

async fn takes_writes(gateway: &Http) -> Result<()> {
    let (path, begun) = (format!("/notes/{}", Notebooks::nobody()), Instant::now());
    loop {
        let body = json!({ "address": "nobody in particular" }).to_string();
        match gateway.send(Method::PUT, &path, &[("content-type", "application/json")], body.into()).await {
            Ok(answer) if answer.status.is_success() => return Ok(()),
            refused => ensure!(begun.elapsed() < PATIENCE, "{}: {refused:?}", gateway.base()),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn moves_beside(time: Time) -> Result<()> {
    let (directory, etcd) = (Directory::new(), EtcdServer::start());
    let plan = Plan { gateways: GATEWAYS as usize, orchestrators: 1, etcd: etcd.port, validity: "12s", waits: false };
    let mut world = Notebooks::start(&directory, &etcd, Old::Postgres, plan).await?;
    let (between, url, serving) = Between::start(world.fleet.orchestrators[0].port, time).await?;
    move_parts(&mut world, &url).await?;
    world.until_ready().await?;
    world.write_at(0..GATEWAYS);
    for (wish, phase) in [("cutover", "soaking"), ("revert", "reverted"), ("cutover", "soaking")] {
        tokio::time::sleep(Duration::from_millis(500)).await;
        world.fleet.operator()?.until_accepted(wish, NAME, PATIENCE).await?;
        world.until_switched(wish, phase).await.with_context(|| format!("a {wish} beside {time:?}"))?;
    }
    world.settle(GATEWAYS as usize, &[]).await?;
    serving.abort();
    let changed = between.changed.lock().unwrap_or_else(PoisonError::into_inner).clone();
    println!("{time:?}: {changed:?}");
    for message in ["gateway_report", "report_answer", "agent_report", "published", "orders"] {
        // What is published has no field yet that release 1 did not know.
        let same = time == Time::Before && message == "published";
        ensure!(same || changed.get(message).is_some_and(|count| *count > 0), "no {message} was changed: {changed:?}");
    }
    directory.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_that_are_a_release_behind_are_worked_with() -> Result<()> {
    moves_beside(Time::Before).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_that_are_a_release_ahead_are_worked_with() -> Result<()> {
    moves_beside(Time::Next).await
}
