//! `kill -9` in one world that goes there and back: at the last step of a switch, in the reverse stream, and from outside
//! at no point of ours.

use std::time::Duration;

use anyhow::{Context as _, Result};
use ficus_tests::load::{Load, Shape};
use ficus_tests::world::{Plan, World};
use serde_json::Value;

use super::{
    Directory, PATIENCE, WHILE_STREAMING, crash_at, crashed, rearm, settle, switch, times, until_both_stream, until_switched, walk_in,
    wish_until_accepted,
};

/// The last step of a cutover and of a revert is written down, and the process dies before anybody is told; in between, it
/// dies while it applies to legacy what the service wrote.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_the_end_of_a_switch_and_in_the_reverse_stream() -> Result<()> {
    let directory = Directory::new();
    let mut world = World::start(directory.path(), Plan::default()).await?;
    let load = Load::start(&world.http(), Shape { people: 6, admins: 1, pause: Duration::from_millis(40) }).await?;
    world.operator()?.type_in(&["advance", "users"]).await?;
    walk_in(&world).await?;
    for _ in 0..times() {
        rearm(&mut world, "orchestrator:soaking").await?;
        switch(&mut world, "cutover", "soaking", "orchestrator:soaking").await?;
        for point in WHILE_STREAMING {
            rearm(&mut world, point).await?;
            crashed(&mut world, point).await.context("in the reverse stream")?;
        }
        world.restart_ficus(&crash_at("orchestrator:reverted")).await?;
        switch(&mut world, "revert", "reverted", "orchestrator:reverted").await?;
    }
    settle(&world, load.stop().await, "the end of a switch and the reverse stream").await?;
    drop(world);
    directory.passed();
    Ok(())
}

/// `kill -9` from outside, at no point of ours: somewhere in a switch, or shortly after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_of_many_switches() -> Result<()> {
    let directory = Directory::new();
    let mut world = World::start(directory.path(), Plan::default()).await?;
    let load = Load::start(&world.http(), Shape { people: 6, admins: 1, pause: Duration::from_millis(40) }).await?;
    world.operator()?.type_in(&["advance", "users"]).await?;
    walk_in(&world).await?;
    for (wish, phase) in [("cutover", "soaking"), ("revert", "reverted")].repeat(3 * times()) {
        until_both_stream(&world).await?;
        let after = Duration::from_millis(rand::random_range(0..150));
        let moment = async {
            let begun = |status: &Value| !status["switch"].is_null() || status["phase"] == phase;
            world.operator()?.until("users", "the switch to begin", PATIENCE, begun).await?;
            tokio::time::sleep(after).await;
            anyhow::Ok(())
        };
        tokio::try_join!(wish_until_accepted(&world, wish), moment)?;
        let stage = world.operator()?.status("users").await?["stage"].take();
        world.ficus.kill()?;
        println!("a {wish}: killed {after:?} after its begin, in stage {stage}");
        world.restart_ficus(&[]).await?;
        until_switched(&world, wish, phase, "any moment").await?;
    }
    settle(&world, load.stop().await, "any moment").await?;
    drop(world);
    directory.passed();
    Ok(())
}
