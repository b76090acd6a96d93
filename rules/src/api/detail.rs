//! What the console shows beside the status: what a capability's rule file says, its recent traffic, and the flags.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::flag::Flag;
use crate::gate::percentile;
use crate::plan::{Capability, Route, Step, StepAction};
use crate::wire::{FlagOverride, ShadowCounts, Traffic};
use crate::{Share, Side, Timestamp};

/// Answer of `GET /api/v1/capabilities/{name}`: the rules of one capability, as they serve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CapabilityDetail {
    /// Its name.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// Where it stands: `users.toml:1`.
    pub source: String,
    /// The upstream that serves it today.
    pub legacy: String,
    /// The upstream that will.
    pub modern: String,
    /// Capabilities whose tables it joins.
    pub depends_on: Vec<String>,
    /// Its routes, in the order of the file.
    pub routes: Vec<RouteLine>,
    /// Its tables, parents before children.
    pub tables: Vec<TableLine>,
    /// Its steps, in order.
    pub steps: Vec<StepLine>,
}

/// One route.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RouteLine {
    /// Where it stands.
    pub source: String,
    /// The pattern of its path.
    pub path: String,
    /// Methods it is limited to; empty: any.
    pub methods: Vec<String>,
    /// Hosts it is limited to; empty: any.
    pub hosts: Vec<String>,
    /// Headers and query parameters that it asks for, by name.
    pub conditions: Vec<String>,
    /// The path that the modern side sees, if it is another.
    pub modern_path: Option<String>,
    /// Stays on this side.
    pub pin: Option<Side>,
    /// The flag that must be on.
    pub flag: Option<String>,
    /// Its reads may be shadowed.
    pub shadow: bool,
}

/// One pair of tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableLine {
    /// Where it stands.
    pub source: String,
    /// Legacy table and its key.
    pub legacy: String,
    /// Modern table.
    pub modern: String,
    /// Legacy's key column.
    pub legacy_key: String,
    /// Modern's column that keeps it.
    pub modern_key: String,
    /// Columns that the file spells out.
    pub spelled_out: usize,
    /// Columns of the same name follow by themselves.
    pub same_names_follow: bool,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepLine {
    /// Where it stands.
    pub source: String,
    /// `shadow`, `reads`, `cutover` or `soak`.
    pub action: String,
    /// The share of `shadow` and `reads`.
    pub share: Option<Share>,
    /// For how long it lasts at least, in seconds.
    pub hold_seconds: u64,
    /// Waits for a release before it begins.
    pub approve: bool,
}

/// One stretch of time of `GET /api/v1/capabilities/{name}/traffic`, oldest first. Counts what gates judge: reads, and writes
/// once modern owns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrafficPoint {
    /// When it ended.
    pub at: Timestamp,
    /// How long it was.
    pub seconds: f64,
    /// Answered by legacy.
    pub legacy: SidePoint,
    /// Answered by modern.
    pub modern: SidePoint,
    /// Mirrored requests.
    pub shadow: ShadowCounts,
    /// Lag of the stream that leaves the owner at its end.
    pub lag_seconds: Option<f64>,
}

/// One side's answers in a stretch of time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SidePoint {
    /// Requests.
    pub requests: u64,
    /// Of these: 5xx, refused connections and time-outs.
    pub errors: u64,
    /// Half of them were answered within so many milliseconds.
    pub p50_ms: Option<f64>,
    /// All but a hundredth were.
    pub p99_ms: Option<f64>,
}

/// One flag of `GET /api/v1/flags`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FlagStatus {
    /// Its name.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// Off for everybody, whatever else the file says.
    pub killed: bool,
    /// Whether it is on where nobody is targeted.
    pub default: bool,
    /// The share of callers for whom it is on.
    pub percentage: Option<Share>,
    /// Its variants with their values; empty: it is on or off.
    #[serde(default)]
    pub variants: BTreeMap<String, serde_json::Value>,
    /// The variant where nobody is targeted.
    #[serde(default)]
    pub default_variant: String,
    /// The day from which on somebody should look at it.
    #[serde(default)]
    pub expires: Option<String>,
    /// What an operator says for everybody.
    pub overridden: Option<FlagOverride>,
}

impl From<&Capability> for CapabilityDetail {
    fn from(plan: &Capability) -> CapabilityDetail {
        CapabilityDetail {
            name: plan.name.clone(),
            description: plan.description.clone(),
            source: plan.source.clone(),
            legacy: plan.legacy.clone(),
            modern: plan.modern.clone(),
            depends_on: plan.depends_on.clone(),
            routes: plan.routes.iter().map(RouteLine::from).collect(),
            tables: plan
                .tables
                .iter()
                .map(|table| TableLine {
                    source: table.source.clone(),
                    legacy: table.legacy.clone(),
                    modern: table.modern.clone(),
                    legacy_key: table.legacy_key.clone(),
                    modern_key: table.modern_key.clone(),
                    spelled_out: table.columns.len(),
                    same_names_follow: !table.only,
                })
                .collect(),
            steps: plan.steps.iter().map(StepLine::from).collect(),
        }
    }
}

impl From<&Route> for RouteLine {
    fn from(route: &Route) -> RouteLine {
        let header = route.headers.keys().map(|name| format!("header {name}"));
        RouteLine {
            source: route.source.clone(),
            path: route.path.clone(),
            methods: route.methods.clone(),
            hosts: route.hosts.clone(),
            conditions: header.chain(route.query.keys().map(|name| format!("query {name}"))).collect(),
            modern_path: route.modern_path.clone(),
            pin: route.pin,
            flag: route.flag.clone(),
            shadow: route.shadow,
        }
    }
}

impl From<&Step> for StepLine {
    fn from(step: &Step) -> StepLine {
        let (share, hold) = match step.action {
            StepAction::Shadow(share) | StepAction::Reads(share) => (Some(share), step.hold),
            StepAction::Cutover => (None, step.hold),
            StepAction::Soak(soak) => (None, soak),
        };
        StepLine {
            source: step.source.clone(),
            action: step.action.as_str().to_owned(),
            share,
            hold_seconds: hold.as_secs(),
            approve: step.approve,
        }
    }
}

impl From<&Traffic> for SidePoint {
    fn from(traffic: &Traffic) -> SidePoint {
        let millis = |share| percentile(traffic, share).map(|latency| latency.as_secs_f64() * 1e3);
        SidePoint { requests: traffic.requests, errors: traffic.errors, p50_ms: millis(0.5), p99_ms: millis(0.99) }
    }
}

impl FlagStatus {
    /// A flag with what an operator says of it.
    pub fn new(flag: &Flag, overridden: Option<FlagOverride>) -> FlagStatus {
        let is_switch = flag.is_switch();
        FlagStatus {
            name: flag.name.clone(),
            description: flag.description.clone(),
            killed: flag.killed,
            default: flag.variants.get(&flag.default) == Some(&serde_json::Value::Bool(true)),
            percentage: flag.split.as_ref().filter(|_| is_switch).and_then(|split| split.shares.first()).map(|(_, share)| *share),
            variants: if is_switch { BTreeMap::new() } else { flag.variants.clone() },
            default_variant: flag.default.clone(),
            expires: flag.expires.map(|day| day.to_string()),
            overridden,
        }
    }
}
