//! For readers: health, status, journal, differences, the description of the API.

use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use ficus_rules::api::Diffs;
use serde::Deserialize;
use serde_json::json;

use super::answer::{ok, problem, store_failed};
use super::{OPENAPI, Shares};
use crate::fleet::now;
use crate::status;
use crate::store::JournalQuery;

/// Entries of the journal in one answer: by default, and at most.
const ENTRIES: (u32, u32) = (100, 1_000);

pub(super) async fn health() -> Response {
    ok(&json!({ "status": "ok" }))
}

pub(super) async fn ready(State(shared): State<Shares>) -> Response {
    if *shared.stopping.borrow() {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "the orchestrator is ending");
    }
    ok(&json!({ "status": "ok", "generation": shared.publisher.generation() }))
}

/// Who stands by does not come here.
pub(super) async fn leader() -> Response {
    ok(&json!({ "leads": true }))
}

pub(super) async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

pub(super) async fn status(State(shared): State<Shares>) -> Response {
    ok(&status::whole(&shared, now()))
}

#[derive(Debug, Deserialize)]
pub(super) struct OfJournal {
    capability: Option<String>,
    limit: Option<u32>,
    after: Option<u64>,
}

pub(super) async fn journal(State(shared): State<Shares>, Query(wanted): Query<OfJournal>) -> Response {
    let limit = wanted.limit.unwrap_or(ENTRIES.0).min(ENTRIES.1);
    let query = JournalQuery { capability: wanted.capability, after: wanted.after, limit };
    match shared.store.journal(&query).await {
        Ok(entries) => ok(&entries),
        Err(failed) => store_failed(&failed),
    }
}

pub(super) async fn journal_head(State(shared): State<Shares>) -> Response {
    match shared.store.journal_head().await {
        Ok(head) => ok(&head),
        Err(failed) => store_failed(&failed),
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct OfDiffs {
    capability: Option<String>,
}

pub(super) async fn diffs(State(shared): State<Shares>, Query(wanted): Query<OfDiffs>) -> Response {
    match shared.store.samples(wanted.capability.as_deref()).await {
        Ok(samples) => ok(&Diffs { samples }),
        Err(failed) => store_failed(&failed),
    }
}
