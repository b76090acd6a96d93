//! Nothing secret is told: secrets are planted in cookies, headers, queries, bodies, files and databases' URLs, and looked for in
//! every log, trace, metric, status, sample and file.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use ficus_tests::bare::Bare;
use ficus_tests::http::Http;
use ficus_tests::origin::Origin;
use hyper::Method;
use tokio::net::TcpListener;

use super::Directory;

/// What is looked for: each secret begins like this and ends with where it was planted.
const PLANTED: &str = "planted-";
/// Where they may stand: who put them there is the operator.
const OURS: [&str; 2] = ["ficus.toml", "secrets"];
/// How often everything is sent.
const ROUNDS: usize = 20;
const PATIENCE: Duration = Duration::from_secs(120);

const USERS: &str = r#"[capability]
name = "users"
legacy = "monolith"
modern = "users-service"

[[route]]
path = "/users/{*rest}"
csrf = false
dry_run = true

[[step]]
shadow = "100%"
hold = "1h"

[[step]]
cutover = true

[[test]]
request = "GET /users/1"
at = "cutover"
expect = "modern"
"#;

/// Its databases cannot be reached.
const ARCHIVE: &str = r#"[capability]
name = "archive"
legacy = "archive"
modern = "vault"

[[route]]
path = "/archive/{*rest}"

[[step]]
cutover = true

[[table]]
legacy = "papers"
modern = "papers"

[[test]]
request = "GET /archive/1"
at = "cutover"
expect = "modern"
"#;

