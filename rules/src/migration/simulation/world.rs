//! The world: who is in it, and what may happen to them.

mod leaders;
mod mishaps;

use std::collections::BTreeMap;
use std::time::Duration;

use super::agent::{Agent, Asked, Orders};
use super::chance::{Chance, Clock};
use super::database::{Database, KEYS, Ledger, Write};
use super::gateway::{Admitted, Gateway};
use super::orchestrator::{LEASE, Orchestrator};
use super::store::{Put, Store};
use super::{CAPABILITIES, Published, name_of};
use crate::lease::{BELIEVED, Said};
use crate::migration::advance::{Event, Wish};
use crate::migration::{Phase, Stage, State, desired, tests};
use crate::plan::{StepAction, StrayWrites};
use crate::time::Steady;
use crate::wire::AgentReport;
use crate::{Share, Side};

/// The events of [`World::stir`] that do not happen in every world.
const MISFORTUNES: std::ops::Range<usize> = 77..91;

#[allow(clippy::large_enum_variant, reason = "a model's messages: few of them, and their size does not matter")]
#[derive(Debug, Clone, PartialEq)]
enum Message {
    Publish(usize, Published),
    Report { gateway: usize, said: Said, inflight: [u64; CAPABILITIES] },
    Answer { gateway: usize, order: (u64, u64), generation: u64, valid_for: Duration },
    Orders(usize, Asked, Orders),
    AgentReport(AgentReport),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct World {
    chance: Chance,
    /// Milliseconds since the world began.
    pub(super) now: u64,
    store: Store,
    /// Writes that arrive in the store after their writers have given them up, and when.
    late: Vec<(u64, Put)>,
    /// Some writes fail in this world, of some the answer is lost, and some arrive late.
    store_fails: bool,
    /// Who leads.
    orchestrator: Orchestrator,
    /// Who led before, still answers whom it reaches, and tries what it thinks that a leader should.
    former: Option<Orchestrator>,
    /// The clock of whoever grants leases, and when by it the leader's ends.
    grantor: Clock,
    lease_ends: Steady,
    /// Since when the leader's process runs, and the switch of each capability and its stage do, by this world's clock.
    leads_since: u64,
    pub(super) began: [[u64; 2]; CAPABILITIES],
    /// A question for another lease: when it was asked, and whether it was heard.
    renewal: Option<(Steady, bool)>,
    /// Leaders are cut off from the store in this world; gateways are given what another orchestrator's gateway kept.
    elections: bool,
    strangers: bool,
    /// The last gateway begins together with a leader that is cut off, and beside everybody else.
    newcomers: bool,
    pub(super) gateways: Vec<Gateway>,
    agents: Vec<Agent>,
    pub(super) databases: [[Database; 2]; CAPABILITIES],
    pub(super) ledger: Ledger,
    /// On their way since.
    messages: Vec<(u64, Message)>,
    /// Sent by a gateway that is dead: carried out at some time, or never. Nobody hears of it.
    orphans: Vec<(Side, Write)>,
    /// Which misfortunes happen in this world, by their places in [`World::stir`]: with few of them, switches get far.
    happens: [bool; MISFORTUNES.end - MISFORTUNES.start],
    /// Messages overtake each other, and agents do things in any order; but not always.
    disorder: bool,
    /// What becomes of each capability's writers past the gateways.
    pub(super) strays: [StrayWrites; CAPABILITIES],
    /// The capabilities join each other's tables.
    related: bool,
    /// A gate looks at errors of the new services, and whose do fail.
    gated: bool,
    failing: [bool; CAPABILITIES],
    /// Those that fail answer no write, either.
    hangs: bool,
    /// Somebody wishes the end of legacy's part in the middle of it all.
    retires: bool,
    /// Gateways that have acknowledged a fence restart while that is on its way.
    overtakes: bool,
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
    /// Those that were taken back, since the new owner's database did not open.
    pub(super) flips_back: usize,
    pub(super) aborts: usize,
    /// Writes of each capability that the gateways sent and a fence refused: their callers saw it.
    pub(super) refused: [usize; CAPABILITIES],
}

impl World {
    pub(super) fn new(seed: u64) -> World {
        let mut chance = Chance(seed);
        let (happens, disorder) = (std::array::from_fn(|_| chance.one_in(2)), chance.one_in(2));
        let (slow, detour) = ([1, 1, 4, 8][chance.below(4)], [0, 0, 300, 3_000][chance.below(4)]);
        let now = 1_000_000;
        // By a chance of their own: worlds without them are what they are without it.
        let mut more = Chance(!seed ^ 0x57);
        let mode = |drawn| [StrayWrites::Forward, StrayWrites::Refuse, StrayWrites::Report][drawn];
        let strays = [more.below(3), Chance(!seed ^ 0x58).below(3)].map(mode);
        let (gated, related) = (more.one_in(2), more.one_in(4));
        let (retires, overtakes) = (more.one_in(6), more.one_in(3));
        let plans: [_; CAPABILITIES] = std::array::from_fn(|capability| {
            let mut plan = tests::plan();
            plan.name = name_of(capability);
            (plan.gates.shadow, plan.strays) = (None, strays[capability]);
            plan.gates.errors = plan.gates.errors.filter(|_| gated);
            if capability > 0 && related {
                plan.depends_on.push(name_of(0));
            }
            if let Some(soak) = plan.steps.last_mut() {
                soak.action = StepAction::Soak(Duration::from_secs(1));
            }
            plan
        });
        let gateways = (0..3).map(|at| Gateway::new(format!("gw-{at}"), Clock::new(&mut chance))).collect();
        let agents = (0..2).map(|at| Agent::new(format!("agent-{at}"), Clock::new(&mut chance), now)).collect();
        let (grantor, clock) = (Clock::new(&mut chance), Clock::new(&mut chance));
        let mut store = Store::new(std::array::from_fn(|capability| State::draft(&name_of(capability), clock.wall(now))));
        let mut world = World {
            orchestrator: Orchestrator::begin(clock, plans, &mut store, now),
            store,
            late: Vec::new(),
            store_fails: more.one_in(2),
            former: None,
            lease_ends: grantor.steady(now).plus(LEASE),
            grantor,
            leads_since: now,
            began: [[now; 2]; CAPABILITIES],
            renewal: None,
            elections: chance.one_in(5),
            strangers: chance.one_in(6),
            newcomers: more.one_in(2),
            chance,
            now,
            gateways,
            agents,
            databases: Default::default(),
            ledger: Ledger::default(),
            messages: Vec::new(),
            orphans: Vec::new(),
            happens,
            strays,
            related,
            gated,
            failing: [false; CAPABILITIES],
            hangs: Chance(!seed ^ 0x59).one_in(3),
            retires,
            overtakes,
            disorder,
            slow,
            detour,
            detours: Vec::new(),
            friendly: !disorder,
            calm: false,
            stages: BTreeMap::new(),
            flips: 0,
            flips_back: 0,
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

    /// What is written of a capability, whoever knows of it.
    pub(super) fn state(&self, capability: usize) -> &State {
        self.store.state(capability)
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
        let event = self.chance.below(if self.calm { 74 } else { 97 });
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
            69..74 => {
                (0..CAPABILITIES).for_each(|capability| self.reconcile(capability, &Event::Tick));
                (0..CAPABILITIES).for_each(|capability| self.former_reconciles(capability));
            }
            74..77 => self.agent_works(capability),
            77 => self.agent_waits(),
            78 => self.now += 200 + self.chance.below(2_000) as u64,
            79 => self.cut_or_connect(gateway),
            80 => self.restart_gateway(gateway),
            81 if self.chance.one_in(8) => self.restart_agent(),
            // One that does not reach its store cannot begin.
            82 if !self.orchestrator.cut_off && self.chance.one_in(3) => self.restart_leader(),
            83 => self.set_clock(),
            84 => self.complain(capability),
            85 => self.agent_falls_asleep(),
            86..88 => self.lose_or_double(),
            88 => self.cut_or_connect_agent(),
            89 => self.database_goes_away(capability),
            90 => self.service_fails(capability),
            91 => self.agents.iter_mut().for_each(|agent| agent.complain(capability, None, None)),
            92..96 => self.wish_something(capability),
            _ if self.elections => self.cut_off_leader(),
            _ if self.strangers => self.clear_strangers(),
            _ => {}
        }
        self.elect();
        self.orphan_arrives();
        self.late_write_arrives();
        self.check();
    }

    fn wish_something(&mut self, capability: usize) {
        let switching = self.state(capability).switch.is_some();
        let wish = match self.chance.below(14) {
            0..3 => Wish::Advance,
            3..6 => Wish::Cutover,
            6 if self.chance.one_in(6) => Wish::Abort,
            7 if !switching || self.chance.one_in(6) => Wish::Revert,
            8 if self.chance.one_in(3) => Wish::Hold("because".into()),
            // It lasts, and a cutover waits for it.
            9 if self.chance.one_in(6) => Wish::Repair,
            10..12 => Wish::Approve,
            12 if self.retires && self.chance.one_in(3) => Wish::Retire,
            _ => Wish::Release(None),
        };
        self.reconcile(capability, &Event::Wish(wish));
    }

    fn gateway_reports(&mut self, gateway: usize) {
        let Some((said, inflight)) = self.gateways[gateway].report(self.now) else { return };
        let report = Message::Report { gateway, said, inflight };
        let acknowledges = self.gateways[gateway].published.serving.iter().any(|serving| serving.fenced);
        if self.overtakes && !self.calm && acknowledges && self.chance.one_in(16) {
            // What it says next overtakes that.
            let until = self.now + self.chance.below(1_500) as u64;
            self.detours.push((until, (self.now, report)));
            return self.restart_gateway(gateway);
        }
        self.send(report);
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
        let (side, write) = self.gateways[gateway].inflight[at];
        if self.hangs && side == Side::Modern && self.failing[write.capability] {
            return;
        }
        self.gateways[gateway].inflight.swap_remove(at);
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
        // A way back that nobody types is tried a few times only, and what such a job writes may spoil each: here it stops.
        if self.calm && self.failing[capability] {
            return;
        }
        // What such a job writes is reported so that somebody ends it: before that nothing reverts or retires.
        if self.calm && self.strays[capability] == StrayWrites::Report {
            return;
        }
        let side = Side::BOTH[self.chance.below(2)];
        let state = self.state(capability);
        // Of an owner that may be left again: the agent goes on only after somebody has looked at such rows.
        if state.switch.as_ref().is_some_and(|switch| switch.stage == Stage::Open) {
            return;
        }
        if state.phase != Phase::Retired && (side == Side::Legacy || self.databases[capability][1].fenced) {
            let write = self.ledger.ask(capability, self.chance.below(KEYS));
            self.carry_out(side, write);
        }
    }

    fn carry_out(&mut self, side: Side, write: Write) -> bool {
        // What was sent to legacy before its part was over has ended long ago.
        if side == Side::Legacy && self.state(write.capability).phase == Phase::Retired {
            return false;
        }
        let database = &mut self.databases[write.capability][side as usize];
        if database.is_away(self.now) {
            return false;
        }
        let (done, letting) = (database.write(write), database.letting);
        let state = self.state(write.capability);
        if done && letting {
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
                    self.look_at_strays(capability);
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
        let (reached, _) = self.reached_by(gateway);
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
                    let (reached, store) = self.reached_by(gateway);
                    if let Some(valid_for) = reached.hear_gateway(store, &name, said, inflight, now) {
                        let generation = reached.published().generation;
                        self.send(Message::Answer { gateway, order: said.order, generation, valid_for });
                    }
                }
            }
            Message::Answer { gateway, order, generation, valid_for } => self.gateways[gateway].answered(order, generation, valid_for),
            Message::Orders(at, asked, orders) => self.agents[at].take(&asked, &orders),
            Message::AgentReport(report) => {
                let now = self.now;
                self.reached().0.hear_agent(report, now);
            }
        }
    }

