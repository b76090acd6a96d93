//! What an agent reports: how far each capability is copied, streamed, fenced and compared. An answer to a wish carries the
//! wish's token. Whose report counts is for [`crate::roster`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Fences;
use crate::{Side, Timestamp};

/// What an agent does. Body of `POST /api/v1/agents/report`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AgentReport {
    /// Its name.
    pub agent: String,
    /// When its process started, in milliseconds since 1970: of two of one name, the later one counts.
    #[serde(default)]
    pub incarnation: u64,
    /// Counts its reports: one that was on its way for longer than a later one says how things were.
    #[serde(default)]
    pub serial: u64,
    /// The generation of the orders that it works by.
    pub generation: u64,
    /// By capability.
    pub capabilities: BTreeMap<String, CapabilityReport>,
}

/// What an agent sees of one capability.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CapabilityReport {
    /// The epoch that it works under.
    pub epoch: u64,
    /// The generation of the last orders whose fences it has seen to: of what came since, it may still be carrying out something
    /// older. `None`: an agent of a release that does not say.
    #[serde(default)]
    pub generation: Option<u64>,
    /// The initial copy.
    pub backfill: Backfill,
    /// Legacy to modern.
    pub forward: StreamReport,
    /// Modern to legacy.
    pub reverse: StreamReport,
    /// The fences that hold in the databases.
    pub fenced: Fences,
    /// Answer to the last `mark_end`.
    pub end: Option<EndReport>,
    /// Answer to the last `verify`.
    pub verified: Option<VerifyReport>,
    /// Token of the last `raise_sequences` that is done.
    pub sequences_raised: Option<u64>,
    /// Answer to the last `repair`.
    pub repaired: Option<RepairReport>,
    /// Rows set aside because they could not be applied.
    pub quarantined: u64,
    /// All that was ordered removed is gone.
    pub removed: bool,
    /// Why the capability stands still, with what to do.
    pub trouble: Option<String>,
    /// Whose open transaction would keep the fence of the owner's database waiting, with what to do. Of the report's epoch.
    #[serde(default)]
    pub busy: Option<String>,
    /// The agent may end the sessions of all of those, and does where [`super::CapabilityOrders::end_sessions`] says so.
    #[serde(default)]
    pub busy_ends: bool,
    /// Whose sessions it ended, in words, when it closed modern's fence last.
    #[serde(default)]
    pub ended: Vec<String>,
    /// For how long that fence would wait for it before it gives up, in milliseconds; `None`: nobody has said.
    #[serde(default)]
    pub fence_waits_ms: Option<u64>,
    /// Change events that wait, by the bus that they wait for.
    #[serde(default)]
    pub events: BTreeMap<String, EventsReport>,
    /// Who met the fence of a database, of the sides whose engines tell.
    #[serde(default)]
    pub strays: Vec<Strays>,
    /// Foreign keys of its legacy tables that lead to others. `None`: the agent has not looked yet.
    #[serde(default)]
    pub refers: Option<Vec<Refers>>,
    /// Foreign keys of other tables that lead to its legacy tables, whoever's those are. `None`: the agent has not looked yet, or is of
    /// a release that does not.
    #[serde(default)]
    pub referred_by: Option<Vec<Refers>>,
}

impl CapabilityReport {
    /// The stream that leaves `owner`.
    pub fn stream_from(&self, owner: Side) -> &StreamReport {
        match owner {
            Side::Legacy => &self.forward,
            Side::Modern => &self.reverse,
        }
    }
}

