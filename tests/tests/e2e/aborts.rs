//! `ficus abort` at every stage that can be held still: a cutover or revert is taken back under load, by an operator, while
//! the gateway sleeps, while a write drains, while the other database is busy, while the agent sleeps or is dead. Nobody
//! notices, the phase is what it was, and the owner's database takes writes again, also those that do not pass the gateway.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use ficus_tests::caller::{Caller, PASSWORD};
use ficus_tests::load::{Load, Shape};
use ficus_tests::process::Process;
use ficus_tests::school;
use ficus_tests::slow::SlowWrite;
use ficus_tests::world::{Plan, World};
use hyper::{Method, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};
use sqlx::{AnyConnection, Connection as _};

use super::Directory;
use super::kills::{
    PATIENCE, agent_crashed, crash_at, crashed, rearm, settle_with, until_both_stream, until_ended, walk_in, wish_until_accepted,
};

/// Where the agent dies, and the stage that waits for it then.
const WITHOUT_AN_AGENT: &[(&str, &str)] =
    &[("fence", "fence_database"), ("mark_end", "catch_up"), ("verify_changed", "verify"), ("sequences", "sequences")];

/// Whom a switch waits for in vain.
#[derive(Debug, Clone, Copy)]
enum Sleeper {
    Gateway,
    Agent,
}

/// A school whose writes are about to move, and somebody who looks whether it is as it was afterwards.
struct School {
    directory: Directory,
    world: World,
    load: Load,
    staff: Caller,
    /// Notes that `manage.py` was told are written.
    direct: Vec<String>,
    turn: u32,
}

impl School {
    async fn open(plan: Plan) -> Result<School> {
        let directory = Directory::new();
        let world = World::start(directory.path(), plan).await?;
        let staff = Caller::log_in(world.http(), "staff7", PASSWORD).await?;
        let load = Load::start(&world.http(), Shape { people: 6, admins: 1, pause: Duration::from_millis(40) }).await?;
        world.operator()?.type_in(&["advance", "users"]).await?;
        walk_in(&world).await?;
        Ok(School { directory, world, load, staff, direct: Vec::new(), turn: 0 })
    }

    /// Begins a switch and waits for the stage that it cannot leave.
    async fn begin(&self, wish: &str, stage: &str) -> Result<()> {
        // On a crowded machine a service may be too slow to count as well: then the switch ends by itself.
        let ended = |status: &Value| status["stage"].is_null() && status["holds"].to_string().contains("does not answer");
        for _ in 0..3 {
            wish_until_accepted(&self.world, wish).await?;
            let wanted = |status: &Value| status["stage"] == stage || ended(status);
            let status = self.world.operator()?.until("users", stage, PATIENCE, wanted).await?;
            if status["stage"] == stage {
                return Ok(());
            }
        }
        bail!("three switches ended before {stage}")
    }

