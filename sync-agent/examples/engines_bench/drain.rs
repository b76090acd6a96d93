//! A backlog drained by the agent; to PostgreSQL with nobody beside it.

use std::time::Duration;

use crate::agent::Running;
use crate::database::{Database, Engine, cpu};
use crate::lines::{Bar, Figure, Stopwatch, rate};
use crate::machine::{settle, until};
use crate::person::{MODERN, PEOPLE, PERSON, Writer, fill, legacy};
use crate::{Result, rounds, size};

pub(crate) async fn measure(engine: Engine) -> Result<bool> {
    let rounds = rounds()?;
    let mut writer = Writer::new(size("CHANGES", 200_000)?, rounds as u64);
    let (source, target) = (Database::start(engine).await?, Database::start(Engine::Postgres).await?);
    source.run(legacy(engine)).await?;
    target.run(MODERN).await?;
    source.run(["CREATE INDEX person_level ON person (level)"]).await?;
    target.run(["CREATE INDEX people_grade ON people (grade)"]).await?;
    fill(&mut source.app().await?, 1, writer.rows()).await?;
    follow(&source, &target, "renamed").await?;
    let bench = format!("{engine}_drain");
    let mut speed = Figure::new(&bench, "rows_per_second", "rows/s", "", Bar::AtLeast(60_000.0));
    let mut memory = Figure::new(&bench, "agent_memory", "MB", "", Bar::Below(200.0));
    for round in 1..=rounds {
        write(&[&source], &writer.backlog(), round).await?;
        target.checkpoint().await?;
        settle(|| cpu(&[&source, &target])).await?;
        let drained = ours(&source, &target, "renamed", round).await?;
        speed.ours.push(rate(writer.changes(), drained.seconds));
        speed.noise.push(drained.noise);
        memory.ours.push(drained.memory);
        target.state(&PEOPLE).await?.must_be(source.state(&PERSON).await?, "the agent's target")?;
    }
    Ok(speed.print() & memory.print())
}

/// Lets the agent copy what there is; from now on changes are kept for it.
pub(crate) async fn follow(source: &Database, target: &Database, map: &str) -> Result<()> {
    let mut agent = Running::start("stream", map, &[source.url(), target.url()])?;
    agent.says("live").await?;
    settle(|| cpu(&[source, target])).await?;
    agent.stop().await
}

/// Writes a backlog with the row that ends it, everywhere.
pub(crate) async fn write(sources: &[&Database], backlog: &[String], mark: usize) -> Result<()> {
    for source in sources {
        source.run(backlog).await?;
        source.run([&last(mark)]).await?;
    }
    Ok(())
}

/// The row that ends a backlog.
pub(crate) fn last(mark: usize) -> String {
    format!("INSERT INTO mark VALUES ({mark}, 'the end')")
}

/// What one side took.
pub(crate) struct Drained {
    pub(crate) seconds: Duration,
    pub(crate) noise: f64,
    pub(crate) memory: f64,
}

/// Lets the agent do its work, until the last row is seen.
pub(crate) async fn ours(source: &Database, target: &Database, map: &str, mark: usize) -> Result<Drained> {
    let looking = &mut target.app().await?;
    let spent = || cpu(&[source, target]);
    let before = spent()?;
    let watch = Stopwatch::start();
    let agent = Running::start("stream", map, &[source.url(), target.url()])?;
    let seen = format!("SELECT count(*) FROM mark WHERE id = {mark}");
    until("the last row is seen", async || Ok(looking.number(&seen).await? == 1)).await?;
    let seconds = watch.elapsed();
    let noise = watch.noise(spent()? - before + agent.cpu());
    settle(spent).await?;
    let memory = agent.most_memory();
    agent.stop().await?;
    Ok(Drained { seconds, noise, memory })
}
