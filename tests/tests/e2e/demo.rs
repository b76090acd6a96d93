//! `make demo` as a newcomer meets it: what it leaves running can be used, and whenever it ends it leaves no process behind.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use ficus_tests::caller::Caller;
use ficus_tests::http::Http;
use ficus_tests::process::Process;
use ficus_tests::school;
use hyper::{Method, StatusCode};
use rustix::process::Signal;
use serde_json::json;

use super::Directory;

/// A walk lasts forty seconds on a quiet machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// A demo of a small school, without a terminal.
struct Demo {
    process: Process,
    world: PathBuf,
}

impl Demo {
    fn start(directory: &Path, keep: bool) -> Result<Demo> {
        let world = directory.join("demo");
        let mut command = Command::new(school::binary("demo")?);
        command.env("FICUS_DEMO_DIR", &world).env("FICUS_DEMO_USERS", "300").env("KEEP", if keep { "1" } else { "" });
        // In files of their own, so that a test can tell what this run printed.
        let log = directory.join(format!("demo-{}.log", std::fs::read_dir(directory)?.count()));
        Ok(Demo { process: Process::start("demo", &mut command, &log)?, world })
    }

    /// By `make`, on a terminal where somebody types Ctrl-C once a text was printed.
    fn on_a_terminal(directory: &Path, interrupt_at: &str) -> Result<Demo> {
        let world = directory.join("demo");
        let makefile = directory.join("Makefile");
        std::fs::write(&makefile, format!("demo:\n\t@{}\n", school::binary("demo")?.display()))?;
        let terminal = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/demo/terminal.py");
        let mut command = Command::new(school::python()?);
        command.arg(terminal).args([interrupt_at, "make", "-f"]).arg(&makefile).arg("demo").env("TERM", "xterm");
        command.env("FICUS_DEMO_DIR", &world).env("FICUS_DEMO_USERS", "300").env_remove("KEEP").env_remove("MAKEFLAGS");
        Ok(Demo { process: Process::start("demo on a terminal", &mut command, &directory.join("terminal.log"))?, world })
    }

