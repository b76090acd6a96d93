//! How many windows must fail before a gate does, and whether anybody acts on it.

use std::time::Duration;

use super::Verdict;

/// How long a window lasts unless a gate says otherwise.
pub const WINDOW: Duration = Duration::from_secs(60);
/// All windows of a gate together are at most this long: further back nothing is kept.
pub const KEPT: Duration = Duration::from_secs(300);

/// Common to all gates that know it. The default: the first failing counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// So many windows must fail …
    pub failures: u32,
    /// … of the last so many.
    pub windows: u32,
    /// How long one of them lasts.
    pub window: Duration,
    /// It is judged and shown, and nobody acts on it.
    pub dry_run: bool,
}

impl Default for Patience {
    fn default() -> Self {
        Patience { failures: 1, windows: 1, window: WINDOW, dry_run: false }
    }
}

/// A failing becomes one when enough of the last windows (oldest first) failed; until then it is inconclusive. `whole` is
/// the judgement that counts otherwise.
pub(super) fn failing_windows(patience: Patience, whole: (Verdict, String), windows: Vec<(Verdict, String)>) -> (Verdict, String) {
    if patience.failures <= 1 {
        return whole;
    }
    let last = windows.iter().rev().take(patience.windows as usize);
    let failed: Vec<&String> = last.filter(|(verdict, _)| *verdict == Verdict::Fail).map(|(_, text)| text).collect();
    let of = format!("{} of {} windows", failed.len(), patience.windows);
    match failed.first() {
        Some(text) if failed.len() >= patience.failures as usize => (Verdict::Fail, format!("{text}; {of} failed")),
        _ if whole.0 == Verdict::Fail => (Verdict::Inconclusive, format!("{}; {of} failed, limit {}", whole.1, patience.failures)),
        _ => whole,
    }
}
