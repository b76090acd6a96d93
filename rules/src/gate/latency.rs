//! Arithmetic on traffic counters: sums, differences, percentiles out of latency buckets.

use std::time::Duration;

use crate::wire::{LATENCY_BOUNDS_MS, Traffic};

/// Adds `more` to `sum`.
pub fn add(sum: &mut Traffic, more: &Traffic) {
    sum.requests = sum.requests.saturating_add(more.requests);
    sum.errors = sum.errors.saturating_add(more.errors);
    if sum.latency.len() < more.latency.len() {
        sum.latency.resize(more.latency.len(), 0);
    }
    for (bucket, more) in sum.latency.iter_mut().zip(&more.latency) {
        *bucket = bucket.saturating_add(*more);
    }
}

/// What was counted between `before` and `after`. Counters that went backwards count as nothing.
pub fn minus(after: &Traffic, before: &Traffic) -> Traffic {
    let earlier = before.latency.iter().copied().chain(std::iter::repeat(0));
    Traffic {
        requests: after.requests.saturating_sub(before.requests),
        errors: after.errors.saturating_sub(before.errors),
        latency: after.latency.iter().zip(earlier).map(|(a, b)| a.saturating_sub(b)).collect(),
    }
}

/// The latency below which `share` (0 to 1) of the answers stayed, interpolated inside its bucket; what is slower than
/// the last bound counts as twice that bound. `None` without any answer.
pub fn percentile(traffic: &Traffic, share: f64) -> Option<Duration> {
    let total: u64 = traffic.latency.iter().sum();
    if total == 0 || !share.is_finite() {
        return None;
    }
    let rank = (share.clamp(0.0, 1.0) * total as f64).max(1.0);
    let (mut below, mut lower) = (0_u64, 0_u64);
    for (at, &count) in traffic.latency.iter().enumerate() {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{minus, percentile};
    use crate::wire::Traffic;

    fn traffic(latency: &[u64]) -> Traffic {
        Traffic { requests: latency.iter().sum(), errors: 0, latency: latency.to_vec() }
    }

    #[test]
    fn a_percentile_lies_inside_its_bucket() {
        // 990 answers within 1 ms, 10 between 2 and 5 ms.
        let p99 = percentile(&traffic(&[990, 0, 10]), 0.99).expect("there were answers");
        assert_eq!(p99, Duration::from_millis(1));
        let p995 = percentile(&traffic(&[990, 0, 10]), 0.995).expect("there were answers");
        assert!(p995 > Duration::from_millis(2) && p995 < Duration::from_millis(5), "{p995:?}");
    }

    #[test]
    fn nothing_has_no_percentile() {
        assert_eq!(percentile(&Traffic::default(), 0.99), None);
        assert_eq!(percentile(&traffic(&[0, 0]), 0.99), None);
        assert_eq!(percentile(&traffic(&[1]), f64::NAN), None);
    }

    #[test]
    fn a_difference_never_goes_below_zero() {
        let before = Traffic { requests: 9, errors: 3, latency: vec![9] };
        let after = Traffic { requests: 4, errors: 5, latency: vec![4, 2] };
        assert_eq!(minus(&after, &before), Traffic { requests: 0, errors: 2, latency: vec![0, 2] });
    }
}
