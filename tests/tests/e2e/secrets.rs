//! Nothing secret is told: secrets are planted in cookies, headers, paths, queries, bodies, rows, files and addresses, and looked for in
//! every log, at the most talkative level of everything, and in every trace, metric, status, sample, notification and file.

mod planted;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::any;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use ficus_tests::bare::Bare;
use ficus_tests::http::Http;
use ficus_tests::origin::Origin;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use tokio::net::TcpListener;

use super::Directory;
use planted::{PLANTED, RULED};

/// Where they may stand: who put them there is the operator, or an application.
const OURS: [&str; 5] = ["ficus.toml", "secrets", "rules", "old.sqlite3", "new.sqlite3"];
/// Where the rules are told as they are.
const RULES_TOLD: [&str; 2] = ["/api/v1/published?after=0&wait_ms=0", "/api/v1/rules"];
/// How often everything is sent.
const ROUNDS: usize = 8;
const PATIENCE: Duration = Duration::from_secs(120);

const USERS: &str = r#"[capability]
name = "users"
legacy = "monolith"
modern = "users-service"

[[route]]
path = "/users/{*rest}"
csrf = false
dry_run = true

[route.plugins.rate_limit]
quotas = ["1000000/s"]
by = ["header:x-api-key"]
shared = true
when_away = "open"

[[route]]
path = "/checked/{*rest}"
pin = "modern"

[[step]]
shadow = "100%"
hold = "1h"

[gate.hooked]
webhook = "http://127.0.0.1:1/ruled-webhook"
every = "500ms"

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

/// Rows with secrets, of which one is not taken; two buses that are away are to be told of them.
const PEOPLE: &str = r#"[capability]
name = "people"
legacy = "old-people"
modern = "new-people"

[[route]]
path = "/people/{*rest}"

[[step]]
shadow = "1%"
hold = "1h"

[[step]]
cutover = true

[[table]]
legacy = "people"
modern = "people"

[[event]]
table = "people"
to = "streams"
created = "person.came"
columns = ["name"]

[[event]]
table = "people"
to = "broker"
updated = "person.changed"
columns = ["name"]

[[test]]
request = "GET /people/1"
at = "cutover"
expect = "modern"
"#;
const OLD: [&str; 4] = [
    "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT NOT NULL, password TEXT NOT NULL)",
    "INSERT INTO people VALUES (1, 'a', 'planted-row'), (2, 'b', 'planted-row-that-is-too-long-for-the-new-table')",
    "CREATE TABLE auth_user (id INTEGER PRIMARY KEY, password TEXT, username TEXT, is_active BOOL)",
    "CREATE TABLE authtoken_token (key TEXT PRIMARY KEY, user_id INTEGER)",
];
const NEW: [&str; 1] =
    ["CREATE TABLE people (legacy_id INTEGER PRIMARY KEY, name TEXT NOT NULL, password TEXT NOT NULL CHECK (length(password) < 30))"];

