//! The listener of an orchestrator that may lead or not. While it does, its term answers. While it does not, it says who
//! does: 307 to the same call there, 503 while nobody is known to. It never answers a call that rests on its lead when that
//! ended under it.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use tower_service::Service as _;

use super::{answer, pages};
use crate::Seat;
use crate::access::{Denied, Role};

/// What stands for the term's router.
pub(crate) fn router(seat: Arc<Seat>) -> Router {
    Router::new().fallback(serve).with_state(seat).layer(middleware::map_response(answer::guarded))
}

async fn serve(State(seat): State<Arc<Seat>>, request: Request) -> Response {
    let asked = Asked { method: request.method().clone(), uri: request.uri().clone(), headers: request.headers().clone() };
    let Some(term) = seat.term() else {
        return match pages::refused(&request, seat.config.tokens.is_empty()) {
            Some(refused) => refused,
            None => asked.elsewhere(&seat),
        };
    };
    let Ok(said) = term.router().call(request).await;
    // What was written is written; what was promised or shown may be another's to say by now.
    if asked.rests_on_the_lead() && !term.holds() {
        return asked.elsewhere(&seat);
    }
    said
}

/// What outlives the request.
struct Asked {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

impl Asked {
    /// States, orders and validities are given by whoever leads, and by nobody else.
    fn rests_on_the_lead(&self) -> bool {
        let path = self.uri.path();
        let fleet = ["/api/v1/gateways/", "/api/v1/agents/"].iter().any(|under| path.starts_with(under));
        fleet || self.method == Method::GET && path.starts_with("/api/")
    }

    fn elsewhere(&self, seat: &Seat) -> Response {
        let path = self.uri.path();
        if matches!(path, "/health" | "/ready") {
            return answer::ok(&json!({ "status": "ok", "leads": false }));
        }
        let leader = seat.leader.load_full();
        if path == "/leader" {
            return answer::problem(StatusCode::SERVICE_UNAVAILABLE, "this orchestrator stands by");
        }
        // A stranger is not told where anything is.
        if matches!(seat.config.tokens.admit(&self.headers, Role::Viewer), Err(Denied::Unknown)) {
            return answer::denied(&Denied::Unknown, Role::Viewer);
        }
        let Some(leader) = leader else {
            let nobody = answer::problem(StatusCode::SERVICE_UNAVAILABLE, "no orchestrator is known to lead: ask again in a moment");
            return ([(header::RETRY_AFTER, "1")], nobody).into_response();
        };
        let there = format!("{leader}{}", self.uri.path_and_query().map_or("/", |path| path.as_str()));
        let detail = format!("this orchestrator stands by: {leader} leads");
        ([(header::LOCATION, there)], answer::problem(StatusCode::TEMPORARY_REDIRECT, detail)).into_response()
    }
}
