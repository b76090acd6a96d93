//! Whatever an edit does, what may be taken moves nothing.

use std::sync::LazyLock;
use std::time::Duration;

use ficus_rules::decide::{Admission, Caller, Circumstances, Snapshot, decide};
use ficus_rules::migration::desired;
use ficus_rules::plan::{Route, Step, StepAction};
use ficus_rules::route::{PlainRequest, Router, covers};
use ficus_rules::wire::Published;
use ficus_rules::{Share, Side, Timestamp};
use proptest::prelude::*;

use super::*;

static BASE: LazyLock<Capability> = LazyLock::new(|| rules(RULES).capabilities["users"].clone());
const PATHS: [&str; 5] = ["/users/{*rest}", "/users/{id}", "/users/{id}/photo/", "/users/7", "/notes/"];
const ASKED: [&str; 6] = ["/users/", "/users/7", "/users/8", "/users/7/photo/", "/users/8/x", "/notes/"];
const WALKS: [Phase; 8] = [
    Phase::Backfilling,
    Phase::Streaming,
    Phase::Shadowing,
    Phase::Ramping,
    Phase::Ramping,
    Phase::Soaking,
    Phase::Reverted,
    Phase::Retired,
];

fn a_route() -> impl Strategy<Value = Route> {
    let pins = prop_oneof![3 => Just(None), 1 => Just(Some(Side::Legacy)), 1 => Just(Some(Side::Modern))];
    let methods = prop_oneof![2 => Just(vec![]), 1 => Just(vec!["GET".to_owned()]), 1 => Just(vec!["POST".to_owned(), "GET".to_owned()])];
    let parts = (0..PATHS.len(), pins, methods, any::<bool>());
    parts.prop_map(|(path, pin, methods, writes)| {
        let base = BASE.routes[0].clone();
        Route { path: PATHS[path].to_owned(), pin, methods, writes_tables: writes && pin.is_some(), ..base }
    })
}

/// Rules with two routes for the same requests are refused before.
fn without_twins(routes: Vec<Route>) -> Vec<Route> {
    let twin = |a: &Route, b: &Route| a.path == b.path && covers(a, b);
    let mut kept: Vec<Route> = Vec::new();
    for route in routes {
        if !kept.iter().any(|other| twin(other, &route) || twin(&route, other)) {
            kept.push(route);
        }
    }
    kept
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let share = |percent: u32| Share::from_millionths(percent * 10_000);
    let action = prop_oneof![
        prop::sample::select(vec![50, 100]).prop_map(move |percent| StepAction::Shadow(share(percent))),
        prop::sample::select(vec![5, 50, 100]).prop_map(move |percent| StepAction::Reads(share(percent))),
    ];
    let step = |action| Step {
        source: "users.toml:9".into(),
        action,
        compare: Share::NONE,
        hold: Duration::ZERO,
        approve: false,
        windows: vec![],
    };
    prop::collection::vec(action.prop_map(step), 0..4)
}

fn a_capability() -> impl Strategy<Value = Capability> {
    let services = (prop::sample::select(vec!["m", "m", "m", "n"]), prop::sample::select(vec!["u", "u", "u", "v"]));
    (services, prop::collection::vec(a_route(), 1..4), steps()).prop_map(|((legacy, modern), routes, steps)| {
        let base = BASE.clone();
        let routes = without_twins(routes);
        Capability { legacy: legacy.to_owned(), modern: modern.to_owned(), routes, steps, ..base }
    })
}

/// An edit of `before`: all of it, or only one of its parts.
fn an_edit(before: Capability) -> impl Strategy<Value = Capability> {
    (a_capability(), 0..4usize, any::<prop::sample::Index>()).prop_map(move |(other, part, at)| match part {
        0 => other,
        1 => Capability { steps: other.steps, ..before.clone() },
        2 => Capability { modern: other.modern, legacy: other.legacy, ..before.clone() },
        _ => {
            let mut edited = before.clone();
            let index = at.index(edited.routes.len());
            let [route, ..] = &other.routes[..] else { return edited };
            edited.routes[index] = Route { path: edited.routes[index].path.clone(), ..route.clone() };
            edited.routes = without_twins(edited.routes);
            edited
        }
    })
}

fn snapshot(state: &State, plan: &Capability) -> Snapshot {
    let rules = RuleSet { capabilities: [("users".to_owned(), plan.clone())].into(), ..RuleSet::default() };
    let router = Router::build(&rules).expect("patterns that can be held");
    let capabilities = [("users".to_owned(), desired::serving(state, plan))].into();
    Snapshot { published: Published { capabilities, ..Published::default() }, rules, router }
}

/// What becomes of a write; only of one that follows the owner.
fn write_of(snapshot: &Snapshot, path: &str) -> (Side, Admission, bool) {
    let request = PlainRequest::new("POST", path).expect("a path");
    let decision = decide(snapshot, &request, &Caller::default(), &Circumstances::default(), Timestamp(0));
    let route = decision.route.as_ref().is_some_and(|_| {
        let matched = snapshot.router.find(&snapshot.rules, &request).expect("a route");
        snapshot.rules.capabilities["users"].routes[matched.route].pin.is_none()
    });
    (decision.side, decision.admission, route)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn a_reload_that_is_taken_moves_nothing(
        (before, after) in a_capability().prop_flat_map(|before| (Just(before.clone()), an_edit(before))),
        phase in prop::sample::select(WALKS.to_vec()),
        step in 0..4usize,
        switches in any::<bool>(),
    ) {
        let can_switch = !matches!(phase, Phase::Backfilling | Phase::Retired);
        let state = State { step, ..if switches && can_switch { switching(phase) } else { state(phase) } };
        let of = |plan: &Capability| RuleSet { capabilities: [("users".to_owned(), plan.clone())].into(), ..RuleSet::default() };
        if !complaints(std::iter::once(&state), &of(&before), &of(&after)).is_empty() {
            return Ok(());
        }
        prop_assert_eq!(desired::serving(&state, &before), desired::serving(&state, &after));
        prop_assert_eq!((&before.legacy, &before.modern), (&after.legacy, &after.modern));
        let (old, new) = (snapshot(&state, &before), snapshot(&state, &after));
        for path in ASKED {
            let ((_, admitted, follows), (side, now, _)) = (write_of(&old, path), write_of(&new, path));
            if follows {
                prop_assert!(side == state.owner || now != Admission::Forward, "{} goes to {}, past the owner", path, side);
                prop_assert!(admitted != Admission::Hold || now != Admission::Forward, "{} is no longer held", path);
            }
        }
    }
}
