//! Cutovers and reverts in turn, under hundreds of writes a second: nothing is lost, doubled, failed or stale, and writes are
//! held for a moment only. The services are the two notebooks: a Django does not take as much.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use ficus_tests::bare::Bare;
use ficus_tests::ledger::{Ledger, Timing};
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
    let Databases { stores, urls, .. } = &Databases::start(engine, directory.path()).await?;
    let notebooks = [Notebook::start(stores[0].clone()).await?, Notebook::start(stores[1].clone()).await?];
    let upstreams = [(UPSTREAMS[0], notebooks[0].port, urls[0].as_str()), (UPSTREAMS[1], notebooks[1].port, urls[1].as_str())];
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
    for store in stores {
        store.close().await;
    }
    Ok(met)
}

/// The rows of both notebooks, the old one's first. As servers come: what was committed is on the disk.
pub(crate) struct Databases {
    /// As the services open them.
    pub(crate) stores: [Store; 2],
    /// As the agent does.
    pub(crate) urls: [String; 2],
    _postgres: postgres::Server,
    _mariadb: Option<mariadb::Server>,
}

impl Databases {
    /// With a file of SQLite in `directory`.
    pub(crate) async fn start(engine: Engine, directory: &Path) -> Result<Databases> {
        let postgres = postgres::Server::start(&[]);
        let new = postgres.url(&postgres.database().await);
        let mut mariadb = None;
        let (url, app_url) = match engine {
            Engine::Postgres => {
                let url = postgres.url(&postgres.database().await);
                (url.clone(), url)
            }
            Engine::MariaDb => {
                let server = mariadb.insert(mariadb::Server::start(&["--innodb-flush-log-at-trx-commit=1", "--sync-binlog=1"]));
                let database = server.database().await;
                (server.url(&database), format!("mysql://root@127.0.0.1:{}/{database}", server.port))
            }
            Engine::Sqlite => {
                let url = format!("sqlite://{}", directory.join("old.sqlite3").display());
                (url.clone(), url)
            }
        };
        let stores = [Store::open(Book::Old, &app_url, PEOPLE).await?, Store::open(Book::New, &new, PEOPLE).await?];
        Ok(Databases { stores, urls: [url, new], _postgres: postgres, _mariadb: mariadb })
    }
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
        let (mut longest, mut otherwise) = waited(&self.windows, &ledger.timings());
        let p50 = Line::of(bench, "pause_p50", percentile(&mut self.pauses, 50), "ms");
        let p50 = if let Some(bar) = half { p50.below(bar) } else { p50 };
        let mut met = p50.with("switches", self.pauses.len()).print();
        let p99 = Line::of(bench, "pause_p99", percentile(&mut self.pauses, 99), "ms").below(nearly_all);
        met &= p99.with("switches", self.pauses.len()).with("longest", percentile(&mut self.pauses, 100)).print();
        // Held for no longer than that, beside what it takes when nothing is held.
        let otherwise = percentile(&mut otherwise, 99);
        let line = Line::of(bench, "longest_write_p99", percentile(&mut longest, 99), "ms").below(nearly_all.saturating_add(otherwise));
        met &= line.with("median", percentile(&mut longest, 50)).with("between_switches_p99", otherwise).print();
        met & Line::of(bench, "aborted", self.aborted, "count").none().print()
    }
}

/// What people waited for their writes, in milliseconds: of each switch the one who waited longest; and of each time between two.
fn waited(switches: &[(Instant, Instant)], timings: &[Timing]) -> (Vec<u64>, Vec<u64>) {
    let ended = |timing: &Timing| timing.sent + timing.took;
    let longest = |of_then: &dyn Fn(&Timing) -> bool| {
        let of_then = timings.iter().filter(|timing| timing.write && of_then(timing));
        of_then.map(|timing| u64::try_from(timing.took.as_millis()).unwrap_or(u64::MAX)).max().unwrap_or(0)
    };
    let during = switches.iter().map(|(from, to)| longest(&|timing| timing.sent < *to && ended(timing) > *from));
    let between = switches.windows(2).map(|two| longest(&|timing| timing.sent >= two[0].1 && ended(timing) <= two[1].0));
    (during.collect(), between.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ficus_tests::ledger::{Outcome, Write};

    /// The orchestrator says that it held nobody for long; a client waited for longer than that and what a write takes.
    #[test]
    fn a_write_that_waits_for_longer_than_was_said_misses_the_bar() {
        let begun = Instant::now();
        let at = |ms: u64| begun + Duration::from_millis(ms);
        let held = |longest: u64| {
            let ledger = Ledger::default();
            let answered = |sent: u64, took: u64, write| {
                ledger.answered(Timing { sent: at(sent), took: Duration::from_millis(took), write }, None);
            };
            // While nothing moves 30 ms at most; what is read does not count, nor what reaches into a switch.
            for (sent, took, write) in [(210, 20, true), (230, 30, true), (240, 90, false), (280, 25, true)] {
                answered(sent, took, write);
            }
            answered(150, longest, true);
            let windows = vec![(at(100), at(200)), (at(300), at(400))];
            assert_eq!(waited(&windows, &ledger.timings()), (vec![longest, 25], vec![30]));
            Held { pauses: vec![40, 40], windows, aborted: 0 }.print("a bench", (Some(50), 100), &ledger)
        };
        assert!(held(129));
        assert!(!held(130));
    }

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
