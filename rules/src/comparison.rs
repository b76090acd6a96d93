//! Two rule sets, held against requests that were made: which of them would change side. Decides each request twice, by the
//! functions that gateways call. Does not read logs: requests come in.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::access::{HIDDEN, redacted};
use crate::api::{KnownToGateways, NotServed};
use crate::decide::{self, Because, Caller, Cohort, Decision, Snapshot};
use crate::plan::{Condition, Route};
use crate::route::PlainRequest;
use crate::{Side, Timestamp};

/// A request that was made, as a log has it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Logged {
    /// The method.
    pub method: String,
    /// Path with query.
    pub target: String,
    /// The host, if the log has it.
    pub host: String,
    /// What tells its caller from others: an address, a name. Empty: nobody is told from anybody.
    pub caller: String,
    /// Where its caller stood in a capability, if the log has it.
    pub cohort: Option<(String, Cohort)>,
}

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "goes")]
pub enum Place {
    /// To a side.
    To {
        /// The capability; none: no route matched.
        capability: Option<String>,
        /// The side.
        side: Side,
        /// Its upstream.
        upstream: Option<String>,
        /// By another path than it came by.
        rewritten: bool,
    },
    /// Nowhere: the gateway refuses it.
    Refused {
        /// With what.
        why: String,
    },
}

/// Requests that go from one place to another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// By the rules that serve.
    pub before: Place,
    /// By the new ones.
    pub after: Place,
    /// How many.
    pub requests: u64,
    /// The first of them; values of their queries are hidden.
    pub samples: Vec<Sample>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// The method.
    pub method: String,
    /// Host and path.
    pub target: String,
    /// The route that took it.
    pub route_before: Option<String>,
    /// The route that would.
    pub route_after: Option<String>,
    /// Why it went there.
    pub because_before: Option<Because>,
    /// Why it would go there.
    pub because_after: Option<Because>,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Requests that were looked at.
    pub requests: u64,
    /// Of these, those that would go elsewhere.
    pub changed: u64,
    /// Of these, those that would go to the other side.
    pub other_side: u64,
    /// Requests that rules ask something about that the log does not have: values of a query, the caller's bucket. They
    /// are decided without.
    pub unsure: u64,
    /// Routes that ask for headers, which logs do not have: taken as absent.
    pub routes_by_header: usize,
    /// The changes, most requests first.
    pub changes: Vec<Change>,
}

/// Two rule sets side by side.
pub struct Comparison<'a> {
    before: &'a Snapshot,
    after: &'a Snapshot,
    known: &'a KnownToGateways,
    now: Timestamp,
    samples: usize,
    /// Parameters whose values some route asks for.
    valued: BTreeSet<&'a str>,
    /// Some route asks for some parameter.
    asks: bool,
    summary: Summary,
    changes: BTreeMap<(Place, Place), (u64, Vec<Sample>)>,
}

impl<'a> Comparison<'a> {
    /// Nothing was looked at yet. At most so many `samples` of each change are kept.
    pub fn new(before: &'a Snapshot, after: &'a Snapshot, known: &'a KnownToGateways, now: Timestamp, samples: usize) -> Self {
        let routes = || [before, after].into_iter().flat_map(|snapshot| snapshot.rules.capabilities.values()).flat_map(|c| &c.routes);
        let by_value = |condition: &Condition| matches!(condition, Condition::Equals(_) | Condition::Prefix(_));
        let asks = routes().any(|route| !route.query.is_empty());
        let valued = routes().flat_map(|route| &route.query).filter(|(_, condition)| by_value(condition)).map(|(name, _)| name.as_str());
        let by_header: BTreeSet<_> = routes().filter(|route| !route.headers.is_empty()).map(outline).collect();
        let summary = Summary { routes_by_header: by_header.len(), ..Summary::default() };
        Comparison { before, after, known, now, samples, valued: valued.collect(), asks, summary, changes: BTreeMap::new() }
    }

