//! Builds the tests of a copy, and runs one of them alone: it passes, fails, or does not end. What it started and left behind is
//! ended.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::breaks::{BROKEN, Test};
use crate::copy::packages;

/// Tells what a test started from everything else.
const MARK: &str = "FICUS_MUTATION";

/// The executables of tests, by package and name.
pub(crate) struct Built {
    copy: PathBuf,
    executables: BTreeMap<(String, String), PathBuf>,
    packages: BTreeMap<String, PathBuf>,
    runs: AtomicU32,
}

/// How a test ended.
pub(crate) enum End {
    Passed,
    /// And what it said.
    Failed(String),
    Hung,
}

/// Builds what these tests need.
pub(crate) fn build(copy: &Path, tests: &BTreeSet<&Test>) -> Built {
    let cargo = |arguments: &[String]| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(arguments).current_dir(copy).env("CARGO_TARGET_DIR", copy.join("target")).stderr(Stdio::inherit());
        let output = cargo.output().unwrap();
        assert!(output.status.success(), "it does not compile");
        String::from_utf8(output.stdout).unwrap()
    };
    let mut arguments = ["test", "--workspace", "--no-run", "--message-format=json"].map(String::from).to_vec();
    for binary in tests.iter().map(|test| &test.binary).collect::<BTreeSet<_>>() {
        match binary.as_str() {
            "lib" => arguments.push("--lib".to_owned()),
            name => arguments.extend(["--test".to_owned(), name.to_owned()]),
        }
    }
    // Those of the whole start the processes of a fleet.
    if tests.iter().any(|test| test.package == "ficus-tests") {
        cargo(&["build", "--workspace", "--bins"].map(String::from));
    }
    let said = cargo(&arguments);
    let packages = packages();
    let executables = said.lines().filter_map(|line| executable(&serde_json::from_str(line).unwrap(), copy, &packages));
    Built { copy: copy.to_owned(), executables: executables.collect(), packages, runs: AtomicU32::default() }
}

/// The test that cargo tells of, if it does.
fn executable(message: &serde_json::Value, copy: &Path, packages: &BTreeMap<String, PathBuf>) -> Option<((String, String), PathBuf)> {
    let executable = message["executable"].as_str().filter(|_| message["profile"]["test"] == true)?;
    let folder = Path::new(message["manifest_path"].as_str()?).parent()?.strip_prefix(copy).ok()?;
    let (package, _) = packages.iter().find(|(_, of)| *of == folder)?;
    let target = &message["target"];
    let binary = if target["kind"][0] == "test" { target["name"].as_str()? } else { "lib" };
    Some(((package.clone(), binary.to_owned()), executable.into()))
}

impl Built {
    /// Runs a test with something broken. It hangs when it runs for longer than `patience`.
    pub(crate) fn run(&self, test: &Test, breaks: &[String], patience: Duration) -> End {
        let executable = self.executables.get(&(test.package.clone(), test.binary.clone()));
        let executable = executable.unwrap_or_else(|| panic!("no such binary: {test:?}"));
        let said = self.copy.join("target/said");
        let out = File::create(&said).unwrap();
        let mark = format!("{}-{}", std::process::id(), self.runs.fetch_add(1, Ordering::Relaxed));
        let child = Command::new(executable)
            .args([&test.name, "--exact", "--include-ignored"])
            .current_dir(self.copy.join(&self.packages[&test.package]))
            .envs([(BROKEN, breaks.join(" ")), (MARK, mark.clone()), ("RUST_BACKTRACE", "0".to_owned())])
            .stdin(Stdio::null())
            .stderr(out.try_clone().unwrap())
            .stdout(out)
            .spawn();
        let status = ended(&mut child.unwrap(), patience);
        end_marked(&mark);
        let said = String::from_utf8_lossy(&fs::read(said).unwrap()).into_owned();
        let result = |what: &str| said.lines().any(|line| line.starts_with(&format!("test result: {what};")));
        match status {
            None => End::Hung,
            Some(status) if status.success() && result("ok. 1 passed; 0 failed") => End::Passed,
            Some(_) if result("FAILED. 0 passed; 1 failed") => End::Failed(why(&said)),
            Some(status) => panic!("{test:?} neither passed nor failed ({status}):\n{said}"),
        }
    }
}

/// Waits for an end; kills it after that.
fn ended(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let begun = Instant::now();
    while begun.elapsed() < patience {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    None
}

/// Ends what bears the mark, after a moment in which it may end by itself: keepers of database servers do.
fn end_marked(mark: &str) {
    let mark = format!("{MARK}={mark}");
    let begun = Instant::now();
    loop {
        let left: Vec<_> = processes().filter(|process| bears(process, &mark)).collect();
        if left.is_empty() {
            return;
        }
        if begun.elapsed() > Duration::from_secs(5) {
            let ids = left.iter().filter_map(|process| process.file_name()?.to_str()?.parse().ok().and_then(Pid::from_raw));
            // It may have ended meanwhile.
            ids.for_each(|id| _ = kill_process(id, Signal::KILL));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn processes() -> impl Iterator<Item = PathBuf> {
    fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path()))
}

/// Whether the environment that a process began with has it. One that has ended, and was not waited for, has none.
fn bears(process: &Path, mark: &str) -> bool {
    fs::read(process.join("environ")).is_ok_and(|all| all.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes()))
}

/// Of what a test said, why it failed: the error that it returned, with its causes, or what it panicked with.
fn why(said: &str) -> String {
    let error =
        said.lines().skip_while(|line| !line.starts_with("Error: ")).take_while(|line| !["stack backtrace:", "failures:"].contains(line));
    let error: Vec<_> = error.map(str::trim).filter(|line| !line.is_empty()).take(6).collect();
    let mut panicked = said.lines().skip_while(|line| !(line.starts_with("thread '") && line.contains(" panicked at ")));
    let line = if error.is_empty() { panicked.nth(1).unwrap_or_default().to_owned() } else { error.join(" ") };
    line.chars().take(300).collect()
}
