//! How fast the initial copy goes: as fast as it may, and how long it will take. Does not sleep; says until when.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The rate that is shown is that of so long.
const WINDOW: Duration = Duration::from_secs(10);

/// The speed of a copy.
pub(super) struct Pace {
    /// Rows in a second at most.
    most: Option<u64>,
    /// Before this moment nothing more is to be taken.
    free: Instant,
    /// Rows by the moment at which they had been taken.
    taken: VecDeque<(Instant, u64)>,
}

impl Pace {
    pub(super) fn new(most: Option<u64>, now: Instant) -> Pace {
        Pace { most, free: now, taken: VecDeque::from([(now, 0)]) }
    }

    /// Rows of a piece, so that the pauses between them stay short.
    pub(super) fn piece(&self, rows: usize) -> usize {
        let most = self.most.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
        rows.min(most).max(1)
    }

    /// Rows were taken; how long to wait before the next.
    pub(super) fn after(&mut self, rows: u64, now: Instant) -> Duration {
        self.taken.push_back((now, rows));
        while self.taken.len() > 2 && self.taken.get(1).is_some_and(|(at, _)| now.duration_since(*at) > WINDOW) {
            self.taken.pop_front();
        }
        let Some(most) = self.most else { return Duration::ZERO };
        let cost = Duration::from_secs_f64(rows as f64 / most.max(1) as f64);
        // What was not used before is lost: a source that was slow is not made up for.
        self.free = self.free.max(now.checked_sub(cost).unwrap_or(now)) + cost;
        self.free.saturating_duration_since(now)
    }

    /// Rows in a second, of late.
    pub(super) fn rate(&self) -> f64 {
        let (Some((first, _)), Some((last, _))) = (self.taken.front(), self.taken.back()) else { return 0.0 };
        let rows: u64 = self.taken.iter().skip(1).map(|(_, rows)| rows).sum();
        let seconds = last.duration_since(*first).as_secs_f64();
        if seconds > 0.0 { rows as f64 / seconds } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_what_is_allowed_is_taken() {
        let begun = Instant::now();
        let mut pace = Pace::new(Some(1_000), begun);
        let mut now = begun;
        for _ in 0..20 {
            now += pace.after(500, now);
        }
        assert_eq!(now.duration_since(begun), Duration::from_secs(10));
        now += pace.after(500, now);
        assert!((pace.rate() - 1_000.0).abs() < 60.0, "{}", pace.rate());
        // A minute without any gives no credit.
        now += Duration::from_secs(60);
        assert_eq!(pace.after(500, now), Duration::ZERO);
        assert_eq!(pace.after(500, now), Duration::from_millis(500));
        assert_eq!((pace.piece(8_000), pace.piece(10)), (1_000, 10));
    }

    #[test]
    fn a_copy_without_a_limit_waits_for_nothing() {
        let now = Instant::now();
        let mut pace = Pace::new(None, now);
        assert_eq!(pace.after(1_000_000, now + Duration::from_secs(2)), Duration::ZERO);
        assert!((pace.rate() - 500_000.0).abs() < 1.0);
        assert_eq!(pace.piece(8_000), 8_000);
    }
}
