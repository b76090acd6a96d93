//! Cutovers and reverts in turn, under hundreds of writes a second: nothing is lost, doubled, failed or stale, and writes are
//! held for a moment only. The services are the two notebooks: a Django does not take as much.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use ficus_tests::bare::Bare;
use ficus_tests::ledger::Ledger;
use ficus_tests::notebook::{self, Book, NAME, Notebook, Pace, RULES, Store, UPSTREAMS, Writers};
use ficus_tests::operator::Operator;
use serde_json::Value;

use crate::line::{Line, percentile};
use crate::{mariadb, postgres};

const PATIENCE: Duration = Duration::from_secs(120);
/// People that the old notebook has: more than write.
pub(crate) const PEOPLE: i64 = 500;
/// From the end of a switch to the next wish.
const REST: Duration = Duration::from_millis(200);

/// Where the rows are at first; they go to PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Postgres,
    MariaDb,
    Sqlite,
}

impl Engine {
    pub(crate) const ALL: [Engine; 3] = [Engine::Postgres, Engine::MariaDb, Engine::Sqlite];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Engine::Postgres => "postgres",
            Engine::MariaDb => "mariadb",
            Engine::Sqlite => "sqlite",
        }
    }

    /// Milliseconds that writes may be held for, of half of the switches, where it is said, and of nearly all of them.
    fn bars(self) -> (Option<u64>, u64) {
        match self {
            Engine::Postgres => (Some(50), 100),
            Engine::MariaDb | Engine::Sqlite => (None, 250),
        }
    }
}

/// Whether all bars were met.
pub(crate) async fn measure(engine: Engine, switches: u32, writes: u32) -> Result<bool> {
    let directory = tempfile::tempdir()?;
    // As servers come: what was committed is on the disk.
    let postgres = postgres::Server::start(&[]);
    let new = postgres.url(&postgres.database().await);
    let mut maria = None;
    let (url, app_url) = match engine {
        Engine::Postgres => {
            let url = postgres.url(&postgres.database().await);
            (url.clone(), url)
        }
        Engine::MariaDb => {
            let server = maria.insert(mariadb::Server::start(&["--innodb-flush-log-at-trx-commit=1", "--sync-binlog=1"]));
            let database = server.database().await;
            (server.url(&database), format!("mysql://root@127.0.0.1:{}/{database}", server.port))
        }
        Engine::Sqlite => {
            let url = format!("sqlite://{}", directory.path().join("old.sqlite3").display());
            (url.clone(), url)
        }
    };
    let stores = [Store::open(Book::Old, &app_url, PEOPLE).await?, Store::open(Book::New, &new, PEOPLE).await?];
    let notebooks = [Notebook::start(stores[0].clone()).await?, Notebook::start(stores[1].clone()).await?];
    let upstreams = [(UPSTREAMS[0], notebooks[0].port, url.as_str()), (UPSTREAMS[1], notebooks[1].port, new.as_str())];
    let bare = Bare::start_over(directory.path(), &upstreams, &[("notebook.toml", RULES)]).await?;
    let operator = bare.operator()?;
    operator.type_in(&["advance", NAME]).await?;
    operator.until_phase(NAME, "shadowing", PATIENCE).await?;
    let pace = above(writes);
    let (writers, begun) = (Writers::start(&bare.http(), pace, 0), Instant::now());
    let mut held = Held::default();
    for number in 0..switches {
        let (wish, phase) = if number % 2 == 0 { ("cutover", "soaking") } else { ("revert", "reverted") };
        held.switch(&operator, wish, phase).await.with_context(|| format!("switch {number}: {}", bare.ficus.log()))?;
        tokio::time::sleep(REST).await;
    }
    let took = begun.elapsed();
    let ledger = writers.stop().await;
    operator.until(NAME, "the streams to be empty", PATIENCE, quiet).await?;
    operator.type_in(&["verify", NAME, "--wait", "120s"]).await?;
    let findings = notebook::audit([&stores[0], &stores[1]], &ledger.entries()).await?;
    let bench = format!("switches_{}", engine.name());
    let mut met = held.print(&bench, engine.bars(), &ledger);
    let failed = ledger.failures().values().sum();
    met &= promises(&bench, [findings.lost.len(), findings.doubled.len()], failed, &[&ledger]);
    met &= rate(&bench, writes, pace, &ledger, took);
    for said in findings.lost.iter().chain(&findings.doubled).chain(&ledger.samples()).chain(&ledger.stale_reads()).take(20) {
        eprintln!("{bench}: {said}");
    }
    for store in &stores {
        store.close().await;
    }
    Ok(met)
}

/// Both streams run, and have nothing to carry.
pub(crate) fn quiet(status: &Value) -> bool {
    let agent = &status["agent"];
    agent["forward"]["live"] == true && agent["forward"]["lag_entries"] == 0 && agent["reverse"]["lag_entries"] == 0
}

