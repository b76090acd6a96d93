//! Runs `[[test]]`s through the function that decides live requests, on a snapshot of the moment that they speak of.

use super::document::{CapabilityDocument, Documents};
use super::source::{Located, Report};
use crate::decide::{Because, Caller, Circumstances, Decision, Snapshot, decide, unit};
use crate::migration::Phase;
use crate::plan::{Expected, Moment, RouteTest, RuleSet};
use crate::route::{PlainRequest, Router};
use crate::wire::{Freshness, Published, Serving};
use crate::{Share, Side, Timestamp};

/// When the `[[test]]`s happen.
const NOW: Timestamp = Timestamp(0);

pub(super) fn run(documents: &Documents, rules: &RuleSet, report: &Report) {
    let router = match Router::build(rules) {
        Ok(router) => router,
        Err(why) => {
            for capability in &documents.capabilities {
                report.error(&capability.at, format!("the routes cannot be indexed: {why}"), "this is a fault of Ficus: report it");
            }
            return;
        }
    };
    let mut snapshot = Snapshot { published: Published::default(), rules: rules.clone(), router };
    for capability in &documents.capabilities {
        for test in &capability.tests {
            let serving = moment(&test.value.at);
            snapshot.published.capabilities = [(capability.name.value.clone(), serving)].into();
            judge(capability, test, &snapshot, report);
        }
    }
}

fn judge(capability: &CapabilityDocument, test: &Located<RouteTest>, snapshot: &Snapshot, report: &Report) {
    let Some(request) = written(&test.value) else { return };
    let caller = Caller { user: test.value.user.clone(), roles: test.value.roles.clone(), ..Caller::default() };
    let name = &capability.name.value;
    let around = kept_up(name, snapshot, NOW);
    let decision = decide(snapshot, &request, &caller, &around, NOW);
    let by_bucket = matches!(decision.because, Because::InCohort | Because::OutsideCohort);
    let partly = matches!(test.value.at, Moment::Reads(share) if share < Share::ALL);
    if partly && by_bucket && unit(&snapshot.rules.capabilities[name], &request, &caller).is_none() {
        let message = "the share is below 100%, and the test does not say who calls";
        report.error(&test.at, message, "add `user`, or what else `[cohort]` counts by, or write \"reads 100%\"");
        return;
    }
    let expected = test.value.expect;
    let elsewhere = decision.capability.as_deref().is_some_and(|matched| matched != name);
    let mine = decision.capability.as_deref() == Some(name);
    let fine = match expected {
        Expected::NoRoute => decision.capability.is_none(),
        Expected::Side(side) => mine && decision.side == side && decision.access.status().is_none(),
        Expected::Refused(status) => mine && decision.access.status() == Some(status),
    };
    if !fine {
        let hint = if elsewhere { "a more specific route of another capability takes it" } else { "correct the test, or the routes" };
        let expected = match expected {
            Expected::NoRoute => "on no route".to_owned(),
            Expected::Side(side) => format!("on {side}"),
            Expected::Refused(status) => format!("to be refused with {status}"),
        };
        let message = format!("`{} {}` was expected {expected}, but {}", test.value.method, test.value.target, outcome(&decision));
        report.error(&test.at, message, hint);
    }
}

/// The other side's copy is as fresh as can be: `[[test]]`s speak of the way, not of the weather.
fn kept_up(name: &str, snapshot: &Snapshot, now: Timestamp) -> Circumstances {
    let epoch = snapshot.published.capabilities.get(name).map_or(0, |serving| serving.epoch);
    let freshness = [(name.to_owned(), Freshness { epoch, through: now })].into();
    Circumstances { freshness, ..Circumstances::default() }
}

fn outcome(decision: &Decision) -> String {
    match (&decision.capability, &decision.route) {
        (Some(capability), Some(route)) if decision.access.status().is_some() => {
            format!("{route} of `{capability}` refuses it: {}", decision.access.as_str())
        }
        (Some(capability), Some(route)) => {
            format!("{route} of `{capability}` sends it to {} (because: {})", decision.side, decision.because.as_str())
        }
        _ => "no route matches it".to_owned(),
    }
}

fn written(test: &RouteTest) -> Option<PlainRequest> {
    let request = PlainRequest::new(&test.method, &test.target).ok()?.with_host(test.host.as_deref().unwrap_or_default());
    Some(test.headers.iter().fold(request, |request, (name, value)| request.with_header(name, value)))
}

fn moment(moment: &Moment) -> Serving {
    match moment {
        Moment::Start => Serving::untouched(),
        Moment::Reads(share) => Serving { phase: Phase::Ramping, reads: *share, ..Serving::untouched() },
        Moment::Cutover => Serving { phase: Phase::Soaking, epoch: 1, owner: Side::Modern, ..Serving::untouched() },
    }
}
