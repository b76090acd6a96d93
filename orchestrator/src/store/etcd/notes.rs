//! What is only ever added to: entries of the journal, samples of differences, and how far notifiers are.

use std::collections::BTreeSet;

use ficus_rules::api::JournalEntry;
use ficus_rules::wire::DifferenceSample;

use super::words::{Keys, Step, in_portions};
use super::{EtcdStore, JournalQuery, StoreError};

pub(super) const JOURNAL: &str = "journal/";
pub(super) const SAMPLES: &str = "sample/";
pub(super) const NOTIFIED: &str = "notified/";
/// Entries that are read in one go.
const PAGE: u32 = 500;

/// Numbers in keys have so many digits that their order is that of the keys.
fn numbered(under: &str, number: u64) -> String {
    format!("{under}{number:020}")
}

/// Where an entry of the journal is.
pub(super) fn entry_key(id: u64) -> String {
    numbered(JOURNAL, id)
}

/// Where it is kept how far a notifier is.
pub(super) fn notified(notifier: &str) -> String {
    format!("{NOTIFIED}{notifier}")
}

impl EtcdStore {
    pub(super) async fn entries(&self, query: &JournalQuery) -> Result<Vec<JournalEntry>, StoreError> {
        let wanted = query.limit as usize;
        let newest_first = query.after.is_none();
        // Of one capability's entries nobody knows how far apart they are.
        let size = if query.capability.is_some() { PAGE } else { PAGE.min(query.limit.max(1)) };
        let (mut from, mut to) = (query.after.map_or(0, |after| after.saturating_add(1)), u64::MAX);
        let mut found = Vec::new();
        while found.len() < wanted && from < to {
            let (first, end) = (entry_key(from), entry_key(to));
            let page = Keys::Between { first: &first, end: &end, limit: size, newest_first };
            let page: Vec<JournalEntry> = self.client.read(&[page]).await?.all(0)?;
            let Some(last) = page.last().map(|entry| entry.id) else { break };
            (from, to) = if newest_first { (from, last) } else { (last + 1, to) };
            found.extend(page.into_iter().filter(|entry| query.capability.is_none() || entry.capability == query.capability));
        }
        found.truncate(wanted);
        if newest_first {
            found.reverse();
        }
        Ok(found)
    }

    pub(super) async fn add_samples(&self, samples: &[DifferenceSample], most: u32) -> Result<(), StoreError> {
        for capability in samples.iter().map(|sample| sample.capability.as_str()).collect::<BTreeSet<_>>() {
            let under = format!("{SAMPLES}{capability}/");
            let read = self.client.read(&[Keys::NamesUnder(&under)]).await?;
            let mut ids: Vec<u64> = read.names(0, &self.client.key(&under)).iter().filter_map(|id| id.parse().ok()).collect();
            let mut steps = Vec::new();
            for sample in samples.iter().filter(|sample| sample.capability == capability) {
                let id = ids.last().map_or(1, |last| last + 1);
                steps.push(Step::put(&numbered(&under, id), sample)?);
                ids.push(id);
            }
            let old = ids.len().saturating_sub(most as usize);
            let cut = ids.get(old).copied().unwrap_or(u64::MAX);
            let mut portions = in_portions(steps);
            if let Some(last) = portions.last_mut().filter(|_| old > 0) {
                last.push(Step::delete_between(&numbered(&under, 0), &numbered(&under, cut)));
            }
            for portion in portions {
                self.put(portion).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn all_samples(&self, capability: Option<&str>) -> Result<Vec<DifferenceSample>, StoreError> {
        let under = capability.map_or(SAMPLES.to_owned(), |capability| format!("{SAMPLES}{capability}/"));
        let mut samples: Vec<DifferenceSample> = self.client.read(&[Keys::Under(&under)]).await?.all(0)?;
        samples.sort_by_key(|sample| sample.at);
        Ok(samples)
    }
}
