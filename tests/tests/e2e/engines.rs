//! The users of the school, from SQLite or PostgreSQL to PostgreSQL and back, under load: what the demo shows, on the
//! databases that the system's plan names.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ficus_tests::load::{Load, Shape};
use ficus_tests::operator::Operator;
use ficus_tests::world::{Plan, World};
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};

use super::kills::{crash_at, crashed, settle, walk_in, wish_until_accepted};
use super::postgres::Server;
use super::{Directory, kills};

const PEOPLE: Shape = Shape { people: 6, admins: 1, pause: Duration::from_millis(40) };

async fn plan(environment: Vec<(String, String)>) -> Plan {
    let server = Server::shared();
    let database = server.url(&server.database().await);
    Plan { service_database: Some(database), environment, ..Plan::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_move_to_postgresql_and_back_and_again() -> Result<()> {
    over_and_back_and_over(plan(Vec::new()).await, "SQLite to PostgreSQL").await
}

/// Sessions are read there, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_move_from_postgresql_to_postgresql_and_back_and_again() -> Result<()> {
    let server = Server::shared();
    let school_database = Some(server.url(&server.database().await));
    over_and_back_and_over(Plan { school_database, ..plan(Vec::new()).await }, "PostgreSQL to PostgreSQL").await
}

async fn over_and_back_and_over(plan: Plan, what: &str) -> Result<()> {
    let directory = Directory::new();
    let school = plan.school_database.clone();
    let world = World::start(directory.path(), plan).await?;
    let load = Load::start(&world.http(), PEOPLE).await?;
    let operator = world.operator()?;
    operator.type_in(&["advance", "users"]).await?;
    walk_in(&world).await?;
    for (wish, phase) in [("cutover", "soaking"), ("revert", "reverted"), ("cutover", "soaking")] {
        wish_until_accepted(&world, wish).await?;
        operator.until_phase("users", phase, kills::PATIENCE).await.with_context(|| format!("after {wish}"))?;
    }
    let ledger = load.stop().await;
    if let Some(school) = school {
        a_writer_past_the_gateway_is_named(&operator, &school).await?;
    }
    settle(&world, ledger, what).await?;
    drop(world);
    directory.passed();
    Ok(())
}

/// While the new service owns, a job that writes to the monolith's database is refused, and `ficus status` says whose it is.
async fn a_writer_past_the_gateway_is_named(operator: &Operator, school: &str) -> Result<()> {
    let mut job = PgConnection::connect(school).await?;
    sqlx::raw_sql("SET application_name = 'nightly-import'").execute(&mut job).await?;
    let refused = sqlx::raw_sql("UPDATE accounts_customuser SET first_name = 'Overwritten'").execute(&mut job).await;
    let refused = refused.err().context("the write passed the fence")?.to_string();
    ensure!(refused.contains("ficus: table accounts_customuser refuses writes"), "{refused}");
    let told = |status: &Value| status["agent"]["strays"].to_string().contains("application `nightly-import`");
    operator.until("users", "the stray writer is named", kills::PATIENCE, told).await?;
    let page = operator.type_in(&["status", "users"]).await?;
    ensure!(page.contains("past the gateway was refused by the legacy database") && page.contains("nightly-import"), "{page}");
    ensure!(!page.contains("Overwritten"), "a value is shown: {page}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_the_new_side_is_postgresql() -> Result<()> {
    for point in ["backfill_batch", "after_apply_before_commit", "after_commit_before_confirm"] {
        let directory = Directory::new();
        let mut world = World::start(directory.path(), plan(crash_at(point)).await).await?;
        let load = Load::start(&world.http(), PEOPLE).await?;
        world.operator()?.type_in(&["advance", "users"]).await?;
        crashed(&mut world, point).await?;
        world.restart_ficus(&[]).await?;
        walk_in(&world).await.with_context(|| format!("after a crash at {point}"))?;
        settle(&world, load.stop().await, point).await?;
        drop(world);
        directory.passed();
    }
    Ok(())
}
