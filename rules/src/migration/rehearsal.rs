//! The path ahead, walked before it is walked: the same transitions as [`super::advance`] makes them, in a world of its own in which
//! gateways and agent do all that is ordered, as fast as was measured, and whoever operates says yes. What comes of it: the
//! steps with how long each lasts, what somebody has to do for it, and for how long a cutover would hold the writes, or why it
//! would be taken back.
//!
//! It foresees times, not faults: gates pass in it once they have seen enough requests. What stands in the way now is told apart.

mod legs;
mod pace;
#[cfg(test)]
mod tests;
mod world;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::advance::{Event, Wish, advance};
use super::observation::{Limits, Observation};
use super::waiting::{Waiting, WaitingKind, waiting_for};
use super::{Phase, Stage, State, walk};
use crate::Timestamp;
use crate::plan::{Capability, StepAction};
use legs::Legs;
pub use pace::Pace;
use world::World;

/// More transitions than any path has: one that leads nowhere ends.
const MOST: usize = 20_000;
/// For how long an hour is waited for at which everything else may begin that has to begin together.
const HOUR_AT_MOST: Duration = Duration::from_secs(15 * 86_400);

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
}

/// Walks the path of a capability from where it is.
pub fn rehearse(state: &State, plan: &Capability, seen: &Observation, pace: &Pace, now: Timestamp) -> Rehearsal {
    let mut walked = Walk {
        world: World::new(without_holds(state.clone()), plan, pace, seen.limits, now),
        legs: Legs::new(now),
        plan: legs::with_samples(plan, pace),
        original: plan,
        switch: None,
        hour_since: None,
    };
    let ends = walked.walk();
    let lasts_ms = ends.is_none().then(|| walked.world.now.since(now).as_millis() as u64);
    let mut in_the_way = waiting_for(state, plan, seen, now);
    // The copy's rows are on their way; the rest of these passes, or is asked of somebody in the path itself.
    let passes = |kind| matches!(kind, WaitingKind::Wish | WaitingKind::Time | WaitingKind::Window | WaitingKind::Gate);
    let is_copying = |waiting: &Waiting| state.phase == Phase::Backfilling && waiting.text.starts_with("backfill");
    in_the_way.retain(|waiting| !passes(waiting.kind) && !is_copying(waiting));
    Rehearsal { in_the_way, legs: walked.legs.finish(walked.world.now), lasts_ms, switch: walked.switch, ends }
}

/// Holds stand in the way now; the path is the one behind them.
fn without_holds(mut state: State) -> State {
    state.holds.clear();
    state.returned = None;
    state.aborted = None;
    state
}

struct Walk<'a> {
    world: World<'a>,
    legs: Legs,
    /// With holds that are long enough for every gate's sample, and without the gates themselves.
    plan: Capability,
    original: &'a Capability,
    switch: Option<SwitchForeseen>,
    /// Since when nothing but an hour is waited for.
    hour_since: Option<Timestamp>,
}

