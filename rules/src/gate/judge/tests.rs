use super::*;
use crate::gate::worst;

const NOW: Timestamp = Timestamp(1_000_000);

fn gates() -> Gates {
    Gates {
        errors: Some(ErrorGate { max_increase: Share::from_millionths(5_000), max: None, min_requests: 200 }),
        latency_p99: Some(LatencyGate { max_ratio: 1.2, min_requests: 100, floor: Duration::from_millis(5), max: None }),
        shadow: Some(ShadowGate { max_different: Share::from_millionths(1_000), min_requests: 100 }),
        ..Gates::default()
    }
}

fn traffic(requests: u64, errors: u64) -> Traffic {
    Traffic { requests, errors, latency: vec![requests] }
}

fn verdict(measured: &Measurements, gate: &str) -> Option<Verdict> {
    judge(&gates(), measured, NOW).into_iter().find(|j| j.gate == gate).map(|j| j.verdict)
}

fn of_step(legacy: Traffic, modern: Traffic) -> Measurements {
    Measurements { step: Measured::Value(Sides { legacy, modern }), ..Measurements::default() }
}

#[test]
fn errors_are_judged_against_legacy() {
    let judged = |legacy, modern| verdict(&of_step(legacy, modern), "errors");
    assert_eq!(judged(traffic(1_000, 10), traffic(1_000, 15)), Some(Verdict::Pass), "1% and half a percent more");
    assert_eq!(judged(traffic(1_000, 10), traffic(1_000, 16)), Some(Verdict::Fail));
    assert_eq!(judged(traffic(1_000, 10), traffic(199, 199)), Some(Verdict::Inconclusive));
    assert_eq!(judged(traffic(1, 1), traffic(1_000, 6)), Some(Verdict::Fail), "one bad request on legacy excuses nothing");
    assert_eq!(judged(traffic(0, 0), traffic(0, 0)), Some(Verdict::Inconclusive), "0 of 0 is no number");
}

#[test]
fn a_bad_minute_does_not_drown_in_a_good_hour() {
    let mut measured = of_step(traffic(100_000, 0), traffic(100_000, 100));
    assert_eq!(verdict(&measured, "errors"), Some(Verdict::Pass));
    measured.recent = Measured::Value(Sides { legacy: traffic(500, 0), modern: traffic(500, 100) });
    assert_eq!(verdict(&measured, "errors"), Some(Verdict::Fail));
    measured.recent = Measured::Value(Sides { legacy: traffic(5, 0), modern: traffic(5, 5) });
    assert_eq!(verdict(&measured, "errors"), Some(Verdict::Pass), "too few to say anything");
}

#[test]
fn latency_has_a_floor_and_a_ratio() {
    let slow = |bucket: usize| {
        let mut latency = vec![0; 15];
        latency[bucket] = 1_000;
        Traffic { requests: 1_000, errors: 0, latency }
    };
    assert_eq!(verdict(&of_step(slow(0), slow(1)), "latency_p99"), Some(Verdict::Pass), "2 ms is below the floor");
    assert_eq!(verdict(&of_step(slow(4), slow(5)), "latency_p99"), Some(Verdict::Fail));
    assert_eq!(verdict(&of_step(slow(5), slow(5)), "latency_p99"), Some(Verdict::Pass));
    assert_eq!(verdict(&of_step(traffic(3, 0), slow(5)), "latency_p99"), Some(Verdict::Inconclusive));
}

#[test]
fn a_lag_fails_when_it_lasts() {
    let judged = |seconds, beyond_since| {
        let lag = Measured::Value(LagSeen { seconds, beyond_since });
        verdict(&Measurements { lag, ..Measurements::default() }, "lag")
    };
    assert_eq!(judged(2.0, None), Some(Verdict::Pass));
    assert_eq!(judged(2.1, Some(Timestamp(NOW.0 - 9_000))), Some(Verdict::Inconclusive));
    assert_eq!(judged(2.1, Some(Timestamp(NOW.0 - 10_000))), Some(Verdict::Fail));
    assert_eq!(judged(f64::NAN, None), Some(Verdict::Error));
    assert_eq!(judged(f64::INFINITY, None), Some(Verdict::Error));
    assert_eq!(judged(-1.0, None), Some(Verdict::Error));
}

#[test]
fn a_lag_that_nobody_knows_fails_when_that_lasts() {
    let since = |ms: u64| Some(Timestamp(NOW.0 - ms));
    let missing = |lag_missing_since| {
        let lag = Measured::Missing("the agent is silent".to_owned());
        verdict(&Measurements { lag, lag_missing_since, ..Measurements::default() }, "lag")
    };
    assert_eq!(missing(None), Some(Verdict::Error));
    assert_eq!(missing(since(9_999)), Some(Verdict::Error));
    assert_eq!(missing(since(10_000)), Some(Verdict::Fail));
    let garbled = |beyond_since| {
        let lag = Measured::Value(LagSeen { seconds: f64::NAN, beyond_since });
        verdict(&Measurements { lag, ..Measurements::default() }, "lag")
    };
    assert_eq!((garbled(since(9_999)), garbled(since(10_000))), (Some(Verdict::Error), Some(Verdict::Fail)));
}

#[test]
fn parity_is_fresh_or_inconclusive() {
    let judged = |last| verdict(&Measurements { parity: Measured::Value(ParitySeen { last }), ..Measurements::default() }, "parity");
    assert_eq!(judged(None), Some(Verdict::Inconclusive));
    assert_eq!(judged(Some((0, Timestamp(NOW.0 - 300_000)))), Some(Verdict::Pass));
    assert_eq!(judged(Some((0, Timestamp(NOW.0 - 300_001)))), Some(Verdict::Inconclusive));
    assert_eq!(judged(Some((1, Timestamp(0)))), Some(Verdict::Fail), "old drift is still drift");
}

#[test]
fn shadow_counts_what_never_answered_as_different() {
    let judged = |same, different, failed| {
        let shadow = Measured::Value(ShadowCounts { same, different, failed, dropped: 7 });
        verdict(&Measurements { shadow, ..Measurements::default() }, "shadow")
    };
    assert_eq!(judged(999, 1, 0), Some(Verdict::Pass));
    assert_eq!(judged(998, 1, 1), Some(Verdict::Fail));
    assert_eq!(judged(99, 0, 0), Some(Verdict::Inconclusive));
}

#[test]
fn the_worst_wins_and_what_is_unasked_is_silent() {
    assert_eq!(judge(&gates(), &Measurements::default(), NOW), vec![]);
    let missing = Measurements { lag: Measured::Missing("no agent".into()), ..Measurements::default() };
    assert_eq!(worst(&judge(&gates(), &missing, NOW)), Verdict::Error);
    let failing = Measurements { parity: Measured::Value(ParitySeen { last: Some((3, NOW)) }), ..missing };
    assert_eq!(worst(&judge(&gates(), &failing, NOW)), Verdict::Fail);
    assert_eq!(worst(&[]), Verdict::Pass);
}
