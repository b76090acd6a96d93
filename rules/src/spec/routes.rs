//! `[[route]]`: one matcher, and what serves it. What two routes mean for each other is `reach`'s.

use std::collections::BTreeMap;

use super::document::RouteDocument;
use super::fields::{Fields, Item};
use super::plugins;
use super::shape::{Bond, If, Key, Kind, Literal, Names, Section, TOKEN};
use super::source::Located;
use super::traffic;
use super::words::{is_token, list, suggest};
use crate::Side;
use crate::decide::is_safe;
use crate::plan::{Condition, FALLBACK_STATUSES, Route};
use crate::require::Require;
use crate::route::Pattern;

/// Methods that the gateway forwards; CONNECT and TRACE it refuses.
pub(super) const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

pub(super) const ROUTE: Section = Section::new(
    "[[route]]",
    &[
        Key::new(
            "path",
            Kind::Like("^/"),
            "Literals, {name} for one segment, {*name} at the end for the rest; {name:expression} and {*name:expression} must match.",
        )
        .must("\"/api/v1/users/{*rest}\""),
        Key::new("host", Kind::Strings(&Kind::Filled), "Host names it is limited to, without port."),
        Key::new("methods", Kind::Strings(&Kind::Word(&METHODS)), "Methods it is limited to."),
        Key::new("headers", Kind::Table(&HEADERS), "Headers that must match."),
        Key::new("query", Kind::Table(&QUERY), "Query parameters that must match."),
        Key::new("modern_path", Kind::Like("^/[^?# ]*$"), "The path that the new service sees, with the names of `path` in braces."),
        Key::new("pin", Kind::Word(&SIDES), "Stays on this side, whatever the phase."),
        Key::new("writes_tables", Kind::Boolean, "Writes of a pinned route that touch the capability's tables.")
            .unset(Literal::Boolean(false)),
        Key::new("flag", Kind::Text, "A flag that must be on for modern to serve it, as long as legacy owns."),
        Key::new("csrf", Kind::Boolean, "Writes that modern answers need a CSRF token.").unset(Literal::Boolean(true)),
        Key::new("require", Kind::Table(&REQUIRE), "Who may use it: strangers get 401, users without the role 403."),
        Key::new("shadow", Kind::Boolean, "Reads may be mirrored and compared.").unset(Literal::Boolean(true)),
        Key::new(
            "dry_run",
            Kind::Boolean,
            "The new service carries writes out and takes them back where it is asked to: they may be mirrored too.",
        )
        .unset(Literal::Boolean(false)),
        Key::new("timeout", Kind::Duration, "How long an upstream may take to begin its answer, or pause within it."),
        Key::new("deadlines", Kind::Table(&traffic::DEADLINES), "How long an upstream may take, beside `timeout`."),
        Key::new("fallback", Kind::Boolean, "Reads that fail on modern are answered by legacy while it owns.")
            .unset(Literal::Boolean(true)),
        Key::new(
            "fallback_on",
            Kind::List(&Kind::Natural(400, Some(599))),
            "Answers of modern to reads that legacy gives instead, by status.",
        )
        .unset(Literal::Statuses(&FALLBACK_STATUSES)),
        Key::new("cache", Kind::Table(&traffic::CACHE), "Answers to GET are kept."),
        Key::new("plugins", Kind::Table(&plugins::OF_ROUTE), "For this route; of each kind, wins over the file's."),
    ],
)
.bound(&[
    Bond::Needs(If::Is("writes_tables", Literal::Boolean(true)), &[If::Given("pin")]),
    Bond::Apart(&["pin", "flag"]),
    Bond::Never(If::Is("pin", Literal::Text("legacy")), If::Given("modern_path")),
    Bond::Never(If::Is("pin", Literal::Text("legacy")), If::Given("fallback_on")),
    Bond::Never(If::Is("fallback", Literal::Boolean(false)), If::Given("fallback_on")),
]);

pub(super) const SIDES: [&str; 2] = [Side::Legacy.as_str(), Side::Modern.as_str()];

