//! Three servers with the same settings, and what they have spent.

use sqlx::PgConnection;

use crate::Result;
use crate::machine::{self, POSTGRES, until};
use crate::server::{self, PASSWORD, Server};

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
        let [source, native, ours] = [(), (), ()].map(|()| Server::start(&POSTGRES));
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
        machine::settle(|| Ok(cpu_of(&self.source)? + cpu_of(&self.native)? + cpu_of(&self.ours)?)).await
    }

    /// Writes everything to the disk, so that no round pays for another.
    pub(crate) async fn checkpoint(&self) -> Result<()> {
        for (server, name) in [(&self.source, &self.names[0]), (&self.native, &self.names[1]), (&self.ours, &self.names[2])] {
            run(&mut server.root(name).await, "CHECKPOINT").await?;
        }
        Ok(())
    }
}

/// Seconds of CPU that a server has spent.
pub(crate) fn cpu_of(server: &Server) -> Result<f64> {
    machine::cpu_of_server(server.path())
}

pub(crate) async fn run(connection: &mut PgConnection, sql: &str) -> Result<u64> {
    server::attempt(connection, sql).await.map_err(|error| format!("{error}: {}", sql.chars().take(200).collect::<String>()).into())
}
