//! A copy of the workspace with a target directory of its own, which begins with what is built already of the crates that are not
//! ours. The copy stays: what did not change since the last run is not written anew, and not compiled anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{built, workspace};

/// What is not source.
const LEFT_OUT: [&str; 5] = ["target", ".git", ".venv", ".demo", "__pycache__"];

/// Makes `to` a copy, in which some files read otherwise.
pub(crate) fn make(to: &Path, mut otherwise: BTreeMap<PathBuf, String>) {
    let (mut wanted, mut there) = (BTreeSet::new(), BTreeSet::new());
    files(&workspace(), Path::new(""), &mut wanted);
    files(to, Path::new(""), &mut there);
    for file in there.difference(&wanted) {
        fs::remove_file(to.join(file)).unwrap();
    }
    for file in &wanted {
        let from = workspace().join(file);
        let text = otherwise.remove(file).map_or_else(|| fs::read(&from).unwrap(), String::into_bytes);
        let file = to.join(file);
        if fs::read(&file).is_ok_and(|known| known == text) {
            continue;
        }
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::metadata(&from).unwrap().permissions()).unwrap();
    }
    assert!(otherwise.is_empty(), "no such file: {:?}", otherwise.keys());
    // Tests look for the Python of the examples there.
    let python = workspace().join(".venv");
    if python.exists() && !to.join(".venv").exists() {
        std::os::unix::fs::symlink(python, to.join(".venv")).unwrap();
    }
    begin_with_what_is_built(&to.join("target/debug"));
}

/// The files of a folder, below `root`.
fn files(root: &Path, folder: &Path, found: &mut BTreeSet<PathBuf>) {
    let Ok(entries) = fs::read_dir(root.join(folder)) else { return };
    for entry in entries.map(Result::unwrap).filter(|entry| !LEFT_OUT.iter().any(|name| entry.file_name() == *name)) {
        let (path, kind) = (folder.join(entry.file_name()), entry.file_type().unwrap());
        if kind.is_dir() {
            files(root, &path, found);
        } else if kind.is_file() {
            found.insert(path);
        }
    }
}

/// The folders of the workspace's packages, by name.
pub(crate) fn packages() -> BTreeMap<String, PathBuf> {
    let manifest = |folder: &Path| toml::from_str::<toml::Table>(&fs::read_to_string(folder.join("Cargo.toml")).unwrap()).unwrap();
    let members = manifest(&workspace())["workspace"]["members"].clone();
    let members = members.as_array().unwrap().iter().map(|member| PathBuf::from(member.as_str().unwrap()));
    members.map(|folder| (manifest(&workspace().join(&folder))["package"]["name"].as_str().unwrap().to_owned(), folder)).collect()
}

/// Links what was compiled of other crates beside this test: what cargo knows of it does not depend on where the workspace lies.
fn begin_with_what_is_built(target: &Path) {
    if target.exists() || !built().ends_with("debug") {
        return;
    }
    let ours = packages();
    // Of `serde_json-0123456789abcdef` and the like.
    let is_ours = |name: &str| name.rsplit_once('-').is_some_and(|(name, _)| ours.contains_key(&name.replace('_', "-")));
    fs::create_dir_all(target.join("deps")).unwrap();
    for entry in fs::read_dir(built().join("deps")).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        let is_library = [".rlib", ".rmeta", ".so"].iter().any(|end| name.ends_with(end));
        if is_library && !is_ours(name.strip_prefix("lib").unwrap_or(&name)) {
            fs::hard_link(entry.path(), target.join("deps").join(name)).unwrap();
        }
    }
    // What cargo notes down anew is for the copy alone.
    for (folder, how) in [("build", "-al"), (".fingerprint", "-a")] {
        fs::create_dir_all(target.join(folder)).unwrap();
        for entry in fs::read_dir(built().join(folder)).unwrap().map(Result::unwrap) {
            if !is_ours(&entry.file_name().into_string().unwrap()) {
                let copied = Command::new("cp").arg(how).arg(entry.path()).arg(target.join(folder)).status();
                assert!(copied.unwrap().success());
            }
        }
    }
}
