//! The tree over path segments. A request visits a node at most once, and only nodes whose segments it has: what other
//! paths the rules know does not matter to it. All expressions at one place are one automaton.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use regex::bytes::RegexSet;

use super::conditions::{Key, parameter};
use super::pattern::Segment;
use super::{Request, expression};

/// A route at the end of its path.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) capability: Arc<str>,
    pub(super) route: usize,
    pub(super) names: Vec<String>,
    pub(super) rank: Rank,
}

/// In which order routes that match are tried: by the kinds of their segments, more conditions first, as they stand.
pub(super) type Rank = (Box<[u8]>, Reverse<usize>, usize);

/// One request's way through the tree.
pub(super) struct Walk<'a, 'p> {
    pub(super) request: &'a dyn Request,
    /// Whether a route's conditions hold.
    pub(super) holds: &'a dyn Fn(&Entry) -> bool,
    /// What the names of the path stood for so far.
    pub(super) stood_for: Vec<&'p str>,
    /// Nodes visited and routes tried.
    pub(super) steps: usize,
}

/// What can follow a prefix of segments.
#[derive(Debug, Clone, Default)]
pub(super) struct Node {
    literals: HashMap<Box<str>, Node>,
    matching: Choices<Node>,
    one: Option<Box<Node>>,
    rest_matching: Choices<Entries>,
    rest: Entries,
    here: Entries,
}

impl Node {
    pub(super) fn insert(&mut self, segments: &[Segment], entry: Entry, keys: &[Key]) {
        match segments.split_first() {
            None => self.here.insert(entry, keys),
            Some((Segment::Literal(literal), after)) => {
                self.literals.entry(literal.as_str().into()).or_default().insert(after, entry, keys);
            }
            Some((Segment::Matching(_, expression), after)) => self.matching.of(expression.text()).insert(after, entry, keys),
            Some((Segment::One(_), after)) => self.one.get_or_insert_default().insert(after, entry, keys),
            Some((Segment::RestMatching(_, expression), _)) => self.rest_matching.of(expression.text()).insert(entry, keys),
            Some((Segment::Rest(_), _)) => self.rest.insert(entry, keys),
        }
    }

    /// Makes the automata, once all is inserted.
    ///
    /// # Errors
    /// The expressions at one place are too large together.
    pub(super) fn seal(&mut self) -> Result<(), String> {
        self.matching.seal()?;
        self.rest_matching.seal()?;
        let mut below = self.literals.values_mut().chain(self.matching.below.iter_mut()).chain(self.one.as_deref_mut());
        below.try_for_each(Node::seal)
    }

    /// The first entry that holds, most specific path first. `path` is what remains after the last slash that was
    /// passed; `None`: nothing, not even a slash. `stood_for` ends as what its names stood for, or as it began.
    pub(super) fn find<'n, 'p>(&'n self, path: Option<&'p str>, walk: &mut Walk<'_, 'p>) -> Option<&'n Entry> {
        walk.steps += 1;
        let Some(path) = path else { return self.here.first(walk) };
        let (segment, after) = path.split_once('/').map_or((path, None), |(segment, after)| (segment, Some(after)));
        if let Some(found) = self.literals.get(segment).and_then(|next| next.find(after, walk)) {
            return Some(found);
        }
        if !segment.is_empty() {
            if let Some(found) = self.matching.best(segment, walk, |next, walk| next.find(after, walk)) {
                return Some(found);
            }
            if let Some(next) = self.one.as_deref() {
                walk.stood_for.push(segment);
                if let Some(found) = next.find(after, walk) {
                    return Some(found);
                }
                walk.stood_for.pop();
            }
        }
        if let Some(found) = self.rest_matching.best(path, walk, Entries::first) {
            return Some(found);
        }
        let found = self.rest.first(walk)?;
        walk.stood_for.push(path);
        Some(found)
    }
}

/// What can follow an expression, for each that stands at a place.
#[derive(Debug, Clone)]
struct Choices<T> {
    expressions: Vec<String>,
    below: Vec<T>,
    /// All of them; `None` where there are none, which is nearly everywhere: even a set of nothing costs a compilation.
    set: Option<RegexSet>,
}

