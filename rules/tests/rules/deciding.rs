//! Which side a read goes to: what freshness, pins, flags and phases make of it.

use std::time::Duration;

use ficus_rules::decide::{Because, Caller, Circumstances, Decision, Snapshot, decide};
use ficus_rules::marker::LIFETIME;
use ficus_rules::migration::Phase;
use ficus_rules::plan::{Capability, Route};
use ficus_rules::route::{PlainRequest, Router};
use ficus_rules::wire::{Freshness, PinOverride, Published, Serving};
use ficus_rules::{Share, Side, Timestamp};

use crate::support::{capability, route, rule_set, table};

const NOW: Timestamp = Timestamp(10_000_000);

fn ramping() -> Serving {
    Serving { phase: Phase::Ramping, epoch: 2, reads: Share::ALL, ..Serving::untouched() }
}

fn soaking() -> Serving {
    Serving { phase: Phase::Soaking, epoch: 3, owner: Side::Modern, ..Serving::untouched() }
}

fn snapshot(users: Capability, serving: Serving) -> Snapshot {
    let rules = rule_set([users]);
    let router = Router::build(&rules).expect("patterns are well formed");
    let capabilities = [("users".to_owned(), serving)].into();
    Snapshot { published: Published { generation: 1, capabilities, ..Published::default() }, rules, router }
}

fn users() -> Capability {
    Capability { tables: vec![table()], ..capability("users", vec![route("/users/{*rest}")]) }
}

fn pinned(side: Side, mut snapshot: Snapshot) -> Snapshot {
    snapshot.published.overrides.pins =
        vec![PinOverride { capability: "users".into(), user: None, side, expires: None, note: String::new() }];
    snapshot
}

/// A copy that had everything so long ago.
fn behind(epoch: u64, by: Duration) -> Circumstances {
    let through = Timestamp(NOW.0 - u64::try_from(by.as_millis()).expect("a short time"));
    Circumstances { freshness: [("users".to_owned(), Freshness { epoch, through })].into(), ..Circumstances::default() }
}

fn read(snapshot: &Snapshot, around: &Circumstances) -> (Side, &'static str) {
    let request = PlainRequest::new("GET", "/users/7").expect("a plain path");
    let Decision { side, because, .. } = decide(snapshot, &request, &Caller { user: Some("7".into()), ..Caller::default() }, around, NOW);
    (side, because.as_str())
}

#[test]
fn a_copy_that_does_not_keep_up_is_not_read_from() {
    let snapshot = snapshot(users(), ramping());
    let just = behind(2, LIFETIME / 2);
    assert_eq!(read(&snapshot, &just), (Side::Modern, "in_cohort"));
    let too_old = behind(2, LIFETIME / 2 + Duration::from_millis(1));
    for (why, around) in [("old", too_old), ("another epoch", behind(1, Duration::ZERO)), ("unknown", Circumstances::default())] {
        assert_eq!(read(&snapshot, &around), (Side::Legacy, Because::CopyBehind.as_str()), "{why}");
    }
}

#[test]
fn without_tables_there_is_no_copy_to_fall_behind() {
    let users = Capability { tables: vec![], ..users() };
    assert_eq!(read(&snapshot(users, ramping()), &Circumstances::default()), (Side::Modern, "in_cohort"));
}

#[test]
fn an_operators_pin_away_from_the_owner_needs_a_fresh_copy_too() {
    for (serving, away) in [(ramping(), Side::Modern), (soaking(), Side::Legacy)] {
        let epoch = serving.epoch;
        let snapshot = pinned(away, snapshot(users(), serving));
        assert_eq!(read(&snapshot, &behind(epoch, Duration::ZERO)), (away, "override"));
        assert_eq!(read(&snapshot, &Circumstances::default()), (away.other(), "copy_behind"));
    }
}

