//! Where states, journal, overrides and samples of differences are kept. A port: SQLite for one orchestrator, etcd for
//! several; both pass the same contract test.
//!
//! The law for every backend: what a call answered `Ok` to survives a crash of the machine. Calls may come concurrently.
//! Every change that is published takes a new generation from one counter that never goes back, in the same transaction.

#[cfg(test)]
mod contract;
pub(crate) mod etcd;
pub(crate) mod everything;
pub(crate) mod sqlite;

use std::collections::BTreeMap;

use async_trait::async_trait;
use ficus_rules::Timestamp;
use ficus_rules::api::JournalEntry;
use ficus_rules::audit::Head;
use ficus_rules::migration::State;
use ficus_rules::migration::advance::{JournalLine, KINDS};
use ficus_rules::wire::{DifferenceSample, Overrides, RuleFile};

use crate::access::Author;

/// A store that failed. The caller may try again.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database.
    #[error("the state database failed")]
    Database(#[from] sqlx::Error),
    /// What was stored is not what this version writes.
    #[error("the state database holds something that can't be read")]
    Garbled(#[from] serde_json::Error),
    /// Two orchestrators would give gateways validities that the other knows nothing of.
    #[error("another orchestrator works on {0} and does not end: there may be one; stop it, or give this one a state of its own")]
    Taken(String),
    /// The file that says so.
    #[error("cannot lock {0}")]
    Lock(String, #[source] std::io::Error),
    /// The file that says so.
    #[error("cannot copy {0} to look into it")]
    Copy(String, #[source] std::io::Error),
    /// A newer version wrote it.
    #[error("the state database is of format {0}, newer than this program")]
    Newer(i64),
    /// It is somewhere else by now.
    #[error("this state has moved to {0}: name [orchestrator.etcd] in ficus.toml")]
    Moved(String),
    /// etcd is named, and the state is still in a file: to begin with etcd would begin all anew.
    #[error(
        "[orchestrator.etcd] is named, and the state is still in {0}: move it with `ficus state move`, or the file away if it is nobody's"
    )]
    NotMoved(String),
    /// A move into etcd did not come to its end.
    #[error("a state is only half in etcd: end its move with `ficus state move`, where it comes from")]
    HalfMoved,
    /// etcd does not answer, or refuses. A write may have been done all the same.
    #[error("the state in etcd: {0}")]
    Etcd(#[from] etcd::EtcdError),
    /// Somebody else leads by now: nothing was written, and nothing will be.
    #[error("another orchestrator leads by now, this one may write nothing")]
    Deposed,
}

impl StoreError {
    /// Whether it is about who may, not about what failed.
    pub fn is_a_refusal(&self) -> bool {
        matches!(self, StoreError::Taken(_) | StoreError::Moved(_) | StoreError::NotMoved(_) | StoreError::Newer(_) | StoreError::Deposed)
    }
}

/// A state and the generations at which it was last published.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stored {
    pub(crate) state: State,
    /// When what gateways see of it last changed.
    pub(crate) serving_generation: u64,
    /// When what the agent sees of it last changed.
    pub(crate) orders_generation: u64,
}

/// Everything but the journal.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Loaded {
    pub(crate) states: BTreeMap<String, Stored>,
    pub(crate) overrides: Overrides,
    /// The generation at which the overrides last changed.
    pub(crate) overrides_generation: u64,
    /// The last good rule files.
    pub(crate) rules: Option<Vec<RuleFile>>,
    /// Counts the changes of the rule files.
    pub(crate) rules_generation: u64,
    /// The generation at which they were last published.
    pub(crate) rules_published: u64,
    /// Gateways that may hold a validity.
    pub(crate) gateways: Vec<String>,
}

/// A transition.
#[derive(Debug, Clone)]
pub(crate) struct Change<'a> {
    /// The version that must be there; 0: none.
    pub(crate) from: u64,
    /// What is to be there, with version `from + 1`.
    pub(crate) state: &'a State,
    /// What gateways see has changed.
    pub(crate) serving: bool,
    /// What the agent sees has changed.
    pub(crate) orders: bool,
    pub(crate) journal: &'a [Note],
}

/// A line for the journal.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Note {
    pub(crate) at: Timestamp,
    pub(crate) capability: Option<String>,
    pub(crate) by: Option<String>,
    pub(crate) line: JournalLine,
}

impl Note {
    /// A line of somebody's.
    pub(crate) fn by(author: &Author, at: Timestamp, capability: Option<String>, line: JournalLine) -> Note {
        debug_assert!(KINDS.contains(&line.kind.as_str()) || cfg!(test), "{} is no kind of line", line.kind);
        Note { at, capability, by: author.name(), line: author.signed(line) }
    }
}

/// What to read of the journal.
#[derive(Debug, Clone, Default)]
pub(crate) struct JournalQuery {
    pub(crate) capability: Option<String>,
    /// Only entries with a greater id. Without it, the newest ones.
    pub(crate) after: Option<u64>,
    pub(crate) limit: u32,
}

#[async_trait]
pub(crate) trait Store: Send + Sync {
    /// Everything but the journal.
    async fn load(&self) -> Result<Loaded, StoreError>;

    /// Writes a state and its journal lines, if the version is still `from`; `None`: somebody was faster, nothing is written.
    async fn compare_and_swap(&self, change: &Change<'_>) -> Result<Option<Stored>, StoreError>;

    /// Keeps rule files as the last good ones. Every capability counts as published anew, since rules shape what is
    /// published of it. Returns the generation of the rules and the one that they are published at.
    async fn save_rules(&self, rules: &[RuleFile], note: &Note) -> Result<(u64, u64), StoreError>;

    /// Replaces the overrides. Returns the generation that they are published at.
    async fn save_overrides(&self, overrides: &Overrides, note: &Note) -> Result<u64, StoreError>;

    /// The last entry of the journal and its hash. Every call that writes lines links them to it ([`ficus_rules::audit`])
    /// in the same transaction; ids have no gaps.
    async fn journal_head(&self) -> Result<Head, StoreError>;

    /// Entries in the order of their ids.
    async fn journal(&self, query: &JournalQuery) -> Result<Vec<JournalEntry>, StoreError>;

    /// Adds samples of differences, and drops the oldest of a capability that has more than `most`.
    async fn keep_samples(&self, samples: &[DifferenceSample], most: u32) -> Result<(), StoreError>;

    /// Samples of a capability, or of all; oldest first.
    async fn samples(&self, capability: Option<&str>) -> Result<Vec<DifferenceSample>, StoreError>;

    /// Keeps a gateway's name, before it is given its first validity.
    async fn remember_gateway(&self, name: &str) -> Result<(), StoreError>;

    /// Drops a gateway's name, long after its validity has ended.
    async fn forget_gateway(&self, name: &str) -> Result<(), StoreError>;

    /// The last entry of the journal that a notifier is done with; `None`: it has never been told anything.
    async fn notified(&self, notifier: &str) -> Result<Option<u64>, StoreError>;

    /// Keeps that.
    async fn keep_notified(&self, notifier: &str, entry: u64) -> Result<(), StoreError>;

    /// Ends; calls that are under way finish.
    async fn close(&self);
}
