//! Which route a request takes: a tree over the path's segments, then host, method, header and query. The cost does not
//! grow with the number of routes. Does not decide who serves it: [`crate::decide`] does.
//!
//! The most specific path wins: segment by segment from the left, a literal before a `{name:expression}` before a `{name}`,
//! all of them before what takes the rest. Of routes that are as specific the one with more conditions wins, then the order
//! of capabilities' names and of the file. A route whose conditions do not hold is passed over, and the next is tried.
//!
//! The tree is ours because radix routers like `matchit` take `/users/{id}/photo/` beside `/users/{*rest}` for a
//! conflict, and know just one route for a path.

mod conditions;
pub mod expression;
pub mod pattern;
mod plain;
mod remainder;
mod tree;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::plan::RuleSet;

pub(crate) use conditions::parameter;
pub use conditions::{Key, count, covers, keys, meet};
pub use expression::Relation;
pub use pattern::Pattern;
pub use plain::PlainRequest;
pub use remainder::is_any_left;

use tree::{Entry, Node, Walk};

/// What matching and deciding need of a request. Names of headers in lower case.
pub trait Request {
    /// The method, upper case.
    fn method(&self) -> &str;
    /// The host name, lower case, without port; empty if there is none.
    fn host(&self) -> &str;
    /// The normalised path (see [`crate::path`]), without query.
    fn path(&self) -> &str;
    /// The raw query, without `?`.
    fn query(&self) -> &str;
    /// The first value of a header.
    fn header(&self, name: &str) -> Option<&str>;
    /// The value of a cookie.
    fn cookie(&self, name: &str) -> Option<&str>;
}

/// Host and port of an authority: `example.test:8080`, `[::1]:8080`.
pub fn host_and_port(authority: &str) -> (&str, Option<u16>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && !port.contains(']') && (!host.contains(':') || host.ends_with(']')) => {
            (host, port.parse().ok())
        }
        _ => (authority, None),
    }
}

/// Whether a client may send a header of this lower-case name; the gateway drops the others before anything looks at
/// them. A name with an underscore is, for a WSGI server, the same as the one with a hyphen; the rest are our own.
pub fn may_be_sent(name: &str) -> bool {
    let ours = name.starts_with("x-ficus-") || (name.starts_with("ficus-") && name != crate::marker::HEADER);
    !ours && !name.contains('_')
}

/// A route of a rule set, by place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matched {
    /// The capability's name.
    pub capability: String,
    /// Index into its routes.
    pub route: usize,
    /// What the path's `{names}` stood for; `{*rest}` without the slash before it, perhaps empty.
    pub params: BTreeMap<String, String>,
}

/// The index over all routes of a rule set.
#[derive(Debug, Clone, Default)]
pub struct Router {
    root: Node,
}

impl Router {
    /// Builds the index.
    ///
    /// # Errors
    /// A path pattern that the index cannot hold, by its source; [`crate::spec`] reports these beforehand.
    pub fn build(rules: &RuleSet) -> Result<Router, String> {
        let mut router = Router::default();
        let mut inserted = 0;
        for (name, capability) in &rules.capabilities {
            for (index, route) in capability.routes.iter().enumerate() {
                let pattern = Pattern::parse(&route.path).map_err(|why| format!("{}: {why}", route.source))?;
                let names = pattern.names().map(str::to_owned).collect();
                let rank = (pattern.kinds().into(), Reverse(count(route)), inserted);
                let entry = Entry { capability: name.as_str().into(), route: index, names, rank };
                router.root.insert(pattern.segments(), entry, &keys(route));
                inserted += 1;
            }
        }
        router.root.seal()?;
        Ok(router)
    }

    /// The route that a request takes. `rules` are those that the index was built of.
    pub fn find(&self, rules: &RuleSet, request: &dyn Request) -> Option<Matched> {
        self.walked(rules, request).0
    }

    /// What finding a request's route costs: nodes visited and routes tried.
    pub fn steps(&self, rules: &RuleSet, request: &dyn Request) -> usize {
        self.walked(rules, request).1
    }

    fn walked(&self, rules: &RuleSet, request: &dyn Request) -> (Option<Matched>, usize) {
        let holds = |entry: &Entry| {
            let route = rules.capabilities.get(&*entry.capability).and_then(|c| c.routes.get(entry.route));
            route.is_some_and(|route| conditions::hold(route, request))
        };
        let mut walk = Walk { request, holds: &holds, stood_for: Vec::new(), steps: 0 };
        let entry = request.path().strip_prefix('/').and_then(|path| self.root.find(Some(path), &mut walk));
        let matched = entry.map(|entry| {
            let params = entry.names.iter().cloned().zip(walk.stood_for.iter().map(|text| (*text).to_owned())).collect();
            Matched { capability: entry.capability.to_string(), route: entry.route, params }
        });
        (matched, walk.steps)
    }
}

#[cfg(test)]
mod tests {
    use super::host_and_port;

    #[test]
    fn host_and_port_come_apart() {
        assert_eq!(host_and_port("example.test"), ("example.test", None));
        assert_eq!(host_and_port("example.test:8080"), ("example.test", Some(8080)));
        assert_eq!(host_and_port("[::1]:8080"), ("[::1]", Some(8080)));
        assert_eq!(host_and_port("[::1]"), ("[::1]", None));
    }
}
