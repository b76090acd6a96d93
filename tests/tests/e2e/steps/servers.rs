//! What a fleet leans on: an etcd, and a database server for each notebook, which nobody else has. Each is killed, put to sleep, or
//! cut off as a whole, and comes back on its files and port. Does not say when.

use std::path::Path;

use anyhow::{Context as _, Result};
use ficus_tests::cable::Cable;
use rustix::process::Signal;

use super::super::etcd::EtcdServer;
use super::super::handover::signal;
use super::super::notebooks::{Old, Rows};
use super::super::{mariadb, postgres};

pub(super) struct Servers {
    pub(super) etcd: EtcdServer,
    pub(super) old: Database,
    pub(super) new: Database,
}

pub(super) struct Database {
    server: Server,
    /// From the agent to the server. Its service has another way.
    pub(super) cable: Cable,
}

enum Server {
    Postgres(postgres::Server),
    MariaDb(mariadb::Server),
}

impl Servers {
    pub(super) async fn start(old: Old) -> Result<Servers> {
        let old = match old {
            Old::Postgres => Server::postgres(),
            Old::MariaDb => Server::MariaDb(mariadb::Server::start(&[])),
        };
        Ok(Servers { etcd: EtcdServer::start(), old: Database::of(old).await?, new: Database::of(Server::postgres()).await? })
    }
}

impl Database {
    async fn of(server: Server) -> Result<Database> {
        let cable = Cable::to(server.port()).await?;
        Ok(Database { server, cable })
    }

    /// A database in it.
    pub(super) async fn rows(&self) -> Rows {
        let rows = match &self.server {
            Server::Postgres(server) => Rows::in_postgres(server).await,
            Server::MariaDb(server) => Rows::in_mariadb(server).await,
        };
        rows.reached_at(self.server.port(), self.cable.port())
    }

    pub(super) fn id(&self) -> Result<u32> {
        let text = std::fs::read_to_string(self.server.path().join("pid"))?;
        text.trim().parse().context("the number of a process")
    }

    /// After it was killed.
    pub(super) fn start_again(&self) {
        tokio::task::block_in_place(|| match &self.server {
            Server::Postgres(server) => server.crash_and_restart(),
            Server::MariaDb(server) => server.crash_and_restart(),
        });
    }
}

impl Server {
    fn postgres() -> Server {
        Server::Postgres(postgres::Server::start(&["fsync=off"]))
    }

    fn port(&self) -> u16 {
        match self {
            Server::Postgres(server) => server.port,
            Server::MariaDb(server) => server.port,
        }
    }

    fn path(&self) -> &Path {
        match self {
            Server::Postgres(server) => server.path(),
            Server::MariaDb(server) => server.path(),
        }
    }
}

/// To a process and those that it has begun, as PostgreSQL does for each connection. It sleeps meanwhile, so that none is missed.
pub(super) fn signal_all(process: u32, what: Signal) -> Result<()> {
    signal(process, Signal::STOP);
    for child in children(process)? {
        signal(child, what);
    }
    signal(process, what);
    Ok(())
}

fn children(of: u32) -> Result<Vec<u32>> {
    let parent = |process: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse::<u32>().ok()
    };
    let all = std::fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(all.filter(|process| parent(process) == Some(of)).collect())
}
