//! What keeps a switch from beginning.

use super::*;
use crate::plan::{OpenTransactions, Return, SetAsideRows};

#[test]
fn an_aborted_cutover_is_tried_again_by_an_operator_at_once_and_by_itself_after_a_while() {
    let mut state = state(Phase::Ramping, 2);
    state.aborted = Some(NOW);
    state.holds.insert("cutover: the deadline has passed".into());
    let fresh = good(Side::Legacy, NOW);
    assert_eq!(wish(&state, &fresh, Wish::Cutover).state.switch.map(|s| s.stage), Some(Stage::Fence));
    let mut released = wish(&wish(&state, &fresh, Wish::Release(None)).state, &fresh, Wish::Approve).state;
    released.since = Timestamp(0);
    assert_eq!(tick(&released, &good(Side::Legacy, later(59)), later(59)).state.switch, None);
    assert!(tick(&released, &good(Side::Legacy, later(60)), later(60)).state.switch.is_some());
}

#[test]
fn a_cutover_is_refused_with_the_reason() {
    let spoil: [(&str, Spoil); 11] = [
        ("users-service does not answer gateway gw-1", |s| s.gateways[0].modern_down = true),
        ("no agent", |s| s.agent = None),
        ("disk full", |s| report(s).trouble = Some("disk full".into())),
        ("stream from modern", |s| report(s).reverse.live = false),
        ("quarantined", |s| report(s).quarantined = 1),
        ("generation 8 of 9", |s| s.gateways[0].generation = 8),
        ("generation 57, which was never published here", |s| {
            (s.gateways[0].generation, s.gateways[0].astray) = (57, true);
        }),
        ("gate parity: fail", |s| report(s).verified = Some(verified(0, 1, NOW))),
        ("gate parity: inconclusive", |s| report(s).verified = None),
        ("gate errors: fail", |s| {
            s.traffic.step.modern.errors = 90;
            s.traffic.recent = s.traffic.step.clone();
        }),
        ("gate lag", |s| report(s).forward.lag_seconds = 9.0),
    ];
    for (why, spoil) in spoil {
        let mut seen = good(Side::Legacy, NOW);
        spoil(&mut seen);
        let refused = refusal(wish(&state(Phase::Ramping, 2), &seen, Wish::Cutover));
        assert!(refused.contains(why), "{refused}");
    }
    let mut lapsed = good(Side::Legacy, NOW);
    lapsed.gateways[0] = GatewaySeen { generation: 1, counts_until: NOW, ..lapsed.gateways[0].clone() };
    assert_eq!(wish(&state(Phase::Streaming, 0), &lapsed, Wish::Cutover).refused, None, "a lapsed gateway does not count");
    assert!(refusal(wish(&state(Phase::Draft, 0), &lapsed, Wish::Cutover)).contains("draft"));
}

#[test]
fn an_operator_may_cut_over_where_traffic_says_nothing_and_a_step_may_not() {
    for (phase, step) in [(Phase::Streaming, 0), (Phase::Shadowing, 0), (Phase::Ramping, 2), (Phase::Reverted, 0)] {
        let mut quiet = good(Side::Legacy, NOW);
        quiet.traffic.step = Sides::default();
        quiet.traffic.recent = Sides::default();
        quiet.traffic.shadow = ShadowCounts::default();
        let here = State { released: true, ..state(phase, step) };
        assert_eq!(wish(&here, &quiet, Wish::Cutover).refused, None, "{phase:?}");
        let mut unknown = quiet.clone();
        report(&mut unknown).verified = None;
        assert!(refusal(wish(&here, &unknown, Wish::Cutover)).contains("gate parity"), "{phase:?}");
        quiet.agent.as_mut().expect("there is an agent").at = later(60);
        report(&mut quiet).verified = Some(verified(0, 0, later(60)));
        assert_eq!(tick(&here, &quiet, later(60)).state.switch, None, "{phase:?}");
    }
    let mut different = good(Side::Legacy, NOW);
    different.traffic.shadow = ShadowCounts { same: 50, different: 50, ..ShadowCounts::default() };
    for (phase, step) in [(Phase::Shadowing, 0), (Phase::Ramping, 2)] {
        assert!(refusal(wish(&state(phase, step), &different, Wish::Cutover)).contains("gate shadow: fail"), "{phase:?}");
    }
}

