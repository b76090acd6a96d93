//! An agent's process: it obeys the newest orders that it has, and remembers what it did until it dies.

use super::CAPABILITIES;
use super::chance::Clock;
use super::database::{Database, KEYS, Stray};
use crate::Side;
use crate::wire::{
    AgentReport, Backfill, CapabilityOrders, CapabilityReport, EndReport, Fences, RepairReport, Strays, StreamReport, SyncOrder,
    TableVerified, VerifyReport,
};

/// Orders for every capability, with their generation.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Orders {
    pub(super) generation: u64,
    pub(super) of: [Option<CapabilityOrders>; CAPABILITIES],
}

/// What an answer with orders is an answer to: whose question, and the turns that it had then.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Asked {
    incarnation: u64,
    turns: [Option<[u64; 2]>; CAPABILITIES],
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Agent {
    name: String,
    clock: Clock,
    incarnation: u64,
    serial: u64,
    pub(super) orders: Orders,
    /// It stands still: paused, or its machine swaps. Nothing reaches it.
    pub(super) asleep: bool,
    /// It works by what it was told last, and neither hears nor reports.
    pub(super) cut_off: bool,
    /// What waits for a lock in a database, by its place in [`Agent::ALL`].
    pub(super) stuck: [bool; 8],
    memory: [Memory; CAPABILITIES],
}

/// What it knows of a capability.
#[derive(Debug, Clone, Default, PartialEq)]
struct Memory {
    /// Orders were asked for after that, and came: no other agent has carried out newer ones.
    newest: bool,
    /// Its turns at the databases, once it has claimed them.
    turns: Option<[u64; 2]>,
    /// Those that it had claimed when a database went: it goes on from them, if nobody came between.
    held: Option<[u64; 2]>,
    superseded: bool,
    /// A database does not answer.
    is_away: bool,
    /// What it carries out: newer orders are looked at when something is done.
    carries: Option<(u64, CapabilityOrders)>,
    report: CapabilityReport,
    end: Option<(u64, Side, usize)>,
    repairing: Option<Repair>,
}

/// So many times it goes on before it asks for a row.
const PACE: usize = 16;

/// The rows of whoever owned when it began are asked for, one after the other. What strangers had written before is decided then.
#[derive(Debug, Clone, PartialEq)]
struct Repair {
    token: u64,
    owner: Side,
    strays: Vec<u64>,
    left: usize,
    /// Where the log ended when the last row was asked for.
    end: Option<usize>,
}

impl Repair {
    fn of(token: u64, owner: Side, legacy: &Database) -> Repair {
        Repair { token, owner, strays: legacy.strays.iter().map(|stray| stray.write.id).collect(), left: KEYS * PACE, end: None }
    }

    /// A little more; `true`: all are on the other side.
    fn go_on(&mut self, owner: &mut Database, other: &Database) -> bool {
        if let Some(left) = self.left.checked_sub(1) {
            self.left = left;
            if left.is_multiple_of(PACE) {
                owner.touch(left / PACE);
            }
        } else {
            self.end.get_or_insert(owner.log.len());
        }
        self.end.is_some_and(|end| other.applied >= end)
    }
}

/// What an agent may do next; [`Agent::ALL`] has them in the order of a friendly day.
#[derive(Debug, Clone, Copy)]
pub(super) enum Task {
    FenceLegacy,
    FenceModern,
    Copy,
    Forward,
    Reverse,
    MarkEnd,
    /// Sequences, a repair, what strangers wrote.
    Errands,
    Verify,
}

impl Task {
    /// It lags where streams are slow: what it does is behind everything that was written before.
    pub(super) fn lags(self) -> bool {
        matches!(self, Task::Forward | Task::Reverse | Task::MarkEnd)
    }
}

impl Agent {
    pub(super) const ALL: [Task; 8] =
        [Task::FenceLegacy, Task::FenceModern, Task::Copy, Task::Forward, Task::Reverse, Task::MarkEnd, Task::Errands, Task::Verify];

    pub(super) fn new(name: String, clock: Clock, now: u64) -> Agent {
        let incarnation = clock.wall(now).0;
        Agent {
            name,
            clock,
            incarnation,
            serial: 0,
            orders: Orders::default(),
            asleep: false,
            cut_off: false,
            stuck: [false; 8],
            memory: Default::default(),
        }
    }

