//! The steps of the rule file, forward and back, and what is looked after between them.

use super::*;
use crate::hours::Hours;

#[test]
fn a_draft_waits_for_an_operator() {
    let draft = state(Phase::Draft, 0);
    let seen = Observation::default();
    assert_eq!(tick(&draft, &seen, later(9_999)).state, draft);
    assert_eq!(desired::orders(&draft, &plan()), None);
    let begun = wish(&draft, &seen, Wish::Advance);
    assert_eq!((begun.state.phase, begun.journal[0].kind.as_str()), (Phase::Backfilling, "phase"));
    let held = wish(&draft, &seen, Wish::Hold("holidays".into())).state;
    assert_eq!(refusal(wish(&held, &seen, Wish::Advance)), "held: holidays");
}

#[test]
fn a_backfill_ends_when_everything_runs() {
    let copying = state(Phase::Backfilling, 0);
    assert!(tick(&copying, &Observation::default(), NOW).journal.is_empty(), "nobody has reported");
    let spoil: [fn(&mut CapabilityReport); 5] = [
        |r| r.backfill.complete = false,
        |r| r.forward.live = false,
        |r| r.reverse.live = false,
        |r| r.fenced.modern = false,
        |r| r.trouble = Some("disk full".into()),
    ];
    for spoil in spoil {
        let mut seen = good(Side::Legacy, NOW);
        spoil(report(&mut seen));
        assert_eq!(tick(&copying, &seen, NOW).state, copying);
        assert!(!waiting_for(&copying, &plan(), &seen, NOW).is_empty());
    }
    // Also one that has been silent for long: it needs no validity to forward what it takes for a draft.
    let mut seen = good(Side::Legacy, NOW);
    seen.gateways.push(GatewaySeen { name: "gw-2".into(), counts_until: NOW, generation: 8, ..GatewaySeen::default() });
    for plan in [plan(), Capability { tables: vec![], ..plan() }] {
        assert_eq!(advance(&copying, &plan, &seen, &Event::Tick, NOW).state, copying);
        assert!(waiting_for(&copying, &plan, &seen, NOW).iter().any(|waiting| waiting.text.contains("gateway gw-2 to hear")));
    }
    let streaming = tick(&copying, &good(Side::Legacy, NOW), NOW).state;
    assert_eq!((streaming.phase, streaming.verify.map(|v| v.scope)), (Phase::Streaming, Some(VerifyScope::Full)));
}

#[test]
fn steps_follow_each_other_after_their_hold() {
    let mut seen = good(Side::Legacy, NOW);
    let streaming = state(Phase::Streaming, 0);
    let shadowing = tick(&streaming, &seen, NOW).state;
    assert_eq!((shadowing.phase, desired::serving(&shadowing, &plan()).shadow), (Phase::Shadowing, percent(100)));
    assert_eq!(tick(&shadowing, &seen, later(59)).state.phase, Phase::Shadowing);
    seen.agent.as_mut().expect("there is an agent").at = later(60);
    let ramping = tick(&shadowing, &seen, later(60)).state;
    assert_eq!((ramping.phase, ramping.step), (Phase::Ramping, 1));
    assert_eq!(desired::serving(&ramping, &plan()).reads, percent(5));
    assert_eq!(desired::serving(&ramping, &plan()).shadow, percent(100));
    let skipped = wish(&ramping, &seen, Wish::Advance).state;
    assert_eq!((skipped.step, desired::serving(&skipped, &plan()).reads), (2, percent(100)));
}

#[test]
fn what_cannot_be_judged_waits() {
    let shadowing = state(Phase::Shadowing, 0);
    let mut seen = good(Side::Legacy, later(61));
    seen.traffic.shadow = ShadowCounts { same: 3, ..ShadowCounts::default() };
    assert_eq!(tick(&shadowing, &seen, later(61)).state.phase, Phase::Shadowing);
    let waits = waiting_for(&shadowing, &plan(), &seen, later(61));
    assert_eq!(waits[0].text, "gate shadow: inconclusive (3 of 10 comparisons)");
    assert_eq!(wish(&shadowing, &seen, Wish::Advance).state.phase, Phase::Ramping, "an operator may skip that");
    seen.agent = None;
    assert_eq!(tick(&shadowing, &seen, later(61)).state.phase, Phase::Shadowing, "a silent agent is an error, not a failure");
}

