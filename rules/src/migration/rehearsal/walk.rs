//! One capability on its path: goes on as far as it can, and says when it can again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::legs::{self, Legs};
use super::world::World;
use super::{Part, Rehearsal, SwitchForeseen};
use crate::migration::advance::{Event, Wish, advance};
use crate::migration::observation::Observation;
use crate::migration::relations::Relations;
use crate::migration::waiting::{Waiting, WaitingKind, waiting_for};
use crate::migration::{Phase, State, walk};
use crate::plan::{Capability, StepAction};
use crate::{Side, Timestamp};

/// More transitions than any path has: one that leads nowhere ends.
const MOST: usize = 20_000;
/// For how long an hour is waited for at which everything else may begin that has to begin together.
const HOUR_AT_MOST: Duration = Duration::from_secs(15 * 86_400);

/// How often to wait until all have heard of what was so at first.
const HEARD: usize = 4;

/// Who owns each capability, and where it is.
pub(super) type Places<'a> = BTreeMap<&'a str, (Side, Phase)>;

pub(super) struct Walk<'a> {
    world: World<'a>,
    legs: Legs,
    /// With holds that are long enough for every gate's sample, and without the gates themselves.
    plan: Capability,
    original: &'a Capability,
    relations: &'a Relations,
    begun: Timestamp,
    switch: Option<SwitchForeseen>,
    /// Since when nothing but an hour is waited for.
    hour_since: Option<Timestamp>,
    /// The others that have to move before it goes on.
    others: BTreeSet<String>,
    /// When it may go on; `None`: when others have moved, or never.
    wakes: Option<Timestamp>,
    /// It has ended: at its end, or because of this.
    ended: Option<Option<String>>,
    /// Steps that it may still try.
    left: usize,
}

/// What came of trying to go on.
enum Tried {
    /// A transition was made.
    Moved,
    /// Not before; `None`: not before others have moved.
    Waits(Option<Timestamp>),
    /// Here the path ends; `None`: as it should.
    Ends(Option<String>),
}