    /// Begins a switch that waits for a process that sleeps. Where the sleeper was noticed before the wish was taken, everybody
    /// is woken up and it begins anew.
    async fn begin_without(&self, sleeper: Sleeper, wish: &str, stage: &str) -> Result<()> {
        let operator = self.world.operator()?;
        let mut refused = None;
        for _ in 0..20 {
            until_both_stream(&self.world).await?;
            if self.falls_asleep(sleeper).await? {
                match operator.until_accepted(wish, "users", Duration::from_secs(1)).await {
                    Ok(()) => {
                        let wanted = |status: &Value| status["stage"] == stage || status["stage"].is_null();
                        if operator.until("users", stage, PATIENCE, wanted).await?["stage"] == stage {
                            return Ok(());
                        }
                    }
                    Err(error) => refused = Some(error),
                }
            }
            self.process(sleeper)?.signal(Signal::CONT);
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        bail!("{wish} never waited in {stage} for the {sleeper:?} that sleeps: {refused:?}")
    }

    fn process(&self, sleeper: Sleeper) -> Result<&Process> {
        match sleeper {
            Sleeper::Gateway => self.world.gateway.as_ref(),
            Sleeper::Agent => self.world.agent.as_ref(),
        }
        .context("apart")
    }

    /// Stops a process where it holds no database's write lock (people's writes would wait for it, and the drain for them);
    /// whether that came about.
    async fn falls_asleep(&self, sleeper: Sleeper) -> Result<bool> {
        self.process(sleeper)?.signal(Signal::STOP);
        let free = async {
            for database in [self.world.school_database().url(), self.world.service_database().to_owned()] {
                Busy::begin(&database).await?.end().await?;
            }
            Ok::<_, anyhow::Error>(())
        };
        match tokio::time::timeout(Duration::from_secs(1), free).await {
            Ok(free) => free.map(|()| true),
            Err(_) => Ok(false),
        }
    }

    /// Types `ficus abort`; what the status says right after it.
    async fn abort(&self) -> Result<Value> {
        let operator = self.world.operator()?;
        operator.type_in(&["abort", "users"]).await?;
        operator.status("users").await
    }

    /// The switch has ended where it began, and says why.
    async fn until_back(&mut self, wish: &str, stage: &str, phases: &[&str]) -> Result<()> {
        let status = until_ended(&self.world, "nowhere").await?;
        let reason = format!("{wish}: aborted by an operator");
        let phase = status["phase"].as_str().unwrap_or_default();
        ensure!(phases.contains(&phase), "an abort in {stage} ended in {status:#}");
        ensure!(status["holds"].to_string().contains(&reason), "an abort in {stage} left {}", status["holds"]);
        self.takes_writes(status["owner"].as_str().context("an owner")?).await.with_context(|| format!("after an abort in {stage}"))
    }

    /// The owner takes a write through the gateway; legacy's database takes one past it if, and only if, legacy owns.
    async fn takes_writes(&mut self, owner: &str) -> Result<()> {
        self.takes_a_write(owner).await?;
        match (owner, write_directly(&self.world, &format!("abort-{}", self.turn)).await?) {
            ("legacy", Ok(text)) => self.direct.push(text),
            ("modern", Err(_)) => {}
            (_, answer) => bail!("{owner} owns, and a write straight into legacy's database: {answer:?}"),
        }
        Ok(())
    }

    /// The owner takes a write through the gateway.
    async fn takes_a_write(&mut self, owner: &str) -> Result<()> {
        self.turn += 1;
        let me = format!("/api/v1/users/{}/", self.staff.id);
        let written = self.staff.send_json(Method::PATCH, &me, &json!({ "address": format!("Abort Lane {}", self.turn) })).await?;
        ensure!(written.status == StatusCode::OK, "a write through the gateway: {} {}", written.status, written.text());
        ensure!(written.header("x-ficus-side") == Some(owner), "{:?} answered, {owner} owns", written.header("x-ficus-side"));
        Ok(())
    }

    /// Nobody noticed; everything is there once, on both sides, also what was written past the gateway.
    async fn close(self, what: &str) -> Result<()> {
        let ledger = self.load.stop().await;
        ensure!(ledger.failures().is_empty(), "somebody noticed: {:?} {:?}", ledger.failures(), ledger.samples());
        settle_with(&self.world, ledger, &self.direct, what).await?;
        drop(self.world);
        self.directory.passed();
        Ok(())
    }
}

/// One note by `manage.py`, past the gateway: its text, or what refused it.
async fn write_directly(world: &World, prefix: &str) -> Result<std::result::Result<String, String>> {
    let mut command = school::manage(world.school_database())?;
    command.args(["write_notes", "--count", "1", "--prefix", prefix]);
    let output = tokio::process::Command::from(command).kill_on_drop(true).output().await?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let line: Value = serde_json::from_str(said.trim()).with_context(|| format!("manage.py says {said:?} {output:?}"))?;
    match (line["text"].as_str(), line["refused"].as_str()) {
        (Some(text), None) => Ok(Ok(text.to_owned())),
        (_, Some(why)) => Ok(Err(why.to_owned())),
        _ => bail!("manage.py says {line}"),
    }
}

/// Somebody else's transaction in a database: the agent reads there, but cannot apply.
struct Busy(AnyConnection);

impl Busy {
    async fn begin(database: &str) -> Result<Busy> {
        sqlx::any::install_default_drivers();
        let mut connection = AnyConnection::connect(database).await?;
        for tried in 0.. {
            match sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await {
                Ok(_) => break,
                Err(error) if tried == 20 => return Err(error.into()),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
        Ok(Busy(connection))
    }

    async fn end(mut self) -> Result<()> {
        sqlx::query("ROLLBACK").execute(&mut self.0).await?;
        Ok(self.0.close().await?)
    }
}

const BEFORE_A_CUTOVER: &[&str] = &["streaming", "shadowing", "ramping"];

/// A write drains; then the service's database is busy, so that the end of legacy's log cannot be applied.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_while_draining_and_while_catching_up() -> Result<()> {
    let mut school = School::open(Plan::default()).await?;
    let mut writer = Caller::log_in(school.world.http(), "student40", PASSWORD).await?;
    let slow = SlowWrite::begin(&school.world, &mut writer).await?;
    school.begin("cutover", "drain").await?;
    school.abort().await?;
    school.until_back("cutover", "drain", BEFORE_A_CUTOVER).await?;
    slow.finish().await.context("the write that was under way")?;

    until_both_stream(&school.world).await?;
    let busy = Busy::begin(school.world.service_database()).await?;
    school.takes_a_write("legacy").await?;
    school.begin("cutover", "catch_up").await?;
    let refused = write_directly(&school.world, "while-fenced").await?;
    ensure!(refused.is_err(), "the fence was not up: {refused:?}");
    school.abort().await?;
    school.until_back("cutover", "catch_up", BEFORE_A_CUTOVER).await?;
    busy.end().await?;
    let idle = school.world.operator()?.try_type(&["abort", "users"]).await?;
    ensure!(idle.code == 3 && idle.err.contains("no cutover, revert or repair is under way"), "{idle:?}");

    until_both_stream(&school.world).await?;
    wish_until_accepted(&school.world, "cutover").await?;
    school.world.operator()?.until_phase("users", "soaking", PATIENCE).await?;
    let slow = SlowWrite::begin(&school.world, &mut writer).await?;
    school.begin("revert", "drain").await?;
    school.abort().await?;
    school.until_back("revert", "drain", &["soaking"]).await?;
    slow.finish().await.context("the write that was under way to the service")?;
    school.close("aborts while draining and catching up").await
}

/// `kill -9` of everything while the fence is being lifted, in either direction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_an_abort() -> Result<()> {
    let mut school = School::open(Plan::default()).await?;
    let legacy = school.world.school_database().url();
    let modern = school.world.service_database().to_owned();
    for (wish, owner, other, phases) in [("cutover", "legacy", &modern, BEFORE_A_CUTOVER), ("revert", "modern", &legacy, &["soaking"])] {
        rearm(&mut school.world, "orchestrator:lift").await?;
        until_both_stream(&school.world).await?;
        school.world.operator()?.type_in(&["verify", "users", "--wait", "60s"]).await?;
        let busy = Busy::begin(other).await?;
        school.takes_a_write(owner).await?;
        school.begin(wish, "catch_up").await?;
        school.world.operator()?.try_type(&["abort", "users"]).await?;
        crashed(&mut school.world, "orchestrator:lift").await?;
        busy.end().await?;
        school.world.restart_ficus(&[]).await?;
        school.until_back(wish, "lift", phases).await?;
        if wish == "cutover" {
            until_both_stream(&school.world).await?;
            wish_until_accepted(&school.world, wish).await?;
            school.world.operator()?.until_phase("users", "soaking", PATIENCE).await?;
        }
    }
    let School { directory, world, load, direct, .. } = school;
    settle_with(&world, load.stop().await, &direct, "orchestrator:lift").await?;
    drop(world);
    directory.passed();
    Ok(())
}

/// The agent sleeps or is dead in every stage that waits for it: what it comes back to is the abort, whatever it was told
/// before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_without_an_agent() -> Result<()> {
    let mut school = School::open(Plan { apart: true, ..Plan::default() }).await?;
    for (wish, phases) in [("cutover", BEFORE_A_CUTOVER), ("revert", &["soaking"])] {
        // Nobody acknowledges the fence; for less than the gateway's validity, so that nobody notices.
        for (sleeper, stage) in [(Sleeper::Gateway, "fence"), (Sleeper::Agent, "fence_database")] {
            school.begin_without(sleeper, wish, stage).await?;
            school.abort().await?;
            school.process(sleeper)?.signal(Signal::CONT);
            school.until_back(wish, &format!("{stage}, the {sleeper:?} asleep"), phases).await?;
        }

        for (point, stage) in WITHOUT_AN_AGENT {
            school.world.agent.as_mut().context("apart")?.kill()?;
            school.world.restart_agent(&crash_at(point))?;
            until_both_stream(&school.world).await?;
            school.begin(wish, stage).await.with_context(|| format!("{wish}, dead at {point}"))?;
            agent_crashed(&mut school.world, point).await?;
            let status = school.abort().await?;
            // Where the fence is known to hold, the gateways hold the writes until it is lifted.
            ensure!(*stage == "fence_database" || status["stage"] == "lift", "{wish}, dead at {point}: {status:#}");
            school.world.restart_agent(&[])?;
            school.until_back(wish, stage, phases).await?;
        }
        if wish == "cutover" {
            until_both_stream(&school.world).await?;
            wish_until_accepted(&school.world, wish).await?;
            let status = until_ended(&school.world, "soaking").await?;
            ensure!(status["phase"] == "soaking", "after all the aborts: {status:#}");
        }
    }
    school.close("aborts without an agent").await
}
