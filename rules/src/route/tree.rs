//! The tree over path segments. A request visits a node at most once, and only nodes whose segments it has: what other
//! paths the rules know does not matter to it.

use std::collections::HashMap;
use std::sync::Arc;

use super::pattern::Segment;

/// A route at the end of its path.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) capability: Arc<str>,
    pub(super) route: usize,
    pub(super) names: Vec<String>,
    pub(super) conditions: usize,
}

/// What can follow a prefix of segments.
#[derive(Debug, Clone, Default)]
pub(super) struct Node {
    literals: HashMap<Box<str>, Node>,
    one: Option<Box<Node>>,
    rest: Entries,
    here: Entries,
}

impl Node {
    pub(super) fn insert(&mut self, segments: &[Segment], entry: Entry, hosts: &[String]) {
        match segments.split_first() {
            None => self.here.insert(entry, hosts),
            Some((Segment::Literal(literal), after)) => {
                self.literals.entry(literal.as_str().into()).or_default().insert(after, entry, hosts);
            }
            Some((Segment::One(_), after)) => self.one.get_or_insert_default().insert(after, entry, hosts),
            Some((Segment::Rest(_), _)) => self.rest.insert(entry, hosts),
        }
    }

    /// The first entry that `holds`, most specific path first. `path` is what remains after the last slash that was
    /// passed; `None`: nothing, not even a slash. `stood_for` ends as what its names stood for.
    pub(super) fn walk<'n, 'p>(
        &'n self,
        path: Option<&'p str>,
        host: &str,
        stood_for: &mut Vec<&'p str>,
        holds: &dyn Fn(&Entry) -> bool,
    ) -> Option<&'n Entry> {
        let Some(path) = path else { return self.here.first(host, holds) };
        let (segment, after) = path.split_once('/').map_or((path, None), |(segment, after)| (segment, Some(after)));
        if let Some(next) = self.literals.get(segment)
            && let Some(found) = next.walk(after, host, stood_for, holds)
        {
            return Some(found);
        }
        if let Some(next) = self.one.as_deref().filter(|_| !segment.is_empty()) {
            stood_for.push(segment);
            if let Some(found) = next.walk(after, host, stood_for, holds) {
                return Some(found);
            }
            stood_for.pop();
        }
        let found = self.rest.first(host, holds)?;
        stood_for.push(path);
        Some(found)
    }
}

/// Routes with the same path, in the order in which they are tried. Those with host names are found by the name, so that
/// a thousand tenants on one path cost no more than one.
#[derive(Debug, Clone, Default)]
struct Entries {
    inserted: usize,
    any_host: Vec<Ranked>,
    by_host: HashMap<Box<str>, Vec<Ranked>>,
}

/// More conditions come first, then the order of insertion.
#[derive(Debug, Clone)]
struct Ranked {
    rank: (std::cmp::Reverse<usize>, usize),
    entry: Entry,
}

impl Entries {
    fn insert(&mut self, entry: Entry, hosts: &[String]) {
        let ranked = Ranked { rank: (std::cmp::Reverse(entry.conditions), self.inserted), entry };
        self.inserted += 1;
        let put = |list: &mut Vec<Ranked>| {
            let at = list.partition_point(|other| other.rank < ranked.rank);
            list.insert(at, ranked.clone());
        };
        if hosts.is_empty() {
            put(&mut self.any_host);
        }
        for host in hosts {
            put(self.by_host.entry(host.as_str().into()).or_default());
        }
    }

    fn first(&self, host: &str, holds: &dyn Fn(&Entry) -> bool) -> Option<&Entry> {
        let named = self.by_host.get(host).and_then(|list| list.iter().find(|ranked| holds(&ranked.entry)));
        let open = self.any_host.iter().find(|ranked| holds(&ranked.entry));
        let first = match (named, open) {
            (Some(named), Some(open)) if open.rank < named.rank => open,
            (named, open) => named.or(open)?,
        };
        Some(&first.entry)
    }
}
