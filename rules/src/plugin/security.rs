//! `security_headers`: headers that make browsers careful. What the server behind says itself wins unless the rules say
//! otherwise.

use std::time::Duration;

use super::headers::HeaderChange;

/// What an answer says to browsers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecurityHeaders {
    /// For how long browsers use https only (RFC 6797); said by https only.
    pub hsts: Option<Hsts>,
    /// Names and values of the others.
    pub headers: Vec<(&'static str, String)>,
    /// They win over what the server behind says.
    pub replace: bool,
}

/// `Strict-Transport-Security`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hsts {
    /// For how long.
    pub max_age: Duration,
    /// All names below too.
    pub subdomains: bool,
    /// The browsers' own lists may have it.
    pub preload: bool,
}

impl SecurityHeaders {
    pub(super) fn changes(&self, https: bool) -> Vec<HeaderChange> {
        let hsts = self.hsts.filter(|_| https).map(|hsts| ("strict-transport-security", hsts.value()));
        let all = hsts.into_iter().chain(self.headers.iter().cloned());
        let change = |(name, value): (&str, String)| match self.replace {
            true => HeaderChange::Set(name.to_owned(), value),
            false => HeaderChange::Default(name.to_owned(), value),
        };
        all.map(change).collect()
    }
}

impl Hsts {
    fn value(self) -> String {
        let subdomains = if self.subdomains { "; includeSubDomains" } else { "" };
        let preload = if self.preload { "; preload" } else { "" };
        format!("max-age={}{subdomains}{preload}", self.max_age.as_secs())
    }
}
