//! How gateway and agent talk to the orchestrator: over its admin API, also when they share a process. They ask for the
//! newest state with a long poll and report what they do; both go on for ever, whatever fails.

pub(crate) mod agent;
pub(crate) mod gateway;

use std::sync::Mutex;
use std::time::Duration;

use tracing::{info, warn};

/// How long a long poll may stay open at the server.
const POLL: Duration = Duration::from_secs(20);
/// Longer than [`POLL`]: the answer was lost.
const POLL_LIMIT: Duration = Duration::from_secs(25);
/// A report that is not answered by then is sent again.
const REPORT_LIMIT: Duration = Duration::from_secs(2);
/// Pause after a failure.
const AGAIN: Duration = Duration::from_millis(200);

/// Whether the orchestrator is within reach, told once for each change.
#[derive(Debug, Default)]
struct Reach {
    lost: Mutex<bool>,
}

impl Reach {
    /// It answered, whatever it said.
    fn answered(&self) {
        if self.change(false) {
            info!("the orchestrator answers again");
        }
    }

    /// It did not.
    fn failed(&self, error: &anyhow::Error) {
        if self.change(true) {
            warn!("{error:#}; trying again until it answers");
        }
    }

    /// Takes down what is so now; whether that is new.
    fn change(&self, lost: bool) -> bool {
        std::mem::replace(&mut *self.lost.lock().unwrap_or_else(std::sync::PoisonError::into_inner), lost) != lost
    }
}

#[cfg(test)]
mod tests {
    use super::Reach;

    #[test]
    fn a_change_is_told_once() {
        let reach = Reach::default();
        assert_eq!([false, true, true, false, false, true].map(|lost| reach.change(lost)), [false, true, false, true, false, true]);
    }
}
