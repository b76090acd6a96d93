//! A newer binary, or another configuration, on every part of a fleet, one after the other, in the midst of a switch: at each of its
//! steps one part makes way for its successor, there and back. No request fails, at any gateway.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use ficus_tests::fleet::{Fleet, Plan};
use ficus_tests::notebook::NAME;

use super::Directory;
use super::etcd::EtcdServer;
use super::fleet::{replace, restart};
use super::notebooks::{GATEWAYS, Notebooks, Old, PATIENCE};

/// In this order: the agent is not heard of for a while, so that the switch may be taken back, and is made at a later try.
const PARTS: [Part; 6] = [Part::Gateway(0), Part::Gateway(1), Part::Gateway(2), Part::StandsBy, Part::Agent, Part::Leads];

#[derive(Debug, Clone, Copy)]
enum Part {
    Gateway(usize),
    Agent,
    /// The orchestrator that leads, and the other one.
    Leads,
    StandsBy,
}

impl Part {
    async fn restart(self, fleet: &mut Fleet, leader: usize) -> Result<()> {
        match self {
            Part::Gateway(at) => replace(fleet, at).await,
            Part::Leads => restart(fleet, leader).await,
            Part::StandsBy => restart(fleet, 1 - leader).await,
            Part::Agent => {
                let ended = fleet.agent.process.end(PATIENCE)?;
                ensure!(ended.success(), "{ended}");
                fleet.start_agent()
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_part_is_restarted_in_a_switch_and_nobody_notices() -> Result<()> {
    let (directory, etcd) = (Directory::new(), EtcdServer::start());
    let plan = Plan { gateways: GATEWAYS as usize, orchestrators: 2, etcd: etcd.port, validity: "12s", waits: true };
    let mut world = Notebooks::start(&directory, &etcd, Old::Postgres, plan).await?;
    world.write_at(0..GATEWAYS);
    for (wish, phase) in [("cutover", "soaking"), ("revert", "reverted")] {
        world.until_ready().await?;
        let begun = Instant::now();
        switch(&mut world, wish, phase).await.with_context(|| format!("a {wish}"))?;
        println!("a {wish} in which everything was restarted: {:?}", begun.elapsed());
    }
    world.settle(GATEWAYS as usize, &[]).await?;
    directory.passed();
    Ok(())
}

/// A switch, at whose steps the parts are restarted, the next one each.
async fn switch(world: &mut Notebooks, wish: &'static str, phase: &str) -> Result<()> {
    let (mut parts, begun) = (VecDeque::from(PARTS), Instant::now());
    let mut wishing = world.begin_to_wish(wish)?;
    loop {
        ensure!(begun.elapsed() < PATIENCE, "it never came about: {:#}", world.fleet.status(NAME).await?);
        if let Some((leader, stage)) = world.fleet.waits() {
            let part = parts.pop_front();
            // Who leads ends only where it does not wait.
            world.fleet.go_on(leader, &stage)?;
            if let Some(part) = part {
                part.restart(&mut world.fleet, leader).await.with_context(|| format!("{part:?} at {stage}"))?;
            }
        }
        if wishing.is_finished()
            && let Ok(status) = world.fleet.status(NAME).await
            && status["switch"].is_null()
        {
            if status["phase"] == phase {
                ensure!(parts.is_empty(), "made, and not restarted: {parts:?}");
                return Ok(());
            }
            println!("the {wish} was taken back before {:?}", parts.front());
            wishing = world.begin_to_wish(wish)?;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
