//! Operators' overrides: changed by command, dropped when they expire.

use ficus_rules::migration::advance::JournalLine;
use ficus_rules::wire::Overrides;
use serde_json::json;
use tracing::{info, warn};

use super::{OverrideChange, Reconciler, Refusal};
use crate::store::{Note, StoreError};
use crate::{fleet, status};

impl Reconciler {
    pub(super) async fn change_overrides(&mut self, change: OverrideChange, by: String) -> Result<(), Refusal> {
        let mut overrides = self.view.overrides.clone();
        let (capability, line) = change(&self.view, &mut overrides)?;
        info!(kind = line.kind, by, "{}", line.text);
        let by = Some(by).filter(|by| !by.is_empty());
        let note = Note { at: fleet::now(), capability, by, line };
        self.save(overrides, note).await.map_err(|failed| Refusal::Failed(failed.to_string()))
    }

    pub(super) async fn drop_expired(&mut self) {
        let now = fleet::now();
        let live = status::live(&self.view.overrides, now);
        if live == self.view.overrides {
            return;
        }
        let line = JournalLine { kind: "override".into(), text: "an override has expired".into(), detail: json!({}) };
        if let Err(failed) = self.save(live, Note { at: now, capability: None, by: None, line }).await {
            warn!(error = %failed, "an expired override could not be dropped");
        }
    }

    async fn save(&mut self, overrides: Overrides, note: Note) -> Result<(), StoreError> {
        self.view.overrides_generation = self.shared.store.save_overrides(&overrides, &note).await?;
        self.view.overrides = overrides;
        self.publish();
        Ok(())
    }
}
