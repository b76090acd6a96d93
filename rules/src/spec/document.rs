//! What the user typed: sections with the places that complaints need. What could not be read is missing here, and has
//! been complained about.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use super::events::EventDocument;
use super::fields::Fields;
use super::flags::FlagDocument;
use super::plugins::PluginsDocument;
use super::source::{Located, Place, Text};
use super::words::is_name;
use super::{FLAGS_FILE, capability, flags, strays};
use crate::claims::Claim;
use crate::gate::Gates;
use crate::hours::Hours;
use crate::mapping::TableMap;
use crate::parity::Leniency;
use crate::plan::{Return, Route, RouteTest, Step, Unit};
use crate::route::Pattern;

/// All rule files.
#[derive(Debug, Default)]
pub(super) struct Documents {
    pub(super) capabilities: Vec<CapabilityDocument>,
    pub(super) flags: Vec<FlagDocument>,
    /// Capabilities of files that are no TOML: others may name them.
    pub(super) unreadable: Vec<String>,
    /// `flags.toml` is no TOML: nobody knows which flags there are.
    pub(super) flags_unreadable: bool,
}

/// One capability's file.
#[derive(Debug)]
pub(super) struct CapabilityDocument {
    pub(super) at: Place,
    pub(super) name: Located<String>,
    pub(super) description: String,
    pub(super) legacy: Option<Located<String>>,
    pub(super) modern: Option<Located<String>>,
    pub(super) depends_on: Vec<Located<String>>,
    pub(super) ahead_of: Vec<Located<String>>,
    pub(super) salt: Option<String>,
    pub(super) routes: Vec<RouteDocument>,
    /// For all its routes.
    pub(super) plugins: PluginsDocument,
    /// A route was written, perhaps one that could not be read.
    pub(super) has_routes: bool,
    pub(super) cohort: Vec<Unit>,
    pub(super) claims: BTreeMap<String, Claim>,
    pub(super) steps: Vec<Located<Step>>,
    pub(super) gates: Gates,
    pub(super) has_gates: bool,
    pub(super) windows: Vec<Hours>,
    pub(super) returns: Return,
    pub(super) strays: strays::Wanted,
    pub(super) leniency: Leniency,
    pub(super) tables: Vec<TableDocument>,
    pub(super) events: Vec<EventDocument>,
    pub(super) tests: Vec<Located<RouteTest>>,
}

/// One `[[route]]`.
#[derive(Debug)]
pub(super) struct RouteDocument {
    pub(super) at: Place,
    pub(super) pattern: Pattern,
    pub(super) flag: Option<Located<String>>,
    /// Without its plugins, which take the file's into account.
    pub(super) route: Route,
    pub(super) plugins: PluginsDocument,
    /// Where `fallback_on` stands.
    pub(super) fallback_on: Option<Place>,
    /// Where `cache` stands.
    pub(super) cache: Option<Place>,
}

/// One `[[table]]`; `columns` are the places of `map.columns`.
#[derive(Debug)]
pub(super) struct TableDocument {
    pub(super) at: Place,
    pub(super) columns: Vec<Place>,
    pub(super) map: TableMap,
}

impl Documents {
    /// Reads one file. One that is no TOML brings its syntax errors, and nothing that would follow from them.
    pub(super) fn read(&mut self, text: &Text<'_>) {
        let (document, errors) = DeTable::parse_recoverable(text.text);
        for error in &errors {
            let at = text.place(error.span().unwrap_or(0..0));
            text.report.error(&at, error.message(), "the file is not valid TOML; see https://toml.io");
        }
        let is_flags = &*text.name == FLAGS_FILE;
        if !errors.is_empty() {
            self.flags_unreadable |= is_flags;
            self.unreadable.extend(probable_name(document.get_ref()));
            return;
        }
        let fields = Fields::new(text, if is_flags { &flags::FILE } else { &capability::FILE }, text.place(0..0), document.get_ref());
        if is_flags {
            self.flags.extend(flags::read(fields));
        } else {
            self.capabilities.extend(capability::read(fields));
        }
    }
}

fn probable_name(document: &DeTable<'_>) -> Option<String> {
    let DeValue::Table(section) = document.get("capability")?.get_ref() else { return None };
    section.get("name")?.get_ref().as_str().filter(|name| is_name(name)).map(str::to_owned)
}
