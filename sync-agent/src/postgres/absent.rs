//! Foreign keys between a capability's tables and those of others, where the agent's role may not switch references off. Every
//! capability has a stream of its own, and none waits for another: what a row refers to, or what still refers to it, is
//! mostly on its way. So what such a key refuses is tried again for a while before it is set aside. What is not refused is
//! written meanwhile: the other stream may be waiting for that. Until the position moves, all of it may be written again.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::{Postgres, Transaction};

use super::Endpoint;
use super::apply::Failed;
use crate::port::{Changes, Rejected};

/// For how long. A stream that is slower than this fails the gate of the lag anyway.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// Foreign keys with one end in the capability's tables.
const CROSSING: &str = "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_constraint WHERE contype = 'f' AND conname::text = ANY($1)
    AND (conrelid::int8 = ANY($2)) <> (confrelid::int8 = ANY($2)))";

/// Since when something is refused that another stream has to bring.
#[derive(Default)]
pub(super) struct Waiting(Mutex<Option<Instant>>);

impl Waiting {
    /// Nothing is.
    pub(super) fn ended(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn is_patient(&self) -> bool {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.get_or_insert_with(Instant::now).elapsed() < PATIENCE
    }
}

impl Endpoint {
    /// Writes what can be written, at the position before it, until nothing is refused that another stream may still bring. What
    /// is refused then, in a transaction that is still open.
    pub(super) async fn isolate_patiently(
        &self,
        changes: &[Changes],
        opening: &str,
    ) -> Result<(Transaction<'static, Postgres>, Vec<Rejected>), Failed> {
        loop {
            let mut tx = self.marked(None, opening).await?;
            let (rejected, references) = self.isolate(&mut tx, changes).await?;
            if !self.waits_for(&references).await? {
                return Ok((tx, rejected));
            }
            tx.commit().await?;
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn waits_for(&self, references: &BTreeSet<String>) -> Result<bool, sqlx::Error> {
        if references.is_empty() {
            return Ok(false);
        }
        let names: Vec<&String> = references.iter().collect();
        let crossing: bool = sqlx::query_scalar(CROSSING).bind(names).bind(self.oids()).fetch_one(&self.server.pool).await?;
        if !crossing || !self.absent.is_patient() {
            return Ok(false);
        }
        tracing::debug!(stream = %self.names.stream, ?references, "another stream is waited for");
        Ok(true)
    }
}
