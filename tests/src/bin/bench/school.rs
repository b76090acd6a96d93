//! Switches of the school, whose monolith is a real Django: how long writes were fenced, and how long the writes of that time
//! took.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use ficus_tests::load::{Load, Shape};
use ficus_tests::world::{Plan, World};

use crate::line::{Line, percentile};

const SWITCHES: usize = 20;
/// Milliseconds.
const BAR: u64 = 250;

/// Cutovers and reverts in turn, under load: how long writes were fenced, and how long the writes of that time took.
/// Whether all bars were met.
pub(crate) async fn pauses() -> Result<bool> {
    let directory = tempfile::tempdir()?;
    let world = World::start(directory.path(), Plan { users: 2_000, ..Plan::default() }).await?;
    let operator = world.operator()?;
    let load = Load::start(&world.http(), Shape::default()).await?;
    operator.type_in(&["advance", "users"]).await?;
    operator.until_phase("users", "shadowing", Duration::from_secs(60)).await?;
    let (mut fenced, mut windows) = (Vec::new(), Vec::new());
    for number in 0..SWITCHES {
        let (wish, phase) = if number % 2 == 0 { ("cutover", "soaking") } else { ("revert", "reverted") };
        let from = Instant::now();
        operator.type_in(&[wish, "users", "--wait", "30s"]).await?;
        let status = operator.until_phase("users", phase, Duration::from_secs(5)).await?;
        windows.push((from, Instant::now()));
        fenced.push(status["last_pause_ms"].as_u64().unwrap_or(u64::MAX));
        tokio::time::sleep(Duration::from_millis(1_500)).await;
    }
    let ledger = load.stop().await;
    ensure!(ledger.failures().is_empty(), "requests failed: {:?} {:?}", ledger.failures(), ledger.samples());
    let mut writes: Vec<u64> = Vec::new();
    for timing in ledger.timings().iter().filter(|timing| timing.write) {
        let overlaps = windows.iter().any(|(from, to)| timing.sent < *to && timing.sent + timing.took > *from);
        if overlaps {
            writes.push(u64::try_from(timing.took.as_millis()).unwrap_or(u64::MAX));
        }
    }
    let mut met = true;
    for (metric, mut values) in [("fenced_p99", fenced), ("write_p99", writes)] {
        let line = Line::of("switch_pause", metric, percentile(&mut values, 99), "ms").below(BAR);
        met &= line.with("median", percentile(&mut values, 50)).with("samples", values.len()).print();
    }
    Ok(met)
}
