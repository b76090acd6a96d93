//! From the answer to a commit to its row being seen in the target, at a fixed rate.

use std::time::{Duration, Instant};

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row};

use crate::agent::Running;
use crate::apply::{BASE, TABLES};
use crate::bed::{Bed, cpu_of, run};
use crate::lines::{Bar, Figure, Stopwatch, median, quantile};
use crate::machine::until;
use crate::{Failed, Result, order, rounds, server, size};

/// Commits by second, writers that take turns, and the bars in milliseconds.
const RATES: [(u32, u32, f64, f64); 2] = [(300, 2, 3.0, 15.0), (2_000, 4, 10.0, 50.0)];

/// Numbers of a writer's rows begin at its own multiple of this.
const LANE: i64 = 1_000_000_000;

/// Between two looks at the target.
const LOOK: Duration = Duration::from_micros(150);

/// Left out at the beginning: connections warm up.
const WARM: Duration = Duration::from_secs(2);

const FILL: &str = "INSERT INTO item SELECT i, 'item ' || i, 1, i % 100, 'a note', true, '{}', now() FROM generate_series(1, {rows}) i";

pub(crate) async fn measure() -> Result<bool> {
    let mut met = true;
    let seconds = Duration::from_secs(size("SECONDS", 10)?.clamp(1, 120));
    let bed = Bed::start(TABLES, TABLES).await?;
    run(&mut bed.source().await, &FILL.replace("{rows}", &BASE.to_string())).await?;
    bed.subscribe("item, mark").await?;
    bed.native_runs(false).await?;
    for (rate, writers, p50_bar, p99_bar) in RATES {
        let bench = format!("postgres_lag_{rate}");
        let figure = |metric, bar| Figure::new(&bench, metric, "ms", "native logical replication", Bar::Below(bar));
        let (mut p50, mut p99) = (figure("p50", p50_bar), figure("p99", p99_bar));
        let mut memory = Figure::new(&bench, "agent_memory", "MB", "", Bar::Below(200.0));
        for round in 0..rounds()? {
            for ours in order(round) {
                let mut agent = None;
                if ours {
                    let mut running = Running::start("stream", "same", &bed.urls())?;
                    running.says("live").await?;
                    agent = Some(running);
                } else {
                    bed.native_runs(true).await?;
                }
                caught_up(&bed, ours).await?;
                let (mut lags, noise) = one(&bed, ours, agent.as_ref(), rate, writers, seconds).await?;
                if let Some(agent) = agent {
                    memory.ours.push(agent.most_memory());
                    agent.stop().await?;
                } else {
                    bed.native_runs(false).await?;
                }
                let (to50, to99) = if ours { (&mut p50.ours, &mut p99.ours) } else { (&mut p50.peers, &mut p99.peers) };
                to50.push(median(&lags));
                to99.push(quantile(&mut lags, 0.99));
                p50.noise.push(noise);
                p99.noise.push(noise);
            }
        }
        for figure in [p50, p99, memory] {
            met &= figure.print();
        }
    }
    Ok(met)
}

/// Whoever is measured has what the other one was measured with.
async fn caught_up(bed: &Bed, ours: bool) -> Result<()> {
    let marks = "SELECT count(*) FROM mark";
    let wanted = server::number(&mut bed.source().await, marks).await;
    let target = &mut if ours { bed.ours().await } else { bed.native().await };
    until("what was written before has arrived", async || Ok(server::number(target, marks).await == wanted)).await?;
    bed.settle().await
}