impl<'a> Walk<'a> {
    pub(super) fn new(part: &'a Part, now: Timestamp) -> Walk<'a> {
        let world = World::new(without_holds(part.state.clone()), part.plan, &part.pace, part.seen.limits, now);
        let mut legs = Legs::new(now);
        legs.enter(&world.state, part.plan, now);
        Walk {
            world,
            legs,
            plan: legs::with_samples(part.plan, &part.pace),
            original: part.plan,
            relations: &part.relations,
            begun: now,
            switch: None,
            hour_since: None,
            others: BTreeSet::new(),
            wakes: Some(now),
            ended: None,
            left: MOST,
        }
    }

    pub(super) fn wakes(&self) -> Option<Timestamp> {
        self.wakes
    }

    pub(super) fn place(&self) -> (Side, Phase) {
        (self.world.state.owner, self.world.state.phase)
    }

    /// Another one is at another place.
    pub(super) fn hear(&mut self, other: &str, now: Timestamp) {
        if self.others.contains(other) {
            self.wakes = Some(now);
        }
    }

    /// As far as it leads now.
    pub(super) fn go_on(&mut self, places: &Places, now: Timestamp) {
        self.world.now = now;
        self.wakes = loop {
            if self.left == 0 {
                self.ended = Some(Some("the path does not end".to_owned()));
                break None;
            }
            self.left -= 1;
            match self.attempt(places) {
                Tried::Moved => {}
                Tried::Waits(until) => break until,
                Tried::Ends(why) => {
                    self.others.clear();
                    self.ended = Some(why);
                    break None;
                }
            }
        };
    }

    /// Somebody takes the way back, as soon as all have heard of what is so now; `false`: it is not open.
    pub(super) fn turn_back(&mut self, places: &Places) -> bool {
        for _ in 0..HEARD {
            let mut seen = self.world.seen();
            self.relations.tell(&mut seen, |name| places.get(name).copied());
            let outcome = advance(&self.world.state, &self.plan, &seen, &Event::Wish(Wish::Revert), self.world.now);
            if outcome.refused.is_none() {
                self.take(outcome.state);
                self.wakes = Some(self.world.now);
                return true;
            }
            let Some(next) = self.world.next(&self.plan).into_iter().min() else { return false };
            self.world.now = next;
        }
        false
    }

    /// Goes on by itself until a switch is over, where others are.
    pub(super) fn first_switch(mut self, places: &Places) -> Option<SwitchForeseen> {
        let over = |switch: &SwitchForeseen| switch.pause_ms > 0;
        while let Some(next) = self.wakes.filter(|_| !self.switch.as_ref().is_some_and(over)) {
            self.go_on(places, next);
        }
        self.switch.filter(over)
    }

    pub(super) fn finish(self) -> Rehearsal {
        let never = || {
            let others = self.others.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            Some(format!("it waits for {others}, whose path ends before"))
        };
        let ends = self.ended.unwrap_or_else(never);
        let lasts_ms = ends.is_none().then(|| self.world.now.since(self.begun).as_millis() as u64);
        Rehearsal { in_the_way: Vec::new(), legs: self.legs.finish(self.world.now), lasts_ms, switch: self.switch, back: None, ends }
    }

    fn attempt(&mut self, places: &Places) -> Tried {
        let mut seen = self.world.seen();
        self.relations.tell(&mut seen, |name| places.get(name).copied());
        let outcome = advance(&self.world.state, &self.plan, &seen, &Event::Tick, self.world.now);
        if self.is_moved(&outcome.state) {
            self.take(outcome.state);
            let taken_back = self.switch.as_ref().and_then(|switch| switch.taken_back.as_ref());
            return taken_back.map_or(Tried::Moved, |why| Tried::Ends(Some(format!("the switch would be taken back: {why}"))));
        }
        let missing = waiting_for(&self.world.state, &self.plan, &seen, self.world.now);
        let of_kind = |kind| move |waiting: &&Waiting| waiting.kind == kind;
        self.legs.note(missing.iter().filter(of_kind(WaitingKind::Window)));
        self.others = missing.iter().filter(of_kind(WaitingKind::Capability)).map(|waiting| waiting.on.clone()).collect();
        self.legs.wait_for(&self.others, self.world.now);
        let soaked = self.world.state.phase == Phase::Soaking && !missing.iter().any(|waiting| waiting.kind == WaitingKind::Time);
        if soaked && self.others.is_empty() || self.world.state.phase == Phase::Retired {
            self.legs.end(missing, self.world.now);
            return Tried::Ends(None);
        }
        let mut why = missing.iter().map(|waiting| waiting.text.as_str()).collect::<Vec<_>>().join("; ");
        if !missing.is_empty() && missing.iter().all(|waiting| waiting.kind == WaitingKind::Wish) {
            self.legs.note(missing.iter());
            match self.ask(&seen) {
                Ok(()) => return Tried::Moved,
                // Somebody may have to hear of the last transition first.
                Err(refused) => why = refused,
            }
        }
        match self.next(&missing) {
            None if self.others.is_empty() => Tried::Ends(Some(why)),
            until => Tried::Waits(until),
        }
    }

    /// Whether a transition was made: another judgement is none.
    fn is_moved(&self, next: &State) -> bool {
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
        let waits = || walk::next_step(state, &self.plan).is_some_and(|(at, step)| step.approve && !state.is_approved(at, step));
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

    /// When something may have changed. `None`: nothing will.
    fn next(&mut self, missing: &[Waiting]) -> Option<Timestamp> {
        let is_hour = |waiting: &Waiting| waiting.kind == WaitingKind::Window;
        let hours = missing.iter().any(is_hour).then(|| self.hours());
        let next = self.world.next(&self.plan).into_iter().chain(hours.into_iter().flatten()).min();
        self.hour_since = missing.iter().all(is_hour).then(|| self.hour_since.unwrap_or(self.world.now));
        let since = self.hour_since.unwrap_or(self.world.now);
        next.filter(|_| self.world.now.since(since) <= HOUR_AT_MOST)
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
        let switch = self.switch.get_or_insert(SwitchForeseen { pause_ms: 0, stages: Vec::new(), taken_back: None, open: None });
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

/// Holds stand in the way now; the path is the one behind them.
fn without_holds(mut state: State) -> State {
    state.holds.clear();
    state.returned = None;
    state.aborted = None;
    state
}
