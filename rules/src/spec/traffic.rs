//! What a route says about how its requests travel: deadlines, which answers of modern legacy gives instead, what is kept
//! of answers. Refuses what could not be kept: a write is neither sent twice nor answered from memory.

use std::time::Duration;

use toml::de::DeValue;

use super::document::{CapabilityDocument, RouteDocument};
use super::fields::{Fields, integer};
use super::shape::{Key, Kind, Section};
use super::source::{Located, Place, Report};
use crate::decide::is_safe;
use crate::plan::{Caching, Deadlines, FALLBACK_STATUSES, KEPT_BODY};

/// What a time of nothing does to requests.
const FAILS: &str = "fails every request";

pub(super) const DEADLINES: Section = Section::new(
    "deadlines = { first_byte = \"20s\", total = \"15m\" }",
    &[
        Key::new("connect", Kind::Duration, "To accept the connection."),
        Key::new("first_byte", Kind::Duration, "From the last of the request to the first of the answer."),
        Key::new("idle", Kind::Duration, "Without anything that moves, once the answer has begun."),
        Key::new("total", Kind::Duration, "For everything."),
    ],
);

pub(super) const CACHE: Section = Section::new(
    "cache = { at_most = \"5m\" }",
    &[
        Key::new("at_most", Kind::Duration, "Never longer, whatever they say.").must("\"5m\""),
        Key::new("by_default", Kind::Duration, "For so long where they say nothing; without it, then not at all."),
    ],
);

/// What was read.
pub(super) struct Traffic {
    pub(super) timeout: Option<Duration>,
    pub(super) deadlines: Deadlines,
    pub(super) fallback: bool,
    pub(super) fallback_on: Vec<u16>,
    pub(super) cache: Option<Caching>,
    /// Where `fallback_on` and `cache` stand.
    pub(super) places: [Option<Place>; 2],
}

/// Reads these keys of a route that is limited to `methods` (none: any), and to legacy by a pin or not.
pub(super) fn read(section: &mut Fields<'_>, methods: &[String], pinned_to_legacy: bool) -> Traffic {
    let timeout = nonzero(section, "timeout", FAILS, "leave it out for the gateway's default");
    let deadlines = section.table("deadlines");
    let deadlines = deadlines.map_or_else(Deadlines::default, |table| read_deadlines(table, timeout.as_ref()));
    let fallback = section.boolean("fallback").is_none_or(|flag| flag.value);
    let at = section.at.clone();
    let on = section.item("fallback_on").map(|item| (section.place(item), item.get_ref()));
    let fallback_at = on.as_ref().map(|(at, _)| at.clone());
    let fallback_on = on.map(|(at, value)| {
        let report = section.text.report;
        let statuses = match value {
            DeValue::Array(items) => items.iter().map(|item| integer(item.get_ref())).collect::<Option<Vec<_>>>(),
            _ => None,
        };
        let status = |number: i64| u16::try_from(number).ok().filter(|status| (400..=599).contains(status));
        let statuses: Option<Vec<u16>> = statuses.and_then(|numbers| numbers.into_iter().map(status).collect());
        if statuses.as_ref().is_none_or(Vec::is_empty) {
            report.error(&at, "`fallback_on` is not a list of statuses", "write it like [404, 500, 502, 503, 504]: from 400 to 599");
        }
        if !fallback {
            report.error(&at, "`fallback_on` beside `fallback = false`", "remove one of them");
        }
        if pinned_to_legacy {
            report.error(&at, "a route that is pinned to legacy never falls back", "remove `fallback_on`, or the pin");
        }
        if !methods.is_empty() && !methods.iter().any(|method| is_safe(method)) {
            let hint = "remove it: a write that modern was sent may have been carried out, and its caller must be told";
            report.error(&at, "a write is never sent to legacy after modern had it", hint);
        }
        statuses.unwrap_or_default()
    });
    let table = section.table("cache");
    let cache_at = table.as_ref().map(|table| table.at.clone());
    let cache = table.and_then(read_cache);
    if cache.is_some() && !methods.is_empty() && !methods.iter().any(|method| method == "GET") {
        section.text.report.error(&at, "only answers to GET are kept", "remove `cache`, or let the route have GET");
    }
    Traffic {
        timeout: timeout.map(|timeout| timeout.value),
        deadlines,
        fallback,
        fallback_on: fallback_on.unwrap_or_else(|| FALLBACK_STATUSES.to_vec()),
        cache,
        places: [fallback_at, cache_at],
    }
}

