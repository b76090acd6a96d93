//! End to end: real binaries, a real Django, real databases. Each test has a world of its own.

mod aborts;
mod ahead;
mod ailing;
mod apart;
mod asleep;
mod borders;
mod breakage;
mod busy;
mod chain;
mod commands;
mod console;
mod demo;
mod deploy;
mod doors;
mod engines;
#[path = "../../../orchestrator/tests/support/etcd.rs"]
mod etcd;
mod explain;
mod fleet;
mod foreseen;
mod gone;
mod grpc;
mod handover;
mod health;
mod init;
mod kills;
mod lag;
mod leaderless;
mod log_outs;
mod lost;
#[path = "../../../sync-agent/tests/support/mariadb.rs"]
mod mariadb;
mod neighbours;
mod notebooks;
#[path = "../../../sync-agent/tests/support/own.rs"]
mod own;
mod page;
#[path = "../../../sync-agent/tests/support/postgres.rs"]
mod postgres;
mod process;
mod progress;
mod promql;
mod rehearsals;
mod reload;
mod rolling;
mod school;
mod secrets;
mod steps;
mod strays;
mod streaming;
mod successor;
mod tampered;
mod tls;
mod websockets;

use std::path::Path;

use tempfile::TempDir;

/// A directory for a world; kept and named unless the test says that it passed, so that its logs can be read.
struct Directory(Option<TempDir>);

impl Directory {
    fn new() -> Directory {
        Directory(Some(tempfile::tempdir().expect("a temporary directory")))
    }

    fn path(&self) -> &Path {
        self.0.as_ref().expect("kept until dropped").path()
    }

    /// Nobody needs the logs.
    fn passed(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Some(directory) = self.0.take() {
            eprintln!("the world of this test is in {}", directory.keep().display());
        }
    }
}
