//! A point at which tests kill the process: with `FICUS_CRASH_AT=orchestrator:<stage>` (`fence`, `drain`,
//! `fence_database`, `catch_up`, `verify`, `sequences`, `open`, `release`, `lift`) or `orchestrator:<phase>`, it aborts
//! right after that stage or phase was written down for the first time, before anybody can be told.

use std::sync::LazyLock;

use ficus_rules::migration::State;

static POINT: LazyLock<Option<String>> = LazyLock::new(|| {
    let point = std::env::var("FICUS_CRASH_AT").ok()?;
    point.strip_prefix("orchestrator:").map(str::to_owned)
});

/// Aborts if `after` has just entered the stage or phase that was asked for.
pub(crate) fn after_write(before: &State, after: &State) {
    let Some(point) = POINT.as_deref() else { return };
    let stage = |state: &State| state.switch.as_ref().map(|s| s.stage);
    let entered_stage = stage(after) != stage(before) && stage(after).is_some_and(|s| s.as_str() == point);
    let entered_phase = after.phase != before.phase && after.phase.as_str() == point;
    if entered_stage || entered_phase {
        tracing::error!(point, "crashing as asked");
        std::process::abort();
    }
}
