//! What gateways and agents were last seen to do. Lives in memory: after a restart every gateway whose name is stored is
//! taken to be there, working by something old, until it reports or its validity has surely ended.
//!
//! Gives out validities, as [`ficus_rules::lease`] decides. That, and the raising of a floor, happen under one lock: no
//! validity can slip in between "every gateway holds" and its writing down.

mod answers;
mod curve;
mod log_outs;
pub(crate) mod names;
mod window;

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use ficus_rules::api::{AgentStatus, GatewayStatus, Quarantine, TrafficPoint};
use ficus_rules::gate::{Answer, Patience};
use ficus_rules::lease::{self, Leases, Said};
use ficus_rules::log_out::{Heard, LogOut};
use ficus_rules::migration::Phase;
use ficus_rules::migration::observation::{AgentSeen, GatewaySeen, Limits, Observation, TrafficSeen};
use ficus_rules::migration::relations::Relations;
use ficus_rules::plan::{Capability, RuleSet};
use ficus_rules::roster::Roster;
use ficus_rules::time::{Onward, Steady};
use ficus_rules::wire::{AgentReport, CapabilityReport, Freshness, GatewayCapability, GatewayReport, QuarantineReport, Refers, SetAside};
use ficus_rules::{Timestamp, crossing};

use crate::publish::View;
use crate::store::Stored;

use self::curve::Curve;
use self::window::Window;

/// The fleet.
pub(crate) struct Fleet {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    leases: Leases,
    /// Those that have reported.
    gateways: BTreeMap<String, Gateway>,
    roster: Roster,
    /// By agent: the rows that it has set aside, with their values.
    aside: BTreeMap<String, Vec<SetAside>>,
    windows: BTreeMap<String, Window>,
    curves: BTreeMap<String, Curve>,
    answers: answers::Answers,
    lag_beyond_since: BTreeMap<String, Timestamp>,
    log_outs: log_outs::List,
}

struct Gateway {
    reported: Timestamp,
    report: GatewayReport,
}

/// The system's clock, for what is said in hours and days; the only place of this crate that reads it.
pub(crate) fn wall() -> Timestamp {
    Timestamp::from(std::time::SystemTime::now())
}

/// The time of this process, for everything that is waited for: nobody sets it back.
pub(crate) fn now() -> Timestamp {
    hear(wall())
}

/// The same, when somebody has written down that it was `said`.
pub(crate) fn hear(said: Timestamp) -> Timestamp {
    static TIME: LazyLock<Mutex<Onward>> = LazyLock::new(Mutex::default);
    let mut time = TIME.lock().unwrap_or_else(PoisonError::into_inner);
    time.hear(said, steady())
}

/// The clock that validities and leases are measured by: nobody sets it.
pub(crate) fn steady() -> Steady {
    static START: OnceLock<Instant> = OnceLock::new();
    Steady(u64::try_from(START.get_or_init(Instant::now).elapsed().as_millis()).unwrap_or(u64::MAX))
}

/// A moment by both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// By what it is measured how long something lasts that outlives this process.
    pub(crate) time: Timestamp,
    /// By what it is measured how long somebody has been silent.
    pub(crate) steady: Steady,
}

impl Moment {
    /// This one, of which the time was read just now.
    pub(crate) fn at(time: Timestamp) -> Moment {
        Moment { time, steady: steady() }
    }

    /// The time back then.
    fn back_at(self, then: Steady) -> Timestamp {
        self.time.before(self.steady.since(then))
    }
}

