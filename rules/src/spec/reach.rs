//! Routes against each other: those that no request reaches, and those of two capabilities that claim the same requests.

use std::collections::BTreeMap;

use super::document::{CapabilityDocument, Documents, RouteDocument};
use super::source::Report;
use crate::plan::Route;
use crate::route::{Key, Relation, count, covers, is_any_left, keys, meet};

/// Pairs of different expressions that are compared; of those beyond, it is said that nobody knows.
const PAIRS: usize = 50_000;

pub(super) fn lint(documents: &Documents, report: &Report) {
    lint_within(documents, report, PAIRS);
}

fn lint_within(documents: &Documents, report: &Report, pairs: usize) {
    let mut capabilities: Vec<&CapabilityDocument> = documents.capabilities.iter().collect();
    capabilities.sort_by_key(|capability| &capability.name.value);
    let mut by_path: BTreeMap<String, Vec<Claim<'_>>> = BTreeMap::new();
    let routes = capabilities.into_iter().flat_map(|capability| capability.routes.iter().map(move |route| (capability, route)));
    for (order, (capability, route)) in routes.enumerate() {
        let claim = Claim { capability: &capability.name.value, route, kinds: route.pattern.kinds(), order, keys: keys(&route.route) };
        by_path.entry(route.pattern.outline()).or_default().push(claim);
    }
    let mut compared = Compared { known: BTreeMap::new(), left: pairs, is_spent: false };
    let mut unknown = false;
    for claims in by_path.values_mut() {
        claims.sort_by(|a, b| a.rank().cmp(&b.rank()));
        let mut before = Before::default();
        for late in claims.iter() {
            let rivals: Vec<&Claim<'_>> = before.of(late).into_iter().filter(|early| meet(&early.route.route, &late.route.route)).collect();
            let takes_all = |early: &&&Claim<'_>| covers(&early.route.route, &late.route.route);
            if let Some(early) = rivals.iter().filter(takes_all).find(|early| compared.of(early, late).covers) {
                late.unreached(early, report);
            } else if let Some(early) = rivals.iter().find(|early| early.disputes(late) && compared.of(early, late).meet) {
                late.disputed(early, report);
            } else if let Some(takers) = late.takers(&rivals, &mut compared) {
                late.taken(&takers, report);
            }
            if std::mem::take(&mut compared.is_spent) && !unknown {
                unknown = true;
                late.unknown(report);
            }
            before.add(late);
        }
    }
}

/// A capability's claim to the requests of a path.
struct Claim<'a> {
    capability: &'a str,
    route: &'a RouteDocument,
    kinds: Vec<u8>,
    order: usize,
    keys: Vec<Key>,
}

impl Claim<'_> {
    /// As the router ranks it.
    fn rank(&self) -> (&[u8], std::cmp::Reverse<usize>, usize) {
        (&self.kinds, std::cmp::Reverse(count(&self.route.route)), self.order)
    }

    fn unreached(&self, early: &Claim<'_>, report: &Report) {
        let place = early.route.at.source();
        if self.capability == early.capability {
            let message = format!("no request reaches this route: {place} takes all of them");
            report.error(
                &self.route.at,
                message,
                "the route with more conditions is tried first, then the one that stands first: remove or narrow one",
            );
        } else {
            let message = format!("the requests of this route belong to the capability `{}` already, at {place}", early.capability);
            report.error(&self.route.at, message, "one capability for each request: narrow or remove one of the two");
        }
    }

    /// Those that take all of its requests together.
    fn takers<'c>(&self, rivals: &[&'c Claim<'c>], compared: &mut Compared) -> Option<Vec<&'c Claim<'c>>> {
        let of_all_paths: Vec<_> = rivals.iter().copied().filter(|early| compared.of(early, self).covers).collect();
        if of_all_paths.len() < 2 {
            return None;
        }
        let routes: Vec<&Route> = of_all_paths.iter().map(|early| &early.route.route).collect();
        let left = is_any_left(&self.route.route, &routes);
        compared.is_spent |= left.is_none();
        (left == Some(false)).then_some(of_all_paths)
    }

    fn taken(&self, takers: &[&Claim<'_>], report: &Report) {
        let places = takers.iter().map(|early| early.route.at.source()).collect::<Vec<_>>().join(", ");
        let message = format!("no request reaches this route: {places} take all of them together");
        report.warn(&self.route.at, message, "remove it, or narrow one of them");
    }

    fn unknown(&self, report: &Report) {
        let message = "whether some request reaches this route, and perhaps others, was not found out: there is too much to compare";
        report.warn(&self.route.at, message, "ask `ficus explain`, or write a `[[test]]`; fewer expressions and conditions are compared");
    }

    /// Both have a claim to some request, and only the names of their capabilities decide.
    fn disputes(&self, late: &Claim<'_>) -> bool {
        self.capability != late.capability && self.kinds == late.kinds && count(&self.route.route) == count(&late.route.route)
    }

    fn disputed(&self, early: &Claim<'_>, report: &Report) {
        let message =
            format!("some requests match both this route and {} of the capability `{}`", early.route.at.source(), early.capability);
        let hint = "nothing but the names of the capabilities would decide: narrow one of the two, or give it one more condition";
        report.error(&self.route.at, message, hint);
    }
}

