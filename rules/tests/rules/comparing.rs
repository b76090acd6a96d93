//! Which of the requests that were made would go elsewhere by other rules.

use ficus_rules::api::KnownToGateways;
use ficus_rules::comparison::{Comparison, Logged, Place, Summary};
use ficus_rules::decide::{Cohort, Snapshot};
use ficus_rules::migration::Phase;
use ficus_rules::plan::{Capability, Condition, Route};
use ficus_rules::route::Router;
use ficus_rules::wire::{Published, Serving};
use ficus_rules::{Share, Side, Timestamp};

use crate::support::{capability, route, rule_set};

fn snapshot(users: Capability, reads: Share) -> Snapshot {
    let rules = rule_set([users]);
    let router = Router::build(&rules).expect("patterns are well formed");
    let serving = Serving { phase: Phase::Ramping, reads, ..Serving::untouched() };
    Snapshot { published: Published { capabilities: [("users".to_owned(), serving)].into(), ..Published::default() }, rules, router }
}

fn compared(before: &Snapshot, after: &Snapshot, requests: &[Logged]) -> Summary {
    let known = KnownToGateways::default();
    let mut comparison = Comparison::new(before, after, &known, Timestamp(0), 2);
    requests.iter().for_each(|request| comparison.take(request));
    comparison.summary()
}

fn get(target: &str) -> Logged {
    Logged { method: "GET".into(), target: target.into(), caller: "203.0.113.7".into(), ..Logged::default() }
}

#[test]
fn what_would_change_side_is_counted_and_shown() {
    let before = snapshot(capability("users", vec![route("/users/{*rest}")]), Share::ALL);
    let pinned = Route { pin: Some(Side::Legacy), ..route("/users/{id}/photo/") };
    let moved = Route { modern_path: Some("/people/{rest}".into()), methods: vec!["GET".into()], ..route("/users/{*rest}") };
    let after = snapshot(capability("users", vec![moved, pinned]), Share::ALL);
    let requests: Vec<Logged> =
        ["/users/1/photo/", "/users/2/photo/?token=s3cret", "/users/3/photo/", "/users/1/", "/courses/", "/users//1/photo/"]
            .into_iter()
            .map(get)
            .chain([Logged { method: "POST".into(), ..get("/users/") }])
            .collect();
    let summary = compared(&before, &after, &requests);
    assert_eq!((summary.requests, summary.changed, summary.other_side, summary.unsure), (7, 6, 3 + 1, 0), "{summary:#?}");
    let first = &summary.changes[0];
    assert_eq!((first.requests, first.samples.len()), (3, 2));
    assert!(matches!((&first.before, &first.after), (Place::To { side: Side::Modern, .. }, Place::To { side: Side::Legacy, .. })));
    assert_eq!(first.samples[1].target, "/users/2/photo/?token=*");
    // By the old rules both spellings take one route; by the new ones servers could disagree about it.
    let refused = summary.changes.iter().find(|change| matches!(change.after, Place::Refused { .. })).expect("one is refused");
    assert_eq!(refused.samples[0].target, "/users//1/photo/");
    assert_eq!(compared(&before, &before, &requests).changed, 0);
}

#[test]
fn a_caller_keeps_the_bucket_that_the_log_has() {
    let half = Share::from_millionths(500_000);
    let users = capability("users", vec![route("/users/{*rest}")]);
    let (before, after) = (snapshot(users.clone(), half), snapshot(users.clone(), Share::from_millionths(600_000)));
    let in_bucket = |bucket| Logged { cohort: Some(("users".into(), Cohort { by: "user".into(), bucket })), ..get("/users/1") };
    let requests: Vec<Logged> = [100_000, 499_999, 500_000, 599_999, 600_000].map(in_bucket).into();
    let summary = compared(&before, &after, &requests);
    assert_eq!((summary.changed, summary.other_side, summary.unsure), (2, 2, 0));
    let shuffled = snapshot(Capability { salt: "anew".into(), ..users }, half);
    assert_eq!(compared(&before, &shuffled, &requests).unsure, 5, "its buckets are others");
}

#[test]
fn what_the_log_does_not_have_is_not_guessed_in_silence() {
    let by_value = Route { query: [("preview".into(), Condition::Equals("1".into()))].into(), ..route("/users/{*rest}") };
    let by_header = Route { headers: [("x-a".into(), Condition::Present)].into(), ..route("/users/{id}/photo/") };
    let (before, after) = (
        snapshot(capability("users", vec![route("/users/{*rest}")]), Share::NONE),
        snapshot(capability("users", vec![by_value, by_header, route("/users/{*rest}")]), Share::NONE),
    );
    let summary =
        compared(&before, &after, &[get("/users/1?preview=*"), get("/users/1?preview=1"), get("/users/1?other=*"), get("/users/1?*")]);
    // Of the last one not even the name is told.
    assert_eq!((summary.requests, summary.unsure, summary.routes_by_header), (4, 2, 1));
    let nobody = Logged { caller: String::new(), ..get("/users/1") };
    let half = snapshot(capability("users", vec![route("/users/{*rest}")]), Share::from_millionths(500_000));
    assert_eq!(compared(&half, &half, &[nobody]).unsure, 1);
}
