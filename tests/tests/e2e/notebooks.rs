//! A fleet before two notebooks on database servers, with writers at its gateways: what tests of whole fleets begin with, and
//! the account at their end.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, ensure};
use ficus_tests::fleet::{Behind, Fleet, Plan};
use ficus_tests::http::{Answer, Http};
use ficus_tests::ledger::{Failure, Ledger};
use ficus_tests::notebook::{self, Book, NAME, Notebook, Pace, RULES, Store, UPSTREAMS, Writers};
use hyper::Method;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::Directory;
use super::etcd::EtcdServer;
use super::{mariadb, postgres};

pub(super) const PATIENCE: Duration = Duration::from_secs(180);
/// A wish that takes longer is typed anew.
const ANSWERED: Duration = Duration::from_secs(20);
pub(super) const GATEWAYS: u32 = 3;
const PACE: Pace = Pace { writers: 4, every: Duration::from_millis(200) };

/// What the old notebook's rows are in. The new one's are in PostgreSQL.
#[derive(Debug, Clone, Copy)]
pub(super) enum Old {
    Postgres,
    MariaDb,
}

/// Where the rows of one notebook are: its service's account is not always the agent's.
pub(super) struct Rows {
    pub(super) app: String,
    pub(super) agent: String,
}

impl Rows {
    pub(super) fn in_sqlite(file: &Path) -> Rows {
        let url = format!("sqlite://{}", file.display());
        Rows { app: url.clone(), agent: url }
    }

    pub(super) async fn in_postgres(server: &postgres::Server) -> Rows {
        let url = server.url(&server.database().await);
        Rows { app: url.clone(), agent: url }
    }

    pub(super) async fn in_mariadb(server: &mariadb::Server) -> Rows {
        let database = server.database().await;
        Rows { app: format!("mysql://root@127.0.0.1:{}/{database}", server.port), agent: server.url(&database) }
    }

    /// The agent comes by another port.
    pub(super) fn reached_at(mut self, port: u16, other: u16) -> Rows {
        self.agent = self.agent.replace(&format!(":{port}/"), &format!(":{other}/"));
        self
    }
}

/// A fleet with all that is behind it.
pub(super) struct Notebooks {
    pub(super) fleet: Fleet,
    /// The old one and the new one.
    pub(super) services: [Notebook; 2],
    /// Their rows.
    pub(super) stores: [Store; 2],
    writers: Vec<Writers>,
}

impl Notebooks {
    /// Everything runs, and the capability may be cut over. Of the people, the last one writes at no gateway.
    pub(super) async fn start(directory: &Directory, etcd: &EtcdServer, old: Old, plan: Plan) -> Result<Notebooks> {
        Notebooks::start_with(directory, etcd, old, plan, "").await
    }

    /// The same, with more sections of rules.
    pub(super) async fn start_with(directory: &Directory, etcd: &EtcdServer, old: Old, plan: Plan, more: &str) -> Result<Notebooks> {
        let server = postgres::Server::shared();
        let old = match old {
            Old::Postgres => Rows::in_postgres(server).await,
            Old::MariaDb => Rows::in_mariadb(mariadb::Server::shared()).await,
        };
        let rows = [old, Rows::in_postgres(server).await];
        Notebooks::start_over(directory, rows, Plan { etcd: etcd.port, ..plan }, &format!("{RULES}{more}")).await
    }

    /// The same over these databases, both empty, by these rules.
    pub(super) async fn start_over(directory: &Directory, rows: [Rows; 2], plan: Plan, rules: &str) -> Result<Notebooks> {
        let people = Notebooks::nobody();
        let stores = [Store::open(Book::Old, &rows[0].app, people).await?, Store::open(Book::New, &rows[1].app, people).await?];
        let services = [Notebook::start(stores[0].clone()).await?, Notebook::start(stores[1].clone()).await?];
        let behind =
            |at: usize| Behind { name: UPSTREAMS[at], port: services[at].port, health: "/health", database: rows[at].agent.clone() };
        let fleet = Fleet::start_before(directory.path(), plan, [behind(0), behind(1)], NAME, rules).await?;
        fleet.operator()?.type_in(&["advance", NAME]).await?;
        fleet.until("shadowing", PATIENCE, |status| status["phase"] == "shadowing").await?;
        Ok(Notebooks { fleet, services, stores, writers: Vec::new() })
    }

    /// Somebody who does not write by himself.
    pub(super) fn nobody() -> i64 {
        i64::from(GATEWAYS * PACE.writers) + 1
    }

    /// From now on people write at these gateways.
    pub(super) fn write_at(&mut self, gateways: std::ops::Range<u32>) {
        self.writers.extend(gateways.map(|at| Writers::start(&self.fleet.http(at as usize), PACE, at)));
    }

    /// No orchestrator says that it leads.
    pub(super) async fn nobody_leads(&self) -> Result<()> {
        for one in &self.fleet.orchestrators {
            let asked = Http::new(&format!("http://127.0.0.1:{}", one.port), Duration::from_secs(2)).get("/leader").await;
            ensure!(!asked.is_ok_and(|answer| answer.status.is_success()), "the one at {} believes to lead", one.port);
        }
        Ok(())
    }

