//! The initial copy, beside `COPY` piped into `COPY` with the same columns into the same tables.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::agent::Running;
use crate::bed::{Bed, cpu_of, run};
use crate::lines::{Bar, Figure, Stopwatch, rate};
use crate::machine::PATIENCE;
use crate::server::{self, PASSWORD, Server};
use crate::{Result, order, rounds, size};

const SOURCE: &str = "
CREATE TABLE person (id bigint PRIMARY KEY, first_name varchar(100) NOT NULL, balance numeric(12,2) NOT NULL, level int NOT NULL,
  doc jsonb NOT NULL, seen timestamptz NOT NULL, note text);";

const TARGET: &str = "
CREATE TABLE people (legacy_id bigint PRIMARY KEY, given_name text NOT NULL, amount text NOT NULL, level text NOT NULL, doc jsonb NOT NULL,
  seen timestamp NOT NULL, note text);
CREATE TABLE citizens (id uuid PRIMARY KEY, legacy_id bigint UNIQUE, given_name text NOT NULL, amount text NOT NULL, level text NOT NULL,
  doc jsonb NOT NULL, seen timestamp NOT NULL, note text);";

const FILL: &str = "INSERT INTO person SELECT i, 'name ' || i, i % 100000 + 0.25, i % 10, jsonb_build_object('size', i % 7, 'tag', 'a tag'),
  '2026-01-02 03:04:05.000006+00'::timestamptz + i * interval '1 second', 'a note of some length that says little' FROM generate_series(1, {rows}) i";

/// Its columns as the target has them. PostgreSQL itself has no UUIDv5; an MD5 of the number takes its place.
const COLUMNS: &str = "id, first_name, balance::text, level::text, doc, seen AT TIME ZONE 'UTC', note FROM person";

struct Way {
    map: &'static str,
    table: &'static str,
    first: &'static str,
    bar: f64,
}

const WAYS: [Way; 2] = [
    Way { map: "renamed", table: "people", first: "", bar: 0.9 },
    Way { map: "uuid", table: "citizens", first: "md5('person/' || id)::uuid, ", bar: 0.6 },
];

pub(crate) async fn measure() -> Result<bool> {
    let mut met = true;
    let rows = size("ROWS", 1_000_000)?;
    for way in &WAYS {
        let bed = Bed::start(SOURCE, TARGET).await?;
        run(&mut bed.source().await, &FILL.replace("{rows}", &rows.to_string())).await?;
        run(&mut bed.source().await, "VACUUM ANALYZE person").await?;
        let bench = format!("postgres_copy_{}", way.map);
        let mut speed = Figure::new(&bench, "rows_per_second", "rows/s", "COPY piped into COPY", Bar::RatioAtLeast(way.bar));
        let mut memory = Figure::new(&bench, "agent_memory", "MB", "", Bar::Below(200.0));
        for round in 0..rounds()? {
            for ours in order(round) {
                let target = if ours { &bed.ours } else { &bed.native };
                run(&mut target.root(&bed.names[if ours { 2 } else { 1 }]).await, &format!("TRUNCATE {}", way.table)).await?;
                bed.checkpoint().await?;
                bed.settle().await?;
                let before = cpu_of(&bed.source)? + cpu_of(target)?;
                let watch = Stopwatch::start();
                if ours {
                    let mut agent = Running::start("stream", way.map, &bed.urls())?;
                    let copied = agent.says("copied").await?;
                    let took = watch.elapsed();
                    speed.noise.push(watch.noise(cpu_of(&bed.source)? + cpu_of(target)? - before + agent.cpu()));
                    speed.ours.push(rate(rows, took));
                    if copied != rows {
                        return Err(format!("{copied} rows were copied, not {rows}").into());
                    }
                    agent.says("live").await?;
                    bed.settle().await?;
                    memory.ours.push(agent.most_memory());
                    agent.stop().await?;
                    Running::start("remove", way.map, &bed.urls())?.stop().await?;
                } else {
                    piped(&bed, way)?;
                    speed.peers.push(rate(rows, watch.elapsed()));
                }
            }
        }
        must_be_equal(&bed, way).await?;
        met &= speed.print();
        met &= memory.print();
    }
    Ok(met)
}

/// Two clients with a pipe between them.
fn piped(bed: &Bed, way: &Way) -> Result<()> {
    let client = |server: &Server, database: &str, sql: String| {
        let mut client = Command::new("psql");
        client.args([
            "-X",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            "127.0.0.1",
            "-U",
            "postgres",
            "-d",
            database,
            "-p",
            &server.port.to_string(),
        ]);
        client.args(["-c", &sql]).env("PGPASSWORD", PASSWORD).env("PGSSLMODE", "disable");
        client
    };
    let out = client(&bed.source, &bed.names[0], format!("COPY (SELECT {}{COLUMNS}) TO STDOUT", way.first));
    let into = client(&bed.native, &bed.names[1], format!("COPY {} FROM STDIN", way.table));
    let (mut out, mut into) = (out, into);
    let mut out = out.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut into = into.stdin(out.stdout.take().ok_or("a pipe was asked for")?).spawn()?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let (Some(one), Some(other)) = (out.try_wait()?, into.try_wait()?) {
            return if one.success() && other.success() { Ok(()) } else { Err(format!("psql ended with {one} and {other}").into()) };
        }
        if Instant::now() > deadline {
            let _ = (out.kill(), into.kill());
            return Err("COPY does not end".into());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Both targets have the same rows, but for the UUIDs.
async fn must_be_equal(bed: &Bed, way: &Way) -> Result<()> {
    let query = format!(
        "SELECT count(*) || ' ' || sum(hashtext((legacy_id, given_name, amount::numeric, level, doc, seen, note)::text)::bigint) FROM {}",
        way.table
    );
    let mut states = Vec::new();
    for mut connection in [bed.native().await, bed.ours().await] {
        run(&mut connection, "SET TimeZone = 'UTC'; SET DateStyle = 'ISO'").await?;
        states.push(server::text(&mut connection, &query).await);
    }
    if states[0] == states[1] { Ok(()) } else { Err(format!("native and agent differ: {states:?}").into()) }
}