const HEADERS: Section = Section::map("headers = { x-name = \"value\" }", Names::Like(TOKEN), CONDITIONS);
const QUERY: Section = Section::map("query = { name = \"value\" }", Names::Any, CONDITIONS);
const CONDITIONS: Kind = Kind::Either(&[Kind::Text, Kind::Table(&CONDITION)]);

const CONDITION: Section = Section::new(
    "a condition",
    &[
        Key::new("prefix", Kind::Text, "It begins so."),
        Key::new("present", Kind::Boolean, "It is there, whatever it says; with `false`, it is not."),
        Key::new("absent", Kind::Boolean, "It is not there; with `false`, it is."),
    ],
)
.about("What a value must be.")
.bound(&[Bond::One(&["prefix", "present", "absent"])])
.shared("condition");

const REQUIRE: Section = Section::new(
    "require = { role = [\"teacher\"] }",
    &[
        Key::new("role", Kind::Several(&Kind::Like(r"\S")), "One of these roles."),
        Key::new("user", Kind::True, "Any user."),
        Key::new("log_in", Kind::Like("^/([^/]|$)"), "Where strangers that ask for a page are sent; the page goes along as `next`."),
    ],
)
.least(1);

pub(super) fn read(mut section: Fields<'_>) -> Option<RouteDocument> {
    let path = section.required("path");
    let pattern = path.as_ref().and_then(|path| pattern(&section, path));
    let hosts = section.strings("host").into_iter().filter_map(|host| host_name(&section, host)).collect();
    let methods: Vec<String> = section.strings("methods").into_iter().filter_map(|method| method_name(&section, method)).collect();
    let headers = section.table("headers").map_or_else(BTreeMap::new, headers);
    let query = section.table("query").map_or_else(BTreeMap::new, query);
    let modern_path = section.string("modern_path");
    let pin = section.string("pin").and_then(|pin| side(&section, "pin", &pin));
    let writes_tables = section.boolean("writes_tables").is_some_and(|flag| flag.value);
    let flag = section.string("flag");
    let csrf = section.boolean("csrf").is_none_or(|flag| flag.value);
    let require = section.table("require").and_then(require);
    let shadow = section.boolean("shadow");
    let dry_run = section.boolean("dry_run").filter(|flag| flag.value);
    let traffic = traffic::read(&mut section, &methods, pin == Some(Side::Legacy));
    let plugins = plugins::read(&mut section);

    let report = section.text.report;
    if let (Some(pattern), Some(modern_path)) = (&pattern, &modern_path) {
        check_modern_path(&section, pattern, modern_path);
    }
    if let (Some(Side::Legacy), Some(modern_path)) = (pin, &modern_path) {
        report.error(&modern_path.at, "a route that is pinned to legacy never takes its `modern_path`", "remove `modern_path`, or the pin");
    }
    if let (Some(_), Some(flag)) = (pin, &flag) {
        report.error(&flag.at, "a pinned route never looks at its flag", "remove `flag`, or the pin");
    }
    shadowing(&section, &methods, pin.is_some(), shadow.as_ref(), dry_run.as_ref());
    if writes_tables && pin.is_none() {
        section.error("`writes_tables` is only for pinned routes: all others follow the owner", "remove it, or add `pin`");
    }
    let at = section.at.clone();
    section.finish();
    let route = Route {
        source: at.source(),
        path: path?.value,
        hosts,
        methods,
        headers,
        query,
        modern_path: modern_path.map(|path| path.value),
        pin,
        writes_tables,
        flag: flag.as_ref().map(|flag| flag.value.clone()),
        csrf,
        require,
        fallback: traffic.fallback,
        shadow: shadow.is_none_or(|flag| flag.value),
        dry_run: dry_run.is_some(),
        fallback_on: traffic.fallback_on,
        timeout: traffic.timeout,
        deadlines: traffic.deadlines,
        cache: traffic.cache,
        plugins: None,
    };
    let [fallback_on, cache] = traffic.places;
    Some(RouteDocument { at, pattern: pattern?, flag, route, plugins, fallback_on, cache })
}

