//! `[gate.NAME]` with `promql` or `webhook`: gates of the operator's own.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{DRY_RUN, FAILURES, WINDOW, WINDOWS, patient};
use crate::gate::{CustomGate, Patience, Question};
use crate::spec::fields::Fields;
use crate::spec::shape::{Bond, If, Key, Kind, Literal, Section};
use crate::spec::words::is_name;

/// How often it is asked, unless it says otherwise.
const EVERY: Duration = Duration::from_secs(30);
/// How long an answer may take, unless it says otherwise.
const DEADLINE: Duration = Duration::from_secs(5);
/// A name that status and journal give to something else.
const RESERVED: &str = "reverse";

pub(super) const GATE: Section = Section::new(
    "[gate.NAME]",
    &[
        Key::new("promql", Kind::Text, "A query to Prometheus that gives one number."),
        Key::new("webhook", Kind::Like("^https?://"), "An address that is told of the capability, and answers with a verdict."),
        Key::new("min", Kind::Number, "The number is at least this."),
        Key::new("max", Kind::Number, "The number is at most this."),
        Key::new("every", Kind::Duration, "How often it is asked.").unset(Literal::Duration(EVERY)),
        Key::new("deadline", Kind::Duration, "An answer that takes longer is none.").unset(Literal::Duration(DEADLINE)),
        FAILURES,
        WINDOWS,
        WINDOW,
        DRY_RUN,
    ],
)
.about("A gate of your own.")
.bound(&[
    Bond::One(&["promql", "webhook"]),
    Bond::Needs(If::Given("promql"), &[If::Given("min"), If::Given("max")]),
    Bond::Apart(&["webhook", "min"]),
    Bond::Apart(&["webhook", "max"]),
]);

pub(super) fn read(section: &mut Fields<'_>, patience: &mut BTreeMap<String, Patience>) -> BTreeMap<String, CustomGate> {
    let mut gates = BTreeMap::new();
    for (name, fields) in section.named_tables(&["promql", "webhook"]) {
        if !is_name(name.value) || name.value == RESERVED {
            let hint = "lower-case letters, digits, `-` and `_`, beginning with a letter, at most 40, and not `reverse`";
            fields.text.report.error(&name.at, format!("`{}` cannot name a gate", name.value), hint);
        }
        if let Some((gate, read)) = gate(fields) {
            gates.insert(name.value.to_owned(), gate);
            patience.extend(read.map(|read| (name.value.to_owned(), read)));
        }
    }
    gates
}

fn gate(mut section: Fields<'_>) -> Option<(CustomGate, Option<Patience>)> {
    let (query, url) = (section.string("promql"), section.string("webhook"));
    let (min, max) = (section.number("min"), section.number("max"));
    let every = section.duration("every").map_or(EVERY, |every| every.value);
    let deadline = section.duration("deadline").map_or(DEADLINE, |deadline| deadline.value);
    let read = patient(&mut section, true);
    let report = section.text.report;
    if every.is_zero() || deadline.is_zero() {
        section.error("`every` and `deadline` are longer than nothing", "write them like `every = \"30s\"`");
    }
    let question = match (query, url) {
        (Some(query), None) => {
            if min.is_none() && max.is_none() {
                report.error(&query.at, "the query has no limit: it would always pass", "add `max = 5`, or `min = 1`");
            }
            Some(Question::Promql { query: query.value, min: min.map(|min| min.value), max: max.map(|max| max.value) })
        }
        (None, Some(url)) => {
            if !url.value.starts_with("http://") && !url.value.starts_with("https://") {
                report.error(
                    &url.at,
                    format!("`{}` is no address to post to", url.value),
                    "write it like \"https://checks.internal/ficus\"",
                );
            }
            if let Some(limit) = min.or(max) {
                report.error(&limit.at, "a webhook answers with a verdict: there is nothing to limit", "remove `min` and `max`");
            }
            Some(Question::Webhook { url: url.value })
        }
        _ => {
            section.error("the gate asks twice", "one of `promql` and `webhook`: make two gates");
            None
        }
    };
    section.finish();
    Some((CustomGate { question: question?, every, deadline }, read))
}
