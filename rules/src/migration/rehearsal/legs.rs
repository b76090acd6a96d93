//! The path as people read it: what each part of it is called, how long it lasts, what it needs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{After, Leg, Pace};
use crate::gate::Gates;
use crate::migration::waiting::Waiting;
use crate::migration::{Phase, State};
use crate::plan::{Capability, StepAction};
use crate::{Share, Timestamp};

/// The parts so far.
pub(super) struct Legs {
    start: Timestamp,
    legs: Vec<Leg>,
    /// What was missing for the next one.
    needs: Vec<Waiting>,
    /// Whom the next one waited for, and until when; `None`: until now.
    after: BTreeMap<String, Option<u64>>,
}

impl Legs {
    pub(super) fn new(start: Timestamp) -> Legs {
        Legs { start, legs: Vec::new(), needs: Vec::new(), after: BTreeMap::new() }
    }

    /// The capability is in this state from now on.
    pub(super) fn enter(&mut self, state: &State, plan: &Capability, now: Timestamp) {
        let name = name_of(state, plan);
        if self.legs.last().is_some_and(|leg| leg.name == name) {
            return;
        }
        self.close(now);
        let gates = if state.switch.is_none() { gates_of(state, plan) } else { Vec::new() };
        let begins_ms = now.since(self.start).as_millis() as u64;
        let (needs, after) = (std::mem::take(&mut self.needs), self.waited_for(now));
        self.legs.push(Leg { name, begins_ms, lasts_ms: 0, needs, gates, after });
    }

    /// Something is missing for the next one.
    pub(super) fn note<'a>(&mut self, missing: impl Iterator<Item = &'a Waiting>) {
        for waiting in missing {
            if !self.needs.iter().any(|known| known.kind == waiting.kind) {
                self.needs.push(waiting.clone());
            }
        }
    }

    /// These have to move before the next one; of those that had to, the others have.
    pub(super) fn wait_for(&mut self, others: &BTreeSet<String>, now: Timestamp) {
        let now = now.since(self.start).as_millis() as u64;
        for (name, moved) in &mut self.after {
            if !others.contains(name) {
                moved.get_or_insert(now);
            }
        }
        for name in others {
            self.after.insert(name.clone(), None);
        }
    }

    fn waited_for(&mut self, now: Timestamp) -> Vec<After> {
        let now = now.since(self.start).as_millis() as u64;
        let after = std::mem::take(&mut self.after).into_iter();
        after.map(|(capability, moved)| After { capability, moved_ms: moved.unwrap_or(now) }).collect()
    }

    /// The last one: what is left needs this.
    pub(super) fn end(&mut self, needs: Vec<Waiting>, now: Timestamp) {
        if self.legs.last().is_some_and(|leg| leg.name != "retired") {
            self.close(now);
            let begins_ms = now.since(self.start).as_millis() as u64;
            let after = self.waited_for(now);
            self.legs.push(Leg { name: "retire".to_owned(), begins_ms, lasts_ms: 0, needs, gates: Vec::new(), after });
        }
    }

    pub(super) fn finish(mut self, now: Timestamp) -> Vec<Leg> {
        self.close(now);
        self.legs
    }

    fn close(&mut self, now: Timestamp) {
        let now = now.since(self.start).as_millis() as u64;
        if let Some(leg) = self.legs.last_mut() {
            leg.lasts_ms = now.saturating_sub(leg.begins_ms);
        }
    }
}

fn name_of(state: &State, plan: &Capability) -> String {
    let step = || match plan.steps.get(state.step).map(|step| &step.action) {
        Some(StepAction::Shadow(share)) => format!("shadow {share}"),
        Some(StepAction::Reads(share)) => format!("reads {share}"),
        _ => state.phase.as_str().to_owned(),
    };
    match (&state.switch, state.phase) {
        (Some(switch), _) if switch.to == crate::Side::Modern => "cutover".to_owned(),
        (Some(_), _) => "revert".to_owned(),
        (None, Phase::Backfilling) => "copy".to_owned(),
        (None, Phase::Streaming) => "stream".to_owned(),
        (None, Phase::Shadowing | Phase::Ramping) => step(),
        (None, Phase::Soaking) => "soak".to_owned(),
        (None, phase) => phase.as_str().to_owned(),
    }
}

/// The gates that speak in a state, with the requests that they need.
fn gates_of(state: &State, plan: &Capability) -> Vec<String> {
    let gates = &plan.gates;
    let mut names = Vec::new();
    let walks = matches!(state.phase, Phase::Streaming | Phase::Shadowing | Phase::Ramping | Phase::Soaking);
    if !plan.tables.is_empty() && walks {
        names.extend(["lag".to_owned(), "parity".to_owned()]);
        names.extend(gates.quarantine.map(|_| "quarantine".to_owned()));
    }
    if matches!(state.phase, Phase::Ramping | Phase::Soaking) {
        names.extend(gates.errors.map(|gate| format!("errors ({} requests on modern)", gate.min_requests)));
        names.extend(gates.latency.iter().map(|(of, gate)| format!("{} ({} requests on modern)", of.gate(), gate.min_requests)));
    }
    if state.phase == Phase::Shadowing {
        names.extend(gates.shadow.map(|gate| format!("shadow ({} comparisons)", gate.min_requests)));
    }
    if matches!(state.phase, Phase::Shadowing | Phase::Ramping | Phase::Soaking) {
        names.extend(gates.custom.keys().cloned());
    }
    names
}

/// A plan whose steps last until the gates have seen enough, and whose gates are those of the data alone.
pub(super) fn with_samples(plan: &Capability, pace: &Pace) -> Capability {
    let mut plan = plan.clone();
    let gates = std::mem::take(&mut plan.gates);
    plan.gates = Gates { lag: gates.lag, parity: gates.parity, ..Gates::default() };
    // Compared once on the way in; that it is compared again and again moves nothing.
    plan.gates.parity.max_age = Duration::from_secs(u64::from(u32::MAX));
    let Some(rate) = pace.requests_per_second else { return plan };
    for step in &mut plan.steps {
        let needed = |requests: Option<u64>, share: Share| requests.map_or_else(Default::default, |requests| sample(requests, rate, share));
        let wanted = match step.action {
            StepAction::Shadow(share) => needed(gates.shadow.map(|gate| gate.min_requests), share),
            StepAction::Reads(share) => {
                let of_latency = gates.latency.values().map(|gate| gate.min_requests);
                let most = gates.errors.map(|gate| gate.min_requests).into_iter().chain(of_latency).max();
                needed(most, share)
            }
            _ => continue,
        };
        step.hold = step.hold.max(wanted);
    }
    plan
}

/// How long a step must last until gates with this many requests have seen them: at so many reads a second, a share of them.
fn sample(requests: u64, requests_per_second: f64, share: Share) -> Duration {
    let rate = requests_per_second * f64::from(share.millionths()) / 1e6;
    if rate > 0.0 { Duration::from_secs_f64((requests as f64 / rate).min(1e9)) } else { Duration::ZERO }
}
