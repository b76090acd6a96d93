//! `make demo`: the whole promise, happening to a real Django application, on one screen.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use ficus_tests::demo;
use tokio::signal::unix::{Signal, SignalKind, signal};

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
struct Ending([Signal; 3]);

impl Ending {
    fn listen() -> Result<Ending> {
        Ok(Ending([signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?]))
    }

    async fn wished(&mut self) {
        let Ending([interrupt, terminate, hangup]) = self;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// Dropping a future of the demo ends every process that it started.
fn run(keep: bool) -> Result<bool> {
    let directory = std::env::var("FICUS_DEMO_DIR").unwrap_or_else(|_| ".demo".into());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let mut ending = Ending::listen()?;
        let mut demo = tokio::select! {
            result = demo::run(Path::new(&directory)) => result?,
            () = ending.wished() => {
                eprintln!("\ninterrupted: ending everything that was started");
                return Ok(false);
            }
        };
        if keep {
            tokio::select! {
                result = demo.stay() => result?,
                () = ending.wished() => println!("\nending everything"),
            }
        }
        Ok(demo.kept)
    })
}
