use std::time::Duration;

use super::*;
use crate::gate::{Answer, CustomGate, Patience, Percentile, QuarantineGate, Question, Said, Verdict};
use crate::hours::Hours;
use crate::migration::advance::{Event, Wish, advance};
use crate::migration::tests::{NOW, good, later, plan, report, state};
use crate::migration::waiting::WaitingKind;

fn failing(owner: Side, now: Timestamp) -> Observation {
    let mut seen = good(owner, now);
    seen.traffic.step.modern.errors = 50;
    seen.traffic.recent = seen.traffic.step.clone();
    seen
}

fn tick(state: &State, plan: &Capability, seen: &Observation, now: Timestamp) -> Outcome {
    advance(state, plan, seen, &Event::Tick, now)
}

#[test]
fn a_ramp_goes_back_to_where_the_rules_say() {
    let mut plan = plan();
    plan.returns.ramp = RampReturn::LastGood;
    for (step, expected) in [(2, (Phase::Ramping, 1)), (1, (Phase::Shadowing, 0))] {
        let back = tick(&state(Phase::Ramping, step), &plan, &failing(Side::Legacy, later(5)), later(5));
        assert_eq!((back.state.phase, back.state.step), expected);
        assert!(back.state.holds.contains("gate:errors"));
        assert_eq!(back.journal[0].detail["gates"]["errors"]["verdict"], json!("fail"));
    }
    plan.returns.ramp = RampReturn::Legacy;
    let back = tick(&state(Phase::Ramping, 2), &plan, &failing(Side::Legacy, later(5)), later(5));
    assert_eq!((back.state.phase, back.state.step), (Phase::Streaming, 0));
}

#[test]
fn a_try_needs_a_whole_cool_down_without_a_failing_gate_and_tries_are_counted() {
    let mut plan = plan();
    (plan.returns.tries, plan.returns.cool_down) = (1, Duration::from_secs(60));
    let back = tick(&state(Phase::Ramping, 2), &plan, &failing(Side::Legacy, later(5)), later(5)).state;
    // Another gate fails meanwhile: the cool-down begins anew when it passes again.
    let mut drift = good(Side::Legacy, later(30));
    report(&mut drift).verified.as_mut().expect("verified").tables[0].drift_rows = 1;
    let noted = tick(&back, &plan, &drift, later(30)).state;
    assert_eq!(noted.returned.as_ref().map(|returned| returned.since), Some(later(30)));
    let well = tick(&noted, &plan, &good(Side::Legacy, later(50)), later(50)).state;
    let kind = |state: &State, at| tick(state, &plan, &good(Side::Legacy, at), at).journal.first().map(|line| line.kind.clone());
    assert_eq!(kind(&well, later(109)), None);
    assert_eq!(kind(&well, later(110)).as_deref(), Some("retried"));
    let again = tick(&well, &plan, &good(Side::Legacy, later(110)), later(110)).state;
    assert!(again.holds.is_empty());
    // The second time there is no try left, until somebody releases it.
    let ramping = State { phase: Phase::Ramping, step: 2, ..again };
    let back = tick(&ramping, &plan, &failing(Side::Legacy, later(200)), later(200)).state;
    let quiet = tick(&back, &plan, &good(Side::Legacy, later(201)), later(201)).state;
    assert_eq!(kind(&quiet, later(9_000)), None);
    let seen = good(Side::Legacy, NOW);
    let released = advance(&quiet, &plan, &seen, &Event::Wish(Wish::Release(Some("gate:errors".into()))), NOW).state;
    assert_eq!(released.returned, None);
}

#[test]
fn in_soak_a_failing_gate_reverts_holds_or_pages() {
    let mut plan = plan();
    let now = later(5);
    for (soak, kind, phase) in [
        (SoakReturn::Revert, "stage", Phase::Reverting),
        (SoakReturn::Hold, "hold", Phase::Soaking),
        (SoakReturn::Page, "page", Phase::Soaking),
    ] {
        plan.returns.soak = soak;
        let first = tick(&state(Phase::Soaking, 4), &plan, &failing(Side::Modern, now), now);
        assert_eq!((first.journal[0].kind.as_str(), first.state.phase), (kind, phase), "{soak:?}");
        if phase == Phase::Soaking {
            let second = tick(&first.state, &plan, &failing(Side::Modern, now), now);
            assert_eq!(second.journal, vec![], "said once: {soak:?}");
        }
    }
}

