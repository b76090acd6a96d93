//! The router against a naive reference, paths and patterns by property.

use std::collections::BTreeMap;

use crate::support::{capability, cases, route, rule_set};
use ficus_rules::path;
use ficus_rules::plan::{Condition, Route, RuleSet};
use ficus_rules::route::{Matched, PlainRequest, Request, Router};
use proptest::prelude::*;

/// Kinds of the pattern's segments, fewest conditions last, order.
type Rank = (Vec<u8>, std::cmp::Reverse<usize>, usize);

/// All routes are looked at; the most specific whose path and conditions match wins.
fn reference(rules: &RuleSet, request: &dyn Request) -> Option<Matched> {
    let mut best: Option<(Rank, Matched)> = None;
    let routes = rules.capabilities.iter().flat_map(|(name, c)| c.routes.iter().enumerate().map(move |(index, r)| (name, index, r)));
    for (order, (name, index, route)) in routes.enumerate() {
        let Some((kinds, params)) = match_path(&route.path, request.path()) else { continue };
        if !conditions_hold(route, request) {
            continue;
        }
        let conditions =
            usize::from(!route.hosts.is_empty()) + usize::from(!route.methods.is_empty()) + route.headers.len() + route.query.len();
        let key = (kinds, std::cmp::Reverse(conditions), order);
        if best.as_ref().is_none_or(|(other, _)| key < *other) {
            best = Some((key, Matched { capability: name.clone(), route: index, params }));
        }
    }
    best.map(|(_, matched)| matched)
}

/// For a path that matches: 0 for a literal, 1 for a name, 2 for the rest, from the left; and what names stood for.
fn match_path(pattern: &str, path: &str) -> Option<(Vec<u8>, BTreeMap<String, String>)> {
    let (mut kinds, mut params) = (Vec::new(), BTreeMap::new());
    let mut left = path.split('/').skip(1).collect::<Vec<_>>().into_iter();
    for part in pattern.split('/').skip(1) {
        if let Some(name) = part.strip_prefix("{*") {
            let rest: Vec<&str> = left.by_ref().collect();
            if rest.is_empty() {
                return None;
            }
            params.insert(name.trim_end_matches('}').to_owned(), rest.join("/"));
            kinds.push(2);
            continue;
        }
        let segment = left.next()?;
        match part.strip_prefix('{') {
            Some(_) if segment.is_empty() => return None,
            Some(name) => {
                params.insert(name.trim_end_matches('}').to_owned(), segment.to_owned());
                kinds.push(1);
            }
            None if part == segment => kinds.push(0),
            None => return None,
        }
    }
    left.next().is_none().then_some((kinds, params))
}

fn conditions_hold(route: &Route, request: &dyn Request) -> bool {
    let holds = |condition: &Condition, value: Option<&str>| match (condition, value) {
        (Condition::Absent, value) => value.is_none(),
        (_, None) => false,
        (Condition::Present, Some(_)) => true,
        (Condition::Equals(wanted), Some(value)) => wanted == value,
        (Condition::Prefix(prefix), Some(value)) => value.starts_with(prefix.as_str()),
    };
    let first = |name: &str| {
        let pairs = request.query().split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).next()
    };
    (route.methods.is_empty() || route.methods.contains(&request.method().to_owned()))
        && (route.hosts.is_empty() || route.hosts.contains(&request.host().to_owned()))
        && route.headers.iter().all(|(name, condition)| holds(condition, request.header(name)))
        && route.query.iter().all(|(name, condition)| holds(condition, first(name)))
}

fn patterns() -> impl Strategy<Value = String> {
    let segment = prop_oneof![3 => "[ab]", 2 => Just("{}".to_owned())];
    let end = prop_oneof![2 => Just(String::new()), 1 => Just("/".to_owned()), 2 => Just("/{*rest}".to_owned())];
    (prop::collection::vec(segment, 0..4), end).prop_map(|(segments, end)| {
        let named = segments.iter().enumerate().map(|(at, s)| if s == "{}" { format!("/{{n{at}}}") } else { format!("/{s}") });
        let pattern = named.collect::<String>() + &end;
        if pattern.is_empty() { "/".to_owned() } else { pattern }
    })
}

