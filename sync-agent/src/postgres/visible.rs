//! Which transactions others on the server see. The log is sent to us as soon as it is on the disk, a moment before the
//! server lets anybody see the commit, and long before when it waits for a standby. Who then looked for a row of it in
//! the tables would take it for gone.

use std::time::{Duration, Instant};

use sqlx::Row;

use super::Endpoint;
use super::feed::Feed;
use crate::error::Error;

/// How long the first transaction that nobody sees is waited for, at a time.
const PATIENCE: Duration = Duration::from_millis(50);

/// Between two looks.
const PAUSE: Duration = Duration::from_micros(500);

/// What one statement sees: everything below `oldest`, nothing from `next` on, and of what lies between all but `running`.
#[derive(Debug, PartialEq, Eq)]
struct Snapshot {
    oldest: u64,
    next: u64,
    running: Vec<u64>,
}

impl Snapshot {
    /// The server's spelling: `oldest:next:running,running`.
    fn parse(text: &str) -> Option<Snapshot> {
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

impl Endpoint {
    /// Looks which of the transactions that have arrived, up to `limit` entries, are seen by others; waits a little for the
    /// first. The others count as not arrived.
    pub(super) async fn look_out(&self, feed: &mut Feed, limit: usize) -> Result<(), Error> {
        let begun = Instant::now();
        while feed.unseen(limit) {
            let text: String = {
                let mut connection = self.server.pool.acquire().await.map_err(|e| self.failed(e))?;
                let row = sqlx::query("SELECT txid_current_snapshot()::text").fetch_one(&mut *connection).await;
                row.and_then(|row| row.try_get(0)).map_err(|e| self.failed(e))?
            };
            let snapshot = Snapshot::parse(&text).ok_or_else(|| {
                Error::Refused(format!("{}: a snapshot cannot be read ({text}); report the server's version", self.server.label))
            })?;
            feed.see(|xid| snapshot.sees(xid));
            if feed.seen > 0 || begun.elapsed() >= PATIENCE {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
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