type Bodies = Arc<Mutex<Vec<Bytes>>>;
/// Where something was told, and what.
type Told = Vec<(String, Vec<u8>)>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planted_secrets_are_found_nowhere() -> Result<()> {
    let directory = Directory::new();
    let (legacy, modern) = (Origin::start("monolith").await?, Origin::start("users-service").await?);
    let (collector, spans) = collect().await?;
    for (name, secret) in
        [("admin", "planted-admin-token"), ("jwt", "planted-jwt-secret-that-is-as-long-as-one-should-be"), ("database", "planted-file")]
    {
        std::fs::create_dir_all(directory.path().join("secrets"))?;
        std::fs::write(directory.path().join("secrets").join(name), secret)?;
    }
    std::fs::create_dir_all(directory.path().join("logs"))?;
    let more = format!(
        r#"
[gateway.access_log]
to = "logs/access.log"

[gateway.tracing]
endpoint = "http://127.0.0.1:{collector}"
sample = "100%"

[identity.jwt.app]
issuer = "app"
algorithms = ["HS256"]
secret_file = "secrets/jwt"

[upstream.archive]
address = "127.0.0.1:1"
database = "postgres://ficus:planted-database@127.0.0.1:1/archive"

[upstream.vault]
address = "127.0.0.1:1"
database = "mysql://ficus:planted-vault@127.0.0.1:1/vault"
"#
    );
    let upstreams = [("monolith", legacy.port), ("users-service", modern.port)];
    let loudly = [("FICUS_LOG", "info,ficus=trace,ficus_proxy=trace,ficus_rules=trace,ficus_orchestrator=trace,ficus_sync_agent=trace")];
    let rules = [("users.toml", USERS), ("archive.toml", ARCHIVE)];
    let bare = Bare::start_guarded(directory.path(), &upstreams, &rules, &more, &loudly).await?;
    let (http, operator) = (bare.http(), bare.operator()?);
    for capability in ["users", "archive"] {
        operator.type_in(&["advance", capability]).await?;
    }
    let admin = Http::new(&bare.admin_url(), PATIENCE).saying("authorization", "Bearer planted-admin-token");
    until(&admin, "/api/v1/status", |status| status.contains("\"phase\":\"shadowing\"")).await?;
    for round in 0..ROUNDS {
        plant(&http, round).await?;
    }
    // The origins echo what they are asked with: a sample of their differences is where secrets would stand.
    until(&admin, "/api/v1/diffs", |diffs| diffs.contains("$.headers.")).await?;
    let begun = Instant::now();
    // Paths stand in spans as they are: the last round's shows that all came.
    let last = format!("/users/{}", ROUNDS - 1);
    let told_of = |spans: &Bodies| spans.lock().expect("no panic").iter().any(|body| String::from_utf8_lossy(body).contains(&last));
    while !told_of(&spans) {
        ensure!(begun.elapsed() < PATIENCE, "no span of the last round came");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    let mut told = asked(&bare, &admin).await?;
    told.extend(spans.lock().expect("no panic").iter().map(|body| ("a span".to_owned(), body.to_vec())));
    let lines = std::fs::read_to_string(directory.path().join("logs/access.log")).context("an access log")?;
    ensure!(lines.lines().count() >= 60 && lines.contains("token="), "the access log has what it should: {lines}");
    for file in files(directory.path())? {
        if !OURS.iter().any(|ours| file.starts_with(directory.path().join(ours))) {
            told.push((file.display().to_string(), std::fs::read(&file)?));
        }
    }
    ensure!(told.len() > 20, "places were looked at: {}", told.len());
    for (place, text) in &told {
        let text = String::from_utf8_lossy(text);
        let found = text.find(PLANTED).map(|at| text[at..].chars().take(40).collect::<String>());
        ensure!(found.is_none(), "`{}` stands in {place}", found.unwrap_or_default());
    }
    drop(bare);
    directory.passed();
    Ok(())
}

/// What the admin API and the commands say.
async fn asked(bare: &Bare, admin: &Http) -> Result<Told> {
    let mut told = Told::new();
    let paths = ["/metrics", "/api/v1/status", "/api/v1/diffs", "/api/v1/journal", "/api/v1/published?after=0&wait_ms=0", "/api/v1/rules"];
    for path in paths {
        let answer = admin.get(path).await?;
        ensure!(answer.status.is_success(), "{path}: {}", answer.status);
        told.push((path.to_owned(), answer.body.to_vec()));
    }
    let commands: [&[&str]; 8] = [
        &["diffs", "users"],
        &["diffs", "users", "--propose"],
        &["status"],
        &["status", "archive"],
        &["journal"],
        &["check"],
        &["check", "--live"],
        &["explain", "GET", "/users/1?token=planted-explain", "-H", "Cookie: sessionid=planted-cookie"],
    ];
    for command in commands {
        let printed = bare.operator()?.try_type(command).await?;
        ensure!(!(printed.out.is_empty() && printed.err.is_empty()), "{command:?} says nothing");
        told.push((command.join(" "), format!("{}{}", printed.out, printed.err).into_bytes()));
    }
    Ok(told)
}

async fn until(admin: &Http, path: &str, is_so: impl Fn(&str) -> bool) -> Result<()> {
    let begun = Instant::now();
    loop {
        let text = admin.get(path).await?.text();
        if is_so(&text) {
            return Ok(());
        }
        ensure!(begun.elapsed() < PATIENCE, "{path} is not as it should be: {text}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Requests with secrets wherever a request can have one.
async fn plant(http: &Http, round: usize) -> Result<()> {
    let secret = |place: &str| format!("{PLANTED}{place}-{round}");
    let cookie = format!("sessionid={}; csrftoken={}; theme={}", secret("session"), secret("csrf"), secret("cookie"));
    let (bearer, key) = (format!("Bearer {}", secret("bearer")), secret("api-key"));
    let headers = [("cookie", &*cookie), ("authorization", &*bearer), ("x-api-key", &*key), ("proxy-authorization", &*bearer)];
    let query = format!("token={}&{}", secret("query"), secret("lone-word"));
    let body = format!("password={}", secret("body")).into_bytes();
    http.send(Method::GET, &format!("/users/{round}?{query}"), &headers, Bytes::new()).await?;
    http.send(Method::POST, &format!("/users/{round}?{query}"), &headers, body.into()).await?;
    http.send(Method::GET, &format!("/elsewhere?{query}"), &headers, Bytes::new()).await?;
    // Refused by the gateway itself.
    http.send(Method::GET, &format!("/users//..%2f?{query}"), &headers, Bytes::new()).await?;
    Ok(())
}

/// A collector of traces: its port, and what came.
async fn collect() -> Result<(u16, Bodies)> {
    let bodies = Bodies::default();
    let take = |State(bodies): State<Bodies>, body: Bytes| async move { bodies.lock().expect("no panic").push(body) };
    let router = Router::new().route("/v1/traces", post(take)).with_state(bodies.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok((port, bodies))
}

/// Every file below a folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(files(&entry.path())?);
        } else if entry.file_type()?.is_file() {
            found.push(entry.path());
        }
    }
    Ok(found)
}