/// Whatever it waits for, somebody's word among it, a new service that is bad is left.
#[test]
fn a_failing_gate_goes_back_also_while_somebody_is_waited_for() {
    let plan = plan();
    let now = later(200_000);
    let waits = |seen: &Observation, state: &State, kind| waiting::waiting_for(state, &plan, seen, now).iter().any(|one| one.kind == kind);
    // Step 3 is over, and the cutover after it waits for an approval; a soak that is over waits for its end.
    let (ramping, soaking) = (state(Phase::Ramping, 2), state(Phase::Soaking, 4));
    let held = |state: &State| advance(state, &plan, &good(state.owner, now), &Event::Wish(Wish::Hold("exams".into())), now).state;
    for (waiting, kind, phase) in [
        (ramping.clone(), WaitingKind::Wish, Phase::Streaming),
        (held(&ramping), WaitingKind::Hold, Phase::Streaming),
        (soaking.clone(), WaitingKind::Wish, Phase::Reverting),
        (held(&soaking), WaitingKind::Wish, Phase::Reverting),
    ] {
        let well = good(waiting.owner, now);
        assert!(waits(&well, &waiting, kind), "{:?}", waiting::waiting_for(&waiting, &plan, &well, now));
        let still = tick(&waiting, &plan, &well, now).state;
        assert_eq!((still.phase, still.step), (waiting.phase, waiting.step), "nothing moves while all is well");
        let back = tick(&still, &plan, &failing(waiting.owner, now), now);
        assert_eq!(back.state.phase, phase, "{waiting:?}");
        let holds = &back.state.holds;
        assert!(holds.contains("gate:errors") && waiting.holds.is_subset(holds), "{holds:?}");
        let said = &back.journal[0];
        assert_eq!(said.detail["gates"]["errors"]["verdict"], json!("fail"), "{said:?}");
        assert!(said.text.starts_with("gate errors fails ("), "{said:?}");
    }
}

/// Of what leads to nothing by itself somebody is told, once, and when it is over.
#[test]
fn in_soak_whatever_fails_is_told_and_that_it_is_over() {
    let plan = plan();
    let soaking = state(Phase::Soaking, 4);
    let quiet = |now| tick(&soaking, &plan, &good(Side::Modern, now), now).state;
    let now = later(10);
    let mut drift = good(Side::Modern, now);
    report(&mut drift).verified.as_mut().expect("verified").tables[0].drift_rows = 3;
    let fails = tick(&quiet(later(5)), &plan, &drift, now);
    let told = |outcome: &Outcome| outcome.journal.iter().map(|line| (line.kind.clone(), line.text.clone())).collect::<Vec<_>>();
    let lines = told(&fails);
    assert!(lines.iter().all(|(kind, text)| kind == "page" && text.ends_with("somebody should look")), "{lines:?}");
    assert!(lines[0].1.starts_with("gate parity fails (3 rows differ") && lines[1].1.starts_with("gate reverse fails"), "{lines:?}");
    assert_eq!((lines.len(), fails.state.phase), (2, Phase::Soaking));
    assert_eq!(told(&tick(&fails.state, &plan, &drift, later(11))), [], "said once");
    let over = told(&tick(&fails.state, &plan, &good(Side::Modern, later(12)), later(12)));
    assert!(over.len() == 2 && over.iter().all(|(_, text)| text.contains("does not fail any more")), "{over:?}");
    let ramping = tick(&State { judged: quiet(now).judged, ..state(Phase::Reverted, 0) }, &plan, &drift, now);
    assert_eq!(told(&ramping), [], "while legacy owns, a failing gate has consequences of its own");
}

