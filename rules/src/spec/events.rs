//! `[[event]]`: which changes of a table other services are told of. Columns are not known here: the agent and
//! `ficus check --live` look whether there are such.

use super::document::{CapabilityDocument, Documents};
use super::fields::Fields;
use super::shape::{Bond, Key, Kind, STRINGS, Section};
use super::source::{Located, Report};
use super::words::suggest;
use super::{Known, tables};
use crate::event::{EventMap, Types};
use crate::mapping::ColumnSource;

/// The longest type: a routing key of AMQP has no more bytes.
const LONGEST: usize = 255;

pub(super) const EVENT: Section = Section::new(
    "[[event]]",
    &[
        Key::new("table", Kind::Identifier, "The modern table of a [[table]].").must("\"users\""),
        Key::new("to", Kind::Filled, "Where it goes: an [events.NAME] of ficus.toml.").must("\"bus\", an [events.bus] of ficus.toml"),
        Key::new("created", Kind::Like(TYPE), "The type of the event for a row that came: user.registered"),
        Key::new("updated", Kind::Like(TYPE), "For one that changed: user.updated"),
        Key::new("deleted", Kind::Like(TYPE), "For one that went: user.deleted"),
        Key::new(
            "subject",
            Kind::Identifier,
            "The modern column that says whom it is about: the one that keeps the legacy key (which it is without this), or one made of it with as = \"uuid5\".",
        ),
        Key::new("columns", STRINGS, "The modern columns that it tells, beside the kept legacy key; none unless named."),
    ],
)
.bound(&[Bond::Any(&["created", "updated", "deleted"])]);

/// See [`named_well`].
const TYPE: &str = r"^(?=.{1,255}$)[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$";

/// One `[[event]]`, with the places that complaints need.
#[derive(Debug)]
pub(super) struct EventDocument {
    pub(super) table: Located<String>,
    pub(super) bus: Located<String>,
    pub(super) subject: Option<Located<String>>,
    pub(super) map: EventMap,
}

pub(super) fn read(mut section: Fields<'_>) -> Option<EventDocument> {
    let table = section.required("table");
    let bus = section.required("to");
    let mut kind = |key| section.string(key).filter(|kind| named_well(&section, kind)).map(|kind| kind.value);
    let types = Types { created: kind("created"), updated: kind("updated"), deleted: kind("deleted") };
    if !["created", "updated", "deleted"].iter().any(|key| section.has(key)) {
        section.error("an event without a type tells nothing", "add `updated = \"user.updated\"`, or `created` or `deleted`");
    }
    let subject = section.string("subject");
    let columns = section.strings("columns");
    for column in subject.iter().chain(&columns) {
        tables::identifier(&section, column);
    }
    let at = section.at.clone();
    section.finish();
    let (table, bus) = (table?, bus?);
    let map = EventMap {
        source: at.source(),
        table: table.value.clone(),
        bus: bus.value.clone(),
        types,
        subject: subject.as_ref().map(|column| column.value.clone()),
        columns: columns.into_iter().map(|column| column.value).collect(),
    };
    Some(EventDocument { table, bus, subject, map })
}

/// Events against the tables of their capability, and against `ficus.toml`.
pub(super) fn lint(documents: &Documents, known: &Known, report: &Report) {
    for capability in &documents.capabilities {
        for event in &capability.events {
            if let Some(buses) = known.buses.as_ref().filter(|buses| !buses.contains(&event.bus.value)) {
                let message = format!("`to` names `{}`, and ficus.toml has no [events.{}]", event.bus.value, event.bus.value);
                let hint = suggest(&event.bus.value, buses.iter().map(String::as_str));
                report.error(&event.bus.at, message, if hint.is_empty() { "add it, with its `url`".to_owned() } else { hint });
            }
            of_table(capability, event, report);
        }
    }
}

fn of_table(capability: &CapabilityDocument, event: &EventDocument, report: &Report) {
    let pairs: Vec<_> = capability.tables.iter().filter(|table| table.map.modern == event.table.value).collect();
    if pairs.is_empty() {
        let message = format!("no `[[table]]` of this capability has the modern table `{}`", event.table.value);
        let hint = suggest(&event.table.value, capability.tables.iter().map(|table| table.map.modern.as_str()));
        report.error(&event.table.at, message, if hint.is_empty() { "add its `[[table]]` first".to_owned() } else { hint });
    }
    let Some(subject) = &event.subject else {
        if pairs.len() > 1 {
            let message = format!("rows of several legacy tables are in `{}`, and their keys may be the same", event.table.value);
            report.error(&event.table.at, message, "add `subject`, and name a column that is made with `as = \"uuid5\"` of the key");
        }
        return;
    };
    for pair in pairs {
        let own = |from: &ColumnSource| matches!(from, ColumnSource::Uuid5 { column, of } if *column == pair.map.legacy_key && *of == pair.map.legacy);
        let made = pair.map.columns.iter().any(|column| column.modern == subject.value && own(&column.from));
        if !made && subject.value != pair.map.modern_key {
            let message = format!("`{}` cannot be told of a row that is deleted", subject.value);
            let hint = format!("name `{}`, or a column that is made with `as = \"uuid5\"` of the key", pair.map.modern_key);
            report.error(&subject.at, message, hint);
        }
    }
}

fn named_well(section: &Fields<'_>, kind: &Located<String>) -> bool {
    let word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    let fine = kind.value.len() <= LONGEST && kind.value.split('.').all(word);
    if !fine {
        let hint = "words of letters, digits, `_` and `-`, with a dot between them, like \"user.updated\"";
        section.text.report.error(&kind.at, format!("`{}` cannot name an event", kind.value), hint);
    }
    fine
}
