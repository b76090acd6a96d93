//! Commands in Markdown: found in code, and shown to exist. `--help` at the end of a command line has clap read all that
//! stands before it, so that a flag that does not exist is found too, and nothing is done. It says nothing of what is
//! missing: what is to be typed as it stands is also run, where it finds neither a configuration nor an orchestrator.

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

/// What a text says to type as it stands: lines of its `sh` blocks. A sentence may name a command without its arguments.
pub(crate) fn blocks(text: &str) -> Vec<String> {
    let blocks = text.split("```").skip(1).step_by(2).filter_map(|part| part.split_once('\n'));
    blocks.filter(|(kind, _)| *kind == "sh").flat_map(|(_, block)| block.lines().filter_map(typed)).collect()
}

/// The `ficus` of a line, without where its output goes and without a comment.
fn typed(line: &str) -> Option<String> {
    let line = line.trim().split(" #").next()?.split(" |").next()?.split(" > ").next()?.trim();
    line.starts_with("ficus ").then(|| line.replace("…", "").replace('\n', " "))
}

/// Shows that a command exists with all its flags.
pub(crate) fn parse(command: &str) -> Result<()> {
    let output = shell(&format!("{command} --help"))?.output()?;
    ensure!(output.status.success(), "`{command}` does not exist like that:\n{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Shows that a command has all that it asks for: it is run, and may fail for any reason but the way in which it was typed.
pub(crate) fn run(command: &str) -> Result<()> {
    let empty = tempfile::tempdir()?;
    let mut shell = shell(&format!("timeout 5 {command}"))?;
    shell.current_dir(&empty).env("FICUS_ADMIN", "http://127.0.0.1:1").env("FICUS_CONFIG", "/nonexistent/ficus.toml");
    let output = shell.output()?;
    ensure!(output.status.code() != Some(USAGE), "`{command}` cannot be typed like that:\n{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// The exit status of a command line that clap refuses.
const USAGE: i32 = 2;

/// A shell that finds `ficus`.
fn shell(line: &str) -> Result<Command> {
    let binary = school::binary("ficus")?;
    let path = format!("{}:{}", binary.parent().context("a binary in no folder")?.display(), std::env::var("PATH")?);
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(line).env("PATH", path);
    Ok(shell)
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
    assert_eq!(blocks(text), found[1..4]);
    assert!(parse("ficus quarantine").is_ok() && run("ficus quarantine").is_err(), "a NAME is missing");
    assert!(run("ficus quarantine users").is_ok());
}
