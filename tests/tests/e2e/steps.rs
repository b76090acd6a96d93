//! Somebody is killed, put to sleep, or cut off, at each step of a switch, there and back: the leader, the agent, a gateway, etcd, or
//! a database's server. The leader waits at every step for the test, so that it happens just there. Nothing is lost or doubled, and
//! nobody at a gateway that lives notices, but for what a database that is dead cannot answer.

mod servers;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use ficus_tests::cable::Cable;
use ficus_tests::fleet::Plan;
use ficus_tests::ledger::Failure;
use ficus_tests::notebook::NAME;
use rustix::process::Signal;

use self::servers::{Servers, signal_all};
use super::Directory;
use super::notebooks::{GATEWAYS, Notebooks, Old, PATIENCE};

const STAGES: [&str; 8] = ["fence", "drain", "fence_database", "catch_up", "verify", "sequences", "open", "release"];
const SWITCHES: [(&str, &str); 2] = [("cutover", "soaking"), ("revert", "reverted")];
/// For how long gateways take writes unheard. Another leader has to come within it, however busy the machine is.
const VALIDITY: &str = "12s";
/// The gateway that is hit; those before it are spared.
const HIT: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Leader,
    Agent,
    Gateway,
    Etcd,
    OldDatabase,
    NewDatabase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// `kill -9`, and started again.
    Killed,
    /// Stopped and continued.
    Asleep,
    /// Nobody hears of it: a leader is cut off from etcd, etcd and the other parts from the orchestrators, a database from the agent.
    CutOff,
    /// The same, for longer than a switch may last.
    Lost,
}

/// From which a switch goes on, or is taken back at once.
const ALL: [How; 3] = [How::Killed, How::Asleep, How::CutOff];

