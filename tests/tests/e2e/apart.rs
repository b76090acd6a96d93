//! The parts as processes of their own: a gateway goes on without an orchestrator, and fails closed on the writes of
//! what is being moved.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ficus_tests::caller::{Caller, PASSWORD};
use ficus_tests::http::Http;
use ficus_tests::world::{Plan, World};
use hyper::{Method, StatusCode};
use serde_json::json;

use super::Directory;

const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_without_an_orchestrator_serves_by_what_it_knew() -> Result<()> {
    let directory = Directory::new();
    let mut world = World::start(directory.path(), Plan { apart: true, ..Plan::default() }).await?;
    let operator = world.operator()?;
    operator.type_in(&["advance", "users"]).await?;
    operator.until_phase("users", "shadowing", PATIENCE).await?;
    operator.type_in(&["cutover", "users", "--wait", "30s"]).await?;
    let mut staff = Caller::log_in(world.http(), "staff1", PASSWORD).await?;
    let me = format!("/api/v1/users/{}/", staff.id);
    for (part, metric) in [(world.admin_url(), "ficus_phase{"), (world.agent_url(), "ficus_sync_lag_bytes{")] {
        let metrics = Http::new(&part, PATIENCE).get("/metrics").await?;
        ensure!(metrics.text().contains(metric), "no {metric} at {part}: {}", metrics.text());
    }

    world.ficus.kill()?;
    world.gateway.as_mut().context("apart")?.kill()?;
    world.restart_gateway().await?;
    let read = staff.get(&me).await?;
    ensure!(read.status == StatusCode::OK, "a read without an orchestrator: {} {}", read.status, read.text());
    ensure!(read.header("x-ficus-side") == Some("modern"), "the snapshot on disk says that modern owns: {:?}", read.headers);
    let write = staff.send_json(Method::PATCH, &me, &json!({ "address": "closed" })).await?;
    ensure!(write.status == StatusCode::SERVICE_UNAVAILABLE, "a write without an orchestrator: {} {}", write.status, write.text());
    ensure!(write.header("retry-after").is_some(), "when to come again: {:?}", write.headers);
    let other = staff.get("/api/v1/courses/").await?;
    ensure!(other.status == StatusCode::OK, "what is not being moved: {}", other.status);

    world.restart_orchestrator().await?;
    for _ in 0..100 {
        let write = staff.send_json(Method::PATCH, &me, &json!({ "address": "open" })).await?;
        if write.status == StatusCode::OK {
            drop(world);
            directory.passed();
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    anyhow::bail!("writes are still refused 10 s after the orchestrator came back")
}
