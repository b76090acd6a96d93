//! Rows that were set aside because what they refer to was not there, or because something still referred to them: written once
//! that has changed. They are asked for like any row that is looked at again, so that they go the way of all rows, behind
//! everything before them. Only while their side owns: what it has of them later is old. It is done between two wishes, so
//! that no fence closes meanwhile.

use std::time::Duration;

use ficus_rules::wire::CapabilityOrders;

use super::Session;
use crate::error::Error;

/// Between two looks.
pub(super) const EVERY: Duration = Duration::from_secs(2);

/// Rows that are asked for at once.
const ROWS: u32 = 10_000;

impl Session<'_> {
    pub(super) async fn take_back(&self, wish: &CapabilityOrders) -> Result<(), Error> {
        let (owner, report) = (wish.owner, self.state().report());
        let free = !wish.fenced.of(owner) && !report.fenced.of(owner);
        // Those that were asked for the last time are on their way.
        let idle = report.stream_from(owner).live && report.stream_from(owner).lag_entries == 0;
        if !self.streaming || self.gaps || !free || !idle {
            return Ok(());
        }
        let (source, sink) = (self.side(owner), self.side(owner.other()));
        if sink.quarantined().await? == 0 {
            return Ok(());
        }
        let rows = sink.returning(ROWS).await?;
        if rows.is_empty() {
            return Ok(());
        }
        tracing::info!(capability = %self.state().capability, from = %owner, rows = rows.len(), "what they refer to has come; rows that were set aside are written");
        source.touch(&rows).await
    }
}
