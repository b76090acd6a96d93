//! What the orchestrator tells Prometheus, in the process's default registry. Labels are bounded: capability, phase, gate,
//! direction, stage, kind and name of what is waited for, and the names of gateways, which are forgotten with them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use ficus_rules::api::CapabilityStatus;
use ficus_rules::gate::Verdict;
use ficus_rules::migration::waiting::{Waiting, WaitingKind};
use ficus_rules::migration::{Phase, State, Switch};
use ficus_rules::{Side, Timestamp};
use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::{
    GaugeVec, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, exponential_buckets, register_gauge_vec,
    register_histogram_vec, register_int_counter, register_int_counter_vec, register_int_gauge, register_int_gauge_vec,
};

/// Everything that can be waited for, by its label.
const KINDS: [(WaitingKind, &str); 10] = [
    (WaitingKind::Wish, "wish"),
    (WaitingKind::Hold, "hold"),
    (WaitingKind::Time, "time"),
    (WaitingKind::Window, "window"),
    (WaitingKind::Gate, "gate"),
    (WaitingKind::FailingGate, "failing_gate"),
    (WaitingKind::Gateway, "gateway"),
    (WaitingKind::Agent, "agent"),
    (WaitingKind::Capability, "capability"),
    (WaitingKind::Transaction, "transaction"),
];

const ONCE: &str = "a metric of this name is registered once";

static PHASE: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    register_int_gauge_vec!("ficus_phase", "1 for the phase that a capability is in", &["capability", "phase"]).expect(ONCE)
});
static PHASE_AGE: LazyLock<GaugeVec> = LazyLock::new(|| {
    let help = "How long a capability has been in its phase or step";
    register_gauge_vec!("ficus_phase_age_seconds", help, &["capability"]).expect(ONCE)
});
static OWNER: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    register_int_gauge_vec!("ficus_owner", "1 for the side that owns a capability's writes", &["capability", "side"]).expect(ONCE)
});
static FENCED: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    register_int_gauge_vec!("ficus_fenced", "1 while gateways are told to hold a capability's writes", &["capability"]).expect(ONCE)
});
static WAITING: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let help = "What is missing for a capability's next transition, by kind";
    register_int_gauge_vec!("ficus_waiting", help, &["capability", "kind"]).expect(ONCE)
});
static WAITING_FOR: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let help = "What is missing for a capability's next transition, by name: how many of it";
    register_int_gauge_vec!("ficus_waiting_for", help, &["capability", "kind", "on"]).expect(ONCE)
});
static BACKFILL: LazyLock<GaugeVec> = LazyLock::new(|| {
    register_gauge_vec!("ficus_backfill_ratio", "Share of the existing rows that are copied, 0 to 1", &["capability"]).expect(ONCE)
});
static RAMP: LazyLock<GaugeVec> = LazyLock::new(|| {
    register_gauge_vec!("ficus_ramp_ratio", "Share of the callers whose reads modern serves, 0 to 1", &["capability"]).expect(ONCE)
});
static VERDICT: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    register_int_gauge_vec!("ficus_gate_verdict", "0 pass, 1 inconclusive, 2 error, 3 fail", &["capability", "gate"]).expect(ONCE)
});
static HOLDS: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    register_int_gauge_vec!("ficus_capability_holds", "Reasons that keep a capability from going forward", &["capability"]).expect(ONCE)
});
static PAUSE: LazyLock<HistogramVec> = LazyLock::new(|| {
    let buckets = exponential_buckets(0.005, 2.0, 12).expect("a start above zero and a factor above one");
    let help = "How long a finished cutover or revert held the writes";
    register_histogram_vec!("ficus_cutover_pause_seconds", help, &["capability", "direction"], buckets).expect(ONCE)
});
static STAGE: LazyLock<GaugeVec> = LazyLock::new(|| {
    let help = "How long each stage of the last cutover or revert took";
    register_gauge_vec!("ficus_switch_stage_seconds", help, &["capability", "direction", "stage"]).expect(ONCE)
});
static ABORTED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "Cutovers and reverts that were taken back before their point of no return";
    register_int_counter_vec!("ficus_switches_aborted_total", help, &["capability", "direction"]).expect(ONCE)
});
static AGENT_AGE: LazyLock<GaugeVec> = LazyLock::new(|| {
    let help = "How long ago the agent of a capability reported";
    register_gauge_vec!("ficus_agent_report_age_seconds", help, &["capability"]).expect(ONCE)
});
static GATEWAY_AGE: LazyLock<GaugeVec> =
    LazyLock::new(|| register_gauge_vec!("ficus_gateway_report_age_seconds", "How long ago a gateway reported", &["gateway"]).expect(ONCE));
static LEADS: LazyLock<IntGauge> =
    LazyLock::new(|| register_int_gauge!("ficus_leads", "1 while this orchestrator leads, 0 while it stands by").expect(ONCE));
static GENERATION: LazyLock<IntGauge> =
    LazyLock::new(|| register_int_gauge!("ficus_published_generation", "The newest published generation").expect(ONCE));