    /// Looks at one request.
    pub fn take(&mut self, logged: &Logged) {
        self.summary.requests += 1;
        let (before, after) = (self.decided(self.before, logged), self.decided(self.after, logged));
        let unsure = self.hides_a_value(logged) || self.is_shuffled(logged, &after);
        self.summary.unsure += u64::from(unsure);
        let places = (place(self.before, &before), place(self.after, &after));
        if places.0 == places.1 {
            return;
        }
        self.summary.changed += 1;
        let side = |place: &Place| match place {
            Place::To { side, .. } => Some(*side),
            Place::Refused { .. } => None,
        };
        self.summary.other_side += u64::from(side(&places.0) != side(&places.1));
        let (requests, samples) = self.changes.entry(places).or_default();
        *requests += 1;
        if samples.len() < self.samples {
            let sample = sample(logged, before.as_ref().ok(), after.as_ref().ok());
            if !samples.contains(&sample) {
                samples.push(sample);
            }
        }
    }

    /// What came of it.
    pub fn summary(self) -> Summary {
        let change = |((before, after), (requests, samples))| Change { before, after, requests, samples };
        let mut changes: Vec<Change> = self.changes.into_iter().map(change).collect();
        changes.sort_by_key(|change| std::cmp::Reverse(change.requests));
        Summary { changes, ..self.summary }
    }

    fn decided(&self, snapshot: &Snapshot, logged: &Logged) -> Result<Decision, NotServed> {
        if ["TRACE", "CONNECT"].contains(&&*logged.method) {
            return Err(NotServed::Method);
        }
        let request = PlainRequest::new(&logged.method, &logged.target).map_err(NotServed::Target)?.with_host(&logged.host);
        let raw = logged.target.split(['?', '#']).next().unwrap_or_default();
        if decide::is_ambiguous(snapshot, &request, raw) {
            return Err(NotServed::Ambiguous);
        }
        let bucket = logged.cohort.as_ref().map(|(_, cohort)| cohort.bucket);
        let anonymous = Some(logged.caller.clone()).filter(|caller| !caller.is_empty());
        let caller = Caller { anonymous, bucket, ..Caller::default() };
        self.known.decide(snapshot, &request, caller, self.now).map(|(decision, _)| decision)
    }

    fn hides_a_value(&self, logged: &Logged) -> bool {
        let query = logged.target.split_once('?').map_or("", |(_, query)| query);
        query.split('&').any(|pair| match pair.split_once('=') {
            Some((name, value)) => value == HIDDEN && self.valued.contains(name),
            // Not even the name was told.
            None => pair == HIDDEN && self.asks,
        })
    }

    /// The bucket that the log has is of other buckets than those that the new rules make.
    fn is_shuffled(&self, logged: &Logged, after: &Result<Decision, NotServed>) -> bool {
        let Ok(Decision { because: Because::InCohort | Because::OutsideCohort, capability: Some(name), .. }) = after else { return false };
        let Some((logged_in, _)) = &logged.cohort else { return logged.caller.is_empty() };
        let made_by = |snapshot: &'a Snapshot, name: &str| snapshot.rules.capabilities.get(name).map(|c| (&c.salt, &c.cohort));
        made_by(self.before, logged_in) != made_by(self.after, name)
    }
}

fn outline(route: &Route) -> (&str, Vec<&String>) {
    (&route.path, route.headers.keys().collect())
}

fn place(snapshot: &Snapshot, decided: &Result<Decision, NotServed>) -> Place {
    match decided {
        Ok(decision) => {
            let capability = decision.capability.as_ref().and_then(|name| snapshot.rules.capabilities.get(name));
            let upstream = capability.map(|capability| match decision.side {
                Side::Legacy => capability.legacy.clone(),
                Side::Modern => capability.modern.clone(),
            });
            let (capability, rewritten) = (decision.capability.clone(), decision.upstream_path.is_some());
            Place::To { capability, side: decision.side, upstream, rewritten }
        }
        Err(why) => Place::Refused { why: why.to_string() },
    }
}

fn sample(logged: &Logged, before: Option<&Decision>, after: Option<&Decision>) -> Sample {
    let target = match logged.target.split_once('?') {
        Some((path, query)) => format!("{}{path}?{}", logged.host, redacted(query)),
        None => format!("{}{}", logged.host, logged.target),
    };
    Sample {
        method: logged.method.clone(),
        target,
        route_before: before.and_then(|decision| decision.route.clone()),
        route_after: after.and_then(|decision| decision.route.clone()),
        because_before: before.map(|decision| decision.because),
        because_after: after.map(|decision| decision.because),
    }
}