/// The lags in milliseconds, and the noise.
async fn one(bed: &Bed, ours: bool, agent: Option<&Running>, rate: u32, writers: u32, seconds: Duration) -> Result<(Vec<f64>, f64)> {
    let target = if ours { &bed.ours } else { &bed.native };
    let spent = || Ok::<_, Failed>(cpu_of(&bed.source)? + cpu_of(target)?);
    let (before, agents) = (spent()?, agent.map_or(0.0, Running::cpu));
    let watch = Stopwatch::start();
    let looking = if ours { bed.ours().await } else { bed.native().await };
    let top = server::number(&mut bed.source().await, &format!("SELECT coalesce(max(id % {LANE}), 0) FROM mark")).await;
    let begin = Instant::now() + Duration::from_millis(100);
    let looks = tokio::spawn(look(looking, writers, begin + seconds + WARM + Duration::from_secs(20), top));
    let mut tasks = Vec::new();
    for writer in 0..writers {
        let connection = bed.source().await;
        tasks.push(tokio::spawn(write(connection, (writer, writers), begin, rate, seconds + WARM, top)));
    }
    let (mut commits, mut expected) = (Vec::new(), Vec::new());
    for task in tasks {
        let answered = task.await??;
        expected.push(top + i64::try_from(answered.len())?);
        commits.push(answered);
    }
    let seen = looks.await??;
    let noise = watch.noise(spent()? - before + agent.map_or(0.0, Running::cpu) - agents);
    let mut lags = Vec::new();
    for (writer, answered) in commits.into_iter().enumerate() {
        let mut looks = seen.iter().map(|(at, tops)| (*at, tops[writer])).peekable();
        for (index, at) in answered.into_iter().enumerate() {
            let number = top + 1 + i64::try_from(index)?;
            while looks.peek().is_some_and(|(_, top)| *top < number) {
                looks.next();
            }
            let (found, _) = looks.peek().ok_or("a commit was never seen")?;
            if at > begin + WARM {
                lags.push(found.saturating_duration_since(at).as_secs_f64() * 1e3);
            }
        }
    }
    if lags.is_empty() { Err("nothing was committed".into()) } else { Ok((lags, noise)) }
}

/// Commits at its turns, or as soon as it can when it is late; when each was answered.
async fn write(
    mut connection: PgConnection,
    (writer, writers): (u32, u32),
    begin: Instant,
    rate: u32,
    seconds: Duration,
    top: i64,
) -> Result<Vec<Instant>> {
    let mut answered = Vec::new();
    for turn in 0.. {
        let due = Duration::from_secs(1) * (turn * writers + writer) / rate;
        if due > seconds {
            break;
        }
        tokio::time::sleep_until((begin + due).into()).await;
        let number = i64::from(writer) * LANE + top + 1 + i64::from(turn);
        let sql = format!(
            "INSERT INTO mark VALUES ({number}, now()); UPDATE item SET amount = amount + 1 WHERE id = {}",
            1 + number * 7919 % 100_000
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
        answered.push(Instant::now());
    }
    Ok(answered)
}

/// When the target showed which number of each writer, until nothing new has come for two seconds.
async fn look(mut connection: PgConnection, writers: u32, until: Instant, top: i64) -> Result<Vec<(Instant, Vec<i64>)>> {
    let lane = |writer: u32| {
        let low = i64::from(writer) * LANE;
        format!("(SELECT coalesce(max(id), {low}) - {low} FROM mark WHERE id BETWEEN {low} AND {})", low + LANE - 1)
    };
    let query = format!("SELECT {}", (0..writers).map(lane).collect::<Vec<_>>().join(", "));
    let mut seen: Vec<(Instant, Vec<i64>)> = Vec::new();
    loop {
        let row = sqlx::query(AssertSqlSafe(query.clone())).fetch_one(&mut connection).await?;
        let now = Instant::now();
        let tops: Vec<i64> = (0..writers as usize).map(|writer| row.try_get(writer)).collect::<std::result::Result<_, _>>()?;
        if seen.last().is_none_or(|(_, known)| *known != tops) {
            seen.push((now, tops));
        }
        let quiet = seen.last().is_some_and(|(at, tops)| at.elapsed() > Duration::from_secs(2) && tops.iter().all(|found| *found > top));
        if quiet || now > until {
            return Ok(seen);
        }
        tokio::time::sleep(LOOK).await;
    }
}