/// What is asked for, and can never be.
fn shadowing(section: &Fields<'_>, methods: &[String], pinned: bool, shadow: Option<&Located<bool>>, dry_run: Option<&Located<bool>>) {
    let report = section.text.report;
    let (mut reads, mut writes) = (methods.is_empty(), methods.is_empty());
    for method in methods {
        reads |= is_safe(method);
        writes |= !is_safe(method);
    }
    if let Some(shadow) = shadow.filter(|flag| flag.value && !reads && dry_run.is_none()) {
        let hint = "write `dry_run = true` once the new service carries such writes out and takes them back, or remove `shadow`";
        report.error(&shadow.at, "a write that is made twice is made twice: none of this route may be shadowed", hint);
    }
    let Some(dry_run) = dry_run else { return };
    if !writes {
        report.error(&dry_run.at, "a route of reads alone has nothing to rehearse", "remove `dry_run`");
    }
    if pinned {
        report.error(&dry_run.at, "nothing of a pinned route is shadowed", "remove `dry_run`, or the pin");
    }
    if shadow.is_some_and(|flag| !flag.value) {
        report.error(&dry_run.at, "`dry_run` beside `shadow = false`", "remove one of them");
    }
}

/// `require`: roles, or any user.
fn require(mut section: Fields<'_>) -> Option<Require> {
    let report = section.text.report;
    let named = section.has("role");
    let roles = section.strings("role");
    let user = section.boolean("user");
    let log_in = section.string("log_in");
    if named && roles.is_empty() {
        section.error("`role` names none: nobody could use the route", "name roles, or write `user = true` for every user");
    }
    for role in roles.iter().filter(|role| role.value.trim().is_empty()) {
        report.error(&role.at, "a role without a name is nobody's", "write it as `role_column` or `roles` of ficus.toml give it");
    }
    if let Some(user) = user.as_ref().filter(|user| !user.value) {
        report.error(&user.at, "`user = false` requires nothing", "leave `require` out");
    }
    if !named && user.is_none() && log_in.is_none() {
        section.error("`require` asks for nothing", "write `role = [\"teacher\"]`, or `user = true` for every user");
    }
    if let Some(log_in) = log_in.as_ref().filter(|path| !path.value.starts_with('/') || path.value.starts_with("//")) {
        report.error(&log_in.at, format!("`{}` is not a path of this site", log_in.value), "write it like \"/accounts/login/\"");
    }
    section.finish();
    Some(Require { roles: roles.into_iter().map(|role| role.value).collect(), log_in: log_in.map(|path| path.value) })
}

/// Reads `legacy` or `modern`.
pub(super) fn side(section: &Fields<'_>, key: &str, word: &Located<String>) -> Option<Side> {
    let side = Side::BOTH.into_iter().find(|side| side.as_str() == word.value);
    if side.is_none() {
        let hint = suggest(&word.value, SIDES);
        section.text.report.error(&word.at, format!("`{key}` is \"{}\", not a side", word.value), hint);
    }
    side
}

/// Reads a method; also those of `[[test]]`s.
pub(super) fn method_name(section: &Fields<'_>, method: Located<String>) -> Option<String> {
    if METHODS.contains(&method.value.as_str()) {
        return Some(method.value);
    }
    section.text.report.error(&method.at, format!("`{}` is not a method that is forwarded", method.value), suggest(&method.value, METHODS));
    None
}

fn pattern(section: &Fields<'_>, path: &Located<String>) -> Option<Pattern> {
    match Pattern::parse(&path.value) {
        Ok(pattern) => Some(pattern),
        Err(why) => {
            let hint = "literals, `{name}` for one segment, `{*name}` at the end for the rest: \"/api/v1/users/{*rest}\"";
            section.text.report.error(&path.at, format!("`{}` is not a path pattern: {why}", path.value), hint);
            None
        }
    }
}

fn host_name(section: &Fields<'_>, host: Located<String>) -> Option<String> {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let address = host.value.starts_with('[') && host.value.ends_with(']');
    if !host.value.is_empty() && (address || host.value.bytes().all(fine)) {
        return Some(host.value.to_ascii_lowercase());
    }
    let hint = "only the name, without scheme, port or wildcard, like \"school.example.test\"";
    section.text.report.error(&host.at, format!("`{}` is not a host name", host.value), hint);
    None
}

