//! The guards in the shells and those of the judgement, each of which a test has to miss. The copy is of the whole workspace, and compiled once.
//!
//! `shells/*.toml` lists them, like the guards in the rules: a `[break.NAME]` is a guard, where the text between « and » in `find`
//! becomes `instead`, in a `file` below the workspace. A `[[mutation]]` is what is switched off together (a thing that is asked more
//! than once is off when all that ask are broken), and the `test` that fails then. Of a `spare` one it has to pass.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::breaks::{ASKS, List, Mutation, Test};
use crate::run::{Built, End, build};
use crate::{apart, copy, workspace};

pub(crate) fn list() -> List {
    let parts = [
        include_str!("shells/gateway.toml"),
        include_str!("shells/agent.toml"),
        include_str!("shells/orchestrator.toml"),
        include_str!("shells/judgement.toml"),
    ];
    parts.into_iter().map(List::read).reduce(List::and).unwrap()
}

/// The files that read otherwise in the copy: those with guards, and the roots of their crates, which know what is broken.
fn rewritten(list: &List) -> BTreeMap<PathBuf, String> {
    let mut files: BTreeMap<PathBuf, String> =
        list.breakable(&workspace()).into_iter().map(|(file, source)| (file.to_owned(), source)).collect();
    let folders: BTreeSet<_> = files.keys().map(|file| file.components().next().unwrap().as_os_str().to_owned()).collect();
    for folder in folders {
        let roots = ["src/lib.rs", "src/main.rs"].map(|root| PathBuf::from(&folder).join(root));
        let root = roots.into_iter().find(|root| workspace().join(root).exists()).unwrap();
        let source = files.remove(&root).unwrap_or_else(|| std::fs::read_to_string(workspace().join(&root)).unwrap());
        // Of each guard there are parentheses left over.
        files.insert(root, format!("#![allow(unused)]\n{source}{ASKS}"));
    }
    files
}

impl Test {
    /// Where it stands, as the page of the guards has it: `proxy/tests/gateway/fence.rs::its_name`.
    pub(crate) fn place(&self) -> String {
        let folder = copy::packages().remove(&self.package).unwrap_or_else(|| panic!("no such package: {self:?}"));
        let (root, begin) = match self.binary.as_str() {
            "lib" => (folder.join("src"), "lib.rs"),
            name if workspace().join(&folder).join("tests").join(name).exists() => (folder.join("tests").join(name), "main.rs"),
            name => (folder.join("tests"), &*format!("{name}.rs")),
        };
        let mut way: Vec<_> = self.name.split("::").collect();
        let name = way.pop().unwrap();
        let files = (0..=way.len()).rev().map(|depth| match depth {
            0 => (root.join(begin), depth),
            _ => (root.join(way[..depth].join("/") + ".rs"), depth),
        });
        let (file, depth) = files.into_iter().find(|(file, _)| workspace().join(file).exists()).unwrap();
        let source = std::fs::read_to_string(workspace().join(&file)).unwrap();
        let place = format!("{}::{name}", file.display());
        way[depth..].iter().for_each(|inner| assert!(source.contains(&format!("mod {inner} {{")), "no module {inner} at {place}"));
        let lines: Vec<_> = source.lines().map(str::trim_start).collect();
        let at = lines.iter().position(|line| line.split_once("fn ").is_some_and(|(_, rest)| rest.starts_with(&format!("{name}("))));
        let before = &lines[..at.unwrap_or_else(|| panic!("no such test: {place}"))];
        let mut attributes = before.iter().rev().take_while(|line| line.starts_with("#["));
        assert!(attributes.any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test")), "no test: {place}");
        place
    }
}

#[test]
fn every_mutation_fits_the_source_and_names_a_test() {
    let list = list();
    rewritten(&list);
    list.is_complete();
    list.mutation.iter().for_each(|mutation| drop(mutation.test.as_ref().unwrap().place()));
}

/// Longer than a test takes that passes, on a machine that others use too, and than most tests wait for something that never comes.
fn patience(usual: Duration) -> Duration {
    usual * 4 + Duration::from_secs(150)
}

#[test]
#[ignore = "compiles everything anew and runs many servers: `make mutations`"]
fn every_guard_of_the_shells_that_is_switched_off_is_noticed() {
    let list = list();
    let to = apart().join("shells");
    copy::make(&to, rewritten(&list));
    let asked = list.asked();
    let tests: BTreeSet<&Test> = asked.iter().map(|mutation| mutation.test.as_ref().unwrap()).collect();
    if tests.is_empty() {
        return;
    }
    let begun = Instant::now();
    let built = build(&to, &tests);
    println!("built in {:.0?}", begun.elapsed());
    let usual = tests.iter().map(|test| (*test, passes(&built, test))).collect::<BTreeMap<_, _>>();
    println!("{} tests pass without a mutation, in {:.0?}", usual.len(), usual.values().sum::<Duration>());
    let mut wrong = Vec::new();
    for (number, mutation) in asked.iter().enumerate() {
        let Mutation { guard, breaks, spare, test } = mutation;
        let test = test.as_ref().unwrap();
        let (begun, limit) = (Instant::now(), patience(usual[test]));
        let (noticed, said) = match built.run(test, breaks, limit) {
            End::Passed => (false, "not noticed".to_owned()),
            End::Failed(why) => (true, why),
            End::Hung => (true, format!("it hangs: no end within {limit:.0?}")),
        };
        let why = spare.as_ref().map(|why| format!(" (spare: {why})")).unwrap_or_default();
        println!("{} of {}, {:.1?}: {guard}: {said}{why}", number + 1, asked.len(), begun.elapsed());
        if noticed == spare.is_some() {
            wrong.push(guard);
        }
    }
    println!("{} of {} as the list says, in {:.0?} with the build", asked.len() - wrong.len(), asked.len(), begun.elapsed());
    assert!(wrong.is_empty(), "not noticed, or said to be spare and noticed: {wrong:#?}");
}

/// How long a test takes when nothing is broken.
fn passes(built: &Built, test: &Test) -> Duration {
    let begun = Instant::now();
    match built.run(test, &[], Duration::from_secs(600)) {
        End::Passed => begun.elapsed(),
        End::Failed(why) => panic!("{test:?} fails without a mutation: {why}"),
        End::Hung => panic!("{test:?} hangs without a mutation"),
    }
}