    /// Writes what [nobody](Notebooks::nobody) else does: the answer of a gateway.
    pub(super) async fn write(&self, gateway: usize) -> Result<Answer> {
        let (path, body) = (format!("/notes/{}", Notebooks::nobody()), json!({ "address": "nobody in particular" }));
        let headers = [("content-type", "application/json")];
        self.fleet.http(gateway).send(Method::PUT, &path, &headers, body.to_string().into()).await
    }

    /// Until a gateway takes writes.
    pub(super) async fn until_written(&self, gateway: usize) -> Result<()> {
        let begun = Instant::now();
        while !self.write(gateway).await.is_ok_and(|answer| answer.status.is_success()) {
            ensure!(begun.elapsed() < PATIENCE, "gateway {gateway} does not take writes");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Until the agent has told something since now. What is known of one that was hit may be of before.
    pub(super) async fn until_agent_reports(&self) -> Result<()> {
        let (begun, now) = (Instant::now(), SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis());
        loop {
            let status = self.fleet.whole_status().await.unwrap_or_default();
            if status["agents"][0]["reported"].as_u64().is_some_and(|at| u128::from(at) > now) {
                return Ok(());
            }
            ensure!(begun.elapsed() < PATIENCE, "the agent reports no more: {status:#}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Both directions run, and the agent complains of nothing.
    pub(super) async fn until_ready(&self) -> Result<()> {
        let ready = |status: &Value| {
            let agent = &status["agent"];
            agent["forward"]["live"] == true && agent["reverse"]["live"] == true && agent["trouble"].is_null()
        };
        self.fleet.until("both streams", PATIENCE, ready).await.map(drop)
    }

    /// What people write comes over at once.
    pub(super) async fn until_caught_up(&self) -> Result<()> {
        let soon = |status: &Value| status["lag_seconds"].as_f64().is_some_and(|lag| lag < 1.0);
        self.fleet.until("the stream to have caught up", PATIENCE, soon).await.map(drop)
    }

    /// Somebody types a wish, who is answered once leaders have waited as they were told to, and lifts what a gate holds that failed
    /// while a database was away. What is not answered for long was lost with a leader, or on a cable that was cut.
    pub(super) fn begin_to_wish(&self, wish: &'static str) -> Result<JoinHandle<()>> {
        let operator = self.fleet.operator()?;
        let typing = async move {
            let _ = operator.try_type(&["release", NAME]).await;
            operator.until_accepted(wish, NAME, PATIENCE).await
        };
        Ok(tokio::spawn(async move { drop(tokio::time::timeout(ANSWERED, typing).await) }))
    }

    /// Until a switch that was wished for has been made, however often it is taken back.
    pub(super) async fn until_switched(&self, wish: &str, phase: &str) -> Result<()> {
        let begun = Instant::now();
        loop {
            let ended = |status: &Value| status["phase"] == phase || status["switch"].is_null();
            let status = self.fleet.until("the switch to end", PATIENCE, ended).await?;
            if status["phase"] == phase {
                return Ok(());
            }
            ensure!(begun.elapsed() < PATIENCE, "the {wish} never came about: {status:#}");
            let _ = self.fleet.operator()?.try_type(&[wish, NAME]).await?;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Ends the writers, and holds both databases against what they and `others` remember. Through the first gateways, `spared` of
    /// them, no request may have failed.
    pub(super) async fn settle(self, spared: usize, others: &[Ledger]) -> Result<()> {
        self.settle_but(others, |gateway, failure| gateway >= spared && failure.is_excused()).await
    }

    /// The same; at which gateway which failures are `excused`.
    pub(super) async fn settle_but(self, others: &[Ledger], excused: impl Fn(usize, &Failure) -> bool) -> Result<()> {
        let mut ledgers = Vec::new();
        for one in self.writers {
            ledgers.push(one.stop().await);
        }
        let quiet = |status: &Value| {
            let agent = &status["agent"];
            agent["forward"]["live"] == true && agent["forward"]["lag_entries"] == 0 && agent["reverse"]["lag_entries"] == 0
        };
        self.fleet.until("the streams to be empty", PATIENCE, quiet).await?;
        let operator = self.fleet.operator()?;
        operator.type_in(&["verify", NAME, "--wait", "120s"]).await?;
        operator.type_in(&["journal", "--verify"]).await.context("the journal is one chain, whoever wrote it")?;
        let entries: Vec<_> = ledgers.iter().chain(others).flat_map(Ledger::entries).collect();
        let findings = notebook::audit([&self.stores[0], &self.stores[1]], &entries).await?;
        ensure!(findings.lost.is_empty(), "lost {:?}", findings.lost);
        ensure!(findings.doubled.is_empty(), "doubled {:?}", findings.doubled);
        for (gateway, ledger) in ledgers.iter().enumerate() {
            ensure!(ledger.stale_reads().is_empty(), "stale at gateway {gateway}: {:?}", ledger.stale_reads());
            let failed: Vec<_> = ledger.failed_requests().into_iter().filter(|failure| !excused(gateway, failure)).collect();
            ensure!(failed.is_empty(), "somebody at gateway {gateway} noticed: {failed:?} {:?}", ledger.samples());
            ensure!(ledger.acknowledged() > 0, "nobody wrote at gateway {gateway}");
            println!(
                "gateway {gateway}: {} requests, {} acknowledged writes, {:?} failed",
                ledger.requests(),
                ledger.acknowledged(),
                ledger.failures()
            );
        }
        Ok(())
    }
}