#[test]
fn a_revert_is_stopped_only_by_what_would_lose_rows() {
    let soaking = state(Phase::Soaking, 4);
    let mut seen = good(Side::Modern, NOW);
    seen.traffic.step.modern.errors = 90;
    seen.traffic.recent = seen.traffic.step.clone();
    report(&mut seen).verified = Some(verified(0, 9, NOW));
    let back = wish(&soaking, &seen, Wish::Revert).state;
    assert_eq!((back.phase, back.switch.map(|s| s.to)), (Phase::Reverting, Some(Side::Legacy)));
    let spoil: [fn(&mut CapabilityReport); 4] =
        [|r| r.reverse.live = false, |r| r.reverse.lag_seconds = 5.1, |r| r.reverse.lag_seconds = f64::NAN, |r| r.quarantined = 1];
    for spoil in spoil {
        let mut seen = good(Side::Modern, NOW);
        spoil(report(&mut seen));
        assert!(refusal(wish(&soaking, &seen, Wish::Revert)).starts_with("the way back is not open"));
    }
    let shadowing = wish(&state(Phase::Ramping, 1), &seen, Wish::Revert).state;
    assert_eq!((shadowing.phase, shadowing.holds.contains("revert")), (Phase::Streaming, true));
}

#[test]
fn an_old_open_transaction_stops_a_switch_before_anybody_is_held() {
    let text = "legacy: a transaction is open for 12 s (pid 4711)";
    let busy = |owner, epoch| {
        let mut seen = good(owner, NOW);
        *report(&mut seen) = CapabilityReport { epoch, busy: Some(text.into()), ..report(&mut seen).clone() };
        seen
    };
    // GIVEN one in the owner's database
    let before = State { released: true, since: Timestamp(0), ..state(Phase::Ramping, 2) };
    for wished in [Wish::Cutover, Wish::Advance] {
        assert_eq!(refusal(wish(&before, &busy(Side::Legacy, 0), wished.clone())), text);
        assert_eq!(wish(&before, &good(Side::Legacy, NOW), wished).state.phase, Phase::Fencing);
    }
    // THEN the step waits for it, and `ficus status` says so
    let seen = busy(Side::Legacy, 0);
    let waits = waiting_for(&before, &plan(), &seen, NOW);
    assert!(
        matches!(waits.as_slice(), [Waiting { kind: WaitingKind::Transaction, on, text: said }] if said == text && on == "database of legacy"),
        "{waits:?}"
    );
    assert_eq!(tick(&before, &seen, NOW).state.switch, None);
    assert!(tick(&before, &good(Side::Legacy, NOW), NOW).state.switch.is_some());
    // AND the way back, also the one that is taken by itself
    let soaking = State { epoch: 1, ..state(Phase::Soaking, 4) };
    let mut seen = busy(Side::Modern, 1);
    assert!(refusal(wish(&soaking, &seen, Wish::Revert)).ends_with(text));
    seen.traffic.recent.modern.errors = 60;
    let held = tick(&soaking, &seen, NOW).state;
    assert_eq!((held.phase, held.holds.contains("gate:errors")), (Phase::Soaking, true));
    report(&mut seen).busy = None;
    assert_eq!(tick(&held, &seen, NOW).state.phase, Phase::Reverting, "as soon as it has ended");
    // BUT what is said of another owner's database, or of tables that there are not, stops nobody
    assert_eq!(wish(&soaking, &busy(Side::Modern, 0), Wish::Revert).refused, None);
    let bare = Capability { tables: vec![], ..plan() };
    assert_eq!(advance(&before, &bare, &busy(Side::Legacy, 0), &Event::Wish(Wish::Cutover), NOW).refused, None);
}

#[test]
fn a_way_back_begins_over_transactions_of_modern_that_the_agent_may_end_and_over_no_others() {
    let soaking = State { epoch: 1, ..state(Phase::Soaking, 4) };
    let busy = |owner, ends| {
        let mut seen = good(owner, NOW);
        let said = Some("modern: a transaction is open for 12 s (pid 4711)".into());
        *report(&mut seen) = CapabilityReport { epoch: 1, busy: said, busy_ends: ends, ..report(&mut seen).clone() };
        seen.traffic.recent.modern.errors = 60;
        seen
    };
    let waits = Capability { returns: Return { transactions: OpenTransactions::Wait, ..Return::default() }, ..plan() };
    for (rules, ends, begins) in [(plan(), true, true), (plan(), false, false), (waits, true, false)] {
        let seen = busy(Side::Modern, ends);
        let typed = advance(&soaking, &rules, &seen, &Event::Wish(Wish::Revert), NOW);
        let by_itself = advance(&soaking, &rules, &seen, &Event::Tick, NOW).state;
        assert_eq!((typed.refused.is_none(), by_itself.switch.is_some()), (begins, begins), "{ends}, {:?}", rules.returns.transactions);
    }
    // Legacy's are never ended, whatever the agent may do
    let before = State { epoch: 1, released: true, ..state(Phase::Ramping, 2) };
    assert!(refusal(wish(&before, &busy(Side::Legacy, true), Wish::Cutover)).contains("pid 4711"));
}

/// In the soak, a service that is about to fail has written a row that only legacy's database refuses.
fn aside() -> Observation {
    let mut seen = good(Side::Modern, NOW);
    report(&mut seen).quarantined = 2;
    seen.traffic.recent.modern.errors = 60;
    seen
}

