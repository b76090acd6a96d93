//! Three servers with the same settings, and what they have spent.

use std::time::{Duration, Instant};

use sqlx::PgConnection;

use crate::lines::TICKS;
use crate::server::{self, PASSWORD, Server};
use crate::{Failed, Result};

/// Nobody waits longer than this for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

/// What differs from the tests' servers: a disk that is written through, memory as on a small production machine, and no
/// background work that would fall into one round and not into another.
const SETTINGS: [&str; 11] = [
    "fsync=on",
    "shared_buffers=512MB",
    "max_wal_size=16GB",
    "checkpoint_timeout=1h",
    "autovacuum=off",
    "wal_retrieve_retry_interval=100ms",
    "wal_writer_delay=10ms",
    "max_worker_processes=32",
    "max_logical_replication_workers=16",
    "max_connections=60",
    "log_min_messages=error",
];

/// The servers, and the same database on each.
pub(crate) struct Bed {
    pub(crate) source: Server,
    /// The peer's target.
    pub(crate) native: Server,
    /// The agent's.
    pub(crate) ours: Server,
    /// Names of the database on these three.
    pub(crate) names: [String; 3],
}

impl Bed {
    /// Starts the servers, with these tables on the source and those on the targets.
    pub(crate) async fn start(source_tables: &str, target_tables: &str) -> Result<Bed> {
        let [source, native, ours] = [(), (), ()].map(|()| Server::start(&SETTINGS));
        let names = [source.database().await, native.database().await, ours.database().await];
        let bed = Bed { source, native, ours, names };
        run(&mut bed.source().await, source_tables).await?;
        run(&mut bed.native().await, target_tables).await?;
        run(&mut bed.ours().await, target_tables).await?;
        Ok(bed)
    }

    pub(crate) async fn source(&self) -> PgConnection {
        self.source.app(&self.names[0]).await
    }

    pub(crate) async fn native(&self) -> PgConnection {
        self.native.app(&self.names[1]).await
    }

    pub(crate) async fn ours(&self) -> PgConnection {
        self.ours.app(&self.names[2]).await
    }

    /// The URLs that an agent is given.
    pub(crate) fn urls(&self) -> [String; 2] {
        [self.source.url(&self.names[0]), self.ours.url(&self.names[2])]
    }

    /// How libpq finds the source.
    pub(crate) fn conninfo(&self) -> String {
        let password = PASSWORD.replace('\'', "\\'");
        format!("host=127.0.0.1 port={} user=postgres password='{password}' dbname={} sslmode=disable", self.source.port, self.names[0])
    }

    /// A publication of the tables, and a subscription that copies them first.
    pub(crate) async fn subscribe(&self, tables: &str) -> Result<()> {
        run(&mut self.source.root(&self.names[0]).await, &format!("CREATE PUBLICATION peer FOR TABLE {tables}")).await?;
        let native = &mut self.native.root(&self.names[1]).await;
        let sync = if std::env::var("FICUS_BENCH_NATIVE_SYNC").is_ok() { "on" } else { "off" };
        let create = "CREATE SUBSCRIPTION peer CONNECTION";
        let conninfo = self.conninfo().replace('\'', "''");
        run(native, &format!("{create} '{conninfo}' PUBLICATION peer WITH (synchronous_commit = {sync})")).await?;
        let ready = "SELECT count(*) FROM pg_subscription_rel WHERE srsubstate <> 'r'";
        until("the subscription has copied", async || Ok(server::number(native, ready).await == 0)).await
    }

    /// Starts or ends the subscription's worker.
    pub(crate) async fn native_runs(&self, on: bool) -> Result<()> {
        let native = &mut self.native.root(&self.names[1]).await;
        run(native, &format!("ALTER SUBSCRIPTION peer {}", if on { "ENABLE" } else { "DISABLE" })).await?;
        if !on {
            let workers = "SELECT count(*) FROM pg_stat_subscription WHERE pid IS NOT NULL";
            until("the subscription has stopped", async || Ok(server::number(native, workers).await == 0)).await?;
        }
        Ok(())
    }

    /// Until all servers have done nothing for a while.
    pub(crate) async fn settle(&self) -> Result<()> {
        let all = || Ok::<_, Failed>(cpu_of(&self.source)? + cpu_of(&self.native)? + cpu_of(&self.ours)?);
        let mut last = all()?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let now = all()?;
            // A tick now and then is what idle servers spend.
            if now - last < 0.025 {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err("the servers do not come to rest".into());
            }
            last = now;
        }
    }

    /// Writes everything to the disk, so that no round pays for another.
    pub(crate) async fn checkpoint(&self) -> Result<()> {
        for (server, name) in [(&self.source, &self.names[0]), (&self.native, &self.names[1]), (&self.ours, &self.names[2])] {
            run(&mut server.root(name).await, "CHECKPOINT").await?;
        }
        Ok(())
    }
}

/// Seconds of CPU that a server has spent: its processes that live, and those that it has waited for.
pub(crate) fn cpu_of(server: &Server) -> Result<f64> {
    let pid = std::fs::read_to_string(server.path().join("data/postmaster.pid"))?;
    let postmaster = pid.lines().next().unwrap_or_default().to_owned();
    let mut ticks = 0.0;
    for entry in std::fs::read_dir("/proc")?.flatten() {
        // One that has ended since is among those waited for.
        let Some(stat) = stat(&entry.path().join("stat")) else { continue };
        if entry.file_name().to_str() == Some(postmaster.as_str()) {
            ticks += stat.own + stat.ended;
        } else if stat.parent == postmaster {
            ticks += stat.own;
        }
    }
    Ok(ticks / TICKS)
}

/// Seconds of CPU of one process.
pub(crate) fn cpu_of_process(pid: u32) -> f64 {
    stat(std::path::Path::new(&format!("/proc/{pid}/stat"))).map_or(0.0, |stat| stat.own / TICKS)
}

struct Stat {
    parent: String,
    own: f64,
    ended: f64,
}

/// `man proc`: the name stands in brackets and may hold anything; after it fields 3 and on.
fn stat(path: &std::path::Path) -> Option<Stat> {
    let text = std::fs::read_to_string(path).ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field - 3).and_then(|field| field.parse::<f64>().ok());
    Some(Stat { parent: (*fields.get(1)?).to_owned(), own: ticks(14)? + ticks(15)?, ended: ticks(16)? + ticks(17)? })
}

pub(crate) async fn run(connection: &mut PgConnection, sql: &str) -> Result<u64> {
    server::attempt(connection, sql).await.map_err(|error| format!("{error}: {}", sql.chars().take(200).collect::<String>()).into())
}

/// Asks until it holds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await? {
        if Instant::now() > deadline {
            return Err(format!("not within {} s: {what}", PATIENCE.as_secs()).into());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}
