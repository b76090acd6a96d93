//! The paths ahead, walked before they are walked: the same transitions as [`super::advance`] makes them, of all capabilities
//! in one world and in the reconciler's order, in which gateways and agents do all that is ordered, as fast as was measured, and
//! whoever operates says yes. What comes of it: the steps with how long each lasts, whom they wait for, what somebody has
//! to do for them, and for how long a cutover, or the way back, would hold the writes, or why it would be taken back.
//!
//! It foresees times, not faults: gates pass in it once they have seen enough requests. What stands in the way now is told apart.

mod legs;
mod pace;
#[cfg(test)]
mod tests;
mod walk;
mod world;

use serde::{Deserialize, Serialize};

use super::observation::Observation;
use super::relations::Relations;
use super::waiting::{self, Waiting, WaitingKind, waiting_for};
use super::{Phase, Stage, State};
use crate::plan::Capability;
use crate::{Side, Timestamp};
pub use pace::Pace;
use walk::{Places, Walk};

/// A path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rehearsal {
    /// What keeps it from going on now, and will not pass by itself.
    pub in_the_way: Vec<Waiting>,
    /// What lies ahead, in order; the first is where it is.
    pub legs: Vec<Leg>,
    /// Until the capability may retire, at the earliest; `None`: the path ends before.
    pub lasts_ms: Option<u64>,
    /// The next switch of the path.
    pub switch: Option<SwitchForeseen>,
    /// While modern owns: the way back, if it is taken now.
    #[serde(default)]
    pub back: Option<SwitchForeseen>,
    /// Why the path leads no further.
    pub ends: Option<String>,
}

/// A phase or step of the path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leg {
    /// `copy`, `stream`, `shadow 100%`, `reads 5%`, `cutover`, `soak`, …
    pub name: String,
    /// When it begins, in milliseconds from now.
    pub begins_ms: u64,
    /// How long it lasts at least.
    pub lasts_ms: u64,
    /// What it needs to begin: an operator's word, an hour.
    pub needs: Vec<Waiting>,
    /// Gates that it must pass, and the requests that they need.
    pub gates: Vec<String>,
    /// Other capabilities that had to move before it.
    #[serde(default)]
    pub after: Vec<After>,
}

/// Another capability that is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct After {
    /// Its name.
    pub capability: String,
    /// When it has moved, in milliseconds from now.
    pub moved_ms: u64,
}

/// How a switch would go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwitchForeseen {
    /// For how long writes would be held.
    pub pause_ms: u64,
    /// Of that, in each stage.
    pub stages: Vec<(Stage, u64)>,
    /// It would be taken back, because of this.
    pub taken_back: Option<String>,
    /// What is open now. Nobody knows when it ends: the pause above is the one without it.
    #[serde(default)]
    pub open: Option<OpenNow>,
}

/// A transaction that is open now, and that the fence of the owner's database would wait for: at least until it ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenNow {
    /// Whose it is, and for how long it has been open.
    pub whose: String,
    /// A switch that has begun would hold the writes for so long, and be taken back, if it does not end before.
    pub taken_back_ms: u64,
}

/// A capability at its place, and what is known of it.
#[derive(Debug, Clone)]
pub struct Part<'a> {
    /// Its state.
    pub state: &'a State,
    /// Its rules.
    pub plan: &'a Capability,
    /// What is seen of it.
    pub seen: Observation,
    /// How fast everybody is.
    pub pace: Pace,
    /// Whom it waits for, and who for it.
    pub relations: Relations,
}

/// Walks the paths of capabilities from where they are, in the order in which the reconciler would go through them.
pub fn rehearse(parts: &[Part], now: Timestamp) -> Vec<Rehearsal> {
    let mut places: Places = parts.iter().map(|part| (part.plan.name.as_str(), (part.state.owner, part.state.phase))).collect();
    let now_at = places.clone();
    let mut walks: Vec<Walk> = parts.iter().map(|part| Walk::new(part, now)).collect();
    // Each walk has an end of its own, and so has this.
    while let Some(next) = walks.iter().filter_map(Walk::wakes).min() {
        for (at, part) in parts.iter().enumerate() {
            if walks[at].wakes().is_none_or(|wakes| wakes > next) {
                continue;
            }
            walks[at].go_on(&places, next);
            let place = walks[at].place();
            if places.insert(&part.plan.name, place) != Some(place) {
                walks.iter_mut().for_each(|walk| walk.hear(&part.plan.name, next));
            }
        }
    }
    let path = |(walk, part): (Walk, &Part)| {
        let back = back(part, &now_at, now);
        let mut path = Rehearsal { in_the_way: in_the_way(part, now), back, ..walk.finish() };
        let open = open_now(part, &now_at, now);
        [&mut path.switch, &mut path.back].into_iter().flatten().for_each(|switch| switch.open.clone_from(&open));
        path
    };
    walks.into_iter().zip(parts).map(path).collect()
}

/// The way back, if it is taken now.
fn back(part: &Part, places: &Places, now: Timestamp) -> Option<SwitchForeseen> {
    if part.state.phase != Phase::Soaking || part.state.switch.is_some() {
        return None;
    }
    let mut walk = Walk::new(part, now);
    if walk.turn_back(places) { walk.first_switch(places) } else { None }
}

/// What a fence would wait for now, and what becomes of a switch under which it does not end.
fn open_now(part: &Part, places: &Places, now: Timestamp) -> Option<OpenNow> {
    let whose = waiting::busy_before(part.state, part.state.owner.other(), part.plan, &part.seen, now)?.text;
    let endless = Part { pace: Pace { lock: world::LONG, ..part.pace.clone() }, ..part.clone() };
    let switch = match part.state.owner {
        Side::Legacy => Walk::new(&endless, now).first_switch(places),
        Side::Modern => back(&endless, places, now),
    };
    let SwitchForeseen { pause_ms, stages, .. } = switch.filter(|switch| switch.taken_back.is_some())?;
    // At its deadline, unless the fence gives up before.
    let before = stages.iter().filter(|(stage, _)| *stage != Stage::FenceDatabase).map(|(_, ms)| ms).sum::<u64>();
    let waits = part.seen.live_agent(now).and_then(|agent| agent.report.fence_waits_ms);
    let taken_back_ms = waits.map_or(pause_ms, |waits| pause_ms.min(before + waits));
    Some(OpenNow { whose, taken_back_ms })
}

/// What stands in the way of one now; what passes, or is asked of somebody in the path itself, does not.
fn in_the_way(part: &Part, now: Timestamp) -> Vec<Waiting> {
    let mut in_the_way = waiting_for(part.state, part.plan, &part.seen, now);
    let passes = |kind| {
        use WaitingKind::{Capability, Gate, Time, Window, Wish};
        matches!(kind, Wish | Time | Window | Gate | Capability)
    };
    // The copy's rows are on their way.
    let is_copying = |waiting: &Waiting| part.state.phase == Phase::Backfilling && waiting.text.starts_with("backfill");
    in_the_way.retain(|waiting| !passes(waiting.kind) && !is_copying(waiting));
    in_the_way
}
