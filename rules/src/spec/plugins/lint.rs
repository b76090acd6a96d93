//! Plugins against the route that they stand at: names of its path that they use, and what contradicts it.

use super::super::Known;
use super::super::document::{CapabilityDocument, Documents, RouteDocument};
use super::super::routes::braced;
use super::super::source::{Place, Report};
use super::super::words::suggest;
use super::PluginsDocument;
use crate::Side;
use crate::plugin::{Kind, Plugins, VersionFrom};

pub(in super::super) fn lint(documents: &Documents, known: &Known, report: &Report) {
    for capability in &documents.capabilities {
        let all = std::iter::once(&capability.plugins).chain(capability.routes.iter().map(|route| &route.plugins));
        let shared = |plugins: &&PluginsDocument| plugins.plugins.rate_limit.as_ref().is_some_and(|limit| limit.what.shared.is_some());
        for at in all.filter(shared).filter_map(|plugins| plugins.places.get(&Kind::RateLimit)) {
            if known.counts_together == Some(false) {
                let message = "there is no Redis to count in together: every gateway does as `when_away` says";
                report.warn(at, message, "name one in `[gateway.redis]` of ficus.toml");
            }
        }
        for route in &capability.routes {
            if let Some(plugins) = route.plugins.resolve(&capability.plugins, "", "") {
                names(&plugins, route, capability, report);
            }
        }
    }
}

fn names(plugins: &Plugins, route: &RouteDocument, capability: &CapabilityDocument, report: &Report) {
    let known: Vec<&str> = route.pattern.names().collect();
    let has = |at: &Place, pattern: &str| {
        let Some(used) = braced(pattern) else {
            report.error(at, format!("the braces of `{pattern}` do not match"), "write names like `{rest}`");
            return;
        };
        for name in used.iter().filter(|name| !known.contains(name)) {
            let hint = if known.is_empty() { "the path has no names in braces".to_owned() } else { suggest(name, known.iter().copied()) };
            report.error(at, format!("the path `{}` does not have `{{{name}}}`", route.route.path), hint);
        }
    };
    let place = |kind: Kind| place(kind, &route.plugins, &capability.plugins);
    if let (Some(to), Some(at)) = (plugins.redirect.as_ref().and_then(|redirect| redirect.what.to.as_deref()), place(Kind::Redirect)) {
        has(at, to);
        if to == route.route.path {
            report.error(at, "it leads to itself", "name another address");
        }
    }
    let rewrite = plugins.rewrite.as_ref().and_then(|rewrite| Some((&rewrite.what, rewrite.what.path.as_ref()?)));
    if let (Some((rewrite, path)), Some(at)) = (rewrite, place(Kind::Rewrite)) {
        has(at, path);
        if route.route.modern_path.is_some() && rewrite.side != Some(Side::Legacy) {
            let hint = "write side = \"legacy\", or remove one of them";
            report.error(at, "the route's `modern_path` says already what modern sees", hint);
        }
    }
    if let (Some(version), Some(at)) = (&plugins.version, place(Kind::Version)) {
        for from in &version.what.from {
            if let VersionFrom::Path(name) = from {
                has(at, &format!("{{{name}}}"));
            }
        }
    }
}

fn place<'a>(kind: Kind, own: &'a PluginsDocument, file: &'a PluginsDocument) -> Option<&'a Place> {
    own.places.get(&kind).or_else(|| file.places.get(&kind))
}
