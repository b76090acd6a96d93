//! Points at which the process kills itself when a test asks for it: `FICUS_CRASH_AT=<point>` or `<point>:<n>` (at the
//! n-th time). Without the variable a point costs one atomic read. Points: `backfill_batch`, `backfill_complete`,
//! `before_apply`, `after_apply_before_commit`, `after_commit_before_confirm`, `fence`, `mark_end`, `verify_full`,
//! `verify_changed`, `sequences`, `repair`, `remove`, `events_sent`, `strays`.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Aborts the process if this is the point that the environment names, and its turn has come.
pub(crate) fn point(name: &str) {
    static WISH: OnceLock<Option<(String, AtomicU64)>> = OnceLock::new();
    let wish = WISH.get_or_init(|| std::env::var("FICUS_CRASH_AT").ok().and_then(|text| parse(&text)));
    if let Some((wished, left)) = wish
        && wished == name
        && left.fetch_sub(1, Ordering::SeqCst) == 1
    {
        std::process::abort();
    }
}

/// The same, when something was done at all.
pub(crate) fn point_if(done: bool, name: &str) {
    if done {
        point(name);
    }
}

fn parse(text: &str) -> Option<(String, AtomicU64)> {
    let (name, count) = text.split_once(':').unwrap_or((text, "1"));
    let count = count.parse().ok().filter(|count| *count > 0)?;
    (!name.is_empty()).then(|| (name.to_owned(), AtomicU64::new(count)))
}

#[cfg(test)]
mod tests {
    use super::parse;
    use std::sync::atomic::Ordering;

    #[test]
    fn a_point_may_have_a_count() {
        let read = |text| parse(text).map(|(name, left)| (name, left.load(Ordering::SeqCst)));
        assert_eq!(read("fence"), Some(("fence".to_owned(), 1)));
        assert_eq!(read("before_apply:3"), Some(("before_apply".to_owned(), 3)));
        assert_eq!(read("before_apply:0"), None);
        assert_eq!(read(""), None);
    }
}
