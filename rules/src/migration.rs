//! The procedure that moves a capability: two pure functions own it. [`advance`] moves the state by what was observed or
//! wished; [`desired`] says what gateways and agents should be doing in a state.

pub mod advance;
pub mod desired;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::gate::Judged;
use crate::{Side, Timestamp};

/// Where a capability is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Rules exist; nothing moves. Leaves by `advance`.
    Draft,
    /// Existing rows are copied; legacy serves.
    Backfilling,
    /// Changes flow both ways; the modern database is fenced; legacy serves.
    Streaming,
    /// As streaming, and reads are mirrored and compared.
    Shadowing,
    /// A share of the callers reads from modern; legacy owns the writes.
    Ramping,
    /// Cutover: gateways hold writes.
    Fencing,
    /// Cutover: writes already sent finish; then the legacy database is fenced.
    Draining,
    /// Cutover: the end of legacy's log is read, then applied.
    CatchingUp,
    /// Cutover: changed rows are rechecked, sequences raised, the journal written, the owner flipped.
    Verifying,
    /// Modern owns; reverse sync keeps legacy right; the way back is free.
    Soaking,
    /// Legacy's part is over. No way back.
    Retired,
    /// The cutover backwards: whatever its stage.
    Reverting,
    /// Legacy owns again; changes flow both ways; modern is fenced. `advance` begins the steps anew.
    Reverted,
}

/// A capability's durable state. Written by compare-and-swap on `version`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The capability.
    pub capability: String,
    /// Grows with every write.
    pub version: u64,
    /// Where it is.
    pub phase: Phase,
    /// The step of the rule file that it is in, while shadowing, ramping or soaking.
    pub step: usize,
    /// When it entered that phase or step.
    pub since: Timestamp,
    /// Who owns the writes.
    pub owner: Side,
    /// Grows with every change of owner.
    pub epoch: u64,
    /// A running cutover or revert.
    pub switch: Option<Switch>,
    /// Reasons not to go forward.
    pub holds: BTreeSet<String>,
    /// The last judgement of its gates.
    pub judged: Vec<Judged>,
    /// An operator released the step that waits for approval.
    pub released: bool,
    /// Grows with every wish that has a token (end, verification, sequences, repair).
    pub token: u64,
    /// The wish for a verification, if one is under way.
    pub verify: Option<crate::wire::Verify>,
    /// The wish for a repair, if one is under way.
    pub repair: Option<u64>,
}

/// A cutover or revert under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Switch {
    /// Who shall own.
    pub to: Side,
    /// Where it is.
    pub stage: Stage,
    /// When the stage began.
    pub since: Timestamp,
    /// When the whole began (the fence was published).
    pub started: Timestamp,
    /// At this time it is aborted, unless the journal has been written.
    pub deadline: Timestamp,
    /// The phase and step to fall back to on an abort.
    pub from_phase: Phase,
}

/// The stages of a switch, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Gateways hold new writes and acknowledge.
    Fence,
    /// Writes already sent finish.
    Drain,
    /// The owner's database refuses every writer but the agent.
    FenceDatabase,
    /// The end of the owner's log is read, and applied on the other side.
    CatchUp,
    /// Rows changed since the last verification are compared.
    Verify,
    /// Sequences are raised above both sides.
    Sequences,
    /// The journal says so, the epoch grows, the owner is another: no way but forward. The new owner's database opens.
    Open,
    /// Gateways take the new owner, acknowledge, and release what they hold.
    Release,
}
