//! "What are we waiting for" as a type that an operator can read. The same lists decide whether a transition happens,
//! so what `ficus status` shows is the truth.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::observation::{self, AgentSeen, Kin, Observation};
use super::{Phase, State, switch, walk};
use crate::count::counted;
use crate::crossing::Order;
use crate::gate::{Judged, Verdict};
use crate::hours::Hours;
use crate::plan::{Capability, OpenTransactions, StrayWrites};
use crate::wire::{CapabilityReport, Strays};
use crate::{Side, Timestamp};

/// An agent ends a session after two seconds; all of that, and its rollback, has to be over within the half of a deadline that is left
/// when writes under way were waited for.
const ENDED_WITHIN: Duration = Duration::from_secs(3);

/// One thing that is missing for the next transition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// What kind of thing.
    pub kind: WaitingKind,
    /// Which one, in few words: a gate, a hold, a capability, a gateway, an upstream, a step, a window, what the agent is to
    /// bring about. Never a figure that changes while it is waited for: as many values as there are names.
    #[serde(default)]
    pub on: String,
    /// A sentence: `gateway gw-1 is at generation 7 of 9`.
    pub text: String,
}

/// The kinds of things that are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitingKind {
    /// An operator's command.
    Wish,
    /// A reason to hold that must be released.
    Hold,
    /// Time.
    Time,
    /// A day and an hour at which it may.
    Window,
    /// A gate that cannot be judged yet.
    Gate,
    /// A gate that fails.
    FailingGate,
    /// A gateway.
    Gateway,
    /// The agent, or something that only it can bring about.
    Agent,
    /// Another capability.
    Capability,
    /// Somebody else's transaction in a database.
    Transaction,
}

impl Waiting {
    pub(super) fn new(kind: WaitingKind, on: impl Into<String>, text: impl Into<String>) -> Waiting {
        Waiting { kind, on: on.into(), text: text.into() }
    }
}

/// So many rows of strangers are carried over within a fraction of a switch's deadline.
const CARRIED_SOON: u64 = 500;

/// What is missing for the next transition of a state; empty: it is about to happen.
pub fn waiting_for(state: &State, plan: &Capability, seen: &Observation, now: Timestamp) -> Vec<Waiting> {
    if let Some(running) = &state.switch {
        return switch::missing(state, running, plan, seen, now);
    }
    let held = |on: &str, wish: &str| [holds(state), vec![Waiting::new(WaitingKind::Wish, on, wish)]].concat();
    match state.phase {
        Phase::Draft => held("advance", "`ficus advance` to begin"),
        Phase::Retired => retired(plan, seen, now),
        Phase::Reverted => held("advance", "`ficus advance` to begin the steps anew, or `ficus cutover`"),
        Phase::Backfilling => walk::missing_for_streaming(plan, seen, now),
        Phase::Soaking => walk::missing_for_retiring(state, plan, seen, now),
        _ => walk::missing_for_step(state, plan, seen, now),
    }
}

/// One sentence out of many.
pub(super) fn sentence(missing: &[Waiting]) -> String {
    missing.iter().map(|w| w.text.as_str()).collect::<Vec<_>>().join("; ")
}

pub(super) fn holds(state: &State) -> Vec<Waiting> {
    state.holds.iter().map(|reason| Waiting::new(WaitingKind::Hold, name_of(reason), format!("held: {reason}"))).collect()
}

/// A reason to hold without its explanation: `cutover` of `cutover: the deadline has passed`; of a long one, its beginning.
fn name_of(reason: &str) -> String {
    let name = reason.split_once(": ").map_or(reason, |(name, _)| name);
    name.chars().take(60).collect()
}

pub(super) fn gates(judged: &[Judged]) -> Vec<Waiting> {
    let not_passing = judged.iter().filter(|j| j.verdict != Verdict::Pass && !j.dry_run && acts(&j.gate));
    let kind = |v| if v == Verdict::Fail { WaitingKind::FailingGate } else { WaitingKind::Gate };
    not_passing
        .map(|j| Waiting::new(kind(j.verdict), &j.gate, format!("gate {}: {} ({})", j.gate, j.verdict.as_str(), j.measured)))
        .collect()
}

/// Whether a gate keeps a step from ending. The way back is shown; it is no reason not to take the way forward.
fn acts(gate: &str) -> bool {
    gate != observation::REVERSE
}

