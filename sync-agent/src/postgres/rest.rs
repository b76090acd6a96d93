//! When the log need not be read: while the fence is closed, nobody writes to the tables but those who apply, and what they
//! write is nobody's change. To decode all of it, only to find that out, would cost as much as to apply it.
//!
//! It rests on what the fence rests on: whoever's turn it is, and nobody else, opens it. The log is read up to where it
//! ended when the fence was found closed; from there on each look that finds it closed moves the position, unless this agent
//! has switched it, or written for itself, since the look before. The slot then has no connection, and is moved now and then.

use std::time::{Duration, Instant};

use super::feed::Feed;
use super::fence::CLOSED;
use super::visible::Log;
use super::{Endpoint, sql};
use crate::error::Error;

/// Between two moves of the slot: each reads the log anew from where the server can begin.
pub(super) const MOVE: Duration = Duration::from_secs(10);

/// Counts how often the agent has switched the fence or written what is to be captured; held while it does.
#[derive(Default)]
pub(super) struct Still(tokio::sync::RwLock<u64>);

impl Still {
    /// The agent does what has to be read.
    pub(super) async fn write(&self) -> tokio::sync::RwLockWriteGuard<'_, u64> {
        let mut count = self.0.write().await;
        *count += 1;
        count
    }

    /// How often it has; `None` while it does. It does not while this is held.
    pub(super) fn now(&self) -> Option<tokio::sync::RwLockReadGuard<'_, u64>> {
        self.0.try_read().ok()
    }
}

/// What is known of the fence.
#[derive(Default)]
pub(super) struct Rest {
    /// It was found closed when the log ended here, by this count of [`Still`].
    closed: Option<(u64, u64)>,
    /// The log is not read from here on.
    pub(super) since: Option<u64>,
    /// When the slot was moved last.
    pub(super) moved: Option<Instant>,
}

impl Feed {
    /// Whether nothing after a position has to be read: then everything up to the end of the log has arrived.
    pub(super) fn rests(&mut self, after: u64, log: &Log, still: Option<u64>) -> bool {
        let Some(count) = still.filter(|_| log.closed) else {
            (self.rest.closed, self.rest.since) = (None, None);
            return false;
        };
        let closed = match self.rest.closed {
            Some((closed, known)) if known == count => closed,
            _ => {
                self.rest.since = None;
                self.rest.closed = Some((log.end, count));
                log.end
            }
        };
        match self.rest.since {
            // It is asked for again.
            Some(since) if after < since => self.rest.since = None,
            Some(_) => self.received = log.end,
            None if self.is_idle() && after >= closed => {
                self.disconnect();
                self.received = log.end;
                self.rest = Rest { since: Some(after), moved: Some(Instant::now()), ..std::mem::take(&mut self.rest) };
            }
            None => {}
        }
        self.rest.since.is_some()
    }
}

impl Endpoint {
    /// Moves the slot of a log that is not read, seldom, so that the server need not keep it.
    pub(super) async fn move_slot(&self, feed: &mut Feed, to: u64) -> Result<(), Error> {
        let due = feed.rest.since.is_some() && feed.rest.moved.is_none_or(|moved| moved.elapsed() >= MOVE);
        if !due {
            return Ok(());
        }
        feed.rest.moved = Some(Instant::now());
        // It still is our turn, and therefore has been all the time.
        let mut tx = self.guarded().await?;
        let closed = self.fence_value(&mut tx).await? == CLOSED;
        tx.rollback().await.map_err(|e| self.failed(e))?;
        if !closed {
            return Ok(());
        }
        let advance = "SELECT pg_replication_slot_advance(slot_name, '0/0'::pg_lsn + $2::numeric) FROM pg_catalog.pg_replication_slots
            WHERE slot_name = $1 AND NOT active AND confirmed_flush_lsn < '0/0'::pg_lsn + $2::numeric";
        let mut connection = self.server.pool.acquire().await.map_err(|e| self.failed(e))?;
        let to = i64::try_from(to).unwrap_or(i64::MAX);
        match sqlx::query(advance).bind(&self.names.slot).bind(to).execute(&mut *connection).await {
            // Its last connection has not ended yet.
            Err(error) if sql::code(&error) == Some("55006") => Ok(()),
            moved => moved.map(drop).map_err(|e| self.failed(e)),
        }
    }
}