#[test]
fn a_failing_gate_takes_all_reads_back_and_holds() {
    let ramping = state(Phase::Ramping, 2);
    let mut seen = good(Side::Legacy, NOW);
    seen.traffic.step.modern.errors = 50;
    seen.traffic.recent = seen.traffic.step.clone();
    let back = tick(&ramping, &seen, NOW).state;
    assert_eq!((back.phase, back.holds.contains("gate:errors")), (Phase::Streaming, true));
    assert_eq!(desired::serving(&back, &plan()).reads, Share::NONE);
    assert_eq!(tick(&back, &good(Side::Legacy, NOW), NOW).state.phase, Phase::Streaming, "held");
    let released = wish(&back, &seen, Wish::Release(Some("gate:errors".into()))).state;
    assert_eq!(tick(&released, &good(Side::Legacy, NOW), NOW).state.phase, Phase::Shadowing, "the steps begin anew");
}

#[test]
fn a_copy_that_is_gone_takes_all_reads_back_and_is_made_anew_when_released() {
    let spoil: [fn(&mut CapabilityReport); 2] = [
        |r| r.backfill.complete = false,
        |r| {
            let trouble = Some("the copy is gone".into());
            *r = CapabilityReport { trouble, ..CapabilityReport::default() };
        },
    ];
    for phase in [Phase::Streaming, Phase::Shadowing, Phase::Ramping] {
        for spoil in spoil {
            let mut seen = good(Side::Legacy, NOW);
            spoil(report(&mut seen));
            report(&mut seen).verified = Some(verified(0, 0, NOW));
            let back = tick(&state(phase, 1), &seen, NOW);
            assert_eq!((back.state.phase, back.journal[0].kind.as_str()), (Phase::Streaming, "stepped_back"), "{phase:?}");
            assert!(back.state.holds.contains("copy"));
            assert!(tick(&back.state, &seen, NOW).journal.is_empty(), "said once");
            let orders = |state: &State| desired::orders(state, &plan()).expect("it is synchronised");
            assert!(!orders(&back.state).may_copy);
            for release in [Some("copy".to_owned()), None] {
                let anew = wish(&back.state, &seen, Wish::Release(release)).state;
                assert_eq!((anew.phase, anew.holds.is_empty(), orders(&anew).may_copy), (Phase::Backfilling, true, true));
                assert_eq!(tick(&anew, &good(Side::Legacy, NOW), NOW).state.phase, Phase::Streaming);
            }
        }
    }
}

#[test]
fn an_agent_that_has_only_just_begun_does_not_know_the_copy() {
    let ramping = state(Phase::Ramping, 1);
    let mut fresh = good(Side::Legacy, NOW);
    let verified = report(&mut fresh).verified.take();
    *report(&mut fresh) = CapabilityReport { verified, ..CapabilityReport::default() };
    assert_eq!(tick(&ramping, &fresh, NOW).state.phase, Phase::Ramping);
    let mut late = good(Side::Legacy, NOW);
    report(&mut late).backfill.complete = false;
    late.agent.as_mut().expect("there is an agent").generation = 8;
    assert_eq!(tick(&ramping, &late, NOW).state.phase, Phase::Ramping, "older orders");
}

#[test]
fn a_lag_that_nobody_knows_for_long_takes_all_reads_back() {
    let ramping = state(Phase::Ramping, 1);
    let mut seen = good(Side::Legacy, later(11));
    seen.traffic.lag_beyond_since = Some(later(2));
    report(&mut seen).forward.live = false;
    assert_eq!(tick(&ramping, &seen, later(11)).state.phase, Phase::Ramping);
    seen.traffic.lag_beyond_since = Some(later(1));
    let back = tick(&ramping, &seen, later(11)).state;
    assert_eq!((back.phase, back.holds.contains("gate:lag")), (Phase::Streaming, true));
    seen.agent = None;
    assert_eq!(tick(&ramping, &seen, later(11)).state.phase, Phase::Streaming, "a silent agent too");
}

#[test]
fn rows_that_are_set_aside_keep_it_where_it_is() {
    let mut seen = good(Side::Legacy, later(3600));
    report(&mut seen).quarantined = 2;
    for phase in [Phase::Streaming, Phase::Shadowing, Phase::Ramping] {
        let here = state(phase, 0);
        assert_eq!(tick(&here, &seen, later(3600)).state, State { judged: tick(&here, &seen, later(3600)).state.judged, ..here.clone() });
        let waits = waiting_for(&here, &plan(), &seen, later(3600));
        assert!(waits.iter().any(|w| w.text.starts_with("2 rows are quarantined")), "{waits:?}");
        assert!(advance(&here, &plan(), &seen, &Event::Wish(Wish::Advance), later(3600)).refused.is_some());
    }
}

