//! A large transaction, written part by part as it comes, in one transaction of the target.
//!
//! The parts are written in the order of the log, so that after each the tables are as they were at some moment of the
//! source's transaction. Decides nothing about what is refused but whether upserts in place of copies help: the rest is
//! for a batch that has all of it.

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use sqlx::{Postgres, Transaction};

use super::write::Failure;
use super::{Endpoint, sql};
use crate::crash;
use crate::error::Error;
use crate::port::{Changes, Effort, InParts, Position, Rejected};

/// The next part is waited for this long: who lost the source without noticing keeps nobody else from the rows for ever.
const WAIT: &str = "SET LOCAL idle_in_transaction_session_timeout = '60s'";

/// The transaction, from its first part on.
pub(super) struct Long<'e> {
    endpoint: &'e Endpoint,
    open: Option<Transaction<'static, Postgres>>,
    /// Set aside in all.
    quarantined: u64,
}

impl Long<'_> {
    pub(super) fn new(endpoint: &Endpoint) -> Long<'_> {
        Long { endpoint, open: None, quarantined: endpoint.quarantined.load(Ordering::Acquire) }
    }
}

#[async_trait]
impl InParts for Long<'_> {
    async fn write(&mut self, changes: &[Changes], aside: &[Rejected]) -> Result<bool, Error> {
        let this = self.endpoint;
        let mut tx = match self.open.take() {
            Some(tx) => tx,
            None => {
                crash::point("before_apply");
                this.marked(None, WAIT).await?
            }
        };
        let mut written = false;
        for effort in [Effort::Plain, Effort::Parked] {
            match this.part(&mut tx, changes, effort).await {
                Ok(()) => written = true,
                Err(Failure::Blame(_)) => {
                    sql::run(&mut tx, "ROLLBACK TO part; RELEASE part").await.map(drop).map_err(|e| this.failed(e))?
                }
                // Both databases wait for each other's locks: another time, in one.
                Err(Failure::Other(error)) if matches!(sql::code(&error), Some("40P01" | "40001")) => break,
                Err(Failure::Other(error)) => return Err(this.failed(error)),
            }
            if written {
                break;
            }
        }
        if !written {
            tx.rollback().await.map_err(|e| this.failed(e))?;
            return Ok(false);
        }
        let aside: Vec<&Rejected> = aside.iter().collect();
        self.quarantined = this.quarantine(&mut tx, changes, &aside, self.quarantined).await.map_err(|e| this.failed(e))?;
        self.open = Some(tx);
        Ok(true)
    }

    async fn commit(mut self: Box<Self>, position: Position) -> Result<Option<u64>, Error> {
        let this = self.endpoint;
        let Some(mut tx) = self.open.take() else { return Ok(None) };
        sql::run(&mut tx, &this.mark(Some(position))).await.map_err(|error| this.not_ours(error))?;
        crash::point("after_apply_before_commit");
        // What is deferred to the commit is a refusal as well.
        match tx.commit().await {
            Err(error) if sql::blame(&error).is_some() => return Ok(None),
            committed => committed.map_err(|e| this.failed(e))?,
        }
        this.quarantined.store(self.quarantined, Ordering::Release);
        Ok(Some(self.quarantined))
    }
}

impl Endpoint {
    /// One part after a savepoint. Its staging tables may have rows of the part before it.
    async fn part(&self, tx: &mut Transaction<'static, Postgres>, changes: &[Changes], effort: Effort) -> Result<(), Failure> {
        let mut opening = format!("SAVEPOINT part; {}", self.opening(changes, effort));
        for pair in self.staged(changes, effort) {
            opening.push_str(&format!("; TRUNCATE {}", self.pairs[pair].sql.staged));
        }
        sql::run(tx, &opening).await?;
        self.write(tx, changes, effort).await?;
        sql::run(tx, "RELEASE part").await?;
        Ok(())
    }
}
