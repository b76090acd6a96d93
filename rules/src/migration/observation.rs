//! What the state machine is told about the world. All of it may be old; what must not be is named by a generation or a
//! token. Gathered by the orchestrator from reports.

use std::collections::BTreeMap;
use std::time::Duration;

use super::waiting::{self, WaitingKind};
use super::{Phase, State, switch};
use crate::count::counted;
use crate::crossing::Crossing;
use crate::gate::{self, Answer, Baseline, Judged, LagSeen, Measured, Measurements, ParitySeen, Sides, Verdict};
use crate::plan::{Capability, StepAction};
use crate::wire::{CapabilityReport, ShadowCounts, Traffic};
use crate::{Share, Side, Timestamp};

/// The gate that says whether the way back keeps every row.
pub(super) const REVERSE: &str = "reverse";

const SILENT: &str = "the agent is silent";

/// Times that the procedure waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A switch that has not flipped the owner after this long is aborted.
    pub switch_deadline: Duration,
    /// After an abort, no automatic try for this long.
    pub cool_down: Duration,
    /// An agent that has not reported for this long is silent.
    pub agent_silent: Duration,
    /// An abort waits so long to hear whether the owner's database is open before the gateways release. While it is known
    /// to be fenced, they do not.
    pub lift: Duration,
    /// A failing gate leads to so many reverts that are taken back before somebody has to look.
    pub reverts: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            switch_deadline: Duration::from_secs(10),
            cool_down: Duration::from_secs(60),
            agent_silent: Duration::from_secs(10),
            lift: Duration::from_secs(5),
            reverts: 3,
        }
    }
}

impl Limits {
    /// On the way back, writes under way are waited for no longer than this: half of the deadline, for the other half is needed.
    pub(super) fn hangs(&self) -> Duration {
        self.switch_deadline / 2
    }
}

/// The world round one capability.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observation {
    /// Every gateway that may still forward by something that was once published.
    pub gateways: Vec<GatewaySeen>,
    /// The generation at which the capability's present [`super::desired::serving`] was published.
    pub serving_generation: u64,
    /// The generation at which its present [`super::desired::orders`] were published.
    pub orders_generation: u64,
    /// The agent that has the capability.
    pub agent: Option<AgentSeen>,
    /// What the gateways counted.
    pub traffic: TrafficSeen,
    /// The phases of the capabilities whose tables this one joins, and of those that join this one's.
    pub joined: BTreeMap<String, Phase>,
    /// Those of them that tables of this one refer to by a foreign key, as far as the agent has told.
    pub parents: Vec<Kin>,
    /// Those of them whose tables refer to this one's.
    pub children: Vec<Kin>,
    /// Others of which nobody has told yet whether they are one or the other, and where they are.
    pub untold: BTreeMap<String, Phase>,
    /// Answers to the operator's own gates since the step began, oldest first.
    pub answers: BTreeMap<String, Vec<Answer>>,
    /// Times to wait for.
    pub limits: Limits,
    /// By so much the time that waits are measured by ([`crate::time::Onward`]) is ahead of what people and agents read.
    pub ahead: Duration,
}

/// Another capability at the other end of a foreign key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kin {
    /// Its name.
    pub name: String,
    /// Who owns it.
    pub owner: Side,
    /// Where it is.
    pub phase: Phase,
    /// The key, whichever of the two it leads from.
    pub key: Crossing,
}

impl Kin {
    /// Modern owns it, and that is not taken back any more.
    pub fn has_arrived(&self) -> bool {
        matches!(self.phase, Phase::Soaking | Phase::Retired)
    }

    /// Modern owns it, and is about to go on.
    pub fn has_moved(&self) -> bool {
        self.owner == Side::Modern && self.phase != Phase::Reverting
    }
}

/// One gateway.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GatewaySeen {
    /// Its name.
    pub name: String,
    /// Until then it may forward writes by what it last took: its validity, and a margin for the way of the answer.
    pub counts_until: Timestamp,
    /// The generation that it decides every request by.
    pub generation: u64,
    /// That generation was never published here: what it decides by is not known, and it follows nothing.
    pub astray: bool,
    /// Writes of the capability that it sent and that are not answered.
    pub inflight_writes: u64,
    /// Writes of the capability that it holds.
    pub held: u64,
    /// Modern does not answer it.
    pub modern_down: bool,
    /// Legacy does not answer it.
    pub legacy_down: bool,
}