#[test]
fn rows_that_are_set_aside_keep_a_way_back_from_beginning_unless_somebody_says_that_they_are_left() {
    let soaking = state(Phase::Soaking, 4);
    let left = "left set aside, as `ficus quarantine` shows: 2 rows that legacy did not take";
    // GIVEN rules that say nothing of it, THEN neither a command nor a failing gate begins it, and it is said which command would
    let refused = refusal(wish(&soaking, &aside(), Wish::Revert));
    assert!(refused.contains("2 rows are quarantined") && refused.ends_with("`ficus revert --leave-set-aside`"), "{refused}");
    assert_eq!(tick(&soaking, &aside(), NOW).state.switch, None);
    // WHEN they are left by a command, or by a rule
    let leaves = Capability { returns: Return { aside: SetAsideRows::GoBack, ..Return::default() }, ..plan() };
    let by_itself = advance(&soaking, &leaves, &aside(), &Event::Tick, NOW);
    for begun in [wish(&soaking, &aside(), Wish::RevertLeaving), by_itself] {
        // THEN it goes back, and the journal says how many and where
        assert!(begun.journal[0].text.ends_with(left) && begun.journal[0].detail["left_aside"] == left, "{:?}", begun.journal);
        assert_eq!(begun.state.switch.as_ref().map(|s| (s.to, s.leaves_aside)), Some((Side::Legacy, true)));
        assert!(desired::orders(&begun.state, &plan()).expect("it is synchronised").leaves_aside);
        // AND it is not taken back for them
        assert!(tick(&begun.state, &aside(), NOW).state.switch.is_some_and(|s| s.stage == Stage::Drain));
    }
    // BUT not for what else would lose rows, nor by a command that does not say so
    let mut lagging = aside();
    report(&mut lagging).reverse.live = false;
    assert!(refusal(wish(&soaking, &lagging, Wish::RevertLeaving)).contains("the stream from modern does not run"));
    assert!(!refusal(wish(&soaking, &lagging, Wish::Revert)).contains("--leave-set-aside"), "it would not help");
    assert!(refusal(advance(&soaking, &leaves, &aside(), &Event::Wish(Wish::Revert), NOW)).contains("quarantined"));
    // NOR is a way there begun over them
    let mut there = good(Side::Legacy, NOW);
    report(&mut there).quarantined = 2;
    assert!(refusal(wish(&state(Phase::Reverted, 0), &there, Wish::Cutover)).contains("quarantined"));
}

#[test]
fn what_strangers_wrote_and_nobody_decided_about_is_left_by_the_same_word() {
    let mut seen = good(Side::Modern, NOW);
    let tables = std::collections::BTreeMap::from([("users".to_owned(), 3)]);
    let strays = |untried, unsettled| crate::wire::Strays {
        side: Side::Legacy,
        refused: 0,
        writers: vec![],
        reported: 4,
        unsettled,
        untried,
        wrote: vec![],
        tables: tables.clone(),
    };
    report(&mut seen).strays = vec![strays(0, 3)];
    let soaking = state(Phase::Soaking, 4);
    assert!(refusal(wish(&soaking, &seen, Wish::Revert)).ends_with("`ficus revert --leave-set-aside`"));
    let begun = wish(&soaking, &seen, Wish::RevertLeaving);
    assert!(begun.journal[0].text.ends_with("3 rows written to legacy past the gateway (users)"), "{:?}", begun.journal);
    assert!(tick(&begun.state, &seen, NOW).state.switch.is_some_and(|s| s.stage == Stage::Drain));
    // However many there are, where nobody carries any
    report(&mut seen).strays = vec![strays(600, 600)];
    for (strays, begins) in [(crate::plan::StrayWrites::Report, true), (crate::plan::StrayWrites::Forward, false)] {
        let plan = Capability { strays, ..plan() };
        let typed = advance(&soaking, &plan, &seen, &Event::Wish(Wish::RevertLeaving), NOW);
        assert_eq!(typed.refused.is_none(), begins, "{strays:?}: {:?}", typed.refused);
    }
    // Of those that are carried over, the ones are waited for that have not been tried
    let forwards = Capability { strays: crate::plan::StrayWrites::Forward, ..plan() };
    let draining =
        State { switch: begun.state.switch.clone().map(|s| crate::migration::Switch { stage: Stage::Drain, ..s }), ..begun.state };
    for (untried, waits) in [(1, true), (0, false)] {
        report(&mut seen).strays = vec![strays(untried, 3)];
        report(&mut seen).fenced.legacy = true;
        let after = advance(&draining, &forwards, &seen, &Event::Tick, NOW).state;
        assert_eq!(after.switch.map(|s| s.stage == Stage::Drain), Some(waits), "{untried}");
    }
}
