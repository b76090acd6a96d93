//! The console in a real browser, on a real `ficus run`: the whole life of a capability by mouse, then by keyboard only; no
//! error in the browser's console; nothing serious found by axe; and what the browser is told about safety.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use ficus_tests::audit;
use ficus_tests::http::Http;
use ficus_tests::load::{Load, Shape};
use ficus_tests::process::Process;
use ficus_tests::school;
use ficus_tests::world::{Plan, World};
use hyper::StatusCode;

use super::Directory;

const TOKEN: &str = "the-token-of-the-console-test";
/// A file of the world: while it is there, the service is not.
const NO_SERVICE: &str = "no-service";
/// A walk with holds of seconds, each page looked at.
const PATIENCE: Duration = Duration::from_secs(900);

/// Whose rows are kept at the end of a walk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    Legacy,
    Modern,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_capability_lives_its_whole_life_by_mouse() -> Result<()> {
    walk("mouse", Kept::Modern).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_capability_lives_its_whole_life_by_keyboard_alone() -> Result<()> {
    walk("keyboard", Kept::Modern).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_shows_what_there_is_while_a_capability_shadows() -> Result<()> {
    walk("pages", Kept::Legacy).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_dialog_can_be_read_and_seen() -> Result<()> {
    walk("dialogs", Kept::Legacy).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_life_does_not_need_is_done_by_keyboard_alone() -> Result<()> {
    walk("keys", Kept::Legacy).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_will_do_and_every_address_leads_somewhere() -> Result<()> {
    walk("phone", Kept::Legacy).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_fails_is_seen_and_released_again() -> Result<()> {
    walk("failing", Kept::Legacy).await
}

/// What is said of a page whose browser has crashed.
const CRASHED: &str = "Target crashed";

/// A world with people in it, and a person before the console. A browser that crashes says nothing about the console: then once
/// more.
async fn walk(hand: &str, kept: Kept) -> Result<()> {
    match walk_once(hand, kept).await {
        Err(error) if error.to_string().contains(CRASHED) => walk_once(hand, kept).await,
        walked => walked,
    }
}

async fn walk_once(hand: &str, kept: Kept) -> Result<()> {
    let directory = Directory::new();
    let plan = Plan { token: Some(TOKEN.to_owned()), patient: true, ..Plan::default() };
    let mut world = World::start(directory.path(), plan).await?;
    // As many people, since a twentieth of them has to be somebody; they take their time, since a browser wants the processors as well.
    let load = Load::start(&world.http(), Shape { pause: Duration::from_millis(150), ..Shape::default() }).await?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/console/walk.py");
    let mut command = Command::new(school::python()?);
    command
        .arg(script)
        .arg(hand)
        .args([&world.admin_url(), &world.gateway_url(), TOKEN])
        .arg(&world.directory)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    let mut walking = Process::start("the browser", &mut command, &world.directory.join("logs/console.log"))?;
    let (begun, mut down) = (Instant::now(), false);
    let ended = loop {
        if let Some(status) = walking.ended() {
            break status;
        }
        ensure!(begun.elapsed() < PATIENCE, "the walk does not end:\n{}", walking.log());
        // The walk has no hand on the service: it says so in a file.
        let wanted = world.directory.join(NO_SERVICE).exists();
        match (wanted, down) {
            (true, false) => drop(world.service.kill()?),
            (false, true) => world.restart_service().await?,
            _ => {}
        }
        down = wanted;
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    ensure!(ended.success(), "the walk ends early:\n{}", walking.log());
    // THEN the people who used the school meanwhile noticed nothing
    let ledger = load.stop().await;
    ensure!(ledger.unexcused().is_empty(), "requests failed: {:?} {:?}", ledger.unexcused(), ledger.samples());
    ensure!(ledger.stale_reads().is_empty(), "somebody read less than they wrote: {:?}", ledger.stale_reads());
    ensure!(ledger.acknowledged() > 20, "only {} writes: hardly anybody was there", ledger.acknowledged());
    // The monolith's rows are no longer kept once it is retired; the service's are on their way while legacy owns.
    let side = if kept == Kept::Modern { "modern" } else { "legacy" };
    let findings = audit::audit(&world.school_database().url(), world.service_database(), &ledger.entries(), &[]).await?;
    let wrong: Vec<_> = [findings.lost, findings.doubled].concat().into_iter().filter(|found| found.starts_with(side)).collect();
    ensure!(wrong.is_empty(), "acknowledged and not there, or there twice: {wrong:?}");
    println!("{hand}: {} requests, {} acknowledged writes, 0 failed, 0 lost", ledger.requests(), ledger.acknowledged());
    drop(world);
    directory.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_console_needs_no_token_and_what_it_shows_does() -> Result<()> {
    let directory = Directory::new();
    let world = World::start(directory.path(), Plan { users: 30, token: Some(TOKEN.to_owned()), ..Plan::default() }).await?;
    let admin = Http::new(&world.admin_url(), Duration::from_secs(10));
    let page = admin.get("/").await?;
    ensure!(page.status == StatusCode::OK && page.text().contains("<title>Ficus</title>"), "{} {}", page.status, page.text());
    let policy = page.header("content-security-policy").unwrap_or_default();
    for rule in ["default-src 'none'", "script-src 'self';", "frame-ancestors 'none'", "form-action 'none'"] {
        ensure!(policy.contains(rule), "{rule} is not in {policy:?}");
    }
    ensure!(!policy.contains("unsafe"), "{policy}");
    for path in ["/", "/console/main.js", "/console/nothing.js", "/api/v1/status", "/health"] {
        let answer = admin.get(path).await?;
        ensure!(answer.header("x-content-type-options") == Some("nosniff"), "{path}: {:?}", answer.headers);
    }
    for path in [
        "status",
        "events",
        "capabilities/users",
        "capabilities/users/traffic",
        "capabilities/users/quarantine",
        "flags",
        "journal",
        "diffs",
        "published",
    ] {
        let answer = admin.get(&format!("/api/v1/{path}")).await?;
        ensure!(answer.status == StatusCode::UNAUTHORIZED, "{path} without the token: {}", answer.status);
        ensure!(answer.header("cache-control") == Some("no-store"), "{path}: {:?}", answer.headers);
    }
    ensure!(admin.get("/console/..%2fapi.rs").await?.status == StatusCode::NOT_FOUND, "a file that is none of the console's");
    drop(world);
    directory.passed();
    Ok(())
}
