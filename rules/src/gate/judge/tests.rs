use super::*;
use crate::Share;
use crate::gate::{ErrorGate, LatencyGate, Percentile, worst};
use crate::wire::{LATENCY_BOUNDS_MS, Traffic};

const NOW: Timestamp = Timestamp(1_000_000);
const LATENCY: LatencyGate = LatencyGate { max_ratio: 1.2, min_requests: 100, floor: Duration::from_millis(5), max: None };

fn gates() -> Gates {
    Gates {
        errors: Some(ErrorGate { max_increase: Share::from_millionths(5_000), max: None, min_requests: 200 }),
        latency: Percentile::ALL.map(|of| (of, LATENCY)).into(),
        shadow: Some(ShadowGate { max_different: Share::from_millionths(1_000), min_requests: 100 }),
        ..Gates::default()
    }
}

fn traffic(requests: u64, errors: u64) -> Traffic {
    Traffic { requests, errors, took: vec![requests], latency: Vec::new() }
}

fn verdict(measured: &Measurements, gate: &str) -> Option<Verdict> {
    judge(&gates(), measured, NOW).into_iter().find(|j| j.gate == gate).map(|j| j.verdict)
}

/// Reads.
fn sides(legacy: Traffic, modern: Traffic) -> Sides {
    Sides { legacy, modern, ..Sides::default() }
}

fn of_step(legacy: Traffic, modern: Traffic) -> Measurements {
    Measurements { step: Measured::Value(sides(legacy, modern)), ..Measurements::default() }
}

#[test]
fn errors_are_judged_against_legacy() {
    let judged = |legacy, modern| verdict(&of_step(legacy, modern), "errors");
    assert_eq!(judged(traffic(1_000, 10), traffic(1_000, 15)), Some(Verdict::Pass), "1% and half a percent more");
    assert_eq!(judged(traffic(1_000, 10), traffic(1_000, 16)), Some(Verdict::Inconclusive), "that may be chance");
    assert_eq!(judged(traffic(1_000, 10), traffic(1_000, 70)), Some(Verdict::Fail));
    assert_eq!(judged(traffic(1_000_000, 10_000), traffic(1_000_000, 16_000)), Some(Verdict::Fail), "of so many it is no chance");
    assert_eq!(judged(traffic(1_000, 10), traffic(199, 199)), Some(Verdict::Inconclusive));
    assert_eq!(judged(traffic(1, 1), traffic(1_000, 6)), Some(Verdict::Inconclusive), "one bad request on legacy excuses nothing");
    assert_eq!(judged(traffic(1, 1), traffic(1_000, 20)), Some(Verdict::Fail), "one bad request on legacy excuses nothing");
    assert_eq!(judged(traffic(0, 0), traffic(0, 0)), Some(Verdict::Inconclusive), "0 of 0 is no number");
}

#[test]
fn a_bad_minute_does_not_drown_in_a_good_hour() {
    let mut measured = of_step(traffic(100_000, 0), traffic(100_000, 100));
    assert_eq!(verdict(&measured, "errors"), Some(Verdict::Pass));
    measured.recent = Measured::Value(sides(traffic(500, 0), traffic(500, 100)));
    assert_eq!(verdict(&measured, "errors"), Some(Verdict::Fail));
    measured.recent = Measured::Value(sides(traffic(5, 0), traffic(5, 5)));
    assert_eq!(verdict(&measured, "errors"), Some(Verdict::Pass), "too few to say anything");
}

/// So many answers that took about so long, and some that took longer.
fn timed(requests: u64, millis: u64, late: u64, late_millis: u64) -> Traffic {
    let mut took = vec![0; LATENCY_BOUNDS_MS.len() + 1];
    let bucket = |millis: u64| LATENCY_BOUNDS_MS.partition_point(|bound| *bound < millis);
    took[bucket(millis)] += requests - late;
    took[bucket(late_millis)] += late;
    Traffic { requests, errors: 0, took, latency: Vec::new() }
}

fn slow(millis: u64) -> Traffic {
    timed(1_000, millis, 0, 1)
}

