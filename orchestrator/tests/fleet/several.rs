//! Several orchestrators on one etcd: one leads, the others say so, and nobody promises anything that another one could not know of.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ficus_orchestrator::{Backend, Config, Etcd, Listener, Orchestrator, Tokens, Trust};
use ficus_rules::migration::Phase;
use ficus_rules::spec::Known;
use ficus_rules::wire::release;
use hyper::{Method, StatusCode};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::support::{Http, RULES, Time, World, tokens};

#[path = "../support/etcd.rs"]
mod server;

use server::EtcdServer;

const PATIENCE: Duration = Duration::from_secs(60);

/// One of them.
struct One {
    orchestrator: Orchestrator,
    serving: JoinHandle<()>,
    http: Http,
    base: String,
}

impl One {
    async fn start(etcd: &EtcdServer, rules: &std::path::Path, tokens: Tokens) -> One {
        let listener = Listener::bind("127.0.0.1:0", None).await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let etcd = Etcd {
            endpoints: vec![etcd.url()],
            prefix: "ficus/".into(),
            user: None,
            trust: Trust::public(),
            lease: Duration::from_secs(3),
            address: base.clone(),
        };
        let config = Config {
            rules_dir: rules.to_owned(),
            state: Backend::Etcd { etcd, file: rules.join("no-such-state") },
            known: Known { upstreams: vec!["monolith".into(), "users-service".into()], ..Known::default() },
            tokens,
            ..Config::default()
        };
        let orchestrator = Orchestrator::start(config).await.expect("it starts");
        let router = orchestrator.router();
        let serving = tokio::spawn(async move { listener.serve(router).await.expect("it serves") });
        One { orchestrator, serving, http: Http::at(&base), base }
    }

    async fn says(&self, path: &str) -> StatusCode {
        self.http.send(Method::GET, path, None).await.0
    }

    async fn leads(&self, leads: bool) {
        let (begun, wanted) = (Instant::now(), if leads { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE });
        while self.says("/leader").await != wanted {
            assert!(begun.elapsed() < PATIENCE, "{} never leads: {leads}", self.base);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn end(self) {
        self.orchestrator.stop().await;
        self.serving.abort();
    }
}

fn rules() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("users.toml"), RULES).expect("it writes");
    directory
}