static COMPLAINTS: LazyLock<IntGauge> = LazyLock::new(|| {
    register_int_gauge!("ficus_rules_complaints", "What is wrong with the rule files as they are; older ones serve").expect(ONCE)
});
static FLAGS_EXPIRED: LazyLock<IntGauge> =
    LazyLock::new(|| register_int_gauge!("ficus_flags_expired", "Feature flags whose last day has come").expect(ONCE));
static RELOAD_FAILURES: LazyLock<IntCounter> = LazyLock::new(|| {
    register_int_counter!("ficus_rules_reload_failures_total", "Rule sets that were refused; the last good one served on").expect(ONCE)
});

static NOTIFICATIONS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "Notifications: delivered, failed (and sent again), given up";
    register_int_counter_vec!("ficus_notifications_total", help, &["notifier", "outcome"]).expect(ONCE)
});

/// The gates of each capability that have a verdict.
static SHOWN: Mutex<BTreeMap<String, BTreeSet<String>>> = Mutex::new(BTreeMap::new());
/// What each capability waits for: kind and name.
static WAITED_FOR: Mutex<BTreeMap<String, BTreeSet<Awaited>>> = Mutex::new(BTreeMap::new());

/// One thing that is waited for: its kind's label and its name.
type Awaited = (&'static str, String);

/// A notifier that is there counts from zero.
pub(crate) fn notifier(name: &str) {
    for outcome in ["delivered", "failed", "given_up"] {
        drop(NOTIFICATIONS.with_label_values(&[name, outcome]));
    }
}

/// Whether this orchestrator leads. One that does not shows nothing of what it saw when it did.
pub(crate) fn leads(leads: bool) {
    LEADS.set(i64::from(leads));
    if leads {
        return;
    }
    for shown in [&*PHASE, &*OWNER, &*FENCED, &*WAITING, &*WAITING_FOR, &*VERDICT, &*HOLDS] {
        shown.reset();
    }
    for shown in [&*PHASE_AGE, &*BACKFILL, &*RAMP, &*STAGE, &*AGENT_AGE, &*GATEWAY_AGE] {
        shown.reset();
    }
    SHOWN.lock().unwrap_or_else(PoisonError::into_inner).clear();
    WAITED_FOR.lock().unwrap_or_else(PoisonError::into_inner).clear();
    for counted in [&*ABORTED, &*NOTIFICATIONS] {
        counted.reset();
    }
    PAUSE.reset();
    for shown in [&*COMPLAINTS, &*FLAGS_EXPIRED, &*GENERATION] {
        shown.set(0);
    }
}

/// Shows nothing more of capabilities that are none of `named`: the rules do not have them any more.
pub(crate) fn keep(named: &BTreeSet<&str>) {
    let mut shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let gone: Vec<String> = shown.keys().filter(|name| !named.contains(name.as_str())).cloned().collect();
    for name in gone {
        shown.remove(&name);
        WAITED_FOR.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
        for gauge in [&*PHASE, &*OWNER, &*FENCED, &*WAITING, &*WAITING_FOR, &*VERDICT, &*HOLDS] {
            forget(gauge, &name);
        }
        for gauge in [&*PHASE_AGE, &*BACKFILL, &*RAMP, &*STAGE, &*AGENT_AGE] {
            forget(gauge, &name);
        }
        forget(&PAUSE, &name);
        forget(&ABORTED, &name);
    }
}

fn forget<B: MetricVecBuilder>(vector: &MetricVec<B>, capability: &str)
where
    MetricVec<B>: Collector,
{
    for family in vector.collect() {
        for metric in family.get_metric() {
            let labels: HashMap<&str, &str> = metric.get_label().iter().map(|label| (label.name(), label.value())).collect();
            if labels.get("capability") == Some(&capability) {
                let _ = vector.remove(&labels);
            }
        }
    }
}

/// Counts what became of a notification.
pub(crate) fn notified(notifier: &str, outcome: &str) {
    NOTIFICATIONS.with_label_values(&[notifier, outcome]).inc();
}

/// Shows how far a capability is.
pub(crate) fn capability(name: &str, status: &CapabilityStatus, now: Timestamp) {
    for phase in Phase::ALL {
        PHASE.with_label_values(&[name, phase.as_str()]).set(i64::from(phase == status.phase));
    }
    PHASE_AGE.with_label_values(&[name]).set(now.since(status.since).as_secs_f64());
    for side in Side::BOTH {
        OWNER.with_label_values(&[name, side.as_str()]).set(i64::from(side == status.owner));
    }
    FENCED.with_label_values(&[name]).set(i64::from(status.serving.fenced));
    waiting(name, &status.waiting_for);
    if let Some(copied) = &status.backfill {
        let share = if copied.complete { 1.0 } else { copied.done as f64 / copied.total.max(1) as f64 };
        BACKFILL.with_label_values(&[name]).set(share.min(1.0));
    }
    let ramp = match status.serving.owner {
        Side::Modern => 1.0,
        Side::Legacy => status.serving.reads.ratio(),
    };
    RAMP.with_label_values(&[name]).set(ramp);
    HOLDS.with_label_values(&[name]).set(count(status.holds.len()));
    // One that is only shown is for people, not for alerts.
    let acting: BTreeMap<&str, Verdict> = status.gates.iter().filter(|j| !j.dry_run).map(|j| (j.gate.as_str(), j.verdict)).collect();
    let mut shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let before = shown.insert(name.to_owned(), acting.keys().map(|gate| (*gate).to_owned()).collect()).unwrap_or_default();
    for gate in before.iter().filter(|gate| !acting.contains_key(gate.as_str())) {
        // A gate that is not judged any more has no verdict.
        let _ = VERDICT.remove_label_values(&[name, gate]);
    }
    for (gate, verdict) in acting {
        VERDICT.with_label_values(&[name, gate]).set(i64::from(verdict.severity()));
    }
    drop(shown);
    // Counted from zero on, so that no panel is empty before the first cutover.
    for direction in ["cutover", "revert"] {
        let _ = PAUSE.with_label_values(&[name, direction]);
        let _ = ABORTED.with_label_values(&[name, direction]);
    }
}

/// Shows what is missing for a capability's next transition, and nothing that was missing before.
fn waiting(capability: &str, missing: &[Waiting]) {
    let mut named: BTreeMap<Awaited, i64> = BTreeMap::new();
    for (kind, label) in KINDS {
        let these = missing.iter().filter(|waiting| waiting.kind == kind);
        WAITING.with_label_values(&[capability, label]).set(count(these.clone().count()));
        for one in these {
            *named.entry((label, one.on.clone())).or_default() += 1;
        }
    }
    for ((kind, on), number) in &named {
        WAITING_FOR.with_label_values(&[capability, kind, on]).set(*number);
    }
    let mut waited_for = WAITED_FOR.lock().unwrap_or_else(PoisonError::into_inner);
    let before = waited_for.insert(capability.to_owned(), named.keys().cloned().collect()).unwrap_or_default();
    for (kind, on) in before.iter().filter(|awaited| !named.contains_key(*awaited)) {
        let _ = WAITING_FOR.remove_label_values(&[capability, kind, on]);
    }
}

/// Shows for how long a capability's agent has been silent. `None`: it needs none.
pub(crate) fn agent(capability: &str, age: Option<Duration>) {
    match age {
        Some(age) => AGENT_AGE.with_label_values(&[capability]).set(age.as_secs_f64()),
        None => drop(AGENT_AGE.remove_label_values(&[capability])),
    }
}

/// Shows for how long a gateway has been silent.
pub(crate) fn gateway(name: &str, reported: Timestamp, now: Timestamp) {
    GATEWAY_AGE.with_label_values(&[name]).set(now.since(reported).as_secs_f64());
}

/// A gateway is gone for good.
pub(crate) fn forget_gateway(name: &str) {
    let _ = GATEWAY_AGE.remove_label_values(&[name]);
}

/// A transition was written: a stage of a switch may have ended with it.
pub(crate) fn stage(before: &State, after: &State, now: Timestamp) {
    let Some(running) = &before.switch else {
        if let Some(begun) = &after.switch {
            forget_stages(&after.capability, direction(begun));
        }
        return;
    };
    if after.switch.as_ref().is_none_or(|next| next.stage != running.stage) {
        let labels = [before.capability.as_str(), direction(running), running.stage.as_str()];
        STAGE.with_label_values(&labels).set(now.since(running.since).as_secs_f64());
    }
}

/// A switch was taken back.
pub(crate) fn aborted(capability: &str, switch: &Switch) {
    ABORTED.with_label_values(&[capability, direction(switch)]).inc();
}

/// A finished switch.
pub(crate) fn paused(capability: &str, direction: &str, seconds: f64) {
    PAUSE.with_label_values(&[capability, direction]).observe(seconds);
}

/// The newest generation.
pub(crate) fn generation(generation: u64) {
    GENERATION.set(i64::try_from(generation).unwrap_or(i64::MAX));
    LazyLock::force(&RELOAD_FAILURES);
}

/// What is wrong with the rule files as they are.
pub(crate) fn complaints(errors: usize) {
    COMPLAINTS.set(count(errors));
}

/// Flags that somebody should look at.
pub(crate) fn flags_expired(flags: usize) {
    FLAGS_EXPIRED.set(count(flags));
}

/// A rule set was refused.
pub(crate) fn reload_failed() {
    RELOAD_FAILURES.inc();
}

fn direction(switch: &Switch) -> &'static str {
    match switch.to {
        Side::Modern => "cutover",
        Side::Legacy => "revert",
    }
}

/// The stages of an earlier switch say nothing about the one that begins.
fn forget_stages(capability: &str, direction: &str) {
    for stage in ficus_rules::migration::Stage::ALL {
        let _ = STAGE.remove_label_values(&[capability, direction, stage.as_str()]);
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
