//! The model: two databases with logs and fences, gateways with leases, an agent, messages on their way, and the
//! orchestrator's rules about them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::migration::advance::{Event, Wish, advance};
use crate::migration::observation::{AgentSeen, GatewaySeen, Observation};
use crate::migration::{Phase, Stage, State, desired, tests};
use crate::plan::Capability;
use crate::wire::{Backfill, CapabilityOrders, CapabilityReport, EndReport, Fences, RepairReport, Serving, StreamReport, VerifyReport};
use crate::{Side, Timestamp};

const VALIDITY: Duration = Duration::from_secs(5);
const MARGIN: Duration = Duration::from_secs(2);

struct Gateway {
    snapshot: (u64, Serving),
    disk: (u64, Serving),
    incarnation: u64,
    valid_until: Timestamp,
    inflight: Vec<Side>,
    cut_off: bool,
}

#[derive(Default)]
struct Database {
    fenced: bool,
    log: usize,
    /// How much of the other side's log is applied here.
    applied: usize,
}

#[derive(Default, Clone)]
struct Agent {
    orders: Option<(u64, CapabilityOrders)>,
    report: CapabilityReport,
    end: Option<(u64, Side, usize)>,
}

#[allow(clippy::large_enum_variant, reason = "a model's messages: few of them, and their size does not matter")]
#[derive(Clone)]
enum Message {
    Publish(usize, u64, Serving),
    Report { gateway: usize, incarnation: u64, generation: u64, inflight: u64 },
    Answer { gateway: usize, incarnation: u64, sent: Timestamp, valid_for: Duration },
    Orders(u64, Option<CapabilityOrders>),
    AgentReport(u64, CapabilityReport),
}

pub(super) struct World {
    random: u64,
    now: Timestamp,
    plan: Capability,
    pub(super) state: State,
    generation: u64,
    serving_generation: u64,
    orders_generation: u64,
    // What the orchestrator forgets in a crash.
    seen: BTreeMap<usize, (u64, GatewaySeen)>,
    agent_seen: Option<AgentSeen>,
    gateways: Vec<Gateway>,
    agent: Agent,
    databases: [Database; 2],
    messages: Vec<Message>,
    friendly: bool,
    calm: bool,
    pub(super) stages: BTreeMap<Stage, usize>,
    pub(super) flips: usize,
    pub(super) aborts: usize,
    pub(super) writes: usize,
}

impl World {
    pub(super) fn new(seed: u64) -> World {
        let now = Timestamp(1_000_000);
        let untouched = Serving::untouched();
        let gateway = |_| Gateway {
            snapshot: (0, untouched.clone()),
            disk: (0, untouched.clone()),
            incarnation: 0,
            valid_until: Timestamp(0),
            inflight: Vec::new(),
            cut_off: false,
        };
        let mut plan = tests::plan();
        plan.gates.errors = None;
        plan.gates.shadow = None;
        World {
            random: seed,
            now,
            plan,
            state: State::draft("users", now),
            generation: 1,
            serving_generation: 1,
            orders_generation: 1,
            seen: BTreeMap::new(),
            agent_seen: None,
            gateways: (0..3).map(gateway).collect(),
            agent: Agent::default(),
            databases: Default::default(),
            messages: Vec::new(),
            friendly: false,
            calm: false,
            stages: BTreeMap::new(),
            flips: 0,
            aborts: 0,
            writes: 0,
        }
    }

    /// SplitMix64: the same seed, the same world.
    fn below(&mut self, bound: usize) -> usize {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }

    /// One random event.
    pub(super) fn stir(&mut self) {
        let gateway = self.below(self.gateways.len());
        // The weather changes: a switch that runs well for a while gets far enough to be broken late.
        if !self.calm && self.below(100) == 0 {
            self.friendly ^= true;
        }
        match self.below(if self.calm { 70 } else { 86 }) {
            0..8 => self.now = self.now.plus(Duration::from_millis(1 + self.below(30) as u64)),
            8..16 => self.gateway_reports(gateway),
            16..22 => self.gateway_sends(gateway),
            22..28 => self.upstream_answers(gateway),
            28 => self.somebody_writes_past_the_gateways(),
            29..38 => self.agent_works(),
            38..44 => self.messages.push(Message::AgentReport(self.agent_generation(), self.agent_report())),
            44..62 => self.deliver(),
            62..66 => self.resend(gateway),
            66..70 => (0..3).for_each(|_| self.reconcile(&Event::Tick)),
            70.. if self.below(5) > 0 => self.agent_works(),
            70 => self.now = self.now.plus(Duration::from_secs(1 + self.below(6) as u64)),
            71 => self.gateways[gateway].cut_off = self.below(5) == 0,
            72 => self.restart_gateway(gateway),
            73 => {
                self.agent = Agent {
                    report: CapabilityReport { backfill: self.agent.report.backfill.clone(), ..Default::default() },
                    ..Agent::default()
                }
            }
            74 => self.restart_orchestrator(),
            75 if self.below(3) == 0 => self.agent.report.trouble = Some("disk full".into()),
            76 => self.agent.report.trouble = None,
            77..80 => self.lose_or_double(),
            80..84 => self.wish_something(),
            84 if self.below(3) == 0 => self.agent.report.busy = Some("pid 7 has a transaction open".into()),
            85 => self.agent.report.busy = None,
            _ => {}
        }
    }

