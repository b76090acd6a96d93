//! Breaks one guard of a switch after the other in a copy of this crate, and looks whether the simulation notices
//! (`src/migration/simulation/mutations.toml` says which). Minutes long, because each is compiled: `make mutations`.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    mutation: Vec<Mutation>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mutation {
    /// What is switched off, in words.
    guard: String,
    edit: Vec<Edit>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Edit {
    /// Below `src/`.
    file: PathBuf,
    /// Stands in it once.
    find: String,
    replace: String,
}

fn list() -> Vec<Mutation> {
    toml::from_str::<List>(include_str!("../src/migration/simulation/mutations.toml")).unwrap().mutation
}

fn home() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Breaks the guard in the sources below `src`.
fn apply(mutation: &Mutation, src: &Path) {
    for edit in &mutation.edit {
        let place = src.join(&edit.file);
        let source = std::fs::read_to_string(&place).unwrap();
        let found = source.matches(&edit.find).count();
        assert_eq!(found, 1, "{}: `{}` stands {found} times in {}", mutation.guard, edit.find, edit.file.display());
        std::fs::write(place, source.replace(&edit.find, &edit.replace)).unwrap();
    }
}

/// A copy of the crate's sources, at `to`.
fn copy(to: &Path) {
    let copied = Command::new("cp").arg("-r").arg(home().join("src")).arg(to).status().unwrap();
    assert!(copied.success());
}

#[test]
fn every_mutation_fits_the_source() {
    for mutation in list() {
        let place = tempfile::tempdir().unwrap();
        copy(place.path());
        apply(&mutation, &place.path().join("src"));
    }
}

#[test]
#[ignore = "compiles the crate anew for every mutation: `make mutations`"]
fn every_guard_that_is_switched_off_is_noticed() {
    let workspace = home().parent().unwrap();
    let place = tempfile::tempdir().unwrap();
    let manifest: String = std::fs::read_to_string(workspace.join("Cargo.toml"))
        .unwrap()
        .lines()
        .map(|line| if line.starts_with("members = ") { "members = [\"rules\"]\n".to_owned() } else { format!("{line}\n") })
        .collect();
    std::fs::write(place.path().join("Cargo.toml"), manifest).unwrap();
    std::fs::copy(workspace.join("Cargo.lock"), place.path().join("Cargo.lock")).unwrap();
    let copied = Command::new("cp").arg("-r").arg(home()).arg(place.path()).status().unwrap();
    assert!(copied.success());

    let run = |what: &str| {
        let cargo = Command::new(env!("CARGO"))
            .args(["test", "--quiet", "--package", "ficus-rules", "--lib", "simulation::whatever"])
            .current_dir(place.path())
            .env("CARGO_TARGET_DIR", workspace.join("target/mutations"))
            .env("RUST_BACKTRACE", "0")
            .env("FICUS_SEEDS", std::env::var("FICUS_SEEDS").unwrap_or_else(|_| "3000".to_owned()))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&cargo.stdout).into_owned();
        assert!(said.contains("test result: "), "{what}: it does not compile:\n{}", String::from_utf8_lossy(&cargo.stderr));
        let panicked = said.lines().skip_while(|line| !line.contains("panicked at")).nth(1).unwrap_or_default().to_owned();
        (cargo.status.success(), panicked)
    };
    assert!(run("the copy as it is").0, "the simulation fails without a mutation");
    let mut survived = Vec::new();
    for mutation in list() {
        apply(&mutation, &place.path().join("rules/src"));
        let (passed, panicked) = run(&mutation.guard);
        copy(&place.path().join("rules"));
        println!("{}: {}", mutation.guard, if passed { "NOT NOTICED" } else { panicked.as_str() });
        if passed {
            survived.push(mutation.guard);
        }
    }
    assert!(survived.is_empty(), "no seed noticed: {survived:#?}");
}
