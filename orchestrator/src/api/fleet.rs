//! For gateways and agents: long polls of what should be, reports of what is.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use ficus_rules::wire::{AgentReport, GatewayReport, Orders, Published, ReportAnswer};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::Shares;
use super::answer::{ok, parse, store_failed};
use crate::fleet::{names, steady, wall};
use crate::{Shared, samples};

/// No poll waits longer.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What a long poll asks for.
#[derive(Debug, Deserialize)]
pub(super) struct Poll {
    /// The generation that the caller has; unset: it takes any.
    after: Option<u64>,
    /// For how long to wait for a newer one.
    #[serde(default)]
    wait_ms: u64,
}

pub(super) async fn published(State(shared): State<Shares>, Query(poll): Query<Poll>) -> Response {
    long_poll(&shared, shared.publisher.published(), &poll, |published: &Published| published.generation).await
}

pub(super) async fn orders(State(shared): State<Shares>, Query(poll): Query<Poll>) -> Response {
    long_poll(&shared, shared.publisher.orders(), &poll, |orders: &Orders| orders.generation).await
}

pub(super) async fn gateway_report(State(shared): State<Shares>, body: Bytes) -> Response {
    let mut report: GatewayReport = match parse(&body) {
        Ok(report) => report,
        Err(answer) => return *answer,
    };
    let differences = std::mem::take(&mut report.differences);
    let (log_outs, heard) = (std::mem::take(&mut report.log_outs), std::mem::take(&mut report.log_outs_heard));
    let valid_for = match names::hear(&shared, report).await {
        Ok(valid_for) => valid_for,
        Err(failed) => return store_failed(&failed),
    };
    shared.wake.notify_one();
    samples::offer(&shared, differences);
    let view = shared.publisher.view();
    let (log_outs, log_outs_heard) = shared.fleet.hear_log_outs(log_outs, &heard, wall());
    ok(&ReportAnswer {
        generation: shared.publisher.generation(),
        valid_for_ms: u64::try_from(valid_for.as_millis()).unwrap_or(u64::MAX),
        freshness: shared.fleet.freshness(&view),
        changes: shared.fleet.changes(&view),
        log_outs,
        log_outs_heard,
    })
}

pub(super) async fn agent_report(State(shared): State<Shares>, body: Bytes) -> Response {
    let report: AgentReport = match parse(&body) {
        Ok(report) => report,
        Err(answer) => return *answer,
    };
    shared.fleet.hear_agent(report, steady());
    shared.wake.notify_one();
    StatusCode::NO_CONTENT.into_response()
}

pub(super) async fn agent_quarantine(State(shared): State<Shares>, body: Bytes) -> Response {
    match parse(&body) {
        Ok(report) => {
            if shared.fleet.hear_quarantine(report) {
                shared.changes.quarantine().up();
            }
        }
        Err(answer) => return *answer,
    }
    StatusCode::NO_CONTENT.into_response()
}

/// 200 with what is newer than `after`, as soon as there is such a thing; 204 when there is none in time.
async fn long_poll<T: Serialize>(shared: &Shared, mut newest: watch::Receiver<Arc<T>>, poll: &Poll, generation: fn(&T) -> u64) -> Response {
    let wait = Duration::from_millis(poll.wait_ms).min(LONGEST_WAIT);
    let mut stopping = shared.stopping.subscribe();
    let after = poll.after;
    let newer = newest.wait_for(|seen| after.is_none_or(|after| generation(seen) > after));
    tokio::select! {
        biased;
        found = newer => match found {
            Ok(found) => {
                let found = Arc::clone(&found);
                ok(&*found)
            }
            Err(_) => StatusCode::NO_CONTENT.into_response(),
        },
        () = crate::stopped(&mut stopping) => StatusCode::NO_CONTENT.into_response(),
        () = tokio::time::sleep(wait) => StatusCode::NO_CONTENT.into_response(),
    }
}
