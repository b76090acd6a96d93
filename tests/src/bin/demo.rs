//! `make demo`: the whole promise, happening to a real Django application, on one screen.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use ficus_tests::demo;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let keep = std::env::var("KEEP").is_ok_and(|value| value == "1");
    match run(keep) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("\nthe demo ended early: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Ctrl-C, or a wish to end from elsewhere.
async fn ended() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}

fn run(keep: bool) -> Result<bool> {
    let directory = std::env::var("FICUS_DEMO_DIR").unwrap_or_else(|_| ".demo".into());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            result = demo::run(Path::new(&directory), keep) => result,
            () = ended() => {
                eprintln!("\ninterrupted: ending everything that was started");
                Ok(false)
            }
        }
    })
}