/// Where the rules have legacy asked what modern answers, an answer that differs leads back.
#[test]
fn in_soak_answers_that_differ_take_the_writes_back() {
    let (mut plan, now) = (plan(), later(5));
    let mut seen = good(Side::Modern, now);
    seen.traffic.shadow = crate::wire::ShadowCounts { same: 50, different: 50, ..Default::default() };
    let soaking = state(Phase::Soaking, 4);
    assert_eq!(tick(&soaking, &plan, &seen, now).state.phase, Phase::Soaking, "nobody compares");
    plan.steps[4].compare = crate::Share::ALL;
    let serving = |state: &State| crate::migration::desired::serving(state, &plan).shadow;
    assert_eq!(serving(&soaking), crate::Share::ALL);
    let back = tick(&soaking, &plan, &seen, now);
    assert_eq!((back.state.phase, back.state.holds.contains("gate:shadow")), (Phase::Reverting, true), "{:?}", back.journal);
    assert_eq!(serving(&back.state), crate::Share::NONE, "during a switch nobody compares");
    seen.traffic.shadow = crate::wire::ShadowCounts { same: 5, different: 1, ..Default::default() };
    assert_eq!(tick(&soaking, &plan, &seen, now).state.phase, Phase::Soaking, "too few to say anything");
}

/// What legacy was like while callers asked it is known in the steps in which hardly any do.
#[test]
fn how_fast_legacy_was_is_remembered_from_step_to_step() {
    let plan = Capability { gates: slow_gates(), ..plan() };
    let timed = |bucket: usize, requests| {
        let mut took = vec![0; bucket + 1];
        took[bucket] = requests;
        crate::wire::Traffic { requests, took, ..Default::default() }
    };
    let onwards = |state: &State, at, legacy: crate::wire::Traffic, now| {
        let mut seen = good(Side::Legacy, now);
        seen.traffic.step.legacy = legacy;
        seen.traffic.recent = seen.traffic.step.clone();
        let next = tick(&State { since: NOW, ..state.clone() }, &plan, &seen, now).state;
        assert_eq!((next.phase, next.step), at);
        next
    };
    let told = |state: &State| {
        let at = |of| state.legacy_before.reads.at(of).map(|took| took.as_millis());
        (at(Percentile::P50), at(Percentile::P99))
    };
    let ramping = onwards(&state(Phase::Shadowing, 0), (Phase::Ramping, 1), timed(15, 1_000), later(60));
    assert_eq!(told(&ramping), (Some(16), Some(16)));
    let slower = onwards(&ramping, (Phase::Ramping, 2), timed(20, 1_000), later(120));
    assert_eq!(told(&slower), (Some(25), Some(26)));
    let few = onwards(&State { step: 1, ..slower }, (Phase::Ramping, 2), timed(30, 99), later(120));
    assert_eq!(told(&few).1, Some(26), "of a few answers nothing is learnt of the slowest");
    let soaking = State { phase: Phase::Soaking, step: 4, owner: Side::Modern, epoch: 1, ..few };
    let mut seen = good(Side::Modern, NOW);
    (seen.traffic.step.legacy, seen.traffic.step.modern) = (timed(0, 0), timed(26, 1_000));
    seen.traffic.recent = seen.traffic.step.clone();
    let judged = seen.judged(&soaking, &plan, NOW);
    assert!(judged.iter().any(|judged| judged.gate == "latency_p99" && judged.fails()), "{judged:?}");
}

