//! `ficus check`: configuration and rules, without anything running; with `--live` the databases, too.

mod live;

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use ficus_rules::spec::{self, Complaint};
use ficus_rules::wire::RuleFile;

use crate::args::{Args, Check};
use crate::config::Config;
use crate::exit::BadConfiguration;
use crate::run;

/// Prints every complaint; fails with exit code 64 if one of them is no warning.
pub(crate) async fn execute(args: &Args, asked: &Check) -> Result<()> {
    let config = Config::load(&args.config)?;
    let directory = asked.rules.as_deref().unwrap_or(&config.rules);
    let files = read(directory)?;
    let (complaints, checked) = match spec::load(&files, &run::known(&config)) {
        Ok(checked) => {
            let routes: usize = checked.rules.capabilities.values().map(|c| c.routes.len()).sum();
            let tests: usize = checked.rules.capabilities.values().map(|c| c.tests.len()).sum();
            let summary = format!("{} capabilities, {routes} routes, {tests} tests passed", checked.rules.capabilities.len());
            (checked.warnings, Some((checked.rules, summary)))
        }
        Err(complaints) => (complaints, None),
    };
    let goes_on = asked.live && checked.is_some();
    if args.json && !goes_on {
        super::print_json(&complaints)?;
    } else if !args.json {
        for complaint in &complaints {
            println!("{complaint}");
        }
    }
    let Some((rules, summary)) = checked else {
        let errors = complaints.iter().filter(|c| !c.warning).count();
        bail!(BadConfiguration(format!("{errors} errors in {}: the rules would not be served", directory.display())));
    };
    if !args.json {
        println!("{}: {summary}", directory.display());
    }
    if asked.live { live::execute(args, asked, &config, &rules, complaints).await } else { Ok(()) }
}

/// The rule files of a directory, by name: the same ones, and in the same way, as the orchestrator reads them. Hidden files
/// (what editors leave, what Kubernetes mounts) and directories are left out; what is no text is the parser's complaint.
pub(crate) fn read(directory: &Path) -> Result<Vec<RuleFile>> {
    let entries = std::fs::read_dir(directory)
        .map_err(|error| BadConfiguration(format!("cannot read the rules in {}: {error}", directory.display())))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with('.') || !name.ends_with(".toml") || path.is_dir() {
            continue;
        }
        let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        files.push(RuleFile { name, text: String::from_utf8_lossy(&text).into_owned() });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// The rules of local files, or all complaints as one error.
pub(crate) fn load(files: &[RuleFile], known: &spec::Known) -> Result<ficus_rules::plan::RuleSet> {
    match spec::load(files, known) {
        Ok(checked) => Ok(checked.rules),
        Err(complaints) => bail!(BadConfiguration(complaints.iter().map(Complaint::to_string).collect::<Vec<_>>().join("\n"))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    #[test]
    fn the_files_are_those_that_the_orchestrator_reads() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &[u8]| std::fs::write(folder.path().join(name), text).unwrap();
        write("users.toml", b"# J\xf6rg");
        write(".#users.toml", b"half");
        write("notes.md", b"");
        std::fs::create_dir(folder.path().join("old.toml")).unwrap();
        let files = super::read(folder.path()).unwrap();
        assert_eq!(files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), ["users.toml"]);
        assert_eq!(files[0].text, "# J\u{fffd}rg");
    }
}
