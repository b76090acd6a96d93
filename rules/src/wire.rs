//! The messages between orchestrator, gateways and agents. The same whether the parts share a process or not.
//!
//! All of them are levels, not events: a message says how things should be, or are, and may be lost, repeated or
//! delayed. Every published state has a generation; who receives an older one than it has refuses it.

mod agent;
mod gateway;
mod orders;
mod quarantine;
pub mod release;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::migration::Phase;
use crate::{Share, Side, Timestamp};

pub use self::agent::{
    AgentReport, Backfill, CapabilityReport, EndReport, EventsReport, Refers, RepairReport, Strays, StreamReport, TableVerified,
    VerifyReport,
};
pub use self::gateway::{
    COARSE_BOUNDS_MS, DifferenceSample, Freshness, GatewayCapability, GatewayReport, LATENCY_BOUNDS_MS, ReportAnswer, ShadowCounts,
    Traffic, aside,
};
pub use self::orders::{CapabilityOrders, Fences, MarkEnd, Orders, SyncOrder, Verify, VerifyScope};
pub use self::quarantine::{QuarantineReport, SetAside};

/// One rule file as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleFile {
    /// Its name inside the rules directory: `users.toml`.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// What gateways serve by: the rules, and how far every capability is. Answer of `GET /api/v1/published`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Published {
    /// Grows with every change of anything in here.
    pub generation: u64,
    /// Grows with every change of the rule files.
    pub rules_generation: u64,
    /// The rule files, last good ones.
    pub rules: Vec<RuleFile>,
    /// How far each capability is, by name. One that is missing is served by legacy.
    pub capabilities: BTreeMap<String, Serving>,
    /// What operators have overridden.
    pub overrides: Overrides,
}

/// What a gateway needs to know of a capability's state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Serving {
    /// Where it is; for labels, `explain` and the rule that migrating capabilities fail closed on writes.
    pub phase: Phase,
    /// Grows with every change of owner. Markers of an older epoch are void.
    pub epoch: u64,
    /// Who owns the writes. Reads that are not ramped go there too.
    pub owner: Side,
    /// The share of callers whose reads go to modern. Only meaningful while legacy owns.
    pub reads: Share,
    /// The share of the owner's reads that is mirrored to the other side.
    pub shadow: Share,
    /// Writes are held.
    pub fenced: bool,
}

impl Serving {
    /// A capability that has not begun.
    pub fn untouched() -> Serving {
        Serving { phase: Phase::Draft, epoch: 0, owner: Side::Legacy, reads: Share::NONE, shadow: Share::NONE, fenced: false }
    }
}

/// Operators' overrides. They win over the files.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Overrides {
    /// Pins by user id or by capability (reads only: a pin never moves the ownership of writes).
    pub pins: Vec<PinOverride>,
    /// Flags by name.
    pub flags: BTreeMap<String, FlagOverride>,
}

/// `ficus pin users modern --user 42 --for 1h`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PinOverride {
    /// The capability.
    pub capability: String,
    /// Only this user; `None`: everybody.
    pub user: Option<String>,
    /// Where the reads go.
    pub side: Side,
    /// When it ends by itself.
    pub expires: Option<Timestamp>,
    /// Who set it, and why.
    pub note: String,
}

/// `ficus flag new-profile on --for 1h`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FlagOverride {
    /// Whether it is on for everybody; of a flag with variants, nothing.
    pub on: bool,
    /// The variant that everybody gets, of a flag with variants.
    #[serde(default)]
    pub variant: Option<String>,
    /// When it ends by itself.
    pub expires: Option<Timestamp>,
    /// Who set it, and why.
    pub note: String,
}

impl FlagOverride {
    /// The variant that everybody gets.
    pub fn variant(&self) -> &str {
        let switch = if self.on { crate::flag::ON } else { crate::flag::OFF };
        self.variant.as_deref().unwrap_or(switch)
    }
}