#[test]
fn latency_has_a_floor_and_a_ratio() {
    for gate in Percentile::ALL.map(Percentile::gate) {
        let judged = |legacy, modern| verdict(&of_step(legacy, modern), gate);
        assert_eq!(judged(slow(1), slow(2)), Some(Verdict::Pass), "{gate}: 2 ms is below the floor");
        for legacy in [10, 48, 90, 99, 101, 190, 210, 480, 900, 1_100, 4_900, 14_000] {
            assert_eq!(judged(slow(legacy), slow(legacy * 2)), Some(Verdict::Fail), "{gate}: twice {legacy} ms");
            assert_eq!(judged(slow(legacy), slow(legacy * 103 / 100)), Some(Verdict::Pass), "{gate}: a little more than {legacy} ms");
        }
        assert_eq!(judged(traffic(3, 0), slow(35)), Some(Verdict::Inconclusive), "{gate}");
    }
}

/// Of a thousand answers so many are slow: each percentile fails from its own share on, over a step as in a minute.
#[test]
fn each_percentile_sees_what_lies_beyond_it_and_nothing_else() {
    #[rustfmt::skip]
    let cases = [
        // slow   p50    p90    p95    p99
        (0,    [false, false, false, false]),
        (5,    [false, false, false, false]),
        (20,   [false, false, false, true]),
        (80,   [false, false, true,  true]),
        (200,  [false, true,  true,  true]),
        (480,  [false, true,  true,  true]),
        (600,  [true,  true,  true,  true]),
        (1_000, [true, true,  true,  true]),
    ];
    for (late, expected) in cases {
        let (times, late) = (100, late * 100);
        let measured = of_step(timed(1_000 * times, 20, 0, 1), timed(1_000 * times, 20, late, 400));
        let failing = Percentile::ALL.map(|of| verdict(&measured, of.gate()) == Some(Verdict::Fail));
        assert_eq!(failing, expected, "{late} of 100,000 are slow");
    }
    // In one minute, only what is no chance.
    let good = of_step(timed(1_000_000, 20, 0, 1), timed(1_000_000, 20, 0, 1));
    for (late, expected) in [
        (20, [false, false, false, false]),
        (60, [false, false, false, true]),
        (120, [false, false, true, true]),
        (200, [false, true, true, true]),
        (560, [false, true, true, true]),
        (640, [true, true, true, true]),
    ] {
        let minute = Measured::Value(sides(timed(1_000, 20, 0, 1), timed(1_000, 20, late, 400)));
        let measured = Measurements { minute, ..good.clone() };
        let failing = Percentile::ALL.map(|of| verdict(&measured, of.gate()) == Some(Verdict::Fail));
        assert_eq!(failing, expected, "{late} of 1000 are slow in a minute");
    }
}

#[test]
fn what_is_told_of_a_percentile_is_its_own() {
    let judged = judge(&gates(), &of_step(timed(1_000, 20, 0, 1), timed(1_000, 20, 80, 400)), NOW);
    let told: Vec<_> = judged.iter().filter(|one| one.gate.starts_with("latency")).map(|one| (&*one.gate, &*one.measured)).collect();
    let expected = [
        ("latency_p50", "modern 19.1ms, legacy 19.0ms, limit 1.2×"),
        ("latency_p90", "modern 20.0ms, legacy 19.8ms, limit 1.2×"),
        ("latency_p95", "modern 398.1ms, legacy 19.9ms, limit 1.2×"),
        ("latency_p99", "modern 415.6ms, legacy 20.0ms, limit 1.2×"),
    ];
    assert_eq!(told, expected);
}

#[test]
fn absolute_limits_hold_whatever_legacy_does() {
    let mut gates = gates();
    let judged = |gates: &Gates, measured: &Measurements, gate: &str| {
        judge(gates, measured, NOW).into_iter().find(|j| j.gate == gate).map(|j| j.verdict)
    };
    let bad = of_step(traffic(1_000, 150), traffic(1_000, 140));
    assert_eq!(judged(&gates, &bad, "errors"), Some(Verdict::Pass), "legacy is worse");
    if let Some(errors) = &mut gates.errors {
        errors.max = Some(Share::from_millionths(80_000));
    }
    assert_eq!(judged(&gates, &bad, "errors"), Some(Verdict::Fail), "and it is too bad all the same");
    gates.latency.values_mut().for_each(|latency| latency.max = Some(Duration::from_millis(300)));
    for gate in Percentile::ALL.map(Percentile::gate) {
        assert_eq!(judged(&gates, &of_step(slow(500), slow(400)), gate), Some(Verdict::Fail), "{gate}: beyond the limit, and faster");
        assert_eq!(judged(&gates, &of_step(slow(500), slow(240)), gate), Some(Verdict::Pass), "{gate}");
        assert_eq!(judged(&gates, &of_step(slow(20), slow(240)), gate), Some(Verdict::Fail), "{gate}: within the limit, and slower");
        assert_eq!(judged(&gates, &of_step(traffic(0, 0), slow(240)), gate), Some(Verdict::Pass), "{gate}: nobody asks legacy");
    }
}

