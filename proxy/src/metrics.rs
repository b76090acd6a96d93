//! The gateway's metrics in the default registry of the `prometheus` crate. Registered once, however many gateways a
//! process has; labels are bounded.

mod requests;

use std::sync::OnceLock;

use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, core::Collector};

use crate::again::Why;
use ficus_rules::plugin::{Kind, WhenAway};

use crate::shadow::Dropped;

pub(crate) use requests::{By, Requests};

/// Refusals that alerts watch: counted from zero on, so that the first one is an increase.
const WATCHED: [&str; 6] = ["out_of_touch", "hold_full", "hold_deadline", "identity_unknown", "not_the_owner", "upstream_busy"];

/// What HTTP/2 connections are ended for.
const LEFT_FOR: [&str; 7] = ["enough", "slow_head", "slow_body", "resets", "continuations", "control_frames", "empty_frames"];

/// All metrics.
pub(crate) struct Metrics {
    pub(crate) requests: IntCounterVec,
    pub(crate) duration: HistogramVec,
    pub(crate) fallbacks: IntCounterVec,
    pub(crate) shadow: IntCounterVec,
    pub(crate) shadow_dropped: IntCounterVec,
    pub(crate) held: IntGaugeVec,
    pub(crate) hold: HistogramVec,
    pub(crate) inflight: IntGaugeVec,
    pub(crate) decisions: IntCounterVec,
    pub(crate) refusals: IntCounterVec,
    pub(crate) modern_down: IntGaugeVec,
    pub(crate) legacy_down: IntGaugeVec,
    pub(crate) under_way: IntGauge,
    pub(crate) generation: IntGauge,
    pub(crate) refused: IntCounter,
    pub(crate) connections: IntGauge,
    pub(crate) turned_away: IntCounterVec,
    pub(crate) left: IntCounterVec,
    pub(crate) certificate_expires: IntGaugeVec,
    pub(crate) certificate_unread: IntGaugeVec,
    pub(crate) instances: IntGaugeVec,
    pub(crate) ejections: IntCounterVec,
    pub(crate) retries: IntCounterVec,
    pub(crate) retries_refused: IntCounterVec,
    pub(crate) discovery_failures: IntCounterVec,
    pub(crate) plugin_answers: IntCounterVec,
    pub(crate) limits_unshared: IntCounterVec,
    pub(crate) circuit: IntGaugeVec,
    pub(crate) upstream_requests: IntGaugeVec,
    pub(crate) cache: IntCounterVec,
    pub(crate) cache_bytes: IntGauge,
    pub(crate) access_lines_dropped: IntCounterVec,
    pub(crate) spans_exported: IntCounter,
    pub(crate) spans_dropped: IntCounterVec,
}

/// The metrics of this process.
pub(crate) fn metrics() -> &'static Metrics {
    static METRICS: OnceLock<Metrics> = OnceLock::new();
    METRICS.get_or_init(Metrics::register)
}

impl Metrics {
    fn register() -> Metrics {
        let seconds = vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
        let counters = |name, help, labels: &[&str]| kept(IntCounterVec::new(Opts::new(name, help), labels));
        let gauges = |name, help, labels: &[&str]| kept(IntGaugeVec::new(Opts::new(name, help), labels));
        let histograms =
            |name, help, labels: &[&str]| kept(HistogramVec::new(HistogramOpts::new(name, help).buckets(seconds.clone()), labels));
        Metrics {
            requests: counters("ficus_requests_total", "Requests answered", &["capability", "side", "phase", "code"]),
            duration: histograms("ficus_request_duration_seconds", "From the request's head to its answer's end", &["capability", "side"]),
            fallbacks: counters("ficus_fallbacks_total", "Reads that legacy answered because modern failed", &["capability"]),
            shadow: counters("ficus_shadow_comparisons_total", "Mirrored reads by verdict", &["capability", "verdict"]),
            shadow_dropped: counters(
                "ficus_shadow_dropped_total",
                "Mirrored reads that were not compared, by reason",
                &["capability", "reason"],
            ),
            held: gauges("ficus_held_requests", "Writes held now", &["capability"]),
            hold: histograms("ficus_hold_seconds", "How long writes were held", &["capability"]),
            inflight: gauges("ficus_inflight_writes", "Writes sent and not yet answered", &["capability"]),
            decisions: counters("ficus_decisions_total", "Requests by why they went where they went", &["capability", "because"]),
            refusals: counters("ficus_refusals_total", "Requests that the gateway answered itself, by reason", &["reason"]),
            modern_down: gauges("ficus_modern_down", "1 while modern refuses connections, or is not well", &["capability"]),
            legacy_down: gauges("ficus_legacy_down", "1 while legacy takes no connections, or is not well", &["capability"]),
            under_way: kept(IntGauge::new("ficus_requests_under_way", "Requests that are being carried now")),
            generation: kept(IntGauge::new("ficus_rules_generation", "Generation of the published state that is served")),
            refused: kept(IntCounter::new("ficus_published_refused_total", "Published states that could not be taken")),
            connections: kept(IntGauge::new("ficus_connections", "Connections of clients")),
            turned_away: counters(
                "ficus_connections_refused_total",
                "Connections closed at once, by the limit that was reached",
                &["limit"],
            ),
            left: counters(
                "ficus_connections_left_total",
                "HTTP/2 connections, and for slow_body streams, that were ended, by what the client did",
                &["why"],
            ),
            certificate_expires: gauges(
                "ficus_certificate_expires_timestamp_seconds",
                "When a certificate of this gateway ends to be good",
                &["file"],
            ),
            certificate_unread: gauges("ficus_certificate_unread", "1 while what a file holds now cannot be used", &["file"]),
            instances: gauges("ficus_upstream_instances", "Instances of upstreams, by what is thought of them", &["upstream", "state"]),
            ejections: counters("ficus_upstream_ejections_total", "Instances that were left alone for failing requests", &["upstream"]),
            retries: counters(
                "ficus_upstream_retries_total",
                "Requests that went on to another instance, by reason",
                &["upstream", "reason"],
            ),
            retries_refused: counters(
                "ficus_upstream_retries_refused_total",
                "Reads that could have gone on to another instance, but for the budget",
                &["upstream"],
            ),
            circuit: gauges(
                "ficus_upstream_circuit",
                "0 while requests go to it, 1 while some are tried, 2 while none does",
                &["upstream"],
            ),
            upstream_requests: gauges("ficus_upstream_requests", "Requests that it has, and that wait for a place", &["upstream", "state"]),
            cache: counters(
                "ficus_cache_total",
                "Requests of routes that keep answers, by what became of them",
                &["capability", "outcome"],
            ),
            cache_bytes: kept(IntGauge::new("ficus_cache_bytes", "Room that kept answers take, about")),
            discovery_failures: counters(
                "ficus_upstream_discovery_failures_total",
                "Times that it could not be found out where instances are",
                &["upstream"],
            ),
            plugin_answers: counters("ficus_plugin_answers_total", "Requests that a plugin answered, by its kind", &["plugin"]),
            limits_unshared: counters(
                "ficus_rate_limits_unshared_total",
                "Requests that could not be counted together with other gateways, by what held then",
                &["when_away"],
            ),
            access_lines_dropped: counters("ficus_access_lines_dropped_total", "Lines that the access log lost, by reason", &["reason"]),
            spans_exported: kept(IntCounter::new("ficus_spans_exported_total", "Spans that the collector took")),
            spans_dropped: counters("ficus_spans_dropped_total", "Spans that the collector did not get, by reason", &["reason"]),
        }
    }
}

