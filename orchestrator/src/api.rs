//! The admin API: JSON over HTTP, and the console's files. Messages of gateways and agents are `ficus_rules::wire`, those of
//! operators `ficus_rules::api`. Every refusal is a `Problem` with a sentence.

mod ahead;
mod answer;
mod console;
mod detail;
pub(crate) mod events;
mod fleet;
mod operators;
pub(crate) mod overrides;
mod pages;
mod read;
pub(crate) mod standby;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{MethodRouter, delete, get, post, put};
use ficus_rules::wire::release;

use crate::Shared;
use crate::access::{Origin, Role};
use crate::listener::Caller;

/// The description of all routes; a test compares it with [`calls`].
pub(crate) const OPENAPI: &str = include_str!("api/openapi.json");

/// A report carries every capability and some samples.
const LARGEST_BODY: usize = 8 << 20;

type Shares = Arc<Shared>;

/// One call of the API.
pub(crate) struct Call {
    #[cfg_attr(not(test), expect(dead_code, reason = "what the description is compared with"))]
    pub(crate) methods: &'static [&'static str],
    pub(crate) path: &'static str,
    /// The role that it asks for; `None`: everybody, from anywhere.
    pub(crate) role: Option<Role>,
    handler: MethodRouter<Shares>,
}

/// Every call, with the role that it asks for. What is not in this table is not served.
pub(crate) fn calls() -> Vec<Call> {
    const GET: &[&str] = &["get"];
    const POST: &[&str] = &["post"];
    let call = |methods, path, role, handler| Call { methods, path, role, handler };
    vec![
        // Health checks tell nothing, and balancers ask them by whatever address they have.
        call(GET, "/health", None, get(read::health)),
        call(GET, "/ready", None, get(read::ready)),
        call(GET, "/leader", None, get(read::leader)),
        call(GET, "/api/v1/openapi.json", Some(Role::Viewer), get(read::openapi)),
        call(GET, "/api/v1/status", Some(Role::Viewer), get(read::status)),
        call(GET, "/api/v1/plan", Some(Role::Viewer), get(ahead::plan)),
        call(GET, "/api/v1/events", Some(Role::Viewer), get(events::events)),
        call(GET, "/api/v1/capabilities/{name}", Some(Role::Viewer), get(detail::capability)),
        call(GET, "/api/v1/capabilities/{name}/traffic", Some(Role::Viewer), get(detail::traffic)),
        // Whole rows, also columns that no answer ever shows: for who may mend them.
        call(GET, "/api/v1/capabilities/{name}/quarantine", Some(Role::Operator), get(detail::quarantine)),
        call(GET, "/api/v1/flags", Some(Role::Viewer), get(detail::flags)),
        call(GET, "/api/v1/rules", Some(Role::Viewer), get(detail::rules)),
        // It changes nothing; headers and cookies do not belong into an address.
        call(POST, "/api/v1/explain", Some(Role::Viewer), post(detail::explain)),
        call(GET, "/api/v1/journal", Some(Role::Viewer), get(read::journal)),
        call(GET, "/api/v1/journal/head", Some(Role::Viewer), get(read::journal_head)),
        call(GET, "/api/v1/diffs", Some(Role::Viewer), get(read::diffs)),
        call(GET, "/api/v1/published", Some(Role::Fleet), get(fleet::published)),
        call(GET, "/api/v1/orders", Some(Role::Fleet), get(fleet::orders)),
        call(POST, "/api/v1/gateways/report", Some(Role::Fleet), post(fleet::gateway_report)),
        call(POST, "/api/v1/agents/report", Some(Role::Fleet), post(fleet::agent_report)),
        call(POST, "/api/v1/agents/quarantine", Some(Role::Fleet), post(fleet::agent_quarantine)),
        call(POST, "/api/v1/capabilities/{name}/{wish}", Some(Role::Operator), post(operators::wish)),
        // There is no way back from it.
        call(POST, "/api/v1/capabilities/{name}/retire", Some(Role::Admin), post(operators::retire)),
        call(POST, "/api/v1/reload", Some(Role::Operator), post(operators::reload)),
        call(&["post", "delete"], "/api/v1/pins", Some(Role::Operator), post(overrides::pin).merge(delete(overrides::unpin))),
        call(
            &["put", "delete"],
            "/api/v1/flags/{name}",
            Some(Role::Operator),
            put(overrides::set_flag).merge(delete(overrides::unset_flag)),
        ),
    ]
}

/// The router.
pub(crate) fn router(shared: Shares) -> Router {
    let mut router = Router::new();
    for Call { path, role, handler, .. } in calls() {
        let door = Door { shared: Arc::clone(&shared), role };
        router = router.route(path, handler.layer(middleware::from_fn_with_state(door, admit)));
    }
    router
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(shared)
        .merge(console::router())
        .layer(middleware::map_response(answer::guarded))
}

/// What stands before a call.
#[derive(Clone)]
struct Door {
    shared: Shares,
    role: Option<Role>,
}

/// What a caller says of itself; what is no text is no release either.
fn said_release(request: &Request) -> Option<&str> {
    request.headers().get(release::HEADER).map(|said| said.to_str().unwrap_or_default())
}

/// Lets in who may, and notes who it is. Gateways and agents of another release are turned away before they are misunderstood.
async fn admit(State(door): State<Door>, mut request: Request, next: Next) -> Response {
    let tokens = &door.shared.config.tokens;
    if let Some(refused) = pages::refused(&request, door.role.is_some() && tokens.is_empty()) {
        return refused;
    }
    let Some(role) = door.role else { return next.run(request).await };
    let token = match tokens.admit(request.headers(), role) {
        Ok(token) => token.map(|token| token.name.clone()),
        Err(denied) => return answer::denied(&denied, role),
    };
    if role == Role::Fleet
        && let Err(apart) = release::neighbour(said_release(&request))
    {
        return answer::problem(StatusCode::UPGRADE_REQUIRED, apart.to_string());
    }
    let from = request.extensions().get::<ConnectInfo<Caller>>().map(|info| info.0.0);
    request.extensions_mut().insert(Origin { token, from, directory: None });
    next.run(request).await
}
