//! Plugins: what the gateway does to a request and its answer besides carrying it. Declared per capability and per route,
//! each perhaps gated by a flag; compiled once with the rules. Decides what is answered, refused and changed; does not
//! count, hash a password or write: the gateway does.
//!
//! One order for all routes, whatever the order of the file ([`Kind::ALL`]):
//!
//! 1. answered or refused here: `ip`, `maintenance`, `redirect`, `cors` (its preflights), `basic_auth`, `rate_limit`,
//!    `request_size`, `version` (one that is not served);
//! 2. changed on the way there: `version` (its header), `rewrite`, `request_headers`;
//! 3. changed on the way back: `response_headers`, `security_headers`, `cors`, `version` (deprecation), `compression`.
//!
//! What the gateway answers itself is changed on the way back too: a browser must be able to read a 429 of another origin.

mod access;
pub mod compression;
mod cors;
mod headers;
mod phase;
pub mod quota;
mod redirect;
mod rewrite;
mod security;
mod tell;
mod version;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::route::Request;

pub use access::{BasicAuth, Ip, Maintenance, PasswordHash, RequestSize, credentials};
pub use compression::Compression;
pub use cors::{AsAsked, Cors, is_preflight};
pub use headers::{HeaderChange, HeaderChanges, is_changeable};
pub use phase::Answered;
pub use quota::{By, Quota, RateLimit, WhenAway};
pub use redirect::Redirect;
pub use rewrite::{QueryChanges, Rewrite};
pub use security::{Hsts, SecurityHeaders};
pub use tell::{Told, tell};
pub use version::{Version, VersionFrom};

/// One kind of plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Addresses that are let in, or not.
    Ip,
    /// A page instead of an answer.
    Maintenance,
    /// Another address.
    Redirect,
    /// Pages of other origins.
    Cors,
    /// A name and a password.
    BasicAuth,
    /// So many requests in so much time.
    RateLimit,
    /// How large a body may be.
    RequestSize,
    /// Which version of an API is asked for.
    Version,
    /// Another path or query.
    Rewrite,
    /// Headers of the request.
    RequestHeaders,
    /// Headers of the answer.
    ResponseHeaders,
    /// Headers that make browsers careful.
    SecurityHeaders,
    /// Packed bodies.
    Compression,
}

impl Kind {
    /// All kinds, in the order in which they are met.
    pub const ALL: [Kind; 13] = [
        Kind::Ip,
        Kind::Maintenance,
        Kind::Redirect,
        Kind::Cors,
        Kind::BasicAuth,
        Kind::RateLimit,
        Kind::RequestSize,
        Kind::Version,
        Kind::Rewrite,
        Kind::RequestHeaders,
        Kind::ResponseHeaders,
        Kind::SecurityHeaders,
        Kind::Compression,
    ];

    /// Its name in rule files, metrics and `explain`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Ip => "ip",
            Kind::Maintenance => "maintenance",
            Kind::Redirect => "redirect",
            Kind::Cors => "cors",
            Kind::BasicAuth => "basic_auth",
            Kind::RateLimit => "rate_limit",
            Kind::RequestSize => "request_size",
            Kind::Version => "version",
            Kind::Rewrite => "rewrite",
            Kind::RequestHeaders => "request_headers",
            Kind::ResponseHeaders => "response_headers",
            Kind::SecurityHeaders => "security_headers",
            Kind::Compression => "compression",
        }
    }
}

/// A plugin with what all plugins have.
#[derive(Debug, Clone, PartialEq)]
pub struct Declared<T> {
    /// Where it stands: `users.toml:12`.
    pub source: String,
    /// It takes part only while this flag is on for the caller.
    pub flag: Option<String>,
    /// What it does.
    pub what: T,
}

/// The plugins of a route: its own, and of each other kind its capability's.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plugins {
    /// See [`Kind::Ip`]; so with all others.
    pub ip: Option<Arc<Declared<Ip>>>,
    /// A page instead of an answer.
    pub maintenance: Option<Arc<Declared<Maintenance>>>,
    /// Another address.
    pub redirect: Option<Arc<Declared<Redirect>>>,
    /// Pages of other origins.
    pub cors: Option<Arc<Declared<Cors>>>,
    /// A name and a password.
    pub basic_auth: Option<Arc<Declared<BasicAuth>>>,
    /// So many requests in so much time.
    pub rate_limit: Option<Arc<Declared<RateLimit>>>,
    /// How large a body may be.
    pub request_size: Option<Arc<Declared<RequestSize>>>,
    /// Which version of an API is asked for.
    pub version: Option<Arc<Declared<Version>>>,
    /// Another path or query.
    pub rewrite: Option<Arc<Declared<Rewrite>>>,
    /// Headers of the request.
    pub request_headers: Option<Arc<Declared<HeaderChanges>>>,
    /// Headers of the answer.
    pub response_headers: Option<Arc<Declared<HeaderChanges>>>,
    /// Headers that make browsers careful.
    pub security_headers: Option<Arc<Declared<SecurityHeaders>>>,
    /// Packed bodies.
    pub compression: Option<Arc<Declared<Compression>>>,
}

