//! The last minutes of one capability's traffic, finely, for people to look at. Nothing is judged by it.

use std::collections::VecDeque;
use std::time::Duration;

use ficus_rules::Timestamp;
use ficus_rules::api::{SidePoint, TrafficPoint};

use super::window::Counts;

/// How finely.
const GRAIN: Duration = Duration::from_secs(2);
/// Stretches that are kept: ten minutes.
const KEPT: usize = 300;

/// What was counted by some moments, and the lag then; oldest first.
#[derive(Debug, Default)]
pub(super) struct Curve {
    marks: VecDeque<(Timestamp, Counts, Option<f64>)>,
}

impl Curve {
    /// Time passes.
    pub(super) fn note(&mut self, total: &Counts, lag_seconds: Option<f64>, now: Timestamp) {
        if self.marks.back().is_some_and(|(at, ..)| now.since(*at) < GRAIN) {
            return;
        }
        self.marks.push_back((now, total.clone(), lag_seconds.filter(|lag| lag.is_finite())));
        if self.marks.len() > KEPT + 1 {
            self.marks.pop_front();
        }
    }

    /// The newest moment.
    pub(super) fn newest(&self) -> Option<Timestamp> {
        self.marks.back().map(|(at, ..)| *at)
    }

    /// What was counted between each two moments.
    pub(super) fn points(&self) -> Vec<TrafficPoint> {
        let pairs = self.marks.iter().zip(self.marks.iter().skip(1));
        let point = |((before, earlier, _), (at, total, lag)): (&(Timestamp, Counts, _), &(Timestamp, Counts, Option<f64>))| {
            let counts = total.since(earlier);
            let [legacy, modern] = counts.sides.all();
            TrafficPoint {
                at: *at,
                seconds: at.since(*before).as_secs_f64(),
                legacy: SidePoint::from(&legacy),
                modern: SidePoint::from(&modern),
                shadow: counts.shadow,
                lag_seconds: *lag,
            }
        };
        pairs.map(point).collect()
    }
}

#[cfg(test)]
mod tests {
    use ficus_rules::gate::Sides;
    use ficus_rules::wire::Traffic;

    use super::*;

    fn counts(requests: u64) -> Counts {
        let legacy = Traffic { requests, errors: requests / 10, took: vec![0, 0, requests], ..Traffic::default() };
        Counts { sides: Sides { legacy, ..Sides::default() }, ..Counts::default() }
    }

    #[test]
    fn stretches_are_told_apart_and_the_oldest_are_dropped() {
        let mut curve = Curve::default();
        for tenth in 0..10_000_u64 {
            curve.note(&counts(tenth * 10), Some(0.5), Timestamp(tenth * 100));
        }
        let points = curve.points();
        assert_eq!(points.len(), KEPT);
        let last = points.last().expect("there are some");
        assert_eq!((last.legacy.requests, last.legacy.errors, last.seconds, last.lag_seconds), (200, 20, 2.0, Some(0.5)));
        assert!(last.legacy.p99_ms.is_some_and(|p99| (2.0..=5.0).contains(&p99)) && last.modern.p99_ms.is_none());
    }

    #[test]
    fn a_lag_that_is_no_number_is_not_told() {
        let mut curve = Curve::default();
        curve.note(&counts(0), None, Timestamp(0));
        curve.note(&counts(0), Some(f64::INFINITY), Timestamp(2_000));
        assert_eq!(curve.points()[0].lag_seconds, None);
    }
}
