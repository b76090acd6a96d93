//! Whether several routes together take all requests of another one. Exact, as far as the conditions beside the path go: what a
//! route asks for is taken away from what is left, one condition after the other, until nothing is.

use super::conditions::holds;
use crate::plan::{Condition, Route};

/// Routes that are looked at together.
const MOST: usize = 200;
/// Steps that one question may take.
const STEPS: usize = 20_000;
/// Begins no value that a rule names.
const OTHER: char = '\u{1}';

/// What routes ask about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Thing<'a> {
    Method,
    Host,
    Header(&'a str),
    Parameter(&'a str),
}

/// What a route asks for.
#[derive(Debug, Clone, Copy)]
enum Wish<'a> {
    OneOf(&'a [String]),
    Such(&'a Condition),
}

impl Wish<'_> {
    fn holds(self, value: Option<&str>) -> bool {
        match self {
            Wish::OneOf(names) => value.is_some_and(|value| names.iter().any(|name| name == value)),
            Wish::Such(condition) => holds(condition, value),
        }
    }
}

/// A wish of a route about a thing, and whether it holds.
type Fact<'a> = (Thing<'a>, Wish<'a>, bool);

/// Whether a request of `narrow` is left that none of the others takes; `None`: that would take too long to find out.
pub fn is_any_left(narrow: &Route, others: &[&Route]) -> Option<bool> {
    let mut facts: Vec<Fact<'_>> = wishes(narrow).into_iter().map(|(thing, wish)| (thing, wish, true)).collect();
    if [true, false].iter().any(|says_much| others.iter().all(|other| !takes(other, &facts, *says_much))) {
        return Some(true);
    }
    if others.len() > MOST {
        return None;
    }
    let mut steps = STEPS;
    left(&mut facts, others, &mut steps)
}

/// Whether a route takes a request of these facts that says nothing else that rules name: `says_much`: but says something of everything.
fn takes(route: &Route, facts: &[Fact<'_>], says_much: bool) -> bool {
    wishes(route).into_iter().all(|(thing, wish)| {
        let facts: Vec<&Fact<'_>> = facts.iter().filter(|(of, ..)| *of == thing).collect();
        let mut values = values(&facts);
        // What is absent comes first, what nobody names last of what begins alike.
        if says_much {
            values.reverse();
        }
        let value = values.into_iter().find(|value| are_true(&facts, value.as_deref()));
        value.is_some_and(|value| wish.holds(value.as_deref()))
    })
}

fn left<'a>(facts: &mut Vec<Fact<'a>>, others: &[&'a Route], steps: &mut usize) -> Option<bool> {
    let Some((first, rest)) = others.split_first() else { return Some(true) };
    *steps = steps.checked_sub(1)?;
    let before = facts.len();
    let mut found = Some(false);
    // A request that it does not take lacks one of its conditions, and has those before.
    for (thing, wish) in wishes(first) {
        facts.push((thing, wish, false));
        if is_possible(facts, thing) {
            found = left(facts, rest, steps);
        }
        facts.pop();
        if found != Some(false) {
            break;
        }
        facts.push((thing, wish, true));
        if !is_possible(facts, thing) {
            break;
        }
    }
    facts.truncate(before);
    found
}

fn wishes(route: &Route) -> Vec<(Thing<'_>, Wish<'_>)> {
    let lists = [(Thing::Method, &route.methods), (Thing::Host, &route.hosts)];
    let lists = lists.into_iter().filter(|(_, names)| !names.is_empty()).map(|(thing, names)| (thing, Wish::OneOf(names)));
    let headers = route.headers.iter().map(|(name, condition)| (Thing::Header(name), Wish::Such(condition)));
    let parameters = route.query.iter().map(|(name, condition)| (Thing::Parameter(name), Wish::Such(condition)));
    lists.chain(headers).chain(parameters).collect()
}

/// Whether a thing can have a value of which all facts about it are true.
fn is_possible(facts: &[Fact<'_>], thing: Thing<'_>) -> bool {
    let facts: Vec<&Fact<'_>> = facts.iter().filter(|(of, ..)| *of == thing).collect();
    values(&facts).iter().any(|value| are_true(&facts, value.as_deref()))
}

fn are_true(facts: &[&Fact<'_>], value: Option<&str>) -> bool {
    facts.iter().all(|(_, wish, so)| wish.holds(value) == *so)
}

/// All values of a thing that make a difference to these facts: none, those that they name, and others.
fn values(facts: &[&Fact<'_>]) -> Vec<Option<String>> {
    let mut values = vec![None];
    for (_, wish, _) in facts {
        match wish {
            Wish::OneOf(names) => values.extend(names.iter().cloned().map(Some)),
            Wish::Such(Condition::Equals(value)) => values.push(Some(value.clone())),
            Wish::Such(Condition::Prefix(prefix)) => values.extend([Some(prefix.clone()), Some(format!("{prefix}{OTHER}"))]),
            Wish::Such(Condition::Present | Condition::Absent) => {}
        }
    }
    values.push(Some(OTHER.to_string()));
    values
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy, prop, prop_assert_eq, prop_oneof, proptest};

    use super::is_any_left;
    use crate::plan::{Condition, Deadlines, Route};
    use crate::route::PlainRequest;
    use crate::route::conditions::hold;

    /// Without any condition.
    fn any() -> Route {
        Route {
            source: String::new(),
            path: "/".into(),
            hosts: Vec::new(),
            methods: Vec::new(),
            headers: [].into(),
            query: [].into(),
            modern_path: None,
            pin: None,
            writes_tables: false,
            flag: None,
            csrf: true,
            require: None,
            fallback: true,
            shadow: true,
            dry_run: false,
            fallback_on: Vec::new(),
            timeout: None,
            plugins: None,
            deadlines: Deadlines::default(),
            cache: None,
        }
    }

    fn route(methods: &[&str], headers: &[(&str, Condition)]) -> Route {
        let headers = headers.iter().map(|(name, condition)| ((*name).to_owned(), condition.clone())).collect();
        Route { methods: methods.iter().map(|method| (*method).to_owned()).collect(), headers, ..any() }
    }

    #[test]
    fn routes_together_take_what_none_takes_alone() {
        let (present, absent) = (route(&[], &[("a", Condition::Present)]), route(&[], &[("a", Condition::Absent)]));
        let any = any();
        assert_eq!(is_any_left(&any, &[&present, &absent]), Some(false));
        assert_eq!(is_any_left(&any, &[&present]), Some(true));
        assert_eq!(is_any_left(&any, &[&route(&["GET"], &[]), &route(&["POST"], &[])]), Some(true), "there are other methods");
        let writes = route(&["POST", "PUT"], &[]);
        assert_eq!(is_any_left(&writes, &[&route(&["GET", "POST"], &[]), &route(&["PUT"], &[])]), Some(false));
        assert_eq!(is_any_left(&writes, &[&route(&["POST"], &[]), &route(&["PUT"], &[("a", Condition::Present)])]), Some(true));
        let long = route(&[], &[("a", Condition::Prefix("xy".into()))]);
        let short = [Condition::Equals("xy".into()), Condition::Prefix("x".into())].map(|condition| route(&[], &[("a", condition)]));
        assert_eq!((is_any_left(&long, &[&short[0]]), is_any_left(&long, &[&short[0], &short[1]])), (Some(true), Some(false)));
    }

    #[test]
    fn what_takes_too_long_is_not_known() {
        let condition = |nth: usize| (format!("h{nth}"), Condition::Present);
        let one = |nth: usize| Route { headers: (0..4).map(|more| condition(nth * 4 + more)).collect(), ..any() };
        let others: Vec<Route> = (0..12).map(one).collect();
        let mut all: Vec<&Route> = others.iter().collect();
        assert_eq!(is_any_left(&any(), &all), Some(true));
        let last = any();
        all.push(&last);
        assert_eq!(is_any_left(&last, &all), None);
    }

    fn conditions() -> impl Strategy<Value = Condition> {
        let text = || prop_oneof![Just("x"), Just("xy"), Just("xyz"), Just("z")].prop_map(str::to_owned);
        prop_oneof![
            Just(Condition::Present),
            Just(Condition::Absent),
            text().prop_map(Condition::Equals),
            text().prop_map(Condition::Prefix)
        ]
    }

    fn routes() -> impl Strategy<Value = Route> {
        let methods = prop::collection::vec(prop_oneof![Just("GET"), Just("POST"), Just("PUT")].prop_map(str::to_owned), 0..3);
        let headers = prop::collection::btree_map(prop_oneof![Just("a"), Just("b")].prop_map(str::to_owned), conditions(), 0..3);
        let hosts = prop_oneof![Just(Vec::new()), Just(vec!["h".to_owned()])];
        (methods, headers, hosts).prop_map(|(methods, headers, hosts)| Route { methods, headers, hosts, ..any() })
    }

    proptest! {
        /// As trying every request that makes a difference says.
        #[test]
        fn it_is_what_trying_all_requests_says(narrow in routes(), others in prop::collection::vec(routes(), 0..5)) {
            let values = [None, Some("x"), Some("xy"), Some("xyz"), Some("z"), Some("x-"), Some("xy-"), Some("xyz-"), Some("z-"), Some("-")];
            let mut left = false;
            for method in ["GET", "POST", "PUT", "PROPFIND"] {
                for host in ["h", "i"] {
                    for (a, b) in values.iter().flat_map(|a| values.iter().map(move |b| (a, b))) {
                        let request = PlainRequest::new(method, "/").expect("a request").with_host(host);
                        let said = [("a", a), ("b", b)].into_iter().filter_map(|(name, value)| Some((name, (*value)?)));
                        let request = said.fold(request, |request, (name, value)| request.with_header(name, value));
                        left |= hold(&narrow, &request) && !others.iter().any(|other| hold(other, &request));
                    }
                }
            }
            prop_assert_eq!(is_any_left(&narrow, &others.iter().collect::<Vec<_>>()), Some(left));
        }
    }
}
