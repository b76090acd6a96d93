//! What a gateway reports of itself, of every capability and of answers that differed, and the answer that it gets. Says
//! nothing of what follows from it: whose report counts is for [`crate::lease`], what it moves for [`crate::migration`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::log_out::{Heard, LogOut};
use crate::parity::Difference;
use crate::{Side, Timestamp};

/// What a gateway does and counts. Body of `POST /api/v1/gateways/report`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GatewayReport {
    /// Its name: stable over a restart. One that makes way for its successor has another one, of its own ([`aside`]).
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
    /// Log-outs that it knows of, as far as nobody has answered that they were heard.
    #[serde(default)]
    pub log_outs: Vec<LogOut>,
    /// How far it knows those of the orchestrator.
    #[serde(default)]
    pub log_outs_heard: Heard,
    /// It forwards nothing any more, and will not report again: nobody has to reckon with it.
    #[serde(default)]
    pub ended: bool,
}

/// The name under which a gateway reports whose own name has passed, or passes, to the process that follows it. Both may
/// forward at the same time; each has a validity, and counts, of its own.
pub fn aside(gateway: &str, incarnation: &str) -> String {
    format!("{gateway}~{}", incarnation.get(..8).unwrap_or(incarnation))
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
    /// Log-outs that the gateway does not know yet, or some of them.
    #[serde(default)]
    pub log_outs: Vec<LogOut>,
    /// How far it knows them with these. An empty list: of an orchestrator that keeps none.
    #[serde(default)]
    pub log_outs_heard: Heard,
}

/// Every write that its owner had committed at this time has been applied on the other side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freshness {
    /// The epoch that it speaks of.
    pub epoch: u64,
    /// Applied on the side that is not the owner.
    pub through: Timestamp,
}
