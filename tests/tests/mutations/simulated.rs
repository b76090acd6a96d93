//! The guards in the rules (`rules/src/migration/simulation/mutations.toml` says which), which the simulation has to miss. The copy
//! is of that crate alone, and compiled once.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::breaks::{ASKS, BROKEN, List, Mutation, Test};
use crate::{apart, workspace};

/// What of the names of the tests picks the simulation.
const SIMULATION: &str = "simulation::whatever";

pub(crate) fn list() -> List {
    List::read(include_str!("../../../rules/src/migration/simulation/mutations.toml"))
}

fn source() -> PathBuf {
    workspace().join("rules/src")
}

/// A workspace of the rules alone, with every guard breakable, at `to`.
fn copy(list: &List, to: &Path) {
    let manifest = std::fs::read_to_string(workspace().join("Cargo.toml")).unwrap();
    let alone = |line: &str| if line.starts_with("members = ") { "members = [\"rules\"]\n".to_owned() } else { format!("{line}\n") };
    std::fs::write(to.join("Cargo.toml"), manifest.lines().map(alone).collect::<String>()).unwrap();
    std::fs::copy(workspace().join("Cargo.lock"), to.join("Cargo.lock")).unwrap();
    assert!(Command::new("cp").arg("-r").arg(workspace().join("rules")).arg(to).status().unwrap().success());
    let src = to.join("rules/src");
    list.breakable(&source()).into_iter().for_each(|(file, source)| std::fs::write(src.join(file), source).unwrap());
    let lib = std::fs::read_to_string(src.join("lib.rs")).unwrap();
    std::fs::write(src.join("lib.rs"), lib + ASKS).unwrap();
}

/// Runs the copy's simulation; what it said when it failed.
fn simulate(copy: &Path, breaks: &[String]) -> Result<(), String> {
    let cargo = Command::new(env!("CARGO"))
        .args(["test", "--quiet", "--release", "--package", "ficus-rules", "--lib", SIMULATION])
        .current_dir(copy)
        .env("CARGO_TARGET_DIR", apart())
        .env("RUST_BACKTRACE", "0")
        .env(BROKEN, breaks.join(" "))
        .env("FICUS_SEEDS", std::env::var("FICUS_SEEDS").unwrap_or_else(|_| "50000".to_owned()))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&cargo.stdout).into_owned();
    assert!(said.contains("test result: "), "it does not compile:\n{}", String::from_utf8_lossy(&cargo.stderr));
    if cargo.status.success() {
        return Ok(());
    }
    let line = |of: &str, after| said.lines().skip_while(|line| !line.contains(of)).nth(after).unwrap_or_default();
    let seed = line(" failed: FICUS_SEED=", 0).split(" failed").next().unwrap_or_default();
    Err(format!("{seed}: {}", line("panicked at", 1)))
}

#[test]
fn every_mutation_fits_the_source() {
    let list = list();
    list.breakable(&source());
    list.is_complete();
}

/// What `make` runs of cargo for a target, each with the seeds that it is told.
fn typed(target: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let (cargo, told) = (folder.path().join("cargo"), folder.path().join("told"));
    std::fs::write(&cargo, format!("#!/bin/sh\necho \"$FICUS_SEEDS seeds: $*\" >> {}\n", told.display())).unwrap();
    std::fs::set_permissions(&cargo, std::fs::Permissions::from_mode(0o755)).unwrap();
    // As if what it needs were installed and built.
    let needs = ["packages", "packages-test", "python-test", "debug"].into_iter().flat_map(|need| ["-o", need]);
    let mut make = Command::new("make");
    make.args(needs).arg(target).arg(format!("CARGO={}", cargo.display())).current_dir(workspace());
    let output = make.env_remove("MAKEFLAGS").env_remove("FICUS_SEEDS").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read_to_string(told).unwrap().lines().map(str::to_owned).collect()
}

/// Where no test has the name that is typed, cargo runs none and is content.
#[test]
fn what_people_type_runs_the_simulation() {
    let run = |seeds: u32| format!("{seeds} seeds: test --release --package ficus-rules --lib -- --nocapture {SIMULATION}");
    assert_eq!(typed("simulate"), [run(10_000)]);
    let soak = typed("soak");
    assert!(soak.len() == 2 && soak[0] == run(100_000) && soak[1].ends_with(" --include-ignored"), "{soak:?}");
    let source = std::fs::read_to_string(source().join("migration/simulation.rs")).unwrap();
    let names = source.lines().filter_map(|line| Some(line.strip_prefix("fn ")?.split_once('(')?.0));
    let named: Vec<_> = names.filter(|name| format!("simulation::{name}").starts_with(SIMULATION)).collect();
    let [name] = named[..] else { panic!("{SIMULATION} is not one test: {named:?}") };
    let (package, binary, name) = ("ficus-rules".to_owned(), "lib".to_owned(), format!("migration::simulation::{name}"));
    Test { package, binary, name }.place();
}

#[test]
#[ignore = "compiles the rules anew and runs many worlds: `make mutations`"]
fn every_guard_that_is_switched_off_is_noticed() {
    let list = list();
    let place = tempfile::tempdir().unwrap();
    copy(&list, place.path());
    let asked = list.asked();
    if asked.is_empty() {
        return;
    }
    simulate(place.path(), &[]).expect("the simulation passes without a mutation");
    let mut wrong = Vec::new();
    for Mutation { guard, breaks, spare, .. } in asked {
        let run = simulate(place.path(), &breaks);
        let said = run.as_ref().err().map_or("not noticed", String::as_str);
        println!("{guard}: {said}{}", spare.as_ref().map(|why| format!(" (spare: {why})")).unwrap_or_default());
        if run.is_err() == spare.is_some() {
            wrong.push(guard);
        }
    }
    assert!(wrong.is_empty(), "not noticed, or said to be spare and noticed: {wrong:#?}");
}
