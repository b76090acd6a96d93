//! What Prometheus sees of the agent, in the default registry.

use std::collections::HashMap;
use std::sync::LazyLock;

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec, Opts};

fn registered<C: Collector + Clone + 'static>(collector: prometheus::Result<C>) -> C {
    let collector = collector.expect("the names and labels below are valid");
    // A second registration of the same name only happens when two copies of this crate share a process.
    let _ = prometheus::register(Box::new(collector.clone()));
    collector
}

/// Shows a capability from zero on: a graph of what never happened is a line, not a gap.
pub(crate) fn begin<'a>(capability: &str, pairs: impl Iterator<Item = &'a str>) {
    QUARANTINED.with_label_values(&[capability]).set(0);
    for pair in pairs {
        for direction in ["forward", "reverse"] {
            let _ = ROWS.with_label_values(&[capability, direction, pair]);
        }
    }
}

/// Shows nothing more of a capability that is at work no more: nobody would set it right. What was counted stays.
pub(crate) fn end(capability: &str) {
    forget(&LAG_SECONDS, capability);
    for gauge in [&*LAG_ENTRIES, &*LAG_BYTES, &*KEPT_LOG, &*STANDS, &*DRIFT, &*QUARANTINED, &*STRAYS_UNSETTLED] {
        forget(gauge, capability);
    }
}

fn forget<B: MetricVecBuilder>(gauge: &MetricVec<B>, capability: &str)
where
    MetricVec<B>: Collector,
{
    for shown in gauge.collect().iter().flat_map(MetricFamily::get_metric) {
        let labels: HashMap<&str, &str> = shown.get_label().iter().map(|label| (label.name(), label.value())).collect();
        if labels.get("capability") == Some(&capability) {
            // Another one may have been faster.
            let _ = gauge.remove(&labels);
        }
    }
}

/// Rows applied.
pub(crate) static ROWS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let opts = Opts::new("ficus_sync_rows_total", "Rows that the agent applied");
    registered(IntCounterVec::new(opts, &["capability", "direction", "table"]))
});

/// Age of the oldest change that is not applied.
pub(crate) static LAG_SECONDS: LazyLock<GaugeVec> = LazyLock::new(|| {
    let opts = Opts::new("ficus_sync_lag_seconds", "Age of the oldest change that is not applied");
    registered(GaugeVec::new(opts, &["capability", "direction"]))
});

/// Log entries that are not applied.
pub(crate) static LAG_ENTRIES: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let opts = Opts::new("ficus_sync_lag_entries", "Entries of the source's log that are not applied");
    registered(IntGaugeVec::new(opts, &["capability", "direction"]))
});

/// Bytes of the log that are not applied.
pub(crate) static LAG_BYTES: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let opts = Opts::new("ficus_sync_lag_bytes", "Bytes of the source's log that are not applied, as near as its engine knows");
    registered(IntGaugeVec::new(opts, &["capability", "direction"]))
});

/// Bytes of the log that are kept for the agent.
pub(crate) static KEPT_LOG: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let opts = Opts::new("ficus_source_log_kept_bytes", "Bytes of the source's log that are kept until the agent has confirmed them");
    registered(IntGaugeVec::new(opts, &["capability", "direction"]))
});

/// What strangers wrote, or tried to.
pub(crate) static STRAYS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let opts = Opts::new(
        "ficus_stray_writes_total",
        "What strangers wrote to a fenced database: statements that it refused (handled=refused), rows that it let in and kept (handled=reported), those of them that were written to the owner's side (handled=forwarded)",
    );
    registered(IntCounterVec::new(opts, &["capability", "side", "handled"]))
});

/// Rows of strangers that are on one side only.
pub(crate) static STRAYS_UNSETTLED: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let opts = Opts::new("ficus_stray_rows_unsettled", "Rows that strangers wrote past the gateway, and that nobody has decided about");
    registered(IntGaugeVec::new(opts, &["capability", "side"]))
});

/// A capability that stands still.
pub(crate) static STANDS: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let opts = Opts::new("ficus_sync_stands_still", "1 while the agent does not go on with a capability: its trouble says why");
    registered(IntGaugeVec::new(opts, &["capability"]))
});

/// Rows that differ, as of the last verification.
pub(crate) static DRIFT: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let opts = Opts::new("ficus_drift_rows", "Rows that differed between the sides at the last verification");
    registered(IntGaugeVec::new(opts, &["capability", "table"]))
});

/// Events that a bus has confirmed.
pub(crate) static EVENTS_SENT: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let opts = Opts::new("ficus_events_sent_total", "Change events that a bus has confirmed");
    registered(IntCounterVec::new(opts, &["capability", "bus"]))
});

/// Events that wait for a bus.
pub(crate) static EVENTS_WAITING: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let opts = Opts::new("ficus_events_waiting", "Change events that a bus has not confirmed; while it takes them, of those at hand");
    registered(IntGaugeVec::new(opts, &["capability", "bus"]))
});

/// Age of the oldest event that waits for a bus.
pub(crate) static EVENTS_LAG: LazyLock<GaugeVec> = LazyLock::new(|| {
    let opts = Opts::new("ficus_events_lag_seconds", "Age of the oldest change event that a bus has not confirmed");
    registered(GaugeVec::new(opts, &["capability", "bus"]))
});

/// Rows set aside.
pub(crate) static QUARANTINED: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let opts = Opts::new("ficus_quarantined_rows", "Rows set aside because they could not be applied");
    registered(IntGaugeVec::new(opts, &["capability"]))
});
