//! Samples of differences, for the report: the newest ones, until a report with them was answered.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use ficus_rules::wire::DifferenceSample;

/// Samples that are kept.
const KEPT: usize = 64;

/// The newest samples.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    samples: Mutex<Samples>,
}

#[derive(Debug, Default)]
struct Samples {
    next: u64,
    reported: u64,
    kept: VecDeque<(u64, DifferenceSample)>,
}

impl Ring {
    /// Adds a sample; the oldest makes room.
    pub(crate) fn add(&self, sample: DifferenceSample) {
        let mut samples = self.lock();
        samples.next += 1;
        let number = samples.next;
        samples.kept.push_back((number, sample));
        if samples.kept.len() > KEPT {
            samples.kept.pop_front();
        }
    }

    /// The samples that no answered report had.
    pub(crate) fn report(&self) -> Vec<DifferenceSample> {
        let mut samples = self.lock();
        samples.reported = samples.next;
        samples.kept.iter().map(|(_, sample)| sample.clone()).collect()
    }

    /// The last report was answered.
    pub(crate) fn answered(&self) {
        let mut samples = self.lock();
        let reported = samples.reported;
        samples.kept.retain(|(number, _)| *number > reported);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Samples> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use ficus_rules::Timestamp;
    use ficus_rules::wire::DifferenceSample;

    use super::{KEPT, Ring};

    fn sample(at: u64) -> DifferenceSample {
        DifferenceSample {
            capability: "users".into(),
            at: Timestamp(at),
            method: "GET".into(),
            path: "/".into(),
            legacy_status: 200,
            modern_status: 200,
            differences: vec![],
        }
    }

    #[test]
    fn samples_stay_until_a_report_with_them_was_answered() {
        let ring = Ring::default();
        ring.add(sample(1));
        assert_eq!(ring.report(), ring.report(), "the answer may have been lost");
        ring.add(sample(2));
        ring.answered();
        assert_eq!(ring.report(), [sample(2)]);
        (0..100).for_each(|at| ring.add(sample(at)));
        assert_eq!(ring.report().len(), KEPT);
    }
}