    /// Nothing fails from here on: everybody is well, and what is on its way arrives.
    pub(super) fn calm(&mut self) {
        (self.friendly, self.calm, self.failing) = (true, true, [false; CAPABILITIES]);
        for agent in &mut self.agents {
            (agent.asleep, agent.cut_off, agent.stuck) = (false, false, [false; 8]);
            (0..CAPABILITIES).for_each(|capability| agent.complain(capability, None, None));
        }
        self.databases.iter_mut().flatten().for_each(|database| database.away_until = 0);
        self.gateways.iter_mut().for_each(|gateway| (gateway.cut_off, gateway.aside) = (false, false));
        (self.orchestrator.cut_off, self.former) = (false, None);
        for (_, put) in &std::mem::take(&mut self.late) {
            self.arrives_in_store(put);
        }
        self.clear_strangers();
        while !self.orphans.is_empty() {
            self.orphan_arrives();
        }
    }

    /// Somebody wishes the end of legacy's part, though those whose tables it joins may not have moved.
    pub(super) fn is_wished_away(&mut self, capability: usize) {
        if self.related && !(0..CAPABILITIES).all(|other| self.state(other).phase == Phase::Soaking) {
            self.now += 1_000;
            self.reconcile(capability, &Event::Wish(Wish::Retire));
        }
    }

