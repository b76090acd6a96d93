//! The admin API: JSON over HTTP. Messages of gateways and agents are `ficus_rules::wire`, those of operators
//! `ficus_rules::api`. Every refusal is a `Problem` with a sentence.

mod answer;
mod fleet;
mod operators;
pub(crate) mod overrides;
mod pages;
mod read;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{MethodRouter, delete, get, post, put};

use crate::{Shared, access};

use self::answer::problem;

/// The description of all routes; a test compares it with [`routes`].
pub(crate) const OPENAPI: &str = include_str!("api/openapi.json");

/// A report carries every capability and some samples.
const LARGEST_BODY: usize = 8 << 20;

type Shares = Arc<Shared>;

/// Every route: methods, path, handler.
fn routes() -> Vec<(&'static [&'static str], &'static str, MethodRouter<Shares>)> {
    vec![
        (&["get"], "/health", get(read::health)),
        (&["get"], "/ready", get(read::ready)),
        (&["get"], "/api/v1/openapi.json", get(read::openapi)),
        (&["get"], "/api/v1/status", get(read::status)),
        (&["get"], "/api/v1/journal", get(read::journal)),
        (&["get"], "/api/v1/diffs", get(read::diffs)),
        (&["get"], "/api/v1/published", get(fleet::published)),
        (&["get"], "/api/v1/orders", get(fleet::orders)),
        (&["post"], "/api/v1/gateways/report", post(fleet::gateway_report)),
        (&["post"], "/api/v1/agents/report", post(fleet::agent_report)),
        (&["post"], "/api/v1/capabilities/{name}/{wish}", post(operators::wish)),
        (&["post"], "/api/v1/reload", post(operators::reload)),
        (&["post", "delete"], "/api/v1/pins", post(overrides::pin).merge(delete(overrides::unpin))),
        (&["put", "delete"], "/api/v1/flags/{name}", put(overrides::set_flag).merge(delete(overrides::unset_flag))),
    ]
}

/// The router.
pub(crate) fn router(shared: Shares) -> Router {
    let mut router = Router::new();
    for (_, path, handler) in routes() {
        router = router.route(path, handler);
    }
    router
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&shared), only_with_token))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&shared), pages::only_our_own))
        .with_state(shared)
}

/// Health checks are for everybody; the rest is for who has the token, if there is one.
async fn only_with_token(State(shared): State<Shares>, request: Request, next: Next) -> Response {
    if is_open(&request) || access::has_token(request.headers(), shared.config.token.as_deref()) {
        return next.run(request).await;
    }
    let mut refused = problem(StatusCode::UNAUTHORIZED, "the admin API needs its token: `Authorization: Bearer …`");
    refused.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
    refused
}

/// Health checks: they tell nothing, and balancers ask them by whatever address they have.
fn is_open(request: &Request) -> bool {
    matches!(request.uri().path(), "/health" | "/ready")
}
