//! `[plugins.…]` of a file and `[route.plugins.…]` of a route. A route's own wins over the file's of its kind as a whole;
//! `false` turns the file's off.

mod access;
mod limits;
mod lint;
mod shape;

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::de::DeValue;

use super::fields::Fields;
use super::shape::{Key, Kind as Takes, Section};
use super::source::{Located, Place};
use crate::plugin::{Declared, Kind, Plugins};

pub(super) use lint::lint;

pub(super) const PLUGINS: Section = Section::new("[plugins]", &KEYS).shared("plugins");
pub(super) const OF_ROUTE: Section = Section::new("[route.plugins]", &KEYS).shared("plugins");

/// The key of a plugin: `false` turns the file's off.
const fn plugin(kind: Kind, takes: &'static [Takes; 2], about: &'static str) -> Key {
    Key::new(kind.as_str(), Takes::Either(takes), about)
}

/// One key for each of [`Kind`].
const KEYS: [Key; Kind::ALL.len()] = [
    plugin(Kind::Ip, &[Takes::Off, Takes::Table(&access::IP)], "Addresses that are let in, or not."),
    plugin(Kind::Maintenance, &[Takes::Off, Takes::Table(&access::MAINTENANCE)], "A page instead of an answer."),
    plugin(Kind::Redirect, &[Takes::Off, Takes::Table(&shape::REDIRECT)], "Another address."),
    plugin(Kind::Cors, &[Takes::Off, Takes::Table(&access::CORS)], "Which other origins' pages may read answers."),
    plugin(Kind::BasicAuth, &[Takes::Off, Takes::Table(&access::BASIC_AUTH)], "A name and a password."),
    plugin(Kind::RateLimit, &[Takes::Off, Takes::Table(&limits::RATE_LIMIT)], "So many requests in so much time."),
    plugin(Kind::RequestSize, &[Takes::Off, Takes::Table(&limits::REQUEST_SIZE)], "How large a body may be."),
    plugin(Kind::Version, &[Takes::Off, Takes::Table(&shape::VERSION)], "Which version of an API is asked for."),
    plugin(Kind::Rewrite, &[Takes::Off, Takes::Table(&shape::REWRITE)], "Another path or query for the server behind."),
    plugin(Kind::RequestHeaders, &[Takes::Off, Takes::Table(&shape::REQUEST_HEADERS)], "Headers of the request."),
    plugin(Kind::ResponseHeaders, &[Takes::Off, Takes::Table(&shape::RESPONSE_HEADERS)], "Headers of the answer."),
    plugin(Kind::SecurityHeaders, &[Takes::Off, Takes::Table(&shape::SECURITY_HEADERS)], "Headers that make browsers careful."),
    plugin(Kind::Compression, &[Takes::Off, Takes::Table(&shape::COMPRESSION)], "Packed bodies."),
];

/// What all plugins have.
const FLAG: Key = Key::new("flag", Takes::Text, "It takes part only while this flag is on for the caller.");

/// The plugins of a file or of a route.
#[derive(Debug, Default)]
pub(super) struct PluginsDocument {
    pub(super) plugins: Plugins,
    /// Those that a route does not want.
    off: Vec<Kind>,
    /// Where each stands.
    pub(super) places: BTreeMap<Kind, Place>,
    /// The flags that gate them.
    pub(super) flags: Vec<Located<String>>,
}

