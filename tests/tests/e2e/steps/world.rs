//! A fleet in which somebody is hit: at a step of a switch, where the leader waits for it, or while nothing moves. Knows what was
//! struck when, so that nothing else is excused.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use ficus_tests::cable::{Cable, Way};
use ficus_tests::fleet::Plan;
use ficus_tests::http::Http;
use ficus_tests::notebook::{NAME, RULES};
use hyper::Method;
use rustix::process::Signal;

use super::super::Directory;
use super::super::notebooks::{GATEWAYS, Notebooks, Old, PATIENCE};
use super::hits::{Hit, How, LIFT, Struck, Who};
use super::servers::{Servers, signal_all};

/// For how long gateways take writes unheard. Another leader has to come within it, however busy the machine is.
const VALIDITY: &str = "12s";
/// What was under way when everybody was back has been answered by then.
const AFTERWARDS: Duration = Duration::from_secs(1);

pub(super) struct World {
    notebooks: Notebooks,
    servers: Servers,
    struck: Vec<Struck>,
}

/// Who it is just now.
#[derive(Debug, Clone, Copy)]
enum Target {
    Orchestrator(usize),
    Agent,
    Gateway(usize),
    Etcd,
    OldDatabase,
    NewDatabase,
}

impl Who {
    fn under(self, leader: usize) -> Target {
        match self {
            Who::Leader => Target::Orchestrator(leader),
            Who::StandsBy => Target::Orchestrator(1 - leader),
            Who::Agent => Target::Agent,
            Who::Gateway(at) => Target::Gateway(at),
            Who::Etcd => Target::Etcd,
            Who::OldDatabase => Target::OldDatabase,
            Who::NewDatabase => Target::NewDatabase,
        }
    }
}

impl World {
    /// People write at every gateway, and half of them read from the new one.
    pub(super) async fn start(directory: &Directory, old: Old) -> Result<World> {
        let servers = Servers::start(old).await?;
        let plan = Plan { gateways: GATEWAYS as usize, orchestrators: 2, etcd: servers.etcd.port, validity: VALIDITY, waits: true };
        let rows = [servers.old.rows().await, servers.new.rows().await];
        let ramp = "[[step]]\nreads = \"50%\"\nhold = \"1h\"\n\n[[step]]\ncutover";
        let rules = RULES.replacen("[[step]]\ncutover", ramp, 1);
        let mut world = World { notebooks: Notebooks::start_over(directory, rows, plan, &rules).await?, servers, struck: Vec::new() };
        world.notebooks.write_at(0..GATEWAYS);
        world.until_ramping().await?;
        Ok(world)
    }

    async fn until_ramping(&self) -> Result<()> {
        self.notebooks.until_ready().await?;
        self.notebooks.fleet.operator()?.until_accepted("advance", NAME, PATIENCE).await?;
        self.notebooks.fleet.until("half of the readers", PATIENCE, |status| status["phase"] == "ramping").await.map(drop)
    }

    /// Somebody is hit while no switch is under way, and nothing changes.
    pub(super) async fn calmly(&mut self, hit: Hit, phase: &str) -> Result<()> {
        let before = self.notebooks.fleet.status(NAME).await?;
        ensure!(before["phase"] == phase && before["switch"].is_null(), "not {phase}: {before:#}");
        let leader = self.notebooks.fleet.leader(PATIENCE).await?;
        let (target, from) = (hit.who.under(leader), Instant::now());
        self.strike(hit.how, target)?;
        tokio::time::sleep(hit.who.is_away(hit.how)).await;
        self.recover(hit, target).await?;
        self.is_over(hit, from).await?;
        self.still_leads(hit, leader).await?;
        let after = self.notebooks.fleet.status(NAME).await?;
        ensure!(after["phase"] == phase && after["switch"].is_null() && after["owner"] == before["owner"], "not {phase}: {after:#}");
        println!("{hit:?} while {phase}: {:?}", from.elapsed());
        Ok(())
    }

