//! The orchestrator as its shell does it: a memory that does not survive, and one transition at a time by compare-and-swap
//! in the [`Store`]. A write whose answer is missing may have been done: what is written is read before anything else. Of
//! several, one leads by a lease, and may go on for a while when another one leads already. What it knows of gateways and
//! agents goes through the same [`Leases`] and [`Roster`].

use std::collections::BTreeMap;
use std::time::Duration;

use super::agent::Orders;
use super::chance::Clock;
use super::store::{Answer, Put, Store, Stored};
use super::{CAPABILITIES, Published, name_of};
use crate::Timestamp;
use crate::crossing::{Crossing, Order};
use crate::gate::Sides;
use crate::lease::{Heard, Leases, Mandate, Said};
use crate::migration::advance::{Event, advance};
use crate::migration::observation::{AgentSeen, GatewaySeen, Kin, Observation, TrafficSeen};
use crate::migration::{State, desired};
use crate::plan::Capability;
use crate::roster::Roster;
use crate::time::{Onward, Steady};
use crate::wire::{AgentReport, Traffic};

/// What gateways are given.
const VALIDITY: Duration = Duration::from_secs(5);
/// For how long a leader is elected, and elected again.
pub(super) const LEASE: Duration = Duration::from_secs(3);

/// A write that was given up is on its way no longer than this.
const LATE: Duration = Duration::from_secs(6);

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Orchestrator {
    pub(super) clock: Clock,
    /// What it waits by.
    onward: Onward,
    /// Whether it may promise anything.
    mandate: Mandate,
    /// It does not reach the store, and writes nothing.
    pub(super) cut_off: bool,
    plans: [Capability; CAPABILITIES],
    /// By what the store knows whether this one leads.
    term: u64,
    /// What it knows to be written.
    view: [Stored; CAPABILITIES],
    /// Whose new service fails.
    pub(super) failing: [bool; CAPABILITIES],
    /// It does not know whether its last write was done.
    pub(super) unsure: bool,
    /// Until then a write that failed may still be done.
    late_until: Steady,
    leases: Leases,
    roster: Roster,
    gateways: BTreeMap<String, (u64, [u64; CAPABILITIES])>,
}

/// A transition, and what it was decided by.
pub(super) struct Decision {
    pub(super) before: State,
    pub(super) seen: Observation,
    pub(super) put: Put,
}

impl Orchestrator {
    /// Leads from now on, with what the store holds.
    pub(super) fn begin(clock: Clock, plans: [Capability; CAPABILITIES], store: &mut Store, now: u64) -> Orchestrator {
        let mut begun = Orchestrator {
            mandate: Mandate::granted(clock.steady(now), LEASE),
            cut_off: false,
            clock,
            onward: Onward::default(),
            plans,
            term: 0,
            view: store.read(),
            failing: [false; CAPABILITIES],
            unsure: false,
            late_until: Steady(0),
            leases: Leases::default(),
            roster: Roster::default(),
            gateways: BTreeMap::new(),
        };
        begun.restart(store, now);
        begun
    }

    /// Killed and started again. Every gateway whose name is stored is taken to be there.
    pub(super) fn restart(&mut self, store: &mut Store, now: u64) {
        self.term = store.elect();
        self.leases = Leases::new(VALIDITY, store.names().cloned().collect(), self.clock.steady(now));
        self.roster = Roster::default();
        self.gateways.clear();
        self.onward = Onward::default();
        self.take_over(store, now);
    }

    /// What is written counts.
    fn take_over(&mut self, store: &Store, now: u64) {
        self.view = store.read();
        for stored in &self.view {
            self.leases.restore_floor(&stored.state.capability, stored.state.floor);
            self.onward.hear(stored.state.newest(), self.clock.steady(now));
        }
        self.unsure = false;
    }

    /// Whatever its clock is set to.
    pub(super) fn time(&self, now: u64) -> Timestamp {
        self.onward.clone().hear(self.clock.wall(now), self.clock.steady(now))
    }

    /// The next leader. This one may not know yet that it leads no longer.
    pub(super) fn succeed(&self, clock: Clock, store: &mut Store, now: u64) -> Orchestrator {
        Orchestrator::begin(clock, self.plans.clone(), store, now)
    }

    /// Its lease was renewed, and asked for then.
    pub(super) fn renew(&mut self, asked: Steady) {
        self.mandate.renew(asked, LEASE);
    }

    /// Its name is stored.
    pub(super) fn knows(&self, gateway: &str) -> bool {
        self.leases.knows(gateway)
    }

    pub(super) fn leads(&self, now: u64) -> bool {
        self.mandate.holds(self.clock.steady(now))
    }

    pub(super) fn plan(&self, capability: usize) -> &Capability {
        &self.plans[capability]
    }

    /// The state that it knows of.
    pub(super) fn state(&self, capability: usize) -> &State {
        &self.view[capability].state
    }

    /// A gateway's report; for how long it may forward from when it sent it. `None`: no answer.
    pub(super) fn hear_gateway(
        &mut self,
        store: &mut Store,
        name: &str,
        said: Said,
        inflight: [u64; CAPABILITIES],
        now: u64,
    ) -> Option<Duration> {
        let is_stored = self.knows(name);
        if self.cut_off && !is_stored || !self.leads(now) {
            return None;
        }
        if !self.cut_off && !is_stored && !store.remember(self.term, name) {
            self.mandate.end();
            return None;
        }
        let newest = self.published().generation;
        let heard = self.leases.hear(name, said, newest, self.clock.steady(now));
        if heard != Heard::Late {
            self.gateways.insert(name.to_owned(), (said.generation, inflight));
        }
        Some(match heard {
            Heard::Valid(validity) => validity,
            Heard::Late | Heard::Behind | Heard::Astray => Duration::ZERO,
        })
    }

