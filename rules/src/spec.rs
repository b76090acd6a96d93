//! The rule language: parse, resolve, lint. Two stages: what the user typed (`document`), what the program needs
//! ([`crate::plan`]). Reports every error of every file at once. Does not read files: texts come in.
//!
//! 1. `source` and `fields` turn TOML into documents, and complain about keys, types and spellings;
//! 2. `routes` (with `traffic`), `plugins`, `steps`, `gates`, `returns`, `strays`, `tables`, `events`, `flags`, `tests` know one kind of section each;
//! 3. `names` and `reach` look over all files: what is unknown, named twice, in a circle, never reached;
//! 4. `expectations` runs the `[[test]]`s through [`crate::decide::decide`], once nothing else is wrong.

mod capability;
mod claims;
mod document;
mod events;
mod expectations;
mod fields;
mod flags;
mod gates;
mod names;
mod plugins;
mod reach;
mod returns;
mod routes;
pub mod schema;
mod shape;
mod source;
mod steps;
mod strays;
mod tables;
mod tests;
mod traffic;
mod words;

use std::collections::BTreeMap;
use std::fmt;

use crate::plan::RuleSet;
use crate::wire::RuleFile;

use document::Documents;
use source::{Report, Text};

/// The file that holds the feature flags; every other one holds a capability.
pub const FLAGS_FILE: &str = "flags.toml";

/// What `ficus.toml` makes known to the rules.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Names of upstreams; empty: any name is taken.
    pub upstreams: Vec<String>,
    /// Whether it names a Redis in which gateways count together; `None`: not known.
    pub counts_together: Option<bool>,
    /// Names of its `[events.NAME]`; `None`: not known.
    pub buses: Option<Vec<String>>,
    /// Paths that gateways answer by themselves.
    pub answered: Vec<String>,
    /// The time, for what speaks of a day; `None`: nobody asks.
    pub today: Option<crate::Timestamp>,
}

/// One complaint about a rule file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Complaint {
    /// The file's name.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
    /// A warning does not keep a file from being served.
    pub warning: bool,
}

/// `users.toml:12:3: error: message (hint)`
impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Complaint { file, line, column, message, hint, warning } = self;
        let kind = if *warning { "warning" } else { "error" };
        write!(f, "{file}:{line}:{column}: {kind}: {message}")?;
        if hint.is_empty() { Ok(()) } else { write!(f, " ({hint})") }
    }
}

/// A rule set that may be served, and what should be looked at nevertheless.
#[derive(Debug, Clone, Default)]
pub struct Checked {
    /// The rules.
    pub rules: RuleSet,
    /// Warnings.
    pub warnings: Vec<Complaint>,
}

/// Parses, resolves, lints, and runs the `[[test]]`s of a directory's rule files.
///
/// # Errors
/// Every complaint, in the order of files and lines; at least one of them is no warning.
pub fn load(files: &[RuleFile], known: &Known) -> Result<Checked, Vec<Complaint>> {
    let report = Report::default();
    let mut documents = Documents::default();
    for (index, file) in files.iter().enumerate() {
        documents.read(&Text::new(index, file, &report));
    }
    names::lint(&documents, known, &report);
    flags::lint(&documents, known, &report);
    plugins::lint(&documents, known, &report);
    reach::lint(&documents, &report);
    for capability in &documents.capabilities {
        steps::lint(capability, &report);
        traffic::lint(capability, &report);
        strays::lint(capability, &report);
    }
    tables::lint(&documents, &report);
    events::lint(&documents, known, &report);
    let rules = documents.resolve();
    if !report.has_errors() {
        expectations::run(&documents, &rules, &report);
    }
    if report.has_errors() {
        return Err(report.into_complaints());
    }
    Ok(Checked { rules, warnings: report.into_complaints() })
}

impl Documents {
    /// The rules that the documents stand for; only worth something when nobody complained.
    fn resolve(&self) -> RuleSet {
        let capabilities: BTreeMap<_, _> = self.capabilities.iter().map(|c| (c.name.value.clone(), c.resolve())).collect();
        let flags = self.flags.iter().map(|document| (document.flag.name.clone(), document.flag.clone())).collect();
        let routes = || capabilities.values().flat_map(|capability: &crate::plan::Capability| &capability.routes);
        let answers_preflights = routes().any(|route| route.plugins.as_ref().is_some_and(|plugins| plugins.cors.is_some()));
        RuleSet { capabilities, flags, answers_preflights }
    }
}