/// Shows a capability's counters from zero on: a graph of what never happened is a line, not a gap.
pub(crate) fn begin(capability: &str) {
    let metrics = metrics();
    let _ = metrics.fallbacks.with_label_values(&[capability]);
    for why in Dropped::ALL {
        let _ = metrics.shadow_dropped.with_label_values(&[capability, why.as_str()]);
    }
    for gauge in [&metrics.held, &metrics.inflight, &metrics.modern_down, &metrics.legacy_down] {
        let _ = gauge.with_label_values(&[capability]);
    }
    let _ = metrics.hold.with_label_values(&[capability]);
    for outcome in ["hit", "miss", "bypass", "kept"] {
        let _ = metrics.cache.with_label_values(&[capability, outcome]);
    }
    for reason in WATCHED {
        let _ = metrics.refusals.with_label_values(&[reason]);
    }
    for kind in Kind::ALL {
        let _ = metrics.plugin_answers.with_label_values(&[kind.as_str()]);
    }
    for away in WhenAway::ALL {
        let _ = metrics.limits_unshared.with_label_values(&[away.as_str()]);
    }
    for why in LEFT_FOR {
        let _ = metrics.left.with_label_values(&[why]);
    }
    for limit in ["connections", "connections_per_address"] {
        let _ = metrics.turned_away.with_label_values(&[limit]);
    }
    for (counter, reasons) in
        [(&metrics.access_lines_dropped, ["queue_full", "failed"]), (&metrics.spans_dropped, ["queue_full", "refused"])]
    {
        for reason in reasons {
            let _ = counter.with_label_values(&[reason]);
        }
    }
    for verdict in ["same", "different", "failed"] {
        let _ = metrics.shadow.with_label_values(&[capability, verdict]);
    }
}

/// Shows an upstream's from zero on.
pub(crate) fn begin_upstream(upstream: &str, states: &[&str]) {
    let metrics = metrics();
    for state in states {
        let _ = metrics.instances.with_label_values(&[upstream, state]);
    }
    for why in Why::ALL {
        let _ = metrics.retries.with_label_values(&[upstream, why.as_str()]);
    }
    for state in ["under_way", "waiting"] {
        let _ = metrics.upstream_requests.with_label_values(&[upstream, state]);
    }
    let _ = metrics.circuit.with_label_values(&[upstream]);
    for counter in [&metrics.ejections, &metrics.discovery_failures, &metrics.retries_refused] {
        let _ = counter.with_label_values(&[upstream]);
    }
}

/// Counts a request as under way until it is dropped.
pub(crate) struct UnderWay(());

impl UnderWay {
    pub(crate) fn begin() -> UnderWay {
        metrics().under_way.inc();
        UnderWay(())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        metrics().under_way.dec();
    }
}

fn kept<C: Collector + Clone + 'static>(made: prometheus::Result<C>) -> C {
    let metric = made.expect("the names and labels of metrics are constants");
    // A process that registers a metric of this name elsewhere keeps that one in the registry.
    let _ = prometheus::register(Box::new(metric.clone()));
    metric
}