#[test]
fn legacy_is_as_fast_as_it_was_when_nobody_asks_it_any_more() {
    for of in Percentile::ALL {
        let took = |before: Option<u64>| {
            let mut known = Baseline::default();
            before.into_iter().for_each(|millis| known.reads.learn(&slow(millis), 1));
            known
        };
        let judged = |before: Option<u64>, modern: Traffic| {
            verdict(&Measurements { legacy_before: took(before), ..of_step(traffic(0, 0), modern) }, of.gate())
        };
        assert_eq!(judged(None, slow(100)), Some(Verdict::Inconclusive), "{of:?}");
        assert_eq!(judged(Some(95), slow(100)), Some(Verdict::Pass), "{of:?}");
        assert_eq!(judged(Some(50), slow(100)), Some(Verdict::Fail), "{of:?}");
        let asked = Measurements { legacy_before: took(Some(50)), ..of_step(slow(100), slow(100)) };
        assert_eq!(verdict(&asked, of.gate()), Some(Verdict::Pass), "{of:?}: what legacy does now counts");
    }
}

#[test]
fn what_turns_bad_after_good_hours_is_seen_within_a_minute() {
    let good = of_step(timed(1_000_000, 20, 0, 1), timed(1_000_000, 20, 0, 1));
    let minute = |modern: Traffic| Measurements { minute: Measured::Value(sides(timed(1_200, 20, 0, 1), modern)), ..good.clone() };
    let errors = |errors| Traffic { errors, ..timed(1_200, 20, 0, 1) };
    assert_eq!(verdict(&minute(errors(60)), "errors"), Some(Verdict::Fail), "5 % of errors");
    assert_eq!(verdict(&minute(errors(12)), "errors"), Some(Verdict::Pass), "1 % of few may be chance");
    assert_eq!(verdict(&minute(timed(1_200, 50, 0, 1)), "latency_p99"), Some(Verdict::Fail), "two and a half times as slow");
    assert_eq!(verdict(&minute(timed(1_200, 20, 12, 900)), "latency_p99"), Some(Verdict::Pass), "one in a hundred is slow");
    assert_eq!(verdict(&minute(timed(1_200, 20, 70, 900)), "latency_p99"), Some(Verdict::Fail), "more than that");
    assert_eq!(verdict(&minute(timed(60, 50, 0, 1)), "latency_p99"), Some(Verdict::Pass), "too few to say anything");
    for legacy in [10, 48, 90, 99, 101, 190, 210, 480, 900, 1_100, 4_900, 14_000] {
        let recent = Measured::Value(sides(timed(1_200, legacy, 0, 1), timed(1_200, 2 * legacy, 0, 1)));
        for gate in Percentile::ALL.map(Percentile::gate) {
            assert_eq!(verdict(&Measurements { minute: recent.clone(), ..good.clone() }, gate), Some(Verdict::Fail), "twice {legacy} ms");
        }
    }
    let mut gates = gates();
    gates.latency.values_mut().for_each(|latency| latency.max_ratio = f64::MAX);
    let judged = judge(&gates, &minute(timed(1_200, 50, 0, 1)), NOW);
    assert!(judged.iter().all(|judged| judged.verdict == Verdict::Pass), "a ratio that nothing exceeds: {judged:?}");
    let mut differs = Measurements { shadow: Measured::Value(ShadowCounts { same: 1_000_000, ..ShadowCounts::default() }), ..good };
    differs.shadow_recent = Measured::Value(ShadowCounts { same: 1_900, different: 100, ..ShadowCounts::default() });
    assert_eq!(verdict(&differs, "shadow"), Some(Verdict::Fail));
    differs.shadow_recent = Measured::Value(ShadowCounts { same: 20, different: 1, ..ShadowCounts::default() });
    assert_eq!(verdict(&differs, "shadow"), Some(Verdict::Pass), "too few");
}

