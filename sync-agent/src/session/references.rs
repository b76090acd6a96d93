//! Which foreign keys lead out of the capability: for whoever decides who moves first. Nothing of the sync depends on them.

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
                let refers = self.leading_out(&catalog);
                if self.state.report().refers.as_ref() != Some(&refers) {
                    self.state.update(|report| report.refers = Some(refers));
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

    fn leading_out(&self, catalog: &Catalog) -> Vec<Refers> {
        let own = |table: &str| self.resolved.tables.iter().any(|map| map.legacy == table);
        let tables = catalog.tables.iter().filter(|table| own(&table.name));
        let keys = tables.flat_map(|table| table.references.iter().map(move |key| (table, key)));
        let refers = keys.filter(|(_, key)| !own(&key.parent)).map(|(table, key)| Refers {
            table: table.name.clone(),
            columns: key.columns.clone(),
            parent: key.parent.clone(),
        });
        refers.collect()
    }
}
