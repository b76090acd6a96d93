//! Somebody's open transaction in the owner's database: a switch is refused before anybody's writes are held for it, the
//! operator is told whose it is, and may go on as soon as it has ended. Traffic alone never stops one.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use ficus_tests::load::{Load, Shape};
use ficus_tests::school;
use ficus_tests::world::{Plan, World};
use serde_json::Value;

use super::Directory;
use super::kills::{PATIENCE, settle_with, until_both_stream, walk_in, wish_until_accepted};

/// A process that took the write lock of a file, and lets go when it ends.
pub(super) struct Holder(Child);

impl Holder {
    pub(super) fn begin(database: &str) -> Result<Holder> {
        let path = database.strip_prefix("sqlite://").context("a file")?;
        let script = "import sqlite3, sys\n\
            db = sqlite3.connect(sys.argv[1], timeout=20, isolation_level=None)\n\
            db.execute('BEGIN IMMEDIATE')\n\
            print('held', flush=True)\n\
            sys.stdin.readline()\n\
            db.execute('ROLLBACK')";
        let mut command = Command::new(school::python()?);
        command.args(["-c", script, path]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = Holder(command.spawn()?);
        let mut line = String::new();
        BufReader::new(holder.0.stdout.take().context("piped")?).read_line(&mut line)?;
        ensure!(line == "held\n", "the holder says {line:?}");
        Ok(holder)
    }

    pub(super) fn end(mut self) -> Result<()> {
        drop(self.0.stdin.take());
        ensure!(self.0.wait()?.success(), "the holder fails");
        Ok(())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // It has ended already when all went well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// While somebody holds the lock of `database`, a wish is refused with who it is, and nothing is held; afterwards it is not.
async fn refused_and_then_granted(world: &World, wish: &str, database: &str, phase: &str) -> Result<()> {
    let operator = world.operator()?;
    until_both_stream(world).await?;
    let before = operator.status("users").await?;
    let journal = operator.type_in(&["journal", "users", "--limit", "500"]).await?;
    let holder = Holder::begin(database)?;
    let pid = format!("(pid {}, python", holder.0.id());
    let named = |status: &Value| status["agent"]["busy"].as_str().is_some_and(|busy| busy.contains(&pid));
    operator.until("users", "whose transaction it is", PATIENCE, named).await?;
    let printed = operator.type_in(&["status", "users"]).await?;
    ensure!(printed.contains(&pid) && printed.contains("has held the write lock"), "`ficus status` does not say it: {printed}");
    for _ in 0..10 {
        let refused = operator.try_type(&[wish, "users"]).await?;
        ensure!(refused.code == 3 && refused.err.contains(&pid) && refused.err.contains("wait for its end"), "{wish}: {refused:?}");
        let status = operator.status("users").await?;
        ensure!(status["phase"] == before["phase"] && status["switch"].is_null(), "{wish} began: {status:#}");
        ensure!(status["serving"]["fenced"] == false, "{wish} holds writes: {status:#}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let now = operator.type_in(&["journal", "users", "--limit", "500"]).await?;
    let more = now.strip_prefix(journal.as_str()).unwrap_or(&now);
    ensure!(!more.contains("stage") && !more.contains("aborted"), "{wish} left in the journal: {more}");
    holder.end()?;
    wish_until_accepted(world, wish).await?;
    let status = operator.until("users", phase, PATIENCE, |status| status["switch"].is_null()).await?;
    ensure!(status["phase"] == phase, "the {wish} after it: {status:#}");
    Ok(())
}

/// In either direction, under load that waits for the lock like everybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_switch_is_refused_while_an_old_transaction_is_open() -> Result<()> {
    let directory = Directory::new();
    let world = World::start(directory.path(), Plan::default()).await?;
    let load = Load::start(&world.http(), Shape { people: 6, admins: 1, pause: Duration::from_millis(40) }).await?;
    world.operator()?.type_in(&["advance", "users"]).await?;
    walk_in(&world).await?;
    refused_and_then_granted(&world, "cutover", &world.school_database().url(), "soaking").await?;
    refused_and_then_granted(&world, "revert", world.service_database(), "reverted").await?;
    let ledger = load.stop().await;
    ensure!(ledger.failures().is_empty(), "somebody noticed: {:?} {:?}", ledger.failures(), ledger.samples());
    settle_with(&world, ledger, &[], "behind an old transaction").await?;
    drop(world);
    directory.passed();
    Ok(())
}

/// Many short transactions, on a machine that has more to do than it can: none of them is taken for an old one.
/// `FICUS_SWITCHES` says how often there and back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traffic_alone_never_stops_a_switch() -> Result<()> {
    let directory = Directory::new();
    let world = World::start(directory.path(), Plan::default()).await?;
    let load = Load::start(&world.http(), Shape { people: 12, admins: 1, pause: Duration::from_millis(10) }).await?;
    let operator = world.operator()?;
    operator.type_in(&["advance", "users"]).await?;
    walk_in(&world).await?;
    let times = std::env::var("FICUS_SWITCHES").ok().and_then(|times| times.parse().ok()).unwrap_or(2);
    for _ in 0..times {
        for (wish, phase) in [("cutover", "soaking"), ("revert", "reverted")] {
            until_both_stream(&world).await?;
            granted_in_spite_of_traffic(&world, wish).await?;
            operator.until_phase("users", phase, PATIENCE).await?;
        }
    }
    let ledger = load.stop().await;
    ensure!(ledger.failures().is_empty(), "somebody noticed: {:?} {:?}", ledger.failures(), ledger.samples());
    settle_with(&world, ledger, &[], "switches under load").await?;
    drop(world);
    directory.passed();
    Ok(())
}

/// Other reasons pass by themselves; this one there must not be.
async fn granted_in_spite_of_traffic(world: &World, wish: &str) -> Result<()> {
    for _ in 0..1_200 {
        let printed = world.operator()?.try_type(&[wish, "users"]).await?;
        ensure!(!printed.err.contains("write lock"), "{wish}: {printed:?}");
        if printed.code == 0 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!("{wish} is never granted")
}
