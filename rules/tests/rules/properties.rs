//! What must hold for every caller and every request: shares only add, markers cannot be made up, a decision is a function.

use ficus_rules::bucket::{bucket, is_inside};
use ficus_rules::decide::{Admission, Because, Caller, Circumstances, Snapshot, decide, is_safe};
use ficus_rules::marker::{LIFETIME, Marker, add, open, seal};
use ficus_rules::migration::Phase;
use ficus_rules::plan::{Condition, Route};
use ficus_rules::route::{PlainRequest, Router};
use ficus_rules::wire::{Freshness, Published, Serving};
use ficus_rules::{Share, Side, Timestamp};
use proptest::prelude::*;

use crate::support::{capability, cases, route, rule_set};

const NOW: Timestamp = Timestamp(1_000_000);

fn shares() -> impl Strategy<Value = Share> {
    (0..=1_000_000u32).prop_map(Share::from_millionths)
}

fn sides() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Legacy), Just(Side::Modern)]
}

fn servings() -> impl Strategy<Value = Serving> {
    (sides(), shares(), shares(), any::<bool>(), 0..4u64).prop_map(|(owner, reads, shadow, fenced, epoch)| {
        let phase = if owner == Side::Modern { Phase::Soaking } else { Phase::Ramping };
        Serving { phase, epoch, owner, reads, shadow, fenced }
    })
}

fn callers() -> impl Strategy<Value = Caller> {
    let marker = ("users|courses", 0..4u64, 990_000..1_000_000u64);
    let marker = marker.prop_map(|(capability, epoch, at)| Marker { capability, epoch, at: Timestamp(at) });
    (prop::option::of("[0-9]{1,3}"), prop::option::of("[a-z]{4}"), prop::collection::vec(marker, 0..3))
        .prop_map(|(user, anonymous, markers)| Caller { user, anonymous, markers, ..Caller::default() })
}

fn requests() -> impl Strategy<Value = PlainRequest> {
    let path = prop_oneof!["/users/[0-9]{0,3}", "/users/[0-9]{1,2}/photo/", "/courses/[ab]?", "/login/", "/admin/[a-c]", "/[a-z]{0,3}"];
    let method = prop_oneof![Just("GET"), Just("HEAD"), Just("POST"), Just("PATCH"), Just("DELETE")];
    (method, path, prop::option::of("[ab]"), prop::option::of("sessionid=[a-f]{6}")).prop_map(|(method, path, tenant, cookie)| {
        let request = PlainRequest::new(method, &path).expect("a plain path");
        let request = tenant.into_iter().fold(request, |request, tenant| request.with_header("x-tenant", &tenant));
        cookie.into_iter().fold(request, |request, cookie| request.with_header("cookie", &cookie))
    })
}

fn snapshots() -> impl Strategy<Value = Snapshot> {
    (servings(), servings()).prop_map(|(users, courses)| {
        let tenant = [("x-tenant".to_owned(), Condition::Equals("a".to_owned()))].into();
        let users_routes = vec![
            Route { modern_path: Some("/people/{rest}".to_owned()), dry_run: true, ..route("/users/{*rest}") },
            Route { headers: tenant, pin: Some(Side::Modern), ..route("/users/{id}/photo/") },
            Route { pin: Some(Side::Legacy), ..route("/login/") },
            Route { pin: Some(Side::Legacy), writes_tables: true, ..route("/admin/{*rest}") },
        ];
        let rules = rule_set([capability("users", users_routes), capability("courses", vec![route("/courses/{*rest}")])]);
        let router = Router::build(&rules).expect("patterns are well formed");
        let capabilities = [("users".to_owned(), users), ("courses".to_owned(), courses)].into();
        Snapshot { published: Published { generation: 1, capabilities, ..Published::default() }, rules, router }
    })
}

fn surroundings() -> impl Strategy<Value = Circumstances> {
    let freshness = (0..4u64, 990_000..1_000_000u64).prop_map(|(epoch, at)| Freshness { epoch, through: Timestamp(at) });
    (prop::collection::btree_map("users|courses", freshness, 0..2), prop::collection::vec("users|courses", 0..2))
        .prop_map(|(freshness, modern_down)| Circumstances { freshness, modern_down })
}

