//! `make fuzz` picks tests by what is in their names: by these it has to find every one that looks for a panic.

use std::path::{Path, PathBuf};

use crate::workspace;

/// What of the names picks them.
fn words() -> Vec<String> {
    let makefile = std::fs::read_to_string(workspace().join("Makefile")).unwrap();
    let line = makefile.lines().find(|line| line.starts_with("\tFICUS_FUZZ_SECONDS=")).unwrap();
    line.split_once(" --nocapture ").unwrap().1.split_whitespace().map(str::to_owned).collect()
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            sources(&entry, found);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            found.push(entry);
        }
    }
}

#[test]
fn every_property_about_panics_is_fuzzed() {
    let words = words();
    let mut files = Vec::new();
    ["rules/src", "proxy/src", "sync-agent/src"].iter().for_each(|part| sources(&workspace().join(part), &mut files));
    let mut decoders = 0;
    for file in files {
        let source = std::fs::read_to_string(&file).unwrap();
        let Some((_, properties)) = source.split_once("proptest! {") else { continue };
        let names = properties.lines().filter_map(|line| line.trim_start().strip_prefix("fn ")?.split_once('(')).map(|(name, _)| name);
        for name in names.filter(|name| name.contains("panic")) {
            assert!(words.iter().any(|word| name.contains(word)), "make fuzz does not find {name} of {}", file.display());
            decoders += usize::from(file.starts_with(workspace().join("sync-agent")));
        }
    }
    assert_eq!(decoders, 5, "those of pgoutput and of the binary log");
}
