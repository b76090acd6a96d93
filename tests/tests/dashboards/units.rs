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

/// What systemd says against units; it need not run.
fn verify(units: &[(String, String)]) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let ficus = school::binary("ficus")?;
    let mut files = Vec::new();
    for (name, text) in units {
        let file = folder.path().join(name);
        // It looks whether the program is there.
        std::fs::write(&file, text.replace(INSTALLED, &ficus.display().to_string()))?;
        files.push(file);
    }
    let mut analyze = Command::new("systemd-analyze");
    let output = analyze.arg("verify").args(&files).output().context("systemd-analyze (`.ci/packages systemd`)")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let ours = said.lines().any(|line| line.contains("ficus"));
    Ok(if output.status.success() && !ours { String::new() } else { said })
}

#[test]
fn systemd_takes_the_units() -> Result<()> {
    let said = verify(&units()?)?;
    ensure!(said.is_empty(), "{said}");
    Ok(())
}

#[test]
fn what_is_wrong_with_a_unit_is_found() -> Result<()> {
    for (right, wrong) in
        [("Restart=", "Restrat="), ("Restart=on-failure", "Restart=often"), ("ExecStart=/usr/local/bin/ficus", "ExecStart=/nowhere/ficus")]
    {
        let mut units = units()?;
        let (name, text) = units.iter_mut().find(|(_, text)| text.contains(right)).with_context(|| format!("no unit has {right}"))?;
        *text = text.replacen(right, wrong, 1);
        let (name, said) = (name.clone(), verify(&units)?);
        ensure!(said.contains(&name), "{wrong} is not found in {name}: {said:?}");
    }
    Ok(())
}