    fn wish_something(&mut self) {
        let wish = match self.below(14) {
            0..3 => Wish::Advance,
            3..6 => Wish::Cutover,
            6 => Wish::Abort,
            7 => Wish::Revert,
            8 if self.below(3) == 0 => Wish::Hold("because".into()),
            9 if self.below(3) == 0 => Wish::Repair,
            _ => Wish::Release(None),
        };
        self.reconcile(&Event::Wish(wish));
    }

    fn gateway_reports(&mut self, at: usize) {
        let gateway = &self.gateways[at];
        if gateway.cut_off {
            return;
        }
        let (generation, inflight) = (gateway.snapshot.0, gateway.inflight.len() as u64);
        self.messages.push(Message::Report { gateway: at, incarnation: gateway.incarnation, generation, inflight });
    }

    /// Where a gateway would send a write now.
    fn forwards_to(&self, at: usize) -> Option<Side> {
        let gateway = &self.gateways[at];
        (self.now < gateway.valid_until && !gateway.snapshot.1.fenced).then_some(gateway.snapshot.1.owner)
    }

    fn gateway_sends(&mut self, at: usize) {
        if let Some(side) = self.forwards_to(at).filter(|_| self.gateways[at].inflight.len() < 4) {
            self.gateways[at].inflight.push(side);
        }
    }

    fn upstream_answers(&mut self, at: usize) {
        if let Some(side) = self.gateways[at].inflight.pop() {
            self.write(side);
        }
    }

    fn somebody_writes_past_the_gateways(&mut self) {
        let side = Side::BOTH[self.below(2)];
        if side == Side::Legacy || self.state.phase != Phase::Draft && self.databases[1].fenced {
            self.write(side);
        }
    }

    fn write(&mut self, side: Side) {
        if !self.databases[side as usize].fenced {
            assert_eq!(side, self.state.owner, "{side} took a write that it does not own: {:?}", self.state);
            self.databases[side as usize].log += 1;
            self.writes += 1;
        }
    }

    fn agent_generation(&self) -> u64 {
        self.agent.orders.as_ref().map_or(0, |(generation, _)| *generation)
    }

    fn agent_works(&mut self) {
        match self.friendly {
            true => (0..8).for_each(|choice| self.agent_does(choice)),
            false => (0..2).for_each(|_| {
                let choice = self.below(8);
                self.agent_does(choice);
            }),
        }
    }

    /// One thing that the orders ask for.
    fn agent_does(&mut self, choice: usize) {
        let Some((_, orders)) = self.agent.orders.clone() else { return };
        let [legacy, modern] = &mut self.databases;
        let report = &mut self.agent.report;
        match choice {
            0 => legacy.fenced = orders.fenced.legacy,
            1 => modern.fenced = orders.fenced.modern,
            2 => report.backfill = Backfill { done: 1, total: 1, complete: true },
            3 => modern.applied = legacy.log.min(modern.applied + 6),
            4 => legacy.applied = modern.log.min(legacy.applied + 6),
            5 => {
                let holds = legacy.fenced == orders.fenced.legacy && modern.fenced == orders.fenced.modern;
                let wish = orders.mark_end.filter(|wish| holds && self.agent.end.is_none_or(|(token, ..)| token != wish.token));
                if let Some(wish) = wish {
                    let end = if wish.side == Side::Legacy { legacy.log } else { modern.log };
                    self.agent.end = Some((wish.token, wish.side, end));
                }
            }
            6 => {
                report.sequences_raised = orders.raise_sequences.or(report.sequences_raised);
                report.repaired = orders.repair.map(|token| RepairReport { token, done: true, rows: 0 });
            }
            _ => {
                let equal = modern.applied == legacy.log && legacy.applied == modern.log;
                if let Some(wish) = orders.verify.filter(|_| equal) {
                    report.verified = Some(VerifyReport { token: wish.token, done: true, at: self.now, tables: vec![] });
                }
            }
        }
    }

