//! The messages between orchestrator, gateways and agents. The same whether the parts share a process or not.
//!
//! All of them are levels, not events: a message says how things should be, or are, and may be lost, repeated or
//! delayed. Every published state has a generation; who receives an older one than it has refuses it.

mod quarantine;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::migration::Phase;
use crate::parity::Difference;
use crate::{Share, Side, Timestamp};

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

/// What a gateway does and counts. Body of `POST /api/v1/gateways/report`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GatewayReport {
    /// Its name: stable over a restart.
    pub gateway: String,
    /// Random for each start of its process: counters begin at zero with it.
    pub incarnation: String,
    /// When its process started, in milliseconds since 1970: of two of one name, the later one counts.
    #[serde(default)]
    pub started: u64,
    /// Counts its reports: one that was on its way for longer than a later one says how things were.
    #[serde(default)]
    pub serial: u64,
    /// The generation by which *every* request is decided now; in-flight counts below are taken after it took effect.
    pub generation: u64,
    /// Why it could not take a newer one.
    pub trouble: Option<String>,
    /// By capability.
    pub capabilities: BTreeMap<String, GatewayCapability>,
    /// Samples of shadow differences since the last report that was answered.
    pub differences: Vec<DifferenceSample>,
    /// The cookie whose sessions it could not look up when it last tried.
    #[serde(default)]
    pub sessions_unread: Option<String>,
    /// The paths that it answers by itself.
    #[serde(default)]
    pub answers: Vec<String>,
}

/// A gateway's view of one capability. Counters only grow.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GatewayCapability {
    /// Writes sent to an upstream and not yet answered.
    pub inflight_writes: u64,
    /// Writes held now.
    pub held: u64,
    /// Traffic answered by legacy, as far as gates judge it: [`crate::decide::Decision::is_judged`].
    pub legacy: Traffic,
    /// Traffic answered by modern, likewise.
    pub modern: Traffic,
    /// Mirrored requests.
    pub shadow: ShadowCounts,
    /// The modern side refused the last connections to it, as far as this gateway tried lately.
    #[serde(default)]
    pub modern_down: bool,
    /// The legacy side takes no connections, or does not say that it is well, as far as this gateway tried lately.
    #[serde(default)]
    pub legacy_down: bool,
}

impl GatewayCapability {
    /// The traffic of a side.
    pub fn traffic(&self, side: Side) -> &Traffic {
        match side {
            Side::Legacy => &self.legacy,
            Side::Modern => &self.modern,
        }
    }
}

/// Counters of one side.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Requests that this side answered, or failed to.
    pub requests: u64,
    /// Of these: 5xx, refused connections and time-outs (before any fallback).
    pub errors: u64,
    /// Counts by latency bucket: `LATENCY_BOUNDS_MS`, and one more for what is slower.
    pub latency: Vec<u64>,
}

/// Upper bounds of the latency buckets, in milliseconds.
pub const LATENCY_BOUNDS_MS: [u64; 14] = [1, 2, 5, 10, 20, 35, 50, 75, 100, 200, 500, 1_000, 5_000, 30_000];

/// Counters of the shadow.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowCounts {
    /// Compared and equal.
    pub same: u64,
    /// Compared, looked at twice, and different.
    pub different: u64,
    /// Not mirrored for want of room.
    pub dropped: u64,
    /// Mirrored, and no answer came.
    pub failed: u64,
}

/// One shadowed request whose answers differed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DifferenceSample {
    /// The capability.
    pub capability: String,
    /// When.
    pub at: Timestamp,
    /// Method.
    pub method: String,
    /// Path without query.
    pub path: String,
    /// Status on legacy.
    pub legacy_status: u16,
    /// Status on modern.
    pub modern_status: u16,
    /// Where they differ.
    pub differences: Vec<Difference>,
}

/// The answer to a gateway's report.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ReportAnswer {
    /// The newest published generation.
    pub generation: u64,
    /// From its receipt on, for how long the gateway may go on forwarding writes of migrating capabilities.
    pub valid_for_ms: u64,
    /// How fresh each side's copy is, by capability.
    pub freshness: BTreeMap<String, Freshness>,
    /// Changes of rows that the agent has applied on the side that does not own, by capability. Another number than
    /// before: there are new ones.
    #[serde(default)]
    pub changes: BTreeMap<String, u64>,
}

/// Every write that its owner had committed at this time has been applied on the other side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freshness {
    /// The epoch that it speaks of.
    pub epoch: u64,
    /// Applied on the side that is not the owner.
    pub through: Timestamp,
}

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

/// Progress of the initial copy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backfill {
    /// Rows copied.
    pub done: u64,
    /// Rows to copy, as counted at the start.
    pub total: u64,
    /// Everything is copied.
    pub complete: bool,
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

/// Answer to [`MarkEnd`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndReport {
    /// Of the wish.
    pub token: u64,
    /// The end that was read.
    pub position: String,
    /// Everything up to it is applied on the other side.
    pub reached: bool,
}

/// Answer to [`Verify`].
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
