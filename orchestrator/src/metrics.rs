//! What the orchestrator tells Prometheus, in the process's default registry. Labels are bounded: capability, phase, gate,
//! direction.

use std::sync::LazyLock;

use ficus_rules::api::CapabilityStatus;
use ficus_rules::migration::Phase;
use prometheus::{
    GaugeVec, HistogramVec, IntCounter, IntGauge, IntGaugeVec, exponential_buckets, register_gauge_vec, register_histogram_vec,
    register_int_counter, register_int_gauge, register_int_gauge_vec,
};

/// All gates, by their label.
const GATES: [&str; 5] = ["errors", "latency_p99", "shadow", "lag", "parity"];

const ONCE: &str = "a metric of this name is registered once";

static PHASE: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    register_int_gauge_vec!("ficus_phase", "1 for the phase that a capability is in", &["capability", "phase"]).expect(ONCE)
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
static GENERATION: LazyLock<IntGauge> =
    LazyLock::new(|| register_int_gauge!("ficus_published_generation", "The newest published generation").expect(ONCE));
static RELOAD_FAILURES: LazyLock<IntCounter> = LazyLock::new(|| {
    register_int_counter!("ficus_rules_reload_failures_total", "Rule sets that were refused; the last good one served on").expect(ONCE)
});

/// Shows how far a capability is.
pub(crate) fn capability(name: &str, status: &CapabilityStatus) {
    for phase in Phase::ALL {
        PHASE.with_label_values(&[name, phase.as_str()]).set(i64::from(phase == status.phase));
    }
    let ramp = match status.serving.owner {
        ficus_rules::Side::Modern => 1.0,
        ficus_rules::Side::Legacy => status.serving.reads.ratio(),
    };
    RAMP.with_label_values(&[name]).set(ramp);
    HOLDS.with_label_values(&[name]).set(status.holds.len() as i64);
    for gate in GATES.iter().filter(|gate| !status.gates.iter().any(|judged| judged.gate == **gate)) {
        // A gate that is not judged any more has no verdict.
        let _ = VERDICT.remove_label_values(&[name, gate]);
    }
    for judged in &status.gates {
        VERDICT.with_label_values(&[name, &judged.gate]).set(i64::from(judged.verdict.severity()));
    }
    // The histogram is there from the beginning, so that no panel is empty before the first cutover.
    for direction in ["cutover", "revert"] {
        let _ = PAUSE.with_label_values(&[name, direction]);
    }
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

/// A rule set was refused.
pub(crate) fn reload_failed() {
    RELOAD_FAILURES.inc();
}
