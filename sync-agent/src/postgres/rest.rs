//! When the log need not be read: while the fence is closed, nobody writes to the tables but those who apply, and what they
//! write is nobody's change; nor is what strangers write while it lets them through. To decode all of it, only to find that out, would cost as much as to apply it.
//!
//! It rests on what the fence rests on: whoever's turn it is, and nobody else, opens it. The log is read up to where it
//! ended when the fence was found closed; from there on each look that finds it closed moves the position, unless this agent
//! has switched it, or written for itself, since the look before. The slot then has no connection, and is moved now and then.
//!
//! That is noted for the next session, with the turn, once all before it is durable in the target; whoever switches the fence
//! or writes takes the note back first. A note is believed by the turn after the one that made it.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sqlx::Row as _;

use super::feed::Feed;
use super::fence::holds;
use super::visible::Log;
use super::{Endpoint, sql};
use crate::error::Error;

/// Between two moves of the slot: each reads the log anew from where the server can begin.
pub(super) const MOVE: Duration = Duration::from_secs(10);

/// How often the agent has switched the fence or written what is to be captured, and what is noted of that; held while it does.
#[derive(Default)]
pub(super) struct Still(tokio::sync::RwLock<Known>);

/// What [`Still`] holds.
#[derive(Default, Clone, Copy)]
pub(super) struct Known {
    count: u64,
    note: Note,
}

/// Where a session may rest from its beginning.
#[derive(Default, Clone, Copy)]
enum Note {
    /// Not asked yet.
    #[default]
    Unknown,
    None,
    /// Everything up to here is durable in the target, and nothing after it is a change as long as the fence stays closed:
    /// the turn before has said so.
    Theirs(u64),
    /// The same, said by this one.
    Ours(u64),
}

impl Still {
    /// Nothing is written or switched while this is held; `None` while it is.
    pub(super) fn now(&self) -> Option<tokio::sync::RwLockReadGuard<'_, Known>> {
        self.0.try_read().ok()
    }
}

/// What is known of the fence.
#[derive(Default)]
pub(super) struct Rest {
    /// It was found closed when the log ended here, by this count of [`Still`].
    closed: Option<(u64, u64)>,
    /// It was looked for before: what was noted says nothing of what came since.
    looked: bool,
    /// The log is not read from here on.
    pub(super) since: Option<u64>,
    /// When the slot was moved last.
    pub(super) moved: Option<Instant>,
}

