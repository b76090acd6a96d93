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

#[path = "../support/agent.rs"]
mod agent;
mod apply;
mod bed;
#[path = "../support/bench.rs"]
mod bench;
mod copy;
mod lag;
#[path = "../support/lines.rs"]
mod lines;
#[path = "../support/machine.rs"]
mod machine;
mod maps;
#[path = "../../tests/support/own.rs"]
mod own;
#[path = "../../tests/support/postgres.rs"]
mod server;

use std::process::ExitCode;

use bench::{Failed, Result, order, rounds, size};

/// The one of `ficus`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<ExitCode> {
    bench::main(&["decode", "apply", "lag", "copy"], async |wanted| {
        let mut met = true;
        if wanted.has("decode") || wanted.has("apply") {
            met &= apply::measure(wanted.has("decode"), wanted.has("apply")).await?;
        }
        if wanted.has("lag") {
            met &= lag::measure().await?;
        }
        if wanted.has("copy") {
            met &= copy::measure().await?;
        }
        Ok(met)
    })
}