/// What legacy fails at, and how long its writes take, is held against modern when nobody asks legacy any more.
#[test]
fn one_that_is_as_legacy_was_keeps_the_writes() {
    let timed = |bucket: usize, requests, errors| {
        let mut took = vec![0; bucket + 1];
        took[bucket] = requests;
        crate::wire::Traffic { requests, errors, took, latency: Vec::new() }
    };
    let errors = crate::gate::ErrorGate { max_increase: crate::Share::from_millionths(5_000), max: None, min_requests: 10 };
    let plan = Capability { gates: crate::gate::Gates { errors: Some(errors), ..slow_gates() }, ..plan() };
    let mut seen = good(Side::Legacy, later(60));
    (seen.traffic.step.legacy, seen.traffic.step.legacy_writes) = (timed(10, 4_000, 40), timed(30, 1_000, 20));
    seen.traffic.step.modern = timed(10, 4_000, 40);
    seen.traffic.recent = seen.traffic.step.clone();
    let ramping = tick(&State { since: NOW, ..state(Phase::Ramping, 1) }, &plan, &seen, later(60)).state;
    assert_eq!((ramping.phase, ramping.step), (Phase::Ramping, 2));
    let soaking = State { phase: Phase::Soaking, step: 4, owner: Side::Modern, epoch: 1, ..ramping };
    let after = |reads, writes| {
        let mut seen = good(Side::Modern, later(120));
        (seen.traffic.step.legacy, seen.traffic.step.modern) = (timed(0, 0, 0), reads);
        seen.traffic.step.modern_writes = writes;
        seen.traffic.recent = seen.traffic.step.clone();
        tick(&soaking, &plan, &seen, later(120)).state
    };
    assert_eq!(after(timed(10, 4_000, 40), timed(30, 1_000, 20)).phase, Phase::Soaking);
    for (what, reads, writes) in [
        ("reads fail", timed(10, 4_000, 200), timed(30, 1_000, 20)),
        ("writes fail", timed(10, 4_000, 40), timed(30, 1_000, 100)),
        ("reads are as slow as writes", timed(30, 4_000, 40), timed(30, 1_000, 20)),
        ("writes are slow", timed(10, 4_000, 40), timed(36, 1_000, 20)),
    ] {
        assert_eq!(after(reads, writes).phase, Phase::Reverting, "{what}");
    }
}

/// Whichever percentile it is that says so, the writes go back.
#[test]
fn a_service_that_is_slow_for_most_callers_loses_the_writes_as_one_that_is_slow_for_some() {
    let timed = |fast: u64, slow: u64| {
        let mut took = vec![0; 31];
        (took[10], took[30]) = (fast, slow);
        crate::wire::Traffic { requests: fast + slow, took, ..Default::default() }
    };
    for (of, slow) in [(Percentile::P50, 640), (Percentile::P90, 190), (Percentile::P95, 120), (Percentile::P99, 60)] {
        let one = slow_gates().latency[&Percentile::P99];
        let plan = Capability { gates: crate::gate::Gates { latency: [(of, one)].into(), ..plan().gates }, ..plan() };
        let mut state = state(Phase::Soaking, 4);
        state.legacy_before.reads.learn(&timed(1_000, 0), 1);
        let mut seen = good(Side::Modern, later(60));
        (seen.traffic.step.legacy, seen.traffic.step.modern) = (timed(0, 0), timed(1_000, 0));
        assert_eq!(tick(&state, &plan, &seen, later(60)).state.phase, Phase::Soaking, "{of:?}");
        seen.traffic.step.modern = timed(1_000 - slow, slow);
        seen.traffic.recent = seen.traffic.step.clone();
        let back = tick(&state, &plan, &seen, later(60));
        assert_eq!(back.state.phase, Phase::Reverting, "{of:?}");
        assert!(back.state.holds.contains(&format!("gate:{}", of.gate())), "{:?}", back.state.holds);
        assert_eq!(back.journal[0].detail["gates"][of.gate()]["verdict"], "fail", "{:?}", back.journal);
    }
}

fn slow_gates() -> crate::gate::Gates {
    let latency = crate::gate::LatencyGate { max_ratio: 1.5, min_requests: 10, floor: Duration::ZERO, max: None };
    crate::gate::Gates { latency: [(Percentile::P50, latency), (Percentile::P99, latency)].into(), ..plan().gates }
}

