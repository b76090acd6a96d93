//! Commands in Markdown: found in code, and shown to exist. `--help` at the end of a command line has clap read all that
//! stands before it, so that a flag that does not exist is found too, and nothing is done.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use ficus_tests::school;

/// The folder of the documentation.
pub(crate) fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

/// Markdown files below a folder, without those of deeper ones.
pub(crate) fn pages(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("no {}", folder.display()))?;
    let mut pages: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    pages.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    pages.sort();
    Ok(pages)
}

/// Everything that a text says to type into `ficus`: lines of its `sh` blocks, and code within its sentences.
pub(crate) fn commands(text: &str) -> Vec<String> {
    let mut commands = Vec::new();
    for (at, part) in text.split("```").enumerate() {
        if at % 2 == 1 {
            let Some((_, block)) = part.split_once('\n').filter(|(kind, _)| *kind == "sh") else { continue };
            commands.extend(block.lines().filter_map(typed));
        } else {
            commands.extend(part.split('`').skip(1).step_by(2).filter_map(typed));
        }
    }
    commands
}

/// The `ficus` of a line, without where its output goes and without a comment.
fn typed(line: &str) -> Option<String> {
    let line = line.trim().split(" #").next()?.split(" |").next()?.split(" > ").next()?.trim();
    line.starts_with("ficus ").then(|| line.replace("…", "").replace('\n', " "))
}

/// Shows that a command exists with all its flags.
pub(crate) fn parse(command: &str) -> Result<()> {
    let binary = school::binary("ficus")?;
    let path = format!("{}:{}", binary.parent().context("a binary in no folder")?.display(), std::env::var("PATH")?);
    let output = Command::new("sh").arg("-c").arg(format!("{command} --help")).env("PATH", path).output()?;
    ensure!(output.status.success(), "`{command}` does not exist like that:\n{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[test]
fn a_command_that_does_not_exist_is_found() {
    let text = "Type `ficus status users`, edit `ficus.toml`,\n```sh\nmake demo\nficus hold users --reason 'a b'   # why\nficus status --json | jq .\nficus plan > plan.txt\n```\n`ficus fly`\n```toml\nficus x\n```\n";
    let found = commands(text);
    assert_eq!(found, ["ficus status users", "ficus hold users --reason 'a b'", "ficus status --json", "ficus plan", "ficus fly"]);
    let wrong: Vec<&String> = found.iter().filter(|command| parse(command).is_err()).collect();
    assert_eq!(wrong, ["ficus fly"]);
    for wrong in ["ficus hold users --reasn x", "ficus pin users left", "ficus status users now"] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
}