    fn agent_report(&self) -> CapabilityReport {
        let running = self.agent.orders.is_some();
        let stream = StreamReport { live: running, ..StreamReport::default() };
        let [legacy, modern] = &self.databases;
        let reached = |side, end| if side == Side::Legacy { modern.applied >= end } else { legacy.applied >= end };
        CapabilityReport {
            epoch: self.agent.orders.as_ref().map_or(0, |(_, orders)| orders.epoch),
            forward: stream.clone(),
            reverse: stream,
            fenced: Fences { legacy: legacy.fenced, modern: modern.fenced },
            end: self.agent.end.map(|(token, side, end)| EndReport { token, position: end.to_string(), reached: reached(side, end) }),
            ..self.agent.report.clone()
        }
    }

    fn deliver(&mut self) {
        // What waits too long is given up by its sender.
        let excess = self.messages.len().saturating_sub(24);
        self.messages.drain(..excess);
        for _ in 0..if self.friendly { self.messages.len() } else { 2 } {
            if !self.messages.is_empty() {
                let at = if self.friendly { 0 } else { self.below(self.messages.len()) };
                let message = self.messages.remove(at);
                self.receive(message);
            }
        }
    }

    fn receive(&mut self, message: Message) {
        match message {
            Message::Publish(at, generation, serving) if !self.gateways[at].cut_off => {
                let gateway = &mut self.gateways[at];
                if generation > gateway.snapshot.0 {
                    gateway.disk = std::mem::replace(&mut gateway.snapshot, (generation, serving));
                }
            }
            Message::Report { gateway, incarnation, generation, inflight } => self.hear_gateway(gateway, incarnation, generation, inflight),
            Message::Answer { gateway, incarnation, sent, valid_for } => {
                let in_time = self.now < sent.plus(MARGIN);
                let gateway = &mut self.gateways[gateway];
                if in_time && !gateway.cut_off && gateway.incarnation == incarnation && !valid_for.is_zero() {
                    gateway.valid_until = self.now.plus(valid_for);
                }
            }
            Message::Orders(generation, orders) if generation > self.agent_generation() => {
                self.agent.orders = orders.map(|orders| (generation, orders));
            }
            // A late one may overwrite a newer one, or not.
            Message::AgentReport(generation, report)
                if self.agent_seen.as_ref().is_none_or(|seen| seen.generation <= generation) || self.below(2) == 0 =>
            {
                self.agent_seen = Some(AgentSeen { name: "agent".into(), generation, at: self.now, report });
            }
            _ => {}
        }
    }

    fn hear_gateway(&mut self, at: usize, incarnation: u64, generation: u64, inflight: u64) {
        let known = self.seen.entry(at).or_default();
        if incarnation < known.0 || incarnation == known.0 && generation < known.1.generation {
            return;
        }
        let granted = self.state.lets_forward(generation);
        let counts_until = if granted { self.now.plus(VALIDITY).plus(MARGIN) } else { known.1.counts_until };
        *known = (
            incarnation,
            GatewaySeen { name: format!("gw-{at}"), counts_until, generation, inflight_writes: inflight, ..GatewaySeen::default() },
        );
        let valid_for = if granted { VALIDITY } else { Duration::ZERO };
        self.messages.push(Message::Answer { gateway: at, incarnation, sent: self.now, valid_for });
    }

    /// Long polls: who asks again gets the newest.
    fn resend(&mut self, at: usize) {
        let serving = desired::serving(&self.state, &self.plan);
        self.messages.push(Message::Publish(at, self.serving_generation, serving));
        self.messages.push(Message::Orders(self.orders_generation, desired::orders(&self.state, &self.plan)));
    }

    fn lose_or_double(&mut self) {
        if self.messages.is_empty() {
            return;
        }
        let at = self.below(self.messages.len());
        match self.below(2) {
            0 => drop(self.messages.swap_remove(at)),
            _ => self.messages.push(self.messages[at].clone()),
        }
    }

    fn restart_gateway(&mut self, at: usize) {
        let gateway = &mut self.gateways[at];
        gateway.incarnation += 1;
        gateway.snapshot = gateway.disk.clone();
        gateway.valid_until = Timestamp(0);
        // What it had sent goes on by itself: the monolith finishes it, or not.
        let orphaned = std::mem::take(&mut gateway.inflight);
        orphaned.into_iter().for_each(|side| self.write(side));
    }

    /// State survives, and the names of the gateways; everybody is taken to be there until surely not.
    fn restart_orchestrator(&mut self) {
        self.agent_seen = None;
        let counts_until = self.now.plus(VALIDITY).plus(MARGIN);
        for (_, gateway) in self.seen.values_mut() {
            *gateway = GatewaySeen { name: gateway.name.clone(), counts_until, ..GatewaySeen::default() };
        }
        for known in self.seen.values_mut() {
            known.0 = 0;
        }
    }

