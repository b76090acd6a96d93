//! For how long what is published may be acted upon without word from the orchestrator. Reads go on for ever; writes of
//! a migrating capability do not, because the owner may have changed meanwhile.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ficus_rules::migration::Phase;
use tokio::sync::Notify;

/// The contact with the orchestrator.
#[derive(Debug, Default)]
pub(crate) struct Validity {
    contact: Mutex<Contact>,
    contacted: Notify,
}

#[derive(Debug, Default)]
struct Contact {
    reported: Option<Instant>,
    until: Option<Instant>,
}

impl Validity {
    /// A report leaves. What its answer allows counts from here, so that a slow answer allows no more than it meant.
    pub(crate) fn reported(&self, now: Instant) {
        self.lock().reported = Some(now);
    }

    /// The report was answered.
    pub(crate) fn answered(&self, now: Instant, valid_for: Duration) {
        let mut contact = self.lock();
        let from = contact.reported.take().unwrap_or(now);
        contact.until = contact.until.max(Some(from + valid_for));
        drop(contact);
        self.contacted.notify_waiters();
    }

    /// Waits until a report was answered for the first time.
    pub(crate) async fn contacted(&self) {
        loop {
            let contacted = self.contacted.notified();
            if self.lock().until.is_some() {
                return;
            }
            contacted.await;
        }
    }

    /// Whether there is any.
    pub(crate) fn lasts(&self, now: Instant) -> bool {
        self.lock().until.is_some_and(|until| now < until)
    }

    /// Whether writes of a capability in this phase may go.
    pub(crate) fn allows(&self, phase: Phase, now: Instant) -> bool {
        !is_migrating(phase) || self.lasts(now)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Contact> {
        self.contact.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the owner of a capability in this phase may change.
pub(crate) fn is_migrating(phase: Phase) -> bool {
    !matches!(phase, Phase::Draft | Phase::Retired)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use ficus_rules::migration::Phase;
    use futures::FutureExt as _;

    use super::Validity;

    #[test]
    fn writes_of_migrating_capabilities_need_recent_contact() {
        let (validity, start) = (Validity::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        assert!(!validity.allows(Phase::Ramping, at(0)), "never heard of the orchestrator");
        assert!(validity.allows(Phase::Draft, at(0)));
        assert!(validity.contacted().now_or_never().is_none());
        validity.reported(at(100));
        validity.answered(at(900), Duration::from_millis(1000));
        assert!(validity.contacted().now_or_never().is_some());
        assert!(validity.allows(Phase::Ramping, at(1099)), "counts from the report");
        assert!(!validity.allows(Phase::Ramping, at(1100)));
        assert!(validity.allows(Phase::Retired, at(1100)));
    }
}