/// Writers that met a fence in a database: they do not come through the gateway, or by a route that is no capability's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Strays {
    /// Whose database.
    pub side: Side,
    /// Statements that were refused since the fence was made.
    pub refused: u64,
    /// Sessions that were refused and are still there, in words: role, application, address, last statement without values.
    pub writers: Vec<String>,
    /// Rows that were written all the same since the fence was made, because the rules let them.
    #[serde(default)]
    pub reported: u64,
    /// So many of them nobody has decided about.
    #[serde(default)]
    pub unsettled: u64,
    /// Of those, so many it has not been tried to carry over: with [`StrayWrites::Forward`](crate::plan::StrayWrites::Forward) they
    /// wait for nobody. An agent of a release that does not say tells of none.
    #[serde(default)]
    pub untried: u64,
    /// Who wrote the newest of the undecided ones, in words; when there is none, the newest of all.
    #[serde(default)]
    pub wrote: Vec<String>,
    /// How many of those there are, by table.
    #[serde(default)]
    pub tables: BTreeMap<String, u64>,
}

/// A foreign key of a legacy table that leads out of the capability, or into it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refers {
    /// The table that refers.
    pub table: String,
    /// Its columns that do.
    #[serde(default)]
    pub columns: Vec<String>,
    /// The table that it refers to: perhaps another capability's ([`crate::crossing`]).
    pub parent: String,
}

/// What waits for one bus.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsReport {
    /// Events that it has not taken, while it is in trouble; 0 while it takes them.
    pub waiting: u64,
    /// Why it does not take them.
    pub trouble: Option<String>,
}

/// Progress of the initial copy.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Backfill {
    /// Rows copied, those of a copy that this one goes on with included.
    pub done: u64,
    /// Rows to copy, as counted at the start.
    pub total: u64,
    /// Everything is copied.
    pub complete: bool,
    /// How fast it goes, of late.
    #[serde(default)]
    pub rows_per_second: f64,
    /// The copy gives way to so many statements that the source executes.
    #[serde(default)]
    pub gives_way_to: Option<u64>,
}

impl Backfill {
    /// How many seconds the rest takes at this rate; none while there is no rate.
    pub fn seconds_left(&self) -> Option<f64> {
        let left = self.total.saturating_sub(self.done) as f64;
        (self.rows_per_second > 0.0).then(|| left / self.rows_per_second)
    }
}

/// One direction's stream.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StreamReport {
    /// It runs.
    pub live: bool,
    /// The position that is applied, as the engine writes it.
    pub applied: Option<String>,
    /// Entries in the source's log that are not applied.
    pub lag_entries: u64,
    /// Age of the oldest change that is not applied, in seconds.
    pub lag_seconds: f64,
    /// Everything that was committed in the source at this time is applied.
    pub through: Timestamp,
    /// Rows applied since the agent started.
    pub rows: u64,
}

/// Answer to [`super::MarkEnd`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndReport {
    /// Of the wish.
    pub token: u64,
    /// The end that was read.
    pub position: String,
    /// Everything up to it is applied on the other side.
    pub reached: bool,
}

/// Answer to [`super::Verify`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// Of the wish.
    pub token: u64,
    /// It is finished; the rest is only then final.
    pub done: bool,
    /// When it finished.
    pub at: Timestamp,
    /// By table pair.
    pub tables: Vec<TableVerified>,
}

impl VerifyReport {
    /// Rows that differ, over all tables.
    pub fn drift_rows(&self) -> u64 {
        self.tables.iter().map(|t| t.drift_rows).sum()
    }
}

/// The comparison of one table pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableVerified {
    /// Legacy table.
    pub legacy: String,
    /// Modern table.
    pub modern: String,
    /// Rows on legacy that were looked at.
    pub legacy_rows: u64,
    /// Rows on modern that were looked at.
    pub modern_rows: u64,
    /// Rows that are missing on one side or differ, after rechecks.
    pub drift_rows: u64,
    /// Hash over the canonical rows of legacy, mapped to the shape of modern (hexadecimal).
    pub legacy_root: String,
    /// Hash over the canonical rows of modern (hexadecimal).
    pub modern_root: String,
    /// Up to ten keys that differ, as `id=42: email`; never values.
    pub samples: Vec<String>,
}

/// Answer to a wish for repair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairReport {
    /// Of the wish.
    pub token: u64,
    /// It is finished.
    pub done: bool,
    /// Rows written or removed.
    pub rows: u64,
}
