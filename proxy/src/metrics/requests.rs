//! The metrics that every request counts in, by capability: found once for each combination of labels and kept, because to
//! find one costs as much as a dozen counts. Does not know what a request is.

use std::sync::OnceLock;
use std::time::Duration;

use ficus_rules::decide::Because;
use ficus_rules::migration::Phase;
use http::StatusCode;
use prometheus::{Histogram, IntCounter};

use super::metrics;

/// What stands for a capability where there is none.
const NONE: &str = "none";
const PHASES: usize = Phase::ALL.len() + 1;
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
const REASONS: usize = Because::ALL.len() + 1;

/// Who answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Legacy,
    Modern,
    Gateway,
}

impl By {
    /// The word in labels and logs.
    pub(crate) fn as_str(self) -> &'static str {
        ["legacy", "modern", "gateway"][self as usize]
    }
}

/// The metrics of the requests of one capability, or of none.
#[derive(Debug)]
pub(crate) struct Requests {
    capability: String,
    answered: Vec<OnceLock<IntCounter>>,
    took: [OnceLock<Histogram>; 3],
    decided: [OnceLock<IntCounter>; REASONS],
}

impl Requests {
    pub(crate) fn of(capability: &str) -> Requests {
        Requests {
            capability: capability.to_owned(),
            answered: std::iter::repeat_with(OnceLock::new).take(3 * PHASES * CLASSES.len()).collect(),
            took: Default::default(),
            decided: Default::default(),
        }
    }

    /// Those of requests that no capability claims.
    pub(crate) fn of_none() -> &'static Requests {
        static OF_NONE: OnceLock<Requests> = OnceLock::new();
        OF_NONE.get_or_init(|| Requests::of(NONE))
    }

    /// Counts a request that is over. `because`: why it went where it went, if that was decided.
    pub(crate) fn count(&self, by: By, phase: Option<Phase>, status: StatusCode, because: Option<Because>, took: Duration) {
        let (capability, side) = (&*self.capability, by.as_str());
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1;
        let at = (by as usize * PHASES + phase.map_or(0, |phase| phase as usize + 1)) * CLASSES.len() + class;
        let labels = || [capability, side, phase.map_or(NONE, Phase::as_str), CLASSES[class]];
        self.answered[at].get_or_init(|| metrics().requests.with_label_values(&labels())).inc();
        let took_all = self.took[by as usize].get_or_init(|| metrics().duration.with_label_values(&[capability, side]));
        took_all.observe(took.as_secs_f64());
        let (at, word) = because.map_or((0, "undecided"), |because| (because as usize + 1, because.as_str()));
        self.decided[at].get_or_init(|| metrics().decisions.with_label_values(&[capability, word])).inc();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ficus_rules::decide::Because;
    use ficus_rules::migration::Phase;
    use http::StatusCode;

    use super::{By, Requests, metrics};

    #[test]
    fn every_combination_counts_under_its_own_labels() {
        let requests = Requests::of("of-this-test");
        let statuses = [100, 204, 302, 404, 503].map(|code| StatusCode::from_u16(code).expect("a status"));
        let phases = Phase::ALL.map(Some).into_iter().chain([None]);
        for (number, phase) in phases.enumerate() {
            for (by, status) in [By::Legacy, By::Modern, By::Gateway].into_iter().zip(statuses.into_iter().cycle().skip(number)) {
                requests.count(by, phase, status, None, Duration::ZERO);
                let class = format!("{}xx", status.as_u16() / 100);
                let labels = ["of-this-test", by.as_str(), phase.map_or("none", Phase::as_str), &class];
                assert_eq!(metrics().requests.with_label_values(&labels).get(), 1, "{labels:?}");
            }
        }
        for because in Because::ALL {
            requests.count(By::Modern, None, StatusCode::OK, Some(because), Duration::ZERO);
            let labels = ["of-this-test", because.as_str()];
            assert_eq!(metrics().decisions.with_label_values(&labels).get(), 1, "{labels:?}");
        }
        assert_eq!(metrics().duration.with_label_values(&["of-this-test", "legacy"]).get_sample_count(), Phase::ALL.len() as u64 + 1);
    }
}