impl Plugins {
    /// Source and flag of each that is declared, in the order in which they are met.
    pub fn declared(&self) -> impl Iterator<Item = (Kind, &str, Option<&str>)> {
        fn of<T>(one: &Option<Arc<Declared<T>>>) -> Option<(&str, Option<&str>)> {
            one.as_ref().map(|one| (one.source.as_str(), one.flag.as_deref()))
        }
        Kind::ALL.into_iter().filter_map(move |kind| {
            let found = match kind {
                Kind::Ip => of(&self.ip),
                Kind::Maintenance => of(&self.maintenance),
                Kind::Redirect => of(&self.redirect),
                Kind::Cors => of(&self.cors),
                Kind::BasicAuth => of(&self.basic_auth),
                Kind::RateLimit => of(&self.rate_limit),
                Kind::RequestSize => of(&self.request_size),
                Kind::Version => of(&self.version),
                Kind::Rewrite => of(&self.rewrite),
                Kind::RequestHeaders => of(&self.request_headers),
                Kind::ResponseHeaders => of(&self.response_headers),
                Kind::SecurityHeaders => of(&self.security_headers),
                Kind::Compression => of(&self.compression),
            };
            found.map(|(source, flag)| (kind, source, flag))
        })
    }

    /// No plugin at all.
    pub fn is_empty(&self) -> bool {
        self.declared().next().is_none()
    }

    /// Whether they ask who calls: a flag may, and a limit that counts by user does.
    pub fn ask_for_caller(&self) -> bool {
        let counts = |limit: &Arc<Declared<RateLimit>>| limit.what.by.contains(&quota::By::User);
        self.rate_limit.as_ref().is_some_and(counts) || self.declared().any(|(.., flag)| flag.is_some())
    }

    /// Those whose flags let them take part. `is_on` is asked once for each flag that gates one.
    pub fn active(&self, is_on: impl FnMut(&str) -> bool) -> Active {
        let mut is_on = is_on;
        let mut known: BTreeMap<&str, bool> = BTreeMap::new();
        let mut mask = 0;
        for (kind, _, flag) in self.declared() {
            let takes_part = flag.is_none_or(|flag| *known.entry(flag).or_insert_with(|| is_on(flag)));
            mask |= u16::from(takes_part) << (kind as u16);
        }
        Active(mask)
    }
}

/// Which plugins take part in a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Active(u16);

impl Active {
    /// Whether one does.
    pub fn has(self, kind: Kind) -> bool {
        self.0 & (1 << (kind as u16)) != 0
    }

    /// The plugin, if it takes part.
    fn of<T>(self, kind: Kind, one: &Option<Arc<Declared<T>>>) -> Option<&T> {
        one.as_ref().filter(|_| self.has(kind)).map(|one| &one.what)
    }
}

/// What plugins look at.
pub struct Asking<'a> {
    /// The request.
    pub request: &'a dyn Request,
    /// What the path's names stood for.
    pub params: &'a BTreeMap<String, String>,
    /// The address that it comes from, past trusted proxies; unknown to `explain`.
    pub client: Option<IpAddr>,
    /// Whether the client used https, as far as that is known.
    pub https: bool,
}

/// What the gateway answers itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// One word for logs and metrics.
    pub reason: &'static str,
    /// A sentence for the client.
    pub detail: String,
    /// Headers beside the usual ones.
    pub headers: Vec<(&'static str, String)>,
    /// HTML instead of the usual page, for whoever reads HTML.
    pub page: Option<Arc<str>>,
}

impl Answer {
    fn new(status: u16, reason: &'static str, detail: impl Into<String>) -> Answer {
        Answer { status, reason, detail: detail.into(), ..Answer::default() }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Answer {
        self.headers.push((name, value.into()));
        self
    }
}

#[cfg(test)]
mod tests;