    /// Somebody has written to modern, and does not end: on the way back nobody waits for that.
    pub(super) fn stays_open(&mut self, capability: usize) {
        self.agents.iter_mut().for_each(|agent| agent.complain(capability, None, Some("pid 7 has a transaction open")));
    }

    /// Its new service fails, and nobody types anything, but to decide about what strangers wrote.
    pub(super) fn fails_until_it_is_left(&mut self, capability: usize) {
        self.failing[capability] = self.gated;
        if self.gated {
            self.stays_open(capability);
            self.until(capability, "a failing service is left", None, |s| s.phase == Phase::Reverted);
            self.goes_on_too_late(capability);
        }
        self.failing[capability] = false;
    }

    /// What a service that was left had not answered is carried out in the end: into a fence, and its callers see that.
    fn goes_on_too_late(&mut self, capability: usize) {
        let hung = |(side, write): &mut (Side, Write)| *side == Side::Modern && write.capability == capability;
        let writes: Vec<_> = self.gateways.iter_mut().flat_map(|gateway| gateway.inflight.extract_if(.., hung)).collect();
        for (side, write) in writes {
            assert!(!self.carry_out(side, write), "modern takes {write:?} after it was left");
        }
    }

    /// The new owner's database is lost in the moment in which it should open: whoever writes is let write to the old one. Then somebody
    /// puts it back as it was.
    pub(super) fn loses_the_new_owner(&mut self, capability: usize) {
        let opens = |state: &State| state.switch.as_ref().is_some_and(|switch| switch.stage == Stage::Open);
        let done = |state: &State| opens(state) || state.phase == Phase::Soaking;
        self.until(capability, "a cutover that flips", Some(Wish::Cutover), done);
        let epoch = self.state(capability).epoch;
        self.databases[capability][1].away_until = u64::MAX;
        let is_over = |state: &State| state.switch.is_none();
        self.until(capability, "an end, one way or the other", None, is_over);
        let state = self.state(capability);
        if state.owner == Side::Legacy {
            assert_eq!(state.epoch, epoch + 1, "it was taken back");
            for event in 0.. {
                assert!(event < 20_000, "nobody may write: {:?}", self.state(capability));
                if !self.databases[capability][0].fenced
                    && self.gateways.iter().any(|gateway| gateway.forwards_to(capability, self.now) == Some(Side::Legacy))
                {
                    break;
                }
                self.stir();
            }
        }
        self.databases[capability][1].away_until = 0;
        self.settle(capability);
    }

