//! Backlogs: decoded, and drained.

use std::process::Stdio;
use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection, Row};

use crate::agent::Running;
use crate::bed::{Bed, cpu_of, run};
use crate::lines::{Bar, Figure, Stopwatch, rate};
use crate::machine::{PATIENCE, until};
use crate::server::{self, PASSWORD};
use crate::{Result, order, rounds, size};

/// A table like many, and one for the row that ends a backlog.
pub(crate) const TABLES: &str = "
CREATE TABLE item (id bigint PRIMARY KEY, name text NOT NULL, amount numeric(12,2) NOT NULL, state int NOT NULL, note text,
  active boolean NOT NULL, doc jsonb NOT NULL, at timestamptz NOT NULL);
CREATE INDEX item_state ON item (state);
CREATE TABLE mark (id bigint PRIMARY KEY, at timestamptz NOT NULL);";

/// Rows that are there from the beginning.
pub(crate) const BASE: u64 = 100_000;

/// What writes backlogs: each a procedure that says how many rows it changed.
const WORK: &str = "
CREATE PROCEDURE fill(low bigint, high bigint) LANGUAGE sql AS $$
  INSERT INTO item SELECT i, 'item ' || i, i % 1000 + 0.25, i % 100, 'a note of some length that says little', i % 2 = 0,
    jsonb_build_object('size', i % 7, 'tag', 'new'), '2026-01-02 03:04:05.000006+00' FROM generate_series(low, high) i $$;
CREATE PROCEDURE mixed(transactions int, each int, INOUT changed bigint) LANGUAGE plpgsql AS $$
DECLARE top bigint; step bigint; pick bigint; picks bigint[];
BEGIN
  PERFORM setseed(0.5); changed := 0;
  FOR i IN 1..transactions LOOP
    FOR j IN 1..each / 10 LOOP
      SELECT max(id) INTO top FROM item;
      CALL fill(top + 1, top + 5);
      SELECT array_agg(1 + (random() * top)::bigint) INTO picks FROM generate_series(1, 4);
      UPDATE item SET amount = amount + 1, doc = '{\"size\": 1, \"tag\": \"old\"}', at = '2026-02-03 04:05:06+00' WHERE id = ANY(picks);
      GET DIAGNOSTICS step = ROW_COUNT; changed := changed + 5 + step;
      pick := 1 + (random() * top)::bigint;
      DELETE FROM item WHERE id = pick;
      GET DIAGNOSTICS step = ROW_COUNT; changed := changed + step;
    END LOOP;
    COMMIT;
  END LOOP;
END $$;
CREATE PROCEDURE updates(transactions int, INOUT changed bigint) LANGUAGE plpgsql AS $$
DECLARE step bigint; pick bigint;
BEGIN
  PERFORM setseed(0.25); changed := 0;
  FOR i IN 1..transactions LOOP
    pick := 1 + (random() * 99998)::bigint;
    UPDATE item SET amount = amount + 1, note = 'another note, as long as the one before' WHERE id = pick;
    GET DIAGNOSTICS step = ROW_COUNT; changed := changed + step;
    COMMIT;
  END LOOP;
END $$;";

const STATE: &str = "SELECT count(*) || ' ' || coalesce(sum(hashtext(item::text)::bigint), 0) FROM item";

/// A kind of backlog.
struct Load {
    name: &'static str,
    call: String,
    bar: f64,
}

/// What one side took.
struct Drained {
    seconds: Duration,
    /// Microseconds of CPU by row.
    cpu: f64,
    noise: f64,
    memory: f64,
}

