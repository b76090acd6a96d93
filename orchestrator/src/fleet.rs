//! What gateways and agents were last seen to do. Lives in memory: after a restart every gateway whose name is stored is
//! taken to be there, working by something old, until it reports or its validity has surely ended.
//!
//! Gives out validities. A gateway may forward writes of migrating capabilities only while its validity lasts, and gets a
//! new one only when it has taken the last fence of every capability. That, and the raising of that floor, happen under
//! one lock: no validity can slip in between "every gateway holds" and its writing down.

mod answers;
mod curve;
mod window;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ficus_rules::Timestamp;
use ficus_rules::api::{AgentStatus, GatewayStatus, Quarantine, TrafficPoint};
use ficus_rules::gate::{Answer, Patience};
use ficus_rules::migration::observation::{AgentSeen, GatewaySeen, Limits, Observation, TrafficSeen};
use ficus_rules::plan::Capability;
use ficus_rules::wire::{AgentReport, Freshness, GatewayCapability, GatewayReport, QuarantineReport, SetAside};

use crate::publish::View;
use crate::store::Stored;

use self::curve::Curve;
use self::window::Window;

/// A validity counts from its receipt: the answer may have been on its way for so long. Clients give up earlier.
pub(crate) const MARGIN: Duration = Duration::from_secs(2);
/// A gateway that has been silent for so long is forgotten.
const FORGET: Duration = Duration::from_secs(600);
/// No report is on its way for longer than this: its sender gives it up before.
const BELIEVED: Duration = Duration::from_secs(10);
/// An agent that has been silent for so long, while another one reports the same capability, has left it to that one.
const OUTLIVED: Duration = Duration::from_secs(3);

/// The fleet.
pub(crate) struct Fleet {
    validity: Duration,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    gateways: BTreeMap<String, Gateway>,
    agents: BTreeMap<String, (Timestamp, AgentReport)>,
    /// By agent: the rows that it has set aside, with their values.
    aside: BTreeMap<String, Vec<SetAside>>,
    /// By capability: who works by an older generation gets no validity.
    floors: BTreeMap<String, u64>,
    windows: BTreeMap<String, Window>,
    curves: BTreeMap<String, Curve>,
    answers: answers::Answers,
    lag_beyond_since: BTreeMap<String, Timestamp>,
}

#[derive(Default)]
struct Gateway {
    counts_until: Timestamp,
    reported: Option<Timestamp>,
    report: GatewayReport,
}

/// The system's clock; the only place of this crate that reads it.
pub(crate) fn now() -> Timestamp {
    Timestamp::from(std::time::SystemTime::now())
}