impl Fleet {
    /// A fleet of which only names are known.
    pub(crate) fn new(validity: Duration, gateways: Vec<String>) -> Fleet {
        let inner = Inner { leases: Leases::new(validity, gateways, steady()), ..Inner::default() };
        Fleet { inner: Mutex::new(inner) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a gateway's name is stored already.
    fn knows(&self, gateway: &str) -> bool {
        self.inner().leases.knows(gateway)
    }

    /// Takes a report in; `newest`: the newest generation that was published. Returns for how long the gateway may forward
    /// writes from now on.
    fn hear_gateway(&self, report: GatewayReport, newest: u64, now: Timestamp) -> Duration {
        self.inner().hear_gateway(report, newest, now)
    }

    /// The same, unless the gateway's name is not known: then it gives the report back.
    fn hear_known(&self, report: GatewayReport, newest: u64, now: Timestamp) -> Result<Duration, Box<GatewayReport>> {
        let mut inner = self.inner();
        match inner.leases.knows(&report.gateway) {
            true => Ok(inner.hear_gateway(report, newest, now)),
            false => Err(Box::new(report)),
        }
    }
    /// Takes a report in, unless something newer of the same agent is known.
    pub(crate) fn hear_agent(&self, report: AgentReport, now: Steady) {
        self.inner().roster.hear(report, now);
    }

    /// Takes in what a gateway says of log-outs, and gives what it does not know yet.
    pub(crate) fn hear_log_outs(&self, words: Vec<LogOut>, heard: &Heard, now: Timestamp) -> (Vec<LogOut>, Heard) {
        self.inner().log_outs.exchange(words, heard, now)
    }

    /// The foreign keys that lead out of capabilities, as far as agents have told.
    pub(crate) fn references(&self, rules: &RuleSet) -> BTreeMap<String, Vec<Refers>> {
        let inner = self.inner();
        crossing::told(rules, |name| inner.said(name))
    }

    /// Takes in what an agent has set aside; whether it is something else than it was.
    pub(crate) fn hear_quarantine(&self, report: QuarantineReport) -> bool {
        let mut inner = self.inner();
        let other = inner.aside.get(&report.agent) != Some(&report.rows);
        inner.aside.insert(report.agent, report.rows);
        other
    }

    /// What the agent of a capability has set aside of it, and what strangers wrote that nobody has decided about.
    pub(crate) fn quarantine(&self, capability: &str) -> Quarantine {
        let inner = self.inner();
        let Some((_, agent, report)) = inner.roster.of(capability) else { return Quarantine::default() };
        let total = report.quarantined + report.strays.iter().map(|strays| strays.unsettled).sum::<u64>();
        // What was told last may be of a moment ago.
        let room = usize::try_from(total).unwrap_or(usize::MAX);
        let rows = inner.aside.get(&agent.agent).into_iter().flatten().filter(|row| row.capability == capability);
        Quarantine { total, rows: rows.take(room).cloned().collect() }
    }

    /// From now on, nobody who works by an older generation gets a validity for this capability; `false`, and no change,
    /// when somebody still has one.
    pub(crate) fn raise_floor(&self, capability: &str, floor: u64) -> bool {
        self.inner().leases.raise_floor(capability, floor, steady())
    }

    /// Sets a floor that is stored: it was checked when it was written.
    pub(crate) fn restore_floor(&self, capability: &str, floor: u64) {
        self.inner().leases.restore_floor(capability, floor);
    }

    /// Moves the windows of a capability on. A lag that is no number, or that nobody tells, is beyond every limit.
    pub(crate) fn note(&self, plan: &Capability, stored: &Stored, silent: Duration, now: Moment) {
        let mut inner = self.inner();
        let heard = inner.roster.of(&plan.name).filter(|(at, ..)| now.steady.since(*at) <= silent);
        let stream = heard.map(|(_, _, report)| report.stream_from(stored.state.owner)).filter(|stream| stream.live);
        let lag = stream.map(|stream| stream.lag_seconds);
        let within = stream.is_some_and(|stream| (0.0..=plan.gates.lag.max.as_secs_f64()).contains(&stream.lag_seconds));
        if within {
            inner.lag_beyond_since.remove(&plan.name);
        } else {
            inner.lag_beyond_since.entry(plan.name.clone()).or_insert(now.time);
        }
        let inner = &mut *inner;
        let window = inner.windows.entry(plan.name.clone()).or_default();
        window.note(&stored.state, now.time);
        inner.curves.entry(plan.name.clone()).or_default().note(window.total(), lag, now.time);
    }

    /// The last minutes of a capability's traffic.
    pub(crate) fn curve(&self, capability: &str) -> Vec<TrafficPoint> {
        self.inner().curves.get(capability).map(Curve::points).unwrap_or_default()
    }

    /// When the newest point of it was taken.
    pub(crate) fn newest_of_curve(&self, capability: &str) -> Option<Timestamp> {
        self.inner().curves.get(capability).and_then(Curve::newest)
    }

    /// The world round one capability.
    pub(crate) fn observe(&self, plan: &Capability, stored: &Stored, view: &View, limits: Limits, now: Moment) -> Observation {
        let inner = self.inner();
        let name = &plan.name;
        let window = inner.windows.get(name);
        let (step, shadow) = window.map(Window::of_step).unwrap_or_default();
        let recent = window.map(Window::recent).unwrap_or_default();
        let minute = window.map(Window::minute).unwrap_or_default();
        let patient = plan.gates.patience.iter().filter(|(_, patience)| patience.failures > 1);
        let windows_of = |patience: &Patience| window.map(|w| w.windows(patience.window, patience.windows)).unwrap_or_default();
        let windows = patient.map(|(gate, patience)| (gate.clone(), windows_of(patience))).collect();
        let gateways = inner.leases.gateways().map(|gateway| {
            let report = inner.gateways.get(gateway).map(|known| &known.report);
            let counts = report.and_then(|report| report.capabilities.get(name));
            GatewaySeen {
                name: gateway.to_owned(),
                counts_until: now.time.plus(inner.leases.left(gateway, now.steady)),
                generation: report.map_or(0, |report| report.generation),
                astray: inner.leases.is_astray(gateway),
                inflight_writes: counts.map_or(0, |c| c.inflight_writes),
                held: counts.map_or(0, |c| c.held),
                modern_down: counts.is_some_and(|c| c.modern_down),
                legacy_down: counts.is_some_and(|c| c.legacy_down),
            }
        });
        let agent = inner.roster.of(name).map(|(at, agent, report)| AgentSeen {
            name: agent.agent.clone(),
            generation: Roster::generation(agent, report),
            at: now.back_at(at),
            report: report.clone(),
        });
        let mut seen = Observation {
            gateways: gateways.collect(),
            serving_generation: stored.serving_generation,
            orders_generation: stored.orders_generation,
            agent,
            traffic: TrafficSeen {
                step,
                recent: recent.sides,
                minute,
                writes: recent.writes,
                windows,
                shadow,
                shadow_recent: recent.shadow,
                lag_beyond_since: inner.lag_beyond_since.get(name).copied(),
            },
            answers: inner.answers.of_step(name, stored.state.since),
            limits,
            ahead: now.time.since(wall()),
            ..Observation::default()
        };
        let (rules, said) = (&view.rulebook.rules, |name: &str| inner.said(name));
        let keys = crossing::told(rules, said);
        let relations = Relations::of(plan, rules, |name| keys.get(name).map_or(&[], Vec::as_slice));
        relations.tell(&mut seen, |other| view.place(other));
        let untold = crossing::untold(plan, rules, said).filter_map(|other| Some((other.name.clone(), view.place(&other.name)?.1)));
        // Those that are declared are waited for, whatever the keys are.
        seen.untold = untold.filter(|(name, phase)| *phase != Phase::Retired && !seen.joined.contains_key(name)).collect();
        seen
    }

    /// Takes an answer to one of the operator's own gates in, which was asked for in the step that began at `step`.
    pub(crate) fn hear_answer(&self, capability: &str, gate: &str, step: Timestamp, answer: Answer) {
        self.inner().answers.keep(capability, gate, step, answer);
    }

    /// How fresh the copies are, for reads of one's own writes.
    pub(crate) fn freshness(&self, view: &View) -> BTreeMap<String, Freshness> {
        let inner = self.inner();
        let fresh = view.capabilities().filter_map(|(plan, stored)| {
            let (_, _, report) = inner.roster.of(&plan.name)?;
            // A report of another epoch speaks of the other stream.
            let stream = Some(report.stream_from(stored.state.owner)).filter(|_| report.epoch == stored.state.epoch)?;
            Some((plan.name.clone(), Freshness { epoch: report.epoch, through: stream.through }))
        });
        fresh.collect()
    }

    /// A number for each capability that is another one whenever its agent has applied changes: for gateways that keep answers.
    pub(crate) fn changes(&self, view: &View) -> BTreeMap<String, u64> {
        let inner = self.inner();
        let counted = view.capabilities().filter_map(|(plan, stored)| {
            let (_, agent, report) = inner.roster.of(&plan.name)?;
            // An agent that was started anew counts anew, and may come to the number that its predecessor had.
            let before = agent.incarnation.wrapping_shl(32);
            Some((plan.name.clone(), before.wrapping_add(report.stream_from(stored.state.owner).rows)))
        });
        counted.collect()
    }

    /// How long ago the agent of a capability reported.
    pub(crate) fn agent_age(&self, capability: &str, now: Moment) -> Option<Duration> {
        self.inner().roster.of(capability).map(|(at, ..)| now.steady.since(at))
    }

    /// Gateways for the status.
    pub(crate) fn gateways(&self) -> Vec<GatewayStatus> {
        let sum = |report: &GatewayReport, of: fn(&GatewayCapability) -> u64| report.capabilities.values().map(of).sum();
        let those = |report: &GatewayReport, are: fn(&GatewayCapability) -> bool| {
            report.capabilities.iter().filter(|(_, c)| are(c)).map(|(name, _)| name.clone()).collect()
        };
        let (inner, steady, silent) = (self.inner(), steady(), GatewayReport::default());
        let status = |name: &str| {
            let known = inner.gateways.get(name);
            let report = known.map_or(&silent, |known| &known.report);
            GatewayStatus {
                name: name.to_owned(),
                live: !inner.leases.left(name, steady).is_zero(),
                generation: report.generation,
                reported: known.map(|known| known.reported),
                inflight_writes: sum(report, |c| c.inflight_writes),
                held: sum(report, |c| c.held),
                trouble: inner.leases.is_astray(name).then(|| astray(report.generation)).or_else(|| report.trouble.clone()),
                modern_down: those(report, |c| c.modern_down),
                legacy_down: those(report, |c| c.legacy_down),
                sessions_unread: report.sessions_unread.clone(),
                answers: report.answers.clone(),
            }
        };
        inner.leases.gateways().map(status).collect()
    }

    /// Agents for the status.
    pub(crate) fn agents(&self, now: Moment) -> Vec<AgentStatus> {
        let status = |(at, report): &(Steady, AgentReport)| AgentStatus {
            name: report.agent.clone(),
            generation: report.generation,
            reported: now.back_at(*at),
            capabilities: report.capabilities.keys().cloned().collect(),
        };
        self.inner().roster.agents().map(status).collect()
    }

    /// Drops gateways that have ended, or are long gone, and names them.
    fn forget(&self, now: Steady) -> Vec<String> {
        let mut inner = self.inner();
        let inner = &mut *inner;
        let names = inner.leases.forget(now);
        for name in &names {
            inner.gateways.remove(name);
            inner.windows.values_mut().for_each(|window| window.forget(name));
        }
        names
    }
}

impl Inner {
    /// What the agent of a capability said last of it.
    fn said(&self, capability: &str) -> Option<&CapabilityReport> {
        self.roster.of(capability).map(|(_, _, report)| report)
    }

    fn hear_gateway(&mut self, report: GatewayReport, newest: u64, now: Timestamp) -> Duration {
        let said = Said { order: (report.started, report.serial), generation: report.generation };
        if report.ended {
            self.leases.end(&report.gateway, said, steady());
        }
        let heard = match report.ended {
            true => lease::Heard::Behind,
            false => self.leases.hear(&report.gateway, said, newest, steady()),
        };
        if heard != lease::Heard::Late {
            for (capability, counts) in &report.capabilities {
                self.windows.entry(capability.clone()).or_default().absorb(&report.gateway, &report.incarnation, counts);
            }
            self.gateways.insert(report.gateway.clone(), Gateway { reported: now, report });
        }
        match heard {
            lease::Heard::Valid(validity) => validity,
            lease::Heard::Late | lease::Heard::Behind | lease::Heard::Astray => Duration::ZERO,
        }
    }
}

fn astray(generation: u64) -> String {
    format!("it works by generation {generation}, which was never published here but by another orchestrator: it gets no validity")
}

#[cfg(test)]
mod tests;