impl<T> Default for Choices<T> {
    fn default() -> Self {
        Choices { expressions: Vec::new(), below: Vec::new(), set: None }
    }
}

impl<T: Default> Choices<T> {
    fn of(&mut self, expression: &str) -> &mut T {
        let at = self.expressions.iter().position(|known| known == expression).unwrap_or_else(|| {
            self.expressions.push(expression.to_owned());
            self.below.push(T::default());
            self.below.len() - 1
        });
        &mut self.below[at]
    }

    fn seal(&mut self) -> Result<(), String> {
        if !self.expressions.is_empty() {
            self.set = Some(expression::set(self.expressions.iter().map(String::as_str))?);
        }
        Ok(())
    }

    /// The best of what is found behind every expression that takes a text.
    fn best<'n, 'p>(
        &'n self,
        text: &'p str,
        walk: &mut Walk<'_, 'p>,
        find: impl Fn(&'n T, &mut Walk<'_, 'p>) -> Option<&'n Entry>,
    ) -> Option<&'n Entry> {
        let set = self.set.as_ref()?;
        let mut best: Option<(&Entry, Vec<&str>)> = None;
        let depth = walk.stood_for.len();
        for index in &set.matches(text.as_bytes()) {
            walk.stood_for.push(text);
            if let Some(found) = find(&self.below[index], walk)
                && best.as_ref().is_none_or(|(best, _)| found.rank < best.rank)
            {
                best = Some((found, walk.stood_for.clone()));
            }
            walk.stood_for.truncate(depth);
        }
        let (found, stood_for) = best?;
        walk.stood_for = stood_for;
        Some(found)
    }
}

/// Routes with the same path, in the order in which they are tried. Those that ask for one value of something are found
/// by it, so that a thousand tenants on one path cost no more than one.
#[derive(Debug, Clone, Default)]
struct Entries {
    open: Vec<Entry>,
    by_host: ByValue,
    by_header: Vec<(Box<str>, ByValue)>,
    by_query: Vec<(Box<str>, ByValue)>,
}

/// Routes by the value that they ask for.
type ByValue = HashMap<Box<str>, Vec<Entry>>;

impl Entries {
    fn insert(&mut self, entry: Entry, keys: &[Key]) {
        if keys.is_empty() {
            put(&mut self.open, entry.clone());
        }
        for key in keys {
            let list = match key {
                Key::Host(host) => self.by_host.entry(host.as_str().into()).or_default(),
                Key::Header(name, value) => named(&mut self.by_header, name).entry(value.as_str().into()).or_default(),
                Key::Query(name, value) => named(&mut self.by_query, name).entry(value.as_str().into()).or_default(),
            };
            put(list, entry.clone());
        }
    }

    fn first<'n>(&'n self, walk: &mut Walk<'_, '_>) -> Option<&'n Entry> {
        let request = walk.request;
        let headers = self.by_header.iter().filter_map(|(name, values)| values.get(request.header(name)?));
        let query = self.by_query.iter().filter_map(|(name, values)| values.get(&*parameter(request.query(), name)?));
        let keyed = self.by_host.get(request.host()).into_iter().chain(headers).chain(query);
        let mut best: Option<&Entry> = None;
        for list in std::iter::once(&self.open).chain(keyed) {
            for entry in list.iter().take_while(|entry| best.is_none_or(|best| entry.rank < best.rank)) {
                walk.steps += 1;
                if (walk.holds)(entry) {
                    best = Some(entry);
                    break;
                }
            }
        }
        best
    }
}

fn put(list: &mut Vec<Entry>, entry: Entry) {
    let at = list.partition_point(|other| other.rank < entry.rank);
    list.insert(at, entry);
}

fn named<'a, T: Default>(lists: &'a mut Vec<(Box<str>, T)>, name: &str) -> &'a mut T {
    let at = lists.iter().position(|(known, _)| **known == *name).unwrap_or_else(|| {
        lists.push((name.into(), T::default()));
        lists.len() - 1
    });
    &mut lists[at].1
}
