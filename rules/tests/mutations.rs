//! Breaks one guard of a switch after the other in a copy of this crate, and looks whether the simulation notices
//! (`src/migration/simulation/mutations.toml` says which). The copy is compiled once: each break asks at run time whether it
//! is switched on. `make mutations` runs all of them.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

/// What the copy asks: the names of what is broken stand in the environment.
const ASKS: &str = r#"
fn is_broken(name: &str) -> bool {
    static BROKEN: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| std::env::var("FICUS_BROKEN").unwrap_or_default());
    BROKEN.split(' ').any(|broken| broken == name)
}
"#;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    r#break: BTreeMap<String, Break>,
    mutation: Vec<Mutation>,
}

/// One guard, and what stands there when it is broken.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Break {
    /// Below `src/`.
    file: PathBuf,
    /// Stands in it once; the guard is what is between `«` and `»`.
    find: String,
    instead: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mutation {
    /// What is switched off, in words.
    guard: String,
    /// The names of what is broken for it.
    breaks: Vec<String>,
    /// Why nothing happens without it: what else holds. Such a guard must not be noticed.
    spare: Option<String>,
}

fn list() -> List {
    toml::from_str(include_str!("../src/migration/simulation/mutations.toml")).unwrap()
}

fn home() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where a guard stands in the source.
fn place(name: &str, broken: &Break, source: &str) -> std::ops::Range<usize> {
    let (before, rest) = broken.find.split_once('«').unwrap();
    let (guard, after) = rest.split_once('»').unwrap();
    let whole = format!("{before}{guard}{after}");
    let found: Vec<_> = source.match_indices(&whole).collect();
    assert_eq!(found.len(), 1, "{name}: `{whole}` stands {} times in {}", found.len(), broken.file.display());
    let start = found[0].0 + before.len();
    start..start + guard.len()
}

/// The files that have guards, with every guard breakable.
fn breakable(list: &List) -> BTreeMap<&Path, String> {
    let mut guards: BTreeMap<&Path, Vec<(&str, &Break)>> = BTreeMap::new();
    list.r#break.iter().for_each(|(name, broken)| guards.entry(&broken.file).or_default().push((name, broken)));
    let rewritten = guards.into_iter().map(|(file, guards)| {
        let mut source = std::fs::read_to_string(home().join("src").join(file)).unwrap();
        let mut places: Vec<_> = guards.into_iter().map(|(name, broken)| (place(name, broken, &source), name, broken)).collect();
        places.sort_by_key(|(place, ..)| std::cmp::Reverse(place.start));
        assert!(places.windows(2).all(|two| two[1].0.end <= two[0].0.start), "two guards of {} overlap", file.display());
        for (place, name, broken) in places {
            let guard = &source[place.clone()];
            let asked = format!("(if crate::is_broken(\"{name}\") {{ {} }} else {{ {guard} }})", broken.instead);
            source.replace_range(place, &asked);
        }
        (file, source)
    });
    rewritten.collect()
}

/// A workspace of this crate alone, with every guard breakable, at `to`.
fn copy(list: &List, to: &Path) {
    let workspace = home().parent().unwrap();
    let manifest = std::fs::read_to_string(workspace.join("Cargo.toml")).unwrap();
    let alone = |line: &str| if line.starts_with("members = ") { "members = [\"rules\"]\n".to_owned() } else { format!("{line}\n") };
    std::fs::write(to.join("Cargo.toml"), manifest.lines().map(alone).collect::<String>()).unwrap();
    std::fs::copy(workspace.join("Cargo.lock"), to.join("Cargo.lock")).unwrap();
    assert!(Command::new("cp").arg("-r").arg(home()).arg(to).status().unwrap().success());
    let src = to.join("rules/src");
    breakable(list).into_iter().for_each(|(file, source)| std::fs::write(src.join(file), source).unwrap());
    let lib = std::fs::read_to_string(src.join("lib.rs")).unwrap();
    std::fs::write(src.join("lib.rs"), lib + ASKS).unwrap();
}

