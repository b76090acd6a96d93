//! The world: who is in it, what may happen to them, and what must be true after every single event.

use std::collections::BTreeMap;
use std::time::Duration;

use super::agent::{Agent, Asked, Orders};
use super::chance::{Chance, Clock};
use super::database::{Database, KEYS, Ledger, Write};
use super::gateway::{Admitted, Gateway};
use super::orchestrator::{LEASE, Orchestrator};
use super::{CAPABILITIES, Published, name_of};
use crate::Side;
use crate::lease::{BELIEVED, Said};
use crate::migration::advance::{Event, Wish};
use crate::migration::observation::Limits;
use crate::migration::{Phase, Stage, State, tests};
use crate::plan::{StepAction, StrayWrites};
use crate::time::Steady;
use crate::wire::AgentReport;

/// The events of [`World::stir`] that do not happen in every world.
const MISFORTUNES: std::ops::Range<usize> = 77..88;

#[allow(clippy::large_enum_variant, reason = "a model's messages: few of them, and their size does not matter")]
#[derive(Clone)]
enum Message {
    Publish(usize, Published),
    Report { gateway: usize, said: Said, inflight: [u64; CAPABILITIES] },
    Answer { gateway: usize, order: (u64, u64), generation: u64, valid_for: Duration },
    Orders(usize, Asked, Orders),
    AgentReport(AgentReport),
}

pub(super) struct World {
    chance: Chance,
    /// Milliseconds since the world began.
    now: u64,
    /// Who leads, and with it the store.
    pub(super) orchestrator: Orchestrator,
    /// Who led before, and still answers whom it reaches.
    former: Option<Orchestrator>,
    /// The clock of whoever grants leases, and when by it the leader's ends.
    grantor: Clock,
    lease_ends: Steady,
    /// A question for another lease: when it was asked, and whether it was heard.
    renewal: Option<(Steady, bool)>,
    /// Leaders are cut off from the store in this world; gateways are given what another orchestrator's gateway kept.
    elections: bool,
    strangers: bool,
    gateways: Vec<Gateway>,
    agents: Vec<Agent>,
    databases: [[Database; 2]; CAPABILITIES],
    ledger: Ledger,
    /// On their way since.
    messages: Vec<(u64, Message)>,
    /// Sent by a gateway that is dead: carried out at some time, or never. Nobody hears of it.
    orphans: Vec<(Side, Write)>,
    /// Which misfortunes happen in this world, by their places in [`World::stir`]: with few of them, switches get far.
    happens: [bool; MISFORTUNES.end - MISFORTUNES.start],
    /// Messages overtake each other, and agents do things in any order; but not always.
    disorder: bool,
    /// Streams lag: one moves one time of so many that it could.
    slow: usize,
    /// Some messages take a way that is longer by up to so many milliseconds.
    detour: usize,
    /// On it until, and sent when.
    detours: Vec<(u64, (u64, Message))>,
    friendly: bool,
    calm: bool,
    pub(super) stages: BTreeMap<Stage, usize>,
    pub(super) flips: usize,
    pub(super) aborts: usize,
    /// Writes of each capability that the gateways sent and a fence refused: their callers saw it.
    refused: [usize; CAPABILITIES],
}

