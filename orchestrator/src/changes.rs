//! Counts what changes beside the status: consoles are told, and need not ask. Counts nothing that another process does: who
//! leads writes alone.

use std::sync::atomic::{AtomicU64, Ordering};

use ficus_rules::Timestamp;
use serde::Serialize;

/// How often each changed since the orchestrator began to lead.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    journal: Count,
    differences: Count,
    quarantine: Count,
}

/// One kind of change.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

/// What a console compares with what it was told before: data of a message `changed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Changed {
    journal: u64,
    differences: u64,
    quarantine: u64,
    /// The newest point of the curves that are looked at.
    traffic: Option<Timestamp>,
}

impl Changes {
    /// Lines were added to the journal, or may have been.
    pub(crate) fn journal(&self) -> &Count {
        &self.journal
    }

    /// Samples of differences were kept.
    pub(crate) fn differences(&self) -> &Count {
        &self.differences
    }

    /// Other rows are set aside.
    pub(crate) fn quarantine(&self) -> &Count {
        &self.quarantine
    }

    /// All of them, and the newest point.
    pub(crate) fn with(&self, traffic: Option<Timestamp>) -> Changed {
        let [journal, differences, quarantine] =
            [&self.journal, &self.differences, &self.quarantine].map(|Count(so_far)| so_far.load(Ordering::Acquire));
        Changed { journal, differences, quarantine, traffic }
    }
}

impl Count {
    /// Once more, after it can be read.
    pub(crate) fn up(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}
