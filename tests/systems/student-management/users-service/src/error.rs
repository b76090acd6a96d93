//! Everything that can go wrong while a request is served, and the one place where it becomes an answer.

use std::collections::BTreeMap;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Seconds after which a refused write may be tried again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");
/// The first word of the text with which a fence's trigger aborts a write.
const FENCE: &str = "ficus:";

/// Why there is no better answer. Its text is the `detail` that the caller reads.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// 400: the request cannot be understood.
    #[error("{0}")]
    BadRequest(String),
    /// 400: it can, but these fields are wrong: name and reason.
    #[error("Some fields are not valid.")]
    Fields(BTreeMap<String, String>),
    /// 401: no token, or not a valid one.
    #[error("Log in first.")]
    Unauthenticated,
    /// 403.
    #[error("{0}")]
    Forbidden(&'static str),
    /// 404.
    #[error("{0}")]
    NotFound(&'static str),
    /// 405, with the method that the resource does not have.
    #[error("{0} is not possible here.")]
    MethodNotAllowed(axum::http::Method),
    /// 409: the user name belongs to somebody.
    #[error("The user name is taken.")]
    UsernameTaken,
    /// 413.
    #[error("{0}")]
    TooLarge(&'static str),
    /// 503: a fence holds the writes of this database; the text of its trigger.
    #[error("{0}")]
    Fenced(String),
    /// 503: somebody else writes for too long, or the gateway's keys are out of reach.
    #[error("{0}")]
    Unavailable(&'static str),
    /// 500: the cause goes to the log only.
    #[error("Internal error.")]
    Internal {
        /// What was being done.
        doing: &'static str,
        /// What came of it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// A fault of ours while doing something.
    pub fn internal(doing: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal { doing, source: source.into() }
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) | Self::Fields(_) => StatusCode::BAD_REQUEST,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::UsernameTaken => StatusCode::CONFLICT,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Fenced(_) | Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        let Some(refusal) = error.as_database_error() else {
            return Self::internal("using the database", error);
        };
        if refusal.message().starts_with(FENCE) {
            return Self::Fenced(refusal.message().to_owned());
        }
        if refusal.code().is_some_and(|code| is_busy(&code)) {
            return Self::Unavailable("The database is busy.");
        }
        let of_the_name = refusal.message().ends_with("users.username") || refusal.constraint() == Some("users_username_key");
        if refusal.is_unique_violation() && of_the_name {
            return Self::UsernameTaken;
        }
        Self::internal("using the database", error)
    }
}

/// SQLite's extended code keeps `SQLITE_BUSY` (5) in its low byte (<https://sqlite.org/rescode.html>); `55P03` is
/// PostgreSQL's `lock_not_available`.
fn is_busy(code: &str) -> bool {
    code == "55P03" || code.len() < 5 && code.parse::<i32>().is_ok_and(|code| code & 0xff == 5)
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        if let Self::Internal { doing, source } = &self {
            tracing::error!(doing, error = %source, "request failed");
        }
        let body = match &self {
            Self::Fields(fields) => json!({"detail": self.to_string(), "fields": fields}),
            _ => json!({"detail": self.to_string()}),
        };
        let mut response = (self.status(), Json(body)).into_response();
        if self.status() == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        if matches!(self, Self::Unauthenticated) {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