/// Both kinds of measurement share their backlogs. Whether all bars were met.
pub(crate) async fn measure(decode: bool, apply: bool) -> Result<bool> {
    let mut met = true;
    let (transactions, updates, big) = (size("TRANSACTIONS", 50_000)?, size("UPDATES", 200_000)?, size("BIG", 500_000)?);
    let mut loads = vec![Load { name: "mixed", call: format!("CALL mixed({transactions}, 10, 0)"), bar: 1.0 }];
    if apply {
        loads.push(Load { name: "updates", call: format!("CALL updates({updates}, 0)"), bar: 2.0 });
        loads.push(Load { name: "one_transaction", call: format!("CALL mixed(1, {big}, 0)"), bar: 1.0 });
    }
    if let Ok(only) = std::env::var("FICUS_BENCH_LOAD") {
        loads.retain(|load| load.name == only);
    }
    for load in &loads {
        // Tables grow with every round: each kind of backlog begins with servers of its own.
        let mut world = World::start().await?;
        let bench = format!("postgres_apply_{}", load.name);
        let mut speed = Figure::new(&bench, "rows_per_second", "rows/s", "native logical replication", Bar::RatioAtLeast(load.bar));
        let mut cpu = Figure::new(&bench, "cpu_per_row", "us", "native logical replication", Bar::RatioAtMost(1.5));
        let mut memory = Figure::new(&bench, "agent_memory", "MB", "", Bar::Below(200.0));
        let mut read = Figure::new("postgres_decode", "rows_per_second", "rows/s", "pg_recvlogical", Bar::RatioAtLeast(0.9));
        let decode = decode && load.name == "mixed";
        for round in 0..rounds()? {
            if decode {
                world.keep_for_decoding().await?;
            }
            let rows = world.backlog(&load.call).await?;
            if decode {
                world.decode(round, rows, &mut read).await?;
            }
            if apply {
                for who in order(round) {
                    let Drained { seconds, cpu: spent, noise, memory: most } = world.drain(who, rows).await?;
                    let (speeds, cpus) = if who { (&mut speed.ours, &mut cpu.ours) } else { (&mut speed.peers, &mut cpu.peers) };
                    speeds.push(rate(rows, seconds));
                    cpus.push(spent);
                    if who {
                        memory.ours.push(most);
                    }
                    speed.noise.push(noise);
                    cpu.noise.push(noise);
                }
                world.must_be_equal().await?;
            }
        }
        if decode {
            met &= read.print();
        }
        if apply {
            for figure in [speed, cpu, memory] {
                met &= figure.print();
            }
        }
    }
    Ok(met)
}

/// Three servers whose copies are complete, with nobody running.
struct World {
    bed: Bed,
    /// Number of the row that ends the backlog.
    mark: u64,
}

impl World {
    async fn start() -> Result<World> {
        let bed = Bed::start(TABLES, TABLES).await?;
        let source = &mut bed.source().await;
        run(source, WORK).await?;
        run(source, &format!("CALL fill(1, {BASE})")).await?;
        bed.subscribe("item, mark").await?;
        bed.native_runs(false).await?;
        let mut agent = Running::start("stream", "same", &bed.urls())?;
        agent.says("live").await?;
        bed.settle().await?;
        agent.stop().await?;
        Ok(World { bed, mark: 0 })
    }

    /// Writes a backlog. The rows that it changes.
    async fn backlog(&mut self, call: &str) -> Result<u64> {
        let source = &mut self.bed.source().await;
        run(source, "SET synchronous_commit = off").await?;
        let rows = called(source, call).await?;
        self.mark += 1;
        run(source, "SET synchronous_commit = on").await?;
        run(source, &format!("INSERT INTO mark VALUES ({}, now())", self.mark)).await?;
        self.bed.checkpoint().await?;
        self.bed.settle().await?;
        Ok(rows + 1)
    }