impl Walk<'_> {
    /// To the end of the soak; or why it leads no further.
    fn walk(&mut self) -> Option<String> {
        self.legs.enter(&self.world.state, self.original, self.world.now);
        for _ in 0..MOST {
            let seen = self.world.seen();
            let outcome = advance(&self.world.state, &self.plan, &seen, &Event::Tick, self.world.now);
            if self.goes_on(&outcome.state) {
                self.take(outcome.state);
                if let Some(why) = self.switch.as_ref().and_then(|switch| switch.taken_back.clone()) {
                    return Some(format!("the switch would be taken back: {why}"));
                }
                continue;
            }
            let missing = waiting_for(&self.world.state, &self.plan, &seen, self.world.now);
            let of_kind = |kind| move |waiting: &&Waiting| waiting.kind == kind;
            self.legs.note(missing.iter().filter(of_kind(WaitingKind::Window)));
            let soaked = self.world.state.phase == Phase::Soaking && !missing.iter().any(|waiting| waiting.kind == WaitingKind::Time);
            if soaked || self.world.state.phase == Phase::Retired {
                self.legs.end(missing, self.world.now);
                return None;
            }
            if !missing.is_empty() && missing.iter().all(|waiting| waiting.kind == WaitingKind::Wish) {
                self.legs.note(missing.iter());
                // Somebody may have to hear of the last transition first.
                if let Err(why) = self.ask(&seen)
                    && !self.wait(&missing)
                {
                    return Some(why);
                }
            } else if !self.wait(&missing) {
                let texts: Vec<_> = missing.iter().map(|waiting| waiting.text.as_str()).collect();
                return Some(texts.join("; "));
            }
        }
        Some("the path does not end".to_owned())
    }

    /// Whether a transition was made: another judgement is none.
    fn goes_on(&self, next: &State) -> bool {
        let judged = State { judged: next.judged.clone(), ..self.world.state.clone() };
        *next != judged
    }

    fn take(&mut self, next: State) {
        self.hour_since = None;
        self.note_switch(&next);
        self.world.take(next, &self.plan);
        self.legs.enter(&self.world.state, self.original, self.world.now);
    }

    /// What an operator would type.
    fn ask(&mut self, seen: &Observation) -> Result<(), String> {
        let state = &self.world.state;
        let waits = || walk::next_step(state, &self.plan).is_some_and(|(_, step)| step.approve && !state.released);
        let wish = match state.phase {
            Phase::Draft | Phase::Reverted => Wish::Advance,
            _ if waits() => Wish::Approve,
            _ => Wish::Cutover,
        };
        let outcome = advance(state, &self.plan, seen, &Event::Wish(wish), self.world.now);
        match outcome.refused {
            Some(why) => Err(why),
            None => {
                self.take(outcome.state);
                Ok(())
            }
        }
    }

    /// Lets time pass until something may have changed. `false`: nothing will.
    fn wait(&mut self, missing: &[Waiting]) -> bool {
        let is_hour = |waiting: &Waiting| waiting.kind == WaitingKind::Window;
        let hours = missing.iter().any(is_hour).then(|| self.hours());
        let next = self.world.next(&self.plan).into_iter().chain(hours.into_iter().flatten()).min();
        self.hour_since = missing.iter().all(is_hour).then(|| self.hour_since.unwrap_or(self.world.now));
        let since = self.hour_since.unwrap_or(self.world.now);
        let Some(next) = next.filter(|_| self.world.now.since(since) <= HOUR_AT_MOST) else { return false };
        self.world.now = next;
        true
    }

    /// When the windows of what comes next open: those of the step, and those of the cutover.
    fn hours(&self) -> impl Iterator<Item = Timestamp> {
        let now = self.world.now;
        let of_step = walk::next_step(&self.world.state, &self.plan).map(|(_, step)| self.plan.windows_of_step(step));
        let lists = of_step.into_iter().chain([self.plan.windows_of(StepAction::is_cutover)]);
        lists.filter_map(move |windows| windows.iter().filter_map(|window| window.next(now)).min()).filter(move |next| *next > now)
    }

    /// Keeps the book of the first switch.
    fn note_switch(&mut self, next: &State) {
        let now = self.world.now;
        let Some(running) = &self.world.state.switch else { return };
        if self.switch.as_ref().is_some_and(|switch| switch.pause_ms > 0) {
            return;
        }
        let switch = self.switch.get_or_insert(SwitchForeseen { pause_ms: 0, stages: Vec::new(), taken_back: None });
        if next.switch.as_ref().map(|after| after.stage) != Some(running.stage) {
            switch.stages.push((running.stage, now.since(running.since).as_millis() as u64));
        }
        if next.aborted.is_some() {
            switch.taken_back = next.holds.iter().next().cloned();
        }
        if next.switch.is_none() || next.aborted.is_some() {
            switch.pause_ms = (now.since(running.started).as_millis() as u64).max(1);
        }
    }
}

/// How long a step must last until gates with this many requests have seen them: at so many reads a second, a share of them.
fn sample(requests: u64, requests_per_second: f64, share: crate::Share) -> Duration {
    let rate = requests_per_second * f64::from(share.millionths()) / 1e6;
    if rate > 0.0 { Duration::from_secs_f64((requests as f64 / rate).min(1e9)) } else { Duration::ZERO }
}
