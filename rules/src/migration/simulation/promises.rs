//! What must be true: of every decision, of every write that is done, after every event, and of what strangers wrote.

use super::CAPABILITIES;
use super::orchestrator::Decision;
use super::world::World;
use crate::migration::observation::{Kin, Limits, Observation};
use crate::migration::{Phase, Stage, State};
use crate::plan::StrayWrites;
use crate::wire::CapabilityReport;
use crate::{Side, Timestamp};

impl World {
    /// A leader decides by what it has been told.
    pub(super) fn look_at_decision(&self, Decision { before, seen, put }: &Decision, time: Timestamp) {
        let stage = |state: &State| state.switch.as_ref().map(|switch| switch.stage);
        let (after, known) = (&put.stored.state, seen.agent.as_ref().map(|agent| &agent.report));
        if before.switch.is_none() && after.switch.is_some() {
            let to_modern = after.switch.as_ref().is_some_and(|switch| switch.to == Side::Modern);
            let stays = |report: &CapabilityReport| to_modern || !report.busy_ends;
            let waits = known.is_some_and(|report| report.busy.is_some() && report.epoch == before.epoch && stays(report));
            assert!(!waits, "everybody's writes would be held for an old transaction");
            let stays = |kin: &&Kin| !matches!(kin.phase, Phase::Soaking | Phase::Retired);
            assert_eq!(seen.parents.iter().find(stays).filter(|_| to_modern), None, "it goes ahead of whom it refers to");
        }
        if before.phase != Phase::Retired && after.phase == Phase::Retired {
            let moved = |phase: &Phase| matches!(phase, Phase::Soaking | Phase::Retired);
            assert!(seen.joined.values().all(moved), "it retires, and legacy owns what it joins: {:?}", seen.joined);
        }
        match (stage(before), stage(after)) {
            (Some(Stage::Drain), Some(Stage::FenceDatabase)) if !is_left_hanging(before, time) => {
                self.nothing_is_under_way(put.capability, seen, time);
            }
            (Some(Stage::Lift), None) => {
                let lifted = before.switch.as_ref().map(|switch| time.since(switch.since));
                let given_up = lifted >= Some(Limits::default().lift);
                let is_fenced = self.databases[put.capability][after.owner as usize].fenced;
                let is_known = known.is_some_and(|report| report.fenced.of(after.owner));
                assert!(!is_fenced || given_up && !is_known, "what was held is released into a fence that was not lifted");
            }
            _ => {}
        }
    }

    /// Behind a fence that every gateway has which is reckoned with: what those had sent that were cut off for long, their
    /// database decides about.
    fn nothing_is_under_way(&self, capability: usize, seen: &Observation, time: Timestamp) {
        for counting in seen.counting(time) {
            let gateway = self.gateways.iter().find(|gateway| gateway.name == counting.name).expect("only these report");
            assert_eq!(gateway.under_way(capability).count(), 0, "{} is not drained", gateway.name);
        }
    }