    fn reconcile(&mut self, event: &Event) {
        let seen = Observation {
            gateways: self.seen.values().map(|(_, seen)| seen.clone()).collect(),
            serving_generation: self.serving_generation,
            orders_generation: self.orders_generation,
            agent: self.agent_seen.clone(),
            ..Observation::default()
        };
        let outcome = advance(&self.state, &self.plan, &seen, event, self.now);
        let next = outcome.state;
        if next == self.state {
            return;
        }
        if self.state.switch.is_none() && next.switch.is_some() {
            let report = seen.agent.as_ref().map(|agent| &agent.report);
            let busy = report.filter(|report| report.epoch == self.state.epoch).and_then(|report| report.busy.as_ref());
            assert_eq!(busy, None, "everybody's writes would be held for an old transaction");
        }
        self.look_at_transition(&next);
        self.generation += 1;
        if desired::serving(&next, &self.plan) != desired::serving(&self.state, &self.plan) {
            self.serving_generation = self.generation;
        }
        if desired::orders(&next, &self.plan) != desired::orders(&self.state, &self.plan) {
            self.orders_generation = self.generation;
        }
        self.state = next;
    }

    fn look_at_transition(&mut self, next: &State) {
        let stage = |state: &State| state.switch.as_ref().map(|s| s.stage);
        let (before, after) = (stage(&self.state), stage(next));
        if let Some(stage) = after.filter(|_| before != after) {
            *self.stages.entry(stage).or_default() += 1;
        }
        self.aborts += usize::from(next.aborted.is_some() && next.aborted != self.state.aborted);
        assert!(next.epoch == self.state.epoch || next.epoch == self.state.epoch + 1);
        if next.owner == self.state.owner {
            assert_eq!(next.epoch, self.state.epoch, "the epoch grows with the owner");
        } else {
            self.flips += 1;
            assert_eq!((before, after), (Some(Stage::Sequences), Some(Stage::Open)), "the owner flips in one place");
            assert_eq!(next.epoch, self.state.epoch + 1);
            let log = self.databases[self.state.owner as usize].log;
            assert_eq!(self.databases[next.owner as usize].applied, log, "rows would be lost");
            let inflight = self.seen.values().filter(|(_, g)| self.now < g.counts_until).map(|(_, g)| g.inflight_writes).sum::<u64>();
            assert_eq!(inflight, 0, "flipped before it was drained");
        }
        if before.is_some_and(Stage::is_decided) {
            assert!(matches!(after, None | Some(Stage::Release)) || before == after, "only forward: {before:?} to {after:?}");
        }
    }

    /// What must be true after every single event.
    pub(super) fn check(&self) {
        if matches!(self.state.phase, Phase::Draft | Phase::Backfilling | Phase::Retired) {
            return;
        }
        assert!(self.databases.iter().any(|d| d.fenced), "two writable databases: {:?}", self.state);
        for at in 0..self.gateways.len() {
            if let Some(side) = self.forwards_to(at) {
                assert_eq!(
                    side, self.state.owner,
                    "gateway {at} at generation {} forwards: {:?}",
                    self.gateways[at].snapshot.0, self.state
                );
            }
        }
    }

    /// Nothing fails from here on.
    pub(super) fn calm(&mut self) {
        self.friendly = true;
        self.calm = true;
        self.agent.report.trouble = None;
        self.agent.report.busy = None;
        self.gateways.iter_mut().for_each(|gateway| gateway.cut_off = false);
    }

    pub(super) fn until(&mut self, what: &str, done: impl Fn(&State) -> bool) {
        self.wish_now_and_then(what, None, done);
    }

    pub(super) fn wish_until(&mut self, what: &str, wish: Wish, done: impl Fn(&State) -> bool) {
        self.wish_now_and_then(what, Some(wish), done);
    }

    fn wish_now_and_then(&mut self, what: &str, wish: Option<Wish>, done: impl Fn(&State) -> bool) {
        for round in 0..60_000 {
            if done(&self.state) {
                return;
            }
            if round % 500 == 0
                && let Some(wish) = wish.clone().filter(|_| self.state.switch.is_none())
            {
                self.wish_if_any_hold();
                self.reconcile(&Event::Wish(wish));
            }
            self.stir();
            self.check();
        }
        panic!("never: {what}; {:?}", self.state);
    }

    pub(super) fn wish_if_any_hold(&mut self) {
        self.reconcile(&Event::Wish(Wish::Release(None)));
    }

    pub(super) fn until_equal(&mut self) {
        for _ in 0..20_000 {
            let [legacy, modern] = &self.databases;
            if modern.applied == legacy.log && legacy.applied == modern.log {
                return;
            }
            self.agent_works();
            self.deliver();
        }
        panic!("never equal");
    }
}
