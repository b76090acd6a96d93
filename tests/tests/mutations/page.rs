//! `docs/guards.md` has every guard of both lists, and none besides.

use crate::breaks::{List, Mutation};
use crate::{shells, simulated, workspace};

/// The items of a list below a heading of the page.
fn listed(page: &str, heading: &str) -> Vec<String> {
    let (_, below) = page.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = below.split("\n## ").next().unwrap();
    section.lines().filter_map(|line| line.strip_prefix("- ")).map(str::to_owned).collect()
}

#[test]
fn the_page_of_the_guards_lists_them_all() {
    let page = std::fs::read_to_string(workspace().join("docs/guards.md")).unwrap();
    let parted = |list: List| list.mutation.into_iter().partition::<Vec<_>, _>(|mutation| mutation.spare.is_some());
    let (spare, missed) = parted(simulated::list());
    let (spare_in_shells, missed_in_shells) = parted(shells::list());
    let guards: Vec<_> = missed.into_iter().map(|mutation| mutation.guard).collect();
    assert_eq!(listed(&page, "Missed by the simulation when they are off"), guards);
    let why = |mutation: &Mutation| format!("{}: {}", mutation.guard, mutation.spare.clone().unwrap_or_default());
    assert_eq!(listed(&page, "Spare"), spare.iter().chain(&spare_in_shells).map(why).collect::<Vec<_>>());
    let with_its_test = |mutation: &Mutation| format!("{}: `{}`", mutation.guard, mutation.test.as_ref().unwrap().place());
    let tests: Vec<_> = missed_in_shells.iter().map(with_its_test).collect();
    assert_eq!(listed(&page, "Missed by the test that is named when they are off"), tests);
    // So does every guard of which the simulation has a model only: it names a test, for each engine that has its own.
    let shells = ["the gateway", "its link to the orchestrator", "the agent", "the database", "the store", "the orchestrator"];
    let of_shell = |guard: &&String| shells.iter().any(|shell| guard.ends_with(&format!(" (in {shell})")));
    for guard in guards.iter().filter(of_shell) {
        assert!(tests.iter().any(|line| line.starts_with(guard)), "no test of a shell is named for: {guard}");
    }
}