/// Reads the table `plugins` of a section, if it has one.
pub(super) fn read(section: &mut Fields<'_>) -> PluginsDocument {
    let mut read = PluginsDocument::default();
    let Some(mut table) = section.table("plugins") else { return read };
    let (own, all) = (&mut read, &mut table);
    own.plugins.ip = own.one(all, Kind::Ip, access::ip);
    own.plugins.maintenance = own.one(all, Kind::Maintenance, access::maintenance);
    own.plugins.redirect = own.one(all, Kind::Redirect, shape::redirect);
    own.plugins.cors = own.one(all, Kind::Cors, access::cors);
    own.plugins.basic_auth = own.one(all, Kind::BasicAuth, access::basic_auth);
    own.plugins.rate_limit = own.one(all, Kind::RateLimit, limits::rate_limit);
    own.plugins.request_size = own.one(all, Kind::RequestSize, limits::request_size);
    own.plugins.version = own.one(all, Kind::Version, shape::version);
    own.plugins.rewrite = own.one(all, Kind::Rewrite, shape::rewrite);
    own.plugins.request_headers = own.one(all, Kind::RequestHeaders, shape::headers);
    own.plugins.response_headers = own.one(all, Kind::ResponseHeaders, shape::headers);
    own.plugins.security_headers = own.one(all, Kind::SecurityHeaders, shape::security_headers);
    own.plugins.compression = own.one(all, Kind::Compression, shape::compression);
    table.finish();
    read
}

impl PluginsDocument {
    fn one<T>(&mut self, table: &mut Fields<'_>, kind: Kind, read: fn(&mut Fields<'_>) -> Option<T>) -> Option<Arc<Declared<T>>> {
        let item = table.item(kind.as_str())?;
        if let DeValue::Boolean(false) = item.get_ref() {
            self.off.push(kind);
            return None;
        }
        let mut section = table.as_table(kind.as_str(), table.inner(kind.as_str()), item)?;
        let at = section.at.clone();
        let flag = section.string("flag");
        let what = read(&mut section);
        section.finish();
        self.flags.extend(flag.clone());
        self.places.insert(kind, at.clone());
        Some(Arc::new(Declared { source: at.source(), flag: flag.map(|flag| flag.value), what: what? }))
    }

    /// A route's plugins: its own, and of each other kind the file's. `scope` names what a limit of the route counts.
    pub(super) fn resolve(&self, file: &PluginsDocument, capability: &str, scope: &str) -> Option<Arc<Plugins>> {
        fn inherit<T>(own: &PluginsDocument, kind: Kind, mine: &Option<Arc<T>>, theirs: &Option<Arc<T>>) -> Option<Arc<T>> {
            mine.clone().or_else(|| theirs.clone().filter(|_| !own.off.contains(&kind)))
        }
        let (own, theirs) = (&self.plugins, &file.plugins);
        let scoped = |limit: Arc<Declared<crate::plugin::RateLimit>>| {
            let scope = if own.rate_limit.is_some() { scope } else { capability };
            let mut limit = Arc::unwrap_or_clone(limit);
            scope.clone_into(&mut limit.what.scope);
            Arc::new(limit)
        };
        let plugins = Plugins {
            ip: inherit(self, Kind::Ip, &own.ip, &theirs.ip),
            maintenance: inherit(self, Kind::Maintenance, &own.maintenance, &theirs.maintenance),
            redirect: inherit(self, Kind::Redirect, &own.redirect, &theirs.redirect),
            cors: inherit(self, Kind::Cors, &own.cors, &theirs.cors),
            basic_auth: inherit(self, Kind::BasicAuth, &own.basic_auth, &theirs.basic_auth),
            rate_limit: inherit(self, Kind::RateLimit, &own.rate_limit, &theirs.rate_limit).map(scoped),
            request_size: inherit(self, Kind::RequestSize, &own.request_size, &theirs.request_size),
            version: inherit(self, Kind::Version, &own.version, &theirs.version),
            rewrite: inherit(self, Kind::Rewrite, &own.rewrite, &theirs.rewrite),
            request_headers: inherit(self, Kind::RequestHeaders, &own.request_headers, &theirs.request_headers),
            response_headers: inherit(self, Kind::ResponseHeaders, &own.response_headers, &theirs.response_headers),
            security_headers: inherit(self, Kind::SecurityHeaders, &own.security_headers, &theirs.security_headers),
            compression: inherit(self, Kind::Compression, &own.compression, &theirs.compression),
        };
        (!plugins.is_empty()).then(|| Arc::new(plugins))
    }
}
