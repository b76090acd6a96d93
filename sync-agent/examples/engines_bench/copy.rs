//! The initial copy to PostgreSQL, beside `pgloader`.

use crate::agent::Running;
use crate::database::{Database, Engine, cpu};
use crate::lines::{Bar, Figure, Stopwatch, rate};
use crate::person::{MODERN, PEOPLE, PERSON, fill, legacy};
use crate::{Result, machine, order, pgloader, rounds, size};

pub(crate) async fn measure(engine: Engine) -> Result<bool> {
    let rows = size("ROWS", 1_000_000)?;
    let source = Database::start(engine).await?;
    let (ours, peers) = (Database::start(Engine::Postgres).await?, Database::start(Engine::Postgres).await?);
    source.run(legacy(engine)).await?;
    ours.run(MODERN).await?;
    fill(&mut source.app().await?, 1, rows).await?;
    let wanted = source.state(&PERSON).await?;
    let (peer, bar) = match pgloader::is_there() {
        true => ("pgloader", Bar::RatioAtLeast(1.2)),
        false => ("pgloader, which is not on PATH", Bar::AtLeast(60_000.0)),
    };
    let bench = format!("{engine}_copy");
    let mut speed = Figure::new(&bench, "rows_per_second", "rows/s", peer, bar);
    let mut memory = Figure::new(&bench, "agent_memory", "MB", "", Bar::Below(200.0));
    let urls = [source.url(), ours.url()];
    for round in 0..rounds()? {
        for who in order(round) {
            let target = if who { &ours } else { &peers };
            if who {
                ours.run(["TRUNCATE people"]).await?;
            } else if !pgloader::is_there() {
                continue;
            }
            for database in [&source, target] {
                database.checkpoint().await?;
            }
            let spent = || cpu(&[&source, &ours, &peers]);
            machine::settle(spent).await?;
            let before = spent()?;
            let watch = Stopwatch::start();
            if who {
                let mut agent = Running::start("stream", "renamed", &urls)?;
                agent.says("copied").await?;
                speed.ours.push(rate(rows, watch.elapsed()));
                speed.noise.push(watch.noise(spent()? - before + agent.cpu()));
                agent.says("live").await?;
                machine::settle(spent).await?;
                memory.ours.push(agent.most_memory());
                agent.stop().await?;
                ours.state(&PEOPLE).await?.must_be(wanted, "the agent's target")?;
                Running::start("remove", "renamed", &urls)?.stop().await?;
            } else {
                pgloader::load(&source, &peers).await?;
                speed.peers.push(rate(rows, watch.elapsed()));
                peers.state(&PERSON).await?.must_be(wanted, "pgloader's target")?;
            }
        }
    }
    Ok(speed.print() & memory.print())
}
