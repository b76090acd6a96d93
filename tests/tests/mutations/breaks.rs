//! Guards that can be switched off at run time: each is found in the source by its text, and replaced by a question whether it is
//! broken. What is asked stands in the environment, so one build has all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The variable with the names of what is broken.
pub(crate) const BROKEN: &str = "FICUS_BROKEN";

/// What a crate asks.
pub(crate) const ASKS: &str = r#"
fn is_broken(name: &str) -> bool {
    static BROKEN: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| std::env::var("FICUS_BROKEN").unwrap_or_default());
    BROKEN.split(' ').any(|broken| broken == name)
}
"#;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct List {
    pub(crate) r#break: BTreeMap<String, Break>,
    pub(crate) mutation: Vec<Mutation>,
}

/// One guard, and what stands there when it is broken.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Break {
    file: PathBuf,
    /// Stands in it once; the guard is what is between `«` and `»`.
    find: String,
    instead: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mutation {
    /// What is switched off, in words.
    pub(crate) guard: String,
    /// The names of what is broken for it.
    pub(crate) breaks: Vec<String>,
    /// Why nothing happens without it: what else holds. Such a guard must not be noticed.
    pub(crate) spare: Option<String>,
    /// What has to notice, if the simulation does not.
    pub(crate) test: Option<Test>,
}

/// A test of a shell.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Test {
    pub(crate) package: String,
    /// The name of a test of this package, or `lib`.
    pub(crate) binary: String,
    /// Its whole name in there.
    pub(crate) name: String,
}

impl List {
    pub(crate) fn read(text: &str) -> List {
        toml::from_str(text).unwrap()
    }

    /// One list of two.
    pub(crate) fn and(mut self, other: List) -> List {
        for (name, broken) in other.r#break {
            assert!(self.r#break.insert(name.clone(), broken).is_none(), "two breaks are called {name}");
        }
        self.mutation.extend(other.mutation);
        self
    }

    /// The files below `home` that have guards, with every guard breakable.
    pub(crate) fn breakable(&self, home: &Path) -> BTreeMap<&Path, String> {
        let mut guards: BTreeMap<&Path, Vec<(&str, &Break)>> = BTreeMap::new();
        self.r#break.iter().for_each(|(name, broken)| guards.entry(&broken.file).or_default().push((name, broken)));
        guards.into_iter().map(|(file, guards)| (file, rewritten(home, file, guards))).collect()
    }

    /// Every break is there, and is used.
    pub(crate) fn is_complete(&self) {
        let used: BTreeSet<_> = self.mutation.iter().flat_map(|mutation| &mutation.breaks).collect();
        assert_eq!(used, self.r#break.keys().collect(), "breaks that are used, and breaks that there are");
    }

    /// Those alone whose guards have one of these words: `FICUS_GUARD="its fence|floor"`.
    pub(crate) fn asked(self) -> Vec<Mutation> {
        let asked = std::env::var("FICUS_GUARD").unwrap_or_default();
        self.mutation.into_iter().filter(|mutation| asked.split('|').any(|words| mutation.guard.contains(words))).collect()
    }
}

fn rewritten(home: &Path, file: &Path, guards: Vec<(&str, &Break)>) -> String {
    let mut source = std::fs::read_to_string(home.join(file)).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut places: Vec<_> = guards.into_iter().map(|(name, broken)| (place(name, broken, &source), name, broken)).collect();
    places.sort_by_key(|(place, ..)| std::cmp::Reverse(place.start));
    assert!(places.windows(2).all(|two| two[1].0.end <= two[0].0.start), "two guards of {} overlap", file.display());
    for (place, name, broken) in places {
        let guard = &source[place.clone()];
        let asked = format!("(if crate::is_broken(\"{name}\") {{ {} }} else {{ {guard} }})", broken.instead);
        source.replace_range(place, &asked);
    }
    source
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
