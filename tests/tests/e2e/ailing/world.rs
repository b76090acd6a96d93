//! One gateway before two notebooks, with readers and writers, whose rules judge everything by the ratio to the old one or by
//! limits of their own. Knows when somebody was last answered by the new one, and what the journal says that nobody typed.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use ficus_tests::bare::Bare;
use ficus_tests::http::Http;
use ficus_tests::ledger::Ledger;
use ficus_tests::notebook::{self, Book, NAME, Notebook, Pace, RULES, Readers, Store, UPSTREAMS, Writers};
use ficus_tests::operator::Operator;
use serde_json::Value;

use super::super::notebooks::Rows;
use super::super::{Directory, mariadb, postgres};

pub(super) const PATIENCE: Duration = Duration::from_secs(120);
pub(super) const PEOPLE: i64 = 60;
const WRITERS: Pace = Pace { writers: 5, every: Duration::from_millis(250) };

/// What the rows are in, the old ones and the new ones.
#[derive(Debug, Clone, Copy)]
pub(super) enum Engines {
    Sqlite,
    Postgres,
    MariaDbToPostgres,
}

impl Engines {
    async fn rows(self, directory: &Directory) -> [Rows; 2] {
        let server = postgres::Server::shared;
        match self {
            Engines::Sqlite => ["old.sqlite3", "new.sqlite3"].map(|name| Rows::in_sqlite(&directory.path().join(name))),
            Engines::Postgres => [Rows::in_postgres(server()).await, Rows::in_postgres(server()).await],
            Engines::MariaDbToPostgres => [Rows::in_mariadb(mariadb::Server::shared()).await, Rows::in_postgres(server()).await],
        }
    }
}

/// By what latency is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Latency {
    /// By what the old one takes, at every percentile, as closely as the handbook shows it.
    Closely,
    /// By what a busy machine does not come to.
    Leniently,
    /// By what the old one takes, and nothing else.
    ByRatio,
}

/// Half of the readers, until somebody goes on.
pub(super) fn patient(latency: Latency, checks: &str) -> String {
    let checks = if checks.is_empty() { String::new() } else { format!("[gate.checks]\nwebhook = \"{checks}\"\nevery = \"500ms\"\n\n") };
    rules("1h", latency, &checks)
}

/// All the way, by itself.
pub(super) fn impatient() -> String {
    rules("500ms", Latency::Closely, "").replacen("approve = true", "approve = false", 1).replacen("\"7d\"", "\"2s\"", 1)
}

fn rules(stay: &str, latency: Latency, checks: &str) -> String {
    let steps = format!(
        "[[step]]\nshadow = \"100%\"\nhold = \"500ms\"\n\n[[step]]\nreads = \"50%\"\nhold = \"{stay}\"\n\n[[step]]\nreads = \"100%\"\nhold = \"500ms\"\n\n"
    );
    let latency = match latency {
        Latency::Closely => {
            "max_ratio = 1.2\n\n[gate.latency_p95]\nmax_ratio = 1.2\n\n[gate.latency_p90]\nmax_ratio = 1.2\n\n[gate.latency_p50]\nmax_ratio = 1.2"
        }
        Latency::Leniently => "max_ratio = 1.5\nmax = \"4s\"\nfloor = \"2500ms\"\nmin_requests = 20",
        // So many that the old one's are known as well.
        Latency::ByRatio => "max_ratio = 1.6\nfloor = \"1s\"\nmin_requests = 100",
    };
    let judged = format!(
        "[gate.errors]\nmax_increase = \"0.5%\"\nmin_requests = 40\n\n[gate.latency_p99]\n{latency}\n\n\
         [gate.shadow]\nmax_different = \"1%\"\nmin_requests = 40\n\n"
    );
    let rules = RULES.replacen("[[step]]\nshadow = \"1%\"\nhold = \"1h\"\n\n", &steps, 1);
    rules.replacen("[gate.lag]", &format!("{judged}{checks}[gate.lag]"), 1)
}

pub(super) struct World {
    directory: Directory,
    pub(super) bare: Bare,
    stores: [Store; 2],
    pub(super) old: Notebook,
    /// Until it dies.
    pub(super) new: Option<Notebook>,
    writers: Writers,
    readers: Readers,
    count: u32,
}

