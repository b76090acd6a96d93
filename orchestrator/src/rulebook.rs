//! The rule files on disk, and the rules that serve. Reads and judges; whether what it read may serve is decided here,
//! publishing it is the reconciler's.

use std::collections::BTreeMap;
use std::path::Path;

use ficus_rules::migration::Phase;
use ficus_rules::plan::RuleSet;
use ficus_rules::spec::{self, Checked, Complaint, Known};
use ficus_rules::wire::RuleFile;

use crate::store::Stored;

/// Rules that serve.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rulebook {
    pub(crate) files: Vec<RuleFile>,
    pub(crate) rules: RuleSet,
    pub(crate) warnings: Vec<Complaint>,
    /// Counts the changes.
    pub(crate) generation: u64,
    /// The generation at which they were published.
    pub(crate) published: u64,
}

/// Reads every `*.toml` of a directory, by name. Follows links, as Kubernetes mounts them; leaves hidden files out.
pub(crate) fn read(directory: &Path) -> std::io::Result<Vec<RuleFile>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with('.') || !name.ends_with(".toml") || path.is_dir() {
            continue;
        }
        // What is no text is a complaint of the parser, about that file, and no reason to overlook the others.
        let text = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
        files.push(RuleFile { name, text });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// As [`read`], with what the operating system says as a complaint.
pub(crate) fn read_or_complain(directory: &Path) -> Result<Vec<RuleFile>, Vec<Complaint>> {
    read(directory).map_err(|error| {
        let hint = "the directory is named in ficus.toml".to_owned();
        vec![complaint(&directory.display().to_string(), format!("the rules cannot be read: {error}"), hint)]
    })
}

/// Parses, resolves, lints, tests; and refuses what would orphan a capability on its way.
pub(crate) fn check(files: &[RuleFile], known: &Known, states: &BTreeMap<String, Stored>) -> Result<Checked, Vec<Complaint>> {
    let checked = spec::load(files, known)?;
    let orphans: Vec<_> = states
        .values()
        .map(|stored| &stored.state)
        .filter(|state| !checked.rules.capabilities.contains_key(&state.capability))
        .filter(|state| !matches!(state.phase, Phase::Draft | Phase::Retired))
        .map(|state| {
            let message = format!("capability `{}` is {} and has no rules any more", state.capability, state.phase.as_str());
            complaint(&format!("{}.toml", state.capability), message, "put its file back until it is retired".to_owned())
        })
        .collect();
    if orphans.is_empty() { Ok(checked) } else { Err(orphans) }
}

fn complaint(file: &str, message: String, hint: String) -> Complaint {
    Complaint { file: file.to_owned(), line: 1, column: 1, message, hint, warning: false }
}