    /// Whatever was under way, somebody wants legacy to have everything back, and it has: nothing is held, and nobody reads from modern.
    pub(super) fn goes_back(&mut self, capability: usize) {
        let plan = self.orchestrator.plan(capability).clone();
        let is_back = |state: &State| {
            let serving = desired::serving(state, &plan);
            (serving.owner, serving.reads, serving.fenced) == (Side::Legacy, Share::NONE, false) && state.switch.is_none()
        };
        self.reconcile(capability, &Event::Wish(Wish::Revert));
        self.until(capability, "a way back", Some(Wish::Revert), is_back);
        if !matches!(self.state(capability).phase, Phase::Draft | Phase::Backfilling) {
            self.settle(capability);
        }
    }

    /// Somebody has every row looked at, and does not wait for its end.
    pub(super) fn is_being_repaired(&mut self, capability: usize) {
        self.reconcile(capability, &Event::Wish(Wish::Repair));
        for _ in 0..self.chance.below(400) {
            self.stir();
        }
    }

    /// While modern owns and nothing moves, strangers write where they are let in and carried nowhere; then somebody decides about it.
    pub(super) fn strangers_are_reported(&mut self, capability: usize) {
        if self.strays[capability] != StrayWrites::Report {
            return;
        }
        for event in 0.. {
            assert!(event < 20_000, "nobody is let in: {:?}", self.state(capability));
            let legacy = &self.databases[capability][0];
            if legacy.strays.len() >= 3 {
                break;
            }
            if legacy.letting && self.chance.one_in(8) {
                let write = self.ledger.ask(capability, self.chance.below(KEYS));
                self.carry_out(Side::Legacy, write);
            }
            self.stir();
        }
        self.settle(capability);
    }