/// It may begin at this hour.
pub(super) fn window(windows: &[Hours], seen: &Observation, now: Timestamp) -> Option<Waiting> {
    let hour = now.before(seen.ahead);
    let within = windows.is_empty() || windows.iter().any(|window| window.contain(hour));
    let listed = windows.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    (!within).then(|| Waiting::new(WaitingKind::Window, &listed, format!("not at this hour: {listed}")))
}

/// The agent is there, does what it is told, and has nothing to complain of.
pub(super) fn agent(plan: &Capability, seen: &Observation, now: Timestamp) -> Vec<Waiting> {
    let say = |on: &str, text: String| vec![Waiting::new(WaitingKind::Agent, on, text)];
    if plan.tables.is_empty() {
        return Vec::new();
    }
    match (&seen.agent, seen.live_agent(now)) {
        (None, _) => say("report", "no agent has reported".to_owned()),
        (Some(silent), None) => say("report", format!("agent {} has been silent for {}s", silent.name, now.since(silent.at).as_secs())),
        (_, Some(agent)) => match &agent.report.trouble {
            Some(trouble) => say("trouble", format!("agent {}: {trouble}", agent.name)),
            None => behind(agent, seen).into_iter().collect(),
        },
    }
}

/// It has done what it was told last, whatever else it has to complain of.
pub(super) fn agent_follows(plan: &Capability, seen: &Observation, now: Timestamp) -> Vec<Waiting> {
    match seen.live_agent(now).filter(|_| !plan.tables.is_empty()) {
        Some(agent) if agent.report.trouble.is_some() && agent.generation >= seen.orders_generation => Vec::new(),
        _ => agent(plan, seen, now),
    }
}

/// It says that something is wrong.
pub(super) fn in_trouble(seen: &Observation, now: Timestamp) -> bool {
    seen.live_agent(now).is_some_and(|agent| agent.report.trouble.is_some())
}

fn behind(agent: &AgentSeen, seen: &Observation) -> Option<Waiting> {
    let text = || format!("agent {} is at generation {} of {}", agent.name, agent.generation, seen.orders_generation);
    (agent.generation < seen.orders_generation).then(|| Waiting::new(WaitingKind::Agent, "generation", text()))
}

/// No row is set aside.
pub(super) fn quarantined(plan: &Capability, seen: &Observation, now: Timestamp) -> Option<Waiting> {
    let agent = seen.live_agent(now).filter(|a| !plan.tables.is_empty() && a.report.quarantined > 0)?;
    let text = format!(
        "{}: remove the cause (the agent's log names it), then `ficus repair`",
        counted(agent.report.quarantined, "row is quarantined", "rows are quarantined")
    );
    Some(Waiting::new(WaitingKind::Agent, "quarantined rows", text))
}

/// Nothing was written past the gateway that nobody has decided about.
pub(super) fn strays(plan: &Capability, seen: &Observation, now: Timestamp) -> Option<Waiting> {
    let agent = seen.live_agent(now).filter(|_| !plan.tables.is_empty())?;
    Some(Waiting::new(WaitingKind::Agent, "stray writes", unsettled(&agent.report)?))
}

/// Of whom there are rows that are on one side only, and what to do.
pub(super) fn unsettled(report: &CapabilityReport) -> Option<String> {
    report.strays.iter().find_map(|strays| on_one_side(strays, strays.unsettled))
}

/// The same, but for those that are carried over before the owner's database is fenced.
pub(super) fn undecided(plan: &Capability, report: &CapabilityReport) -> Option<String> {
    let carried = |strays: &Strays| if plan.strays == StrayWrites::Forward { strays.untried } else { 0 };
    report.strays.iter().find_map(|strays| on_one_side(strays, strays.unsettled.saturating_sub(carried(strays))))
}

fn on_one_side(strays: &Strays, rows: u64) -> Option<String> {
    let who = written_by(strays);
    let text = format!(
        "{} to {} past the gateway{who}, and on no other side: look (`ficus quarantine`), then `ficus repair` puts the owner's rows in their place",
        counted(rows, "row was written", "rows were written"),
        strays.side
    );
    (rows > 0).then_some(text)
}

fn written_by(strays: &Strays) -> String {
    if strays.wrote.is_empty() { String::new() } else { format!(" ({})", strays.wrote.join("; ")) }
}