/// Runs the copy's simulation; what it said when it failed.
fn simulate(copy: &Path, breaks: &[String]) -> Result<(), String> {
    let cargo = Command::new(env!("CARGO"))
        .args(["test", "--quiet", "--release", "--package", "ficus-rules", "--lib", "simulation::whatever"])
        .current_dir(copy)
        .env("CARGO_TARGET_DIR", home().parent().unwrap().join("target/mutations"))
        .env("RUST_BACKTRACE", "0")
        .env("FICUS_BROKEN", breaks.join(" "))
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
    breakable(&list);
    let used: std::collections::BTreeSet<_> = list.mutation.iter().flat_map(|mutation| &mutation.breaks).collect();
    assert_eq!(used, list.r#break.keys().collect(), "breaks that are used, and breaks that there are");
}

/// The items of a list below a heading of the page.
fn listed(page: &str, heading: &str) -> Vec<String> {
    let (_, below) = page.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = below.split("\n## ").next().unwrap();
    section.lines().filter_map(|line| line.strip_prefix("- ")).map(str::to_owned).collect()
}

#[test]
fn the_page_of_the_guards_lists_them_all() {
    let page = std::fs::read_to_string(home().join("../docs/guards.md")).unwrap();
    let list = list();
    let (spare, missed): (Vec<_>, Vec<_>) = list.mutation.iter().partition(|mutation| mutation.spare.is_some());
    let missed: Vec<_> = missed.into_iter().map(|mutation| mutation.guard.clone()).collect();
    assert_eq!(listed(&page, "Missed by the simulation when they are off"), missed);
    let why = |mutation: &&Mutation| format!("{}: {}", mutation.guard, mutation.spare.clone().unwrap_or_default());
    assert_eq!(listed(&page, "Spare"), spare.iter().map(why).collect::<Vec<_>>());
    // Those of the shells name the tests that miss them, and so does every guard of which the simulation has a model only.
    let tests = listed(&page, "Missed by tests of the shells");
    for line in &tests {
        let (file, test) = line.strip_suffix('`').and_then(|line| line.rsplit_once('`')?.1.split_once("::")).unwrap();
        let source = std::fs::read_to_string(home().join("..").join(file)).unwrap();
        assert!(source.contains(&format!("fn {test}(")), "{line}");
    }
    let shells = ["the gateway", "its link to the orchestrator", "the agent", "the database", "the store"];
    let of_shell = |guard: &&String| shells.iter().any(|shell| guard.ends_with(&format!(" (in {shell})")));
    for guard in list.mutation.iter().map(|mutation| &mutation.guard).filter(of_shell) {
        assert!(tests.iter().any(|line| line.starts_with(&format!("{guard}: `"))), "no test of a shell is named for: {guard}");
    }
}

#[test]
#[ignore = "compiles the crate anew and runs many worlds: `make mutations`"]
fn every_guard_that_is_switched_off_is_noticed() {
    let list = list();
    let place = tempfile::tempdir().unwrap();
    copy(&list, place.path());
    simulate(place.path(), &[]).expect("the simulation passes without a mutation");
    let mut wrong = Vec::new();
    // Those alone whose guards have one of these words: `FICUS_GUARD="its fence|floor"`.
    let asked = std::env::var("FICUS_GUARD").unwrap_or_default();
    for Mutation { guard, breaks, spare } in
        list.mutation.into_iter().filter(|mutation| asked.split('|').any(|words| mutation.guard.contains(words)))
    {
        let run = simulate(place.path(), &breaks);
        let said = run.as_ref().err().map_or("not noticed", String::as_str);
        println!("{guard}: {said}{}", spare.as_ref().map(|why| format!(" (spare: {why})")).unwrap_or_default());
        if run.is_err() == spare.is_some() {
            wrong.push(guard);
        }
    }
    assert!(wrong.is_empty(), "not noticed, or said to be spare and noticed: {wrong:#?}");
}
