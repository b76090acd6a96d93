//! Both notebooks against what the writers remember.

use anyhow::Result;

use super::Store;
use crate::audit::{Findings, compare};
use crate::ledger::Entry;

/// Compares.
///
/// # Errors
/// A database cannot be read.
pub async fn audit(stores: [&Store; 2], entries: &[Entry]) -> Result<Findings> {
    Ok(compare(&[stores[0].rows().await?, stores[1].rows().await?], entries, &[]))
}