#[test]
fn an_approval_is_waited_for() {
    let ramping = state(Phase::Ramping, 2);
    let seen = good(Side::Legacy, later(3600));
    assert_eq!(tick(&ramping, &seen, later(3600)).state.switch, None);
    assert_eq!(waiting_for(&ramping, &plan(), &seen, later(3600))[0].text, "step 4 waits for approval: `ficus approve`");
    let approved = wish(&ramping, &seen, Wish::Approve);
    assert_eq!((approved.journal[0].kind.as_str(), approved.journal[0].text.as_str()), ("approve", "step 4 is approved"));
    let fencing = tick(&approved.state, &seen, later(3600)).state;
    assert_eq!((fencing.phase, fencing.switch.map(|s| s.stage)), (Phase::Fencing, Some(Stage::Fence)));
    let refused = |state: &State, wished| wish(state, &seen, wished).refused.unwrap_or_default();
    assert_eq!(refused(&approved.state, Wish::Approve), "no step waits for approval", "it is approved already");
    assert_eq!(refused(&state(Phase::Shadowing, 0), Wish::Approve), "no step waits for approval", "the next one needs none");
    assert_eq!(refused(&ramping, Wish::Release(None)), "nothing is held; step 4 waits for approval: `ficus approve`");
}

/// Approved by day, and on a Friday night it still does not begin, whoever asks; on Monday it does, by itself.
#[test]
fn an_approved_cutover_begins_in_its_hours_alone() {
    let mut of_step = plan();
    of_step.steps[3].windows = vec![Hours::parse("mon-fri 09:00-17:00 UTC").expect("hours")];
    let of_all = Capability { windows: of_step.steps[3].windows.clone(), ..plan() };
    let approved = State { released: true, ..state(Phase::Ramping, 2) };
    // NOW is Monday, 12 January 1970, 13:46 UTC.
    let (friday_night, monday) = (later(4 * 86_400 + 8 * 3_600), later(7 * 86_400));
    for plan in [of_step, of_all] {
        let asked = |event: &Event, now: Timestamp| {
            let mut seen = good(Side::Legacy, now);
            seen.gateways[0].counts_until = now;
            advance(&approved, &plan, &seen, event, now)
        };
        let at_night = asked(&Event::Tick, friday_night).state;
        assert_eq!((at_night.phase, at_night.step, &at_night.switch), (Phase::Ramping, 2, &None));
        for wish in [Wish::Advance, Wish::Cutover] {
            let outcome = asked(&Event::Wish(wish.clone()), friday_night);
            assert_eq!(outcome.state, approved);
            assert_eq!(refusal(outcome), "not at this hour: mon-fri 09:00-17:00 UTC", "{wish:?}");
        }
        for event in [Event::Tick, Event::Wish(Wish::Advance), Event::Wish(Wish::Cutover)] {
            let begun = asked(&event, monday).state;
            assert_eq!(begun.switch.map(|switch| switch.stage), Some(Stage::Fence), "{event:?}");
        }
    }
}

/// The time that waits are measured by is never set back; the hours of the rules and the ages of comparisons are what people and
/// agents read.
#[test]
fn hours_and_comparisons_are_by_the_clock_on_the_wall() {
    let mut plan = plan();
    plan.windows = vec![Hours::parse("mon-fri 09:00-17:00 UTC").expect("hours")];
    let ahead = Duration::from_secs(8 * 3_600);
    let asked = |ahead| {
        let now = NOW.plus(Duration::from_secs(8 * 3_600));
        let mut seen = Observation { ahead, ..good(Side::Legacy, now) };
        report(&mut seen).verified = Some(verified(0, 0, NOW));
        seen.gateways[0].counts_until = now;
        let ramping = State { released: true, ..state(Phase::Ramping, 2) };
        advance(&ramping, &plan, &seen, &Event::Wish(Wish::Cutover), now)
    };
    assert_eq!(asked(ahead).state.phase, Phase::Fencing, "it is Monday, 13:46 UTC");
    let refused = refusal(asked(Duration::ZERO));
    assert!(refused.contains("not at this hour") && refused.contains("gate parity"), "{refused}");
    let streaming = state(Phase::Streaming, 0);
    let compares = |ahead| {
        let mut seen = Observation { ahead, ..good(Side::Legacy, NOW.plus(Duration::from_secs(8 * 3_600))) };
        report(&mut seen).verified = Some(verified(0, 0, NOW));
        tick(&streaming, &seen, NOW.plus(Duration::from_secs(8 * 3_600))).state.verify.is_some()
    };
    assert!(compares(Duration::ZERO) && !compares(ahead));
}

