//! Who holds the write lock. SQLite has no list of sessions: it is tried, and whether the one who holds it is always the
//! same is told by what was committed meanwhile.

use std::os::unix::fs::MetadataExt as _;
use std::time::Instant;

use ficus_rules::mapping::Value;
use sqlx::SqliteConnection;

use super::{Endpoint, sql};
use crate::busy::{OLD, Open, sentence};
use crate::error::Error;
use crate::port::Busy;

/// Takes the write lock, and changes nothing. One statement: whatever becomes of us, the lock is not kept.
const TRY: &str = "DELETE FROM \"_ficus_fence\" WHERE 0";

/// The byte of the shared memory file that is locked by who writes (the file format's `WAL_WRITE_LOCK`).
const WRITE_LOCK: u64 = 120;

/// The write lock as it was last seen.
#[derive(Debug, Default)]
pub(super) struct Lock {
    /// Taken since then, with nothing committed by anybody.
    taken: Option<(Instant, Option<Value>)>,
}

impl Endpoint {
    /// Whether one and the same transaction has held the write lock for long.
    pub(super) async fn write_lock(&self) -> Result<Busy, Error> {
        let mut lock = self.lock.lock().await;
        let mut connection = self.file.probe.acquire().await.map_err(|e| self.failed(e))?;
        match sql::run(&mut connection, TRY).await {
            Ok(_) => {
                lock.taken = None;
                return Ok(Busy::Free);
            }
            Err(error) if is_busy(&error) => {}
            Err(error) => return Err(self.failed(error)),
        }
        // Writers who come one after another commit in between.
        let version = sql::one(&mut connection, "PRAGMA data_version", &[]).await.map_err(|e| self.failed(e))?;
        let since = match &lock.taken {
            Some((since, known)) if *known == version => *since,
            _ => {
                lock.taken = Some((Instant::now(), version));
                return Ok(Busy::Perhaps);
            }
        };
        if since.elapsed() < OLD {
            return Ok(Busy::Perhaps);
        }
        let path = path(&mut connection).await.map_err(|e| self.failed(e))?;
        let who = holder(&path);
        let remedy = match &who {
            Some(_) => "wait for its end, or end that process".to_owned(),
            None => format!("wait for its end, or look which process has the file open: fuser '{}'", path.replace('\'', "'\\''")),
        };
        let ends = Err("a revert ends no other process, and waits too".to_owned());
        let open = Open { age: since.elapsed(), who: who.into_iter().collect(), remedy, ends };
        Ok(sentence(&self.file.label, self.side, "a transaction has held the write lock without a commit for", vec![open]))
    }
}

fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.and_then(|code| code.parse::<u32>().ok()).is_some_and(|code| matches!(code & 0xff, 5 | 6))
}

async fn path(connection: &mut SqliteConnection) -> Result<String, sqlx::Error> {
    let path = sql::one(connection, "SELECT file FROM pragma_database_list WHERE name = 'main'", &[]).await?;
    Ok(if let Some(Value::Text(path)) = path { path } else { String::new() })
}

/// The process that holds the write lock, where the system tells (Linux, the same container).
fn holder(path: &str) -> Option<String> {
    // Only looked at: to open and close the file would give up every lock that this process has on it.
    let shared = std::fs::metadata(format!("{path}-shm")).ok()?;
    let device = (rustix::fs::major(shared.dev()), rustix::fs::minor(shared.dev()));
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let pid = locks.lines().find_map(|line| writer(line, device, shared.ino()))?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(if name.trim().is_empty() { format!("pid {pid}") } else { format!("pid {pid}, {}", name.trim()) })
}

/// The process of a line of `/proc/locks`, if it is about the write lock in that file:
/// `1: POSIX  ADVISORY  WRITE 4711 fd:01:131081 120 120`.
fn writer(line: &str, (major, minor): (u32, u32), inode: u64) -> Option<u32> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [_, "POSIX", _, "WRITE", pid, file, first, last] = words.as_slice() else { return None };
    let place = format!("{major:02x}:{minor:02x}:{inode}");
    let holds = first.parse::<u64>().is_ok_and(|first| first <= WRITE_LOCK) && last.parse::<u64>().is_ok_and(|last| last >= WRITE_LOCK);
    pid.parse().ok().filter(|pid| holds && *file == place && *pid > 0)
}

#[cfg(test)]
mod tests {
    use super::writer;

    #[test]
    fn the_holder_of_the_write_lock_is_found_among_all_locks() {
        for (line, found) in [
            ("1: POSIX  ADVISORY  WRITE 4711 fd:01:77 120 120", Some(4711)),
            ("9: POSIX  ADVISORY  WRITE 4711 fd:01:77 120 122", Some(4711)),
            ("1: POSIX  ADVISORY  WRITE 4711 fd:01:77 121 122", None),
            ("1: POSIX  ADVISORY  READ  4711 fd:01:77 120 120", None),
            ("1: -> POSIX  ADVISORY  WRITE 4711 fd:01:77 120 120", None),
            ("1: FLOCK  ADVISORY  WRITE 4711 fd:01:77 0 EOF", None),
            ("1: POSIX  ADVISORY  WRITE 4711 fd:01:78 120 120", None),
            ("1: POSIX  ADVISORY  WRITE 4711 fd:02:77 120 120", None),
            ("1: POSIX  ADVISORY  WRITE 0 fd:01:77 120 120", None),
        ] {
            assert_eq!(writer(line, (0xfd, 1), 77), found, "{line}");
        }
    }
}