    pub(super) fn restart(&mut self, now: u64) {
        *self = Agent { cut_off: self.cut_off, ..Agent::new(self.name.clone(), self.clock.clone(), now) };
    }

    /// A question for orders.
    pub(super) fn ask(&self) -> Asked {
        Asked { incarnation: self.incarnation, turns: std::array::from_fn(|capability| self.memory[capability].turns) }
    }

    /// The answer. Nobody listens to one that a process before this one asked for.
    pub(super) fn take(&mut self, asked: &Asked, orders: &Orders) {
        if self.asleep || self.cut_off || asked.incarnation != self.incarnation {
            return;
        }
        if orders.generation > self.orders.generation {
            self.orders = orders.clone();
        }
        for (memory, turns) in self.memory.iter_mut().zip(asked.turns) {
            let had = turns.is_some() && turns == memory.turns;
            memory.newest |= had;
        }
    }

    /// Says of a capability what an operator would have to see to.
    pub(super) fn complain(&mut self, capability: usize, trouble: Option<&str>, busy: Option<&str>) {
        let memory = &mut self.memory[capability];
        if !memory.superseded {
            memory.report.trouble = trouble.map(str::to_owned);
        }
        (memory.report.busy, memory.report.busy_ends) = (busy.map(str::to_owned), busy.is_some());
    }

    pub(super) fn work(&mut self, capability: usize, task: usize, databases: &mut [Database; 2], now: u64) {
        let Some(newest) = self.orders.of[capability].clone().filter(|_| !self.asleep && !self.stuck[task]) else { return };
        let task = Agent::ALL[task];
        let wall = self.clock.wall(now);
        let memory = &mut self.memory[capability];
        let newest = (self.orders.generation, newest);
        let (generation, orders) = memory.carries.replace(newest.clone()).unwrap_or(newest);
        if memory.report.generation.is_none() {
            memory.report.generation = Some(0);
        }
        if memory.superseded {
            return;
        }
        if databases.iter().any(|database| database.is_away(now)) {
            memory.lose();
            memory.open_alone(generation, &orders, databases, now);
            return;
        }
        memory.is_away = false;
        match memory.work(&orders, task, databases, wall) {
            Worked::Done => {}
            // Newer orders come; nothing of these is carried out.
            Worked::Outdated => return,
            Worked::Superseded => {
                memory.superseded = true;
                memory.report.trouble = Some("another agent has taken over".to_owned());
                return;
            }
        }
        let fences = Fences { legacy: databases[0].fenced, modern: databases[1].fenced };
        if fences == orders.fenced && databases[0].letting == lets(&orders) {
            memory.report.generation = Some(generation);
        }
    }

    pub(super) fn report(&mut self, databases: &[[Database; 2]; CAPABILITIES]) -> Option<AgentReport> {
        if self.asleep || self.cut_off {
            return None;
        }
        self.serial += 1;
        let ordered = (0..CAPABILITIES).filter(|capability| self.orders.of[*capability].is_some());
        let capabilities = ordered.map(|capability| (super::name_of(capability), self.memory[capability].said(&databases[capability])));
        Some(AgentReport {
            agent: self.name.clone(),
            incarnation: self.incarnation,
            serial: self.serial,
            generation: self.orders.generation,
            capabilities: capabilities.collect(),
        })
    }
}

/// Strangers may write to legacy.
fn lets(orders: &CapabilityOrders) -> bool {
    orders.strays.lets_in() && orders.owner == Side::Modern && orders.fenced.legacy
}

/// What came of a task.
enum Worked {
    Done,
    /// It is another agent's turn.
    Superseded,
    /// Newer orders than these have been carried out.
    Outdated,
}

impl Worked {
    fn of_turn(mine: bool) -> Worked {
        if mine { Worked::Done } else { Worked::Superseded }
    }
}

impl Memory {
    /// What it had begun with a database that has gone is over: it begins anew once both answer, and takes the next turns.
    fn lose(&mut self) {
        self.is_away = true;
        self.held = self.turns.take().or(self.held);
        (self.newest, self.carries) = (false, None);
    }

