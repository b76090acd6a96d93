//! The books: the counters of generations and the head of the journal, in one key. Whoever publishes or writes into the
//! journal writes it anew, and only if nobody has since it was read.

use ficus_rules::api::JournalEntry;
use ficus_rules::audit::Head;
use serde::{Deserialize, Serialize};

use super::notes::entry_key;
use super::words::{Guard, Keys, Step};
use super::{EtcdStore, Note, StoreError};

/// The key.
pub(super) const BOOKS: &str = "books";

/// What stands in it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::store) struct Books {
    /// The last generation that was given out.
    pub(super) generation: u64,
    /// Counts the changes of the rule files.
    pub(super) rules_generation: u64,
    /// The generation at which they were last published: no state counts as published earlier.
    pub(super) rules_published: u64,
    /// The last entry of the journal.
    pub(super) journal: Head,
}

impl EtcdStore {
    /// The books, and the revision at which they were written.
    pub(in crate::store) async fn books(&self) -> Result<(Books, u64), StoreError> {
        Ok(self.client.read(&[Keys::One(BOOKS)]).await?.one()?.unwrap_or_default())
    }

    /// Writes the books that were read `at` a revision, with what else there is to write and the lines for the journal;
    /// `false`: somebody has written them since.
    pub(in crate::store) async fn enter(
        &self,
        books: &mut Books,
        at: u64,
        mut steps: Vec<Step>,
        notes: &[Note],
    ) -> Result<bool, StoreError> {
        for note in notes {
            let last = &books.journal;
            let (capability, by, line) = (note.capability.clone(), note.by.clone(), note.line.clone());
            let mut entry = JournalEntry { id: last.id + 1, at: note.at, capability, by, line, hash: String::new() };
            entry.hash = last.link(&entry);
            books.journal = Head { id: entry.id, hash: entry.hash.clone() };
            steps.push(Step::put(&entry_key(entry.id), &entry)?);
        }
        steps.push(Step::put(BOOKS, books)?);
        self.transact(vec![Guard::changed(BOOKS, at)], steps).await
    }
}
