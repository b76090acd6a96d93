//! How fast PostgreSQL goes to PostgreSQL, beside what the server itself offers. Prints one JSON object a line; ends with
//! failure when one of them misses its bar, unless `FICUS_BENCH_REPORT=1` asks for the figures alone.
//!
//! Built by `make bench` together with everything else, so that crates have the features that they have in `ficus`; then
//! `target/release/examples/postgres_bench [decode|apply|lag|copy ...]` starts three servers of its own (a source, a target
//! for the peer, a target for the agent; the same settings, `fsync` on) and measures, everything being the median of three
//! rounds whose order alternates:
//!
//! - `decode`: a backlog read and decoded, beside `pg_recvlogical` with pgoutput to `/dev/null`;
//! - `apply`: backlogs drained, beside a subscription, from the start of the process or the subscription to the last row
//!   being seen in the target; and the CPU of servers and agent until everything is quiet again;
//! - `lag`: from the answer to a commit to its row being seen, at a fixed rate, beside a subscription;
//! - `copy`: the initial copy, beside `COPY` piped into `COPY`.
//!
//! The agent commits synchronously. The subscription keeps its default, `synchronous_commit = off`, which is as safe for it
//! and faster; `FICUS_BENCH_NATIVE_SYNC=1` takes that from it. Sizes: `FICUS_BENCH_{ROUNDS,TRANSACTIONS,UPDATES,BIG,ROWS}`,
//! and `FICUS_BENCH_SECONDS` for `lag`. `noise` in a line is how many CPUs others used meanwhile: above 0.1 do not believe it.
//!
//! The agent runs as a process of its own (this program again), so that its memory and its CPU are its own.

mod agent;
mod apply;
mod bed;
mod copy;
mod lag;
mod lines;
#[path = "../../tests/support/own.rs"]
mod own;
#[path = "../../tests/support/postgres.rs"]
mod server;

use std::process::ExitCode;

/// The one of `ficus`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failed = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Failed>;

const ALL: [&str; 4] = ["decode", "apply", "lag", "copy"];

fn main() -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [role, rest @ ..] = arguments.as_slice()
        && role == agent::ROLE
    {
        return runtime.block_on(agent::run(rest)).map(|()| ExitCode::SUCCESS);
    }
    let wanted = |name: &str| arguments.is_empty() || arguments.iter().any(|argument| argument == name);
    if let Some(unknown) = arguments.iter().find(|argument| !ALL.contains(&argument.as_str())) {
        return Err(format!("{unknown} is not measured here; name some of {}", ALL.join(", ")).into());
    }
    let met = runtime.block_on(async {
        let mut met = true;
        if wanted("decode") || wanted("apply") {
            met &= apply::measure(wanted("decode"), wanted("apply")).await?;
        }
        if wanted("lag") {
            met &= lag::measure().await?;
        }
        if wanted("copy") {
            met &= copy::measure().await?;
        }
        Result::Ok(met)
    })?;
    Ok(if met || size("REPORT", 0)? == 1 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A size from the environment.
fn size(name: &str, default: u64) -> Result<u64> {
    match std::env::var(format!("FICUS_BENCH_{name}")) {
        Ok(text) => text.parse().map_err(|_| format!("FICUS_BENCH_{name} is no number").into()),
        Err(_) => Ok(default),
    }
}

/// How often each figure is taken.
fn rounds() -> Result<usize> {
    Ok(usize::try_from(size("ROUNDS", 3)?)?.clamp(1, 20))
}

/// Whether the agent's turn is now, for both turns of a round.
fn order(round: usize) -> [bool; 2] {
    [round % 2 == 1, round.is_multiple_of(2)]
}
