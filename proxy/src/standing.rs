//! Whether this gateway has ever been told who owns what. One that has not knows no owner: it lets reads through to the
//! default upstream and refuses writes, because the capability that they touch may have moved long ago. One whose
//! snapshot file is there but of no use has certainly missed something, and refuses both.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;

use crate::answer::Refusal;

const UNTOLD: u8 = 0;
const UNUSABLE: u8 = 1;
const INFORMED: u8 = 2;

/// What this gateway knows.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    state: AtomicU8,
    informed: Notify,
}

impl Standing {
    /// A state is served. Called after it was stored, so that who reads this finds it.
    pub(crate) fn inform(&self) {
        self.state.store(INFORMED, Ordering::SeqCst);
        self.informed.notify_waiters();
    }

    /// There is a snapshot on disk that cannot be used.
    pub(crate) fn missed_something(&self) {
        let _ = self.state.compare_exchange(UNTOLD, UNUSABLE, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// Whether a state is served.
    pub(crate) fn is_informed(&self) -> bool {
        self.state.load(Ordering::SeqCst) == INFORMED
    }

    /// Waits until a state is served.
    pub(crate) async fn informed(&self) {
        loop {
            let informed = self.informed.notified();
            if self.is_informed() {
                return;
            }
            informed.await;
        }
    }

    /// Whether a request may go anywhere.
    pub(crate) fn admit(&self, write: bool) -> Result<(), Refusal> {
        let refused = |detail| Err(Refusal::later("out_of_touch", detail));
        match self.state.load(Ordering::SeqCst) {
            INFORMED => Ok(()),
            UNUSABLE => refused("this gateway cannot read what it last knew, and has not heard from the orchestrator yet"),
            UNTOLD if write => refused("this gateway has not heard from the orchestrator yet and does not know who owns this data"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Standing;

    #[test]
    fn writes_wait_for_the_first_state_and_reads_for_one_that_was_missed() {
        let standing = Standing::default();
        let admits = || (standing.admit(false).is_ok(), standing.admit(true).is_ok());
        assert_eq!(admits(), (true, false));
        standing.missed_something();
        assert_eq!(admits(), (false, false));
        standing.inform();
        standing.missed_something();
        assert_eq!(admits(), (true, true));
    }
}