#[test]
fn reverts_that_are_taken_back_are_not_tried_for_ever() {
    let plan = plan();
    let mut state = state(Phase::Soaking, 4);
    for try_ in 0..3 {
        let now = later(100 * (try_ + 1));
        let begun = tick(&state, &plan, &failing(Side::Modern, now), now).state;
        assert_eq!(begun.phase, Phase::Reverting, "try {try_}");
        let seen = failing(Side::Modern, now);
        state = advance(&begun, &plan, &seen, &Event::Wish(Wish::Abort), now).state;
        assert_eq!(state.phase, Phase::Soaking);
    }
    let now = later(1_000);
    let given_up = tick(&state, &plan, &failing(Side::Modern, now), now);
    assert!(given_up.journal[0].text.ends_with("3 reverts were taken back: somebody has to look"), "{:?}", given_up.journal);
    assert_eq!(given_up.state.phase, Phase::Soaking);
    assert_eq!(tick(&given_up.state, &plan, &failing(Side::Modern, now), now).journal, vec![], "said once");
}

#[test]
fn a_dry_run_is_shown_and_leads_nowhere() {
    let mut plan = plan();
    plan.gates.patience.insert("errors".into(), Patience { dry_run: true, ..Patience::default() });
    let ramping = state(Phase::Ramping, 1);
    let seen = failing(Side::Legacy, later(60));
    let on = tick(&ramping, &plan, &seen, later(60)).state;
    assert_eq!((on.phase, on.step), (Phase::Ramping, 2), "it goes forward all the same");
    let judged = seen.judged(&ramping, &plan, later(60));
    assert!(judged.iter().any(|j| j.gate == "errors" && j.verdict == Verdict::Fail && j.dry_run && !j.fails()), "{judged:?}");
}

#[test]
fn some_windows_must_fail_before_the_gate_does() {
    let mut plan = plan();
    plan.gates.patience.insert("errors".into(), Patience { failures: 2, windows: 3, ..Patience::default() });
    let ramping = state(Phase::Ramping, 2);
    let verdict = |bad: &[bool]| {
        let mut seen = failing(Side::Legacy, later(5));
        let window = |bad: &bool| if *bad { seen.traffic.step.clone() } else { good(Side::Legacy, NOW).traffic.step };
        let windows = bad.iter().map(window).collect();
        seen.traffic.windows = [("errors".to_owned(), windows)].into();
        let judged = seen.judged(&ramping, &plan, later(5));
        judged.into_iter().find(|j| j.gate == "errors").map(|j| j.verdict)
    };
    assert_eq!(verdict(&[]), Some(Verdict::Inconclusive));
    assert_eq!(verdict(&[true]), Some(Verdict::Inconclusive));
    assert_eq!(verdict(&[true, false, true]), Some(Verdict::Fail));
    assert_eq!(verdict(&[true, true, false, false]), Some(Verdict::Inconclusive), "the oldest is too old");
    assert_eq!(verdict(&[false, false, false]), Some(Verdict::Inconclusive), "the whole step fails: nothing goes forward");
}

#[test]
fn own_gates_are_judged_by_fresh_answers() {
    let gate = |question| CustomGate { question, every: Duration::from_secs(30), deadline: Duration::from_secs(5) };
    let query = gate(Question::Promql { query: "up".into(), min: Some(1.0), max: Some(2.0) });
    let hook = gate(Question::Webhook { url: "http://checks/".into() });
    let judge = |gate: &CustomGate, patience, answers: Vec<(u64, Result<Said, String>)>| {
        let answers: Vec<_> = answers.into_iter().map(|(at, said)| Answer { at: later(at), said }).collect();
        crate::gate::judge(
            &crate::gate::Gates {
                custom: [("own".to_owned(), gate.clone())].into(),
                patience: [("own".to_owned(), patience)].into(),
                ..Default::default()
            },
            &crate::gate::Measurements { answers: Some([("own".to_owned(), answers)].into()), ..Default::default() },
            later(100),
        )[0]
        .verdict
    };
    let value = |at, value| (at, Ok(Said::Value(value)));
    let once = Patience::default();
    for (answers, expected) in [
        (vec![], Verdict::Inconclusive),
        (vec![value(90, 1.5)], Verdict::Pass),
        (vec![value(90, 0.9)], Verdict::Fail),
        (vec![value(90, 2.1)], Verdict::Fail),
        (vec![value(90, f64::NAN)], Verdict::Error),
        (vec![value(90, f64::INFINITY)], Verdict::Fail),
        (vec![value(90, 9.0), value(95, 1.0)], Verdict::Pass),
        (vec![value(34, 1.5)], Verdict::Error),
        (vec![(90, Err("refused".into()))], Verdict::Error),
    ] {
        assert_eq!(judge(&query, once, answers.clone()), expected, "{answers:?}");
    }
    let twice = Patience { failures: 2, windows: 3, ..once };
    assert_eq!(judge(&query, twice, vec![value(80, 9.0), value(90, 1.0), value(95, 9.0)]), Verdict::Fail);
    assert_eq!(judge(&query, twice, vec![value(70, 9.0), value(80, 1.0), value(90, 1.0), value(95, 9.0)]), Verdict::Inconclusive);
    for verdict in [Verdict::Pass, Verdict::Fail, Verdict::Inconclusive, Verdict::Error] {
        assert_eq!(judge(&hook, once, vec![(90, Ok(Said::Verdict(verdict, "so".into())))]), verdict);
    }
}