#[test]
fn who_releases_holds_has_approved_nothing() {
    let mut held = state(Phase::Ramping, 2);
    held.holds.extend(["exam week".to_owned(), "gate:errors".to_owned()]);
    let seen = good(Side::Legacy, later(3600));
    let mut released = vec![wish(&held, &seen, Wish::Release(None)).state];
    let first = wish(&held, &seen, Wish::Release(Some("exam week".into()))).state;
    released.push(wish(&first, &seen, Wish::Release(Some("gate:errors".into()))).state);
    for released in released {
        assert!(released.holds.is_empty());
        let after = tick(&released, &seen, later(3600)).state;
        assert_eq!((after.phase, after.switch), (Phase::Ramping, None), "a cutover begins that nobody approved");
    }
    // The other way round: what is approved waits for the holds.
    let approved = wish(&held, &seen, Wish::Approve).state;
    assert_eq!((approved.holds.len(), tick(&approved, &seen, later(3600)).state.switch), (2, None));
    let released = wish(&approved, &seen, Wish::Release(None)).state;
    assert!(tick(&released, &seen, later(3600)).state.switch.is_some(), "approved, and nothing is held");
}

#[test]
fn a_hold_is_waited_for_in_every_phase_that_it_holds() {
    let seen = good(Side::Legacy, NOW);
    for phase in [Phase::Draft, Phase::Streaming, Phase::Shadowing, Phase::Ramping, Phase::Reverted] {
        let mut held = state(phase, 0);
        held.holds.insert("exam week".into());
        let waits = waiting_for(&held, &plan(), &seen, NOW);
        assert!(waits.iter().any(|w| w.text == "held: exam week"), "{phase:?}: {waits:?}");
    }
}

#[test]
fn what_is_waited_for_is_named_in_few_words_without_figures() {
    // GIVEN a ramp that much keeps from its cutover
    let mut held = State { since: later(3590), ..state(Phase::Ramping, 2) };
    held.holds.extend(["exam week".to_owned(), "cutover: the deadline has passed: gateway gw-1 has 3 writes under way".to_owned()]);
    let mut seen = good(Side::Legacy, later(3600));
    seen.traffic.step.modern.requests = 0;
    seen.gateways[0].modern_down = true;
    report(&mut seen).quarantined = 2;
    let named =
        |seen: &Observation, now| -> Vec<String> { waiting_for(&held, &plan(), seen, now).into_iter().map(|waiting| waiting.on).collect() };
    // THEN each thing has its name, and the same one a second later
    let expected = ["cutover", "exam week", "quarantined rows", "errors", "hold of step 3", "approval of step 4", "users-service"];
    assert_eq!(named(&seen, later(3600)), expected);
    report(&mut seen).quarantined = 3;
    assert_eq!(named(&seen, later(3601)), expected);
}

#[test]
fn errors_while_soaking_go_back_by_themselves() {
    let mut seen = good(Side::Modern, NOW);
    seen.traffic.recent.modern.errors = 60;
    let back = tick(&state(Phase::Soaking, 4), &seen, NOW).state;
    assert_eq!((back.phase, back.holds.contains("gate:errors")), (Phase::Reverting, true));
    seen.gateways[0].legacy_down = true;
    let blocked = tick(&state(Phase::Soaking, 4), &seen, NOW);
    assert_eq!((blocked.state.phase, blocked.state.holds.contains("gate:errors")), (Phase::Soaking, true), "there is nobody to go back to");
    assert!(blocked.journal[0].text.ends_with("not open yet: monolith does not answer gateway gw-1"), "{}", blocked.journal[0].text);
    let typed = wish(&state(Phase::Soaking, 4), &seen, Wish::Revert);
    assert_eq!(typed.state.phase, Phase::Reverting, "an operator knows why");
    assert!(typed.journal[0].text.ends_with("beware: monolith does not answer gateway gw-1"), "{}", typed.journal[0].text);
    seen.gateways[0].legacy_down = false;
    assert_eq!(tick(&blocked.state, &seen, NOW).state.phase, Phase::Reverting, "it is there again");
    report(&mut seen).reverse.live = false;
    let stuck = tick(&state(Phase::Soaking, 4), &seen, NOW).state;
    assert_eq!((stuck.phase, stuck.holds.contains("gate:errors")), (Phase::Soaking, true), "rows would be lost");
    assert!(tick(&stuck, &seen, NOW).journal.is_empty(), "said once");
}

