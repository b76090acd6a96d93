//! How fast the agent is between unlike engines, beside what else carries rows there. Prints one JSON object a line; ends with
//! failure when one of them misses its bar, unless `FICUS_BENCH_REPORT=1` asks for the figures alone.
//!
//! Built by `make bench` together with everything else, so that crates have the features that they have in `ficus`; then
//! `target/release/examples/engines_bench [mariadb-copy|mariadb-drain|sqlite-copy|sqlite-drain|to-mariadb|triggers ...]` starts
//! servers of its own and measures, everything being the median of three rounds whose order alternates:
//!
//! - `mariadb-copy`, `sqlite-copy`: the initial copy to PostgreSQL, with columns renamed and cast, beside `pgloader`, which keeps
//!   their names. Where that is not on `PATH`, the line says so, and the bar is a number of rows;
//! - `mariadb-drain`, `sqlite-drain`: a backlog drained to PostgreSQL by the same mapping, from the start of the process to the
//!   last row being seen in the target;
//! - `to-mariadb`: a backlog drained from PostgreSQL to MariaDB, beside a replica of a MariaDB that was written the same;
//! - `triggers`: rows inserted one by one into a SQLite whose changes are captured, beside one whose changes are not.
//!
//! Rows of every target are compared with those of their source after each round. The agent's MariaDB flushes its log with each
//! commit (`sync_binlog = 1` as well), its peer's once a second: a replica has what it lost sent again, and is faster so. Sizes:
//! `FICUS_BENCH_{ROUNDS,ROWS,CHANGES,INSERTS}`. `noise` in a line is how many CPUs others used meanwhile: above 0.1 do not believe it.
//!
//! The agent runs as a process of its own (this program again), so that its memory and its CPU are its own.

#[path = "../support/agent.rs"]
mod agent;
#[path = "../support/bench.rs"]
mod bench;
mod copy;
mod database;
mod drain;
#[path = "../support/lines.rs"]
mod lines;
#[path = "../support/machine.rs"]
mod machine;
mod maps;
#[path = "../../tests/support/mariadb.rs"]
mod mariadb;
#[path = "../../tests/support/own.rs"]
mod own;
mod person;
mod pgloader;
#[path = "../../tests/support/postgres.rs"]
mod postgres;
mod replica;
mod triggers;

use std::process::ExitCode;

use bench::{Result, order, rounds, size};
use database::Engine;

/// The one of `ficus`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<ExitCode> {
    let parts = ["mariadb-copy", "mariadb-drain", "sqlite-copy", "sqlite-drain", "to-mariadb", "triggers"];
    bench::main(&parts, async |wanted| {
        let mut met = true;
        for source in [Engine::MariaDb, Engine::Sqlite] {
            if wanted.has(&format!("{source}-copy")) {
                met &= copy::measure(source).await?;
            }
            if wanted.has(&format!("{source}-drain")) {
                met &= drain::measure(source).await?;
            }
        }
        if wanted.has("to-mariadb") {
            met &= replica::measure().await?;
        }
        if wanted.has("triggers") {
            met &= triggers::measure().await?;
        }
        Ok(met)
    })
}
