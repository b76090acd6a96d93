//! What is decided by more than rules and state: a service that is gone, a copy that nobody keeps, a fence.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use ficus_tests::bare::Bare;
use ficus_tests::caller::{Caller, PASSWORD};
use ficus_tests::http::Http;
use ficus_tests::origin::Origin;
use ficus_tests::world::{Plan, World};
use hyper::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Directory;
use crate::kills::until_accepted;

/// One capability without tables.
const RULES: &str = "[capability]\nname = \"users\"\nlegacy = \"monolith\"\nmodern = \"users-service\"\n\n[[route]]\n\
    path = \"/users/{*rest}\"\ncsrf = false\n\n[[step]]\nreads = \"100%\"\nhold = \"1h\"\n\n[[step]]\ncutover = true\n\n\
    [[step]]\nsoak = \"7d\"\n";

/// A gateway, and what it is asked about.
struct Asking {
    bare: Bare,
    http: Http,
}

impl Asking {
    async fn explained(&self, method: &str, path: &str) -> Result<Value> {
        Ok(serde_json::from_str(&self.bare.operator()?.type_in(&["explain", method, path, "--json"]).await?)?)
    }

    /// Until the gateway's report has gone through.
    async fn until_down(&self, down: &[&str]) -> Result<()> {
        let admin = Http::new(&self.bare.admin_url(), Duration::from_secs(5));
        for _ in 0..400 {
            // Probes find out by themselves; a request does sooner.
            self.http.get("/users/7").await?;
            let status = admin.get("/api/v1/status").await?.json()?;
            if status["gateways"][0]["modern_down"] == json!(down) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        anyhow::bail!("the gateway never reports {down:?} as down")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_agrees_about_a_fence_and_a_service_that_is_gone() -> Result<()> {
    let directory = Directory::new();
    let (monolith, service) = (Origin::start("monolith").await?, Origin::start("users-service").await?);
    let upstreams = [("monolith", monolith.port), ("users-service", service.port)];
    let bare = Bare::start(directory.path(), &upstreams, &[("users.toml", RULES)]).await?;
    let asking = Asking { http: bare.http(), bare };
    let operator = asking.bare.operator()?;

    operator.type_in(&["advance", "users"]).await?;
    operator.until_phase("users", "ramping", Duration::from_secs(10)).await?;
    let explained = asking.explained("GET", "/users/7").await?;
    ensure!((&explained["because"], &explained["side"]) == (&json!("in_cohort"), &json!("modern")), "{explained:#}");

    // Behind the fence of a switch that waits for a write.
    let address = asking.bare.url().trim_start_matches("http://").to_owned();
    let mut slow = TcpStream::connect(&address).await?;
    let head = format!("POST /users/1 HTTP/1.1\r\nhost: {address}\r\ncontent-length: 4\r\nconnection: close\r\n\r\nab");
    slow.write_all(head.as_bytes()).await?;
    let admin = Http::new(&asking.bare.admin_url(), Duration::from_secs(5));
    let mut counted = false;
    for _ in 0..200 {
        let status = admin.get("/api/v1/status").await?.json()?;
        counted = status["gateways"][0]["inflight_writes"] == 1;
        if counted {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    ensure!(counted, "the gateway never counts the write");
    until_accepted(&operator, "cutover").await?;
    operator.until("users", "the drain", Duration::from_secs(5), |status| status["stage"] == "drain").await?;
    let explained = asking.explained("POST", "/users/2").await?;
    ensure!(explained["admission"] == "hold", "{explained:#}");
    let http = asking.bare.http();
    let held = tokio::spawn(async move { http.send(Method::POST, "/users/2", &[], Bytes::new()).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    ensure!(!held.is_finished(), "it was not held");
    slow.write_all(b"cd").await?;
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let answer = held.await?.context("the held write")?;
    ensure!(answer.header("x-origin") == Some("users-service"), "{:?} answered", answer.headers);

    // Back again, before the cutover has quite ended: where reads may go to either side, and the service is gone.
    operator.type_in(&["revert", "users", "--wait", "20s"]).await?;
    operator.type_in(&["advance", "users"]).await?;
    operator.until_phase("users", "ramping", Duration::from_secs(10)).await?;
    // The gateway follows a moment later.
    let mut asked = 0;
    while asking.http.get("/users/7").await?.header("x-origin") != Some("users-service") {
        asked += 1;
        ensure!(asked < 500, "it is there, and not asked");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    asking.until_down(&[]).await?;
    drop(service);
    asking.until_down(&["users"]).await?;
    let explained = asking.explained("GET", "/users/7").await?;
    ensure!((&explained["because"], &explained["side"]) == (&json!("modern_down"), &json!("legacy")), "{explained:#}");
    ensure!(asking.http.get("/users/7").await?.header("x-origin") == Some("monolith"), "it is gone, and answers");
    let page = operator.type_in(&["status"]).await?;
    ensure!(page.contains("the modern side of users does not answer it"), "{page}");
    directory.passed();
    Ok(())
}

/// The agent is gone, and the copy that a pin leads to grows old. While legacy owns, such a pin ends with the readers taken back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_agrees_about_a_copy_that_nobody_keeps() -> Result<()> {
    let directory = Directory::new();
    let mut world = World::start(directory.path(), Plan { apart: true, ..Plan::default() }).await?;
    let operator = world.operator()?;
    operator.type_in(&["advance", "users"]).await?;
    operator.until_phase("users", "shadowing", Duration::from_secs(60)).await?;
    operator.type_in(&["cutover", "users", "--wait", "30s"]).await?;
    operator.until_phase("users", "soaking", Duration::from_secs(60)).await?;
    operator.type_in(&["pin", "users", "legacy"]).await?;
    let mut caller = Caller::log_in(world.http(), "student5", PASSWORD).await?;
    let (me, user) = (format!("/api/v1/users/{}/", caller.id), caller.id.to_string());
    let words = ["explain", "GET", &me, "--user", &user, "--json"];
    let explained = async || anyhow::Ok(serde_json::from_str::<Value>(&operator.type_in(&words).await?)?);
    let now = explained().await?;
    ensure!(now["because"] == "override" && now["side"] == "legacy", "{now:#}");
    world.agent.as_mut().context("apart")?.kill()?;
    let begun = Instant::now();
    let behind = loop {
        let now = explained().await?;
        if now["side"] == "modern" {
            break now;
        }
        ensure!(begun.elapsed() < Duration::from_secs(60), "a copy of a minute ago is read from: {now:#}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    ensure!(behind["because"] == "copy_behind", "{behind:#}");
    let answer = caller.get(&me).await?;
    ensure!(answer.header("x-ficus-side") == Some("modern"), "copy_behind was explained: {:?}", answer.headers);
    drop(world);
    directory.passed();
    Ok(())
}
