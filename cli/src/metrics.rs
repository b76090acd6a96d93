//! `/metrics`: everything that the parts registered, in Prometheus's text format. Behind the admin token, if there is one.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Encoder as _, TextEncoder};

/// The route, to be merged into an admin router.
pub(crate) fn router(token: Option<&str>) -> Router {
    Router::new().route("/metrics", get(metrics)).with_state(token.map(Arc::from))
}

async fn metrics(State(token): State<Option<Arc<str>>>, headers: HeaderMap) -> Response {
    if !ficus_orchestrator::has_token(&headers, token.as_deref()) {
        let why = "metrics need the admin token: `authorization` with `credentials_file` in prometheus.yml\n";
        return (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")], why).into_response();
    }
    let encoder = TextEncoder::new();
    let mut text = Vec::new();
    match encoder.encode(&prometheus::gather(), &mut text) {
        Ok(()) => ([(CONTENT_TYPE, encoder.format_type().to_owned())], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::header::AUTHORIZATION;

    use super::*;

    #[tokio::test]
    async fn metrics_are_for_who_has_the_token() {
        let asked = async |token: Option<&str>, given: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.extend(given.map(|given| (AUTHORIZATION, axum::http::HeaderValue::from_static(given))));
            metrics(State(token.map(Arc::from)), headers).await.status()
        };
        assert_eq!(asked(None, None).await, StatusCode::OK);
        assert_eq!(asked(Some("secret"), Some("Bearer secret")).await, StatusCode::OK);
        for given in [None, Some("Bearer secre"), Some("Bearer "), Some("secret"), Some("Basic secret")] {
            assert_eq!(asked(Some("secret"), given).await, StatusCode::UNAUTHORIZED, "{given:?}");
        }
    }
}
