//! What the orchestrator wishes an agent to do, by capability: levels, derived from the stored states.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::RuleFile;
use crate::Side;
use crate::plan::StrayWrites;

/// What an agent should do. Answer of `GET /api/v1/orders`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Orders {
    /// The generation of the state that they were derived from.
    pub generation: u64,
    /// The rule files: the agent takes the table mappings from them.
    pub rules: Vec<RuleFile>,
    /// By capability; one that is missing is to be left alone.
    pub capabilities: BTreeMap<String, CapabilityOrders>,
}

/// What an agent should do for one capability.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CapabilityOrders {
    /// The epoch of the ownership; an agent with an older one is stopped by the checkpoint.
    pub epoch: u64,
    /// Who owns the writes.
    pub owner: Side,
    /// What to run.
    pub sync: SyncOrder,
    /// The initial copy may be made, or made anew. Otherwise a copy that is gone is trouble: it may be read from.
    pub may_copy: bool,
    /// Which databases must refuse every writer but the agent.
    pub fenced: Fences,
    /// What the fence of a side that does not own does with writers: no more than that is ever let through.
    #[serde(default)]
    pub strays: StrayWrites,
    /// What it let through before goes on being carried to modern, where nobody is let through any more.
    #[serde(default)]
    pub carry_strays: bool,
    /// While modern's fence is closed: sessions that keep it waiting in an open transaction are ended.
    #[serde(default)]
    pub end_sessions: bool,
    /// A way back is under way that leaves rows set aside: they are no drift.
    #[serde(default)]
    pub leaves_aside: bool,
    /// Read the end of this side's log and say when it has been applied.
    pub mark_end: Option<MarkEnd>,
    /// Compare both databases.
    pub verify: Option<Verify>,
    /// Raise the sequences of both sides above both sides' highest value; the token of the wish.
    pub raise_sequences: Option<u64>,
    /// Write the owner's rows over what differs; the token of the wish.
    pub repair: Option<u64>,
}

/// What the agent runs for a capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncOrder {
    /// Copy what is there unless that is done already, then stream both directions.
    Run,
    /// Stop, and take triggers, logs, fences and marks out of both databases.
    Remove,
}

/// Fences of both databases.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fences {
    /// Legacy refuses.
    pub legacy: bool,
    /// Modern refuses.
    pub modern: bool,
}

impl Fences {
    /// The fence of a side.
    pub fn of(self, side: Side) -> bool {
        match side {
            Side::Legacy => self.legacy,
            Side::Modern => self.modern,
        }
    }
}

/// A wish to know the end of a side's log. The position is read once for a token, after the fences of the same orders hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkEnd {
    /// Identifies the wish.
    pub token: u64,
    /// Whose log.
    pub side: Side,
}

/// A wish to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verify {
    /// Identifies the wish.
    pub token: u64,
    /// How much.
    pub scope: VerifyScope,
}

/// How much a verification looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerifyScope {
    /// Every row.
    Full,
    /// The rows that changed since the last verification that found no drift, or all when there is none.
    Changed,
}
