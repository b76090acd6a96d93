//! The conditions of a route beside its path: host, methods, headers, query. A header or parameter that comes several
//! times counts with its first value.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

use super::Request;
use crate::plan::{Condition, Route};

/// Whether all of a route's conditions hold for a request whose path matches.
pub(super) fn hold(route: &Route, request: &dyn Request) -> bool {
    (route.methods.is_empty() || route.methods.iter().any(|method| method == request.method()))
        && (route.hosts.is_empty() || route.hosts.iter().any(|host| host == request.host()))
        && route.headers.iter().all(|(name, condition)| holds(condition, request.header(name)))
        && route.query.iter().all(|(name, condition)| holds(condition, parameter(request.query(), name).as_deref()))
}

/// The one value of something that a route asks for. Routes that ask for different values of the same thing never meet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// This host.
    Host(String),
    /// This value of a header.
    Header(String, String),
    /// This value of a query parameter.
    Query(String, String),
}

/// What a route is found by among others with its path: one of its hosts; else the first header, else the first parameter
/// that must have one value. None: it asks for none.
pub fn keys(route: &Route) -> Vec<Key> {
    let exact = |conditions: &BTreeMap<String, Condition>| {
        conditions.iter().find_map(|(name, condition)| match condition {
            Condition::Equals(value) => Some((name.clone(), value.clone())),
            _ => None,
        })
    };
    if !route.hosts.is_empty() {
        return route.hosts.iter().cloned().map(Key::Host).collect();
    }
    let header = exact(&route.headers).map(|(name, value)| Key::Header(name, value));
    header.or_else(|| exact(&route.query).map(|(name, value)| Key::Query(name, value))).into_iter().collect()
}

/// How many conditions a route has: of two routes with the same path the one with more is tried first.
pub fn count(route: &Route) -> usize {
    usize::from(!route.hosts.is_empty()) + usize::from(!route.methods.is_empty()) + route.headers.len() + route.query.len()
}

/// Whether every request that meets the conditions of `narrow` meets those of `wide`.
pub fn covers(wide: &Route, narrow: &Route) -> bool {
    let lists =
        |wide: &[String], narrow: &[String]| wide.is_empty() || (!narrow.is_empty() && narrow.iter().all(|item| wide.contains(item)));
    let maps = |wide: &BTreeMap<String, Condition>, narrow: &BTreeMap<String, Condition>| {
        wide.iter().all(|(name, condition)| narrow.get(name).is_some_and(|narrow| implies(narrow, condition)))
    };
    lists(&wide.hosts, &narrow.hosts)
        && lists(&wide.methods, &narrow.methods)
        && maps(&wide.headers, &narrow.headers)
        && maps(&wide.query, &narrow.query)
}

/// Whether one request can meet the conditions of both.
pub fn meet(one: &Route, other: &Route) -> bool {
    let lists = |a: &[String], b: &[String]| a.is_empty() || b.is_empty() || a.iter().any(|item| b.contains(item));
    let maps = |a: &BTreeMap<String, Condition>, b: &BTreeMap<String, Condition>| {
        a.iter().all(|(name, condition)| b.get(name).is_none_or(|other| compatible(condition, other)))
    };
    lists(&one.hosts, &other.hosts)
        && lists(&one.methods, &other.methods)
        && maps(&one.headers, &other.headers)
        && maps(&one.query, &other.query)
}

pub(super) fn holds(condition: &Condition, value: Option<&str>) -> bool {
    match condition {
        Condition::Present => value.is_some(),
        Condition::Absent => value.is_none(),
        Condition::Equals(wanted) => value == Some(wanted),
        Condition::Prefix(prefix) => value.is_some_and(|value| value.starts_with(prefix)),
    }
}

fn implies(narrow: &Condition, wide: &Condition) -> bool {
    match (narrow, wide) {
        (Condition::Absent, wide) => *wide == Condition::Absent,
        (_, Condition::Present) => true,
        (Condition::Equals(value) | Condition::Prefix(value), Condition::Prefix(prefix)) => value.starts_with(prefix),
        (narrow, wide) => narrow == wide,
    }
}

fn compatible(a: &Condition, b: &Condition) -> bool {
    implies(a, b) || implies(b, a)
}

/// The first value of a query parameter, decoded as a form's.
pub(crate) fn parameter(query: &str, name: &str) -> Option<String> {
    let decoded = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.find(|(key, _)| decoded(key) == name).map(|(_, value)| decoded(value))
}

#[cfg(test)]
mod tests {
    use super::parameter;

    #[test]
    fn the_first_value_of_a_parameter_counts_and_is_decoded() {
        assert_eq!(parameter("a=1&b=x+y%21&b=2", "b").as_deref(), Some("x y!"));
        assert_eq!(parameter("a&c=", "a").as_deref(), Some(""));
        assert_eq!(parameter("", "a"), None);
    }
}
