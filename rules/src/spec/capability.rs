//! A capability's file: `[capability]`, `[cohort]`, and the sections that other modules read.

use std::collections::BTreeMap;

use super::document::CapabilityDocument;
use super::fields::Fields;
use super::shape::{Key, Kind, STRINGS, Section};
use super::source::Located;
use super::words::{is_name, is_token, suggest};
use super::{claims, events, gates, plugins, returns, routes, steps, strays, tables, tests};
use crate::mapping::TableMap;
use crate::plan::{Capability, Route, Unit};

pub(super) const FILE: Section = Section::new(
    "the file",
    &[
        Key::new("capability", Kind::Table(&CAPABILITY), "What is moved as one, and its two sides.").must(""),
        Key::new("plugins", Kind::Table(&plugins::PLUGINS), "For all routes of the file."),
        Key::new("route", Kind::Tables(&routes::ROUTE), "Requests that belong to it, and what serves them.").must(""),
        Key::new("cohort", Kind::Table(&COHORT), "Who stays together while reads move."),
        Key::new("step", Kind::Tables(&steps::STEP), "The way, step by step."),
        Key::new("claims", Kind::Table(&claims::CLAIMS), "What tokens for the new service say of a user, beside sub, username and role."),
        Key::new("gate", Kind::Table(&gates::GATE), "What every step is judged by."),
        Key::new("return", Kind::Table(&returns::RETURN), "What a failing gate leads to."),
        Key::new("cutover", Kind::Table(&strays::CUTOVER), "What a cutover leaves behind."),
        Key::new("table", Kind::Tables(&tables::TABLE), "A legacy table, and the modern one that is kept equal to it."),
        Key::new("event", Kind::Tables(&events::EVENT), "What other services are told of a table's changes."),
        Key::new("test", Kind::Tables(&tests::TEST), "What a request meets at some moment of the way; `ficus check` looks."),
    ],
);

const CAPABILITY: Section = Section::new(
    "[capability]",
    &[
        Key::new("name", Kind::Name, "A label of metrics.").must("\"users\""),
        Key::new("description", Kind::Text, "One line for people."),
        Key::new("legacy", Kind::Filled, "The upstream that serves it today.").must("\"monolith\""),
        Key::new("modern", Kind::Filled, "The upstream that will.").must("\"users-service\""),
        Key::new("depends_on", STRINGS, "Capabilities whose tables this one joins."),
        Key::new("ahead_of", STRINGS, "Capabilities that its foreign keys lead to, and before which it may move all the same."),
        Key::new("salt", Kind::Text, "Of the buckets; its name unless set."),
        Key::new("windows", Kind::Windows, WINDOWS),
    ],
);

/// What `windows` says, here and at a step.
pub(super) const WINDOWS: &str = "When it may begin: days, hours and a zone, like \"mon-thu 09:00-16:00 Europe/Berlin\".";

const COHORT: Section = Section::new(
    "[cohort]",
    &[Key::new("by", Kind::Set(&Kind::Like(UNIT)), "What identifies a caller, first that the request has.")
        .must("[\"user\", \"cookie:sessionid\", \"anonymous\"]")],
);

/// See [`unit`].
const UNIT: &str = "^(user|anonymous|(cookie|header):[A-Za-z0-9!#$%&'*+.^_`|~-]+)$";

/// The cookie by which Django knows a session.
const SESSION_COOKIE: &str = "sessionid";

/// Reads a file; `None` when it does not say which capability it is about.
pub(super) fn read(mut file: Fields<'_>) -> Option<CapabilityDocument> {
    if !file.has("capability") {
        file.error("the file has no section `[capability]`", "add it, with `name`, `legacy` and `modern`");
    }
    let section = file.table("capability");
    let route_sections = file.tables("route");
    let has_routes = !route_sections.is_empty();
    let routes = route_sections.into_iter().filter_map(routes::read).collect();
    let plugins = plugins::read(&mut file);
    let cohort = cohort(&mut file);
    let steps = file.tables("step").into_iter().filter_map(steps::read).collect();
    let claims = file.table("claims").map_or_else(BTreeMap::new, claims::read);
    let gates = gates::read(&mut file);
    let returns = returns::read(&mut file);
    let strays = strays::read(&mut file);
    let tables = file.tables("table").into_iter().filter_map(tables::read).collect();
    let events = file.tables("event").into_iter().filter_map(events::read).collect();
    let tests = file.tables("test").into_iter().filter_map(tests::read).collect();
    file.finish();

    let mut section = section?;
    let at = section.at.clone();
    let name = section.required("name").filter(|name| named_well(&section, name));
    let description = section.string("description").map_or_else(String::new, |text| text.value);
    let legacy = section.required("legacy");
    let modern = section.required("modern");
    let depends_on = section.strings("depends_on");
    let ahead_of = section.strings("ahead_of");
    let salt = section.string("salt").map(|text| text.value);
    let windows = section.windows();
    section.finish();
    Some(CapabilityDocument {
        at,
        name: name?,
        description,
        legacy,
        modern,
        depends_on,
        ahead_of,
        salt,
        routes,
        plugins,
        has_routes,
        cohort,
        claims,
        steps,
        gates: gates.gates,
        has_gates: gates.given,
        windows,
        returns,
        strays,
        leniency: gates.leniency,
        tables,
        events,
        tests,
    })
}

