//! The binary `ficus`: composes the parts and operates them.
//!
//! `ficus run` is gateway, orchestrator and agent in one process; `ficus gateway`, `ficus agent` and `ficus orchestrator`
//! are the same parts alone. Every other command is a thin client of the admin API, or (`check`, `explain --offline`)
//! calls the pure domain on local files.
//!
//! It never decides anything about a request, a row or a phase: `rules` does.
//!
//! Read next: `args.rs` for the commands, `run.rs` for the composition, `link.rs` for how the parts talk.

// The standard ones panic when the reader has gone (`ficus journal | head`).
macro_rules! print {
    ($($text:tt)*) => { $crate::exit::print(std::io::stdout(), format_args!($($text)*)) };
}
macro_rules! println {
    ($($text:tt)*) => { print!("{}\n", format_args!($($text)*)) };
}
macro_rules! eprintln {
    ($($text:tt)*) => { $crate::exit::print(std::io::stderr(), format_args!("{}\n", format_args!($($text)*))) };
}

mod admin;
mod args;
mod command;
mod config;
mod exit;
mod handover;
mod http;
mod keys;
mod link;
mod logging;
mod metrics;
mod ofrep;
mod panics;
mod run;
mod signals;

use clap::Parser as _;

/// See the workspace manifest: cheaper requests.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    let args = args::Args::parse();
    exit::code(command::execute(args))
}