const REPORT: &str =
    r#"{"gateway":"gw-1","incarnation":"a","generation":1,"trouble":null,"capabilities":{},"differences":[],"started":1,"serial":1}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_leads_the_other_says_who_and_takes_over_what_was_written() {
    let (mut etcd, rules) = (EtcdServer::start(), rules());
    let first = One::start(&etcd, rules.path(), Tokens::default()).await;
    first.leads(true).await;
    let second = One::start(&etcd, rules.path(), Tokens::default()).await;
    let begun = Instant::now();
    while second.says("/api/v1/status").await != StatusCode::TEMPORARY_REDIRECT {
        assert!(begun.elapsed() < PATIENCE, "it does not know who leads");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (location, body) = second.http.redirected("/api/v1/status?x=1").await;
    assert_eq!(location, format!("{}/api/v1/status?x=1", first.base));
    assert!(body["detail"].as_str().is_some_and(|detail| detail.contains(&first.base)), "{body}");
    assert_eq!([second.says("/health").await, second.says("/ready").await, second.says("/leader").await], [200, 200, 503]);

    // Only the leader gives validities, and writes.
    let report = |one: &One| {
        let http = one.http.clone();
        async move { http.send(Method::POST, "/api/v1/gateways/report", Some(REPORT.into())).await }
    };
    let (status, answer) = report(&first).await;
    assert_eq!((status, answer["valid_for_ms"].as_u64()), (StatusCode::OK, Some(5_000)));
    assert_eq!(report(&second).await.0, StatusCode::TEMPORARY_REDIRECT);
    let hold = |one: &One, reason: &str| {
        let (http, body) = (one.http.clone(), format!(r#"{{"by":"ada","reason":"{reason}"}}"#));
        async move { http.send(Method::POST, "/api/v1/capabilities/users/hold", Some(body)).await.0 }
    };
    assert_eq!(hold(&first, "exams").await, StatusCode::OK);
    assert_eq!(hold(&second, "more").await, StatusCode::TEMPORARY_REDIRECT);
    let before: Value = first.http.get("/api/v1/status").await;

    first.end().await;
    second.leads(true).await;
    let after: Value = second.http.get("/api/v1/status").await;
    assert_eq!(after["capabilities"]["users"]["holds"], serde_json::json!(["exams"]));
    assert_eq!(after["generation"], before["generation"]);
    assert_eq!(after["gateways"][0]["name"], "gw-1");
    assert_eq!(after["gateways"][0]["live"], true, "somebody may have given it a validity a moment ago");

    // Without etcd nobody leads, and who did stops by itself.
    etcd.kill();
    second.leads(false).await;
    assert_ne!(report(&second).await.0, StatusCode::OK);
    assert_ne!(second.says("/api/v1/published").await, StatusCode::OK);
    etcd.start_again();
    second.leads(true).await;
    assert_eq!(hold(&second, "again").await, StatusCode::OK);
    second.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_is_not_told_who_leads() {
    let (etcd, rules) = (EtcdServer::start(), rules());
    let first = One::start(&etcd, rules.path(), tokens()).await;
    first.leads(true).await;
    let second = One::start(&etcd, rules.path(), tokens()).await;
    for given in [None, Some("wrong")] {
        *second.http.token.lock().expect("not poisoned") = given.map(str::to_owned);
        for path in ["/api/v1/status", "/", "/console", "/metrics", "/anything"] {
            let (status, body) = second.http.send(Method::GET, path, None).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{given:?} {path}");
            assert!(!body.to_string().contains(&first.base), "{body}");
        }
    }
    *second.http.token.lock().expect("not poisoned") = Some("fleet-secret".to_owned());
    let begun = Instant::now();
    while second.says("/api/v1/published").await != StatusCode::TEMPORARY_REDIRECT {
        assert!(begun.elapsed() < PATIENCE, "whoever has a token is sent on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    first.end().await;
    second.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_of_neighbouring_releases_are_heard_and_others_turned_away() {
    let world = World::start(|_| {}).await;
    let with = async |release: Option<&str>, path: &str, body: Option<&str>| {
        let headers: Vec<(&str, &str)> =
            [("content-type", "application/json")].into_iter().chain(release.map(|said| (release::HEADER, said))).collect();
        let method = if body.is_some() { Method::POST } else { Method::GET };
        world.http.send_with(method, path, &headers, body.map(str::to_owned)).await.expect("an answer").0
    };
    let later = REPORT.replace("\"capabilities\"", "\"of_a_later_release\":[1],\"capabilities\"").replace("gw-1", "gw-2");
    for said in [None, Some("1"), Some("2"), Some("3")] {
        assert_eq!(with(said, "/api/v1/published", None).await, StatusCode::OK, "{said:?}");
        assert_eq!(with(said, "/api/v1/gateways/report", Some(&later)).await, StatusCode::OK, "{said:?}");
    }
    for said in [Some("4"), Some("0"), Some("x")] {
        for (path, body) in [("/api/v1/published", None), ("/api/v1/orders", None), ("/api/v1/gateways/report", Some(later.as_str()))] {
            assert_eq!(with(said, path, body).await, StatusCode::UPGRADE_REQUIRED, "{said:?} {path}");
        }
        assert_eq!(with(said, "/api/v1/status", None).await, StatusCode::OK, "people are not turned away");
    }
}

/// A fleet is brought up to date one process after the other: its gateway and its agent are a release behind, or ahead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_parts_of_neighbouring_releases_a_capability_moves_and_goes_back() {
    for time in [Time::Before, Time::Next] {
        let world = World::start_beside(time, |_| {}).await;
        world.must("advance").await;
        world.until("the cutover step", |s| s.step_action.as_deref() == Some("cutover")).await;
        world.must("approve").await;
        world.until("soaking", |s| s.phase == Phase::Soaking && s.epoch == 1).await;
        world.must("revert").await;
        world.until("reverted", |s| s.phase == Phase::Reverted && s.epoch == 2).await;
        world.agent.drift.store(1, Ordering::SeqCst);
        world.must("repair").await;
        world.must("cutover").await;
        world.until("soaking again", |s| s.phase == Phase::Soaking && s.epoch == 3).await;
        world.must("retire").await;
        world.until("retired", |s| s.phase == Phase::Retired && s.waiting_for.is_empty()).await;
        let aborted = world.journal().await.into_iter().filter(|entry| entry.line.kind == "aborted").count();
        assert_eq!(aborted, 0, "{time:?}");
    }
}
