//! What a build leans on: one version of each dependency, named in one place; what `make` does, and in which order.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use toml::{Table, Value};

use crate::shell::docs;

fn root() -> PathBuf {
    docs().join("..")
}

fn read(path: &Path) -> Result<Table> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    text.parse().with_context(|| path.display().to_string())
}

#[test]
fn members_take_versions_and_lints_from_the_workspace() -> Result<()> {
    let workspace = read(&root().join("Cargo.toml"))?;
    let members = workspace["workspace"]["members"].as_array().context("members")?;
    let inherits = |value: &Value| value.get("workspace") == Some(&Value::Boolean(true));
    let mut seen = 0;
    for member in members.iter().filter_map(Value::as_str) {
        let manifest = read(&root().join(member).join("Cargo.toml"))?;
        ensure!(manifest.get("lints").is_some_and(inherits), "{member} has lints of its own");
        let package = manifest["package"].as_table().context("a package")?;
        for key in ["version", "edition", "rust-version", "license", "publish"] {
            ensure!(package.get(key).is_some_and(inherits), "{member} has a `{key}` of its own");
        }
        ensure!(!manifest.contains_key("target"), "{member} has dependencies by target: this test does not look there");
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (name, dependency) in manifest.get(kind).and_then(Value::as_table).into_iter().flatten() {
                ensure!(inherits(dependency), "{member} names a version of {name} itself: say `{name}.workspace = true`");
                seen += 1;
            }
        }
    }
    ensure!(seen > 50, "only {seen} dependencies: the test reads the manifests wrongly");
    Ok(())
}

/// What `make` prints, with nothing of the make around it.
fn make(words: &[&str]) -> Result<String> {
    let mut make = Command::new("make");
    make.args(words).current_dir(root()).env_remove("MAKEFLAGS").env_remove("MAKELEVEL").env_remove("KEEP");
    let ended = make.output().context("make is missing")?;
    ensure!(ended.status.success(), "make {words:?}: {}", String::from_utf8_lossy(&ended.stderr));
    Ok(String::from_utf8(ended.stdout)?)
}

#[test]
fn make_alone_lists_what_people_type() -> Result<()> {
    let listed = make(&[])?;
    for target in ["help", "demo", "test", "check"] {
        ensure!(listed.contains(&format!("  make {target} ")), "{target} is not in\n{listed}");
    }
    ensure!(!listed.contains("cargo"), "it does something:\n{listed}");
    Ok(())
}

#[test]
fn the_demo_is_prepared_in_order_also_where_make_is_told_to_hurry() -> Result<()> {
    // Run for what stands there, as if nothing were made yet.
    let plan = make(&["--dry-run", "--always-make", "demo", "KEEP=1"])?;
    let at = |step: &str| plan.find(step).with_context(|| format!("no `{step}` in\n{plan}"));
    let steps = [at(".ci/packages ")?, at("python3 -m venv .venv")?, at("build --release")?, at("target/release/demo")?];
    ensure!(steps.is_sorted(), "in another order:\n{plan}");
    // A dry run is in order with `--jobs` too: only what make itself says shows that it heeds it.
    let database = make(&["--print-data-base", "--dry-run", "--jobs=8", "help"])?;
    ensure!(database.lines().any(|line| line.starts_with(".NOTPARALLEL:")), "packages and the environment that needs them would race");
    Ok(())
}