impl World {
    pub(super) fn new(seed: u64) -> World {
        let mut chance = Chance(seed);
        let (happens, disorder) = (std::array::from_fn(|_| chance.one_in(2)), chance.one_in(2));
        let (slow, detour) = ([1, 1, 4, 8][chance.below(4)], [0, 0, 300, 3_000][chance.below(4)]);
        // By a chance of its own: the others' worlds stay as they were.
        let forwards = Chance(seed.rotate_left(32)).one_in(3);
        let now = 1_000_000;
        let plans = std::array::from_fn(|capability| {
            let mut plan = tests::plan();
            plan.name = name_of(capability);
            (plan.gates.errors, plan.gates.shadow) = (None, None);
            plan.strays = if forwards { StrayWrites::Forward } else { StrayWrites::Refuse };
            if let Some(soak) = plan.steps.last_mut() {
                soak.action = StepAction::Soak(Duration::from_secs(1));
            }
            plan
        });
        let gateways = (0..3).map(|at| Gateway::new(format!("gw-{at}"), Clock::new(&mut chance))).collect();
        let agents = (0..2).map(|at| Agent::new(format!("agent-{at}"), Clock::new(&mut chance), now)).collect();
        let grantor = Clock::new(&mut chance);
        let mut world = World {
            orchestrator: Orchestrator::new(Clock::new(&mut chance), plans, now),
            former: None,
            lease_ends: grantor.steady(now).plus(LEASE),
            grantor,
            renewal: None,
            elections: chance.one_in(5),
            strangers: chance.one_in(6),
            chance,
            now,
            gateways,
            agents,
            databases: Default::default(),
            ledger: Ledger::default(),
            messages: Vec::new(),
            orphans: Vec::new(),
            happens,
            disorder,
            slow,
            detour,
            detours: Vec::new(),
            friendly: !disorder,
            calm: false,
            stages: BTreeMap::new(),
            flips: 0,
            aborts: 0,
            refused: [0; CAPABILITIES],
        };
        // One that was told a state before anybody heard of it, and is heard of much later.
        if (world.strangers || world.elections)
            && let Some(newcomer) = world.gateways.last_mut()
        {
            newcomer.take(&world.orchestrator.published(), now);
            newcomer.cut_off = true;
        }
        world
    }

    pub(super) fn writes(&self) -> usize {
        self.ledger.acknowledged
    }

    fn send(&mut self, message: Message) {
        let sent = (self.now, message);
        if !self.calm && self.detour > 0 && self.chance.one_in(8) {
            self.detours.push((self.now + self.chance.below(self.detour) as u64, sent));
        } else {
            self.messages.push(sent);
        }
    }

    /// One random event, and a look at everything after it.
    pub(super) fn stir(&mut self) {
        // The weather changes: a switch that runs well for a while gets far enough to be broken late.
        if !self.calm && self.disorder && self.chance.one_in(if self.friendly { 300 } else { 60 }) {
            self.friendly ^= true;
        }
        let (gateway, capability) = (self.chance.below(self.gateways.len()), self.chance.below(CAPABILITIES));
        let event = self.chance.below(if self.calm { 74 } else { 94 });
        match event {
            event if MISFORTUNES.contains(&event) && !self.happens[event - MISFORTUNES.start] => {}
            0..8 => self.now += 1 + self.chance.below(30) as u64,
            8..18 => self.gateway_reports(gateway),
            18..24 => self.client_writes(gateway, capability),
            24..32 => self.upstream_answers(gateway),
            32 => self.somebody_writes_past_the_gateways(capability),
            33..42 => (0..CAPABILITIES).for_each(|capability| self.agent_works(capability)),
            42..48 => self.agent_reports(),
            48..64 => self.deliver(),
            64..69 => self.poll(gateway),
            69..74 => (0..CAPABILITIES).for_each(|capability| self.reconcile(capability, &Event::Tick)),
            74..77 => self.agent_works(capability),
            77 => self.agent_waits(),
            78 => self.now += 200 + self.chance.below(2_000) as u64,
            79 => self.cut_or_connect(gateway),
            80 => self.restart_gateway(gateway),
            81 if self.chance.one_in(8) => self.restart_agent(),
            82 if self.chance.one_in(3) => self.orchestrator.restart(self.now),
            83 => self.set_clock(),
            84 => self.complain(capability),
            85 => self.agent_falls_asleep(),
            86..88 => self.lose_or_double(),
            88 => self.agents.iter_mut().for_each(|agent| agent.complain(capability, None, None)),
            89..93 => self.wish_something(capability),
            _ if self.elections => self.orchestrator.cut_off |= self.chance.one_in(40),
            _ if self.strangers => self.clear_strangers(),
            _ => {}
        }
        self.elect();
        self.orphan_arrives();
        self.check();
    }