type Bodies = Arc<Mutex<Vec<Bytes>>>;
/// Where something was told, and what.
type Told = Vec<(String, Vec<u8>)>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planted_secrets_are_found_nowhere() -> Result<()> {
    let directory = Directory::new();
    let (legacy, modern) = (Origin::start("monolith").await?, Origin::start("users-service").await?);
    let ((collector, spans), (receiver, notifications)) = (collect().await?, collect().await?);
    for (name, statements) in [("old.sqlite3", &OLD[..]), ("new.sqlite3", &NEW[..])] {
        let pool =
            SqlitePool::connect_with(SqliteConnectOptions::new().filename(directory.path().join(name)).create_if_missing(true)).await?;
        for statement in statements {
            sqlx::query(*statement).execute(&pool).await?;
        }
        pool.close().await;
    }
    std::fs::create_dir_all(directory.path().join("logs"))?;
    planted::files(directory.path(), receiver)?;
    let more = planted::configuration(directory.path(), collector);
    let upstreams = [("monolith", legacy.port), ("users-service", modern.port)];
    let loudly = [("FICUS_LOG", "trace"), ("FICUS_LOG_FORMAT", "json")];
    let rules = [("users.toml", USERS), ("archive.toml", ARCHIVE), ("people.toml", PEOPLE)];
    let bare = Bare::start_guarded(directory.path(), &upstreams, &rules, &more, &loudly).await?;
    let (http, operator) = (bare.http(), bare.operator()?);
    for capability in ["users", "archive", "people"] {
        operator.type_in(&["advance", capability]).await?;
    }
    let admin = Http::new(&bare.admin_url(), PATIENCE).saying("authorization", "Bearer planted-admin-token");
    let stranger = Http::new(&bare.admin_url(), PATIENCE).saying("authorization", "Bearer planted-wrong-token");
    ensure!(stranger.get("/api/v1/status").await?.status == 401, "a wrong token");
    until(&admin, "/api/v1/status", |status| status.matches("\"phase\":\"shadowing\"").count() == 2).await?;
    for round in 0..ROUNDS {
        planted::send(&http, round).await?;
    }
    // The origins echo what they are asked with: a sample of their differences is where secrets would stand.
    until(&admin, "/api/v1/diffs", |diffs| diffs.contains("$.headers.")).await?;
    until(&admin, "/metrics", |metrics| !metrics.contains("notifier=\"gone\",outcome=\"given_up\"} 0")).await?;
    // Paths stand in spans: the last round's shows that all came.
    let last = format!("/users/{}/", ROUNDS - 1);
    until_heard(&spans, &last).await?;
    until_heard(&notifications, "shadowing").await?;

    let mut told = asked(&bare, &admin).await?;
    for (place, bodies) in [("a span", &spans), ("a notification", &notifications)] {
        told.extend(bodies.lock().expect("no panic").iter().map(|body| (place.to_owned(), body.to_vec())));
    }
    let lines = std::fs::read_to_string(directory.path().join("logs/access.log")).context("an access log")?;
    ensure!(lines.lines().count() >= ROUNDS * 30 && lines.contains("token="), "the access log has what it should: {lines}");
    let log = bare.ficus.log();
    for part in ["ficus_proxy", "ficus_orchestrator", "ficus_sync_agent"] {
        ensure!(log.contains(part), "{part} says nothing");
    }
    let keys = keys(&directory.path().join("state"))?;
    for file in files(directory.path())? {
        let ours = OURS.iter().any(|ours| file.to_string_lossy().starts_with(&*directory.path().join(ours).to_string_lossy()));
        if !ours && file.extension().is_none_or(|extension| extension != "key") {
            told.push((file.display().to_string(), std::fs::read(&file)?));
        }
    }
    ensure!(told.len() > 30, "places were looked at: {}", told.len());
    for (place, text) in &told {
        let rules = place.contains("/state/") || RULES_TOLD.contains(&place.as_str());
        for secret in keys.iter().map(String::as_str).chain([PLANTED]).chain((!rules).then_some(RULED)) {
            let found = text.windows(secret.len()).position(|some| some == secret.as_bytes());
            let told = found.map(|at| String::from_utf8_lossy(&text[at.saturating_sub(200)..text.len().min(at + 40)]));
            ensure!(told.is_none(), "`{secret}` stands in {place}: {}", told.unwrap_or_default());
        }
    }
    drop(bare);
    directory.passed();
    Ok(())
}

/// The keys that were made, as they could be told: in hexadecimal digits, in base64, or as a list of numbers.
fn keys(state: &Path) -> Result<Vec<String>> {
    let mut told = Vec::new();
    for file in files(state)?.into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "key")) {
        let key = std::fs::read(&file)?;
        let numbers = format!("{key:?}");
        told.push(key.iter().map(|byte| format!("{byte:02x}")).collect());
        told.extend([STANDARD_NO_PAD.encode(&key), URL_SAFE_NO_PAD.encode(&key), numbers.trim_matches(['[', ']']).to_owned()]);
    }
    ensure!(told.len() >= 8, "keys of {}", state.display());
    Ok(told)
}

async fn until_heard(bodies: &Bodies, word: &str) -> Result<()> {
    let begun = Instant::now();
    while !bodies.lock().expect("no panic").iter().any(|body| String::from_utf8_lossy(body).contains(word)) {
        ensure!(begun.elapsed() < PATIENCE, "nobody is told of {word}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
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
    let commands: [&[&str]; 12] = [
        &["diffs", "users"],
        &["diffs", "users", "--propose"],
        &["status"],
        &["status", "archive"],
        &["status", "people"],
        &["quarantine", "people"],
        &["plan", "users"],
        &["diffs", "--json"],
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

/// Takes whatever it is sent: its port, and what came.
async fn collect() -> Result<(u16, Bodies)> {
    let bodies = Bodies::default();
    let take = |State(bodies): State<Bodies>, body: Bytes| async move { bodies.lock().expect("no panic").push(body) };
    let router = Router::new().fallback(any(take)).with_state(bodies.clone());
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
