//! Somebody is killed, put to sleep, or cut off, at each step of a switch, there and back: the leader, the agent, or a gateway. The
//! leader waits at every step for the test, so that it happens just there. Nothing is lost or doubled, and nobody at a gateway
//! that lives notices.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use ficus_tests::fleet::{Fleet, Member, Plan};
use ficus_tests::notebook::NAME;
use rustix::process::Signal;
use tokio::task::JoinHandle;

use super::Directory;
use super::etcd::EtcdServer;
use super::notebooks::{GATEWAYS, Notebooks, Old, PATIENCE};

const STAGES: [&str; 8] = ["fence", "drain", "fence_database", "catch_up", "verify", "sequences", "open", "release"];
const SWITCHES: [(&str, &str); 2] = [("cutover", "soaking"), ("revert", "reverted")];
/// For how long gateways take writes unheard. Another leader has to come within it, however busy the machine is.
const VALIDITY: &str = "12s";
/// A wish that takes longer is typed anew.
const ANSWERED: Duration = Duration::from_secs(20);
/// The gateway that is hit; those before it are spared.
const HIT: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Leader,
    Agent,
    Gateway,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// `kill -9`, and started again.
    Killed,
    /// Stopped and continued.
    Asleep,
    /// Nobody hears of it: a leader is cut off from etcd, the others from the orchestrators.
    CutOff,
}

const ALL: [How; 3] = [How::Killed, How::Asleep, How::CutOff];

impl Who {
    /// For how long it is away: a leader for longer than its lease, a gateway for longer than it is reckoned with.
    fn is_away(self, how: How) -> Duration {
        match (self, how) {
            (_, How::Killed) => Duration::from_millis(300),
            (Who::Leader, _) => Duration::from_secs(6),
            (Who::Agent, _) => Duration::from_secs(3),
            (Who::Gateway, _) => Duration::from_secs(15),
        }
    }
}

/// Who is hit, how, and as the leader enters which stage.
#[derive(Debug, Clone, Copy)]
struct Hit {
    who: Who,
    how: How,
    stage: &'static str,
}

/// A few of all below: each of the three.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn some_are_hit_at_some_steps() -> Result<()> {
    let hits = [
        Hit { who: Who::Leader, how: How::Killed, stage: "catch_up" },
        Hit { who: Who::Agent, how: How::Killed, stage: "sequences" },
        Hit { who: Who::Gateway, how: How::Killed, stage: "drain" },
        Hit { who: Who::Agent, how: How::Asleep, stage: "fence_database" },
    ];
    run(Old::MariaDb, &hits, HIT).await
}

/// Everybody in every way, at every step, there and back.
async fn at_each_step(old: Old, who: Who, hows: &[How]) -> Result<()> {
    let mut hits = Vec::new();
    for how in hows {
        // There and back.
        hits.extend(STAGES.iter().flat_map(|stage| [Hit { who, how: *how, stage }; 2]));
    }
    run(old, &hits, if who == Who::Gateway { HIT } else { GATEWAYS as usize }).await
}

async fn run(old: Old, hits: &[Hit], spared: usize) -> Result<()> {
    let (directory, etcd) = (Directory::new(), EtcdServer::start());
    let plan = Plan { gateways: GATEWAYS as usize, orchestrators: 2, etcd: etcd.port, validity: VALIDITY, waits: true };
    let mut world = Notebooks::start(&directory, &etcd, old, plan).await?;
    world.write_at(0..GATEWAYS);
    for (hit, (wish, phase)) in hits.iter().zip(SWITCHES.iter().cycle()) {
        let begun = Instant::now();
        let tries = switch(&mut world, *hit, wish, phase).await.with_context(|| format!("a {wish}, {hit:?}"))?;
        println!("{old:?}: {:?} {:?} at {} of a {wish}: made in {:?}, {tries} taken back", hit.who, hit.how, hit.stage, begun.elapsed());
    }
    world.settle(spared, &[]).await?;
    directory.passed();
    Ok(())
}