impl Fleet {
    /// A fleet of which only names are known.
    pub(crate) fn new(validity: Duration, gateways: Vec<String>) -> Fleet {
        let counts_until = now().plus(validity).plus(MARGIN);
        let unseen = |name: String| {
            let report = GatewayReport { gateway: name.clone(), ..GatewayReport::default() };
            (name, Gateway { counts_until, reported: None, report })
        };
        let inner = Inner { gateways: gateways.into_iter().map(unseen).collect(), ..Inner::default() };
        Fleet { validity, inner: Mutex::new(inner) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a gateway's name is stored already.
    pub(crate) fn knows(&self, gateway: &str) -> bool {
        self.inner().gateways.contains_key(gateway)
    }

    /// Takes a report in. Returns for how long the gateway may forward writes from now on.
    pub(crate) fn hear_gateway(&self, report: GatewayReport, now: Timestamp) -> Duration {
        let mut inner = self.inner();
        let inner = &mut *inner;
        let known = inner.gateways.entry(report.gateway.clone()).or_default();
        let late = known.report.incarnation == report.incarnation && report.generation < known.report.generation;
        let granted = !late && inner.floors.values().all(|floor| report.generation >= *floor);
        if late {
            return Duration::ZERO;
        }
        for (capability, counts) in &report.capabilities {
            inner.windows.entry(capability.clone()).or_default().absorb(&report.gateway, &report.incarnation, counts);
        }
        known.reported = Some(now);
        known.report = report;
        if !granted {
            return Duration::ZERO;
        }
        known.counts_until = now.plus(self.validity).plus(MARGIN);
        self.validity
    }

    /// Takes a report in, unless something newer of the same agent is known. After a silence anything is believed: a clock
    /// that was set back must not shut an agent out.
    pub(crate) fn hear_agent(&self, report: AgentReport, now: Timestamp) {
        let mut inner = self.inner();
        let order = |report: &AgentReport| (report.incarnation, report.serial);
        let late = |(at, known): &(Timestamp, AgentReport)| order(&report) < order(known) && now.since(*at) <= BELIEVED;
        if !inner.agents.get(&report.agent).is_some_and(late) {
            inner.agents.insert(report.agent.clone(), (now, report));
        }
    }

    /// Takes in what an agent has set aside.
    pub(crate) fn hear_quarantine(&self, report: QuarantineReport) {
        self.inner().aside.insert(report.agent, report.rows);
    }

    /// What the agent of a capability has set aside of it.
    pub(crate) fn quarantine(&self, capability: &str) -> Quarantine {
        let inner = self.inner();
        let Some((_, agent)) = inner.agent_of(capability) else { return Quarantine::default() };
        let total = agent.capabilities[capability].quarantined;
        // What was told last may be of a moment ago.
        let room = usize::try_from(total).unwrap_or(usize::MAX);
        let rows = inner.aside.get(&agent.agent).into_iter().flatten().filter(|row| row.capability == capability);
        Quarantine { total, rows: rows.take(room).cloned().collect() }
    }

    /// From now on, nobody who works by an older generation gets a validity for this capability; `false`, and no change,
    /// when somebody still has one.
    pub(crate) fn raise_floor(&self, capability: &str, floor: u64, now: Timestamp) -> bool {
        let mut inner = self.inner();
        let behind = inner.gateways.values().any(|g| now < g.counts_until && g.report.generation < floor);
        if !behind {
            inner.floors.insert(capability.to_owned(), floor);
        }
        !behind
    }

    /// Sets a floor that is stored: it was checked when it was written.
    pub(crate) fn restore_floor(&self, capability: &str, floor: u64) {
        self.inner().floors.insert(capability.to_owned(), floor);
    }

    /// Moves the windows of a capability on. A lag that is no number, or that nobody tells, is beyond every limit.
    pub(crate) fn note(&self, plan: &Capability, stored: &Stored, silent: Duration, now: Timestamp) {
        let mut inner = self.inner();
        let heard = inner.agent_of(&plan.name).filter(|(at, _)| now.since(*at) <= silent);
        let stream = heard.map(|(_, agent)| agent.capabilities[&plan.name].stream_from(stored.state.owner)).filter(|stream| stream.live);
        let lag = stream.map(|stream| stream.lag_seconds);
        let within = stream.is_some_and(|stream| (0.0..=plan.gates.lag.max.as_secs_f64()).contains(&stream.lag_seconds));
        if within {
            inner.lag_beyond_since.remove(&plan.name);
        } else {
            inner.lag_beyond_since.entry(plan.name.clone()).or_insert(now);
        }
        let inner = &mut *inner;
        let window = inner.windows.entry(plan.name.clone()).or_default();
        window.note(&stored.state, now);
        inner.curves.entry(plan.name.clone()).or_default().note(window.total(), lag, now);
    }

    /// The last minutes of a capability's traffic.
    pub(crate) fn curve(&self, capability: &str) -> Vec<TrafficPoint> {
        self.inner().curves.get(capability).map(Curve::points).unwrap_or_default()
    }

    /// The world round one capability.
    pub(crate) fn observe(&self, plan: &Capability, stored: &Stored, view: &View, limits: Limits) -> Observation {
        let inner = self.inner();
        let name = &plan.name;
        let window = inner.windows.get(name);
        let (step, shadow) = window.map(Window::of_step).unwrap_or_default();
        let recent = window.map(Window::recent).unwrap_or_default();
        let patient = plan.gates.patience.iter().filter(|(_, patience)| patience.failures > 1);
        let windows_of = |patience: &Patience| window.map(|w| w.windows(patience.window, patience.windows)).unwrap_or_default();
        let windows = patient.map(|(gate, patience)| (gate.clone(), windows_of(patience))).collect();
        let gateways = inner.gateways.iter().map(|(gateway, known)| {
            let counts = known.report.capabilities.get(name);
            GatewaySeen {
                name: gateway.clone(),
                counts_until: known.counts_until,
                generation: known.report.generation,
                inflight_writes: counts.map_or(0, |c| c.inflight_writes),
                held: counts.map_or(0, |c| c.held),
                modern_down: counts.is_some_and(|c| c.modern_down),
                legacy_down: counts.is_some_and(|c| c.legacy_down),
            }
        });
        let agent = inner.agent_of(name).map(|(at, agent)| AgentSeen {
            name: agent.agent.clone(),
            generation: agent.generation,
            at: *at,
            report: agent.capabilities[name].clone(),
        });
        Observation {
            gateways: gateways.collect(),
            serving_generation: stored.serving_generation,
            orders_generation: stored.orders_generation,
            agent,
            traffic: TrafficSeen { step, recent, windows, shadow, lag_beyond_since: inner.lag_beyond_since.get(name).copied() },
            joined: joined(plan, view),
            answers: inner.answers.since(name, stored.state.since),
            limits,
        }
    }

    /// Takes an answer to one of the operator's own gates in.
    pub(crate) fn hear_answer(&self, capability: &str, gate: &str, answer: Answer) {
        self.inner().answers.keep(capability, gate, answer);
    }

    /// How fresh the copies are, for reads of one's own writes.
    pub(crate) fn freshness(&self, view: &View) -> BTreeMap<String, Freshness> {
        let inner = self.inner();
        let fresh = view.capabilities().filter_map(|(plan, stored)| {
            let report = &inner.agent_of(&plan.name)?.1.capabilities[&plan.name];
            // A report of another epoch speaks of the other stream.
            let stream = Some(report.stream_from(stored.state.owner)).filter(|_| report.epoch == stored.state.epoch)?;
            Some((plan.name.clone(), Freshness { epoch: report.epoch, through: stream.through }))
        });
        fresh.collect()
    }

    /// Changes that agents have applied, for gateways that keep answers.
    pub(crate) fn changes(&self, view: &View) -> BTreeMap<String, u64> {
        let inner = self.inner();
        let counted = view.capabilities().filter_map(|(plan, stored)| {
            let report = &inner.agent_of(&plan.name)?.1.capabilities[&plan.name];
            Some((plan.name.clone(), report.stream_from(stored.state.owner).rows))
        });
        counted.collect()
    }

    /// How long ago the agent of a capability reported.
    pub(crate) fn agent_age(&self, capability: &str, now: Timestamp) -> Option<Duration> {
        self.inner().agent_of(capability).map(|(at, _)| now.since(*at))
    }

    /// Gateways for the status.
    pub(crate) fn gateways(&self, now: Timestamp) -> Vec<GatewayStatus> {
        let sum = |report: &GatewayReport, of: fn(&GatewayCapability) -> u64| report.capabilities.values().map(of).sum();
        let those = |report: &GatewayReport, are: fn(&GatewayCapability) -> bool| {
            report.capabilities.iter().filter(|(_, c)| are(c)).map(|(name, _)| name.clone()).collect()
        };
        let status = |(name, known): (&String, &Gateway)| GatewayStatus {
            name: name.clone(),
            live: now < known.counts_until,
            generation: known.report.generation,
            reported: known.reported,
            inflight_writes: sum(&known.report, |c| c.inflight_writes),
            held: sum(&known.report, |c| c.held),
            trouble: known.report.trouble.clone(),
            modern_down: those(&known.report, |c| c.modern_down),
            legacy_down: those(&known.report, |c| c.legacy_down),
            sessions_unread: known.report.sessions_unread.clone(),
        };
        self.inner().gateways.iter().map(status).collect()
    }

    /// Agents for the status.
    pub(crate) fn agents(&self) -> Vec<AgentStatus> {
        let status = |(at, report): &(Timestamp, AgentReport)| AgentStatus {
            name: report.agent.clone(),
            generation: report.generation,
            reported: *at,
            capabilities: report.capabilities.keys().cloned().collect(),
        };
        self.inner().agents.values().map(status).collect()
    }

    /// Drops gateways that are long gone, and names them.
    pub(crate) fn forget(&self, now: Timestamp) -> Vec<String> {
        let mut inner = self.inner();
        let gone = |g: &Gateway| now.since(g.counts_until) > FORGET;
        let names: Vec<_> = inner.gateways.iter().filter(|(_, g)| gone(g)).map(|(name, _)| name.clone()).collect();
        names.iter().for_each(|name| drop(inner.gateways.remove(name)));
        names
    }
}

impl Inner {
    /// The agent that has a capability. When several report it, the one whose streams run, of the newest epoch, and always
    /// the same: the checkpoint lets only one of them work, and the others say so in their reports.
    fn agent_of(&self, capability: &str) -> Option<&(Timestamp, AgentReport)> {
        let reports = || self.agents.values().filter(|(_, report)| report.capabilities.contains_key(capability));
        let newest = reports().map(|(at, _)| *at).max()?;
        let works = |report: &AgentReport| {
            let of = &report.capabilities[capability];
            (of.forward.live || of.reverse.live, of.trouble.is_none(), of.epoch)
        };
        let heard = reports().filter(|(at, _)| newest.since(*at) <= OUTLIVED);
        heard.max_by(|(_, a), (_, b)| works(a).cmp(&works(b)).then_with(|| b.agent.cmp(&a.agent)))
    }
}

/// The phases of those whose tables this one joins, and of those that join its.
fn joined(plan: &Capability, view: &View) -> BTreeMap<String, ficus_rules::migration::Phase> {
    let related = |other: &Capability| plan.depends_on.contains(&other.name) || other.depends_on.contains(&plan.name);
    let others = view.capabilities().filter(|(other, _)| other.name != plan.name && related(other));
    others.map(|(other, stored)| (other.name.clone(), stored.state.phase)).collect()
}

#[cfg(test)]
mod tests;
