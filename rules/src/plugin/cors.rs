//! `cors`: which other origins' pages may read answers (the Fetch standard, 3.2). Preflights are answered here; what the
//! server behind says of origins is replaced.

use std::time::Duration;

use super::headers::HeaderChange;
use super::{Answer, Asking};
use crate::route::Request;

/// Which pages may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// Origins as browsers send them: `https://app.example.test`, `https://*.example.test`, or `*` for all.
    pub origins: Vec<String>,
    /// What a preflight may ask for.
    pub methods: Vec<String>,
    /// Headers that pages may send, lower case; `*` for all.
    pub headers: Vec<String>,
    /// Headers of answers that pages may read.
    pub expose: Vec<String>,
    /// Whether cookies go along.
    pub credentials: bool,
    /// For how long a browser may keep a preflight's answer.
    pub max_age: Duration,
}

/// What browsers ask before a request that a form could not send.
pub fn is_preflight(request: &dyn Request) -> bool {
    request.method() == "OPTIONS" && request.header("origin").is_some() && request.header("access-control-request-method").is_some()
}

impl Cors {
    /// Whether pages of an origin may.
    pub fn allows(&self, origin: &str) -> bool {
        self.origins.iter().any(|allowed| match allowed.split_once("://*.") {
            Some((scheme, domain)) => origin
                .strip_prefix(scheme)
                .and_then(|rest| rest.strip_prefix("://"))
                .and_then(|host| host.strip_suffix(domain))
                .is_some_and(|name| name.len() > 1 && name.ends_with('.') && !name.contains(['/', ':', '@'])),
            None => allowed == "*" || allowed == origin,
        })
    }

    /// The answer to a preflight.
    pub(super) fn preflight(&self, asking: &Asking<'_>) -> Option<Answer> {
        if !is_preflight(asking.request) {
            return None;
        }
        let origin = asking.request.header("origin").unwrap_or_default();
        let method = asking.request.header("access-control-request-method").unwrap_or_default();
        if !self.allows(origin) {
            return Some(Answer::new(403, "cors", "pages of this origin may not ask here"));
        }
        if !self.methods.iter().any(|allowed| allowed == method) {
            return Some(Answer::new(403, "cors", "pages of other origins may not use this method here"));
        }
        // The headers of the origin itself are added on the way back, as to every answer.
        let answer = Answer::new(204, "preflight", "")
            .with("access-control-allow-methods", self.methods.join(", "))
            .with("access-control-max-age", self.max_age.as_secs().to_string());
        let asked = asking.request.header("access-control-request-headers").unwrap_or_default();
        let named = match self.headers.iter().any(|header| header == "*") {
            // The star means itself, and not every header, when cookies go along.
            true => asked.to_owned(),
            false => self.headers.join(", "),
        };
        Some(if named.is_empty() { answer } else { answer.with("access-control-allow-headers", named) })
    }

    /// What an answer says of origins.
    pub(super) fn changes(&self, request: &dyn Request) -> Vec<HeaderChange> {
        const SAID_BEHIND: [&str; 6] = [
            "access-control-allow-origin",
            "access-control-allow-credentials",
            "access-control-expose-headers",
            "access-control-allow-private-network",
            "timing-allow-origin",
            "x-permitted-cross-domain-policies",
        ];
        let mut changes: Vec<HeaderChange> = SAID_BEHIND.into_iter().map(HeaderChange::remove).collect();
        let anybody = self.origins.iter().any(|allowed| allowed == "*") && !self.credentials;
        if !anybody {
            changes.push(HeaderChange::vary("origin"));
        }
        let Some(origin) = request.header("origin").filter(|origin| self.allows(origin)) else { return changes };
        changes.push(HeaderChange::set("access-control-allow-origin", if anybody { "*" } else { origin }));
        if self.credentials {
            changes.push(HeaderChange::set("access-control-allow-credentials", "true"));
        }
        if !self.expose.is_empty() {
            changes.push(HeaderChange::set("access-control-expose-headers", &self.expose.join(", ")));
        }
        changes
    }
}

/// A preflight as the request that it asks about, for its route.
pub struct AsAsked<'a>(pub &'a dyn Request);

impl Request for AsAsked<'_> {
    fn method(&self) -> &str {
        self.0.header("access-control-request-method").unwrap_or("OPTIONS")
    }

    fn host(&self) -> &str {
        self.0.host()
    }

    fn path(&self) -> &str {
        self.0.path()
    }

    fn query(&self) -> &str {
        self.0.query()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.0.header(name)
    }

    fn cookie(&self, name: &str) -> Option<&str> {
        self.0.cookie(name)
    }
}