    /// The owner's fence, which nobody is to wait behind until the other side's database is back.
    fn open_alone(&mut self, generation: u64, orders: &CapabilityOrders, databases: &mut [Database; 2], now: u64) {
        let side = orders.owner as usize;
        let (database, Some(held)) = (&mut databases[side], self.held.as_mut()) else { return };
        // Or it was just done, and nobody has heard of it.
        let done = self.report.fenced == orders.fenced && self.report.generation != Some(generation);
        let stuck = orders.sync == SyncOrder::Run && !orders.fenced.of(orders.owner) && (self.report.fenced.of(orders.owner) || done);
        if database.is_away(now) || !stuck || database.epoch > orders.epoch || database.turn != held[side] {
            return;
        }
        database.turn += 1;
        (held[side], database.epoch, database.fenced) = (database.turn, orders.epoch, false);
        match orders.owner {
            Side::Legacy => self.report.fenced.legacy = false,
            Side::Modern => self.report.fenced.modern = false,
        }
        (self.report.epoch, self.report.generation) = (orders.epoch, Some(generation));
    }

    /// One thing that the orders ask for.
    fn work(&mut self, orders: &CapabilityOrders, task: Task, databases: &mut [Database; 2], wall: crate::Timestamp) -> Worked {
        let claim = |databases: &mut [Database; 2]| {
            databases.iter_mut().for_each(|database| database.turn += 1);
            [databases[0].turn, databases[1].turn]
        };
        if self.turns.is_none() && self.held.is_some_and(|held| held != [databases[0].turn, databases[1].turn]) {
            return Worked::Superseded;
        }
        let turns = *self.turns.get_or_insert_with(|| claim(databases));
        // An orchestrator that is behind ordered it; or it was on its way for long.
        if !self.newest || databases.iter().any(|database| database.epoch > orders.epoch) {
            return Worked::Outdated;
        }
        for (side, database) in Side::BOTH.into_iter().zip(databases.iter_mut()) {
            // One that was left while it was lost may be open: that is the first thing to be done.
            let left_open = turns[side as usize] == database.turn && database.epoch < orders.epoch && side != orders.owner;
            database.fenced |= left_open && orders.fenced.of(side) && !database.letting;
            database.epoch = orders.epoch;
        }
        if self.report.epoch != orders.epoch {
            // It was said of another owner.
            self.report.busy = None;
        }
        self.report.epoch = orders.epoch;
        let [legacy, modern] = databases;
        let mine = turns == [legacy.turn, modern.turn];
        if orders.sync == SyncOrder::Remove {
            (legacy.fenced, modern.fenced, legacy.letting) = (false, false, false);
            self.report =
                CapabilityReport { epoch: orders.epoch, generation: self.report.generation, removed: true, ..CapabilityReport::default() };
            return Worked::Done;
        }
        self.report.backfill = Backfill { done: 1, total: 1, complete: modern.copied, ..Backfill::default() };
        match task {
            Task::FenceLegacy if mine => (legacy.fenced, legacy.letting) = (orders.fenced.legacy, lets(orders)),
            Task::FenceModern if mine => {
                if orders.end_sessions {
                    self.report.busy = None;
                }
                let waits = orders.owner == Side::Modern && orders.fenced.modern && self.report.busy.is_some();
                modern.fenced = orders.fenced.modern && (modern.fenced || !waits);
            }
            Task::FenceLegacy | Task::FenceModern => return Worked::Superseded,
            // Under the snapshot of the log's end; the fence of the copy stands before its first row.
            Task::Copy if mine && orders.may_copy && modern.fenced && !modern.copied => {
                modern.rows.clone_from(&legacy.rows);
                modern.history.clone_from(&legacy.history);
                (modern.applied, legacy.applied, modern.copied) = (legacy.log.len(), modern.log.len(), true);
            }
            Task::Copy => {}
            Task::Forward if modern.copied => return Worked::of_turn(modern.apply(turns[1], legacy, 6)),
            Task::Reverse if modern.copied => return Worked::of_turn(legacy.apply(turns[0], modern, 6)),
            Task::Forward | Task::Reverse => {}
            Task::MarkEnd => {
                let known = |token| self.end.is_some_and(|(known, ..)| known == token);
                if let Some(wish) = orders.mark_end.filter(|wish| self.report.fenced == orders.fenced && !known(wish.token)) {
                    let end = if wish.side == Side::Legacy { legacy.log.len() } else { modern.log.len() };
                    self.end = Some((wish.token, wish.side, end));
                }
            }
            Task::Errands if !mine && (!legacy.strays.is_empty() || orders.repair.is_some()) => return Worked::Superseded,
            Task::Errands => {
                if orders.raise_sequences.is_some() {
                    let highest = legacy.rows.values().chain(modern.rows.values()).max().copied().unwrap_or_default();
                    (legacy.sequence, modern.sequence) = (highest, highest);
                    self.report.sequences_raised = orders.raise_sequences;
                }
                if orders.carry_strays && orders.owner == Side::Modern && !orders.fenced.modern {
                    carry(legacy, modern);
                }
                // One that is not wished any more is left where it is.
                if self.repairing.as_ref().map(|repair| repair.token) != orders.repair {
                    self.repairing = orders.repair.map(|token| Repair::of(token, orders.owner, legacy));
                }
                if let Some(repair) = self.repairing.as_mut().filter(|_| modern.copied) {
                    let done = match repair.owner {
                        Side::Legacy => repair.go_on(legacy, modern),
                        Side::Modern => repair.go_on(modern, legacy),
                    };
                    if done {
                        legacy.strays.retain(|stray| !repair.strays.contains(&stray.write.id));
                    }
                    self.report.repaired = Some(RepairReport { token: repair.token, done, rows: 0 });
                }
            }
            Task::Verify => {
                let applied = modern.applied == legacy.log.len() && legacy.applied == modern.log.len();
                if let Some(wish) = orders.verify.filter(|_| applied && modern.copied) {
                    let differ = (0..KEYS).filter(|key| legacy.rows.get(key) != modern.rows.get(key)).count() as u64;
                    let table = TableVerified {
                        legacy: String::new(),
                        modern: String::new(),
                        legacy_rows: 0,
                        modern_rows: 0,
                        drift_rows: differ,
                        legacy_root: String::new(),
                        modern_root: String::new(),
                        samples: vec![],
                    };
                    self.report.verified = Some(VerifyReport { token: wish.token, done: true, at: wall, tables: vec![table] });
                }
            }
        }
        self.report.fenced = Fences { legacy: legacy.fenced && !legacy.letting, modern: modern.fenced };
        Worked::Done
    }

