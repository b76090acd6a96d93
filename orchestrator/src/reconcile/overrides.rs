//! Operators' overrides: changed by command, dropped when they expire, or when the reads go back.

use std::collections::BTreeSet;

use ficus_rules::Side;
use ficus_rules::migration::advance::JournalLine;
use ficus_rules::wire::{Overrides, PinOverride};
use serde_json::json;
use tracing::{info, warn};

use super::{OverrideChange, Reconciler, Refusal};
use crate::access::Author;
use crate::api::overrides::who;
use crate::store::{Note, StoreError};
use crate::{fleet, status};

impl Reconciler {
    pub(super) async fn change_overrides(&mut self, change: OverrideChange, by: Author) -> Result<(), Refusal> {
        let mut overrides = self.view.overrides.clone();
        let (capability, line) = change(&self.view, &mut overrides)?;
        info!(kind = line.kind, by = by.name(), "{}", line.text);
        let note = Note::by(&by, fleet::now(), capability, line);
        self.save(overrides, note).await.map_err(|failed| Refusal::Failed(failed.to_string()))
    }

    pub(super) async fn drop_expired(&mut self) {
        let now = fleet::now();
        // Gateways go by their clocks.
        let live = status::live(&self.view.overrides, fleet::wall());
        if live == self.view.overrides {
            return;
        }
        let line = JournalLine { kind: "override".into(), text: "an override has expired".into(), detail: json!({}) };
        if let Err(failed) = self.save(live, Note { at: now, capability: None, by: None, line }).await {
            warn!(error = %failed, "an expired override could not be dropped");
        }
    }

    /// Where all readers went back to legacy, a pin must neither keep some of them, nor take them over again by itself once
    /// the steps begin anew.
    pub(super) async fn drop_pins_taken_back(&mut self) {
        for name in self.view.overrides.pins.iter().map(|pin| pin.capability.clone()).collect::<BTreeSet<_>>() {
            let Some(why) = self.view.capability(&name).and_then(|(plan, stored)| stored.state.keeps_from_modern(plan)) else { continue };
            let mut left = self.view.overrides.clone();
            let goes = |pin: &PinOverride| pin.capability == name && pin.side == Side::Modern;
            let dropped: Vec<PinOverride> = left.pins.extract_if(.., |pin| goes(pin)).collect();
            if dropped.is_empty() {
                continue;
            }
            let whom: Vec<String> = dropped.iter().map(|pin| who(pin.user.as_deref())).collect();
            let text = format!("pins to modern end for {}: {why}", whom.join(", "));
            info!(capability = name, "{text}");
            let line = JournalLine { kind: "unpinned".into(), text, detail: json!({ "pins": dropped }) };
            if let Err(failed) = self.save(left, Note { at: fleet::now(), capability: Some(name), by: None, line }).await {
                warn!(error = %failed, "pins to modern could not be dropped; gateways ignore them");
            }
        }
    }

    /// Writes the overrides with a line of the journal, and publishes them.
    pub(super) async fn save(&mut self, overrides: Overrides, note: Note) -> Result<(), StoreError> {
        let known = self.view.newest();
        let saved = self.shared.store.save_overrides(&overrides, &note).await;
        self.shared.changes.journal().up();
        self.unsure |= saved.is_err();
        self.view.overrides_generation = saved?;
        self.view.overrides = overrides;
        self.publish_after(known).await
    }
}
