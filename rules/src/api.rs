//! Requests and answers of the orchestrator's admin API, besides the messages of [`crate::wire`]. The orchestrator writes
//! them, the command line reads them. Requests refuse unknown fields: a misspelt one must not be a silent default.

mod ahead;
mod detail;
mod explain;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::gate::Judged;
use crate::migration::advance::JournalLine;
use crate::migration::waiting::Waiting;
use crate::migration::{Phase, Stage, Switch};
use crate::spec::Complaint;
use crate::wire::{Backfill, CapabilityReport, DifferenceSample, Freshness, Overrides, Serving, SetAside};
use crate::{Side, Timestamp};

pub use self::ahead::{Ahead, CapabilityAhead, Gone, Part, waves};
pub use self::detail::{CapabilityDetail, FlagStatus, RouteLine, SidePoint, StepLine, TableLine, TrafficPoint};
pub use self::explain::{ExplainRequest, Explained, KnownToGateways, NotServed};

/// Answer of `GET /api/v1/status`, and of every message of `GET /api/v1/events`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The newest published generation.
    pub generation: u64,
    /// When this was written.
    pub at: Timestamp,
    /// The rule files.
    pub rules: RulesStatus,
    /// By name.
    pub capabilities: BTreeMap<String, CapabilityStatus>,
    /// Gateways that have reported.
    pub gateways: Vec<GatewayStatus>,
    /// Agents that have reported.
    pub agents: Vec<AgentStatus>,
    /// What operators have overridden; expired ones are left out.
    pub overrides: Overrides,
    /// How fresh each side's copy is, by capability, as gateways are told; for `explain`.
    #[serde(default)]
    pub freshness: BTreeMap<String, Freshness>,
}

/// How the rule files are.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RulesStatus {
    /// The generation of the rules that serve.
    pub generation: u64,
    /// What is wrong with the files as they are; while it is not empty, older ones serve.
    pub complaints: Vec<Complaint>,
    /// What should be looked at in the rules that serve.
    pub warnings: Vec<Complaint>,
}

/// How far one capability is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CapabilityStatus {
    /// Where it is.
    pub phase: Phase,
    /// The step of the rule file, from 1; `None`: in none of them.
    pub step: Option<usize>,
    /// How many steps the rule file has.
    pub steps: usize,
    /// What that step does: `shadow`, `reads`, `cutover`, `soak`. Once only an operator is missing for the next step, what
    /// that one does.
    pub step_action: Option<String>,
    /// A running cutover or revert.
    pub switch: Option<Switch>,
    /// Its stage.
    pub stage: Option<Stage>,
    /// When it entered the phase or step.
    pub since: Timestamp,
    /// Who owns the writes.
    pub owner: Side,
    /// Grows with every change of owner.
    pub epoch: u64,
    /// How gateways serve it.
    pub serving: Serving,
    /// Reasons not to go forward.
    pub holds: Vec<String>,
    /// What is missing for the next transition.
    pub waiting_for: Vec<Waiting>,
    /// Its gates, judged now.
    pub gates: Vec<Judged>,
    /// The initial copy.
    pub backfill: Option<Backfill>,
    /// Lag of the stream that leaves the owner, in seconds.
    pub lag_seconds: Option<f64>,
    /// Rows that the last finished verification found to differ.
    pub drift_rows: Option<u64>,
    /// When that verification finished.
    pub verified_at: Option<Timestamp>,
    /// A verification is under way.
    pub verifying: bool,
    /// A repair is under way.
    pub repairing: bool,
    /// Rows set aside.
    pub quarantined: u64,
    /// What the agent last reported.
    pub agent: Option<CapabilityReport>,
    /// How long the last finished switch held the writes, in milliseconds.
    pub last_pause_ms: Option<u64>,
    /// Why it stands still.
    pub trouble: Option<String>,
}

