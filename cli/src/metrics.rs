//! `/metrics`: everything that the parts registered, in Prometheus's text format. For viewers, if there are tokens.

use axum::Router;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use ficus_orchestrator::{Denied, Role, Tokens};
use prometheus::{Encoder as _, TextEncoder};

/// The route, to be merged into an admin router.
pub(crate) fn router(tokens: &Tokens) -> Router {
    Router::new().route("/metrics", get(metrics)).with_state(tokens.clone())
}

async fn metrics(State(tokens): State<Tokens>, headers: HeaderMap) -> Response {
    if let Err(denied) = tokens.admit(&headers, Role::Viewer) {
        let status = if denied == Denied::Unknown { StatusCode::UNAUTHORIZED } else { StatusCode::FORBIDDEN };
        let why = "metrics need the token of a viewer: `authorization` with `credentials_file` in prometheus.yml\n";
        return (status, [(WWW_AUTHENTICATE, "Bearer")], why).into_response();
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
        let tokens = Tokens::new([("prometheus", Role::Viewer, "look"), ("gateway", Role::Fleet, "carry")]);
        let asked = async |tokens: &Tokens, given: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.extend(given.map(|given| (AUTHORIZATION, axum::http::HeaderValue::from_static(given))));
            metrics(State(tokens.clone()), headers).await.status()
        };
        assert_eq!(asked(&Tokens::default(), None).await, StatusCode::OK);
        assert_eq!(asked(&tokens, Some("Bearer look")).await, StatusCode::OK);
        assert_eq!(asked(&tokens, Some("Bearer carry")).await, StatusCode::FORBIDDEN);
        for given in [None, Some("Bearer loo"), Some("Bearer "), Some("look"), Some("Basic look")] {
            assert_eq!(asked(&tokens, given).await, StatusCode::UNAUTHORIZED, "{given:?}");
        }
    }
}