    /// Strangers wrote what nobody carries, or nobody could: somebody has to look at it, and does.
    fn decides_about_strangers(&mut self, capability: usize) {
        let nobody_carries = self.strays[capability] != StrayWrites::Forward;
        let undecided = self.databases[capability][0].strays.iter().any(|stray| stray.passed || nobody_carries);
        // What was written since a repair began is for the next one.
        if undecided && (self.state(capability).repair.is_none() || self.chance.one_in(500)) {
            self.reconcile(capability, &Event::Wish(Wish::Repair));
        }
    }

    pub(super) fn until(&mut self, capability: usize, what: &str, wish: Option<Wish>, done: impl Fn(&State) -> bool) {
        for round in 0..80_000 {
            let state = self.state(capability);
            if done(state) {
                return;
            }
            if round % 500 == 0 && state.switch.is_none() {
                self.decides_about_strangers(capability);
                if let Some(wish) = wish.clone() {
                    self.reconcile(capability, &Event::Wish(Wish::Release(None)));
                    self.reconcile(capability, &Event::Wish(Wish::Approve));
                    self.reconcile(capability, &Event::Wish(wish));
                }
            }
            self.stir();
        }
        panic!("never: {what}; {:?}", self.state(capability));
    }

    /// Every wait ends: nothing is held or under way, the streams come to rest, the owner's database is open, and both sides
    /// hold what was written.
    pub(super) fn settle(&mut self, capability: usize) {
        for _ in 0..20_000 {
            let [legacy, modern] = &self.databases[capability];
            // An abort that was given up may have left its fence to an agent that had other troubles.
            let open = !self.databases[capability][self.state(capability).owner as usize].fenced;
            let settled = match self.strays[capability] {
                StrayWrites::Forward => legacy.strays.iter().all(|stray| stray.passed),
                StrayWrites::Refuse | StrayWrites::Report => legacy.strays.is_empty(),
            };
            let quiet = open && settled && self.gateways.iter().all(|gateway| gateway.is_at_rest(capability));
            if quiet && modern.applied == legacy.log.len() && legacy.applied == modern.log.len() {
                return self.ledger.settle(capability, &self.databases[capability]);
            }
            if self.strays[capability] == StrayWrites::Report {
                self.decides_about_strangers(capability);
            }
            // Time goes on: a leader whose lease ended just now gives nobody orders until it has another one.
            self.now += 1;
            self.elect();
            // It may not have heard what became of what it wrote last, and gives out what was before that.
            self.orchestrator.read(&self.store, self.now);
            (0..self.gateways.len()).for_each(|gateway| self.poll(gateway));
            self.agent_works(capability);
            self.deliver();
            (0..self.gateways.len()).for_each(|gateway| self.upstream_answers(gateway));
        }
        panic!("never at rest: {:?}", self.state(capability));
    }
}