/// The agent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AgentSeen {
    /// Its name.
    pub name: String,
    /// The generation of the orders that it works by.
    pub generation: u64,
    /// When it reported: so long ago, by a clock that nobody sets.
    pub at: Timestamp,
    /// What it reported.
    pub report: CapabilityReport,
}

/// Counters over windows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TrafficSeen {
    /// Since the present step began.
    pub step: Sides,
    /// The last minutes.
    pub recent: Sides,
    /// The last minute.
    pub minute: Sides,
    /// Writes of the last minutes that were in flight, and for how long.
    pub writes: Traffic,
    /// The last windows of the step, oldest first, of gates that ask for several.
    pub windows: BTreeMap<String, Vec<Sides>>,
    /// Comparisons since the present step began.
    pub shadow: ShadowCounts,
    /// Those of the last minutes.
    pub shadow_recent: ShadowCounts,
    /// Since when the lag has been beyond the gate's limit, or not known at all.
    pub lag_beyond_since: Option<Timestamp>,
}

impl GatewaySeen {
    /// Whether it decides by what was published at this generation, or later.
    pub fn follows(&self, generation: u64) -> bool {
        !self.astray && self.generation >= generation
    }
}

impl Observation {
    /// The gateways that count: the validity of the others has surely ended.
    pub fn counting(&self, now: Timestamp) -> impl Iterator<Item = &GatewaySeen> {
        self.gateways.iter().filter(move |g| now < g.counts_until)
    }

    /// The agent's report, if it is fresh.
    pub fn live_agent(&self, now: Timestamp) -> Option<&AgentSeen> {
        self.agent.as_ref().filter(|a| now.since(a.at) <= self.limits.agent_silent)
    }

    /// Whether everybody who is heard of, and has to agree before writes go to a side, knows the present serving and orders.
    /// Somebody who was told a moment ago may be about to say so.
    pub fn is_followed(&self, to: Side, now: Timestamp) -> bool {
        let agent = self.live_agent(now).is_none_or(|agent| agent.generation >= self.orders_generation);
        agent && (to == Side::Legacy || self.counting(now).all(|gateway| gateway.follows(self.serving_generation)))
    }

    /// The agent's report, if it is fresh and speaks of the present orders.
    pub fn obedient_agent(&self, now: Timestamp) -> Option<&CapabilityReport> {
        self.live_agent(now).filter(|a| a.generation >= self.orders_generation).map(|a| &a.report)
    }

    /// Judges the gates that speak in the state's phase.
    pub fn judged(&self, state: &State, plan: &Capability, now: Timestamp) -> Vec<Judged> {
        let mut judged = gate::judge(&plan.gates, &self.measurements(state, plan, now), now);
        if state.phase == Phase::Soaking && !plan.tables.is_empty() {
            judged.push(self.way_back(state, plan, now));
        }
        judged
    }

    /// Whether a revert would keep every row, now. It fails where rows are known not to be right on the other side.
    fn way_back(&self, state: &State, plan: &Capability, now: Timestamp) -> Judged {
        let mut missing = switch::preconditions(state, state.owner.other(), plan, self, now);
        missing.retain(|waiting| waiting.kind != WaitingKind::Transaction);
        let report = self.live_agent(now).map(|agent| &agent.report);
        let drift = report.and_then(|report| self.parity(report).last).map_or(0, |(rows, _)| rows);
        let set_aside = report.map_or(0, |report| report.quarantined);
        let (verdict, measured) = match (waiting::sentence(&missing), drift) {
            (why, _) if set_aside > 0 => (Verdict::Fail, format!("a revert is lossless now: no ({why})")),
            (_, drift) if drift > 0 => {
                (Verdict::Fail, format!("a revert is lossless now: no ({})", counted(drift, "row differs", "rows differ")))
            }
            (why, _) if why.is_empty() => (Verdict::Pass, "a revert is lossless now: yes".to_owned()),
            (why, _) => (Verdict::Error, format!("a revert is lossless now: no ({why})")),
        };
        Judged { gate: REVERSE.to_owned(), verdict, measured, dry_run: false }
    }