proptest! {
    #[test]
    fn a_growing_share_never_moves_anybody_out(salt in "[a-z]{1,8}", unit in ".{0,20}", small in shares(), large in shares()) {
        let (small, large) = (small.min(large), small.max(large));
        prop_assert!(!is_inside(&salt, &unit, small) || is_inside(&salt, &unit, large));
        prop_assert!(bucket(&salt, &unit) < 1_000_000);
        prop_assert!(is_inside(&salt, &unit, Share::ALL) && !is_inside(&salt, &unit, Share::NONE));
    }

    #[test]
    fn a_marker_comes_back_under_its_key_alone(
        capability in "[a-z][a-z0-9_-]{0,20}", epoch in any::<u64>(), at in 0..u64::MAX / 2, key in any::<[u8; 8]>(), other in any::<[u8; 8]>(),
    ) {
        let marker = Marker { capability, epoch, at: Timestamp(at) };
        let text = seal(std::slice::from_ref(&marker), &key);
        prop_assert_eq!(open(&text, &key, Timestamp(at)), vec![marker]);
        prop_assert!(key == other || open(&text, &other, Timestamp(at)).is_empty());
        prop_assert!(open(&text, &key, Timestamp(at).plus(LIFETIME)).is_empty());
    }

    #[test]
    fn a_marker_cannot_be_made_up(text in ".{0,80}", at in any::<prop::sample::Index>(), replaced in any::<char>()) {
        prop_assert!(open(&text, b"key", NOW).is_empty());
        let genuine = seal(&[Marker { capability: "users".to_owned(), epoch: 3, at: NOW }], b"key");
        let mut forged: Vec<char> = genuine.chars().collect();
        let at = at.index(forged.len());
        forged[at] = replaced;
        let forged: String = forged.into_iter().collect();
        prop_assert!(forged == genuine || open(&forged, b"key", NOW).is_empty());
    }

    #[test]
    fn a_callers_markers_stay_one_for_each_capability(writes in prop::collection::vec(("[abc]", 0..3u64, 0..100u64), 0..20)) {
        let mut markers = Vec::new();
        for (capability, epoch, at) in writes {
            add(&mut markers, Marker { capability: capability.clone(), epoch, at: Timestamp(at) });
            let mine: Vec<&Marker> = markers.iter().filter(|m| m.capability == capability).collect();
            prop_assert!(mine.len() == 1 && mine[0].epoch == epoch && mine[0].at >= Timestamp(at));
        }
    }
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn a_decision_is_a_function_and_keeps_its_promises(
        snapshot in snapshots(), request in requests(), caller in callers(), around in surroundings(),
    ) {
        let decision = decide(&snapshot, &request, &caller, &around, NOW);
        prop_assert_eq!(&decision, &decide(&snapshot.clone(), &request.clone(), &caller.clone(), &around.clone(), NOW));
        let json = serde_json::to_string(&decision).expect("a decision is data");
        prop_assert_eq!(&serde_json::from_str::<ficus_rules::decide::Decision>(&json).expect("as written"), &decision);

        let Some(name) = &decision.capability else {
            prop_assert_eq!((decision.side, decision.because, decision.admission), (Side::Legacy, Because::NoRoute, Admission::Forward));
            return Ok(());
        };
        let serving = &snapshot.published.capabilities[name];
        let pinned = decision.because == Because::Pinned;
        prop_assert!(!decision.write || pinned || decision.side == serving.owner, "a write goes to the owner");
        prop_assert!(is_safe(ficus_rules::route::Request::method(&request)) || decision.write);
        prop_assert!(decision.write || decision.admission == Admission::Forward, "a read is never held");
        prop_assert!(!(decision.write && serving.fenced && !pinned) || decision.admission == Admission::Hold, "the fence holds");
        prop_assert!(!decision.fallback || (!decision.write && decision.side == Side::Modern), "only reads on modern fall back");
        prop_assert!(!decision.shadow || decision.side == serving.owner, "only the owner's answers are compared");
        prop_assert!(!decision.shadow || serving.shadow > Share::NONE);
        prop_assert!(!decision.shadow || !decision.write || serving.owner == Side::Legacy, "no write is mirrored once modern owns");
        prop_assert!(decision.mirror_path.is_none() || (decision.shadow && decision.side == Side::Legacy));
        let rehearsable = decision.route.as_deref() == Some("test.toml:/users/{*rest}") && decision.admission == Admission::Forward;
        prop_assert!(!decision.shadow || !decision.write || rehearsable, "a write is shadowed where modern rehearses it alone");
        let ahead = caller.markers.iter().any(|m| {
            let fresh = around.freshness.get(name).filter(|f| f.epoch == serving.epoch);
            &m.capability == name && m.epoch == serving.epoch && fresh.is_none_or(|f| f.through <= m.at)
        });
        prop_assert!(pinned || !ahead || decision.side == serving.owner, "a session reads what it wrote");
        prop_assert!(!decision.shadow || !decision.write || !ahead, "a rehearsal knows what its caller wrote");
    }
}