    pub(super) fn look_at_transition(&mut self, capability: usize, before: &State, after: &State) {
        let stage = |state: &State| state.switch.as_ref().map(|switch| switch.stage);
        let (was, is) = (stage(before), stage(after));
        if let Some(stage) = is.filter(|_| was != is) {
            *self.stages.entry(stage).or_default() += 1;
            let switch = if was.is_none() { self.now } else { self.began[capability][0] };
            self.began[capability] = [switch, self.now];
        }
        let [owner, other] = [after.owner, after.owner.other()].map(|side| &self.databases[capability][side as usize]);
        match (was, is) {
            // What is carried goes into the owner's log, and has to be in it before that has an end.
            (Some(Stage::Drain), Some(Stage::FenceDatabase)) if self.strays[capability] == StrayWrites::Forward => {
                assert!(!other.letting && other.strays.is_empty(), "what strangers wrote comes after the end: {:?}", other.strays);
            }
            (Some(Stage::FenceDatabase), Some(Stage::CatchUp)) => {
                assert!(owner.fenced, "the log has no end: its database is open");
                assert!(!other.letting, "strangers still write: {:?}", other.strays);
            }
            (Some(Stage::CatchUp), Some(Stage::Verify)) => assert_eq!(other.applied, owner.log.len(), "caught up before the end"),
            (Some(Stage::Open), Some(Stage::Release)) => assert!(!owner.fenced, "what was held is released into a fence"),
            _ => {}
        }
        self.aborts += usize::from(after.aborted.is_some() && after.aborted != before.aborted);
        assert!(after.floor >= before.floor, "a floor went back");
        assert!(before.phase != Phase::Retired || after.phase == Phase::Retired, "back from where there is no way back: {after:?}");
        if after.owner == before.owner {
            assert_eq!(after.epoch, before.epoch, "the epoch grows with the owner");
        } else if was == Some(Stage::Open) {
            self.flips_back += 1;
            assert_eq!((is, after.epoch), (Some(Stage::Lift), before.epoch + 1), "the owner flips back in one place");
            let [left, owner] = [before.owner, after.owner].map(|side| &self.databases[capability][side as usize]);
            assert!(owner.fenced, "the old owner's database was open");
            assert_eq!((&left.rows, owner.applied), (&owner.rows, left.log.len()), "somebody was let into a database that is left");
        } else {
            self.flips += 1;
            assert_eq!((was, is), (Some(Stage::Sequences), Some(Stage::Open)), "the owner flips in one place");
            assert_eq!(after.epoch, before.epoch + 1, "the epoch grows with the owner");
            let databases = &self.databases[capability];
            assert!(databases[before.owner as usize].fenced, "the old owner's database is open");
            assert_eq!(databases[after.owner as usize].applied, databases[before.owner as usize].log.len(), "rows would be lost");
            assert!(databases[0].strays.is_empty(), "what strangers wrote would be lost");
            assert_eq!(databases[0].rows, databases[1].rows, "the sides differ");
            let highest = databases[before.owner as usize].rows.values().max().copied().unwrap_or_default();
            assert!(databases[after.owner as usize].sequence >= highest, "a new row would be given a number that is taken");
        }
        if was.is_some_and(Stage::is_decided) {
            let is_taken_back = (was, is) == (Some(Stage::Open), Some(Stage::Lift)) && after.owner != before.owner;
            assert!(matches!(is, None | Some(Stage::Release)) || was == is || is_taken_back, "only forward: {was:?} to {is:?}");
        }
    }

    /// What must be true after every single event.
    pub(super) fn check(&self) {
        for capability in 0..CAPABILITIES {
            let state = self.state(capability);
            if matches!(state.phase, Phase::Draft | Phase::Backfilling) {
                continue;
            }
            // One that is left in the moment in which it is lost may come back open: until an agent reaches it, no gateway does.
            let left = &self.databases[capability][state.owner.other() as usize];
            let is_lost = left.is_away(self.now) || left.epoch < state.epoch;
            let one_is_fenced = self.databases[capability].iter().any(|database| database.fenced);
            assert!(one_is_fenced || is_lost || state.phase == Phase::Retired, "two writable databases: {state:?}");
            let stage = state.switch.as_ref().map(|switch| switch.stage);
            let holds = stage.is_some_and(|stage| !matches!(stage, Stage::Fence | Stage::Lift | Stage::Release));
            for gateway in &self.gateways {
                let forwards = gateway.forwards_to(capability, self.now);
                let generation = gateway.published.generation;
                assert!(!holds || forwards.is_none(), "{} at {generation} forwards behind the fence: {state:?}", gateway.name);
                assert!(
                    forwards.is_none_or(|side| side == state.owner),
                    "{} at {generation} forwards to {forwards:?}: {state:?}",
                    gateway.name
                );
            }
        }
    }

    /// From here on, nobody's write of a capability may be refused by a fence.
    pub(super) fn count_refused(&mut self, capability: usize) {
        self.refused[capability] = 0;
    }

    pub(super) fn nobody_was_refused(&self, capability: usize) {
        assert_eq!(self.refused[capability], 0, "writes were sent into a fence, and their callers saw it");
    }

    /// After what an agent did, which may have carried some of them.
    pub(super) fn look_at_strays(&mut self, capability: usize) {
        let [legacy, modern] = &mut self.databases[capability];
        assert!(modern.brought.is_empty() || self.strays[capability] == StrayWrites::Forward, "nobody asked for strangers' writes");
        modern.brought.drain(..).for_each(|(write, was)| self.ledger.carry(write, was));
        for stray in legacy.strays.iter().filter(|stray| stray.passed) {
            assert!(!self.ledger.has(stray.write), "{stray:?} was carried, and somebody has to decide about it");
        }
    }
}

/// A service that has answered nothing for so long is left without its answers: its database decides about them.
fn is_left_hanging(state: &State, time: Timestamp) -> bool {
    state.switch.as_ref().is_some_and(|switch| switch.to == Side::Legacy && time.since(switch.since) >= Limits::default().hangs())
}