#[test]
fn retiring_waits_for_the_soak_and_for_those_who_join() {
    let soaking = state(Phase::Soaking, 4);
    let mut seen = good(Side::Modern, NOW);
    assert!(refusal(wish(&soaking, &seen, Wish::Retire)).contains("24h left"));
    let soaked = State { since: Timestamp(NOW.0 - 86_400_000), ..soaking };
    seen.joined.insert("courses".into(), Phase::Ramping);
    assert!(refusal(wish(&soaked, &seen, Wish::Retire)).contains("courses"));
    let waits = waiting_for(&soaked, &plan(), &seen, NOW);
    assert!(matches!(waits.as_slice(), [Waiting { kind: WaitingKind::Capability, on, .. }] if on == "courses"), "{waits:?}");
    seen.joined.insert("courses".into(), Phase::Soaking);
    let retired = wish(&soaked, &seen, Wish::Retire).state;
    assert_eq!(retired.phase, Phase::Retired);
    let orders = desired::orders(&retired, &plan()).expect("there is something to remove");
    assert_eq!((orders.sync, orders.fenced), (crate::wire::SyncOrder::Remove, Fences::default()));
    assert!(refusal(wish(&retired, &seen, Wish::Revert)).contains("retired"));
}

#[test]
fn verifications_are_repeated_before_they_are_stale() {
    let mut state = state(Phase::Streaming, 0);
    state.holds.insert("operator".into());
    let mut seen = good(Side::Legacy, NOW);
    assert_eq!(tick(&state, &seen, NOW).state.verify, None);
    seen.agent.as_mut().expect("there is an agent").at = later(150);
    let ordered = tick(&state, &seen, later(150)).state.verify.expect("half of its age");
    assert_eq!((ordered.scope, ordered.token), (VerifyScope::Changed, 1));
    let wished = wish(&state, &seen, Wish::Repair).state;
    report(&mut seen).repaired = Some(RepairReport { token: wished.repair.expect("a wish"), done: true, rows: 3 });
    let done = tick(&wished, &seen, later(150));
    assert_eq!((done.state.repair, done.journal[0].kind.as_str()), (None, "repaired"));
    assert_eq!(done.state.verify.map(|v| v.scope), Some(VerifyScope::Full), "every row is compared again");
}

/// A comparison is made every two and a half minutes: months of the same sentence would fill the journal, and bury what happened.
#[test]
fn a_comparison_that_finds_the_same_again_is_written_down_once_an_hour() {
    let mut state = state(Phase::Streaming, 0);
    state.holds.insert("operator".into());
    let mut seen = good(Side::Legacy, NOW);
    let mut compare = |scope: Option<VerifyScope>, drift: u64, at: Timestamp| {
        seen.agent.as_mut().expect("there is an agent").at = at;
        state = match scope {
            Some(VerifyScope::Full) => advance(&state, &plan(), &seen, &Event::Wish(Wish::Verify), at).state,
            _ => tick(&state, &seen, at).state,
        };
        let wish = state.verify.expect("a comparison is due");
        report(&mut seen).verified = Some(verified(wish.token, drift, at));
        let done = tick(&state, &seen, at);
        state = done.state;
        assert_eq!(state.verify, None);
        done.journal
    };
    let mut lines = Vec::new();
    for nth in 1..=48 {
        lines.extend(compare(None, 0, later(nth * 150)).into_iter().map(|line| (nth, line)));
    }
    let written: Vec<_> = lines.iter().map(|(nth, line)| (*nth, line.kind.as_str(), line.detail["found_before"].as_u64())).collect();
    assert_eq!(written, [(1, "verified", Some(0)), (25, "verified", Some(23))], "an hour is 24 of them");
    let said = |lines: Vec<crate::migration::advance::JournalLine>| lines.first().map(|line| line.text.clone());
    assert!(said(compare(None, 3, later(49 * 150))).is_some_and(|text| text.starts_with("3 rows differ")), "news at once");
    assert_eq!(said(compare(None, 3, later(50 * 150))), None);
    assert!(said(compare(Some(VerifyScope::Full), 3, later(50 * 150 + 1))).is_some(), "somebody asked");
    assert_eq!(said(compare(None, 0, later(51 * 150 + 1))).as_deref(), Some("both databases agree"));
}