impl Feed {
    /// Whether nothing after a position has to be read: then everything up to the end of the log has arrived.
    pub(super) fn rests(&mut self, after: u64, log: &Log, known: Option<Known>) -> bool {
        let first = !std::mem::replace(&mut self.rest.looked, true);
        let Some(Known { count, note }) = known.filter(|_| log.closed) else {
            (self.rest.closed, self.rest.since) = (None, None);
            return false;
        };
        let closed = match (self.rest.closed, note) {
            (Some((closed, known)), _) if known == count => closed,
            // What was noted is durable, whatever position the target remembers.
            (_, Note::Theirs(noted)) if first => noted.min(after),
            _ => {
                self.rest.since = None;
                log.end
            }
        };
        self.rest.closed = Some((closed, count));
        match self.rest.since {
            // It is asked for again.
            Some(since) if after < since => self.rest.since = None,
            Some(_) => self.received = log.end,
            None if after >= closed && self.holds_nothing() => {
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
    /// Whoever switches the fence, or writes what is to be captured, holds this meanwhile.
    pub(super) async fn unrest(&self) -> Result<tokio::sync::RwLockWriteGuard<'_, Known>, Error> {
        let mut known = self.still.0.write().await;
        known.count += 1;
        if !matches!(known.note, Note::None) {
            let mut tx = self.guarded_then().await?;
            let forget = "UPDATE _ficus.capture SET rest = NULL WHERE scope = $1 AND rest IS NOT NULL";
            sqlx::query(forget).bind(&self.names.scope).execute(&mut *tx).await.map_err(|e| self.failed(e))?;
            tx.commit().await.map_err(|e| self.failed(e))?;
            known.note = Note::None;
        }
        Ok(known)
    }

    /// Finds out, once, what the turn before has noted.
    pub(super) async fn look_for_note(&self) -> Result<(), Error> {
        if self.still.now().is_some_and(|known| !matches!(known.note, Note::Unknown)) {
            return Ok(());
        }
        let mut known = self.still.0.write().await;
        let query = "SELECT rest FROM _ficus.capture WHERE scope = $1 AND rest_turn = $2 - 1";
        let query = sqlx::query(query).bind(&self.names.scope).bind(self.epoch.load(Ordering::Acquire));
        let mut connection = self.server.pool.acquire().await.map_err(|e| self.failed(e))?;
        let row = query.fetch_optional(&mut *connection).await.map_err(|e| self.failed(e))?;
        let noted: Option<i64> = row.map(|row| row.try_get(0)).transpose().map_err(|e| self.failed(e))?.flatten();
        // One of an earlier turn may still stand there, for nobody to believe.
        known.note = noted.and_then(|noted| u64::try_from(noted).ok()).map_or(Note::None, Note::Theirs);
        Ok(())
    }

    /// A log that is not read, up to where the target has everything: the next session need not read it either. Moves the slot,
    /// seldom, so that the server need not keep it.
    pub(super) async fn settle(&self, feed: &mut Feed, durable: u64) -> Result<(), Error> {
        let Some(since) = feed.rest.since.filter(|since| durable >= *since) else { return Ok(()) };
        let move_it = feed.rest.moved.is_none_or(|moved| moved.elapsed() >= MOVE);
        let mut known = self.still.0.write().await;
        let unnoted = !matches!(known.note, Note::Ours(at) if at >= since);
        if !(move_it || unnoted) || feed.rest.closed.is_none_or(|(_, count)| count != known.count) {
            return Ok(());
        }
        // It still is our turn, and therefore has been all the time.
        let Some(mut tx) = self.guarded_now().await? else { return Ok(()) };
        if !holds(self.fence_value(&mut tx).await?) {
            return tx.rollback().await.map_err(|e| self.failed(e));
        }
        let note = "UPDATE _ficus.capture SET rest = $2, rest_turn = $3 WHERE scope = $1";
        let note = sqlx::query(note).bind(&self.names.scope).bind(i64::try_from(durable).unwrap_or(i64::MAX));
        note.bind(self.epoch.load(Ordering::Acquire)).execute(&mut *tx).await.map_err(|e| self.failed(e))?;
        tx.commit().await.map_err(|e| self.failed(e))?;
        known.note = Note::Ours(durable);
        drop(known);
        if move_it {
            feed.rest.moved = Some(Instant::now());
            self.move_slot(durable).await?;
        }
        Ok(())
    }

    async fn move_slot(&self, to: u64) -> Result<(), Error> {
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

#[cfg(test)]
mod tests {
    use super::super::visible::Snapshot;
    use super::{Feed, Known, Log, Note};

    fn looks(feed: &mut Feed, after: u64, end: u64, closed: bool, note: Note) -> bool {
        let log = Log { end, flushed: end, seen: Snapshot::parse("1:1:").expect("a snapshot"), closed };
        feed.rests(after, &log, Some(Known { count: 0, note }))
    }

    #[test]
    fn a_log_is_read_up_to_where_it_ended_when_the_fence_was_found_closed() {
        let mut feed = Feed::default();
        assert!(!looks(&mut feed, 40, 100, true, Note::None));
        assert!(!looks(&mut feed, 99, 150, true, Note::None));
        assert!(looks(&mut feed, 100, 200, true, Note::None) && feed.received == 200);
        assert!(!looks(&mut feed, 200, 300, false, Note::None), "it is open");
        assert!(!looks(&mut feed, 200, 400, true, Note::None), "what came up to here may be anybody's");
        assert!(looks(&mut feed, 400, 500, true, Note::None));
    }

    #[test]
    fn a_note_is_good_for_the_first_look() {
        let mut feed = Feed::default();
        assert!(looks(&mut feed, 40, 100, true, Note::Theirs(90)));
        assert!(!looks(&mut feed, 100, 200, false, Note::Theirs(90)), "it is open");
        assert!(!looks(&mut feed, 100, 300, true, Note::Theirs(90)), "what came since may be anybody's");
        let mut late = Feed::default();
        assert!(!looks(&mut late, 40, 100, false, Note::Theirs(90)));
        assert!(!looks(&mut late, 40, 100, true, Note::Theirs(90)), "it was open at the first look");
        let mut own = Feed::default();
        assert!(!looks(&mut own, 40, 100, true, Note::Ours(90)), "this turn has read since");
    }
}