impl Who {
    /// For how long it is away: a leader and etcd for longer than a lease, a gateway for longer than it is reckoned with.
    fn is_away(self, how: How) -> Duration {
        match (self, how) {
            (_, How::Killed) => Duration::from_millis(300),
            (_, How::Lost) => Duration::from_secs(45),
            (Who::Leader | Who::Etcd | Who::OldDatabase | Who::NewDatabase, _) => Duration::from_secs(6),
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

impl Hit {
    /// Whether a failure is of it: whatever goes through that gateway, and what a service says whose database is dead. One that
    /// sleeps is waited for, and so is the end of a switch.
    fn excuses(&self, gateway: usize, failure: &Failure) -> bool {
        let said_by = |side| failure.kind == "500" && failure.side.as_deref() == Some(side);
        match (self.who, self.how) {
            (Who::Gateway, _) => gateway == HIT && failure.is_excused(),
            (Who::OldDatabase, How::Killed) => said_by("legacy"),
            (Who::NewDatabase, How::Killed) => said_by("modern"),
            _ => false,
        }
    }
}

struct World {
    notebooks: Notebooks,
    servers: Servers,
}

/// A few of all below: each of the three that are Ficus.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn some_are_hit_at_some_steps() -> Result<()> {
    let hits = [
        Hit { who: Who::Leader, how: How::Killed, stage: "catch_up" },
        Hit { who: Who::Agent, how: How::Killed, stage: "sequences" },
        Hit { who: Who::Gateway, how: How::Killed, stage: "drain" },
        Hit { who: Who::Agent, how: How::Asleep, stage: "fence_database" },
    ];
    run(Old::MariaDb, &hits).await
}

/// The same, of what it leans on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn some_servers_are_hit_at_some_steps() -> Result<()> {
    let hits = [
        Hit { who: Who::NewDatabase, how: How::Killed, stage: "catch_up" },
        Hit { who: Who::Etcd, how: How::Killed, stage: "open" },
        Hit { who: Who::OldDatabase, how: How::Killed, stage: "fence_database" },
        Hit { who: Who::OldDatabase, how: How::CutOff, stage: "verify" },
    ];
    run(Old::MariaDb, &hits).await
}

/// Somebody in every way, at every step, there and back.
async fn at_each_step(old: Old, who: Who) -> Result<()> {
    let mut hits = Vec::new();
    for how in ALL {
        // There and back.
        hits.extend(STAGES.iter().flat_map(|stage| [Hit { who, how, stage }; 2]));
    }
    run(old, &hits).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: part of `make soak`"]
async fn a_server_is_lost_for_longer_than_a_switch_may_last() -> Result<()> {
    let mut hits = Vec::new();
    for who in [Who::OldDatabase, Who::NewDatabase, Who::Etcd] {
        hits.extend(["fence_database", "sequences"].iter().flat_map(|stage| [Hit { who, how: How::Lost, stage }; 2]));
    }
    run(Old::MariaDb, &hits).await
}

async fn run(old: Old, hits: &[Hit]) -> Result<()> {
    let (directory, servers) = (Directory::new(), Servers::start(old).await?);
    let plan = Plan { gateways: GATEWAYS as usize, orchestrators: 2, etcd: servers.etcd.port, validity: VALIDITY, waits: true };
    let rows = [servers.old.rows().await, servers.new.rows().await];
    let mut world = World { notebooks: Notebooks::start_over(&directory, rows, plan, "").await?, servers };
    world.notebooks.write_at(0..GATEWAYS);
    let (mut taken_back, begun) = (0, Instant::now());
    for (hit, (wish, phase)) in hits.iter().zip(SWITCHES.iter().cycle()) {
        let from = Instant::now();
        let tries = world.switch(*hit, wish, phase).await.with_context(|| format!("a {wish}, {hit:?}"))?;
        println!("{old:?}: {:?} {:?} at {} of a {wish}: made in {:?}, {tries} taken back", hit.who, hit.how, hit.stage, from.elapsed());
        taken_back += tries;
    }
    println!("{old:?}: {} hits in {:?}, {taken_back} switches taken back", hits.len(), begun.elapsed());
    world.notebooks.settle_but(&[], |gateway, failure| hits.iter().any(|hit| hit.excuses(gateway, failure))).await?;
    directory.passed();
    Ok(())
}

impl World {
    /// A switch at one of whose steps somebody is hit. How often it was taken back and wished for anew.
    async fn switch(&mut self, hit: Hit, wish: &'static str, phase: &str) -> Result<u32> {
        self.notebooks.fleet.leader(PATIENCE).await?;
        self.notebooks.until_ready().await?;
        let mut wishing = self.notebooks.begin_to_wish(wish)?;
        // Who was hit, and until when it is away.
        let mut away: Option<(usize, Instant)> = None;
        let (mut was_hit, mut tries, begun) = (false, 0, Instant::now());
        loop {
            let fleet = &self.notebooks.fleet;
            ensure!(begun.elapsed() < PATIENCE, "it never came about: {:#}", fleet.status(NAME).await?);
            if let Some((leader, stage)) = fleet.waits() {
                if stage == hit.stage && !was_hit {
                    was_hit = true;
                    self.strike(hit, leader)?;
                    away = Some((leader, Instant::now() + hit.who.is_away(hit.how)));
                }
                self.notebooks.fleet.go_on(leader, &stage)?;
            }
            if let Some((leader, until)) = away
                && Instant::now() >= until
            {
                self.recover(hit, leader)?;
                away = None;
            }
            // A wish that nobody took, because nobody led just then, is wished for again, as is one that was taken back.
            if away.is_none()
                && wishing.is_finished()
                && let Ok(status) = self.notebooks.fleet.status(NAME).await
                && status["switch"].is_null()
            {
                if status["phase"] == phase {
                    ensure!(was_hit, "it went through without that step");
                    return Ok(tries);
                }
                tries += u32::from(was_hit);
                wishing = self.notebooks.begin_to_wish(wish)?;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn strike(&mut self, hit: Hit, leader: usize) -> Result<()> {
        match hit.how {
            How::Killed => signal_all(self.process(hit.who, leader)?, Signal::KILL)?,
            How::Asleep => signal_all(self.process(hit.who, leader)?, Signal::STOP)?,
            How::CutOff | How::Lost => self.cables(hit.who, leader).iter().for_each(|cable| cable.cut()),
        }
        Ok(())
    }

    fn recover(&mut self, hit: Hit, leader: usize) -> Result<()> {
        match hit.how {
            How::Killed => return self.start_again(hit.who, leader),
            How::Asleep => signal_all(self.process(hit.who, leader)?, Signal::CONT)?,
            How::CutOff | How::Lost => self.cables(hit.who, leader).iter().for_each(|cable| cable.mend()),
        }
        Ok(())
    }

    fn start_again(&mut self, who: Who, leader: usize) -> Result<()> {
        let fleet = &mut self.notebooks.fleet;
        match who {
            Who::Leader => {
                fleet.orchestrators[leader].process.kill()?;
                fleet.start_orchestrator(leader, &[])?;
            }
            Who::Agent => {
                fleet.agent.process.kill()?;
                fleet.start_agent()?;
            }
            Who::Gateway => {
                fleet.gateways[HIT].process.kill()?;
                fleet.start_gateway(HIT)?;
            }
            Who::Etcd => tokio::task::block_in_place(|| self.servers.etcd.start_again()),
            Who::OldDatabase => self.servers.old.start_again(),
            Who::NewDatabase => self.servers.new.start_again(),
        }
        Ok(())
    }

    fn process(&self, who: Who, leader: usize) -> Result<u32> {
        let fleet = &self.notebooks.fleet;
        match who {
            Who::Leader => Ok(fleet.orchestrators[leader].process.id()),
            Who::Agent => Ok(fleet.agent.process.id()),
            Who::Gateway => Ok(fleet.gateways[HIT].process.id()),
            Who::Etcd => Ok(self.servers.etcd.id()),
            Who::OldDatabase => self.servers.old.id(),
            Who::NewDatabase => self.servers.new.id(),
        }
    }

    fn cables(&self, who: Who, leader: usize) -> Vec<&Cable> {
        let fleet = &self.notebooks.fleet;
        match who {
            Who::Leader => fleet.orchestrators[leader].cables.iter().collect(),
            Who::Agent => fleet.agent.cables.iter().collect(),
            Who::Gateway => fleet.gateways[HIT].cables.iter().collect(),
            Who::Etcd => fleet.orchestrators.iter().flat_map(|one| &one.cables).collect(),
            Who::OldDatabase => vec![&self.servers.old.cable],
            Who::NewDatabase => vec![&self.servers.new.cable],
        }
    }
}

macro_rules! soaked {
    ($($name:ident: $old:ident, $who:ident;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        #[ignore = "minutes: part of `make soak`"]
        async fn $name() -> Result<()> {
            at_each_step(Old::$old, Who::$who).await
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
    etcd_at_each_step_between_two_postgresqls: Postgres, Etcd;
    the_old_database_at_each_step_between_two_postgresqls: Postgres, OldDatabase;
    the_new_database_at_each_step_between_two_postgresqls: Postgres, NewDatabase;
    etcd_at_each_step_from_mariadb_to_postgresql: MariaDb, Etcd;
    the_old_database_at_each_step_from_mariadb_to_postgresql: MariaDb, OldDatabase;
    the_new_database_at_each_step_from_mariadb_to_postgresql: MariaDb, NewDatabase;
}