    pub(super) fn hear_agent(&mut self, report: AgentReport, now: u64) {
        self.roster.hear(report, self.clock.steady(now));
    }

    pub(super) fn published(&self) -> Published {
        Published {
            generation: self.view.iter().map(|stored| stored.serving_generation).max().unwrap_or(0),
            serving: std::array::from_fn(|capability| desired::serving(self.state(capability), &self.plans[capability])),
        }
    }

    pub(super) fn orders(&self) -> Orders {
        Orders {
            generation: self.view.iter().map(|stored| stored.orders_generation).max().unwrap_or(0),
            of: std::array::from_fn(|capability| desired::orders(self.state(capability), &self.plans[capability])),
        }
    }

    pub(super) fn observe(&self, capability: usize, now: u64) -> Observation {
        let (name, time) = (name_of(capability), self.time(now));
        let gateway = |gateway: &str| {
            let (generation, inflight) = self.gateways.get(gateway).copied().unwrap_or_default();
            GatewaySeen {
                name: gateway.to_owned(),
                counts_until: time.plus(self.leases.left(gateway, self.clock.steady(now))),
                generation,
                astray: self.leases.is_astray(gateway),
                inflight_writes: inflight[capability],
                ..GatewaySeen::default()
            }
        };
        let requests = |errors| Traffic { requests: 100, errors, took: vec![100], ..Traffic::default() };
        let modern = requests(if self.failing[capability] { 50 } else { 0 });
        let traffic = Sides { legacy: requests(0), modern, ..Sides::default() };
        let (parents, children) = (self.kin(capability, |one, other| (one, other)), self.kin(capability, |one, other| (other, one)));
        Observation {
            joined: parents.iter().chain(&children).map(|kin| (kin.name.clone(), kin.phase)).collect(),
            parents,
            children,
            traffic: TrafficSeen { step: traffic.clone(), recent: traffic, ..TrafficSeen::default() },
            gateways: self.leases.gateways().map(gateway).collect(),
            serving_generation: self.view[capability].serving_generation,
            orders_generation: self.view[capability].orders_generation,
            agent: self.roster.of(&name).map(|(at, agent, report)| AgentSeen {
                name: agent.agent.clone(),
                generation: Roster::generation(agent, report),
                at: time.before(self.clock.steady(now).since(at)),
                report: report.clone(),
            }),
            ahead: time.since(self.clock.wall(now)),
            ..Observation::default()
        }
    }

    /// Those at the other end of a foreign key: `from_to` says of a capability and another one which refers to which.
    fn kin(&self, capability: usize, from_to: fn(usize, usize) -> (usize, usize)) -> Vec<Kin> {
        let refers = |other: &usize| {
            let (from, to) = from_to(capability, *other);
            self.plans[from].depends_on.contains(&self.plans[to].name)
        };
        let kin = |other: usize| {
            let ((from, to), state) = (from_to(capability, other), self.state(other));
            let (table, of) = (name_of(from), name_of(to));
            let key = Crossing { table, columns: vec![], parent: of.clone(), of, order: Order::After };
            Kin { name: name_of(other), owner: state.owner, phase: state.phase, key }
        };
        (0..CAPABILITIES).filter(refers).map(kin).collect()
    }

    /// Reads what is written, unless it knows, or does not reach it.
    pub(super) fn read(&mut self, store: &Store, now: u64) {
        self.onward.hear(self.clock.wall(now), self.clock.steady(now));
        if self.cut_off {
            return;
        }
        if self.unsure || self.clock.steady(now) < self.late_until {
            self.take_over(store, now);
        }
    }

    /// One transition, or none: it knows of nothing to do, or not what is written. It has read that before; something may have arrived
    /// since.
    pub(super) fn decide(&mut self, capability: usize, event: &Event, store: &Store, now: u64) -> Option<Decision> {
        if self.cut_off {
            self.unsure = true;
            return None;
        }
        let (plan, before) = (&self.plans[capability], self.state(capability).clone());
        let seen = self.observe(capability, now);
        let after = advance(&before, plan, &seen, event, self.time(now)).state;
        if after == before {
            return None;
        }
        if after.floor > before.floor && !self.leases.raise_floor(&before.capability, after.floor, self.clock.steady(now)) {
            return None;
        }
        let put = store.make_up(self.term, capability, plan, &before, after);
        // Somebody wrote: what that is, is read before anything else.
        self.unsure = put.is_none();
        Some(Decision { before, seen, put: put? })
    }

    /// What is heard of a write. `None`: nothing, and it may have been done.
    pub(super) fn told(&mut self, put: Put, answer: Option<Answer>, store: &Store, now: u64) {
        match answer {
            Some(Answer::Written) => {
                let known = self.view.iter().map(|stored| stored.serving_generation.max(stored.orders_generation)).max().unwrap_or(0);
                self.view[put.capability] = put.stored;
                // Something came between; whoever is given this generation would never ask for that.
                if put.generation > known + 1 {
                    self.take_over(store, now);
                }
            }
            Some(Answer::Overtaken) => self.unsure = true,
            None => (self.unsure, self.late_until) = (true, self.clock.steady(now).plus(LATE)),
            Some(Answer::Deposed) => {
                self.unsure = true;
                self.mandate.end();
            }
        }
    }
}
