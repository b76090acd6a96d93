//! Routes against each other: those that no request reaches, and those of two capabilities that claim the same requests.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::document::{CapabilityDocument, Documents, RouteDocument};
use super::source::Report;
use crate::route::{count, covers, meet};

pub(super) fn lint(documents: &Documents, report: &Report) {
    let mut capabilities: Vec<&CapabilityDocument> = documents.capabilities.iter().collect();
    capabilities.sort_by_key(|capability| &capability.name.value);
    let mut by_path: BTreeMap<String, Vec<Claim<'_>>> = BTreeMap::new();
    for capability in capabilities {
        for route in &capability.routes {
            by_path.entry(route.pattern.shape()).or_default().push(Claim { capability: &capability.name.value, route });
        }
    }
    for claims in by_path.values_mut() {
        claims.sort_by_key(|claim| Reverse(count(&claim.route.route)));
        for (at, late) in claims.iter().enumerate() {
            if let Some(early) = claims[..at].iter().find(|early| covers(&early.route.route, &late.route.route)) {
                late.unreached(early, report);
            } else if let Some(early) = claims[..at].iter().find(|early| early.disputes(late)) {
                late.disputed(early, report);
            }
        }
    }
}

/// A capability's claim to the requests of a path.
struct Claim<'a> {
    capability: &'a str,
    route: &'a RouteDocument,
}

impl Claim<'_> {
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

    /// Both have a claim to some request, and only the names of their capabilities decide.
    fn disputes(&self, late: &Claim<'_>) -> bool {
        let (a, b) = (&self.route.route, &late.route.route);
        self.capability != late.capability && count(a) == count(b) && meet(a, b)
    }

    fn disputed(&self, early: &Claim<'_>, report: &Report) {
        let message =
            format!("some requests match both this route and {} of the capability `{}`", early.route.at.source(), early.capability);
        report.warn(&self.route.at, message, "the other one takes them, as its capability comes first by name: narrow one of the two");
    }
}
