//! What lies ahead: every capability's path, rehearsed by what is seen of it now.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use ficus_rules::Timestamp;
use ficus_rules::api::{Ahead, CapabilityAhead, Gone, JournalEntry, waves};
use ficus_rules::crossing::{crossings, joins};
use ficus_rules::migration::Phase;
use ficus_rules::migration::rehearsal::{Pace, rehearse};
use ficus_rules::plan::Capability;

use super::Shares;
use super::answer::{ok, store_failed};
use crate::fleet::now;
use crate::publish::View;
use crate::store::{JournalQuery, StoreError, Stored};

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
    let mut crossings = crossings(rules, &shared.fleet.references(rules.capabilities.keys()));
    let joins = joins(rules, &crossings);
    let waves = waves(rules, &joins);
    let mut gone = Gone::of(view.capabilities().map(|(plan, stored)| (plan, &stored.state)));
    let mut capabilities = Vec::new();
    let mut entries: BTreeMap<String, Vec<JournalEntry>> = BTreeMap::new();
    for entry in shared.store.journal(&JournalQuery { limit: ENTRIES, ..JournalQuery::default() }).await? {
        entries.entry(entry.capability.clone().unwrap_or_default()).or_default().push(entry);
    }
    for (plan, stored) in view.capabilities() {
        let curve = shared.fleet.curve(&plan.name);
        let modern: u64 = curve.iter().map(|point| point.modern.requests).sum();
        let all = modern + curve.iter().map(|point| point.legacy.requests).sum::<u64>();
        gone.requests.moved += modern;
        gone.requests.of += all;
        let seconds: f64 = curve.iter().map(|point| point.seconds).sum();
        if stored.state.phase != Phase::Retired {
            let wave = waves.get(plan.name.as_str()).copied().unwrap_or(1);
            let rate = (seconds > 0.0).then(|| all as f64 / seconds);
            let journal = entries.get(&plan.name).map_or(&[][..], Vec::as_slice);
            let refers = crossings.remove(&plan.name).unwrap_or_default();
            capabilities.push(CapabilityAhead { refers, ..one(shared, &view, (plan, stored), journal, (wave, rate), now) });
        }
    }
    capabilities.sort_by_key(|one| one.wave);
    Ok(Ahead { at: now, gone, capabilities })
}

fn one(
    shared: &Shares,
    view: &View,
    (plan, stored): (&Capability, &Stored),
    journal: &[JournalEntry],
    (wave, requests_per_second): (u32, Option<f64>),
    now: Timestamp,
) -> CapabilityAhead {
    let seen = shared.fleet.observe(plan, stored, view, shared.config.limits(), now);
    let pace = Pace::of(&stored.state, &seen, journal, requests_per_second, now);
    CapabilityAhead {
        name: plan.name.clone(),
        phase: stored.state.phase,
        since: stored.state.since,
        wave,
        depends_on: plan.depends_on.clone(),
        refers: Vec::new(),
        path: rehearse(&stored.state, plan, &seen, &pace, now),
        pace,
    }
}
