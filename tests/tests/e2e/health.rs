//! Nothing is switched to a service that is not there, or that does not say that it is well.

use std::time::Duration;

use anyhow::{Result, ensure};
use ficus_tests::world::{Plan, World};
use rustix::process::Signal;

use super::Directory;
use super::kills::{PATIENCE, wish_until_accepted};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cutover_to_a_service_that_is_not_well_is_refused() -> Result<()> {
    let directory = Directory::new();
    let mut world = World::start(directory.path(), Plan::default()).await?;
    let operator = world.operator()?;
    operator.type_in(&["advance", "users"]).await?;
    operator.until_phase("users", "shadowing", PATIENCE).await?;
    operator.type_in(&["cutover", "users", "--wait", "30s"]).await?;
    operator.type_in(&["revert", "users", "--wait", "30s"]).await?;

    // It takes connections and answers nothing.
    world.service.signal(Signal::STOP);
    refused(&world).await?;
    world.service.signal(Signal::CONT);
    wish_until_accepted(&world, "cutover").await?;
    operator.until_phase("users", "soaking", PATIENCE).await?;
    operator.type_in(&["revert", "users", "--wait", "30s"]).await?;

    world.service.kill()?;
    refused(&world).await?;
    drop(world);
    directory.passed();
    Ok(())
}

/// Soon after it stopped answering, and whatever else stands in the way for a moment.
async fn refused(world: &World) -> Result<()> {
    tokio::time::sleep(Duration::from_secs(4)).await;
    let printed = world.operator()?.try_type(&["cutover", "users"]).await?;
    ensure!(printed.code == 3 && printed.err.contains("users-service does not answer"), "{printed:?}");
    Ok(())
}
