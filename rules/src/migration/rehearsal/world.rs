//! The world of a rehearsal: what is published is heard after a while, what is ordered is done after a while.

use std::time::Duration;

use super::Pace;
use crate::Timestamp;
use crate::migration::desired;
use crate::migration::observation::{AgentSeen, GatewaySeen, Limits, Observation, TrafficSeen};
use crate::migration::{Stage, State};
use crate::plan::{Capability, StepAction};
use crate::wire::{
    Backfill, CapabilityOrders, CapabilityReport, EndReport, RepairReport, Serving, StreamReport, VerifyReport, VerifyScope,
};

/// For ever, as far as a path is concerned.
pub(super) const LONG: Duration = Duration::from_secs(u32::MAX as u64);

pub(super) struct World<'a> {
    pace: &'a Pace,
    limits: Limits,
    pub(super) now: Timestamp,
    pub(super) state: State,
    /// When the state's phase or step began, here.
    pub(super) entered: Timestamp,
    serving: Serving,
    published: (u64, Timestamp),
    /// When the fence that stands was published.
    fenced: Option<Timestamp>,
    orders: Option<CapabilityOrders>,
    ordered: (u64, Timestamp),
    report: CapabilityReport,
}

impl<'a> World<'a> {
    pub(super) fn new(state: State, plan: &Capability, pace: &'a Pace, limits: Limits, now: Timestamp) -> World<'a> {
        let serving = desired::serving(&state, plan);
        let fenced = serving.fenced.then_some(now);
        let mut world = World {
            pace,
            limits,
            now,
            entered: now,
            serving,
            // Heard long ago.
            published: (state.floor + 1, Timestamp::default()),
            fenced,
            orders: desired::orders(&state, plan),
            ordered: (1, now),
            report: CapabilityReport::default(),
            state,
        };
        world.report = world.at_first();
        world
    }

    /// What the agent says before it has done anything of what is ordered.
    fn at_first(&self) -> CapabilityReport {
        let copied = self.state.phase > crate::migration::Phase::Backfilling;
        let live = StreamReport { live: copied, through: self.now, ..StreamReport::default() };
        CapabilityReport {
            epoch: self.state.epoch,
            backfill: Backfill { complete: copied, ..Backfill::default() },
            forward: live.clone(),
            reverse: live,
            fenced: self.orders.as_ref().map(|orders| orders.fenced).filter(|_| copied).unwrap_or_default(),
            verified: copied.then(|| VerifyReport { token: 0, done: true, at: self.now, tables: Vec::new() }),
            ..CapabilityReport::default()
        }
    }

    /// A transition was made.
    pub(super) fn take(&mut self, next: State, plan: &Capability) {
        if (next.phase, next.step) != (self.state.phase, self.state.step) {
            self.entered = self.now;
        }
        self.state = next;
        let serving = desired::serving(&self.state, plan);
        if serving != self.serving {
            self.fenced = serving.fenced.then(|| self.fenced.unwrap_or(self.now));
            self.serving = serving;
            self.published = (self.published.0 + 1, self.now);
        }
        let orders = desired::orders(&self.state, plan);
        if orders != self.orders {
            self.orders = orders;
            self.ordered = (self.ordered.0 + 1, self.now);
        }
    }

    /// What can be observed now.
    pub(super) fn seen(&mut self) -> Observation {
        if self.now >= self.done() {
            self.obey();
        }
        let heard = self.published.0 - u64::from(self.now < self.published.1.plus(self.pace.hear));
        let under_way = self.fenced.is_some_and(|at| self.now < at.plus(self.pace.hear + self.pace.writes));
        let gateway = |number: u32| GatewaySeen {
            name: format!("gateway-{number}"),
            counts_until: self.now.plus(LONG),
            generation: heard,
            inflight_writes: u64::from(under_way),
            ..GatewaySeen::default()
        };
        let followed = self.ordered.0 - u64::from(self.now < self.ordered.1.plus(self.pace.agent));
        Observation {
            gateways: (1..=self.pace.gateways).map(gateway).collect(),
            serving_generation: self.published.0,
            orders_generation: self.ordered.0,
            agent: Some(AgentSeen { name: "agent".to_owned(), generation: followed, at: self.now, report: self.report.clone() }),
            traffic: TrafficSeen::default(),
            limits: self.limits,
            ..Observation::default()
        }
    }

    /// When something may change that is waited for.
    pub(super) fn next(&self, plan: &Capability) -> Vec<Timestamp> {
        let soak = |step: &crate::plan::Step| if let StepAction::Soak(time) = step.action { Some(time) } else { None };
        let step = plan.steps.get(self.state.step);
        let spans = step.map(|step| step.hold).into_iter().chain(plan.steps.iter().filter_map(soak));
        let mut at: Vec<Timestamp> = spans.map(|span| self.state.since.plus(span)).collect();
        at.push(self.published.1.plus(self.pace.hear));
        at.extend(self.fenced.map(|fenced| fenced.plus(self.pace.hear + self.pace.writes)));
        at.push(self.ordered.1.plus(self.pace.agent));
        at.push(self.done());
        at.extend(self.state.switch.iter().flat_map(|switch| [switch.deadline, switch.since.plus(self.limits.hangs())]));
        at.extend(self.state.aborted.map(|aborted| aborted.plus(self.limits.cool_down)));
        at.retain(|at| *at > self.now);
        at
    }

    /// When the agent has done what is ordered.
    fn done(&self) -> Timestamp {
        let pace = self.pace;
        let Some(orders) = &self.orders else { return self.ordered.1 };
        let stage = self.state.switch.as_ref().map(|switch| switch.stage);
        let takes = match (stage, &orders.verify) {
            _ if orders.may_copy => pace.copy,
            (Some(Stage::FenceDatabase), _) => pace.lock,
            (Some(Stage::CatchUp), _) => pace.lag,
            (_, Some(verify)) if verify.scope == VerifyScope::Full => pace.compare,
            (_, Some(_)) => pace.recheck,
            _ => Duration::ZERO,
        };
        self.ordered.1.plus(pace.agent + takes)
    }

    fn obey(&mut self) {
        let Some(orders) = &self.orders else { return };
        let live = StreamReport { live: true, through: self.now, ..StreamReport::default() };
        let verified = orders.verify.map(|verify| VerifyReport { token: verify.token, done: true, at: self.now, tables: Vec::new() });
        self.report = CapabilityReport {
            epoch: orders.epoch,
            backfill: Backfill { complete: true, ..self.report.backfill.clone() },
            forward: live.clone(),
            reverse: live,
            fenced: orders.fenced,
            end: orders.mark_end.map(|mark| EndReport { token: mark.token, position: String::new(), reached: true }),
            verified: verified.or(self.report.verified.take()),
            sequences_raised: orders.raise_sequences,
            repaired: orders.repair.map(|token| RepairReport { token, done: true, rows: 0 }),
            ..CapabilityReport::default()
        };
    }
}