fn conditions() -> impl Strategy<Value = Condition> {
    prop_oneof![Just(Condition::Present), Just(Condition::Absent), "[xy]".prop_map(Condition::Equals), "x?".prop_map(Condition::Prefix),]
}

fn routes() -> impl Strategy<Value = Route> {
    let hosts = prop::collection::vec("[ab]\\.test", 0..2);
    let methods = prop::collection::vec(prop_oneof![Just("GET".to_owned()), Just("POST".to_owned())], 0..2);
    let map = || prop::collection::btree_map("[hi]", conditions(), 0..2);
    (patterns(), hosts, methods, map(), map()).prop_map(|(path, hosts, methods, headers, query)| Route {
        hosts,
        methods,
        headers,
        query,
        ..route(&path)
    })
}

fn requests() -> impl Strategy<Value = PlainRequest> {
    let path = prop::collection::vec("[abc]", 0..5).prop_flat_map(|s| prop_oneof![Just(s.join("/")), Just(s.join("/") + "/")]);
    let pairs = || prop::collection::vec(("[hi]", "[xy]{1,2}"), 0..3);
    (prop_oneof![Just("GET"), Just("POST")], "[abc]\\.test", path, pairs(), pairs()).prop_map(|(method, host, path, query, headers)| {
        let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = PlainRequest::new(method, &format!("/{path}?{}", query.join("&"))).expect("a plain path").with_host(&host);
        headers.iter().fold(request, |request, (name, value)| request.with_header(name, value))
    })
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn the_router_agrees_with_the_reference(
        users in prop::collection::vec(routes(), 0..8),
        courses in prop::collection::vec(routes(), 0..4),
        asked in prop::collection::vec(requests(), 1..12),
    ) {
        let rules = rule_set([capability("users", users), capability("courses", courses)]);
        let router = Router::build(&rules).expect("patterns are well formed");
        for request in &asked {
            prop_assert_eq!(router.find(&rules, request), reference(&rules, request), "{:?}", request);
        }
    }

    #[test]
    fn normalising_is_idempotent(raw in "/([a.%2/eEfF5cC~ü;-]|%2e|%41|%20){0,12}") {
        if let Ok(once) = path::normalise(&raw) {
            prop_assert_eq!(path::normalise(&once), Ok(once.clone()));
            prop_assert!(once.starts_with('/') && !once.contains("//") && once.is_ascii());
            prop_assert!(once.split('/').all(|segment| segment != "." && segment != ".."));
        }
    }

    #[test]
    fn normalising_takes_anything(raw in any::<String>()) {
        let _ = path::normalise(&raw);
        let _ = path::normalise(&format!("/{raw}"));
    }
}

#[test]
fn a_route_whose_conditions_do_not_hold_yields_to_a_wider_path() {
    let limited = Route { methods: vec!["POST".into()], ..route("/api/users/") };
    let rules = rule_set([capability("users", vec![limited, route("/api/{*rest}")])]);
    let router = Router::build(&rules).expect("patterns are well formed");
    let index = |method| router.find(&rules, &PlainRequest::new(method, "/api/users/").expect("a plain path")).map(|m| m.route);
    assert_eq!((index("POST"), index("GET")), (Some(0), Some(1)));
}

#[test]
fn a_literal_deeper_down_does_not_hide_the_rest() {
    let rules = rule_set([capability("users", vec![route("/users/{id}/photo/"), route("/users/{*rest}")])]);
    let router = Router::build(&rules).expect("patterns are well formed");
    let found = |path| router.find(&rules, &PlainRequest::new("GET", path).expect("a plain path"));
    assert_eq!(found("/users/7/photo/").map(|m| m.route), Some(0));
    let notes = found("/users/7/notes/").expect("the rest matches");
    assert_eq!((notes.route, notes.params["rest"].as_str()), (1, "7/notes/"));
    assert_eq!(found("/users/").expect("an empty rest matches").params["rest"], "");
    assert_eq!(found("/users"), None);
}
