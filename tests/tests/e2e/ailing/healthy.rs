//! A new service that is as well as the old one, which takes now more and now less for an answer, goes from the draft to the end,
//! held against the old one all the time, and is never left.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use ficus_tests::notebook::{Illness, NAME};
use serde_json::Value;

use super::world::{Engines, PATIENCE, World, impatient};
use super::{CALLERS_WAIT, READERS};

/// How long an answer of either takes on average: above the floor of the gates, so that the one is held against the other.
const TAKES: Duration = Duration::from_millis(40);

/// From the draft to the end of the soak, by itself, and then the old one retires.
async fn moves(engines: Engines, number: u32) -> Result<()> {
    let begun = Instant::now();
    let world = World::start(engines, READERS, CALLERS_WAIT, async |_, _| Ok(impatient())).await?;
    [Some(&world.old), world.new.as_ref()].iter().flatten().for_each(|one| one.becomes(Illness::Uneven(TAKES)));
    let operator = world.bare.operator()?;
    operator.until_phase(NAME, "soaking", PATIENCE).await.with_context(|| format!("migration {number}"))?;
    // Until the soak is over: it may retire, and somebody has to say so.
    let over = |status: &Value| status["waiting_for"].to_string().contains("retire");
    operator.until(NAME, "the end of the soak", PATIENCE, over).await.with_context(|| format!("migration {number}"))?;
    let back = world.went_back().await?;
    ensure!(back.is_empty(), "migration {number}: a healthy service was left: {back:#?}");
    world.retire().await?;
    println!("{engines:?}, migration {number}: {:?}", begun.elapsed());
    Ok(())
}

async fn fifty_move(engines: Engines) -> Result<()> {
    for number in 1..=50 {
        moves(engines, number).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_healthy_service_moves_and_is_never_left() -> Result<()> {
    moves(Engines::Sqlite, 0).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_healthy_service_moves_on_postgresql_and_is_never_left() -> Result<()> {
    moves(Engines::Postgres, 0).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: part of `make soak`"]
async fn fifty_healthy_services_move_and_none_is_ever_left() -> Result<()> {
    fifty_move(Engines::Sqlite).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: part of `make soak`"]
async fn fifty_healthy_services_move_from_mariadb_to_postgresql_and_none_is_ever_left() -> Result<()> {
    fifty_move(Engines::MariaDbToPostgres).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: part of `make soak`"]
async fn fifty_healthy_services_move_on_postgresql_and_none_is_ever_left() -> Result<()> {
    fifty_move(Engines::Postgres).await
}
