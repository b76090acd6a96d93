//! The process: it ends gracefully, reads its rules again when told or when they change, and starts with what it knew.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use ficus_tests::bare::Bare;
use ficus_tests::http::Http;
use ficus_tests::origin::Origin;
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
async fn rules_are_read_again_when_they_change() -> Result<()> {
    let directory = Directory::new();
    let (origin, a) = (Origin::start("origin").await?, Origin::start("a").await?);
    let bare = Bare::start(directory.path(), &[("origin", origin.port), ("a", a.port)], &[("mix.toml", &rules("one"))]).await?;
    until_explained(&bare, "/one/1").await?;
    let file = bare.directory.join("rules/mix.toml");
    std::fs::write(&file, rules("two"))?;
    until_explained(&bare, "/two/1").await?;
    std::fs::write(&file, rules("three"))?;
    until_explained(&bare, "/three/1").await?;
    directory.passed();
    Ok(())
}

/// The watch of the directory does not see a file that nobody touches: what is read again is read because of the signal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sighup_reads_files_again_that_did_not_change() -> Result<()> {
    const READ: &str = "the rules were read again";
    const REFUSED: &str = "ficus_rules_reload_failures_total";
    let directory = Directory::new();
    let (origin, a) = (Origin::start("origin").await?, Origin::start("a").await?);
    let bare = Bare::start(directory.path(), &[("origin", origin.port), ("a", a.port)], &[("mix.toml", &rules("one"))]).await?;
    until_explained(&bare, "/one/1").await?;
    ensure!(!bare.ficus.log().contains(READ), "it is logged without a signal:\n{}", bare.ficus.log());
    for time in 1..=2 {
        bare.ficus.signal(Signal::HUP);
        until(|| async { Ok(bare.ficus.log().matches(READ).count() == time) }).await.with_context(|| format!("signal {time}"))?;
    }
    // Bad files, long after the watch has seen them: refused once more at the signal.
    std::fs::write(bare.directory.join("rules/mix.toml"), "[capability")?;
    until(|| async { Ok(metric(&bare, REFUSED).await? > 0.0) }).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = metric(&bare, REFUSED).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    ensure!(metric(&bare, REFUSED).await? == before, "refused without a reason to read");
    bare.ficus.signal(Signal::HUP);
    until(|| async { Ok(metric(&bare, REFUSED).await? == before + 1.0) }).await?;
    until_explained(&bare, "/one/1").await?;
    directory.passed();
    Ok(())
}

async fn until<F: Future<Output = Result<bool>>>(wanted: impl Fn() -> F) -> Result<()> {
    let started = Instant::now();
    while !wanted().await? {
        ensure!(started.elapsed() < Duration::from_secs(10), "not within 10 s");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// The value of a metric without labels.
async fn metric(bare: &Bare, name: &str) -> Result<f64> {
    let text = Http::new(&bare.admin_url(), Duration::from_secs(5)).get("/metrics").await?.text();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    Ok(value.unwrap_or(0.0))
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