/// A switch at one of whose steps somebody is hit. How often it was taken back and wished for anew.
async fn switch(world: &mut Notebooks, hit: Hit, wish: &'static str, phase: &str) -> Result<u32> {
    world.fleet.leader(PATIENCE).await?;
    world.until_ready().await?;
    let mut wishing = begin_to_wish(&world.fleet, wish)?;
    // Who was hit, and until when it is away.
    let mut away: Option<(usize, Instant)> = None;
    let (mut was_hit, mut tries, begun) = (false, 0, Instant::now());
    loop {
        ensure!(begun.elapsed() < PATIENCE, "it never came about: {:#}", world.fleet.status(NAME).await?);
        if let Some((leader, stage)) = world.fleet.waits() {
            if stage == hit.stage && !was_hit {
                was_hit = true;
                strike(&mut world.fleet, hit, leader)?;
                away = Some((leader, Instant::now() + hit.who.is_away(hit.how)));
            }
            world.fleet.go_on(leader, &stage)?;
        }
        if let Some((leader, until)) = away
            && Instant::now() >= until
        {
            recover(&mut world.fleet, hit, leader)?;
            away = None;
        }
        // A wish that nobody took, because nobody led just then, is wished for again, as is one that was taken back.
        if away.is_none()
            && wishing.is_finished()
            && let Ok(status) = world.fleet.status(NAME).await
            && status["switch"].is_null()
        {
            if status["phase"] == phase {
                ensure!(was_hit, "it went through without that step");
                return Ok(tries);
            }
            tries += u32::from(was_hit);
            wishing = begin_to_wish(&world.fleet, wish)?;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Somebody types it, who is answered when the leader has waited. What is not answered for long was lost with a leader, or on a
/// cable that was cut.
fn begin_to_wish(fleet: &Fleet, wish: &'static str) -> Result<JoinHandle<()>> {
    let operator = fleet.operator()?;
    Ok(tokio::spawn(async move { drop(tokio::time::timeout(ANSWERED, operator.until_accepted(wish, NAME, PATIENCE)).await) }))
}

fn strike(fleet: &mut Fleet, hit: Hit, leader: usize) -> Result<()> {
    let member = member(fleet, hit.who, leader);
    match hit.how {
        How::Killed => drop(member.process.kill()?),
        How::Asleep => member.process.signal(Signal::STOP),
        How::CutOff => member.cables.iter().for_each(|cable| cable.cut()),
    }
    Ok(())
}

fn recover(fleet: &mut Fleet, hit: Hit, leader: usize) -> Result<()> {
    match (hit.how, hit.who) {
        (How::Killed, Who::Leader) => fleet.start_orchestrator(leader, &[]),
        (How::Killed, Who::Agent) => fleet.start_agent(),
        (How::Killed, Who::Gateway) => fleet.start_gateway(HIT),
        (How::Asleep, who) => {
            member(fleet, who, leader).process.signal(Signal::CONT);
            Ok(())
        }
        (How::CutOff, who) => {
            member(fleet, who, leader).cables.iter().for_each(|cable| cable.mend());
            Ok(())
        }
    }
}

fn member(fleet: &mut Fleet, who: Who, leader: usize) -> &mut Member {
    match who {
        Who::Leader => &mut fleet.orchestrators[leader],
        Who::Agent => &mut fleet.agent,
        Who::Gateway => &mut fleet.gateways[HIT],
    }
}

macro_rules! soaked {
    ($($name:ident: $old:ident, $who:ident;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        #[ignore = "minutes: part of `make soak`"]
        async fn $name() -> Result<()> {
            at_each_step(Old::$old, Who::$who, &ALL).await
        }
    )*};
}

soaked! {
    the_leader_at_each_step_between_two_postgresqls: Postgres, Leader;
    the_agent_at_each_step_between_two_postgresqls: Postgres, Agent;
    a_gateway_at_each_step_between_two_postgresqls: Postgres, Gateway;
    the_leader_at_each_step_from_mariadb_to_postgresql: MariaDb, Leader;
    the_agent_at_each_step_from_mariadb_to_postgresql: MariaDb, Agent;
    a_gateway_at_each_step_from_mariadb_to_postgresql: MariaDb, Gateway;
}