/// What must be nothing.
pub(crate) fn promises(bench: &str, [lost, doubled]: [usize; 2], failed: u64, ledgers: &[&Ledger]) -> bool {
    let stale: usize = ledgers.iter().map(|ledger| ledger.stale_reads().len()).sum();
    let mut met = true;
    for (metric, value) in [("lost", lost as u64), ("doubled", doubled as u64), ("failed", failed), ("stale", stale as u64)] {
        met &= Line::of(bench, metric, value, "count").none().print();
    }
    met
}

/// A tenth more than have to be acknowledged: a person whose write is answered late writes the next one late.
fn above(writes: u32) -> Pace {
    Pace::per_second((writes + writes.div_ceil(10)).next_multiple_of(10))
}

/// Acknowledged writes a second, over everything, switches too.
fn rate(bench: &str, wanted: u32, pace: Pace, ledger: &Ledger, took: Duration) -> bool {
    let acknowledged = ledger.acknowledged();
    // As many, or it is missed.
    let achieved = (acknowledged as f64 / took.as_secs_f64()).floor() as u64;
    let line = Line::of(bench, "writes_per_second", achieved, "1/s").at_least(u64::from(wanted));
    let line = line.with("asked", pace.rate().round() as u64).with("acknowledged", acknowledged).with("requests", ledger.requests());
    line.with("seconds", took.as_secs()).print()
}

/// How long writes were held, switch by switch.
#[derive(Debug, Default)]
struct Held {
    pauses: Vec<u64>,
    windows: Vec<(Instant, Instant)>,
    aborted: u64,
}

impl Held {
    /// Wishes for a switch until it has come about.
    async fn switch(&mut self, operator: &Operator, wish: &str, phase: &str) -> Result<()> {
        let begun = Instant::now();
        loop {
            let from = Instant::now();
            let printed = operator.try_type(&[wish, NAME, "--wait", "60s"]).await?;
            let status = operator.status(NAME).await?;
            if status["phase"] == phase {
                self.windows.push((from, Instant::now()));
                self.pauses.push(status["last_pause_ms"].as_u64().context("a switch has a pause")?);
                return Ok(());
            }
            if !printed.err.contains("refused") {
                self.aborted += 1;
                eprintln!("a {wish} ended otherwise: {} {}", printed.err, status["holds"]);
                operator.try_type(&["release", NAME]).await?;
            }
            ensure!(begun.elapsed() < PATIENCE, "the {wish} never came about: {} {status:#}", printed.err);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn print(&mut self, bench: &str, (half, nearly_all): (Option<u64>, u64), ledger: &Ledger) -> bool {
        // What people waited for their writes: of each switch the one who waited longest.
        let timings = ledger.timings();
        let waited = |(from, to): &(Instant, Instant)| {
            let of_then = timings.iter().filter(|timing| timing.write && timing.sent < *to && timing.sent + timing.took > *from);
            of_then.map(|timing| u64::try_from(timing.took.as_millis()).unwrap_or(u64::MAX)).max().unwrap_or(0)
        };
        let mut longest: Vec<u64> = self.windows.iter().map(waited).collect();
        let p50 = Line::of(bench, "pause_p50", percentile(&mut self.pauses, 50), "ms");
        let p50 = if let Some(bar) = half { p50.below(bar) } else { p50 };
        let mut met = p50.with("switches", self.pauses.len()).print();
        let p99 = Line::of(bench, "pause_p99", percentile(&mut self.pauses, 99), "ms").below(nearly_all);
        met &= p99.with("switches", self.pauses.len()).with("longest", percentile(&mut self.pauses, 100)).print();
        let line = Line::of(bench, "longest_write_p99", percentile(&mut longest, 99), "ms");
        line.with("median", percentile(&mut longest, 50)).print();
        met & Line::of(bench, "aborted", self.aborted, "count").none().print()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ficus_tests::ledger::{Outcome, Write};

    #[test]
    fn fewer_writes_a_second_than_the_bar_says_are_missed_and_more_are_asked_for() {
        let (ledger, pace) = (Ledger::default(), above(400));
        assert_eq!((pace.rate().round() as u64, above(50).rate().round() as u64), (440, 60));
        let wrote = |outcome| ledger.wrote(Write::Note, &ledger.token("note"), outcome);
        (0..3_999).for_each(|_| wrote(Outcome::Acknowledged));
        (0..100).for_each(|_| wrote(Outcome::Unknown));
        assert!(!rate("a bench", 400, pace, &ledger, Duration::from_secs(10)));
        wrote(Outcome::Acknowledged);
        assert!(rate("a bench", 400, pace, &ledger, Duration::from_secs(10)));
    }
}