/// From 0 to 1, always the same ones.
fn dice() -> impl FnMut() -> f64 {
    let mut dice = 88_172_645_463_325_252_u64;
    move || {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        (dice >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A service that is as bad as it may be is looked at every few seconds for weeks.
#[test]
fn chance_alone_fails_no_minute() {
    let mut throw = dice();
    let step = of_step(timed(100_000, 20, 0, 1), timed(100_000, 20, 0, 1));
    for window in 0..20_000 {
        let requests = [200, 300, 1_200][window % 3];
        let mut of = |share: f64| (0..requests).filter(|_| throw() <= share).count() as u64;
        let legacy = Traffic { errors: of(0.01), ..timed(requests, 20, of(0.01), 900) };
        let modern = Traffic { errors: of(0.015), ..timed(requests, 20, of(0.01), 900) };
        let measured = Measurements { minute: Measured::Value(sides(legacy, modern)), ..step.clone() };
        for gate in ["errors", "latency_p50", "latency_p90", "latency_p95", "latency_p99"] {
            assert_eq!(verdict(&measured, gate), Some(Verdict::Pass), "window {window}: {measured:?}");
        }
    }
}

/// How long a service takes, in milliseconds, by two throws of the dice.
#[derive(Debug, Clone, Copy)]
enum Takes {
    /// As most do: many a little longer than most, a few far longer.
    Lognormal(f64),
    /// One that queues.
    Exponential(f64),
}

impl Takes {
    fn millis(self, throw: &mut impl FnMut() -> f64) -> f64 {
        let (one, other) = (throw().max(1e-9), throw());
        match self {
            Takes::Exponential(mean) => -mean * one.ln(),
            Takes::Lognormal(median) => median * (0.5 * (-2.0 * one.ln()).sqrt() * (std::f64::consts::TAU * other).cos()).exp(),
        }
    }

    fn slower(self, times: f64) -> Takes {
        match self {
            Takes::Lognormal(median) => Takes::Lognormal(median * times),
            Takes::Exponential(mean) => Takes::Exponential(mean * times),
        }
    }
}

/// So many more answers, of which a share fails.
fn answer(traffic: &mut Traffic, requests: u64, takes: Takes, failing: f64, throw: &mut impl FnMut() -> f64) {
    traffic.took.resize(LATENCY_BOUNDS_MS.len() + 1, 0);
    for _ in 0..requests {
        traffic.requests += 1;
        traffic.errors += u64::from(throw() <= failing);
        let millis = takes.millis(throw);
        traffic.took[LATENCY_BOUNDS_MS.partition_point(|&bound| (bound as f64) < millis)] += 1;
    }
}

const TAKES: [Takes; 2] = [Takes::Lognormal(60.0), Takes::Exponential(100.0)];

/// Both sides are the same, and modern may not take any longer.
#[test]
fn chance_alone_fails_no_minute_of_those_that_are_as_fast_as_each_other() {
    let mut throw = dice();
    let mut gates = gates();
    gates.latency.values_mut().for_each(|latency| latency.max_ratio = 1.0);
    let step = of_step(timed(100_000, 20, 0, 1), timed(100_000, 20, 0, 1));
    for window in 0..8_000 {
        let mut side = || {
            let mut side = Traffic::default();
            answer(&mut side, [200, 300, 1_200][window % 3], TAKES[window % 2], 0.01, &mut throw);
            side
        };
        let measured = Measurements { minute: Measured::Value(sides(side(), side())), ..step.clone() };
        let failing: Vec<_> = judge(&gates, &measured, NOW).into_iter().filter(Judged::fails).collect();
        assert!(failing.is_empty(), "window {window}: {failing:?}");
    }
}

/// A step is looked at from its first requests on, every few of them. Nobody knows better before.
#[test]
fn chance_alone_fails_no_step() {
    let mut throw = dice();
    for run in 0..300 {
        let (takes, mut seen) = (TAKES[run % 2], Sides::default());
        // Half of the callers; a few of them, and most; and all of them, where legacy is known by as few as it may be.
        let share = [50, 95, 10, 100][run % 4];
        let mut legacy_before = Baseline::default();
        let mut before = Traffic::default();
        answer(&mut before, 200, takes, 0.01, &mut throw);
        legacy_before.reads.learn(&before, 1);
        for _ in 0..50 {
            answer(&mut seen.modern, share, takes, 0.01, &mut throw);
            answer(&mut seen.legacy, 100 - share, takes, 0.01, &mut throw);
            let measured = Measurements { legacy_before: legacy_before.clone(), ..of_step(seen.legacy.clone(), seen.modern.clone()) };
            let failing: Vec<_> = judge(&gates(), &measured, NOW).into_iter().filter(Judged::fails).collect();
            assert!(failing.is_empty(), "run {run}, {takes:?}, {share} %: {failing:?}");
        }
    }
}

/// And in several windows in a row: where a gate waits for them, each of them needs less.
#[test]
fn chance_alone_fails_no_windows_in_a_row() {
    let mut throw = dice();
    let mut gates = gates();
    let patience = Patience { failures: 3, windows: 5, ..Patience::default() };
    gates.patience = ["errors", "latency_p50", "latency_p99"].map(|gate| (gate.to_owned(), patience)).into();
    let mut measured = of_step(timed(100_000, 20, 0, 1), timed(100_000, 20, 0, 1));
    let fails = |measured: &Measurements| judge(&gates, measured, NOW).into_iter().any(|judged| judged.fails());
    for run in 0..4_000 {
        let mut window = |times: f64, failing| {
            let mut window = Sides::default();
            let takes = TAKES[run % 2];
            answer(&mut window.legacy, 200, takes, 0.01, &mut throw);
            answer(&mut window.modern, 200, takes.slower(times), failing, &mut throw);
            window
        };
        let mut windows: Vec<Sides> = (0..5).map(|_| window(1.0, 0.01)).collect();
        let all = |windows: &[Sides]| ["errors", "latency_p50", "latency_p99"].map(|gate| (gate.to_owned(), windows.to_vec())).into();
        measured.windows = all(&windows);
        assert!(!fails(&measured), "run {run}");
        if run % 40 == 0 {
            windows.splice(2.., (0..3).map(|_| window(1.0, 0.25)));
            measured.windows = all(&windows);
            assert!(fails(&measured), "run {run}: 25 % of errors, three times");
        }
    }
}

/// Also where all of them are held against the same few answers of before.
#[test]
fn chance_alone_fails_no_windows_that_are_held_against_the_same() {
    let mut throw = dice();
    let mut gates = gates();
    let patience = Patience { failures: 30, windows: 30, ..Patience::default() };
    gates.patience = ["errors", "latency_p50", "latency_p99"].map(|gate| (gate.to_owned(), patience)).into();
    for run in 0..200 {
        let takes = TAKES[run % 2];
        let mut side = |requests| {
            let mut side = Traffic::default();
            answer(&mut side, requests, takes, 0.02, &mut throw);
            side
        };
        let mut legacy_before = Baseline::default();
        legacy_before.reads.learn(&side(200), 1);
        let windows: Vec<Sides> = (0..30).map(|_| sides(Traffic::default(), side(2_000))).collect();
        let mut measured = Measurements { legacy_before, ..of_step(Traffic::default(), traffic(0, 0)) };
        measured.windows = ["errors", "latency_p50", "latency_p99"].map(|gate| (gate.to_owned(), windows.clone())).into();
        let failing: Vec<_> = judge(&gates, &measured, NOW).into_iter().filter(Judged::fails).collect();
        assert!(failing.is_empty(), "run {run}, {takes:?}: {failing:?}");
    }
}

/// What is bad is seen before many have met it.
#[test]
fn what_is_bad_fails_soon() {
    let mut throw = dice();
    for run in 0..100 {
        let takes = TAKES[run % 2];
        let mut after = |times: f64, failing: f64, gate: &str| {
            let mut seen = Sides::default();
            for requests in (0..200).map(|hundreds| 100 * (hundreds + 1)) {
                answer(&mut seen.legacy, 100, takes, 0.0, &mut throw);
                answer(&mut seen.modern, 100, takes.slower(times), failing, &mut throw);
                if verdict(&of_step(seen.legacy.clone(), seen.modern.clone()), gate) == Some(Verdict::Fail) {
                    return requests;
                }
            }
            u64::MAX
        };
        for (times, failing, gate, most) in [
            (1.0, 0.05, "errors", 1_300),
            (1.0, 0.02, "errors", 8_000),
            (2.0, 0.0, "latency_p50", 1_500),
            (2.0, 0.0, "latency_p90", 1_500),
            (2.0, 0.0, "latency_p95", 1_500),
            (2.0, 0.0, "latency_p99", 2_000),
        ] {
            let after = after(times, failing, gate);
            assert!(after <= most, "run {run}, {gate}: {times} times as slow, {failing} fail: seen after {after} requests");
        }
    }
}

/// Writes are held against writes: they take longer than reads on either side, and fail for other reasons.
#[test]
fn writes_are_held_against_writes() {
    let step = |modern_writes: Traffic| {
        let mut before = Baseline::default();
        before.reads.learn(&timed(1_000, 10, 0, 1), 1);
        before.writes.learn(&Traffic { errors: 20, ..timed(1_000, 200, 0, 1) }, 1);
        let sides = Sides { modern: timed(5_000, 10, 0, 1), modern_writes, ..Sides::default() };
        Measurements { step: Measured::Value(sides), legacy_before: before, ..Measurements::default() }
    };
    let writes = |millis, errors| Traffic { errors, ..timed(1_000, millis, 0, 1) };
    let judged = |modern_writes: Traffic, gate| verdict(&step(modern_writes), gate);
    for gate in ["errors", "latency_p50", "latency_p99"] {
        assert_eq!(judged(writes(200, 20), gate), Some(Verdict::Pass), "{gate}: as they were on legacy");
        let few = Traffic { errors: 4, ..timed(90, 200, 3, 9_000) };
        assert_eq!(judged(few, gate), Some(Verdict::Pass), "{gate}: too few of them to say anything");
        let none_good = Traffic { errors: 90, ..timed(90, 9_000, 0, 1) };
        assert_eq!(judged(none_good, gate), Some(Verdict::Fail), "{gate}: few, and no chance");
    }
    assert_eq!(judged(Traffic { errors: 20, ..timed(20, 200, 0, 1) }, "errors"), Some(Verdict::Fail), "20 of 20");
    assert_eq!(judged(writes(400, 20), "latency_p99"), Some(Verdict::Fail), "twice as slow");
    assert_eq!(judged(writes(200, 100), "errors"), Some(Verdict::Fail), "ten of a hundred fail, among six times as many requests");
    assert_eq!(judged(writes(200, 26), "errors"), Some(Verdict::Inconclusive), "a little more, and perhaps by chance");
    let told = judge(&gates(), &step(writes(400, 20)), NOW);
    let told = told.iter().find(|judged| judged.gate == "latency_p99").map(|judged| judged.measured.as_str());
    assert_eq!(told, Some("writes: modern 419.7ms, legacy 200.0ms before, limit 1.2×"));
    // Where hardly anybody reads, they are all there is.
    let mut few_reads = step(writes(200, 20));
    if let Measured::Value(sides) = &mut few_reads.step {
        sides.modern = timed(20, 10, 0, 1);
    }
    assert_eq!(verdict(&few_reads, "errors"), Some(Verdict::Pass));
    if let Measured::Value(sides) = &mut few_reads.step {
        sides.modern = traffic(20, 20);
    }
    assert_eq!(verdict(&few_reads, "errors"), Some(Verdict::Fail), "none of the few reads is answered");
    assert_eq!(verdict(&of_step(traffic(1_000, 10), traffic(20, 20)), "errors"), Some(Verdict::Inconclusive), "too few in all");
}

/// Of a kind that is rare, only what is no chance is said.
#[test]
fn chance_alone_fails_no_few_writes() {
    let mut throw = dice();
    for run in 0..40_000 {
        let (takes, few) = (TAKES[run % 2], 1 + run as u64 % 199);
        let (mut before, mut seen) = (Traffic::default(), Sides { modern: timed(5_000, 10, 0, 1), ..Sides::default() });
        answer(&mut before, 300, takes, 0.01, &mut throw);
        answer(&mut seen.modern_writes, few, takes, 0.015, &mut throw);
        let mut legacy_before = Baseline::default();
        legacy_before.reads.learn(&timed(1_000, 10, 0, 1), 1);
        legacy_before.writes.learn(&before, 1);
        let measured = Measurements { step: Measured::Value(seen), legacy_before, ..Measurements::default() };
        let failing: Vec<_> = judge(&gates(), &measured, NOW).into_iter().filter(Judged::fails).collect();
        assert!(failing.is_empty(), "run {run}, {few} writes, {takes:?}: {failing:?}");
    }
}

/// An hour that failed is judged then. Afterwards it neither sends a service back that is well, nor lets it go forward.
#[test]
fn what_is_over_is_inconclusive() {
    let mut measured = of_step(traffic(6_000, 0), traffic(6_000, 1_000));
    let judged = |measured: &Measurements| verdict(measured, "errors");
    assert_eq!(judged(&measured), Some(Verdict::Fail), "nobody knows of the last minutes");
    measured.recent = Measured::Value(sides(traffic(500, 0), traffic(500, 0)));
    assert_eq!(judged(&measured), Some(Verdict::Inconclusive), "it is well again");
    measured.recent = Measured::Value(sides(traffic(5, 0), traffic(5, 0)));
    assert_eq!(judged(&measured), Some(Verdict::Fail), "so few do not say that it is");
    measured.recent = Measured::Value(sides(traffic(500, 0), traffic(500, 10)));
    assert_eq!(judged(&measured), Some(Verdict::Fail), "it is not, perhaps by chance");
}

/// Many reads that are well do not say that a few writes are.
#[test]
fn what_is_over_is_so_by_requests_of_its_kind() {
    for few_are_writes in [true, false] {
        let of = |many: Traffic, few: Traffic| {
            let (modern, modern_writes) = if few_are_writes { (many, few) } else { (few, many) };
            Measured::Value(Sides { modern, modern_writes, ..Sides::default() })
        };
        let mut measured = Measurements { step: of(traffic(100_000, 0), traffic(100, 100)), ..Measurements::default() };
        for (few, expected) in [(traffic(1, 1), Verdict::Fail), (traffic(0, 0), Verdict::Fail), (traffic(300, 0), Verdict::Inconclusive)] {
            measured.recent = of(traffic(500, 0), few);
            assert_eq!(verdict(&measured, "errors"), Some(expected), "{measured:?}");
        }
    }
}

/// Where a minute has fewer requests than a gate asks for, no window ever fails.
#[test]
fn where_windows_say_nothing_the_step_fails() {
    let mut gates = gates();
    let patience = Patience { failures: 2, windows: 3, ..Patience::default() };
    gates.patience = ["errors", "latency_p99"].map(|gate| (gate.to_owned(), patience)).into();
    let mut measured = of_step(timed(1_000, 20, 0, 1), Traffic { errors: 500, ..timed(500, 900, 0, 1) });
    let verdicts = |measured: &Measurements| {
        let judged = judge(&gates, measured, NOW);
        ["errors", "latency_p99"].map(|gate| judged.iter().find(|judged| judged.gate == gate).map(|judged| judged.verdict))
    };
    let window = |requests| sides(timed(1_000, 20, 0, 1), timed(requests, 20, 0, 1));
    let windows = |windows: &[Sides]| ["errors", "latency_p99"].map(|gate| (gate.to_owned(), windows.to_vec())).into();
    measured.windows = windows(&[window(90), window(90), window(90)]);
    assert_eq!(verdicts(&measured), [Some(Verdict::Fail); 2], "so few ask");
    measured.windows = windows(&[window(90), window(90)]);
    assert_eq!(verdicts(&measured), [Some(Verdict::Inconclusive); 2], "it has not been waited for so many");
    measured.windows = windows(&[window(90), window(1_000), window(90)]);
    assert_eq!(verdicts(&measured), [Some(Verdict::Inconclusive); 2], "a window that can be judged is not that bad");
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
    assert_eq!(judged(1_000, 0, 2), Some(Verdict::Fail), "nothing that came is different");
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
