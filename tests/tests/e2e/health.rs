//! Nothing is switched to a service that is not there, or that does not say that it is well.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use ficus_tests::http::Http;
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
    a_monolith_that_is_gone_is_told(&mut world).await?;
    operator.type_in(&["revert", "users", "--wait", "30s"]).await?;

    world.service.kill()?;
    refused(&world).await?;
    drop(world);
    directory.passed();
    Ok(())
}

/// While modern owns nobody asks it for users any more, and still: nothing may go back to it by itself.
async fn a_monolith_that_is_gone_is_told(world: &mut World) -> Result<()> {
    world.monolith.kill()?;
    let page = until_status(world, |page| page.contains("the legacy side of users does not answer it")).await?;
    ensure!(page.contains("users: soaking"), "{page}");
    let metrics = Http::new(&world.admin_url(), PATIENCE).get("/metrics").await?.text();
    ensure!(metrics.contains("ficus_legacy_down{capability=\"users\"} 1"), "{metrics}");
    world.restart_monolith().await?;
    until_status(world, |page| !page.contains("legacy side")).await?;
    Ok(())
}

async fn until_status(world: &World, is_so: impl Fn(&str) -> bool) -> Result<String> {
    let begun = Instant::now();
    loop {
        let page = world.operator()?.type_in(&["status"]).await?;
        if is_so(&page) {
            return Ok(page);
        }
        ensure!(begun.elapsed() < Duration::from_secs(15), "not so after 15 s:\n{page}");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Soon after it stopped answering, and whatever else stands in the way for a moment.
async fn refused(world: &World) -> Result<()> {
    tokio::time::sleep(Duration::from_secs(4)).await;
    let printed = world.operator()?.try_type(&["cutover", "users"]).await?;
    ensure!(printed.code == 3 && printed.err.contains("users-service does not answer"), "{printed:?}");
    Ok(())
}