/// Claims that are tried before, by what they ask for: those that ask for another value of the same thing are no rivals.
#[derive(Default)]
struct Before<'a> {
    all: Vec<&'a Claim<'a>>,
    open: Vec<&'a Claim<'a>>,
    by_key: BTreeMap<Key, Vec<&'a Claim<'a>>>,
    /// Of each thing that is asked for, the claims that ask for it.
    by_thing: BTreeMap<Thing<'a>, Vec<&'a Claim<'a>>>,
}

/// What a [`Key`] asks for a value of.
type Thing<'a> = (u8, &'a str);

impl<'a> Before<'a> {
    fn add(&mut self, claim: &'a Claim<'a>) {
        self.all.push(claim);
        if claim.keys.is_empty() {
            self.open.push(claim);
        }
        for key in &claim.keys {
            self.by_key.entry(key.clone()).or_default().push(claim);
        }
        if let Some(key) = claim.keys.first() {
            self.by_thing.entry(thing(key)).or_default().push(claim);
        }
    }

    /// Those that may have a claim to the same requests, in the order in which they are tried.
    fn of(&self, late: &Claim<'_>) -> Vec<&'a Claim<'a>> {
        let Some(mine) = late.keys.first().map(thing) else { return self.all.clone() };
        let others = self.by_thing.iter().filter(|(other, _)| **other != mine).flat_map(|(_, claims)| claims);
        let same = late.keys.iter().filter_map(|key| self.by_key.get(key)).flatten();
        let mut rivals: Vec<_> = self.open.iter().chain(others).chain(same).copied().collect();
        rivals.sort_by_key(|claim| claim.order);
        rivals
    }
}

fn thing(key: &Key) -> Thing<'_> {
    match key {
        Key::Host(_) => (0, ""),
        Key::Header(name, _) => (1, name),
        Key::Query(name, _) => (2, name),
    }
}

/// What the expressions of two patterns mean for each other, found out once.
struct Compared {
    known: BTreeMap<(String, String), Relation>,
    left: usize,
    /// Something was not compared.
    is_spent: bool,
}

impl Compared {
    fn of(&mut self, early: &Claim<'_>, late: &Claim<'_>) -> Relation {
        let shapes = (early.route.pattern.shape(), late.route.pattern.shape());
        if shapes.0 == shapes.1 {
            return Relation::SAME;
        }
        if let Some(known) = self.known.get(&shapes) {
            return *known;
        }
        if self.left == 0 {
            self.is_spent = true;
            return Relation { meet: false, covers: false };
        }
        self.left -= 1;
        let relation = early.route.pattern.relation(&late.route.pattern);
        self.known.insert(shapes, relation);
        relation
    }
}

#[cfg(test)]
mod tests {
    use super::super::document::Documents;
    use super::super::source::{Report, Text};
    use super::lint_within;
    use crate::wire::RuleFile;

    #[test]
    fn who_compares_no_more_says_so_once() {
        let paths = ["[0-9]+", "[a-z]+", "x[0-9]", "[0-9]{2}"];
        let routes: String = paths.iter().map(|path| format!("[[route]]\npath = '/a/{{x:{path}}}'\n")).collect();
        let text = format!("[capability]\nname = 'users'\nlegacy = 'a'\nmodern = 'b'\n{routes}");
        let file = RuleFile { name: "users.toml".into(), text };
        let told = |pairs| {
            let (report, mut documents) = (Report::default(), Documents::default());
            documents.read(&Text::new(0, &file, &report));
            lint_within(&documents, &report, pairs);
            report.into_complaints().into_iter().map(|complaint| (complaint.line, complaint.warning)).collect::<Vec<_>>()
        };
        assert_eq!(told(50), [(11, false)], "[0-9]+ takes all of [0-9]{{2}}");
        assert_eq!(told(1), [(9, true)]);
    }
}