    /// A switch at one of whose steps somebody is hit. How often it was taken back and wished for anew.
    pub(super) async fn switch(&mut self, at: &'static str, hit: Hit, wish: &'static str, phase: &str) -> Result<u32> {
        self.notebooks.fleet.leader(PATIENCE).await?;
        self.notebooks.until_ready().await?;
        let mut wishing = self.notebooks.begin_to_wish(wish)?;
        // Who was hit, and until when it is away.
        let mut away: Option<(Target, Instant)> = None;
        let (mut struck, mut tries, begun) = (None, 0, Instant::now());
        loop {
            let fleet = &self.notebooks.fleet;
            ensure!(begun.elapsed() < PATIENCE, "it never came about: {:#}", fleet.status(NAME).await?);
            if let Some((leader, stage)) = fleet.waits() {
                if struck.is_none() && stage == at {
                    let target = hit.who.under(leader);
                    struck = Some((Instant::now(), leader));
                    self.strike(hit.how, target)?;
                    away = Some((target, Instant::now() + hit.who.is_away(hit.how)));
                } else if struck.is_none() && at == LIFT && stage == "catch_up" {
                    self.abort(leader).await;
                }
                self.notebooks.fleet.go_on(leader, &stage)?;
            }
            if let Some((target, until)) = away
                && Instant::now() >= until
            {
                self.recover(hit, target).await?;
                away = None;
            }
            // A wish that nobody took, because nobody led just then, is wished for again, as is one that was taken back.
            if away.is_none()
                && wishing.is_finished()
                && let Ok(status) = self.notebooks.fleet.status(NAME).await
                && status["switch"].is_null()
            {
                if status["phase"] == phase {
                    let (from, leader) = struck.context("it went through without that step")?;
                    self.is_over(hit, from).await?;
                    self.still_leads(hit, leader).await?;
                    return Ok(tries);
                }
                tries += u32::from(struck.is_some());
                wishing = self.notebooks.begin_to_wish(wish)?;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Somebody wishes for it, and is heard when the leader goes on.
    async fn abort(&self, leader: usize) {
        let http = Http::new(&format!("http://127.0.0.1:{}", self.notebooks.fleet.orchestrators[leader].port), PATIENCE);
        let path = format!("/api/v1/capabilities/{NAME}/abort");
        tokio::spawn(async move { http.send(Method::POST, &path, &[("content-type", "application/json")], "{}".into()).await });
        tokio::time::sleep(Duration::from_millis(200)).await;
    }

    /// Everything is as before, and only what failed until now is of the hit.
    async fn is_over(&mut self, hit: Hit, from: Instant) -> Result<()> {
        self.notebooks.until_agent_reports().await?;
        self.notebooks.until_ready().await?;
        self.notebooks.until_caught_up().await?;
        if let Who::Gateway(at) = hit.who {
            self.notebooks.until_written(at).await?;
        }
        self.struck.push(Struck { hit, from, until: Instant::now() + AFTERWARDS });
        Ok(())
    }

    /// Whoever stands by may come and go: the leader stays.
    async fn still_leads(&self, hit: Hit, leader: usize) -> Result<()> {
        let leads = self.notebooks.fleet.leader(PATIENCE).await?;
        ensure!(hit.who != Who::StandsBy || leads == leader, "{hit:?}, and orchestrator {leads} leads instead of {leader}");
        Ok(())
    }

    /// The account at the end.
    pub(super) async fn settle(self) -> Result<()> {
        let struck = self.struck;
        self.notebooks.settle_but(&[], |gateway, failure| struck.iter().any(|one| one.excuses(gateway, failure))).await
    }

    fn strike(&mut self, how: How, target: Target) -> Result<()> {
        match how {
            How::Killed => signal_all(self.process(target)?, Signal::KILL)?,
            How::Asleep => signal_all(self.process(target)?, Signal::STOP)?,
            How::CutOff | How::Lost => self.cables(target).iter().for_each(|cable| cable.cut()),
            How::Unheard => self.cables(target).iter().for_each(|cable| cable.cut_one_way(Way::There)),
            How::Deaf => self.cables(target).iter().for_each(|cable| cable.cut_one_way(Way::Back)),
        }
        Ok(())
    }

    async fn recover(&mut self, hit: Hit, target: Target) -> Result<()> {
        if hit.who == Who::Etcd && hit.how != How::Killed {
            // It has not answered for longer than a lease.
            self.notebooks.nobody_leads().await?;
        }
        match hit.how {
            How::Killed => return self.start_again(target),
            How::Asleep => signal_all(self.process(target)?, Signal::CONT)?,
            How::CutOff | How::Lost | How::Unheard | How::Deaf => self.cables(target).iter().for_each(|cable| cable.mend()),
        }
        Ok(())
    }

    fn start_again(&mut self, target: Target) -> Result<()> {
        let fleet = &mut self.notebooks.fleet;
        match target {
            Target::Orchestrator(at) => {
                fleet.orchestrators[at].process.kill()?;
                fleet.start_orchestrator(at, &[])?;
            }
            Target::Agent => {
                fleet.agent.process.kill()?;
                fleet.start_agent()?;
            }
            Target::Gateway(at) => {
                fleet.gateways[at].process.kill()?;
                fleet.start_gateway(at)?;
            }
            Target::Etcd => tokio::task::block_in_place(|| self.servers.etcd.start_again()),
            Target::OldDatabase => self.servers.old.start_again(),
            Target::NewDatabase => self.servers.new.start_again(),
        }
        Ok(())
    }

    fn process(&self, target: Target) -> Result<u32> {
        let fleet = &self.notebooks.fleet;
        match target {
            Target::Orchestrator(at) => Ok(fleet.orchestrators[at].process.id()),
            Target::Agent => Ok(fleet.agent.process.id()),
            Target::Gateway(at) => Ok(fleet.gateways[at].process.id()),
            Target::Etcd => Ok(self.servers.etcd.id()),
            Target::OldDatabase => self.servers.old.id(),
            Target::NewDatabase => self.servers.new.id(),
        }
    }

    fn cables(&self, target: Target) -> Vec<&Cable> {
        let fleet = &self.notebooks.fleet;
        match target {
            Target::Orchestrator(at) => fleet.orchestrators[at].cables.iter().collect(),
            Target::Agent => fleet.agent.cables.iter().collect(),
            Target::Gateway(at) => fleet.gateways[at].cables.iter().collect(),
            Target::Etcd => fleet.orchestrators.iter().flat_map(|one| &one.cables).collect(),
            Target::OldDatabase => vec![&self.servers.old.cable],
            Target::NewDatabase => vec![&self.servers.new.cable],
        }
    }
}
