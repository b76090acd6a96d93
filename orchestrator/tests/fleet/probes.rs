//! Gates of the operator's own, against a real Prometheus and a webhook.

use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::routing::post;
use axum::{Json, Router};
use ficus_rules::api::CapabilityStatus;
use ficus_rules::gate::Verdict;
use ficus_rules::migration::Phase;
use serde_json::{Value, json};

use crate::support::{RULES, World};

/// Debian's Prometheus, which scrapes nothing: a query for a constant needs no series.
struct Prometheus {
    child: Child,
    base: String,
    _directory: tempfile::TempDir,
}

impl Prometheus {
    async fn start() -> Prometheus {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("prometheus.yml");
        std::fs::write(&file, "scrape_configs: []\n").expect("it writes");
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
            .arg(format!("--web.listen-address={free}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus is installed (Debian: apt-get install prometheus)");
        let prometheus = Prometheus { child, base: format!("http://{free}"), _directory: directory };
        let begun = Instant::now();
        while tokio::net::TcpStream::connect(free).await.is_err() {
            assert!(begun.elapsed() < Duration::from_secs(30), "Prometheus does not listen");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        prometheus
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn gate(status: &CapabilityStatus, name: &str) -> Option<(Verdict, String)> {
    status.gates.iter().find(|judged| judged.gate == name).map(|judged| (judged.verdict, judged.measured.clone()))
}

fn with(gates: &str) -> String {
    // A step that nobody leaves: what is judged is looked at there.
    RULES.replacen("hold = \"30ms\"", "hold = \"1h\"", 1) + gates
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_is_judged_by_its_limits() {
    let prometheus = Prometheus::start().await;
    let gates = r#"
[gate.low]
promql = "vector(3) * 2"
max = 7
every = "50ms"
[gate.high]
promql = "vector(3) * 3"
max = 7
every = "50ms"
dry_run = true
[gate.none]
promql = "no_such_series"
max = 7
every = "50ms"
[gate.broken]
promql = "sum("
max = 7
every = "50ms"
"#;
    let world = World::start(|config| {
        std::fs::write(config.rules_dir.join("users.toml"), with(gates)).expect("it writes");
        config.prometheus = Some(prometheus.base.clone());
    })
    .await;
    world.must("advance").await;
    // Each is asked by itself: the last of them answers when it does.
    let is = |s: &CapabilityStatus, name: &str, verdict: Verdict| gate(s, name).is_some_and(|(found, _)| found == verdict);
    let judged = world
        .until("answers of Prometheus", |s| {
            gate(s, "broken").is_some_and(|(v, text)| v == Verdict::Error && text.contains("400"))
                && is(s, "none", Verdict::Error)
                && is(s, "low", Verdict::Pass)
                && is(s, "high", Verdict::Fail)
        })
        .await;
    assert_eq!(gate(&judged, "low"), Some((Verdict::Pass, "6, limit at most 7".to_owned())));
    assert_eq!(gate(&judged, "high"), Some((Verdict::Fail, "9, limit at most 7".to_owned())));
    assert!(gate(&judged, "none").is_some_and(|(v, text)| v == Verdict::Error && text.contains("nothing")), "{judged:?}");
    assert_eq!((judged.phase, judged.holds.len()), (Phase::Shadowing, 0), "one that is only shown takes nobody back");
    let waiting: Vec<_> = judged.waiting_for.iter().map(|w| w.text.as_str()).collect();
    assert!(waiting.iter().any(|text| text.starts_with("gate none: error")), "{waiting:?}");
    assert!(!waiting.iter().any(|text| text.contains("gate high")), "{waiting:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_gives_the_verdict_and_its_silence_none() {
    let says = Arc::new(Mutex::new(json!({ "verdict": "pass", "reason": "all is well" })));
    let heard: Arc<Mutex<Vec<Value>>> = Arc::default();
    let (said, hears) = (Arc::clone(&says), Arc::clone(&heard));
    let router = Router::new().route(
        "/verdict",
        post(async move |Json(about): Json<Value>| {
            hears.lock().expect("not poisoned").push(about);
            let answer = said.lock().expect("not poisoned").clone();
            if answer == json!("later") {
                tokio::time::sleep(Duration::from_secs(30)).await;
            }
            Json(answer)
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });
    let gates = format!("\n[gate.checks]\nwebhook = \"http://{address}/verdict\"\nevery = \"20ms\"\ndeadline = \"200ms\"\n");
    let world = World::start(|config| std::fs::write(config.rules_dir.join("users.toml"), with(&gates)).expect("it writes")).await;
    world.must("advance").await;
    let is = async |verdict: Verdict, word: &str| {
        world.until(word, |s| gate(s, "checks").is_some_and(|(v, text)| v == verdict && text.contains(word))).await
    };
    is(Verdict::Pass, "all is well").await;
    let about = heard.lock().expect("not poisoned")[0].clone();
    assert_eq!(about, json!({ "capability": "users", "gate": "checks", "phase": "shadowing", "step": 1, "owner": "legacy" }));
    *says.lock().expect("not poisoned") = json!({ "verdict": "perhaps" });
    is(Verdict::Error, "no verdict").await;
    *says.lock().expect("not poisoned") = json!("later");
    is(Verdict::Error, "within 200ms").await;
    *says.lock().expect("not poisoned") = json!({ "verdict": "fail", "reason": "checkout is down" });
    let back = world.until("all reads go back", |s| s.phase == Phase::Streaming).await;
    assert_eq!(back.holds, ["gate:checks"]);
    let journal = world.journal().await;
    let line = journal.iter().find(|entry| entry.line.kind == "stepped_back").expect("it is written down");
    assert!(line.line.text.contains("checkout is down"), "{}", line.line.text);
    assert_eq!(line.line.detail["gates"]["checks"]["verdict"], json!("fail"));
    serving.abort();
}
