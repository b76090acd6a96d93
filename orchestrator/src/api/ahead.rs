//! What lies ahead: the paths of all capabilities, rehearsed together by what is seen of them now.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use ficus_rules::Timestamp;
use ficus_rules::api::{Ahead, CapabilityAhead, Gone, JournalEntry, waves};
use ficus_rules::crossing::{crossings, joins};
use ficus_rules::migration::Phase;
use ficus_rules::migration::rehearsal::{Pace, Part, Rehearsal, rehearse};
use ficus_rules::migration::relations::Relations;

use super::Shares;
use super::answer::{ok, store_failed};
use crate::fleet::{Moment, now};
use crate::store::{JournalQuery, StoreError};

/// The newest entries, of all capabilities, that are looked through for each one's last switch.
const ENTRIES: u32 = 5_000;

pub(super) async fn plan(State(shared): State<Shares>) -> Response {
    match ahead(&shared, now()).await {
        Ok(ahead) => ok(&ahead),
        Err(failed) => store_failed(&failed),
    }
}

async fn ahead(shared: &Shares, now: Timestamp) -> Result<Ahead, StoreError> {
    let view = shared.publisher.view();
    let rules = &view.rulebook.rules;
    let refers = shared.fleet.references(rules);
    let mut crossings = crossings(rules, &refers);
    let joins = joins(rules, &crossings);
    let waves = waves(rules, &joins);
    let mut gone = Gone::of(view.capabilities().map(|(plan, stored)| (plan, &stored.state)));
    let mut entries: BTreeMap<String, Vec<JournalEntry>> = BTreeMap::new();
    for entry in shared.store.journal(&JournalQuery { limit: ENTRIES, ..JournalQuery::default() }).await? {
        entries.entry(entry.capability.clone().unwrap_or_default()).or_default().push(entry);
    }
    let mut parts = Vec::new();
    for (plan, stored) in view.capabilities() {
        let curve = shared.fleet.curve(&plan.name);
        let modern: u64 = curve.iter().map(|point| point.modern.requests).sum();
        let all = modern + curve.iter().map(|point| point.legacy.requests).sum::<u64>();
        gone.requests.moved += modern;
        gone.requests.of += all;
        let seconds: f64 = curve.iter().map(|point| point.seconds).sum();
        let rate = (seconds > 0.0).then(|| all as f64 / seconds);
        let journal = entries.get(&plan.name).map_or(&[][..], Vec::as_slice);
        let seen = shared.fleet.observe(plan, stored, &view, shared.config.limits(), Moment::at(now));
        let pace = Pace::of(&stored.state, &seen, journal, rate, now);
        let relations = Relations::of(plan, rules, |name| refers.get(name).map_or(&[], Vec::as_slice));
        parts.push(Part { state: &stored.state, plan, seen, pace, relations });
    }
    let paths = rehearse(&parts, now);
    let ahead = |(part, path): (Part, Rehearsal)| CapabilityAhead {
        name: part.plan.name.clone(),
        phase: part.state.phase,
        since: part.state.since,
        wave: waves.get(part.plan.name.as_str()).copied().unwrap_or(1),
        depends_on: part.plan.depends_on.clone(),
        refers: crossings.remove(&part.plan.name).unwrap_or_default(),
        pace: part.pace,
        path,
    };
    let mut capabilities: Vec<_> = parts.into_iter().zip(paths).map(ahead).filter(|one| one.phase != Phase::Retired).collect();
    capabilities.sort_by_key(|one| one.wave);
    Ok(Ahead { at: now, gone, lasts_ms: Ahead::whole(&capabilities), capabilities })
}
