//! The rule files on disk, and the rules that serve. Reads and judges; whether what it read may serve is decided here,
//! publishing it is the reconciler's.

mod keep;

use std::collections::BTreeMap;
use std::path::Path;

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

/// Reads every `*.toml` of a directory, by name. Follows links, as Kubernetes mounts them; leaves hidden files (also what
/// editors keep) and directories out.
///
/// # Errors
/// The directory, or a file in it, cannot be read.
pub fn read(directory: &Path) -> std::io::Result<Vec<RuleFile>> {
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
        vec![complaint(&directory.display().to_string(), 1, format!("the rules cannot be read: {error}"), hint)]
    })
}

/// Parses, resolves, lints, tests; and refuses what would take from a capability on its way what it needs. `serving` are
/// the rules that serve.
pub(crate) fn check(
    files: &[RuleFile],
    known: &Known,
    states: &BTreeMap<String, Stored>,
    serving: &RuleSet,
) -> Result<Checked, Vec<Complaint>> {
    // Asked anew: the process may be older than the day.
    let known = Known { today: Some(crate::fleet::wall()), ..known.clone() };
    let checked = spec::load(files, &known)?;
    let complaints = keep::complaints(states.values().map(|stored| &stored.state), serving, &checked.rules);
    if complaints.is_empty() { Ok(checked) } else { Err(complaints) }
}

fn complaint(file: &str, line: usize, message: String, hint: String) -> Complaint {
    Complaint { file: file.to_owned(), line, column: 1, message, hint, warning: false }
}

#[cfg(test)]
mod tests {
    #[test]
    fn rule_files_are_read_whatever_is_in_them_and_nothing_else_is() {
        let folder = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &[u8]| std::fs::write(folder.path().join(name), text).expect("it is written");
        write("users.toml", b"# J\xf6rg");
        write(".#users.toml", b"half");
        write("notes.md", b"");
        std::fs::create_dir(folder.path().join("old.toml")).expect("it is made");
        let files = super::read(folder.path()).expect("it is read");
        assert_eq!(files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), ["users.toml"]);
        assert_eq!(files[0].text, "# J\u{fffd}rg");
    }
}
