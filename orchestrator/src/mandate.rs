//! Whether this process leads now, by the steady clock: [`lease::Mandate`](ficus_rules::lease::Mandate) for everybody in it who asks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ficus_rules::lease;
use ficus_rules::time::Steady;

use crate::fleet::steady;

/// Clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct Mandate(Arc<Mutex<lease::Mandate>>);

impl Mandate {
    /// Nobody else can lead.
    pub(crate) fn alone() -> Mandate {
        Mandate(Arc::new(Mutex::new(lease::Mandate::alone())))
    }

    /// With a lease that was asked for then.
    pub(crate) fn granted(asked: Steady, lasts: Duration) -> Mandate {
        Mandate(Arc::new(Mutex::new(lease::Mandate::granted(asked, lasts))))
    }

    pub(crate) fn renew(&self, asked: Steady, lasts: Duration) {
        self.inner().renew(asked, lasts);
    }

    /// For good.
    pub(crate) fn end(&self) {
        self.inner().end();
    }

    /// Whether this process may still act as the leader.
    pub(crate) fn holds(&self) -> bool {
        self.inner().holds(steady())
    }

    fn inner(&self) -> MutexGuard<'_, lease::Mandate> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