/// What the rest of a file makes of these keys.
pub(super) fn lint(capability: &CapabilityDocument, report: &Report) {
    for route in &capability.routes {
        falls_back(route, capability, report);
        if let Some(at) = route.cache.as_ref().filter(|_| capability.tables.is_empty()) {
            let message = "without tables nobody tells the other gateways of a change: their answers may be stale until `at_most` is over";
            report.warn(at, message, "keep `at_most` as short as a stale answer may be, or run one gateway");
        }
    }
}

/// A body that is no longer known cannot be sent to legacy.
fn falls_back(route: &RouteDocument, capability: &CapabilityDocument, report: &Report) {
    let Some(at) = &route.fallback_on else { return };
    let plugins = route.plugins.resolve(&capability.plugins, "", "");
    let Some(size) = plugins.as_ref().and_then(|plugins| plugins.request_size.as_ref()).filter(|size| size.what.max > KEPT_BODY) else {
        return;
    };
    let message = format!("`request_size` ({}) lets in bodies with which nothing falls back: those of more than 64 KiB", size.source);
    let methods = &route.route.methods;
    if !methods.is_empty() && methods.iter().all(|method| is_safe(method)) {
        report.error(at, message, "let `max` be \"64KiB\" at most, or remove `fallback_on`");
    } else {
        report.warn(at, message, "such reads get modern's answer as it is; write a route for reads and one for writes to say it apart");
    }
}

fn read_deadlines(mut table: Fields<'_>, timeout: Option<&Located<Duration>>) -> Deadlines {
    let mut one = |key| nonzero(&mut table, key, FAILS, "leave it out if there is none");
    let (connect, first_byte, idle, total) = (one("connect"), one("first_byte"), one("idle"), one("total"));
    let report = table.text.report;
    if let (Some(timeout), Some(_), Some(_)) = (timeout, &first_byte, &idle) {
        report.error(&timeout.at, "`timeout` says nothing beside both `first_byte` and `idle`", "remove it");
    }
    if let (Some(total), Some(first)) = (&total, &first_byte)
        && total.value < first.value
    {
        report.error(&first.at, "`first_byte` is longer than `total`", "nobody would wait for it: make it shorter, or `total` longer");
    }
    table.finish();
    let value = |read: Option<Located<Duration>>| read.map(|read| read.value);
    Deadlines { connect: value(connect), first_byte: value(first_byte), idle: value(idle), total: value(total) }
}

fn read_cache(mut table: Fields<'_>) -> Option<Caching> {
    table.require("at_most");
    let at_most = nonzero(&mut table, "at_most", "keeps nothing", "remove `cache` if nothing is to be kept");
    let by_default = nonzero(&mut table, "by_default", "keeps nothing", "leave it out: then only answers are kept that say for how long");
    if let (Some(most), Some(default)) = (&at_most, &by_default)
        && default.value > most.value
    {
        table.text.report.error(&default.at, "`by_default` is longer than `at_most`", "make it shorter");
    }
    table.finish();
    Some(Caching { at_most: at_most?.value, by_default: by_default.map(|by_default| by_default.value) })
}

fn nonzero(section: &mut Fields<'_>, key: &'static str, why: &str, hint: &str) -> Option<Located<Duration>> {
    let read = section.duration(key)?;
    if read.value.is_zero() {
        section.text.report.error(&read.at, format!("a `{key}` of nothing {why}"), hint);
    }
    Some(read)
}
