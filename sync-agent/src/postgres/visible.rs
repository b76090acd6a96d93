//! Which transactions others on the server see. The log is sent to us as soon as it is on the disk, a moment before the
//! server lets anybody see the commit, and long before when it waits for a standby. Who then looked for a row of it in
//! the tables would take it for gone.

use std::time::{Duration, Instant};

use sqlx::Row;

use super::feed::Feed;
use super::fence::holds;
use super::{Endpoint, sql};
use crate::error::Error;

/// How long the first transaction that nobody sees is waited for, at a time.
const PATIENCE: Duration = Duration::from_millis(50);

/// Looks without a pause between them.
const AT_ONCE: usize = 3;

/// Between two looks after that: longer each time. A commit may wait for its standby for hours.
const PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// What one statement sees: everything below `oldest`, nothing from `next` on, and of what lies between all but `running`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Snapshot {
    oldest: u64,
    next: u64,
    running: Vec<u64>,
}

impl Snapshot {
    /// The server's spelling: `oldest:next:running,running`.
    pub(super) fn parse(text: &str) -> Option<Snapshot> {
        let mut parts = text.splitn(3, ':');
        let (oldest, next) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let running = parts.next()?.split(',').filter(|xid| !xid.is_empty());
        Some(Snapshot { oldest, next, running: running.map(str::parse).collect::<Result<_, _>>().ok()? })
    }

    /// Whether it sees a transaction. The log has the lower half of its number only; the whole one is the nearest to ours.
    fn sees(&self, xid: u32) -> bool {
        let ours = self.next as u32;
        let xid = self.next.wrapping_add_signed(i64::from(xid.wrapping_sub(ours) as i32));
        xid < self.oldest || xid < self.next && !self.running.contains(&xid)
    }
}

/// The log at one moment.
pub(super) struct Log {
    /// Where it ends, written through to the disk or not.
    pub(super) end: u64,
    /// Up to where it is on the disk.
    pub(super) flushed: u64,
    /// What others saw then.
    pub(super) seen: Snapshot,
    /// The fence was closed, a moment later, or let strangers through whose writes are carried nowhere.
    pub(super) closed: bool,
}

/// In this order: who writes before the fence is found closed has written before the end of the log.
const LOG: &str = "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::int8, (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::int8,
    txid_current_snapshot()::text, pg_sequence_last_value($1::text::regclass)";

impl Endpoint {
    /// Looks at the log.
    pub(super) async fn look(&self) -> Result<Log, Error> {
        let mut connection = self.server.pool.acquire().await.map_err(|e| self.failed(e))?;
        let fence = format!("_ficus.{}", sql::name(&self.names.fence));
        let row = sqlx::query(LOG).bind(fence).fetch_one(&mut *connection).await.map_err(|e| self.failed(e))?;
        let place = |index| row.try_get::<i64, _>(index).map(|place| self.wal.tidy(u64::try_from(place).unwrap_or(0)));
        let text: String = row.try_get(2).map_err(|e| self.failed(e))?;
        let seen = Snapshot::parse(&text).ok_or_else(|| {
            Error::Refused(format!("{}: a snapshot cannot be read ({text}); report the server's version", self.server.label))
        })?;
        let closed = row.try_get::<Option<i64>, _>(3).map_err(|e| self.failed(e))?.is_some_and(holds);
        Ok(Log { end: place(0).map_err(|e| self.failed(e))?, flushed: place(1).map_err(|e| self.failed(e))?, seen, closed })
    }

    /// Finds out which of the transactions that have arrived, up to `limit` entries, others see: by a look that was taken
    /// already, then by new ones; waits a little for the first. The others count as not arrived.
    pub(super) async fn look_out(&self, feed: &mut Feed, mut seen: Snapshot, limit: usize) -> Result<(), Error> {
        let begun = Instant::now();
        for look in 0.. {
            feed.see(|xid| seen.sees(xid));
            if feed.following().next().is_some() || !feed.unseen(limit) {
                feed.pause = Duration::ZERO;
                break;
            }
            if begun.elapsed() >= PATIENCE {
                break;
            }
            // Mostly a moment is enough, and the question itself is one; what takes longer waits for something.
            if look >= AT_ONCE || !feed.pause.is_zero() {
                feed.pause = (feed.pause * 2).clamp(PAUSE, LONGEST_PAUSE);
                tokio::time::sleep(feed.pause).await;
            }
            seen = self.look().await?.seen;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::Snapshot;

    #[test]
    fn the_running_and_the_coming_are_not_seen() {
        let snapshot = Snapshot::parse("10:15:10,13").unwrap();
        let seen: Vec<u32> = (8..17).filter(|xid| snapshot.sees(*xid)).collect();
        assert_eq!(seen, [8, 9, 11, 12, 14]);
        assert_eq!(Snapshot::parse("7:7:"), Some(Snapshot { oldest: 7, next: 7, running: Vec::new() }));
        assert_eq!(Snapshot::parse("7:7:x"), None);
        assert_eq!(Snapshot::parse("7"), None);
    }

    #[test]
    fn numbers_wrap_round() {
        // The next is the third of the second round; the last of the first round still runs.
        let last = u64::from(u32::MAX);
        let snapshot = Snapshot::parse(&format!("{last}:{}:{last}", last + 4)).unwrap();
        assert!(!snapshot.sees(u32::MAX), "it runs");
        assert!(snapshot.sees(u32::MAX - 1) && snapshot.sees(1) && snapshot.sees(2), "they ended");
        assert!(!snapshot.sees(3) && !snapshot.sees(100), "they have not begun");
    }
}
