//! What processes have spent, and waiting for them.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::Result;

/// Nobody waits longer than this for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

/// Ticks of `/proc` in a second: USER_HZ is 100 on every Linux that we know.
pub(crate) const TICKS: f64 = 100.0;

/// What differs from the tests' servers of PostgreSQL: a disk that is written through, memory as on a small production machine,
/// and no background work that would fall into one round and not into another.
pub(crate) const POSTGRES: [&str; 11] = [
    "fsync=on",
    "shared_buffers=512MB",
    "max_wal_size=16GB",
    "checkpoint_timeout=1h",
    "autovacuum=off",
    "wal_retrieve_retry_interval=100ms",
    "wal_writer_delay=10ms",
    "max_worker_processes=32",
    "max_logical_replication_workers=16",
    "max_connections=60",
    "log_min_messages=error",
];

/// Seconds of CPU that the server of a directory has spent: its processes that live, and those that it has waited for.
pub(crate) fn cpu_of_server(directory: &Path) -> Result<f64> {
    let first = std::fs::read_to_string(directory.join("pid"))?.trim().to_owned();
    let mut ticks = 0.0;
    for entry in std::fs::read_dir("/proc")?.flatten() {
        // One that has ended since is among those waited for.
        let Some(stat) = stat(&entry.path().join("stat")) else { continue };
        if entry.file_name().to_str() == Some(first.as_str()) {
            ticks += stat.own + stat.ended;
        } else if stat.parent == first {
            ticks += stat.own;
        }
    }
    Ok(ticks / TICKS)
}

/// Seconds of CPU of one process.
pub(crate) fn cpu_of_process(pid: u32) -> f64 {
    stat(Path::new(&format!("/proc/{pid}/stat"))).map_or(0.0, |stat| stat.own / TICKS)
}

struct Stat {
    parent: String,
    own: f64,
    ended: f64,
}

/// `man proc`: the name stands in brackets and may hold anything; after it fields 3 and on.
fn stat(path: &Path) -> Option<Stat> {
    let text = std::fs::read_to_string(path).ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field - 3).and_then(|field| field.parse::<f64>().ok());
    Some(Stat { parent: (*fields.get(1)?).to_owned(), own: ticks(14)? + ticks(15)?, ended: ticks(16)? + ticks(17)? })
}

/// Until those whose seconds of CPU these are have done nothing for a while.
pub(crate) async fn settle(spent: impl Fn() -> Result<f64>) -> Result<()> {
    let mut last = spent()?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = spent()?;
        // A tick now and then is what idle servers spend.
        if now - last < 0.025 {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err("the servers do not come to rest".into());
        }
        last = now;
    }
}

/// Asks until it holds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await? {
        if Instant::now() > deadline {
            return Err(format!("not within {} s: {what}", PATIENCE.as_secs()).into());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}
