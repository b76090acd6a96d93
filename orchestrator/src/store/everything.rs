//! All that a store holds, to be moved into another one and compared with it.

use std::collections::BTreeMap;

use ficus_rules::api::JournalEntry;
use ficus_rules::audit::{Head, Misfit};
use ficus_rules::wire::DifferenceSample;

use super::{JournalQuery, Loaded, Store, StoreError};

/// Entries of the journal that are read at once.
const AT_ONCE: u32 = 1_000;

/// Everything.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Everything {
    pub(crate) loaded: Loaded,
    /// The last generation that was given out.
    pub(crate) generation: u64,
    pub(crate) journal: Vec<JournalEntry>,
    pub(crate) head: Head,
    /// By capability, oldest first.
    pub(crate) samples: BTreeMap<String, Vec<DifferenceSample>>,
    /// How far notifiers are, by name.
    pub(crate) notified: BTreeMap<String, u64>,
}

impl Everything {
    /// Reads what the port shows; what it does not, its backend adds.
    pub(crate) async fn read(store: &dyn Store, generation: u64, notifiers: Vec<String>) -> Result<Everything, StoreError> {
        let mut all = Everything { loaded: store.load().await?, generation, head: store.journal_head().await?, ..Everything::default() };
        loop {
            let after = Some(all.journal.last().map_or(0, |entry| entry.id));
            let page = store.journal(&JournalQuery { capability: None, after, limit: AT_ONCE }).await?;
            if page.is_empty() {
                break;
            }
            all.journal.extend(page);
        }
        for sample in store.samples(None).await? {
            all.samples.entry(sample.capability.clone()).or_default().push(sample);
        }
        for notifier in notifiers {
            if let Some(entry) = store.notified(&notifier).await? {
                all.notified.insert(notifier, entry);
            }
        }
        Ok(all)
    }

    /// Whether the journal is one whole chain.
    ///
    /// # Errors
    /// The first entry that does not fit.
    pub(crate) fn chained(&self) -> Result<(), Misfit> {
        let mut head = Head::default();
        self.journal.iter().try_for_each(|entry| head.follow(entry))?;
        head.ends(&self.head)
    }
}