    async fn until_said(&mut self, text: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !self.process.log().contains(text) {
            ensure!(self.process.ended().is_none() && Instant::now() < deadline, "the demo never says {text:?}: {}", self.process.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Signals it; it must end soon, and everything with it.
    async fn end(mut self, signal: Signal) -> Result<(ExitStatus, String)> {
        self.process.signal(signal);
        let world = self.world;
        let (status, log) = tokio::task::spawn_blocking(move || {
            let status = self.process.wait(Duration::from_secs(20));
            status.map(|status| (status, self.process.log()))
        })
        .await??;
        until_nobody_lives_in(&world).await?;
        Ok((status, log))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_demo_leaves_no_process_behind() -> Result<()> {
    let directory = Directory::new();
    // The second run finds what the first one left.
    for (signal, moment) in [(Signal::INT, "$ ficus advance"), (Signal::TERM, "$ ficus cutover"), (Signal::HUP, "One moment")] {
        let mut demo = Demo::start(directory.path(), false)?;
        demo.until_said(moment).await?;
        if moment != "One moment" {
            let living = living_in(&demo.world);
            ensure!(living.len() >= 4, "monolith, service, ficus and the direct writer run: {living:?}");
        }
        let (status, log) = demo.end(signal).await?;
        ensure!(!status.success(), "an interrupted demo is no success");
        ensure!(log.contains("interrupted") && !log.contains("ended early"), "{log}");
    }
    directory.passed();
    Ok(())
}

/// The terminal sends its interrupt to `make` and the demo alike.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_on_a_terminal_ends_make_demo_and_all_that_it_started() -> Result<()> {
    let directory = Directory::new();
    let demo = Demo::on_a_terminal(directory.path(), "$ ficus advance")?;
    let Demo { mut process, world } = demo;
    let log = tokio::task::spawn_blocking(move || process.wait(PATIENCE).map(|_| process.log())).await??;
    until_nobody_lives_in(&world).await?;
    ensure!(log.contains("interrupted: ending everything") && !log.contains("ended early"), "{log:?}");
    let ended = log.lines().find_map(|line| line.strip_prefix("ended with ")).context("no end")?;
    ensure!(ended != "0", "an interrupted demo is no success: {log:?}");
    // The live lines were drawn, and drawn over.
    for code in ["  ledger    ", "\u{1b}[7A", "\u{1b}[J"] {
        ensure!(log.matches(code).count() >= 4, "{code:?} is not there again and again: {log:?}");
    }
    directory.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_demo_can_be_used_until_it_is_ended() -> Result<()> {
    let directory = Directory::new();
    let mut demo = Demo::start(directory.path(), true)?;
    demo.until_said("command line").await?;
    let log = demo.process.log();
    ensure!(!log.contains('\u{1b}'), "control codes where there is no terminal: {log}");
    // How long a pause is on a machine that does other things too is not what this test is about.
    let broken: Vec<&str> = log.lines().filter(|line| line.contains("BROKEN") && !line.contains("meanwhile and took")).collect();
    ensure!(broken.is_empty(), "{log}");

    let printed = |name: &str| {
        let line = log.lines().find_map(|line| line.trim_start().strip_prefix(name)).with_context(|| format!("no {name} in {log}"))?;
        anyhow::Ok(line.trim().to_owned())
    };
    let school = Http::new(printed("the school")?.trim_end_matches('/'), Duration::from_secs(10));
    let log_ins = printed("log-ins")?;
    let (names, password) = log_ins.split_once("; password ").with_context(|| format!("no password in {log_ins}"))?;
    for name in names.split(", ") {
        let mut caller = Caller::log_in(school.clone(), name, password).await.with_context(|| format!("the log-in of {name}"))?;
        let notes = format!("/api/v1/users/{}/notes/", caller.id);
        let written = caller.send_json(Method::POST, &notes, &json!({ "text": "by hand" })).await?;
        ensure!(written.status == StatusCode::CREATED, "{name} writes: {} {}", written.status, written.text());
        ensure!(written.header("x-ficus-side") == Some("modern"), "the demo ends on the service: {:?}", written.headers);
        let forged = caller.send(Method::POST, &notes, &[("content-type", "application/json")], "{}".into()).await?;
        ensure!(forged.status == StatusCode::FORBIDDEN, "a write without a CSRF token: {}", forged.status);
        let admin = caller.get("/admin/").await?;
        ensure!((admin.status == StatusCode::OK) == (name == "admin1"), "{name} at Django's admin: {}", admin.status);
    }
    for (name, shows) in [("admin API", "\"soaking\""), ("metrics", "ficus_phase")] {
        let url = printed(name)?;
        let answer = Http::new(&url, Duration::from_secs(10)).get("").await?;
        ensure!(answer.status == StatusCode::OK && answer.text().contains(shows), "{url}: {} {}", answer.status, answer.text());
    }
    let line = printed("command line")?.replace(" --watch", "");
    let typed = Command::new("sh").args(["-c", &line]).current_dir("/").output()?;
    ensure!(typed.status.success() && String::from_utf8_lossy(&typed.stdout).contains("users: soaking"), "`{line}`: {typed:?}");
    ensure!(Path::new(&printed("rules, to edit")?).is_file() && Path::new(&printed("logs  ")?).is_dir(), "{log}");

    let mut second = Demo::start(directory.path(), false)?;
    let refused = second.process.wait(Duration::from_secs(10))?;
    ensure!(!refused.success() && second.process.log().contains("a demo still runs in"), "{refused} {}", second.process.log());
    ensure!(school.get("/health/").await?.status == StatusCode::OK, "the second one harmed the first");

    let (status, log) = demo.end(Signal::INT).await?;
    let kept = log.contains("Every promise was kept.");
    ensure!(status.success() == kept && log.contains("ending everything"), "ended when it was told to, with {status}: {log}");
    directory.passed();
    Ok(())
}

/// Who was killed needs a moment to be gone.
async fn until_nobody_lives_in(directory: &Path) -> Result<()> {
    let begun = Instant::now();
    loop {
        let left = living_in(directory);
        if left.is_empty() {
            return Ok(());
        }
        ensure!(begun.elapsed() < Duration::from_secs(3), "left behind: {left:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
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