impl World {
    /// So many read, and nobody waits for longer. It begins at once.
    pub(super) async fn start(
        engines: Engines,
        count: u32,
        callers_wait: Duration,
        rules_for: impl AsyncFnOnce(&Notebook, &Store) -> Result<String>,
    ) -> Result<World> {
        let directory = Directory::new();
        let rows = engines.rows(&directory).await;
        let stores = [Store::open(Book::Old, &rows[0].app, PEOPLE).await?, Store::open(Book::New, &rows[1].app, PEOPLE).await?];
        let (old, new) = (Notebook::start(stores[0].clone()).await?, Notebook::start(stores[1].clone()).await?);
        let upstreams = [(UPSTREAMS[0], old.port, rows[0].agent.as_str()), (UPSTREAMS[1], new.port, rows[1].agent.as_str())];
        let rules = rules_for(&new, &stores[1]).await?;
        let bare = Bare::start_over(directory.path(), &upstreams, &[("notebook.toml", &rules)]).await?;
        let callers = Http::new(&bare.url(), callers_wait);
        let writers = Writers::start(&callers, WRITERS, 0);
        let readers = Readers::start(&callers, count, Duration::from_millis(100));
        bare.operator()?.type_in(&["advance", NAME]).await?;
        Ok(World { directory, bare, stores, old, new: Some(new), writers, readers, count })
    }

    /// When somebody was last answered by the new one, or not as it should be.
    pub(super) fn last_of_new(&self) -> Option<Instant> {
        let last = |ledger: &&Ledger| ledger.last_answer("modern").max(ledger.failed_requests().last().map(|failure| failure.at));
        [&self.readers.ledger, &self.writers.ledger].iter().filter_map(last).max()
    }

    /// The same, once nobody has been for a while, in which the old one answers.
    ///
    /// # Errors
    /// Somebody is to the end.
    pub(super) async fn until_nobody_is_at_new(&self, a_while: Duration, end: Instant) -> Result<Instant> {
        loop {
            let last = self.last_of_new().context("somebody was at the new one")?;
            if last.elapsed() >= a_while && self.readers.ledger.last_answer("legacy").is_some_and(|at| at > last + a_while / 2) {
                return Ok(last);
            }
            ensure!(Instant::now() < end + a_while, "somebody was answered by the new one {:?} ago", last.elapsed());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(super) async fn journal(&self) -> Result<Vec<Value>> {
        let answer = Http::new(&self.bare.admin_url(), PATIENCE).get("/api/v1/journal?limit=500").await?;
        answer.json()?.as_array().cloned().context("a list")
    }

    /// What the journal says that nobody typed.
    pub(super) async fn went_back(&self) -> Result<Vec<Value>> {
        let kinds = ["stepped_back", "page", "aborted", "hold"];
        // On a crowded machine a stream may lag, of which somebody is told.
        let of_service =
            |entry: &Value| !["lag", "parity", "reverse"].iter().any(|gate| entry["kind"] == "page" && entry["detail"]["gate"] == *gate);
        let back = |entry: &Value| entry["by"].is_null() && (kinds.iter().any(|kind| entry["kind"] == *kind) || says_going_back(entry));
        let back = |entry: &Value| back(entry) && of_service(entry);
        Ok(self.journal().await?.into_iter().filter(back).collect())
    }

    /// Nothing is lost; the end of everything.
    pub(super) async fn settle(self) -> Result<()> {
        let directory = self.audit(async |_| Ok(())).await?;
        directory.passed();
        Ok(())
    }

    /// The same, and the old one retires.
    pub(super) async fn retire(self) -> Result<()> {
        let retire = async |operator: &Operator| {
            operator.until_accepted("retire", NAME, PATIENCE).await?;
            operator.until_phase(NAME, "retired", PATIENCE).await.map(drop)
        };
        let directory = self.audit(retire).await?;
        directory.passed();
        Ok(())
    }

    async fn audit(self, afterwards: impl AsyncFnOnce(&Operator) -> Result<()>) -> Result<Directory> {
        ensure!(self.readers.count() == self.count as usize, "a reader ended");
        drop(self.readers);
        // Whoever was to be slow answers the last ones at once.
        self.old.becomes(notebook::Illness::Well);
        self.new.iter().for_each(|new| new.becomes(notebook::Illness::Well));
        let ledger = self.writers.stop().await;
        let operator = self.bare.operator()?;
        let quiet = |status: &Value| {
            let agent = &status["agent"];
            agent["forward"]["live"] == true && agent["forward"]["lag_entries"] == 0 && agent["reverse"]["lag_entries"] == 0
        };
        operator.until(NAME, "the streams to be empty", PATIENCE, quiet).await?;
        // The status is of a moment ago: comparing every row waits for what is on its way.
        operator.type_in(&["verify", NAME, "--wait", "120s"]).await?;
        let findings = notebook::audit([&self.stores[0], &self.stores[1]], &ledger.entries()).await?;
        ensure!(findings.lost.is_empty() && findings.doubled.is_empty(), "{findings:?}");
        ensure!(ledger.acknowledged() > 0, "nobody wrote");
        afterwards(&operator).await?;
        Ok(self.directory)
    }
}

fn says_going_back(entry: &Value) -> bool {
    entry["text"].as_str().is_some_and(|text| text.contains("fails (") && text.contains("back to legacy"))
}
