//! What capture costs an application on SQLite: rows inserted one by one, each committed by itself, by a statement that is kept
//! prepared; without waiting for the disk, which would hide it (`synchronous = NORMAL`, WAL).

use crate::database::{App, Database, Engine, cpu};
use crate::drain::{follow, last, ours};
use crate::lines::{Bar, Figure, Stopwatch, rate};
use crate::machine::settle;
use crate::person::{MODERN, PEOPLE, PERSON, legacy};
use crate::{Result, order, rounds, size};

const INSERT: &str = "INSERT INTO person VALUES (?1, 'user' || ?1, 'Zoë', 'O''Hara', 'user' || ?1 || '@example.test', ?1 % 2, ?1 % 10,
  ?1 + 0.25, 'a note of some length that says little, ' || ?1, NULL, '2026-01-02 03:04:05.000006', NULL)";

pub(crate) async fn measure() -> Result<bool> {
    let inserts = size("INSERTS", 50_000)?;
    let (captured, plain) = (Database::start(Engine::Sqlite).await?, Database::start(Engine::Sqlite).await?);
    let target = Database::start(Engine::Postgres).await?;
    for database in [&captured, &plain] {
        database.run(legacy(Engine::Sqlite)).await?;
    }
    target.run(MODERN).await?;
    follow(&captured, &target, "renamed").await?;
    let peer = "the same without triggers";
    let mut speed = Figure::new("sqlite_triggers", "inserts_per_second", "rows/s", peer, Bar::RatioAtLeast(0.6));
    for round in 0..rounds()? {
        for who in order(round) {
            let database = if who { &captured } else { &plain };
            database.checkpoint().await?;
            settle(|| cpu(&[&target])).await?;
            let App::Sqlite(mut conn) = database.app().await? else { return Err("a SQLite was asked for".into()) };
            let first = i64::try_from(round as u64 * inserts)?;
            let watch = Stopwatch::start();
            for id in first..first + i64::try_from(inserts)? {
                sqlx::query(INSERT).bind(id).execute(&mut conn).await?;
            }
            (if who { &mut speed.ours } else { &mut speed.peers }).push(rate(inserts, watch.elapsed()));
            speed.noise.push(watch.noise(0.0));
        }
    }
    // Triggers that captured nothing would cost little.
    captured.run([&last(1)]).await?;
    ours(&captured, &target, "renamed", 1).await?;
    target.state(&PEOPLE).await?.must_be(captured.state(&PERSON).await?, "the agent's target")?;
    plain.state(&PERSON).await?.must_be(captured.state(&PERSON).await?, "the one without triggers")?;
    Ok(speed.print())
}
