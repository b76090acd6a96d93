//! The process: it ends gracefully, reads its rules again when told or when they change, and starts with what it knew.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use ficus_tests::bare::Bare;
use ficus_tests::origin::Origin;
use ficus_tests::process::Process;
use ficus_tests::school;
use rustix::process::Signal;

use super::Directory;

const RULES: &str = r#"
[capability]
name = "mix"
legacy = "origin"
modern = "a"
[[route]]
path = "/PATH/{*rest}"
csrf = false
[[step]]
cutover = true
"#;

fn rules(path: &str) -> String {
    RULES.replace("PATH", path)
}

async fn until_explained(bare: &Bare, path: &str) -> Result<Duration> {
    let started = Instant::now();
    let operator = bare.operator()?;
    while started.elapsed() < Duration::from_secs(10) {
        let explained = operator.type_in(&["explain", "GET", path, "--json"]).await?;
        if explained.contains("\"capability\": \"mix\"") {
            return Ok(started.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    anyhow::bail!("{path} is not served by the new rules after 10 s; log:\n{}", bare.ficus.log())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_are_read_again_when_they_change_and_at_sighup() -> Result<()> {
    let directory = Directory::new();
    let (origin, a) = (Origin::start("origin").await?, Origin::start("a").await?);
    let bare = Bare::start(directory.path(), &[("origin", origin.port), ("a", a.port)], &[("mix.toml", &rules("one"))]).await?;
    until_explained(&bare, "/one/1").await?;
    let file = bare.directory.join("rules/mix.toml");
    std::fs::write(&file, rules("two"))?;
    until_explained(&bare, "/two/1").await?;
    std::fs::write(&file, rules("three"))?;
    bare.ficus.signal(Signal::HUP);
    until_explained(&bare, "/three/1").await?;
    directory.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_under_way_may_finish_when_the_process_ends() -> Result<()> {
    let directory = Directory::new();
    let origin = Origin::start("origin").await?;
    let mut bare = Bare::start(directory.path(), &[("origin", origin.port)], &[]).await?;
    let http = bare.http();
    let slow = tokio::spawn(async move { http.get("/events").await });
    while origin.requests.load(std::sync::atomic::Ordering::Relaxed) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    bare.ficus.signal(Signal::TERM);
    let answer = slow.await??;
    ensure!(answer.text().matches("data:").count() == 5, "cut off: {}", answer.text());
    let status = tokio::task::spawn_blocking(move || bare.ficus.wait(Duration::from_secs(15))).await??;
    ensure!(status.success(), "ended with {status}");
    directory.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_configuration_is_64_with_file_and_line() -> Result<()> {
    let directory = Directory::new();
    let origin = Origin::start("origin").await?;
    let bare = Bare::start(directory.path(), &[("origin", origin.port)], &[]).await?;
    let operator = bare.operator()?;
    let file = bare.directory.join("ficus.toml");
    let good = std::fs::read_to_string(&file)?;
    for (from, to) in [
        ("default = \"origin\"", "default = \"nowhere\""),
        ("[gateway]", "[gatewy]"),
        ("listen = [", "listen = "),
        ("address = \"", "adress = \""),
    ] {
        std::fs::write(&file, good.replacen(from, to, 1))?;
        let printed = operator.try_type(&["check"]).await?;
        ensure!(printed.code == 64, "{to}: exit {} {}", printed.code, printed.err);
        ensure!(printed.err.contains("ficus.toml:"), "{to}: no file and line in {}", printed.err);
    }
    directory.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_demo_leaves_no_process_behind() -> Result<()> {
    for signal in [Signal::INT, Signal::TERM] {
        let directory = Directory::new();
        let world = directory.path().join("demo");
        let mut command = Command::new(school::binary("demo")?);
        command.env("FICUS_DEMO_DIR", &world).env("FICUS_DEMO_USERS", "300");
        let mut demo = Process::start("demo", &mut command, &directory.path().join("demo.log"))?;
        let deadline = Instant::now() + Duration::from_secs(30);
        while !demo.log().contains("ficus advance") {
            ensure!(Instant::now() < deadline, "the demo does not start: {}", demo.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        ensure!(living_in(&world).len() >= 4, "monolith, service, ficus and the direct writer run: {:?}", living_in(&world));
        demo.signal(signal);
        let status = tokio::task::spawn_blocking(move || demo.wait(Duration::from_secs(20))).await??;
        ensure!(!status.success(), "an interrupted demo is no success");
        ensure!(living_in(&world).is_empty(), "left behind: {:?}", living_in(&world));
        directory.passed();
    }
    Ok(())
}

/// Processes whose environment or working directory names a directory.
fn living_in(directory: &Path) -> Vec<String> {
    let name = directory.as_os_str().as_encoded_bytes();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let path = entry.path();
        let environment = std::fs::read(path.join("environ")).unwrap_or_default();
        let inside = std::fs::read_link(path.join("cwd")).is_ok_and(|cwd| cwd.starts_with(directory));
        let command = std::fs::read_to_string(path.join("cmdline")).unwrap_or_default().replace('\0', " ");
        if !command.is_empty() && (inside || environment.windows(name.len()).any(|window| window == name)) {
            found.push(command);
        }
    }
    found
}
