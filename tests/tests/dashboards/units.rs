//! The units for systemd: systemd takes them, and Ficus takes the commands in them.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use ficus_tests::school;

use crate::shell::docs;

const INSTALLED: &str = "/usr/local/bin/ficus";

fn units() -> Result<Vec<(String, String)>> {
    let folder = docs().join("../deploy/systemd");
    let mut units = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path: PathBuf = entry?.path();
        let name = path.file_name().context("a name")?.to_string_lossy().into_owned();
        units.push((name, std::fs::read_to_string(&path)?));
    }
    Ok(units)
}

#[test]
fn ficus_takes_the_commands_of_the_units() -> Result<()> {
    let mut taken = 0;
    for (unit, text) in units()? {
        for line in text.lines().filter(|line| line.starts_with("ExecStart")) {
            let (_, command) = line.split_once('=').context("a setting")?;
            let arguments = command.strip_prefix(INSTALLED).with_context(|| format!("{unit} starts something else: {line}"))?;
            // What is asked for help about is parsed first.
            let mut ficus = Command::new(school::binary("ficus")?);
            let output = ficus.args(arguments.split_whitespace()).arg("--help").output()?;
            ensure!(output.status.success(), "{unit}: {line}: {}", String::from_utf8_lossy(&output.stderr));
            taken += 1;
        }
    }
    ensure!(taken >= 2, "only {taken} commands: the test reads the units wrongly");
    Ok(())
}

/// A bad rule file keeps nobody from starting: Ficus serves by the last good ones.
#[test]
fn no_unit_checks_the_rules_before_it_starts() -> Result<()> {
    for (unit, text) in units()? {
        let before = text.lines().filter(|line| ["ExecStartPre", "ExecCondition"].iter().any(|setting| line.starts_with(setting)));
        let checks: Vec<&str> = before.filter(|line| line.contains("ficus")).collect();
        ensure!(checks.is_empty(), "{unit}: one bad rule file and a restart, and it does not come up again: {checks:?}");
    }
    Ok(())
}

/// Where systemd is installed, which need not run.
#[test]
fn systemd_takes_the_units() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let ficus = school::binary("ficus")?;
    let mut files = Vec::new();
    for (name, text) in units()? {
        let file = folder.path().join(&name);
        // It looks whether the program is there.
        std::fs::write(&file, text.replace(INSTALLED, &ficus.display().to_string()))?;
        files.push(file);
    }
    match Command::new("systemd-analyze").arg("verify").args(&files).output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let ours: Vec<&str> = said.lines().filter(|line| line.contains("ficus")).collect();
            ensure!(output.status.success() && ours.is_empty(), "{said}");
        }
        Err(_) => eprintln!("systemd-analyze is not installed: nobody has verified the units"),
    }
    Ok(())
}
