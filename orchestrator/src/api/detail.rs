//! For the console: one capability's rules and recent traffic, the flags, the files that serve, and what gateways would do with a request.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use ficus_rules::api::{CapabilityDetail, ExplainRequest, FlagStatus, KnownToGateways, NotServed};
use ficus_rules::decide::Snapshot;
use ficus_rules::route::Router;

use super::Shares;
use super::answer::{ok, parse, problem};
use crate::fleet::{now, wall};
use crate::status;

pub(super) async fn capability(State(shared): State<Shares>, Path(name): Path<String>) -> Response {
    match shared.publisher.view().capability(&name) {
        Some((plan, _)) => ok(&CapabilityDetail::from(plan)),
        None => unknown(&name),
    }
}

pub(super) async fn traffic(State(shared): State<Shares>, Path(name): Path<String>) -> Response {
    match shared.publisher.view().capability(&name) {
        Some(_) => ok(&shared.fleet.curve(&name)),
        None => unknown(&name),
    }
}

/// With values of rows, unlike everything else here.
pub(super) async fn quarantine(State(shared): State<Shares>, Path(name): Path<String>) -> Response {
    match shared.publisher.view().capability(&name) {
        Some(_) => ok(&shared.fleet.quarantine(&name)),
        None => unknown(&name),
    }
}

pub(super) async fn flags(State(shared): State<Shares>) -> Response {
    let view = shared.publisher.view();
    let overrides = status::live(&view.overrides, wall());
    let flags = view.rulebook.rules.flags.values();
    ok(&flags.map(|flag| FlagStatus::new(flag, overrides.flags.get(&flag.name).cloned())).collect::<Vec<_>>())
}

pub(super) async fn rules(State(shared): State<Shares>) -> Response {
    ok(&shared.publisher.view().rulebook.files)
}

pub(super) async fn explain(State(shared): State<Shares>, body: Bytes) -> Response {
    let request: ExplainRequest = match parse(&body) {
        Ok(request) => request,
        Err(answer) => return *answer,
    };
    let view = shared.publisher.view();
    let rules = view.rulebook.rules.clone();
    let Ok(router) = Router::build(&rules) else {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "the rules that serve have no index");
    };
    let now = now();
    let known = KnownToGateways::of(status::whole(&shared, now));
    match request.explain(&Snapshot { published: view.published(), rules, router }, &known, now) {
        Ok(explained) => ok(&explained),
        Err(refused @ NotServed::Unidentified) => problem(StatusCode::CONFLICT, refused.to_string()),
        Err(refused) => problem(StatusCode::UNPROCESSABLE_ENTITY, refused.to_string()),
    }
}

fn unknown(name: &str) -> Response {
    problem(StatusCode::NOT_FOUND, format!("no capability is called `{name}`"))
}
