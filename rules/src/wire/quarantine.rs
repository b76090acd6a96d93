//! Rows that were set aside, with their images: the only message that carries values of rows to the orchestrator. It is no
//! part of a report or a status, so that only who may see values is shown them; bounded by the agent that sends it.

use serde::{Deserialize, Serialize};

use crate::{Side, Timestamp};

/// What an agent has set aside, over all its capabilities: the newest ones. Body of `POST /api/v1/agents/quarantine`; sent when it
/// has changed, and again from time to time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct QuarantineReport {
    /// The agent's name.
    pub agent: String,
    /// Newest first within a capability and direction.
    pub rows: Vec<SetAside>,
}

/// One row that could not be applied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetAside {
    /// The capability.
    pub capability: String,
    /// The side that it comes from: the owner of the row when it was set aside. It is missing, or older, on the other one.
    pub from: Side,
    /// Legacy table.
    pub legacy: String,
    /// Modern table.
    pub modern: String,
    /// The legacy key.
    pub key: String,
    /// When it was tried last.
    pub at: Timestamp,
    /// Why it could not be applied: names columns, never values.
    pub reason: String,
    /// The row that was to be written, by column: in the shape of the table that it was to be written to or, where a value
    /// has no counterpart there, of the one that it comes from. `None`: it was to be removed, or it is too large to be shown.
    pub wanted: Option<serde_json::Value>,
    /// What was there instead, likewise; `None`: nothing, or too large.
    pub there: Option<serde_json::Value>,
    /// An image was too large, or a value was cut.
    pub cut: bool,
}
