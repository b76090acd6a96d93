//! Gateway and server agree: whatever strangers send, real Python servers behind the gateway see as many requests as the
//! gateway sent on. The corpus is that of the gateway's own tests.

#[allow(unreachable_pub, reason = "shared with another test")]
#[path = "../../../proxy/tests/hostile/client.rs"]
mod client;
#[allow(unreachable_pub, reason = "shared with another test")]
#[path = "../../../proxy/tests/hostile/corpus.rs"]
mod corpus;

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ficus_tests::bare::Bare;
use ficus_tests::process::{Process, free_port};
use ficus_tests::school;

use super::Directory;

const RULES: &str = r#"
[capability]
name = "users"
legacy = "server"
modern = "modern"
[[route]]
path = "/api/v1/users/{*rest}"
pin = "legacy"
[[step]]
cutover = true
"#;
/// Rows whose fault comes so late that the head may have been sent on.
const BROKEN: usize = 3;
const QUIET: Duration = Duration::from_millis(60);
const APP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/chain");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gunicorn_sees_what_the_gateway_sent_on() -> Result<()> {
    agree(&["-m", "gunicorn", "--chdir", APP, "--workers", "1", "counting:wsgi", "--bind"]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gunicorn_sees_it_on_connections_that_are_kept() -> Result<()> {
    agree(&[
        "-m",
        "gunicorn",
        "--chdir",
        APP,
        "--worker-class",
        "gthread",
        "--threads",
        "8",
        "--keep-alive",
        "30",
        "counting:wsgi",
        "--bind",
    ])
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uvicorn_sees_what_the_gateway_sent_on() -> Result<()> {
    agree(&["-m", "uvicorn", "--app-dir", APP, "--http", "h11", "counting:asgi", "--port"]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uvicorn_sees_it_with_its_fast_parser() -> Result<()> {
    agree(&["-m", "uvicorn", "--app-dir", APP, "--http", "httptools", "counting:asgi", "--port"]).await
}

async fn agree(server: &[&str]) -> Result<()> {
    let directory = Directory::new();
    let port = free_port()?;
    let bind = if server.contains(&"--bind") { format!("127.0.0.1:{port}") } else { port.to_string() };
    let _server = Process::start("server", Command::new(school::python()?).args(server).arg(bind), &directory.path().join("server.log"))?;
    let bare = Bare::start(directory.path(), &[("server", port), ("modern", port)], &[("users.toml", RULES)]).await?;
    seen(port).await.context("the server does not come up")?;
    let (mut counted, mut refused, mut wrong) = (0, 0, Vec::new());
    for row in corpus::rows() {
        let got = client::send(([127, 0, 0, 1], bare.port()).into(), &row.send, row.send.len(), row.want.answers.len(), QUIET).await;
        let (text, statuses) = (String::from_utf8_lossy(&got.bytes).to_ascii_lowercase(), got.statuses());
        let answered = text.matches("\r\nx-counted: 1\r\n").count();
        counted += answered;
        // What the server's parser does not like: it has seen a request, the application has not.
        refused += row.want.seen.len().saturating_sub(answered);
        if answered > row.want.seen.len() || (row.want.seen.is_empty() && statuses != row.want.answers) {
            wrong.push(format!("{}: {statuses:?}, {answered} of them by the server; wanted {:?}", row.name, row.want.answers));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    let seen = seen(port).await?;
    let sent_on = sent_on(&bare, counted + refused).await?;
    let ids: BTreeSet<&String> = seen.iter().filter_map(|(id, _)| id.as_ref()).collect();
    ensure!(ids.len() == seen.len(), "a request came past the gateway: {} of {} have an id of their own", ids.len(), seen.len());
    ensure!(seen.iter().all(|(_, from)| from.as_deref() == Some("127.0.0.1")), "an address is not the gateway's word: {seen:?}");
    ensure!(counted > 100, "only {counted} requests were answered by the server");
    ensure!(sent_on == counted + refused, "the gateway sent on {sent_on}, the server answered {counted} and refused {refused}");
    // A body that turns out to be faulty after its head was sent on: the server sees the beginning of a request, and its end.
    let broken = seen.len().checked_sub(counted).context("the server answered more than it saw")?;
    ensure!(broken <= BROKEN, "the server saw {broken} requests that nobody was answered");
    directory.passed();
    Ok(())
}

/// What the server saw: each request's id, and where the gateway said that it comes from.
async fn seen(port: u16) -> Result<Vec<(Option<String>, Option<String>)>> {
    for _ in 0..400 {
        if let Ok(answer) = ficus_tests::http::Http::new(&format!("http://127.0.0.1:{port}"), Duration::from_secs(5)).get("/count").await {
            return Ok(serde_json::from_slice(&answer.body)?);
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    anyhow::bail!("it does not answer")
}

/// How many requests the gateway counted as sent on. They are counted when they are over.
async fn sent_on(bare: &Bare, at_least: usize) -> Result<usize> {
    let mut count = 0;
    for _ in 0..100 {
        let metrics = ficus_tests::http::Http::new(&bare.admin_url(), Duration::from_secs(5)).get("/metrics").await?;
        let text = String::from_utf8_lossy(&metrics.body).into_owned();
        let lines = text.lines().filter(|line| line.starts_with("ficus_requests_total{") && !line.contains("side=\"gateway\""));
        count = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok()).sum();
        if count >= at_least {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(count)
}