/// What keeps a way back from beginning of what was written past the gateway: rows that somebody has to decide about, or more than can
/// be carried over while everybody's writes wait.
pub(super) fn strays_on_the_way_back(plan: &Capability, seen: &Observation, now: Timestamp) -> Option<Waiting> {
    let report = &seen.live_agent(now).filter(|_| !plan.tables.is_empty())?.report;
    let undecided = undecided(plan, report).map(|text| Waiting::new(WaitingKind::Agent, "stray writes", text));
    undecided.or_else(|| too_many_to_carry(plan, seen, now))
}

/// Of those, what no decision lets through: more than can be carried over.
pub(super) fn too_many_to_carry(plan: &Capability, seen: &Observation, now: Timestamp) -> Option<Waiting> {
    // Where none is carried over, none of them waits for that.
    let carried = plan.strays == StrayWrites::Forward && !plan.tables.is_empty();
    let report = &seen.live_agent(now).filter(|_| carried)?.report;
    let text = report.strays.iter().filter(|strays| strays.untried > CARRIED_SOON).find_map(to_be_carried)?;
    Some(Waiting::new(WaitingKind::Agent, "stray writes", text))
}

/// What a way back leaves set aside, in words; empty: nothing.
pub(super) fn left_aside(plan: &Capability, seen: &Observation, now: Timestamp) -> String {
    let Some(agent) = seen.live_agent(now).filter(|_| !plan.tables.is_empty()) else { return String::new() };
    let quarantined = agent.report.quarantined;
    let aside = (quarantined > 0).then(|| counted(quarantined, "row that legacy did not take", "rows that legacy did not take"));
    let undecided = |strays: &Strays| {
        let carried = if plan.strays == StrayWrites::Forward { strays.untried } else { 0 };
        let rows = strays.unsettled.saturating_sub(carried);
        let tables = strays.tables.keys().cloned().collect::<Vec<_>>().join(", ");
        (rows > 0).then(|| format!("{} to {} past the gateway ({tables})", counted(rows, "row written", "rows written"), strays.side))
    };
    let left: Vec<String> = aside.into_iter().chain(agent.report.strays.iter().filter_map(undecided)).collect();
    if left.is_empty() { String::new() } else { format!("left set aside, as `ficus quarantine` shows: {}", left.join(", and ")) }
}

/// Legacy takes none any more, and all that it took has been carried over; of a way back that leaves some, all that can be.
pub(super) fn strays_carried(plan: &Capability, seen: &Observation, leaves: bool, now: Timestamp) -> Vec<Waiting> {
    let missing = agent(plan, seen, now);
    let Some(report) = seen.live_agent(now).filter(|_| missing.is_empty()).map(|agent| &agent.report) else { return missing };
    let text = match report.strays.iter().filter(|strays| !leaves || strays.untried > 0).find_map(to_be_carried) {
        _ if !report.fenced.legacy => "legacy's database to refuse who writes past the gateway".to_owned(),
        Some(left) => left,
        None => return missing,
    };
    vec![Waiting::new(WaitingKind::Agent, "stray writes", text)]
}

fn to_be_carried(strays: &Strays) -> Option<String> {
    let rows = counted(strays.unsettled, "row that was written", "rows that were written");
    (strays.unsettled > 0).then(|| format!("{rows} to {} past the gateway{} to be carried over", strays.side, written_by(strays)))
}

/// No old transaction is open that the fence of the owner's database would wait for.
pub(super) fn busy(state: &State, plan: &Capability, seen: &Observation, now: Timestamp) -> Option<Waiting> {
    let report = &seen.live_agent(now).filter(|_| !plan.tables.is_empty())?.report;
    // What an older epoch's owner has open keeps nobody waiting.
    let text = report.busy.as_ref().filter(|_| report.epoch == state.epoch)?;
    Some(Waiting::new(WaitingKind::Transaction, format!("database of {}", state.owner), text.clone()))
}

/// The same, but for those of modern whose sessions are ended on the way back, if the deadline gives time for it.
pub(super) fn busy_before(state: &State, to: Side, plan: &Capability, seen: &Observation, now: Timestamp) -> Option<Waiting> {
    let in_time = seen.limits.switch_deadline.saturating_sub(seen.limits.hangs()) >= ENDED_WITHIN;
    let may_end = in_time && seen.live_agent(now).is_some_and(|agent| agent.report.busy_ends);
    let ended = to == Side::Legacy && may_end && plan.returns.transactions == OpenTransactions::End;
    busy(state, plan, seen, now).filter(|_| !ended)
}

