//! A backlog drained from PostgreSQL to MariaDB, beside a replica of a MariaDB that was written the same.

use mysql_async::Conn;

use crate::database::{DURABLE, Database, Engine, cpu, mariadb_server};
use crate::drain::{Drained, follow, ours, write};
use crate::lines::{Bar, Figure, Stopwatch, rate};
use crate::machine::{PATIENCE, settle, until};
use crate::mariadb::{self, AGENT, PASSWORD};
use crate::person::{PERSON, Writer, fill, legacy};
use crate::{Result, order, rounds, size};

pub(crate) async fn measure() -> Result<bool> {
    let rounds = rounds()?;
    let mut writer = Writer::new(size("CHANGES", 200_000)?, rounds as u64);
    let (source, target) = (Database::start(Engine::Postgres).await?, Database::mariadb(&DURABLE).await);
    let native = Native::start().await?;
    for database in [&source, &target, &native.primary] {
        database.run(legacy(database.engine())).await?;
        database.run(["CREATE INDEX person_level ON person (level)"]).await?;
    }
    for database in [&source, &native.primary] {
        fill(&mut database.app().await?, 1, writer.rows()).await?;
    }
    follow(&source, &target, "same").await?;
    native.has_caught_up().await?;
    let mut speed = Figure::new("to_mariadb_drain", "rows_per_second", "rows/s", "a replica of MariaDB", Bar::RatioAtLeast(0.8));
    let mut memory = Figure::new("to_mariadb_drain", "agent_memory", "MB", "", Bar::Below(200.0));
    for round in 1..=rounds {
        write(&[&source, &native.primary], &writer.backlog(), round).await?;
        source.checkpoint().await?;
        for who in order(round) {
            settle(|| cpu(&[&source, &target, &native.primary, &native.replica])).await?;
            let Drained { seconds, noise, memory: most } =
                if who { ours(&source, &target, "same", round).await? } else { native.drain(round).await? };
            if who {
                memory.ours.push(most);
            }
            (if who { &mut speed.ours } else { &mut speed.peers }).push(rate(writer.changes(), seconds));
            speed.noise.push(noise);
        }
        let wanted = source.state(&PERSON).await?;
        target.state(&PERSON).await?.must_be(wanted, "the agent's target")?;
        native.replica.state(&PERSON).await?.must_be(wanted, "the replica")?;
    }
    Ok(speed.print() & memory.print())
}

/// MariaDB's own replication, by GTID and with one thread, which is its default and was the fastest with these changes.
struct Native {
    primary: Database,
    /// It has the primary's database, once it has caught up.
    replica: Database,
}

impl Native {
    async fn start() -> Result<Native> {
        let primary = Database::mariadb(&[]).await;
        let Database::MariaDb { server, name } = &primary else { return Err("a MariaDB was asked for".into()) };
        let replica = mariadb_server(&["--server-id=2"]);
        let begin = format!(
            "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {}, MASTER_USER = '{AGENT}', MASTER_PASSWORD = '{}', \
             MASTER_USE_GTID = slave_pos; START SLAVE",
            server.port,
            PASSWORD.replace('\'', "''"),
        );
        mariadb::attempt(&mut replica.root("mysql").await, &begin).await?;
        let replica = Database::MariaDb { server: replica, name: name.clone() };
        Ok(Native { primary, replica })
    }

    /// A connection to the replica, which may have no database yet.
    async fn root(&self) -> Result<Conn> {
        let Database::MariaDb { server, .. } = &self.replica else { return Err("a MariaDB was asked for".into()) };
        Ok(server.root("mysql").await)
    }

    /// Waits until the replica has everything, and stops it.
    async fn has_caught_up(&self) -> Result<()> {
        let Database::MariaDb { server, name } = &self.primary else { return Err("a MariaDB was asked for".into()) };
        let position = mariadb::text(&mut server.root(name).await, "SELECT @@gtid_binlog_pos").await.unwrap_or_default();
        let replica = &mut self.root().await?;
        let wait = format!("SELECT MASTER_GTID_WAIT('{position}', {})", PATIENCE.as_secs());
        if mariadb::number(replica, &wait).await != 0 {
            return Err("the replica does not catch up".into());
        }
        Ok(mariadb::attempt(replica, "STOP SLAVE").await?)
    }

    /// Lets the replica do its work, until the last row is seen.
    async fn drain(&self, mark: usize) -> Result<Drained> {
        let looking = &mut self.replica.app().await?;
        let spent = || cpu(&[&self.primary, &self.replica]);
        let before = spent()?;
        let watch = Stopwatch::start();
        mariadb::attempt(&mut self.root().await?, "START SLAVE").await?;
        let seen = format!("SELECT count(*) FROM mark WHERE id = {mark}");
        until("the last row is seen", async || Ok(looking.number(&seen).await? == 1)).await?;
        let seconds = watch.elapsed();
        let noise = watch.noise(spent()? - before);
        mariadb::attempt(&mut self.root().await?, "STOP SLAVE").await?;
        Ok(Drained { seconds, noise, memory: 0.0 })
    }
}
