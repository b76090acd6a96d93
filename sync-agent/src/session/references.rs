//! Which foreign keys lead out of the capability, and into it: for whoever decides who moves first. Nothing of the sync depends on them.

use std::convert::Infallible;
use std::time::Duration;

use ficus_rules::catalog::Catalog;
use ficus_rules::wire::Refers;

use super::Context;
use crate::port::Engine;

/// Between two looks: one that was dropped is in nobody's way any more.
const EVERY: Duration = Duration::from_secs(30);

impl Context {
    pub(super) async fn look_at_references(&self, legacy: &dyn Engine) {
        match legacy.catalog().await {
            Ok(catalog) => {
                let (refers, referred_by) = (Some(self.crossing(&catalog, true)), Some(self.crossing(&catalog, false)));
                let known = self.state.report();
                if (&known.refers, &known.referred_by) != (&refers, &referred_by) {
                    self.state.update(|report| (report.refers, report.referred_by) = (refers, referred_by));
                }
            }
            Err(error) => {
                tracing::warn!(capability = %self.state.capability, %error, "cannot see which foreign keys there are: who moves first is not known");
            }
        }
    }

    /// Until it is dropped.
    pub(super) async fn keep_looking(&self, legacy: &dyn Engine) -> Infallible {
        loop {
            tokio::time::sleep(EVERY).await;
            self.look_at_references(legacy).await;
        }
    }

    /// Those that lead out of it, or into it.
    fn crossing(&self, catalog: &Catalog, out: bool) -> Vec<Refers> {
        let own = |table: &str| self.resolved.tables.iter().any(|map| map.legacy == table);
        let tables = catalog.tables.iter().filter(|table| own(&table.name) == out);
        let keys = tables.flat_map(|table| table.references.iter().map(move |key| (table, key)));
        let refers = keys.filter(|(_, key)| own(&key.parent) != out).map(|(table, key)| Refers {
            table: table.name.clone(),
            columns: key.columns.clone(),
            parent: key.parent.clone(),
        });
        refers.collect()
    }
}
