//! The ledger: every write that a caller sent, and what came of it. Tokens are unique over a run.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What a write was to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Add a note (not idempotent).
    Note,
    /// Make a user with this name.
    Create,
    /// Remove the user with this name.
    Delete,
    /// Set a user's address.
    Address {
        /// The user's id.
        user: i64,
    },
}

/// What the writer knows of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The answer said that it was done.
    Acknowledged,
    /// The answer said that it was not done (4xx, 503 before it was sent).
    Refused,
    /// No answer, or one that leaves it open.
    Unknown,
}

/// One write.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What it was to do.
    pub write: Write,
    /// Its token: the note's text, the user's name, the address.
    pub token: String,
    /// What came of it.
    pub outcome: Outcome,
    /// Order of sending within the run.
    pub order: u64,
}

/// One request's time, for pauses.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// When it was sent.
    pub sent: Instant,
    /// How long the answer took.
    pub took: Duration,
    /// It was a write.
    pub write: bool,
}

impl Timing {
    /// Of a request that was sent then, and is answered now.
    pub fn since(sent: Instant, write: bool) -> Timing {
        Timing { sent, took: sent.elapsed(), write }
    }
}

/// A request that failed.
#[derive(Debug, Clone)]
pub struct Failure {
    /// When that was known.
    pub at: Instant,
    /// A short kind: `500`, `timeout`, `broken`.
    pub kind: String,
    /// Who answered it, where the gateway said so.
    pub side: Option<String>,
}

impl Failure {
    /// A killed process, a closed connection or a deadline accounts for it: it is no row that is not there, nobody logged out, no
    /// refusal.
    pub fn is_excused(&self) -> bool {
        self.kind.starts_with('5') || self.kind == "timeout" || self.kind == "broken"
    }
}

#[derive(Debug, Default)]
struct Inner {
    entries: Vec<Entry>,
    timings: Vec<Timing>,
    failed: Vec<Failure>,
    samples: Vec<String>,
    stale: Vec<String>,
    sides: HashMap<String, u64>,
    last: HashMap<String, Instant>,
}

/// Shared by all callers of a run.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    inner: Arc<Mutex<Inner>>,
    tokens: Arc<AtomicU64>,
    requests: Arc<AtomicU64>,
    acknowledged: Arc<AtomicU64>,
}

impl Ledger {
    /// A ledger whose tokens no other group has.
    pub fn of_group(group: u32) -> Ledger {
        Ledger { tokens: Arc::new(AtomicU64::new(u64::from(group) * 1_000_000)), ..Ledger::default() }
    }

    /// A token that nobody had before.
    pub fn token(&self, prefix: &str) -> String {
        format!("{prefix}-{}", self.tokens.fetch_add(1, Ordering::Relaxed))
    }

    /// A request was answered, or failed.
    pub fn answered(&self, timing: Timing, side: Option<&str>) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let mut inner = self.inner();
        inner.timings.push(timing);
        if let Some(side) = side {
            *inner.sides.entry(side.to_owned()).or_default() += 1;
            inner.last.insert(side.to_owned(), Instant::now());
        }
    }

    /// A write has an outcome.
    pub fn wrote(&self, write: Write, token: &str, outcome: Outcome) {
        if outcome == Outcome::Acknowledged {
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        let mut inner = self.inner();
        let order = inner.entries.len() as u64;
        inner.entries.push(Entry { write, token: token.to_owned(), outcome, order });
    }

    /// A request failed, by a [kind](Failure::kind), at a side where the gateway says which.
    pub fn failed(&self, kind: &str, side: Option<&str>, sample: String) {
        let mut inner = self.inner();
        inner.failed.push(Failure { at: Instant::now(), kind: kind.to_owned(), side: side.map(str::to_owned) });
        if inner.samples.len() < 20 {
            inner.samples.push(sample);
        }
    }

    /// A caller read something older than it wrote.
    pub fn stale(&self, what: String) {
        self.inner().stale.push(what);
    }

    /// All writes so far.
    pub fn entries(&self) -> Vec<Entry> {
        self.inner().entries.clone()
    }

    /// All times so far.
    pub fn timings(&self) -> Vec<Timing> {
        self.inner().timings.clone()
    }

    /// Every failure so far.
    pub fn failed_requests(&self) -> Vec<Failure> {
        self.inner().failed.clone()
    }

    /// Failures by kind.
    pub fn failures(&self) -> BTreeMap<String, u64> {
        by_kind(&self.inner().failed)
    }

    /// How many failures there were at no time of these.
    pub fn failures_outside(&self, times: &[(Instant, Instant)]) -> usize {
        let within = |failure: &&Failure| times.iter().any(|(from, to)| (from..=to).contains(&&failure.at));
        self.inner().failed.iter().filter(|failure| !within(failure)).count()
    }

    /// Failures that [nothing excuses](Failure::is_excused).
    pub fn unexcused(&self) -> BTreeMap<String, u64> {
        by_kind(self.inner().failed.iter().filter(|failure| !failure.is_excused()))
    }

    /// The first few failures, in words.
    pub fn samples(&self) -> Vec<String> {
        self.inner().samples.clone()
    }

    /// Stale reads.
    pub fn stale_reads(&self) -> Vec<String> {
        self.inner().stale.clone()
    }

    /// Requests that a side answered, by what the gateway said in `x-ficus-side`.
    pub fn sides(&self) -> HashMap<String, u64> {
        self.inner().sides.clone()
    }

    /// When a side gave its last answer so far.
    pub fn last_answer(&self, side: &str) -> Option<Instant> {
        self.inner().last.get(side).copied()
    }

    /// Requests so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Acknowledged writes so far.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn by_kind<'a>(failures: impl IntoIterator<Item = &'a Failure>) -> BTreeMap<String, u64> {
    let mut kinds = BTreeMap::new();
    for failure in failures {
        *kinds.entry(failure.kind.clone()).or_default() += 1;
    }
    kinds
}
