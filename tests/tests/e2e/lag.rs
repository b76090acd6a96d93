//! The sync stands still while all reads are on the other side: whoever wrote reads from the owner, everybody else from the
//! copy, and when it goes on they come back.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use ficus_tests::caller::{Caller, PASSWORD};
use ficus_tests::http::Answer;
use ficus_tests::load::{Load, Shape};
use ficus_tests::school;
use ficus_tests::world::{Plan, World};
use hyper::{Method, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::Directory;

const PATIENCE: Duration = Duration::from_secs(90);
const STANDSTILL: Duration = Duration::from_secs(2);
const PEOPLE: Shape = Shape { people: 6, admins: 1, pause: Duration::from_millis(40) };

/// The school's rules, with a shorter way to all reads, and a gate that lets the standstill pass.
fn rules(directory: &Path) -> Result<()> {
    let mut text = std::fs::read_to_string(school::folder().join("rules/users.toml"))?;
    for (from, to) in [
        ("[[step]]\nreads = \"5%\"\nhold = \"4s\"\n\n", ""),
        ("[[step]]\nreads = \"50%\"\nhold = \"4s\"\n\n", ""),
        ("shadow = \"100%\"\nhold = \"5s\"", "shadow = \"100%\"\nhold = \"1s\""),
        ("max = \"2s\"", "max = \"1m\""),
    ] {
        ensure!(text.contains(from), "the school's rules have no {from:?}");
        text = text.replacen(from, to, 1);
    }
    std::fs::create_dir_all(directory)?;
    Ok(std::fs::write(directory.join("users.toml"), text)?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_reads_older_than_they_wrote_while_the_agent_stands_still() -> Result<()> {
    let directory = Directory::new();
    let own = directory.path().join("rules-of-this-test");
    rules(&own)?;
    let world = World::start(&directory.path().join("world"), Plan { apart: true, rules: own, ..Plan::default() }).await?;
    let operator = world.operator()?;
    let load = Load::start(&world.http(), PEOPLE).await?;
    operator.type_in(&["advance", "users"]).await?;
    let everybody = |status: &Value| status["serving"]["reads"] == 1_000_000;
    operator.until("users", "all reads on modern", PATIENCE, everybody).await?;
    operator.type_in(&["hold", "users", "--reason", "the sync is looked at"]).await?;

    let mut reader = Person::log_in(&world, "student40").await?;
    let mut writer = Person::log_in(&world, "student41").await?;
    reader.until_read_from("modern").await?;
    writer.write("before").await?;
    writer.until_read_from("modern").await?;

    for round in 0..3 {
        let agent = world.agent.as_ref().context("apart")?;
        agent.signal(Signal::STOP);
        let stopped = Instant::now();
        // Whatever the agent had reported before is at the gateway by now.
        let address = format!("round {round}");
        let mut reads = 0;
        while stopped.elapsed() < STANDSTILL {
            if reads % 10 == 0 {
                writer.write(&address).await?;
            }
            let (side, found) = writer.read().await?;
            ensure!(
                side == "legacy",
                "round {round}, read {reads}: the writer reads from {side} what the stopped agent cannot have copied"
            );
            ensure!(found == address, "round {round}, read {reads}: {found} is older than {address}");
            let (side, _) = reader.read().await?;
            ensure!(side == "modern", "round {round}, read {reads}: somebody who wrote nothing reads from {side}");
            reads += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        ensure!(reads >= 5, "{reads} reads in {STANDSTILL:?}");
        agent.signal(Signal::CONT);
        let back = writer.until_read_from("modern").await?;
        ensure!(back == address, "round {round}: {back} came back from modern, {address} was written");
        println!(
            "round {round}: {reads} reads of the writer by legacy, of the reader by modern; back {:?} after the stop",
            stopped.elapsed()
        );
    }
    let ledger = load.stop().await;
    ensure!(ledger.stale_reads().is_empty(), "stale: {:?}", ledger.stale_reads());
    ensure!(ledger.failures().is_empty(), "somebody noticed: {:?} {:?}", ledger.failures(), ledger.samples());
    println!(
        "{} requests of the load, {} acknowledged writes, 0 stale reads; by {:?}",
        ledger.requests(),
        ledger.acknowledged(),
        ledger.sides()
    );
    drop(world);
    directory.passed();
    Ok(())
}

/// Somebody with a record.
struct Person {
    caller: Caller,
    path: String,
}

impl Person {
    async fn log_in(world: &World, name: &str) -> Result<Person> {
        let caller = Caller::log_in(world.http(), name, PASSWORD).await?;
        let path = format!("/api/v1/users/{}/", caller.id);
        Ok(Person { caller, path })
    }

    async fn write(&mut self, address: &str) -> Result<()> {
        let answer = self.caller.send_json(Method::PATCH, &self.path, &json!({ "address": address })).await?;
        ensure!(answer.status == StatusCode::OK && side(&answer)? == "legacy", "{} {:?} {}", answer.status, answer.headers, answer.text());
        Ok(())
    }

    /// The side that answers, and the address.
    async fn read(&mut self) -> Result<(String, String)> {
        let answer = self.caller.get(&self.path).await?;
        ensure!(answer.status == StatusCode::OK, "{} {}", answer.status, answer.text());
        Ok((side(&answer)?, answer.json()?["profile"]["address"].as_str().unwrap_or_default().to_owned()))
    }

    /// The address, once it comes from there.
    async fn until_read_from(&mut self, wanted: &str) -> Result<String> {
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(15) {
            let (side, address) = self.read().await?;
            if side == wanted {
                return Ok(address);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        anyhow::bail!("{} is not read from {wanted} within 15 s", self.path)
    }
}

fn side(answer: &Answer) -> Result<String> {
    Ok(answer.header("x-ficus-side").context("no x-ficus-side")?.to_owned())
}