    /// Lets the agent, or the subscription, do its work.
    async fn drain(&self, ours: bool, rows: u64) -> Result<Drained> {
        let target = if ours { &self.bed.ours } else { &self.bed.native };
        let looking = &mut if ours { self.bed.ours().await } else { self.bed.native().await };
        let seen = format!("SELECT count(*) FROM mark WHERE id = {}", self.mark);
        let before = cpu_of(&self.bed.source)? + cpu_of(target)?;
        let watch = Stopwatch::start();
        let mut agent = None;
        if ours {
            agent = Some(Running::start("stream", "same", &self.bed.urls())?);
        } else {
            self.bed.native_runs(true).await?;
        }
        until("the last row is seen", async || Ok(server::number(looking, &seen).await == 1)).await?;
        let seconds = watch.elapsed();
        // What the agent's other direction has to read past counts as well.
        self.bed.settle().await?;
        let spent = cpu_of(&self.bed.source)? + cpu_of(target)? - before + agent.as_ref().map_or(0.0, Running::cpu);
        let memory = agent.as_ref().map_or(0.0, Running::most_memory);
        let noise = watch.noise(spent);
        match agent {
            Some(agent) => agent.stop().await?,
            None => self.bed.native_runs(false).await?,
        }
        #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
        let cpu = spent * 1e6 / rows as f64;
        Ok(Drained { seconds, cpu, noise, memory })
    }

    /// Slots that begin here, for those who only read.
    async fn keep_for_decoding(&self) -> Result<()> {
        let root = &mut self.bed.source.root(&self.bed.names[0]).await;
        run(root, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = 'reader'").await?;
        run(root, "SELECT pg_create_logical_replication_slot('reader', 'pgoutput')").await?;
        Running::start("ready", "same", &self.bed.urls())?.stop().await
    }

    async fn decode(&self, round: usize, rows: u64, figure: &mut Figure) -> Result<()> {
        for who in order(round) {
            let before = cpu_of(&self.bed.source)?;
            let watch = Stopwatch::start();
            if who {
                let mut reader = Running::start("read", "same", &self.bed.urls())?;
                let read = reader.says("read").await?;
                figure.ours.push(rate(rows, watch.elapsed()));
                figure.noise.push(watch.noise(cpu_of(&self.bed.source)? - before + reader.cpu()));
                reader.stop().await?;
                if read != rows {
                    return Err(format!("{read} rows were read, not {rows}").into());
                }
            } else {
                self.recvlogical().await?;
                figure.peers.push(rate(rows, watch.elapsed()));
            }
        }
        Ok(())
    }

    async fn recvlogical(&self) -> Result<()> {
        let end = server::text(&mut self.bed.source().await, "SELECT pg_current_wal_flush_lsn()").await.unwrap_or_default();
        let mut command = tokio::process::Command::new("pg_recvlogical");
        command.args(["-d", &self.bed.conninfo(), "--slot=reader", "--start", "--no-loop", "-f", "/dev/null", "-o", "proto_version=1"]);
        command
            .args(["-o", "publication_names=peer", "--endpos", &end])
            .env("PGPASSWORD", PASSWORD)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let status = tokio::time::timeout(PATIENCE, command.status()).await?;
        let status = status.map_err(|error| format!("pg_recvlogical ({error}); apt-get install postgresql-client"))?;
        if status.success() { Ok(()) } else { Err(format!("pg_recvlogical ended with {status}").into()) }
    }

    async fn must_be_equal(&self) -> Result<()> {
        let all = [self.bed.source().await, self.bed.native().await, self.bed.ours().await];
        let mut states = Vec::new();
        for mut connection in all {
            run(&mut connection, "SET TimeZone = 'UTC'; SET DateStyle = 'ISO'").await?;
            states.push(server::text(&mut connection, STATE).await);
        }
        if states[0] == states[1] && states[0] == states[2] {
            return Ok(());
        }
        Err(format!("source, native and agent differ: {states:?}").into())
    }
}

/// Calls a procedure that says a number.
async fn called(connection: &mut PgConnection, call: &str) -> Result<u64> {
    let row = sqlx::raw_sql(AssertSqlSafe(call.to_owned())).fetch_one(connection).await?;
    Ok(row.try_get::<i64, _>(0)?.unsigned_abs())
}