/// Header names are read without regard to case; one that comes twice in two spellings is an error.
fn headers(section: Fields<'_>) -> BTreeMap<String, Condition> {
    let mut headers = BTreeMap::new();
    for (name, item) in section.entries() {
        let report = section.text.report;
        if !is_token(name.value) {
            report.error(&name.at, format!("`{}` is not a header's name", name.value), "letters, digits and `-`, like `x-tenant`");
            continue;
        }
        let Some(condition) = condition(&section, name.value, item) else { continue };
        if headers.insert(name.value.to_ascii_lowercase(), condition).is_some() {
            report.error(&name.at, format!("the header `{}` stands in it twice", name.value), "their case makes no difference: remove one");
        }
    }
    headers
}

fn query(section: Fields<'_>) -> BTreeMap<String, Condition> {
    let conditions =
        section.entries().into_iter().filter_map(|(name, item)| Some((name.value.to_owned(), condition(&section, name.value, item)?)));
    conditions.collect()
}

fn condition(section: &Fields<'_>, name: &str, item: &Item<'_>) -> Option<Condition> {
    if let Some(value) = item.get_ref().as_str() {
        return Some(Condition::Equals(value.to_owned()));
    }
    let forms = "a condition: \"value\", { prefix = \"v\" }, { present = true } or { absent = true }";
    let toml::de::DeValue::Table(table) = item.get_ref() else {
        section.wrong(name, item, forms, "write it in quotes, or as one of these tables");
        return None;
    };
    let at = section.place(item);
    let mut inner = Fields::new(section.text, section.named(), at.clone(), table);
    let prefix = inner.string("prefix").map(|prefix| Condition::Prefix(prefix.value));
    let present = inner.boolean("present").map(|present| if present.value { Condition::Present } else { Condition::Absent });
    let absent = inner.boolean("absent").map(|absent| if absent.value { Condition::Absent } else { Condition::Present });
    let keys = ["prefix", "present", "absent"].iter().filter(|key| inner.has(key)).count();
    inner.finish();
    if keys > 1 {
        section.text.report.error(&at, format!("`{name}` has more than one condition"), "give one of `prefix`, `present`, `absent`");
        return None;
    }
    if keys == 0 && table.is_empty() {
        section.text.report.error(&at, format!("`{name}` has no condition"), forms);
    }
    prefix.or(present).or(absent)
}

fn check_modern_path(section: &Fields<'_>, pattern: &Pattern, modern_path: &Located<String>) {
    let report = section.text.report;
    let names: Vec<&str> = pattern.names().collect();
    if !modern_path.value.starts_with('/') {
        report.error(&modern_path.at, format!("`{}` does not begin with `/`", modern_path.value), "write it like \"/users/{rest}\"");
    }
    if modern_path.value.contains(['?', '#', ' ']) {
        report.error(&modern_path.at, "a `modern_path` is a path alone", "the query goes along by itself");
    }
    let Some(used) = braced(&modern_path.value) else {
        report.error(&modern_path.at, format!("the braces of `{}` do not match", modern_path.value), "write names like `{rest}`");
        return;
    };
    for name in used.iter().filter(|name| !names.contains(name)) {
        let hint = if names.is_empty() { "the path has no names in braces".to_owned() } else { suggest(name, names.iter().copied()) };
        report.error(&modern_path.at, format!("the path does not have `{{{name}}}`"), hint);
    }
    let lost: Vec<&str> = names.iter().copied().filter(|name| !used.contains(name)).collect();
    if !lost.is_empty() {
        let message = format!("modern never sees {} of the path", list(&lost));
        report.warn(&modern_path.at, message, "paths that differ in it become one on modern");
    }
}

/// The names in braces, without the star.
pub(super) fn braced(text: &str) -> Option<Vec<&str>> {
    let mut names = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, tail) = after.split_once('}')?;
        if before.contains('}') || name.contains('{') {
            return None;
        }
        names.push(name.trim_start_matches('*'));
        rest = tail;
    }
    (!rest.contains('}')).then_some(names)
}
