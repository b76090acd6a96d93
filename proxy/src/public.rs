//! What the gateway tells anybody of itself, at the paths that its configuration names: whether it takes requests, and which
//! capabilities are answered. Never where something is, which side answers, or how far a capability is. Decides nothing.

use std::time::Instant;

use ficus_rules::Side;
use ficus_rules::route::Request as _;
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::answer::Refusal;
use crate::asked::Asked;
use crate::gateway::Inner;

/// Where the gateway answers by itself; nowhere unless set, for the path may be one of the monolith's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Public {
    /// Whether it takes requests: 200, or 503 as long as it does not know who owns what.
    pub health: Option<String>,
    /// Which capabilities are answered.
    pub services: Option<String>,
}

impl Public {
    /// The paths that no server behind the gateway sees.
    pub fn paths(&self) -> Vec<String> {
        self.health.iter().chain(&self.services).cloned().collect()
    }
}

/// The answer to a request for one of these paths.
pub(crate) fn answer(gateway: &Inner, asked: &Asked) -> Option<Refusal> {
    let public = &gateway.config.public;
    let is = |path: &Option<String>| path.as_deref() == Some(asked.path());
    let (health, services) = (is(&public.health), is(&public.services));
    if !health && !services {
        return None;
    }
    if !["GET", "HEAD"].contains(&asked.method()) {
        let refused = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "public", "this is only read");
        return Some(Refusal { headers: vec![("allow", "GET, HEAD".to_owned())], ..refused });
    }
    let ready = gateway.standing.is_informed();
    let (status, told) = match health {
        true if ready => (StatusCode::OK, json!({"status": "ok"})),
        true => (StatusCode::SERVICE_UNAVAILABLE, json!({"status": "starting"})),
        false => (StatusCode::OK, all(gateway)),
    };
    Some(Refusal { told: Some(Box::new(told)), ..Refusal::new(status, "public", "") })
}

/// `{"status": "ok", "services": {"users": "up"}}`: by what probes and requests saw lately of the side that owns.
fn all(gateway: &Inner) -> Value {
    let (snapshot, now) = (gateway.current.load(), Instant::now());
    let mut services = Map::new();
    for (name, capability) in &snapshot.rules.capabilities {
        let owner = snapshot.published.capabilities.get(name).map_or(Side::Legacy, |serving| serving.owner);
        let down = match owner {
            Side::Legacy => gateway.legacy.is_down(&capability.legacy, now),
            Side::Modern => gateway.around.is_down(name, now),
        };
        services.insert(name.clone(), if down { "down" } else { "up" }.into());
    }
    let rest_down = gateway.legacy.is_down(&gateway.config.default_upstream, now);
    let degraded = rest_down || services.values().any(|service| service == "down");
    json!({"status": if degraded { "degraded" } else { "ok" }, "services": services})
}
