//! etcd is away for longer than a leader's lease and a gateway's validity, while nothing moves: nobody leads, no gateway is promised
//! anything, and from then on none takes a write of what migrates, because somebody might have moved it. Reads go on, and writes do
//! as soon as etcd is back.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use ficus_tests::fleet::Plan;
use ficus_tests::ledger::Failure;
use hyper::StatusCode;
use rustix::process::Signal;

use super::Directory;
use super::etcd::EtcdServer;
use super::handover::signal;
use super::notebooks::{GATEWAYS, Notebooks, Old};

const VALIDITY: Duration = Duration::from_secs(4);
/// A leader's, which may have been renewed just before.
const LEASE: Duration = Duration::from_secs(3);
/// A busy machine's.
const LATE: Duration = Duration::from_secs(3);
/// For so long nobody takes a write, once nobody may.
const A_WHILE: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy)]
enum Away {
    Asleep,
    CutOff,
    Killed,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_nobody_can_lead_no_gateway_takes_writes_for_longer_than_its_validity() -> Result<()> {
    let (directory, mut etcd) = (Directory::new(), EtcdServer::start());
    let plan = Plan { gateways: GATEWAYS as usize, orchestrators: 2, etcd: etcd.port, validity: "4s", waits: false };
    let mut world = Notebooks::start(&directory, &etcd, Old::Postgres, plan).await?;
    world.write_at(0..GATEWAYS);
    let mut times = Vec::new();
    for away in [Away::Asleep, Away::CutOff, Away::Killed] {
        times.push(is_away(&world, &mut etcd, away).await.with_context(|| format!("{away:?}"))?);
    }
    // What a gateway says that may not write, and nothing else.
    let refused = |failure: &Failure| failure.kind == "503" && times.iter().any(|(from, to)| (*from..=*to).contains(&failure.at));
    world.settle_but(&[], |_, failure| refused(failure)).await?;
    directory.passed();
    Ok(())
}

/// From when to when writes may be refused.
async fn is_away(world: &Notebooks, etcd: &mut EtcdServer, away: Away) -> Result<(Instant, Instant)> {
    world.until_ready().await?;
    let cables = || world.fleet.orchestrators.iter().flat_map(|one| &one.cables);
    let from = Instant::now();
    match away {
        Away::Asleep => signal(etcd.id(), Signal::STOP),
        Away::CutOff => cables().for_each(|cable| cable.cut()),
        Away::Killed => etcd.kill(),
    }
    let mut ended = Vec::new();
    for gateway in 0..GATEWAYS as usize {
        ended.push(until_refused(world, gateway, from + LEASE + VALIDITY + LATE).await?);
    }
    println!("{away:?}: refused after {:?}", ended.iter().map(|at| *at - from).collect::<Vec<_>>());
    // A validity was given just before, and lasts; on a busy machine not all of it is left.
    ensure!(ended.iter().all(|at| *at >= from + VALIDITY / 4), "refused before it had to be: {ended:?}");
    let begun = Instant::now();
    while begun.elapsed() < A_WHILE {
        world.nobody_leads().await?;
        for gateway in 0..GATEWAYS as usize {
            ensure!(is_refused(world, gateway).await?, "gateway {gateway} takes a write, and nobody has promised it anything");
            let read = world.fleet.http(gateway).get(&format!("/notes/{}", Notebooks::nobody())).await?;
            ensure!(read.status == StatusCode::OK, "a read at gateway {gateway}: {} {}", read.status, read.text());
        }
    }
    match away {
        Away::Asleep => signal(etcd.id(), Signal::CONT),
        Away::CutOff => cables().for_each(|cable| cable.mend()),
        Away::Killed => tokio::task::block_in_place(|| etcd.start_again()),
    }
    for gateway in 0..GATEWAYS as usize {
        world.until_written(gateway).await?;
    }
    // Of one that was refused a moment ago, somebody may hear only now.
    tokio::time::sleep(Duration::from_secs(1)).await;
    Ok((from + VALIDITY / 4, Instant::now()))
}

async fn until_refused(world: &Notebooks, gateway: usize, end: Instant) -> Result<Instant> {
    while !is_refused(world, gateway).await? {
        ensure!(Instant::now() < end, "gateway {gateway} takes writes while nobody can have led for longer than its validity");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(Instant::now())
}

/// Or carried out; nothing else.
async fn is_refused(world: &Notebooks, gateway: usize) -> Result<bool> {
    let answer = world.write(gateway).await?;
    let refused = answer.status == StatusCode::SERVICE_UNAVAILABLE && answer.text().contains("has not heard from the orchestrator");
    ensure!(refused || answer.status.is_success(), "{} {}", answer.status, answer.text());
    Ok(refused)
}