/// A stream runs.
pub(super) fn stream(plan: &Capability, seen: &Observation, from: Side, now: Timestamp) -> Vec<Waiting> {
    let live = seen.live_agent(now).is_some_and(|a| a.report.stream_from(from).live);
    if plan.tables.is_empty() || live {
        return Vec::new();
    }
    vec![Waiting::new(WaitingKind::Agent, format!("stream from {from}"), format!("the stream from {from} does not run"))]
}

/// Every gateway that counts decides by the present serving.
pub(super) fn gateways(seen: &Observation, now: Timestamp) -> Vec<Waiting> {
    let behind = seen.counting(now).filter(|g| !g.follows(seen.serving_generation));
    let say = |g: &super::observation::GatewaySeen| {
        let text = match g.astray {
            true => format!("gateway {} is at generation {}, which was never published here", g.name, g.generation),
            false => format!("gateway {} is at generation {} of {}", g.name, g.generation, seen.serving_generation),
        };
        Waiting::new(WaitingKind::Gateway, &g.name, text)
    };
    behind.map(say).collect()
}

/// Every gateway that is known, also one that is silent, has heard that the capability begins to move: one that has not needs no
/// validity to forward its writes, for as long as it lives.
pub(super) fn unaware(seen: &Observation) -> Vec<Waiting> {
    let unaware = seen.gateways.iter().filter(|g| !g.follows(seen.serving_generation));
    let say = |g: &super::observation::GatewaySeen| {
        let text =
            format!("gateway {} to hear that this begins to move (one that is gone for good is forgotten after ten minutes)", g.name);
        Waiting::new(WaitingKind::Gateway, &g.name, text)
    };
    unaware.map(say).collect()
}

/// Modern answers every gateway that counts.
pub(super) fn modern_up(plan: &Capability, seen: &Observation, now: Timestamp) -> Vec<Waiting> {
    let down = seen.counting(now).filter(|g| g.modern_down);
    down.map(|g| Waiting::new(WaitingKind::Gateway, &plan.modern, format!("{} does not answer gateway {}", plan.modern, g.name))).collect()
}

/// Legacy answers every gateway that counts.
pub(super) fn legacy_up(plan: &Capability, seen: &Observation, now: Timestamp) -> Vec<Waiting> {
    let down = seen.counting(now).filter(|g| g.legacy_down);
    down.map(|g| Waiting::new(WaitingKind::Gateway, &plan.legacy, format!("{} does not answer gateway {}", plan.legacy, g.name))).collect()
}

/// Those to whose rows foreign keys lead, and that have to move before. While legacy owns such rows, it refuses to remove each
/// of them that it would have to take these rows with: their fence refuses it.
pub(super) fn parents(seen: &Observation) -> Vec<Waiting> {
    let mut first: Vec<&Kin> = seen.parents.iter().filter(|kin| kin.key.order == Order::After && !kin.has_arrived()).collect();
    first.dedup_by(|one, other| one.name == other.name);
    let say = |kin: &&Kin| {
        let (name, phase, key) = (&kin.name, kin.phase.as_str(), kin.key.words());
        let text = format!(
            "{name} has to move first, and legacy owns it ({phase}): {key}; `ficus cutover {name}`, or let this one go ahead of it (`ahead_of` in its rule file)"
        );
        Waiting::new(WaitingKind::Capability, name, text)
    };
    first.iter().map(say).collect()
}

/// Who would stay with modern while these rows go back to legacy, and refers to them.
pub(super) fn stay_behind(seen: &Observation) -> Option<String> {
    let mut left: Vec<&Kin> = seen.children.iter().filter(|kin| kin.has_moved() && kin.phase != Phase::Retired).collect();
    left.dedup_by(|one, other| one.name == other.name);
    let say = |kin: &&Kin| format!("{0} stays with modern, and {1}: `ficus revert {0}` too", kin.name, kin.key.words());
    let texts: Vec<String> = left.iter().map(say).collect();
    (!texts.is_empty()).then(|| texts.join("; "))
}

fn retired(plan: &Capability, seen: &Observation, now: Timestamp) -> Vec<Waiting> {
    if plan.tables.is_empty() || seen.obedient_agent(now).is_some_and(|report| report.removed) {
        return Vec::new();
    }
    vec![Waiting::new(WaitingKind::Agent, "cleaning up", "the agent to take its triggers, logs and marks out of both databases")]
}
