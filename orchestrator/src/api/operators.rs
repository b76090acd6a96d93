//! For operators: wishes for a capability, and the reload of the rules.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use ficus_rules::Side;
use ficus_rules::api::{Problem, Reloaded, WishRequest};
use ficus_rules::count;
use ficus_rules::migration::advance::Wish;
use tokio::sync::oneshot;

use super::Shares;
use super::answer::{ok, parse_or_default, problem, refused};
use crate::access::Origin;
use crate::fleet::{Moment, now};
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
    granted(&shared, origin, name, |request| wish_of(&word, request), &body).await
}

pub(super) async fn retire(
    State(shared): State<Shares>,
    Extension(origin): Extension<Origin>,
    Path(name): Path<String>,
    body: Bytes,
) -> Response {
    granted(&shared, origin, name, |_| Some(Wish::Retire), &body).await
}

/// What became of a wish: the capability as it is then.
async fn granted(shared: &Shares, origin: Origin, name: String, wish: impl Fn(&WishRequest) -> Option<Wish>, body: &Bytes) -> Response {
    let request: WishRequest = match parse_or_default(body) {
        Ok(request) => request,
        Err(answer) => return *answer,
    };
    let Some(wish) = wish(&request) else {
        return problem(StatusCode::NOT_FOUND, "there is no such wish");
    };
    let by = origin.says(&request.by);
    let ask = || {
        let (capability, wish, by, reason) = (name.clone(), wish.clone(), by.clone(), request.reason.clone());
        send(shared, |reply| Command::Wish { capability, wish, by, reason, reply })
    };
    let aborts = match wish {
        Wish::Abort => shared.aborts.fetch_add(1, Ordering::SeqCst),
        _ => shared.aborts.load(Ordering::SeqCst),
    };
    let mut done = ask().await;
    if matches!(done, Err(Refusal::Refused(_))) && caught_up(shared, &name, &wish, aborts).await {
        done = ask().await;
    }
    if let Err(refusal) = done {
        return refused(refusal);
    }
    let view = shared.publisher.view();
    match view.capability(&name) {
        Some((plan, stored)) => ok(&status::capability(shared, &view, plan, stored, now())),
        None => problem(StatusCode::NOT_FOUND, format!("no capability is called `{name}`")),
    }
}

/// Whether a switch that was refused is worth another question: somebody whom it needs had not heard of the change before
/// it, and has now. Two commands in a row are no mistake. Not after an abort: it found nothing under way, and means this.
async fn caught_up(shared: &Shares, capability: &str, wish: &Wish, aborts: u64) -> bool {
    let to = match wish {
        Wish::Cutover => Side::Modern,
        Wish::Revert | Wish::RevertLeaving => Side::Legacy,
        _ => return false,
    };
    let (begun, mut waited) = (tokio::time::Instant::now(), false);
    while begun.elapsed() < FOLLOW {
        let view = shared.publisher.view();
        let Some((plan, stored)) = view.capability(capability) else { return false };
        if stored.state.switch.is_some() || shared.aborts.load(Ordering::SeqCst) != aborts {
            return false;
        }
        let now = now();
        if shared.fleet.observe(plan, stored, &view, shared.config.limits(), Moment::at(now)).is_followed(to, now) {
            return waited;
        }
        waited = true;
        tokio::time::sleep(FOLLOW / 100).await;
    }
    false
}

pub(super) async fn reload(State(shared): State<Shares>, Extension(origin): Extension<Origin>, body: Bytes) -> Response {
    let request: WishRequest = match parse_or_default(&body) {
        Ok(request) => request,
        Err(answer) => return *answer,
    };
    match reconcile::reload(&shared, origin.says(&request.by), request.reason).await {
        Ok(rules_generation) => ok(&Reloaded { rules_generation }),
        Err(complaints) => {
            let errors = complaints.iter().filter(|c| !c.warning).count();
            let detail = format!("the rules have {}; the last good ones serve on", count::of(errors as u64, "error"));
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

/// What an operator may wish; `retire` is a call of its own, for a stronger role.
pub(super) fn wish_of(word: &str, request: &WishRequest) -> Option<Wish> {
    Some(match word {
        "advance" => Wish::Advance,
        "hold" => Wish::Hold(request.reason.clone().unwrap_or_default()),
        "release" => Wish::Release(request.hold.clone().or(request.reason.clone()).filter(|hold| !hold.is_empty())),
        "approve" => Wish::Approve,
        "cutover" => Wish::Cutover,
        "abort" => Wish::Abort,
        "revert" if request.leave_set_aside => Wish::RevertLeaving,
        "revert" => Wish::Revert,
        "verify" => Wish::Verify,
        "repair" => Wish::Repair,
        _ => return None,
    })
}