#[test]
fn rows_set_aside_fail_their_gate_and_the_way_back() {
    let mut plan = plan();
    plan.gates.quarantine = Some(QuarantineGate { max_rows: 0 });
    let verdict = |state: &State, seen: &Observation, gate: &str| {
        seen.judged(state, &plan, later(5)).into_iter().find(|j| j.gate == gate).map(|j| j.verdict)
    };
    let (ramping, soaking) = (state(Phase::Ramping, 2), state(Phase::Soaking, 4));
    let mut seen = good(Side::Legacy, later(5));
    assert_eq!((verdict(&ramping, &seen, "quarantine"), verdict(&ramping, &seen, "reverse")), (Some(Verdict::Pass), None));
    report(&mut seen).quarantined = 1;
    assert_eq!(verdict(&ramping, &seen, "quarantine"), Some(Verdict::Fail));
    assert_eq!(tick(&ramping, &plan, &seen, later(5)).state.phase, Phase::Streaming);
    let mut seen = good(Side::Modern, later(5));
    assert_eq!(verdict(&soaking, &seen, "reverse"), Some(Verdict::Pass));
    report(&mut seen).reverse.live = false;
    assert_eq!(verdict(&soaking, &seen, "reverse"), Some(Verdict::Error), "not just now");
    report(&mut seen).quarantined = 1;
    assert_eq!(verdict(&soaking, &seen, "reverse"), Some(Verdict::Fail));
    assert_eq!(tick(&soaking, &plan, &seen, later(5)).state.phase, Phase::Soaking, "going back is no remedy");
}

#[test]
fn steps_wait_for_their_hours_and_the_way_back_never_does() {
    let mut plan = plan();
    // NOW is Monday, 12 January 1970, 13:46 UTC.
    plan.windows = vec![Hours::parse("tue 00:00-24:00 UTC").expect("hours")];
    let ramping = state(Phase::Ramping, 1);
    let well = good(Side::Legacy, later(60));
    assert_eq!(tick(&ramping, &plan, &well, later(60)).state.step, 1);
    let refused = advance(&ramping, &plan, &well, &Event::Wish(Wish::Cutover), later(60)).refused.expect("it is refused");
    assert_eq!(refused, "not at this hour: tue 00:00-24:00 UTC");
    assert_eq!(tick(&ramping, &plan, &failing(Side::Legacy, later(60)), later(60)).state.phase, Phase::Streaming);
    let soaking = state(Phase::Soaking, 4);
    let back = advance(&soaking, &plan, &good(Side::Modern, later(60)), &Event::Wish(Wish::Revert), later(60));
    assert_eq!(back.refused, None);
    // A step's own hours win over the capability's.
    plan.steps[2].windows = vec![Hours::parse("mon 13:00-14:00 UTC").expect("hours")];
    assert_eq!(tick(&ramping, &plan, &well, later(60)).state.step, 2);
}
