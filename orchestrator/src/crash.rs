//! Points at which tests kill the process: with `FICUS_CRASH_AT=orchestrator:<stage>` (`fence`, `drain`,
//! `fence_database`, `catch_up`, `verify`, `sequences`, `open`, `release`, `lift`) or `orchestrator:<phase>`, it aborts
//! right after that stage or phase was written down for the first time, before anybody can be told.
//!
//! With `FICUS_WAIT_AT=<folder>` it waits there instead, at every stage: it makes a file in the folder that is called as the
//! stage, and goes on when somebody has removed it. Meanwhile tests do what they like to whomever they like.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use ficus_rules::migration::State;

static POINT: LazyLock<Option<String>> = LazyLock::new(|| {
    let point = std::env::var("FICUS_CRASH_AT").ok()?;
    point.strip_prefix("orchestrator:").map(str::to_owned)
});

static FOLDER: LazyLock<Option<PathBuf>> = LazyLock::new(|| std::env::var_os("FICUS_WAIT_AT").map(PathBuf::from));

/// Nobody is waited for longer.
const LONGEST: Duration = Duration::from_secs(60);

/// Aborts if `after` has just entered the stage or phase that was asked for.
pub(crate) fn after_write(before: &State, after: &State) {
    let stage = |state: &State| state.switch.as_ref().map(|s| s.stage);
    let entered = stage(after).filter(|_| stage(after) != stage(before)).map(|stage| stage.as_str());
    if let Some(point) = POINT.as_deref() {
        let entered_phase = after.phase != before.phase && after.phase.as_str() == point;
        if entered == Some(point) || entered_phase {
            tracing::error!(point, "crashing as asked");
            std::process::abort();
        }
    }
    if let (Some(folder), Some(stage)) = (FOLDER.as_deref(), entered) {
        tokio::task::block_in_place(|| wait(&folder.join(stage)));
    }
}

fn wait(file: &Path) {
    if let Err(failed) = std::fs::write(file, "") {
        return tracing::error!(file = %file.display(), error = %failed, "cannot wait as asked");
    }
    let begun = Instant::now();
    while file.exists() && begun.elapsed() < LONGEST {
        std::thread::sleep(Duration::from_millis(5));
    }
}