#[test]
fn a_pin_to_modern_ends_where_its_rows_are_not_known_to_be_right() {
    use Phase::{Backfilling, Draft, Ramping, Reverted, Reverting, Shadowing, Streaming, Verifying};
    let read_in = |users: Capability, phase| {
        let serving = Serving { phase, epoch: 2, ..Serving::untouched() };
        read(&pinned(Side::Modern, snapshot(users, serving)), &behind(2, Duration::ZERO))
    };
    for phase in [Draft, Backfilling, Streaming, Reverting, Reverted] {
        assert_eq!(read_in(users(), phase), (Side::Legacy, "owner_reads"), "{phase:?}");
    }
    for phase in [Shadowing, Ramping, Verifying] {
        assert_eq!(read_in(users(), phase), (Side::Modern, "override"), "{phase:?}");
    }
    let without_tables = || capability("users", vec![route("/users/{*rest}")]);
    for (phase, expected) in [(Draft, Side::Modern), (Streaming, Side::Modern), (Reverted, Side::Legacy)] {
        assert_eq!(read_in(without_tables(), phase).0, expected, "{phase:?}, without tables");
    }
    let streaming = Serving { phase: Streaming, epoch: 2, ..Serving::untouched() };
    let mut both = pinned(Side::Modern, snapshot(users(), streaming));
    both.published.overrides.pins[0].user = Some("7".into());
    both.published.overrides.pins.push(PinOverride { user: None, side: Side::Legacy, ..both.published.overrides.pins[0].clone() });
    assert_eq!(read(&both, &behind(2, Duration::ZERO)), (Side::Legacy, "override"), "what is left of the pins counts");
}

#[test]
fn gates_judge_what_both_sides_are_asked_alike() {
    let mut users = users();
    users.routes.push(Route { pin: Some(Side::Legacy), writes_tables: true, ..route("/login/") });
    for serving in [ramping(), soaking()] {
        let snapshot = snapshot(users.clone(), serving);
        for asked in [("GET", "/users/7"), ("POST", "/users/7"), ("GET", "/login/"), ("POST", "/login/"), ("GET", "/elsewhere")] {
            let request = PlainRequest::new(asked.0, asked.1).expect("a plain path");
            let decision = decide(&snapshot, &request, &Caller::default(), &behind(2, Duration::ZERO), NOW);
            assert_eq!(decision.is_judged(), asked.1 == "/users/7", "{asked:?}");
        }
    }
}

/// Whom legacy serves for a reason of his own is not any caller: what he is answered says nothing of the other side.
#[test]
fn gates_judge_only_callers_that_either_side_could_serve() {
    let request = PlainRequest::new("GET", "/users/7").expect("a plain path");
    let decision = decide(&snapshot(users(), ramping()), &request, &Caller::default(), &behind(2, Duration::ZERO), NOW);
    let judged = [Because::OwnerWrites, Because::OwnerReads, Because::InCohort, Because::OutsideCohort];
    for because in Because::ALL {
        assert_eq!(Decision { because, ..decision.clone() }.is_judged(), judged.contains(&because), "{because:?}");
    }
}

#[test]
fn a_flag_that_is_off_keeps_reads_on_legacy_while_legacy_owns() {
    let flagged = Capability { routes: vec![Route { flag: Some("new-profile".into()), ..route("/users/{*rest}") }], ..users() };
    let fresh = |serving: &Serving| behind(serving.epoch, Duration::ZERO);
    for (serving, expected) in [(ramping(), (Side::Legacy, "flag_off")), (soaking(), (Side::Modern, "owner_reads"))] {
        let around = fresh(&serving);
        assert_eq!(read(&snapshot(flagged.clone(), serving), &around), expected);
    }
}

#[test]
fn what_is_retired_reads_from_its_owner_whatever_is_pinned() {
    let retired = Serving { phase: Phase::Retired, ..soaking() };
    let snapshot = pinned(Side::Legacy, snapshot(users(), retired));
    assert_eq!(read(&snapshot, &behind(3, Duration::ZERO)), (Side::Modern, "owner_reads"));
}
