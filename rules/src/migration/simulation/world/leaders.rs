//! Leaders: who leads, whom a message reaches, and what becomes of what they write.

use std::time::Duration;

use super::World;
use crate::migration::Stage;
use crate::migration::advance::Event;
use crate::migration::observation::Limits;
use crate::migration::simulation::chance::Clock;
use crate::migration::simulation::orchestrator::{LEASE, Orchestrator};
use crate::migration::simulation::store::{Answer, Put, Store};

impl World {
    /// The leader asks for another lease; when its own has ended, another one leads.
    pub(super) fn elect(&mut self) {
        if !self.orchestrator.cut_off && self.chance.one_in(4) {
            let now = self.orchestrator.clock.steady(self.now);
            match self.renewal.take() {
                None => self.renewal = Some((now, false)),
                Some((asked, false)) => {
                    self.lease_ends = self.grantor.steady(self.now).plus(LEASE);
                    self.renewal = Some((asked, true));
                }
                Some((asked, true)) => self.orchestrator.renew(asked),
            }
        }
        if self.grantor.steady(self.now) >= self.lease_ends {
            let next = self.orchestrator.succeed(Clock::new(&mut self.chance), &mut self.store, self.now);
            let mut former = std::mem::replace(&mut self.orchestrator, next);
            self.leads_since = self.now;
            // It reaches the store again, and may not know that it is another's.
            former.cut_off &= self.chance.one_in(2);
            self.former = (!self.calm).then_some(former);
            (self.lease_ends, self.renewal) = (self.grantor.steady(self.now).plus(LEASE), None);
        }
    }

    /// A gateway that nobody has heard of may begin with it.
    pub(super) fn cut_off_leader(&mut self) {
        self.orchestrator.cut_off |= self.chance.one_in(40);
        if self.newcomers
            && self.orchestrator.cut_off
            && let Some(last) = self.gateways.last_mut()
            && !self.orchestrator.knows(&last.name)
        {
            (last.cut_off, last.aside) = (false, true);
        }
    }

    /// Whom a gateway's message reaches.
    pub(super) fn reached_by(&mut self, gateway: usize) -> (&mut Orchestrator, &mut Store) {
        if self.gateways[gateway].aside && self.former.is_some() {
            return (self.former.as_mut().unwrap_or(&mut self.orchestrator), &mut self.store);
        }
        self.reached()
    }

    /// Whom a message from outside reaches.
    pub(super) fn reached(&mut self) -> (&mut Orchestrator, &mut Store) {
        let both = self.former.is_some() && self.chance.one_in(2);
        (self.former.as_mut().filter(|_| both).unwrap_or(&mut self.orchestrator), &mut self.store)
    }

    /// A write that was given up arrives when what is written was just read, and before anything is made up from it.
    fn late_write_comes_between(&mut self) {
        if !self.late.is_empty() && self.chance.one_in(4) {
            let (_, put) = self.late.swap_remove(0);
            self.arrives_in_store(&put);
        }
    }

    pub(in crate::migration::simulation) fn reconcile(&mut self, capability: usize, event: &Event) {
        self.orchestrator.failing = self.failing;
        self.orchestrator.read(&self.store, self.now);
        self.late_write_comes_between();
        let decision = self.orchestrator.decide(capability, event, &self.store, self.now);
        if let Some(decision) = decision {
            self.look_at_decision(&decision, self.orchestrator.time(self.now));
            let answer = self.send_to_store(&decision.put);
            self.orchestrator.told(decision.put, answer, &self.store, self.now);
        }
        // One that does not know what is written takes nothing back; it reads that first, or whoever leads next does.
        let (time, knows) = (self.orchestrator.time(self.now), !self.orchestrator.unsure);
        if let (Event::Tick, true, Some(switch)) = (event, knows, &self.orchestrator.state(capability).switch) {
            let seen = self.orchestrator.observe(capability, self.now);
            let has_trouble = seen.live_agent(time).is_some_and(|agent| agent.report.trouble.is_some());
            let undecided = switch.stage < Stage::Open;
            assert!(!undecided || !has_trouble, "writes are held for an agent that has trouble: {switch:?}");
            let [held, lifted] = self.began[capability].map(|began| self.lasts(began));
            assert!(!undecided || held < Limits::default().switch_deadline, "held for {held:?}: {switch:?}");
            let is_known = seen.agent.is_some_and(|agent| agent.report.fenced.of(self.state(capability).owner));
            let is_lifting = switch.stage == Stage::Lift && !is_known;
            assert!(!is_lifting || lifted < Limits::default().lift, "its abort lasts for {lifted:?}: {switch:?}");
        }
    }

    /// For how long the leader has seen something last that began then, by any clock: at least so long by its own, which may be slow.
    fn lasts(&self, began: u64) -> Duration {
        Duration::from_millis(self.now - began.max(self.leads_since)).mul_f64(0.99)
    }

    /// Until it hears that another one leads.
    pub(super) fn former_reconciles(&mut self, capability: usize) {
        let Some(mut former) = self.former.take() else { return };
        former.failing = self.failing;
        former.read(&self.store, self.now);
        if let Some(decision) = former.decide(capability, &Event::Tick, &self.store, self.now) {
            let answer = self.send_to_store(&decision.put);
            match answer {
                Some(Answer::Deposed) => return,
                // It may know too little by now; who else leads may not.
                Some(Answer::Written) => self.look_at_decision(&decision, former.time(self.now)),
                _ => {}
            }
            former.told(decision.put, answer, &self.store, self.now);
        }
        self.former = Some(former);
    }

    /// `None`: no answer comes.
    fn send_to_store(&mut self, put: &Put) -> Option<Answer> {
        match self.chance.below(10) {
            0 if self.store_fails && !self.calm => None,
            1 if self.store_fails && !self.calm => {
                let arrives = self.now + self.chance.below(5_000) as u64;
                self.late.push((arrives, put.clone()));
                None
            }
            2 if self.store_fails && !self.calm => {
                self.arrives_in_store(put);
                None
            }
            _ => Some(self.arrives_in_store(put)),
        }
    }

    pub(super) fn late_write_arrives(&mut self) {
        let now = self.now;
        let due: Vec<_> = self.late.extract_if(.., |(at, _)| *at <= now).collect();
        for (_, put) in &due {
            self.arrives_in_store(put);
        }
    }

    pub(super) fn arrives_in_store(&mut self, put: &Put) -> Answer {
        let before = self.state(put.capability).clone();
        let answer = self.store.write(put);
        if matches!(answer, Answer::Written) {
            self.look_at_transition(put.capability, &before, &put.stored.state);
        }
        answer
    }
}
