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

/// For a path that matches: 0 for a literal, 2 for a name, 4 for the rest, one less with an expression, from the left; and
/// what names stood for.
fn match_path(pattern: &str, path: &str) -> Option<(Vec<u8>, BTreeMap<String, String>)> {
    let (mut kinds, mut params) = (Vec::new(), BTreeMap::new());
    let mut left = path.split('/').skip(1).collect::<Vec<_>>().into_iter();
    for part in pattern.split('/').skip(1) {
        let inner = part.strip_prefix('{').map(|part| part.trim_end_matches('}'));
        let (name, expression) = inner.map_or(("", None), |inner| inner.split_once(':').map_or((inner, None), |(n, e)| (n, Some(e))));
        let takes = |text: &str| expression.is_none_or(|e| regex::Regex::new(&format!("^({e})$")).expect("an expression").is_match(text));
        if let Some(name) = name.strip_prefix('*') {
            let rest: Vec<&str> = left.by_ref().collect();
            if rest.is_empty() || !takes(&rest.join("/")) {
                return None;
            }
            params.insert(name.to_owned(), rest.join("/"));
            kinds.push(4 - u8::from(expression.is_some()));
            continue;
        }
        let segment = left.next()?;
        match inner {
            Some(_) if segment.is_empty() || !takes(segment) => return None,
            Some(_) => {
                params.insert(name.to_owned(), segment.to_owned());
                kinds.push(2 - u8::from(expression.is_some()));
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
    let expression = || prop_oneof![2 => Just(""), 1 => Just(":[ab]"), 1 => Just(":[bc]+"), 1 => Just(":b.*|c")];
    let segment = prop_oneof![2 => "[ab]", 3 => expression().prop_map(|expression| format!("{{}}{expression}"))];
    let rest = expression().prop_map(|expression| format!("/{{*rest{expression}}}"));
    let end = prop_oneof![2 => Just(String::new()), 1 => Just("/".to_owned()), 2 => rest];
    (prop::collection::vec(segment, 0..4), end).prop_map(|(segments, end)| {
        let named = segments.iter().enumerate().map(|(at, s)| match s.strip_prefix("{}") {
            Some(expression) => format!("/{{n{at}{expression}}}"),
            None => format!("/{s}"),
        });
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

#[test]
fn an_expression_comes_after_the_literal_and_before_any_name() {
    let paths = ["/u/{name}", "/u/{id:[0-9]+}", "/u/7", "/u/{code:[0-9a-f]+}", "/u/{*doc:.+[.]pdf}", "/u/{*rest}"];
    let rules = rule_set([capability("users", paths.map(route).into())]);
    let router = Router::build(&rules).expect("patterns are well formed");
    let found = |path: &str| router.find(&rules, &PlainRequest::new("GET", path).expect("a plain path"));
    for (path, index) in [("/u/7", 2), ("/u/8", 1), ("/u/8a", 3), ("/u/me", 0), ("/u/a/b.pdf", 4), ("/u/a/b", 5)] {
        assert_eq!(found(path).map(|matched| matched.route), Some(index), "{path}");
    }
    // Of two expressions that match, what follows is looked at: a literal there is more specific.
    let rules = rule_set([capability("users", vec![route("/u/{a:[a-c]}/{x}"), route("/u/{b:[b-d]}/y")])]);
    let router_of_two = Router::build(&rules).expect("patterns are well formed");
    let of_two =
        |path: &str| router_of_two.find(&rules, &PlainRequest::new("GET", path).expect("a plain path")).map(|m| (m.route, m.params));
    assert_eq!(of_two("/u/b/y"), Some((1, [("b".to_owned(), "b".to_owned())].into())));
    assert_eq!(of_two("/u/b/z").map(|found| found.1.len()), Some(2));
    assert_eq!(found("/u/8a").expect("a code").params["code"], "8a");
}

/// Ten times or a thousand times the routes, of every kind: one request still takes as many steps.
#[test]
fn the_steps_to_a_route_do_not_grow_with_the_number_of_routes() {
    type Made = fn(usize) -> Route;
    let kinds: [(&str, Made); 6] = [
        ("paths", |n| route(&format!("/api/r{n}/{{id}}/photo/"))),
        ("depth", |n| route(&format!("/api/{{tenant}}/r{n}/{{*rest}}"))),
        ("hosts", |n| Route { hosts: vec![format!("t{n}")], ..route("/api/{*rest}") }),
        ("headers", |n| Route { headers: [("x-tenant".into(), Condition::Equals(format!("t{n}")))].into(), ..route("/api/{*rest}") }),
        ("query", |n| Route { query: [("tenant".into(), Condition::Equals(format!("t{n}")))].into(), ..route("/api/{*rest}") }),
        ("expressions", |n| route(&format!("/api/{{id:r{n}x[0-9]+}}/"))),
    ];
    for (kind, made) in kinds {
        let steps = |number: usize| {
            let rules = rule_set([capability("users", (0..number).map(made).collect())]);
            let router = Router::build(&rules).expect("patterns are well formed");
            let path = match kind {
                "paths" => "/api/r7/1/photo/",
                "depth" => "/api/a/r7/b",
                "expressions" => "/api/r7x12/",
                _ => "/api/anything?tenant=t7",
            };
            let request = PlainRequest::new("GET", path).expect("a plain path").with_host("t7").with_header("x-tenant", "t7");
            assert_eq!(router.find(&rules, &request).map(|matched| matched.route), Some(7), "{kind}");
            router.steps(&rules, &request)
        };
        let few = steps(10);
        assert!(few < 10, "{kind}: {few}");
        assert_eq!(steps(10_000), few, "{kind}");
    }
}
