//! For operators: wishes for a capability, and the reload of the rules.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use ficus_rules::Side;
use ficus_rules::api::{Problem, Reloaded, WishRequest};
use ficus_rules::migration::advance::Wish;
use tokio::sync::oneshot;

use super::Shares;
use super::answer::{ok, parse_or_default, problem, refused};
use crate::access::Origin;
use crate::fleet::now;
use crate::reconcile::{self, Command, Refusal};
use crate::{Shared, status};

/// How long a cutover or revert waits for gateways and agents that are a moment behind, before it is refused for them.
const FOLLOW: Duration = Duration::from_secs(2);

pub(super) async fn wish(
    State(shared): State<Shares>,
    Extension(origin): Extension<Origin>,
    Path((name, word)): Path<(String, String)>,
    body: Bytes,
) -> Response {
    granted(&shared, origin, name, &word, &body).await
}

pub(super) async fn retire(
    State(shared): State<Shares>,
    Extension(origin): Extension<Origin>,
    Path(name): Path<String>,
    body: Bytes,
) -> Response {
    granted(&shared, origin, name, Wish::Retire.as_str(), &body).await
}

/// What became of a wish: the capability as it is then.
async fn granted(shared: &Shares, origin: Origin, name: String, word: &str, body: &Bytes) -> Response {
    let request: WishRequest = match parse_or_default(body) {
        Ok(request) => request,
        Err(answer) => return *answer,
    };
    let Some(wish) = wish_of(word, &request) else {
        return problem(StatusCode::NOT_FOUND, format!("no wish is called `{word}`"));
    };
    match wish {
        Wish::Cutover => followed(shared, &name, Side::Modern).await,
        Wish::Revert => followed(shared, &name, Side::Legacy).await,
        _ => {}
    }
    let by = origin.says(&request.by);
    let done = send(shared, |reply| Command::Wish { capability: name.clone(), wish, by, reason: request.reason, reply });
    if let Err(refusal) = done.await {
        return refused(refusal);
    }
    let view = shared.publisher.view();
    match view.capability(&name) {
        Some((plan, stored)) => ok(&status::capability(shared, &view, plan, stored, now())),
        None => problem(StatusCode::NOT_FOUND, format!("no capability is called `{name}`")),
    }
}

/// Gives those whom a switch needs the time to hear of the change before it, so that two commands in a row are no mistake.
async fn followed(shared: &Shares, capability: &str, to: Side) {
    let until = tokio::time::Instant::now() + FOLLOW;
    while tokio::time::Instant::now() < until {
        let view = shared.publisher.view();
        let Some((plan, stored)) = view.capability(capability) else { return };
        if shared.fleet.observe(plan, stored, &view, shared.config.limits()).is_followed(to, now()) {
            return;
        }
        tokio::time::sleep(FOLLOW / 100).await;
    }
}

pub(super) async fn reload(State(shared): State<Shares>, Extension(origin): Extension<Origin>) -> Response {
    match reconcile::reload(&shared, origin.says("")).await {
        Ok(rules_generation) => ok(&Reloaded { rules_generation }),
        Err(complaints) => {
            let errors = complaints.iter().filter(|c| !c.warning).count();
            let detail = format!("the rules have {errors} errors; the last good ones serve on");
            (StatusCode::UNPROCESSABLE_ENTITY, Json(Problem { detail, complaints })).into_response()
        }
    }
}

/// Sends a command to the reconciler and waits for its answer.
pub(super) async fn send(shared: &Shared, command: impl FnOnce(oneshot::Sender<Result<(), Refusal>>) -> Command) -> Result<(), Refusal> {
    let (reply, answer) = oneshot::channel();
    let ending = || Refusal::Failed("the orchestrator is ending".to_owned());
    shared.commands.send(command(reply)).await.map_err(|_| ending())?;
    answer.await.map_err(|_| ending())?
}

fn wish_of(word: &str, request: &WishRequest) -> Option<Wish> {
    Some(match word {
        "advance" => Wish::Advance,
        "hold" => Wish::Hold(request.reason.clone().unwrap_or_default()),
        "release" => Wish::Release(request.reason.clone()),
        "cutover" => Wish::Cutover,
        "abort" => Wish::Abort,
        "revert" => Wish::Revert,
        "retire" => Wish::Retire,
        "verify" => Wish::Verify,
        "repair" => Wish::Repair,
        _ => return None,
    })
}
