//! What happens to gateways, agents, databases, clocks and messages.

use super::{Message, World};
use crate::migration::Stage;
use crate::migration::simulation::agent::Agent;

impl World {
    /// For long enough to be given up.
    pub(super) fn cut_or_connect(&mut self, gateway: usize) {
        if self.newcomers && self.elections && !self.orchestrator.knows(&self.gateways[gateway].name) {
            return;
        }
        let cut_off = self.gateways[gateway].cut_off;
        let changes = self.chance.one_in(if cut_off { 4 } else { 8 });
        self.gateways[gateway].cut_off ^= changes;
    }

    /// Somebody removes what no gateway of these orchestrators had kept.
    pub(super) fn clear_strangers(&mut self) {
        for gateway in self.gateways.iter_mut().filter(|gateway| gateway.is_strange()) {
            self.orphans.extend(gateway.restart());
            gateway.find(false);
        }
    }

    /// The first that it does is to report.
    pub(super) fn restart_gateway(&mut self, gateway: usize) {
        self.orphans.extend(self.gateways[gateway].restart());
        if self.strangers {
            let is_strange = self.chance.one_in(16);
            self.gateways[gateway].find(is_strange);
            self.gateways[gateway].cut_off |= self.chance.one_in(2);
        }
        self.gateway_reports(gateway);
    }

    pub(super) fn restart_leader(&mut self) {
        self.orchestrator.restart(&mut self.store, self.now);
        self.leads_since = self.now;
    }

    pub(super) fn restart_agent(&mut self) {
        let at = self.chance.below(self.agents.len());
        self.agents[at].restart(self.now);
        // The first that it does is to ask; the answer may be on its way while the other one goes on.
        let (asked, now) = (self.agents[at].ask(), self.now);
        let until = now + self.chance.below(400) as u64;
        let (reached, _) = self.reached();
        if reached.leads(now) {
            let orders = reached.orders();
            self.detours.push((until, (now, Message::Orders(at, asked, orders))));
        }
    }

    pub(super) fn agent_falls_asleep(&mut self) {
        let at = self.chance.below(self.agents.len());
        self.agents[at].asleep = self.chance.one_in(8);
    }

    pub(super) fn cut_or_connect_agent(&mut self) {
        let at = self.chance.below(self.agents.len());
        let changes = self.chance.one_in(if self.agents[at].cut_off { 2 } else { 64 });
        self.agents[at].cut_off ^= changes;
    }

    pub(super) fn service_fails(&mut self, capability: usize) {
        let changes = self.chance.one_in(if self.failing[capability] { 2 } else { 24 });
        self.failing[capability] ^= changes && self.gated;
    }

    /// For a moment, or until a switch has to be taken back; most often the new owner's, while it is to open.
    pub(super) fn database_goes_away(&mut self, capability: usize) {
        let state = self.state(capability);
        let opens = state.switch.as_ref().filter(|switch| switch.stage == Stage::Open).map(|switch| switch.to as usize);
        if self.chance.one_in(if opens.is_some() { 2 } else { 64 }) {
            let (side, longest) = (self.chance.below(2), [500, 2_000, 12_000][self.chance.below(3)]);
            let (side, longest) = opens.map_or((side, longest), |side| (side, 40_000));
            self.databases[capability][side].away_until = self.now + self.chance.below(longest) as u64;
        }
    }

    /// Something that it does waits for a lock, for a while.
    pub(super) fn agent_waits(&mut self) {
        let (at, stuck, waits) = (self.chance.below(self.agents.len()), self.chance.below(Agent::ALL.len()), self.chance.one_in(2));
        self.agents[at].stuck = std::array::from_fn(|task| waits && task == stuck);
    }

    pub(super) fn set_clock(&mut self) {
        if self.chance.one_in(12) {
            self.orchestrator.clock.ahead = self.chance.below(120_000) as i64 - 60_000;
        }
    }

    pub(super) fn complain(&mut self, capability: usize) {
        let at = self.chance.below(self.agents.len());
        match self.chance.below(6) {
            0 => self.agents[at].complain(capability, Some("disk full"), None),
            1 => self.agents[at].complain(capability, None, Some("pid 7 has a transaction open")),
            _ => {}
        }
    }

    pub(super) fn lose_or_double(&mut self) {
        if self.messages.is_empty() {
            return;
        }
        let at = self.chance.below(self.messages.len());
        match self.chance.below(2) {
            0 => drop(self.messages.swap_remove(at)),
            _ => self.messages.push(self.messages[at].clone()),
        }
    }
}
