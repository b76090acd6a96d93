//! Every directory under `examples/` is a rule set that may be served, without a warning. What a system has in `later/`
//! waits for its services, and may be served beside the rest.

use std::path::{Path, PathBuf};

use ficus_rules::plan::StepAction;
use ficus_rules::spec::{Known, load};
use ficus_rules::wire::RuleFile;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

fn files(directory: &Path) -> Vec<RuleFile> {
    let mut files: Vec<RuleFile> = std::fs::read_dir(directory)
        .expect("a directory of examples")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .map(|path| RuleFile {
            name: path.file_name().expect("a name").to_string_lossy().into_owned(),
            text: std::fs::read_to_string(&path).expect("a readable file"),
        })
        .collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files
}

fn served_in_silence(name: &str, files: &[RuleFile]) -> usize {
    let checked = load(files, &Known::default());
    let complaints = checked.as_ref().map_or_else(Clone::clone, |checked| checked.warnings.clone());
    let shown: Vec<String> = complaints.iter().map(ToString::to_string).collect();
    assert!(shown.is_empty(), "{name}:\n{}", shown.join("\n"));
    checked.expect("no complaints").rules.capabilities.len()
}

#[test]
fn every_example_may_be_served() {
    let mut capabilities = Vec::new();
    for entry in std::fs::read_dir(examples()).expect("the examples") {
        let directory = entry.expect("an entry").path();
        let name = directory.file_name().expect("a name").to_string_lossy().into_owned();
        let mut all = files(&directory);
        let now = served_in_silence(&name, &all);
        if directory.join("later").is_dir() {
            all.extend(files(&directory.join("later")));
        }
        capabilities.push((name.clone(), now, served_in_silence(&name, &all)));
    }
    capabilities.sort();
    let expected = [("course-organizer", 8, 8), ("learning-app", 5, 5), ("quested", 8, 8), ("student-management", 1, 8)];
    assert_eq!(capabilities, expected.map(|(name, now, later)| (name.to_owned(), now, later)));
}

#[test]
fn the_demo_moves_users_as_its_page_says() {
    let known = Known { upstreams: ["monolith", "users-service"].map(str::to_owned).into(), ..Known::default() };
    let rules = load(&files(&examples().join("student-management")), &Known::default()).expect("the demo's rules").rules;
    let users = &rules.capabilities["users"];
    assert!(known.upstreams.contains(&users.legacy) && known.upstreams.contains(&users.modern));
    assert!(matches!(users.steps.last().map(|step| step.action.clone()), Some(StepAction::Soak(_))));
    let pairs: Vec<(&str, &str)> = users.tables.iter().map(|table| (table.legacy.as_str(), table.modern.as_str())).collect();
    let expected = [
        ("accounts_customuser", "users"),
        ("accounts_adminhod", "profiles"),
        ("accounts_staff", "profiles"),
        ("accounts_student", "profiles"),
        ("accounts_usernote", "notes"),
        ("accounts_photo", "photos"),
    ];
    assert_eq!(pairs, expected);
}
