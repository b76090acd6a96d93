//! Breaks one guard of a switch after the other in a copy, and looks whether somebody notices: the simulation, of the guards in the
//! rules; a test, of those in the shells. `make mutations` runs all of them.

#![allow(clippy::unwrap_used, reason = "a test")]

mod breaks;
mod copy;
mod fuzzed;
mod page;
mod run;
mod shells;
mod simulated;

use std::path::{Path, PathBuf};

/// The workspace.
fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Where what is run here was built: `target/debug`.
fn built() -> PathBuf {
    let here = std::env::current_exe().unwrap();
    here.ancestors().nth(2).unwrap().to_owned()
}

/// What the copies and what is built of them are below.
fn apart() -> PathBuf {
    built().parent().unwrap().join("mutations")
}