/// One gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GatewayStatus {
    /// Its name.
    pub name: String,
    /// Its validity has not surely ended.
    pub live: bool,
    /// The generation that it decides by.
    pub generation: u64,
    /// When it last reported; `None`: not since the orchestrator started.
    pub reported: Option<Timestamp>,
    /// Writes under way, over all capabilities.
    pub inflight_writes: u64,
    /// Writes held, over all capabilities.
    pub held: u64,
    /// Why it could not take a newer generation.
    pub trouble: Option<String>,
    /// Capabilities whose modern side does not answer it; for `explain`.
    #[serde(default)]
    pub modern_down: Vec<String>,
    /// Capabilities whose legacy side does not answer it.
    #[serde(default)]
    pub legacy_down: Vec<String>,
    /// The cookie whose sessions it could not look up when it last tried; for `explain`.
    #[serde(default)]
    pub sessions_unread: Option<String>,
    /// The paths that it answers by itself; for `explain`.
    #[serde(default)]
    pub answers: Vec<String>,
}

/// One agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentStatus {
    /// Its name.
    pub name: String,
    /// The generation of the orders that it works by.
    pub generation: u64,
    /// When it last reported.
    pub reported: Timestamp,
    /// The capabilities that it reported.
    pub capabilities: Vec<String>,
}

/// Body of `POST /api/v1/capabilities/{name}/{wish}`, `POST /api/v1/reload` and `DELETE /api/v1/flags/{name}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WishRequest {
    /// Who wishes it.
    #[serde(default)]
    pub by: String,
    /// Why; it stands in the journal. Of `hold` it is the name of the hold, of a `release` without `hold` too.
    #[serde(default)]
    pub reason: Option<String>,
    /// Which hold `release` takes away; empty, or left out together with `reason`: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    /// `revert` goes back although rows are set aside, and leaves them so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leave_set_aside: bool,
}

/// Body of every answer that is a refusal or an error.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    /// What is wrong, in a sentence.
    pub detail: String,
    /// What is wrong with the rule files, if it is that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub complaints: Vec<Complaint>,
}

/// Body of `POST` and `DELETE /api/v1/pins`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinRequest {
    /// The capability.
    pub capability: String,
    /// Only this user; unset: everybody.
    #[serde(default)]
    pub user: Option<String>,
    /// Where the reads go. Ignored by `DELETE`.
    #[serde(default)]
    pub side: Option<Side>,
    /// For how long, in seconds; unset: until it is deleted.
    #[serde(default)]
    pub for_seconds: Option<u64>,
    /// Who sets it.
    #[serde(default)]
    pub by: String,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Body of `PUT /api/v1/flags/{name}`; that of `DELETE` is a [`WishRequest`], or none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlagRequest {
    /// Whether it is on for everybody; of a flag with variants, nothing.
    #[serde(default)]
    pub on: bool,
    /// The variant that everybody gets, of a flag with variants.
    #[serde(default)]
    pub variant: Option<String>,
    /// For how long, in seconds; unset: until it is deleted.
    #[serde(default)]
    pub for_seconds: Option<u64>,
    /// Who sets it.
    #[serde(default)]
    pub by: String,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Answer of `POST /api/v1/reload`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// The generation of the rules that serve.
    pub rules_generation: u64,
}

/// One entry of `GET /api/v1/journal`, newest last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// Grows with every entry.
    pub id: u64,
    /// When.
    pub at: Timestamp,
    /// The capability; `None`: rules or overrides.
    pub capability: Option<String>,
    /// Who, if it was an operator.
    pub by: Option<String>,
    /// What.
    #[serde(flatten)]
    pub line: JournalLine,
    /// Ties it to the one before: [`crate::audit`].
    #[serde(default)]
    pub hash: String,
}

/// Answer of `GET /api/v1/capabilities/{name}/quarantine`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Quarantine {
    /// How many rows are set aside.
    pub total: u64,
    /// The newest of them, as the agent last told.
    pub rows: Vec<SetAside>,
}

/// Answer of `GET /api/v1/diffs`: newest last, bounded.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Diffs {
    /// Samples of shadowed requests whose answers differed.
    pub samples: Vec<DifferenceSample>,
}