    fn measurements(&self, state: &State, plan: &Capability, now: Timestamp) -> Measurements {
        use Phase::{Ramping, Reverted, Shadowing, Soaking, Streaming};
        let mut asked = Measurements::default();
        if matches!(state.phase, Ramping | Soaking) {
            asked.step = Measured::Value(self.traffic.step.clone());
            asked.recent = Measured::Value(self.traffic.recent.clone());
            asked.minute = Measured::Value(self.traffic.minute.clone());
            asked.legacy_before = state.legacy_before.clone();
            asked.windows.clone_from(&self.traffic.windows);
        }
        asked.answers = matches!(state.phase, Shadowing | Ramping | Soaking).then(|| self.answers.clone());
        asked.shadow = self.shadow(state, plan);
        if asked.shadow != Measured::Unasked {
            asked.shadow_recent = Measured::Value(self.traffic.shadow_recent.clone());
        }
        if !plan.tables.is_empty() && matches!(state.phase, Streaming | Shadowing | Ramping | Soaking | Reverted) {
            (asked.lag, asked.parity) = match self.live_agent(now) {
                None => (Measured::Missing(SILENT.to_owned()), Measured::Missing(SILENT.to_owned())),
                Some(agent) => (self.lag(&agent.report, state.owner), Measured::Value(self.parity(&agent.report))),
            };
            asked.lag_missing_since = self.traffic.lag_beyond_since;
            asked.quarantined = match self.live_agent(now) {
                None => Measured::Missing(SILENT.to_owned()),
                Some(agent) => Measured::Value(agent.report.quarantined),
            };
        }
        asked
    }

    /// What legacy is like, while enough callers ask it to say so: what modern is held against when hardly any do.
    pub(super) fn learn_of_legacy(&self, state: &State, plan: &Capability, before: &mut Baseline) {
        if matches!(state.phase, Phase::Shadowing | Phase::Ramping) {
            let limits = plan.gates.errors.iter().map(|gate| gate.min_requests);
            let least = limits.chain(plan.gates.latency.values().map(|gate| gate.min_requests)).min().unwrap_or_default();
            before.reads.learn(&self.traffic.step.legacy, least);
            before.writes.learn(&self.traffic.step.legacy_writes, least);
        }
    }

    fn lag(&self, report: &CapabilityReport, owner: Side) -> Measured<LagSeen> {
        let stream = report.stream_from(owner);
        if !stream.live {
            return Measured::Missing(format!("the stream from {owner} does not run"));
        }
        Measured::Value(LagSeen { seconds: stream.lag_seconds, beyond_since: self.traffic.lag_beyond_since })
    }

    fn parity(&self, report: &CapabilityReport) -> ParitySeen {
        ParitySeen { last: report.verified.as_ref().filter(|v| v.done).map(|v| (v.drift_rows(), v.at.plus(self.ahead))) }
    }

    /// While ramping, ever fewer reads are left to mirror: too few of them are no reason to wait. While modern owns, legacy may be
    /// asked what it would have answered.
    fn shadow(&self, state: &State, plan: &Capability) -> Measured<ShadowCounts> {
        let counts = &self.traffic.shadow;
        let enough = plan.gates.shadow.is_some_and(|gate| counts.same + counts.different + counts.failed >= gate.min_requests);
        match state.phase {
            Phase::Shadowing if shadow_share(plan, state.step) > Share::NONE => Measured::Value(counts.clone()),
            Phase::Ramping if enough => Measured::Value(counts.clone()),
            Phase::Soaking if enough && compared_share(state, plan) > Share::NONE => Measured::Value(counts.clone()),
            _ => Measured::Unasked,
        }
    }
}

/// Whether the gates that were judged fail, and which first.
pub(super) fn failing(judged: &[Judged]) -> Option<&Judged> {
    judged.iter().find(|j| j.fails() && j.gate != REVERSE)
}

/// The share that the last shadow step up to `step` said.
pub(super) fn shadow_share(plan: &Capability, step: usize) -> Share {
    let mut shares = plan.steps.iter().take(step.saturating_add(1)).rev();
    shares.find_map(|s| if let StepAction::Shadow(share) = s.action { Some(share) } else { None }).unwrap_or(Share::NONE)
}

/// The share of the reads that legacy is asked, too, while modern owns. During a switch nobody compares. (The steps before the soak
/// may be edited while it lasts: it is another one by number then.)
pub(super) fn compared_share(state: &State, plan: &Capability) -> Share {
    let soaking = state.phase == Phase::Soaking && state.switch.is_none();
    let soak = plan.steps.iter().find(|step| matches!(step.action, StepAction::Soak(_)));
    soak.filter(|_| soaking).map_or(Share::NONE, |step| step.compare)
}

/// The share that the last reads step up to `step` said.
pub(super) fn reads_share(plan: &Capability, step: usize) -> Share {
    let mut shares = plan.steps.iter().take(step.saturating_add(1)).rev();
    shares.find_map(|s| if let StepAction::Reads(share) = s.action { Some(share) } else { None }).unwrap_or(Share::NONE)
}
