//! `make bench`: measurements that need a whole world. Prints one JSON object a line, and
//! ends with exit status 1 when one of them misses its bar.
//!
//! By itself it measures everything. `bench school`, `bench switches postgres mariadb sqlite` and `bench fleet postgres mariadb sqlite`
//! are parts of it; `FICUS_SWITCHES` is how many switches of each pair, `FICUS_FLEET_SWITCHES` how many of a fleet, `FICUS_WRITES` how many
//! writes a second are asked for.

mod fleet;
mod line;
mod school;
mod switches;

#[path = "../../../../orchestrator/tests/support/etcd.rs"]
mod etcd;
#[path = "../../../../sync-agent/tests/support/mariadb.rs"]
mod mariadb;
#[path = "../../../../sync-agent/tests/support/own.rs"]
mod own;
#[path = "../../../../sync-agent/tests/support/postgres.rs"]
mod postgres;

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use switches::Engine;

fn main() -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let words: Vec<String> = std::env::args().skip(1).collect();
    let met = runtime.block_on(measure(&words))?;
    Ok(if met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether all bars were met.
async fn measure(words: &[String]) -> Result<bool> {
    let (part, more) = words.split_first().map_or(("all", &[][..]), |(part, more)| (part, more));
    if !["all", "school", "switches", "fleet"].contains(&part) {
        bail!("no bench `{part}`: school, switches, fleet, or nothing for all");
    }
    let named = |engine: &Engine| more.is_empty() || more.iter().any(|word| word == engine.name());
    let wanted = |name: &str| part == "all" || part == name;
    let mut met = true;
    if wanted("school") {
        met &= school::pauses().await?;
    }
    if wanted("switches") {
        for engine in Engine::ALL.into_iter().filter(named) {
            met &= switches::measure(engine, number("FICUS_SWITCHES", 200)?, writes()?).await?;
        }
    }
    if wanted("fleet") {
        for engine in Engine::ALL.into_iter().filter(named) {
            met &= fleet::measure(engine, number("FICUS_FLEET_SWITCHES", 200)?, writes()?).await?;
        }
    }
    Ok(met)
}

/// Writes a second.
fn writes() -> Result<u32> {
    number("FICUS_WRITES", 400)
}

fn number(variable: &str, otherwise: u32) -> Result<u32> {
    match std::env::var(variable) {
        Ok(text) => text.parse().with_context(|| format!("{variable} is no number: {text}")),
        Err(_) => Ok(otherwise),
    }
}
