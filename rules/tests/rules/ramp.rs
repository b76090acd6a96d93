//! A whole ramp: a hundred thousand users, from nobody to everybody in twenty steps, through the function that gateways call.

use ficus_rules::decide::{Caller, Circumstances, Snapshot, decide};
use ficus_rules::migration::Phase;
use ficus_rules::route::{PlainRequest, Router};
use ficus_rules::wire::{Published, Serving};
use ficus_rules::{Share, Side, Timestamp};

use crate::support::{capability, route, rule_set};

const USERS: usize = 100_000;
const STEPS: u32 = 20;

fn at(percent: u32) -> Snapshot {
    let rules = rule_set([capability("users", vec![route("/users/{*rest}")])]);
    let reads = Share::from_millionths(percent * 10_000);
    let users = Serving { phase: Phase::Ramping, epoch: 1, owner: Side::Legacy, reads, shadow: Share::NONE, fenced: false };
    let router = Router::build(&rules).expect("patterns are well formed");
    Snapshot { published: Published { capabilities: [("users".to_owned(), users)].into(), ..Published::default() }, rules, router }
}

#[test]
fn each_of_a_hundred_thousand_users_changes_side_once() {
    let request = PlainRequest::new("GET", "/users/me/").expect("a plain path");
    let around = Circumstances::default();
    let mut changes = vec![0u32; USERS];
    let mut sides = vec![Side::Legacy; USERS];
    let mut caller = Caller::default();
    for step in 0..=STEPS {
        let percent = step * 100 / STEPS;
        let snapshot = at(percent);
        let mut there = 0;
        for user in 0..USERS {
            caller.user = Some(user.to_string());
            let side = decide(&snapshot, &request, &caller, &around, Timestamp(0)).side;
            changes[user] += u32::from(side != sides[user]);
            there += usize::from(side == Side::Modern);
            sides[user] = side;
        }
        let wanted = USERS * percent as usize / 100;
        assert!(there.abs_diff(wanted) <= USERS / 200, "{there} of {USERS} at {percent} %");
        assert!(step > 0 || there == 0, "{there} before the first step");
    }
    assert!(sides.iter().all(|side| *side == Side::Modern), "everybody at the end");
    assert!(changes.iter().all(|changes| *changes == 1), "somebody moved back, or twice");
}