#[test]
fn a_capability_without_tables_needs_no_agent() {
    let plan = Capability { tables: vec![], ..plan() };
    let mut seen = good(Side::Legacy, NOW);
    seen.agent = None;
    let mut state = state(Phase::Backfilling, 0);
    for _ in 0..4 {
        state = advance(&state, &plan, &seen, &Event::Tick, NOW).state;
    }
    assert_eq!(state.phase, Phase::Shadowing);
    state = advance(&state, &plan, &seen, &Event::Wish(Wish::Cutover), NOW).state;
    for _ in 0..8 {
        state = advance(&state, &plan, &seen, &Event::Tick, NOW).state;
    }
    assert_eq!((state.phase, state.owner), (Phase::Soaking, Side::Modern));
    assert_eq!(desired::orders(&state, &plan), None);
    assert!(waiting_for(&state, &plan, &seen, NOW).iter().any(|w| w.kind == WaitingKind::Time));
}

#[test]
fn nothing_retires_before_it_is_known_who_refers_to_its_rows() {
    let soaked = State { since: Timestamp(0), epoch: 1, ..state(Phase::Soaking, 4) };
    let mut seen = good(Side::Modern, NOW);
    seen.untold = [("notes".to_owned(), Phase::Draft)].into();
    let refused = refusal(wish(&soaked, &seen, Wish::Retire));
    assert!(refused.contains("nobody has told yet whether foreign keys lead from notes (draft)"), "{refused}");
    assert!(refused.contains("`ficus advance notes`"), "how to go on: {refused}");
    seen.untold.clear();
    assert_eq!(wish(&soaked, &seen, Wish::Retire).state.phase, Phase::Retired);
}

/// What was approved is no other step that stands in its place since the rules were edited.
#[test]
fn an_approval_is_of_the_step_that_was_seen() {
    let mut seen_then = plan();
    seen_then.steps[2].approve = true;
    let ramping = state(Phase::Ramping, 1);
    let seen = good(Side::Legacy, later(3600));
    let tick = |state: &State, plan: &Capability| advance(state, plan, &seen, &Event::Tick, later(3600));
    let approved = advance(&ramping, &seen_then, &seen, &Event::Wish(Wish::Approve), NOW).state;
    // The same step, however long it holds: it begins.
    let mut longer = seen_then.clone();
    longer.steps[2].hold = Duration::from_secs(7);
    assert_eq!(tick(&approved, &longer).state.step, 2);
    // A cutover stands in its place.
    let mut edited = seen_then.clone();
    edited.steps.remove(2);
    let skipped = advance(&approved, &edited, &seen, &Event::Wish(Wish::Advance), later(3600));
    assert_eq!(refusal(skipped), "step 3 waits for approval: `ficus approve`");
    let outcome = tick(&approved, &edited);
    let waits = outcome.state;
    assert_eq!((&waits.switch, waits.released, &waits.approved), (&None, false, &None));
    assert_eq!(outcome.journal[0].kind, "approve");
    assert!(outcome.journal[0].text.starts_with("step 3 is another one than was approved"), "{}", outcome.journal[0].text);
    // And it is approved like any other.
    let again = advance(&waits, &edited, &seen, &Event::Wish(Wish::Approve), later(3600)).state;
    assert!(tick(&again, &edited).state.switch.is_some());
}

/// The release before stores that something is approved, and not what: it is the step that comes next.
#[test]
fn an_approval_of_the_release_before_is_of_the_step_that_comes_next() {
    let ramping = state(Phase::Ramping, 2);
    let mut stored = serde_json::to_value(&ramping).expect("it is JSON");
    stored["released"] = true.into();
    stored.as_object_mut().expect("an object").remove("approved");
    let stored: State = serde_json::from_value(stored).expect("it is a state");
    let begun = tick(&stored, &good(Side::Legacy, later(3600)), later(3600)).state;
    assert!(begun.switch.is_some());
    let approved = wish(&ramping, &good(Side::Legacy, NOW), Wish::Approve).state;
    let stored = serde_json::to_value(&approved).expect("it is JSON");
    assert_eq!(stored["released"], true, "the release before reads that");
}

#[test]
fn the_soak_compares_whatever_becomes_of_the_steps_before_it() {
    let mut plan = plan();
    plan.steps[4].compare = percent(20);
    let soaking = state(Phase::Soaking, 4);
    let compared = |plan: &Capability| desired::serving(&soaking, plan).shadow;
    assert_eq!(compared(&plan), percent(20));
    plan.steps.drain(..2);
    assert_eq!(compared(&plan), percent(20));
}
