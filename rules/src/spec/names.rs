//! Names over all files: unknown, given twice, in a circle. And what every capability should have.

use std::collections::BTreeMap;

use super::document::{CapabilityDocument, Documents};
use super::source::{Located, Report};
use super::words::suggest;
use super::{FLAGS_FILE, Known};

pub(super) fn lint(documents: &Documents, known: &Known, report: &Report) {
    let mut named: BTreeMap<&str, &CapabilityDocument> = BTreeMap::new();
    for capability in &documents.capabilities {
        match named.get(capability.name.value.as_str()) {
            Some(first) => {
                let message = format!("the capability `{}` is named twice: also at {}", capability.name.value, first.name.at.source());
                report.error(&capability.name.at, message, "one file for each capability: rename one, or merge them");
            }
            None => {
                named.insert(&capability.name.value, capability);
            }
        }
        upstreams(capability, known, report);
        flags(capability, documents, report);
        completeness(capability, report);
        answered(capability, known, report);
    }
    for capability in &documents.capabilities {
        dependencies(capability, &named, documents, report);
    }
    for capability in named.values() {
        circles(capability, &named, report);
    }
}

fn upstreams(capability: &CapabilityDocument, known: &Known, report: &Report) {
    let sides = [("legacy", &capability.legacy), ("modern", &capability.modern)];
    for (key, name) in sides.into_iter().filter_map(|(key, name)| Some((key, name.as_ref()?))) {
        if !known.upstreams.is_empty() && !known.upstreams.contains(&name.value) {
            let message = format!("`{key}` names `{}`, which is not an upstream of ficus.toml", name.value);
            report.error(&name.at, message, suggest(&name.value, known.upstreams.iter().map(String::as_str)));
        }
    }
    if let (Some(legacy), Some(modern)) = (&capability.legacy, &capability.modern)
        && legacy.value == modern.value
    {
        let message = format!("legacy and modern are the same upstream, `{}`", modern.value);
        report.error(&modern.at, message, "name the new service");
    }
}

fn flags(capability: &CapabilityDocument, documents: &Documents, report: &Report) {
    if documents.flags_unreadable {
        return;
    }
    let of_routes = capability.routes.iter().flat_map(|route| route.flag.iter().chain(&route.plugins.flags));
    for flag in of_routes.chain(&capability.plugins.flags) {
        let found = documents.flags.iter().find(|known| known.flag.name == flag.value);
        if found.is_some_and(|found| !found.flag.is_switch()) {
            let message = format!("the flag `{}` is not on or off: it cannot gate anything", flag.value);
            report.error(&flag.at, message, "name one without `variants`");
        }
        if found.is_none() {
            let hint = suggest(&flag.value, documents.flags.iter().map(|known| known.flag.name.as_str()));
            let hint = if hint.is_empty() { format!("there are no flags: add `[flag.{}]` to {FLAGS_FILE}", flag.value) } else { hint };
            report.error(&flag.at, format!("there is no flag `{}` in {FLAGS_FILE}", flag.value), hint);
        }
    }
}

/// A route that says just such a path is a mistake; one that takes it among others is not.
fn answered(capability: &CapabilityDocument, known: &Known, report: &Report) {
    for route in capability.routes.iter().filter(|route| known.answered.contains(&route.route.path)) {
        let message = format!("no request reaches this route: the gateway answers `{}` itself", route.route.path);
        report.error(&route.at, message, "remove it, or name another path in `[gateway]` of ficus.toml");
    }
}

fn completeness(capability: &CapabilityDocument, report: &Report) {
    let name = &capability.name.value;
    if !capability.has_routes {
        report.error(&capability.at, format!("`{name}` has no route"), "add a `[[route]]` with a `path`");
    }
    if capability.tests.is_empty() {
        report.warn(&capability.at, format!("`{name}` has no tests"), "add `[[test]]` sections: `ficus check` runs them");
    }
    if !capability.has_gates && !capability.steps.is_empty() {
        let message = format!("`{name}` has no gates: only lag and drift are judged, by their defaults");
        report.warn(&capability.at, message, "add `[gate.errors]`, `[gate.shadow]`, …");
    }
}

fn dependencies(capability: &CapabilityDocument, named: &BTreeMap<&str, &CapabilityDocument>, documents: &Documents, report: &Report) {
    let own = &capability.name.value;
    for other in &capability.ahead_of {
        if capability.depends_on.iter().any(|earlier| earlier.value == other.value) {
            let message = format!("`{own}` is to move after `{0}` (`depends_on`) and ahead of it", other.value);
            report.error(&other.at, message, "remove it from one of the two");
        }
    }
    for other in capability.depends_on.iter().chain(&capability.ahead_of) {
        if other.value == *own {
            report.error(&other.at, format!("`{own}` depends on itself"), "remove it");
        } else if !named.contains_key(other.value.as_str()) && !documents.unreadable.contains(&other.value) {
            let hint = suggest(&other.value, named.keys().copied().filter(|name| name != own));
            let hint = if hint.is_empty() { "add a file for it, or remove it here".to_owned() } else { hint };
            report.error(&other.at, format!("there is no capability `{}`", other.value), hint);
        }
    }
}

/// Reports each circle once, at the capability of it that comes first by name.
fn circles(start: &CapabilityDocument, named: &BTreeMap<&str, &CapabilityDocument>, report: &Report) {
    let mut way = vec![start.name.value.as_str()];
    if let Some(edge) = start.depends_on.iter().find(|edge| edge.value != start.name.value && leads_back(edge, &mut way, named)) {
        let message = format!("the capabilities depend on each other: {}", way.join(" → "));
        report.error(&edge.at, message, "retiring would wait forever: remove one `depends_on`");
    }
}

fn leads_back<'a>(edge: &'a Located<String>, way: &mut Vec<&'a str>, named: &BTreeMap<&str, &'a CapabilityDocument>) -> bool {
    if edge.value == way[0] {
        way.push(&edge.value);
        return true;
    }
    let Some(next) =
        named.get(edge.value.as_str()).filter(|next| next.name.value.as_str() > way[0] && !way.contains(&next.name.value.as_str()))
    else {
        return false;
    };
    way.push(&next.name.value);
    let found = next.depends_on.iter().any(|edge| leads_back(edge, way, named));
    if !found {
        way.pop();
    }
    found
}