    fn said(&self, [legacy, modern]: &[Database; 2]) -> CapabilityReport {
        let live = self.turns.is_some() && !self.superseded && !self.is_away && self.report.backfill.complete;
        let stream = StreamReport { live, ..StreamReport::default() };
        let reached = |side, end| if side == Side::Legacy { modern.applied >= end } else { legacy.applied >= end };
        CapabilityReport {
            forward: stream.clone(),
            reverse: stream,
            strays: told(legacy).into_iter().collect(),
            end: self.end.map(|(token, side, end)| EndReport { token, position: end.to_string(), reached: reached(side, end) }),
            trouble: self.report.trouble.clone().or_else(|| self.is_away.then(|| "a database does not answer".to_owned())),
            ..self.report.clone()
        }
    }
}

/// The oldest: written to modern first, and settled when it is known to be there.
fn carry(legacy: &mut Database, modern: &mut Database) {
    let Some(at) = legacy.strays.iter().position(|stray| !stray.passed) else { return };
    let Stray { write, was, .. } = legacy.strays[at];
    if modern.carried == Some(write.id) {
        legacy.strays.remove(at);
    } else if modern.rows.get(&write.key).copied() == was {
        modern.bring(write, was);
    } else {
        legacy.strays[at].passed = true;
    }
}

fn told(legacy: &Database) -> Option<Strays> {
    let untried = legacy.strays.iter().filter(|stray| !stray.passed).count() as u64;
    let (side, unsettled) = (Side::Legacy, legacy.strays.len() as u64);
    let (writers, wrote, tables) = (Vec::new(), Vec::new(), std::collections::BTreeMap::new());
    (legacy.let_in > 0).then_some(Strays { side, refused: 0, writers, reported: legacy.let_in, unsettled, untried, wrote, tables })
}