    /// The leader asks for another lease; when its own has ended, another one leads.
    fn elect(&mut self) {
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
            let next = self.orchestrator.succeed(Clock::new(&mut self.chance), self.now);
            self.former = Some(std::mem::replace(&mut self.orchestrator, next));
            (self.lease_ends, self.renewal) = (self.grantor.steady(self.now).plus(LEASE), None);
        }
    }

    /// Whom a message from outside reaches.
    fn reached(&mut self) -> &mut Orchestrator {
        let both = self.former.is_some() && self.chance.one_in(2);
        self.former.as_mut().filter(|_| both).unwrap_or(&mut self.orchestrator)
    }

    /// For long enough to be given up.
    fn cut_or_connect(&mut self, gateway: usize) {
        let cut_off = self.gateways[gateway].cut_off;
        let changes = self.chance.one_in(if cut_off { 4 } else { 8 });
        self.gateways[gateway].cut_off ^= changes;
    }

    /// Somebody removes what no gateway of these orchestrators had kept.
    fn clear_strangers(&mut self) {
        for gateway in self.gateways.iter_mut().filter(|gateway| gateway.is_strange()) {
            self.orphans.extend(gateway.restart());
            gateway.find(false);
        }
    }

    /// The first that it does is to report.
    fn restart_gateway(&mut self, gateway: usize) {
        self.orphans.extend(self.gateways[gateway].restart());
        if self.strangers {
            let is_strange = self.chance.one_in(16);
            self.gateways[gateway].find(is_strange);
            self.gateways[gateway].cut_off |= self.chance.one_in(2);
        }
        self.gateway_reports(gateway);
    }

    fn restart_agent(&mut self) {
        let at = self.chance.below(self.agents.len());
        self.agents[at].restart(self.now);
        // The first that it does is to ask; the answer may be on its way while the other one goes on.
        let (asked, now) = (self.agents[at].ask(), self.now);
        let until = now + self.chance.below(400) as u64;
        let reached = self.reached();
        if reached.leads(now) {
            let orders = reached.orders();
            self.detours.push((until, (now, Message::Orders(at, asked, orders))));
        }
    }

    fn agent_falls_asleep(&mut self) {
        let at = self.chance.below(self.agents.len());
        self.agents[at].asleep = self.chance.one_in(8);
    }

    /// Something that it does waits for a lock, for a while.
    fn agent_waits(&mut self) {
        let (at, stuck, waits) = (self.chance.below(self.agents.len()), self.chance.below(Agent::ALL.len()), self.chance.one_in(2));
        self.agents[at].stuck = std::array::from_fn(|task| waits && task == stuck);
    }

    fn set_clock(&mut self) {
        if self.chance.one_in(12) {
            self.orchestrator.clock.ahead = self.chance.below(120_000) as i64 - 60_000;
        }
    }

    fn complain(&mut self, capability: usize) {
        let at = self.chance.below(self.agents.len());
        match self.chance.below(6) {
            0 => self.agents[at].complain(capability, Some("disk full"), None),
            1 => self.agents[at].complain(capability, None, Some("pid 7 has a transaction open")),
            _ => {}
        }
    }

    fn wish_something(&mut self, capability: usize) {
        let switching = self.orchestrator.state(capability).switch.is_some();
        let wish = match self.chance.below(14) {
            0..3 => Wish::Advance,
            3..6 => Wish::Cutover,
            6 if self.chance.one_in(6) => Wish::Abort,
            7 if !switching || self.chance.one_in(6) => Wish::Revert,
            8 if self.chance.one_in(3) => Wish::Hold("because".into()),
            9 if self.chance.one_in(3) => Wish::Repair,
            10..12 => Wish::Approve,
            _ => Wish::Release(None),
        };
        self.reconcile(capability, &Event::Wish(wish));
    }

    fn gateway_reports(&mut self, gateway: usize) {
        if let Some((said, inflight)) = self.gateways[gateway].report(self.now) {
            self.send(Message::Report { gateway, said, inflight });
        }
    }

    fn client_writes(&mut self, gateway: usize, capability: usize) {
        let busy = &self.gateways[gateway];
        if busy.under_way(capability).count() < 4 && busy.held.len() < 16 {
            let write = self.ledger.ask(capability, self.chance.below(KEYS));
            let admitted = self.gateways[gateway].admit(write, self.now);
            let fenced = self.gateways[gateway].published.serving[capability].fenced;
            assert!(admitted != Admitted::Sent || !fenced, "a fenced write was sent");
        }
    }

    fn upstream_answers(&mut self, gateway: usize) {
        if self.gateways[gateway].inflight.is_empty() {
            return;
        }
        let at = self.chance.below(self.gateways[gateway].inflight.len());
        let (side, write) = self.gateways[gateway].inflight.swap_remove(at);
        match self.carry_out(side, write) {
            true => self.ledger.acknowledge(write),
            false => self.refused[write.capability] += 1,
        }
    }

    fn orphan_arrives(&mut self) {
        if !self.orphans.is_empty() && self.chance.one_in(12) {
            let at = self.chance.below(self.orphans.len());
            let (side, write) = self.orphans.swap_remove(at);
            if !self.chance.one_in(3) {
                self.carry_out(side, write);
            }
        }
    }

    /// A cron job, or somebody's shell. To modern nobody writes before the agent has fenced it.
    fn somebody_writes_past_the_gateways(&mut self, capability: usize) {
        let side = Side::BOTH[self.chance.below(2)];
        let state = self.orchestrator.state(capability);
        if state.phase != Phase::Retired && (side == Side::Legacy || self.databases[capability][1].fenced) {
            let write = self.ledger.ask(capability, self.chance.below(KEYS));
            self.carry_out(side, write);
        }
    }

    fn carry_out(&mut self, side: Side, write: Write) -> bool {
        let done = self.databases[write.capability][side as usize].write(write);
        let state = self.orchestrator.state(write.capability);
        if done && self.databases[write.capability][side as usize].letting {
            assert_eq!((side, state.owner), (Side::Legacy, Side::Modern), "{side} lets strangers write {write:?}: {state:?}");
            self.ledger.let_in(write);
        } else if done {
            assert_eq!(side, state.owner, "{side} took {write:?}, which it does not own: {state:?}");
            self.ledger.commit(write);
        }
        done
    }

    fn agent_works(&mut self, capability: usize) {
        for at in 0..self.agents.len() {
            let tasks = if self.friendly { Agent::ALL.len() } else { 2 };
            for task in 0..tasks {
                let task = if self.friendly { task } else { self.chance.below(Agent::ALL.len()) };
                if !Agent::ALL[task].lags() || self.chance.one_in(self.slow) {
                    self.agents[at].work(capability, task, &mut self.databases[capability], self.now);
                    self.databases[capability][1].brought.drain(..).for_each(|write| self.ledger.commit(write));
                }
            }
        }
    }

    fn agent_reports(&mut self) {
        let reports: Vec<_> = self.agents.iter_mut().filter_map(|agent| agent.report(&self.databases)).collect();
        reports.into_iter().for_each(|report| self.send(Message::AgentReport(report)));
    }

    /// Long polls: who asks again gets the newest.
    fn poll(&mut self, gateway: usize) {
        let agent = self.chance.below(self.agents.len());
        let (asked, now) = (self.agents[agent].ask(), self.now);
        let reached = self.reached();
        if reached.leads(now) {
            let (published, orders) = (reached.published(), reached.orders());
            if self.gateways[gateway].known {
                self.send(Message::Publish(gateway, published));
            }
            self.send(Message::Orders(agent, asked, orders));
        }
    }

    fn deliver(&mut self) {
        let now = self.now;
        self.messages.extend(self.detours.extract_if(.., |(until, _)| *until <= now).map(|(_, sent)| sent));
        // What waits too long is given up by its sender, whose clock may be slow.
        self.messages.retain(|(sent, _)| now - sent <= BELIEVED.as_millis() as u64 * 9 / 10);
        let excess = self.messages.len().saturating_sub(32);
        self.messages.drain(..excess);
        for _ in 0..if self.friendly { self.messages.len() } else { 4 } {
            if !self.messages.is_empty() {
                let at = if self.friendly { 0 } else { self.chance.below(self.messages.len()) };
                let (_, message) = self.messages.remove(at);
                self.receive(message);
            }
        }
    }

    fn receive(&mut self, message: Message) {
        match message {
            Message::Publish(at, published) => {
                let before = self.gateways[at].published.generation;
                self.gateways[at].take(&published, self.now);
                assert!(self.gateways[at].published.generation >= before, "a generation went back");
            }
            Message::Report { gateway, said, inflight } => {
                if !self.gateways[gateway].cut_off {
                    let name = self.gateways[gateway].name.clone();
                    let now = self.now;
                    let reached = self.reached();
                    if let Some(valid_for) = reached.hear_gateway(&name, said, inflight, now) {
                        let generation = reached.published().generation;
                        self.send(Message::Answer { gateway, order: said.order, generation, valid_for });
                    }
                }
            }
            Message::Answer { gateway, order, generation, valid_for } => self.gateways[gateway].answered(order, generation, valid_for),
            Message::Orders(at, asked, orders) => self.agents[at].take(&asked, &orders),
            Message::AgentReport(report) => self.orchestrator.hear_agent(report, self.now),
        }
    }

    fn lose_or_double(&mut self) {
        if self.messages.is_empty() {
            return;
        }
        let at = self.chance.below(self.messages.len());
        match self.chance.below(2) {
            0 => drop(self.messages.swap_remove(at)),
            _ => self.messages.push(self.messages[at].clone()),
        }
    }

    fn reconcile(&mut self, capability: usize, event: &Event) {
        let (seen, wall) = (self.orchestrator.observe(capability, self.now), self.orchestrator.clock.wall(self.now));
        let has_trouble = seen.live_agent(wall).is_some_and(|agent| agent.report.trouble.is_some());
        let busy = seen.agent.filter(|agent| agent.report.busy.is_some());
        let moved = self.orchestrator.reconcile(capability, event, self.now);
        if let (Event::Tick, Some(switch)) = (event, &self.orchestrator.state(capability).switch) {
            // One that does not reach its store takes nothing back; whoever leads next does.
            let undecided = switch.stage < Stage::Open && !self.orchestrator.cut_off;
            let held = self.orchestrator.clock.wall(self.now).since(switch.started);
            assert!(!undecided || !has_trouble, "writes are held for an agent that has trouble: {switch:?}");
            assert!(!undecided || held < Limits::default().switch_deadline, "held for {held:?}: {switch:?}");
        }
        let Some((before, after)) = moved else { return };
        if before.switch.is_none() && after.switch.is_some() {
            let waits = busy.is_some_and(|agent| agent.report.epoch == before.epoch);
            assert!(!waits, "everybody's writes would be held for an old transaction");
        }
        self.look_at_transition(capability, &before, &after);
    }

    fn look_at_transition(&mut self, capability: usize, before: &State, after: &State) {
        let stage = |state: &State| state.switch.as_ref().map(|switch| switch.stage);
        let (was, is) = (stage(before), stage(after));
        if let Some(stage) = is.filter(|_| was != is) {
            *self.stages.entry(stage).or_default() += 1;
        }
        let [owner, other] = [after.owner, after.owner.other()].map(|side| &self.databases[capability][side as usize]);
        match (was, is) {
            (Some(Stage::Drain), Some(Stage::FenceDatabase)) => {
                assert!(!other.letting && other.strays.is_empty(), "what strangers wrote comes after the end: {:?}", other.strays);
                self.nothing_is_under_way(capability);
            }
            (Some(Stage::FenceDatabase), Some(Stage::CatchUp)) => assert!(owner.fenced, "the log has no end: its database is open"),
            (Some(Stage::CatchUp), Some(Stage::Verify)) => assert_eq!(other.applied, owner.log.len(), "caught up before the end"),
            (Some(Stage::Open), Some(Stage::Release)) => assert!(!owner.fenced, "what was held is released into a fence"),
            (Some(Stage::Lift), None) => {
                let lifted = before.switch.as_ref().map(|switch| self.orchestrator.clock.wall(self.now).since(switch.since));
                let given_up = lifted >= Some(Limits::default().lift);
                let said = self.orchestrator.observe(capability, self.now).agent;
                let is_known = said.is_some_and(|agent| agent.report.fenced.of(after.owner));
                assert!(!owner.fenced || given_up && !is_known, "what was held is released into a fence that was not lifted");
            }
            _ => {}
        }
        self.aborts += usize::from(after.aborted.is_some() && after.aborted != before.aborted);
        assert!(after.floor >= before.floor, "a floor went back");
        if after.owner == before.owner {
            assert_eq!(after.epoch, before.epoch, "the epoch grows with the owner");
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
            assert!(matches!(is, None | Some(Stage::Release)) || was == is, "only forward: {was:?} to {is:?}");
        }
    }

    /// Behind a fence that every gateway has which is reckoned with: what those had sent that were cut off for long, their
    /// database decides about.
    fn nothing_is_under_way(&self, capability: usize) {
        let (seen, wall) = (self.orchestrator.observe(capability, self.now), self.orchestrator.clock.wall(self.now));
        for counting in seen.counting(wall) {
            let gateway = self.gateways.iter().find(|gateway| gateway.name == counting.name).expect("only these report");
            assert_eq!(gateway.under_way(capability).count(), 0, "{} is not drained", gateway.name);
        }
    }

    /// What must be true after every single event.
    fn check(&self) {
        for capability in 0..CAPABILITIES {
            let state = self.orchestrator.state(capability);
            if matches!(state.phase, Phase::Draft | Phase::Backfilling | Phase::Retired) {
                continue;
            }
            assert!(self.databases[capability].iter().any(|database| database.fenced), "two writable databases: {state:?}");
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

    /// Nothing fails from here on: everybody is well, and what is on its way arrives.
    pub(super) fn calm(&mut self) {
        (self.friendly, self.calm) = (true, true);
        for agent in &mut self.agents {
            (agent.asleep, agent.stuck) = (false, [false; 8]);
            (0..CAPABILITIES).for_each(|capability| agent.complain(capability, None, None));
        }
        self.gateways.iter_mut().for_each(|gateway| gateway.cut_off = false);
        (self.orchestrator.cut_off, self.former) = (false, None);
        self.clear_strangers();
        while !self.orphans.is_empty() {
            self.orphan_arrives();
        }
    }

    /// From here on, nobody's write of a capability may be refused by a fence.
    pub(super) fn count_refused(&mut self, capability: usize) {
        self.refused[capability] = 0;
    }

    pub(super) fn nobody_was_refused(&self, capability: usize) {
        assert_eq!(self.refused[capability], 0, "writes were sent into a fence, and their callers saw it");
    }

    pub(super) fn until(&mut self, capability: usize, what: &str, wish: Option<Wish>, done: impl Fn(&State) -> bool) {
        for round in 0..80_000 {
            let state = self.orchestrator.state(capability);
            if done(state) {
                return;
            }
            if round % 500 == 0
                && state.switch.is_none()
                && let Some(wish) = wish.clone()
            {
                self.reconcile(capability, &Event::Wish(Wish::Release(None)));
                self.reconcile(capability, &Event::Wish(Wish::Approve));
                if self.databases[capability][0].strays.iter().any(|stray| stray.passed) {
                    self.reconcile(capability, &Event::Wish(Wish::Repair));
                }
                self.reconcile(capability, &Event::Wish(wish));
            }
            self.stir();
        }
        panic!("never: {what}; {:?}", self.orchestrator.state(capability));
    }

    /// The streams come to rest, the owner's database is open, and both sides hold what was written last.
    pub(super) fn settle(&mut self, capability: usize) {
        for _ in 0..20_000 {
            let [legacy, modern] = &self.databases[capability];
            // An abort that was given up may have left its fence to an agent that had other troubles.
            let open = !self.databases[capability][self.orchestrator.state(capability).owner as usize].fenced;
            let carried = legacy.strays.iter().all(|stray| stray.passed);
            let quiet = open && carried && self.gateways.iter().all(|gateway| gateway.under_way(capability).count() == 0);
            if quiet && modern.applied == legacy.log.len() && legacy.applied == modern.log.len() {
                return self.ledger.settle(capability, &self.databases[capability]);
            }
            // Time goes on: a leader whose lease ended just now gives nobody orders until it has another one.
            self.now += 1;
            self.elect();
            (0..self.gateways.len()).for_each(|gateway| self.poll(gateway));
            self.agent_works(capability);
            self.deliver();
            (0..self.gateways.len()).for_each(|gateway| self.upstream_answers(gateway));
        }
        panic!("never equal");
    }
}
