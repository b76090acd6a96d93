//! The orchestrator as its shell does it: a store that survives, a memory that does not, and one transition at a time by
//! compare-and-swap. Of several, one leads by a lease, and may go on for a while when another one leads already. What it knows of gateways and agents goes through the same [`Leases`] and [`Roster`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::agent::Orders;
use super::chance::Clock;
use super::{CAPABILITIES, Published, name_of};
use crate::lease::{Heard, Leases, Mandate, Said};
use crate::migration::advance::{Event, advance};
use crate::migration::observation::{AgentSeen, GatewaySeen, Observation};
use crate::migration::{State, desired};
use crate::plan::Capability;
use crate::roster::Roster;
use crate::time::Steady;
use crate::wire::AgentReport;

/// What gateways are given.
const VALIDITY: Duration = Duration::from_secs(5);
/// For how long a leader is elected, and elected again.
pub(super) const LEASE: Duration = Duration::from_secs(3);

/// A state and the generations at which it was published last.
#[derive(Clone)]
pub(super) struct Stored {
    pub(super) state: State,
    serving_generation: u64,
    orders_generation: u64,
}

pub(super) struct Orchestrator {
    pub(super) clock: Clock,
    /// Whether it may promise anything.
    mandate: Mandate,
    /// It does not reach the store, and writes nothing.
    pub(super) cut_off: bool,
    plans: [Capability; CAPABILITIES],
    // The store.
    pub(super) stored: [Stored; CAPABILITIES],
    generation: u64,
    names: BTreeSet<String>,
    // The memory.
    leases: Leases,
    roster: Roster,
    gateways: BTreeMap<String, (u64, [u64; CAPABILITIES])>,
}

impl Orchestrator {
    pub(super) fn new(clock: Clock, plans: [Capability; CAPABILITIES], now: u64) -> Orchestrator {
        let draft = |name: &str| Stored { state: State::draft(name, clock.wall(now)), serving_generation: 1, orders_generation: 1 };
        let mut begun = Orchestrator {
            stored: std::array::from_fn(|capability| draft(&plans[capability].name)),
            mandate: Mandate::granted(clock.steady(now), LEASE),
            cut_off: false,
            clock,
            plans,
            generation: 1,
            names: BTreeSet::new(),
            leases: Leases::default(),
            roster: Roster::default(),
            gateways: BTreeMap::new(),
        };
        begun.restart(now);
        begun
    }

    /// Killed and started again. Every gateway whose name is stored is taken to be there.
    pub(super) fn restart(&mut self, now: u64) {
        self.leases = Leases::new(VALIDITY, self.names.iter().cloned().collect(), self.clock.steady(now));
        for stored in &self.stored {
            self.leases.restore_floor(&stored.state.capability, stored.state.floor);
        }
        self.roster = Roster::default();
        self.gateways.clear();
    }

    /// The next leader, with what the store holds. This one may not know yet that it leads no longer.
    pub(super) fn succeed(&self, clock: Clock, now: u64) -> Orchestrator {
        let mut next = Orchestrator::new(clock, self.plans.clone(), now);
        (next.stored, next.generation, next.names) = (self.stored.clone(), self.generation, self.names.clone());
        next.restart(now);
        next
    }

    /// Its lease was renewed, and asked for then.
    pub(super) fn renew(&mut self, asked: Steady) {
        self.mandate.renew(asked, LEASE);
    }

    pub(super) fn leads(&self, now: u64) -> bool {
        self.mandate.holds(self.clock.steady(now))
    }

    pub(super) fn state(&self, capability: usize) -> &State {
        &self.stored[capability].state
    }

    /// A gateway's report; for how long it may forward from when it sent it. `None`: no answer.
    pub(super) fn hear_gateway(&mut self, name: &str, said: Said, inflight: [u64; CAPABILITIES], now: u64) -> Option<Duration> {
        let is_stored = self.names.contains(name);
        if self.cut_off && !is_stored || !self.leads(now) {
            return None;
        }
        self.names.insert(name.to_owned());
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
        self.roster.hear(report, self.clock.wall(now));
    }

    pub(super) fn published(&self) -> Published {
        Published {
            generation: self.stored.iter().map(|stored| stored.serving_generation).max().unwrap_or(0),
            serving: std::array::from_fn(|capability| desired::serving(self.state(capability), &self.plans[capability])),
        }
    }

    pub(super) fn orders(&self) -> Orders {
        Orders {
            generation: self.stored.iter().map(|stored| stored.orders_generation).max().unwrap_or(0),
            of: std::array::from_fn(|capability| desired::orders(self.state(capability), &self.plans[capability])),
        }
    }

    pub(super) fn observe(&self, capability: usize, now: u64) -> Observation {
        let (name, wall) = (name_of(capability), self.clock.wall(now));
        let gateway = |gateway: &str| {
            let (generation, inflight) = self.gateways.get(gateway).copied().unwrap_or_default();
            GatewaySeen {
                name: gateway.to_owned(),
                counts_until: wall.plus(self.leases.left(gateway, self.clock.steady(now))),
                generation,
                astray: self.leases.is_astray(gateway),
                inflight_writes: inflight[capability],
                ..GatewaySeen::default()
            }
        };
        Observation {
            gateways: self.leases.gateways().map(gateway).collect(),
            serving_generation: self.stored[capability].serving_generation,
            orders_generation: self.stored[capability].orders_generation,
            agent: self.roster.of(&name).map(|(at, agent, report)| AgentSeen {
                name: agent.agent.clone(),
                generation: Roster::generation(agent, report),
                at,
                report: report.clone(),
            }),
            ..Observation::default()
        }
    }

    /// One transition, or none: the state before and after.
    pub(super) fn reconcile(&mut self, capability: usize, event: &Event, now: u64) -> Option<(State, State)> {
        let (plan, before) = (&self.plans[capability], self.state(capability).clone());
        let outcome = advance(&before, plan, &self.observe(capability, now), event, self.clock.wall(now));
        let after = outcome.state;
        if after == before || self.cut_off {
            return None;
        }
        if after.floor > before.floor && !self.leases.raise_floor(&before.capability, after.floor, self.clock.steady(now)) {
            return None;
        }
        self.generation += 1;
        let stored = &mut self.stored[capability];
        if desired::serving(&after, plan) != desired::serving(&before, plan) {
            stored.serving_generation = self.generation;
        }
        if desired::orders(&after, plan) != desired::orders(&before, plan) {
            stored.orders_generation = self.generation;
        }
        stored.state = after.clone();
        Some((before, after))
    }
}
