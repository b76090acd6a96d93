//! Arithmetic on traffic counters: sums, differences, percentiles out of latency buckets.

use std::time::Duration;

use crate::wire::{LATENCY_BOUNDS_MS, Traffic};

/// Adds `more` to `sum`.
pub fn add(sum: &mut Traffic, more: &Traffic) {
    sum.requests = sum.requests.saturating_add(more.requests);
    sum.errors = sum.errors.saturating_add(more.errors);
    if sum.took.len() < more.took.len() {
        sum.took.resize(more.took.len(), 0);
    }
    for (bucket, more) in sum.took.iter_mut().zip(&more.took) {
        *bucket = bucket.saturating_add(*more);
    }
}

/// What was counted between `before` and `after`. Counters that went backwards count as nothing.
pub fn minus(after: &Traffic, before: &Traffic) -> Traffic {
    let earlier = before.took.iter().copied().chain(std::iter::repeat(0));
    Traffic {
        requests: after.requests.saturating_sub(before.requests),
        errors: after.errors.saturating_sub(before.errors),
        took: after.took.iter().zip(earlier).map(|(a, b)| a.saturating_sub(b)).collect(),
        latency: Vec::new(),
    }
}

/// The latency below which `share` (0 to 1) of the answers stayed, interpolated inside its bucket; what is slower than
/// the last bound counts as twice that bound. `None` without any answer.
pub fn percentile(traffic: &Traffic, share: f64) -> Option<Duration> {
    let total: u64 = traffic.took.iter().sum();
    if total == 0 || !share.is_finite() {
        return None;
    }
    let rank = (share.clamp(0.0, 1.0) * total as f64).max(1.0);
    let (mut below, mut lower) = (0_u64, 0_u64);
    for (at, &count) in traffic.took.iter().enumerate() {
        let upper = LATENCY_BOUNDS_MS.get(at).copied().unwrap_or(LATENCY_BOUNDS_MS[LATENCY_BOUNDS_MS.len() - 1] * 2);
        if count > 0 && (below + count) as f64 >= rank {
            let inside = (rank - below as f64) / count as f64;
            let millis = lower as f64 + inside * upper.saturating_sub(lower) as f64;
            return Some(Duration::from_secs_f64(millis / 1000.0));
        }
        below += count;
        lower = upper;
    }
    None
}

/// How many answers surely took longer than a limit: those of the buckets beyond it.
pub fn slower(traffic: &Traffic, limit: Duration) -> u64 {
    let within = LATENCY_BOUNDS_MS.partition_point(|&bound| Duration::from_millis(bound) < limit);
    traffic.took.iter().skip(within + 1).sum()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{minus, percentile, slower};
    use crate::wire::{LATENCY_BOUNDS_MS, Traffic};

    fn traffic(took: &[u64]) -> Traffic {
        Traffic { requests: took.iter().sum(), errors: 0, took: took.to_vec(), latency: Vec::new() }
    }

    /// As many answers that took about as long.
    fn all_about(millis: f64) -> Traffic {
        let mut took = vec![0; LATENCY_BOUNDS_MS.len() + 1];
        took[LATENCY_BOUNDS_MS.partition_point(|&bound| (bound as f64) < millis)] = 1_000;
        traffic(&took)
    }

    #[test]
    fn a_percentile_lies_inside_its_bucket() {
        // 990 answers within 1 ms, 10 between 2 and 3 ms.
        let p99 = percentile(&traffic(&[990, 0, 10]), 0.99).expect("there were answers");
        assert_eq!(p99, Duration::from_millis(1));
        let p995 = percentile(&traffic(&[990, 0, 10]), 0.995).expect("there were answers");
        assert!(p995 > Duration::from_millis(2) && p995 < Duration::from_millis(3), "{p995:?}");
    }

    #[test]
    fn twice_a_latency_is_seen_and_the_same_is_not_taken_for_twice() {
        let p99 = |millis: f64| percentile(&all_about(millis), 0.99).expect("there were answers").as_secs_f64();
        for base in (0..4_000).map(|at| 8.0 * 1.002_f64.powi(at)).take_while(|base| *base < 14_000.0) {
            let twice = p99(2.0 * base) / p99(base);
            assert!((1.7..2.35).contains(&twice), "twice {base} ms is taken for {twice} times");
            let same = p99(1.02 * base) / p99(base);
            assert!((0.98..1.2).contains(&same), "a fiftieth more than {base} ms is taken for {same} times");
        }
    }

    #[test]
    fn only_what_is_surely_slower_counts() {
        for (millis, limit, counted) in
            [(150.0, 100, true), (99.0, 100, false), (101.0, 100, true), (109.0, 105, false), (70_000.0, 60_000, true)]
        {
            assert_eq!(slower(&all_about(millis), Duration::from_millis(limit)) > 0, counted, "{millis} ms, limit {limit}");
        }
    }

    #[test]
    fn nothing_has_no_percentile() {
        assert_eq!(percentile(&Traffic::default(), 0.99), None);
        assert_eq!(percentile(&traffic(&[0, 0]), 0.99), None);
        assert_eq!(percentile(&traffic(&[1]), f64::NAN), None);
    }

    #[test]
    fn a_difference_never_goes_below_zero() {
        let before = Traffic { errors: 3, ..traffic(&[9]) };
        let after = Traffic { requests: 4, errors: 5, ..traffic(&[4, 2]) };
        assert_eq!(minus(&after, &before), Traffic { requests: 0, errors: 2, ..traffic(&[0, 2]) });
    }
}
