//! The demo: a capability of a real Django application goes to a new service and back under load, and a ledger proves
//! that nothing was lost.

mod report;
mod screen;
mod walk;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use serde_json::Value;

use crate::audit;
use crate::ledger::Ledger;
use crate::load::{Load, Shape};
use crate::process::Process;
use crate::school;
use crate::world::{Plan, World};
use report::Report;
use screen::Screen;

/// Users that the school is seeded with; `FICUS_DEMO_USERS` changes it.
const USERS: u32 = 2_000;

/// A demo that has reached its end, and still runs.
pub struct Demo {
    /// Every promise was kept.
    pub kept: bool,
    world: World,
    /// Held for as long as the directory is in use.
    _lock: File,
}

/// Runs it in `directory`, which it empties first. Dropping the future, or the demo, ends every process.
///
/// # Errors
/// Something could not be set up, or a step did not come about.
pub async fn run(directory: &Path) -> Result<Demo> {
    let users = std::env::var("FICUS_DEMO_USERS").ok().and_then(|users| users.parse().ok()).unwrap_or(USERS);
    let lock = empty(directory)?;
    println!("A school's Django monolith with {users} users, a new users service, and ficus between them. One moment…");
    let world = World::start(directory, Plan { users, ..Plan::default() }).await?;
    let load = Load::start(&world.http(), Shape::default()).await?;
    let direct = DirectWriter::start(&world)?;
    let screen = Screen::start(world.operator()?, load.ledger.clone(), world.ficus.id());
    let walked = walk::walk(&world, &load.ledger, &screen).await;
    let memory = screen.stop().await;
    let direct = direct.stop();
    let ledger = load.stop().await;
    let switches = match walked {
        Ok(switches) => switches,
        Err(error) => {
            print_failures(&ledger);
            bail!("{error:#}\nlogs are in {}", world.directory.join("logs").display());
        }
    };
    let report = conclude(&world, &ledger, direct?, switches, memory).await?;
    print!("{report}");
    if !report.kept() {
        print_failures(&ledger);
        println!("logs are in {}", world.directory.join("logs").display());
    }
    Ok(Demo { kept: report.kept(), world, _lock: lock })
}

/// Walks the capability as the demo does, and says what happens.
///
/// # Errors
/// A step did not come about.
pub async fn walk(world: &World, ledger: &Ledger) -> Result<()> {
    let screen = Screen::start(world.operator()?, ledger.clone(), world.ficus.id());
    let walked = walk::walk(world, ledger, &screen).await;
    screen.stop().await;
    walked.map(drop)
}

async fn conclude(world: &World, ledger: &Ledger, direct: Direct, switches: Vec<walk::Switch>, memory: u64) -> Result<Report> {
    let operator = world.operator()?;
    let quiet = |status: &Value| status["agent"]["reverse"]["lag_entries"] == 0 && status["agent"]["forward"]["lag_entries"] == 0;
    operator.until("users", "the streams to be empty", Duration::from_secs(20), quiet).await?;
    let verified = operator.try_type(&["verify", "users", "--wait", "60s"]).await?;
    let findings = audit::audit(&world.school_database().url(), world.service_database(), &ledger.entries(), &direct.written).await?;
    let status = operator.status("users").await?;
    Ok(Report::new(ledger, findings, &direct, switches, memory, verified, &status))
}

fn print_failures(ledger: &Ledger) {
    for sample in ledger.samples() {
        println!("  {sample}");
    }
    for stale in ledger.stale_reads().iter().take(10) {
        println!("  stale: {stale}");
    }
}

/// Empties the directory of an earlier run and locks it; refuses one that is not a demo's, or in which one still runs.
fn empty(directory: &Path) -> Result<File> {
    let another = "name another with FICUS_DEMO_DIR";
    let lock = directory.join("lock");
    if let Ok(earlier) = File::open(&lock) {
        ensure!(earlier.try_lock().is_ok(), "a demo still runs in {}: end it, or {another}", directory.display());
    }
    if directory.exists() {
        let ours = ["ficus.toml", "logs", "lock"].iter().any(|name| directory.join(name).exists());
        let ours = ours || directory.read_dir()?.next().is_none();
        ensure!(ours, "{} is not empty and no demo made it: {another}", directory.display());
        std::fs::remove_dir_all(directory)?;
    }
    std::fs::create_dir_all(directory)?;
    let file = File::create(&lock)?;
    ensure!(file.try_lock().is_ok(), "a demo begins in {} at the same time: {another}", directory.display());
    Ok(file)
}

impl Demo {
    /// Says where everything is, and stays for as long as all of it runs.
    ///
    /// # Errors
    /// A process ended.
    pub async fn stay(&mut self) -> Result<()> {
        let world = &mut self.world;
        let config = world.directory.join("ficus.toml");
        println!("\nStill running, until Ctrl-C:");
        println!("  the school       {}/", world.gateway_url());
        println!("  log-ins          admin1, staff1, student1; password {}", crate::caller::PASSWORD);
        println!("  Django's admin   {}/admin/   (admin1)", world.gateway_url());
        println!("  admin API        {}/api/v1/status", world.admin_url());
        println!("  metrics          {}/metrics", world.admin_url());
        println!("  rules, to edit   {}", world.directory.join("rules/users.toml").display());
        println!("  logs             {}", world.directory.join("logs").display());
        println!("  command line     {} --config {} status --watch", school::binary("ficus")?.display(), config.display());
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            for process in [&mut world.ficus, &mut world.service, &mut world.monolith] {
                if let Some(status) = process.ended() {
                    bail!("{} ended with {status}", process.name());
                }
            }
        }
    }
}

/// Django's management command, writing notes past the gateway for the whole time.
struct DirectWriter {
    process: Process,
    log: PathBuf,
    started: Instant,
}

/// What it wrote, and what the fence refused.
pub(crate) struct Direct {
    pub(crate) written: Vec<String>,
    pub(crate) refused: usize,
}

impl DirectWriter {
    fn start(world: &World) -> Result<DirectWriter> {
        let log = world.directory.join("logs/direct-writer.log");
        let mut command: Command = school::manage(world.school_database())?;
        command.args(["write_notes", "--count", "6000", "--prefix", "direct", "--interval-ms", "100"]);
        Ok(DirectWriter { process: Process::start("direct writer", &mut command, &log)?, log, started: Instant::now() })
    }

    fn stop(mut self) -> Result<Direct> {
        let early = self.process.ended();
        self.process.end(Duration::from_secs(5))?;
        let log = std::fs::read_to_string(&self.log)?;
        // One that died at its first refusal has told nothing of the rest of the way.
        ensure!(early.is_none(), "the direct writer ended by itself after {:?}:\n{log}", self.started.elapsed());
        let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let written: Vec<String> = lines.iter().filter_map(|line| Some(line["text"].as_str()?.to_owned())).collect();
        let refused = lines.iter().filter(|line| line["refused"].is_string()).count();
        if written.is_empty() {
            bail!("the direct writer wrote nothing in {:?}:\n{log}", self.started.elapsed());
        }
        Ok(Direct { written, refused })
    }
}
