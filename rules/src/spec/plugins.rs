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
use super::source::{Located, Place};
use crate::plugin::{Declared, Kind, Plugins};

pub(super) use lint::lint;

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
pub(super) fn read(section: &mut Fields<'_>, what: &'static str) -> PluginsDocument {
    let mut read = PluginsDocument::default();
    let Some(mut table) = section.table("plugins", what) else { return read };
    let (own, all) = (&mut read, &mut table);
    own.plugins.ip = own.one(all, Kind::Ip, "a plugin `ip`", access::ip);
    own.plugins.maintenance = own.one(all, Kind::Maintenance, "a plugin `maintenance`", access::maintenance);
    own.plugins.redirect = own.one(all, Kind::Redirect, "a plugin `redirect`", shape::redirect);
    own.plugins.cors = own.one(all, Kind::Cors, "a plugin `cors`", access::cors);
    own.plugins.basic_auth = own.one(all, Kind::BasicAuth, "a plugin `basic_auth`", access::basic_auth);
    own.plugins.rate_limit = own.one(all, Kind::RateLimit, "a plugin `rate_limit`", limits::rate_limit);
    own.plugins.request_size = own.one(all, Kind::RequestSize, "a plugin `request_size`", limits::request_size);
    own.plugins.version = own.one(all, Kind::Version, "a plugin `version`", shape::version);
    own.plugins.rewrite = own.one(all, Kind::Rewrite, "a plugin `rewrite`", shape::rewrite);
    own.plugins.request_headers = own.one(all, Kind::RequestHeaders, "a plugin `request_headers`", shape::headers);
    own.plugins.response_headers = own.one(all, Kind::ResponseHeaders, "a plugin `response_headers`", shape::headers);
    own.plugins.security_headers = own.one(all, Kind::SecurityHeaders, "a plugin `security_headers`", shape::security_headers);
    own.plugins.compression = own.one(all, Kind::Compression, "a plugin `compression`", shape::compression);
    table.finish();
    read
}

impl PluginsDocument {
    fn one<T>(
        &mut self,
        table: &mut Fields<'_>,
        kind: Kind,
        what: &'static str,
        read: fn(&mut Fields<'_>) -> Option<T>,
    ) -> Option<Arc<Declared<T>>> {
        let item = table.item(kind.as_str())?;
        if let DeValue::Boolean(false) = item.get_ref() {
            self.off.push(kind);
            return None;
        }
        let mut section = table.as_table(kind.as_str(), what, item)?;
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
