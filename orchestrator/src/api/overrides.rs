//! For operators: pins and flags that win over the files.

use std::time::Duration;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use ficus_rules::api::{FlagRequest, PinRequest, WishRequest};
use ficus_rules::migration::advance::JournalLine;
use ficus_rules::wire::{FlagOverride, PinOverride};
use ficus_rules::{Side, Timestamp};
use serde_json::json;

use super::Shares;
use super::answer::{ok, parse, parse_or_default, problem, refused};
use super::operators::send;
use crate::access::{Author, Origin};
use crate::fleet::wall;
use crate::reconcile::{Command, OverrideChange, Refusal, with_reason};
use crate::status;

pub(super) async fn pin(State(shared): State<Shares>, Extension(origin): Extension<Origin>, body: Bytes) -> Response {
    let request: PinRequest = match parse(&body) {
        Ok(request) => request,
        Err(answer) => return *answer,
    };
    let by = origin.says(&request.by);
    let Some(side) = request.side else {
        return problem(StatusCode::BAD_REQUEST, "the body is not as expected: a pin needs a `side`");
    };
    let new = PinOverride {
        capability: request.capability,
        user: request.user,
        side,
        expires: expires(request.for_seconds),
        note: note(&by, request.reason.as_deref()),
    };
    let change: OverrideChange = Box::new(move |view, overrides| {
        let Some((plan, stored)) = view.capability(&new.capability) else {
            return Err(Refusal::Unknown(format!("no capability is called `{}`", new.capability)));
        };
        if let Some(why) = stored.state.keeps_from_modern(plan).filter(|_| new.side == Side::Modern) {
            return Err(Refusal::Refused(why));
        }
        overrides.pins.retain(|pin| (&pin.capability, &pin.user) != (&new.capability, &new.user));
        overrides.pins.push(new.clone());
        let text = format!("reads of {} are pinned to {}", who(new.user.as_deref()), new.side);
        Ok((Some(new.capability.clone()), line("pin", text, json!(new))))
    });
    changed(&shared, change, by, request.reason).await
}

pub(super) async fn unpin(State(shared): State<Shares>, Extension(origin): Extension<Origin>, body: Bytes) -> Response {
    let request: PinRequest = match parse(&body) {
        Ok(request) => request,
        Err(answer) => return *answer,
    };
    let by = origin.says(&request.by);
    let (capability, user) = (request.capability, request.user);
    let change: OverrideChange = Box::new(move |_, overrides| {
        let before = overrides.pins.len();
        overrides.pins.retain(|pin| (&pin.capability, &pin.user) != (&capability, &user));
        if overrides.pins.len() == before {
            return Err(Refusal::Unknown(format!("reads of {} are not pinned in `{capability}`", who(user.as_deref()))));
        }
        let text = format!("reads of {} are no longer pinned", who(user.as_deref()));
        Ok((Some(capability), line("pin", text, json!({ "user": user }))))
    });
    changed(&shared, change, by, request.reason).await
}

pub(super) async fn set_flag(
    State(shared): State<Shares>,
    Extension(origin): Extension<Origin>,
    Path(name): Path<String>,
    body: Bytes,
) -> Response {
    let request: FlagRequest = match parse(&body) {
        Ok(request) => request,
        Err(answer) => return *answer,
    };
    let by = origin.says(&request.by);
    let note = note(&by, request.reason.as_deref());
    let new = FlagOverride { on: request.on, variant: request.variant, expires: expires(request.for_seconds), note };
    let change: OverrideChange = Box::new(move |view, overrides| {
        let Some(flag) = view.rulebook.rules.flags.get(&name) else {
            return Err(Refusal::Unknown(format!("no flag is called `{name}`")));
        };
        if !flag.variants.contains_key(new.variant()) {
            let known: Vec<&str> = flag.variants.keys().map(String::as_str).collect();
            return Err(Refusal::Refused(format!("flag `{name}` has no variant `{}` (there are: {})", new.variant(), known.join(", "))));
        }
        let text = format!("flag {name} is {} for everybody", new.variant());
        let detail = json!({ "flag": name, "override": new });
        overrides.flags.insert(name, new);
        Ok((None, line("flag", text, detail)))
    });
    changed(&shared, change, by, request.reason).await
}

pub(super) async fn unset_flag(
    State(shared): State<Shares>,
    Extension(origin): Extension<Origin>,
    Path(name): Path<String>,
    body: Bytes,
) -> Response {
    let request: WishRequest = match parse_or_default(&body) {
        Ok(request) => request,
        Err(answer) => return *answer,
    };
    let by = origin.says(&request.by);
    let change: OverrideChange = Box::new(move |_, overrides| {
        if overrides.flags.remove(&name).is_none() {
            return Err(Refusal::Unknown(format!("flag `{name}` is not overridden")));
        }
        Ok((None, line("flag", format!("flag {name} follows its file again"), json!({ "flag": name }))))
    });
    changed(&shared, change, by, request.reason).await
}

/// Answers with the overrides as they are now.
async fn changed(shared: &Shares, change: OverrideChange, by: Author, reason: Option<String>) -> Response {
    let change: OverrideChange = Box::new(move |view, overrides| {
        change(view, overrides).map(|(capability, line)| (capability, with_reason(line, reason.as_deref())))
    });
    match send(shared, |reply| Command::Override { change, by, reply }).await {
        Ok(()) => ok(&status::live(&shared.publisher.view().overrides, wall())),
        Err(refusal) => refused(refusal),
    }
}

fn expires(seconds: Option<u64>) -> Option<Timestamp> {
    seconds.map(|seconds| wall().plus(Duration::from_secs(seconds)))
}

fn note(by: &Author, reason: Option<&str>) -> String {
    let parts = by.name().into_iter().chain(reason.filter(|reason| !reason.is_empty()).map(str::to_owned));
    parts.collect::<Vec<_>>().join(": ")
}

pub(crate) fn who(user: Option<&str>) -> String {
    user.map_or_else(|| "everybody".to_owned(), |user| format!("user {user}"))
}

fn line(kind: &str, text: String, detail: serde_json::Value) -> JournalLine {
    JournalLine { kind: kind.to_owned(), text, detail }
}