impl CapabilityDocument {
    /// What it stands for.
    pub(super) fn resolve(&self) -> Capability {
        let name = &self.name.value;
        let upstream = |side: &Option<Located<String>>| side.as_ref().map_or_else(String::new, |side| side.value.clone());
        Capability {
            source: self.at.source(),
            name: name.clone(),
            description: self.description.clone(),
            legacy: upstream(&self.legacy),
            modern: upstream(&self.modern),
            depends_on: self.depends_on.iter().map(|name| name.value.clone()).collect(),
            ahead_of: self.ahead_of.iter().map(|name| name.value.clone()).collect(),
            salt: self.salt.clone().unwrap_or_else(|| name.clone()),
            routes: self.resolved_routes(),
            cohort: self.cohort.clone(),
            claims: self.claims.clone(),
            steps: self.steps.iter().map(|step| step.value.clone()).collect(),
            gates: self.gates.clone(),
            windows: self.windows.clone(),
            returns: self.returns.clone(),
            strays: self.strays.0,
            tables: self.tables.iter().map(|table| self.with_events(&table.map)).collect(),
            leniency: self.leniency.clone(),
            tests: self.tests.iter().map(|test| test.value.clone()).collect(),
        }
    }

    /// A pair with the events that tell of its modern table.
    fn with_events(&self, pair: &TableMap) -> TableMap {
        let events = self.events.iter().filter(|event| event.map.table == pair.modern).map(|event| event.map.clone()).collect();
        TableMap { events, ..pair.clone() }
    }

    /// Its routes with their plugins. A limit of a route counts by its path, and by its place among those with that path.
    fn resolved_routes(&self) -> Vec<Route> {
        let name = &self.name.value;
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        let resolved = self.routes.iter().map(|document| {
            let path = document.route.path.as_str();
            let nth = seen.entry(path).and_modify(|nth| *nth += 1).or_insert(1);
            let scope = if *nth == 1 { format!("{name} {path}") } else { format!("{name} {path} {nth}") };
            let plugins = document.plugins.resolve(&self.plugins, name, &scope);
            Route { plugins, ..document.route.clone() }
        });
        resolved.collect()
    }
}

fn named_well(section: &Fields<'_>, name: &Located<String>) -> bool {
    if is_name(&name.value) {
        return true;
    }
    let hint = "lower-case letters, digits, `-` and `_`, beginning with a letter, at most 40";
    section.text.report.error(&name.at, format!("`{}` cannot name a capability", name.value), hint);
    false
}

fn cohort(file: &mut Fields<'_>) -> Vec<Unit> {
    let default = vec![Unit::User, Unit::Cookie(SESSION_COOKIE.to_owned()), Unit::Anonymous];
    let Some(mut section) = file.table("cohort") else { return default };
    section.require("by");
    let mut units: Vec<Unit> = Vec::new();
    let words = section.strings("by");
    if words.is_empty() && section.has("by") {
        section.error("`by` names nothing: nobody could be told from anybody", "leave `[cohort]` out for the default");
    }
    for word in words {
        let report = section.text.report;
        match unit(&word.value) {
            Some(unit) if units.contains(&unit) => report.error(&word.at, format!("`{}` stands in it twice", word.value), "remove one"),
            Some(unit) => units.push(unit),
            None => {
                let hint = suggest(&word.value, ["user", "anonymous", "cookie:NAME", "header:NAME"]);
                report.error(&word.at, format!("`{}` does not identify a caller", word.value), hint);
            }
        }
    }
    section.finish();
    if units.is_empty() { default } else { units }
}

fn unit(word: &str) -> Option<Unit> {
    match word.split_once(':') {
        None if word == "user" => Some(Unit::User),
        None if word == "anonymous" => Some(Unit::Anonymous),
        Some(("cookie", name)) if is_token(name) => Some(Unit::Cookie(name.to_owned())),
        Some(("header", name)) if is_token(name) => Some(Unit::Header(name.to_ascii_lowercase())),
        _ => None,
    }
}
