//! What a build leans on: one version of each dependency, named in one place.

use std::path::{Path, PathBuf};

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
