//! How answers look: JSON, and problems with a sentence. The only place where errors become statuses.

use axum::Json;
use axum::body::Bytes;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use ficus_rules::api::Problem;
use ficus_rules::wire::release;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::access::{Denied, Role};
use crate::reconcile::Refusal;
use crate::store::StoreError;

/// 200 with a body.
pub(super) fn ok(body: &impl Serialize) -> Response {
    Json(body).into_response()
}

/// A refusal or an error.
pub(super) fn problem(status: StatusCode, detail: impl Into<String>) -> Response {
    (status, Json(Problem { detail: detail.into(), complaints: Vec::new() })).into_response()
}

/// A command that was not done.
pub(super) fn refused(refusal: Refusal) -> Response {
    match refusal {
        Refusal::Unknown(detail) => problem(StatusCode::NOT_FOUND, detail),
        Refusal::Refused(detail) => problem(StatusCode::CONFLICT, detail),
        Refusal::Failed(detail) => problem(StatusCode::SERVICE_UNAVAILABLE, detail),
    }
}

/// Nobody who may do it.
pub(super) fn denied(denied: &Denied, needed: Role) -> Response {
    match denied {
        Denied::Unknown => {
            let mut refused = problem(StatusCode::UNAUTHORIZED, "the admin API needs a token: `Authorization: Bearer …`");
            refused.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            refused
        }
        Denied::Weaker { name, role } => {
            problem(StatusCode::FORBIDDEN, format!("this asks for the role {needed}, and the token `{name}` has the role {role}"))
        }
    }
}

/// The store failed.
pub(super) fn store_failed(failed: &StoreError) -> Response {
    tracing::error!(error = failed as &dyn std::error::Error, "the store failed under a request");
    problem(StatusCode::SERVICE_UNAVAILABLE, failed.to_string())
}

/// No browser guesses what it is, or keeps data for the next one who sits there; and parts of Ficus see of which release it is.
pub(super) async fn guarded(mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    headers.insert(release::HEADER, HeaderValue::from(release::RELEASE));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    answer
}

/// Reads a JSON body; `Err` is the answer.
pub(super) fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, Box<Response>> {
    serde_json::from_slice(body)
        .map_err(|error| Box::new(problem(StatusCode::BAD_REQUEST, format!("the body is not as expected: {error}"))))
}

/// As [`parse`], where no body means the default.
pub(super) fn parse_or_default<T: DeserializeOwned + Default>(body: &Bytes) -> Result<T, Box<Response>> {
    if body.is_empty() { Ok(T::default()) } else { parse(body) }
}
