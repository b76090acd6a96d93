//! Behind somebody who ends TLS: Django knows that its caller speaks https when a trusted proxy says so, and only then.
//! Whole addresses and the CSRF check depend on it, on both sides.

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
async fn a_caller_by_https_is_led_and_checked_as_one() -> Result<()> {
    let directory = Directory::new();
    let mut world = World::start(directory.path(), Plan::default()).await?;
    let host = world.http().base().trim_start_matches("http://").to_owned();
    let (whole, plain) = (format!("https://{host}"), format!("http://{host}"));
    let by_tls = |world: &World| world.http().saying("x-forwarded-proto", "https").saying("origin", &whole);

    // Nobody is trusted: it is a stranger who says so.
    leads_to(&by_tls(&world), &format!("{plain}/")).await?;
    let refused = Caller::log_in(by_tls(&world), "staff1", PASSWORD).await;
    ensure!(refused.is_err_and(|error| error.to_string().contains("403")), "an origin by https at a gateway without TLS");

    let file = world.directory.join("ficus.toml");
    let trusting = std::fs::read_to_string(&file)?.replace("[gateway]\n", "[gateway]\ntrusted_proxies = [\"127.0.0.1\"]\n");
    std::fs::write(&file, trusting)?;
    world.ficus.kill()?;
    world.restart_ficus(&[]).await?;
    leads_to(&by_tls(&world), &format!("{whole}/")).await?;
    leads_to(&world.http(), &format!("{plain}/")).await?;

    let mut staff = Caller::log_in(by_tls(&world), "staff1", PASSWORD).await?;
    let me = format!("/api/v1/users/{}/", staff.id);
    for side in ["legacy", "modern"] {
        for (origin, status) in [(&whole, StatusCode::OK), (&plain, StatusCode::FORBIDDEN)] {
            let token = staff.cookie("csrftoken").context("a token")?.to_owned();
            let headers = [("content-type", "application/json"), ("x-csrftoken", token.as_str()), ("origin", origin.as_str())];
            let answer = staff.send(Method::PATCH, &me, &headers, json!({ "address": side }).to_string().into()).await?;
            ensure!(answer.status == status, "{side}, from {origin}: {} {}", answer.status, answer.text());
            ensure!(answer.status != StatusCode::OK || answer.header("x-ficus-side") == Some(side), "{:?}", answer.headers);
        }
        if side == "legacy" {
            let operator = world.operator()?;
            operator.type_in(&["advance", "users"]).await?;
            operator.until_phase("users", "shadowing", PATIENCE).await?;
            operator.type_in(&["cutover", "users", "--wait", "30s"]).await?;
        }
    }
    drop(world);
    directory.passed();
    Ok(())
}

/// The monolith's redirect to a whole address.
async fn leads_to(http: &Http, wanted: &str) -> Result<()> {
    let answer = http.get("/start/").await?;
    ensure!(answer.status == StatusCode::FOUND, "{} {}", answer.status, answer.text());
    ensure!(answer.header("location") == Some(wanted), "{:?}, wanted {wanted}", answer.header("location"));
    Ok(())
}
