//! The store on one SQLite file: write-ahead log, every commit on disk before it is answered.

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use ficus_rules::Timestamp;
use ficus_rules::api::JournalEntry;
use ficus_rules::audit::Head;
use ficus_rules::migration::State;
use ficus_rules::migration::advance::JournalLine;
use ficus_rules::wire::{DifferenceSample, Overrides, RuleFile};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _, Row as _, Sqlite, Transaction};

use super::everything::Everything;
use super::{Change, JournalQuery, Loaded, Note, Store, StoreError, Stored};

/// The format of the tables below. 1: a journal without hashes.
const FORMAT: i64 = 2;

const TABLES: [&str; 6] = [
    "CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, number INTEGER NOT NULL, text TEXT NOT NULL DEFAULT '') WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS state (capability TEXT PRIMARY KEY, version INTEGER NOT NULL, state TEXT NOT NULL, \
     serving_generation INTEGER NOT NULL, orders_generation INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS journal (id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, capability TEXT, \
     actor TEXT, line TEXT NOT NULL, hash TEXT NOT NULL DEFAULT '')",
    "CREATE TABLE IF NOT EXISTS gateway (name TEXT PRIMARY KEY) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS sample (id INTEGER PRIMARY KEY AUTOINCREMENT, capability TEXT NOT NULL, at INTEGER NOT NULL, \
     sample TEXT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS sample_of ON sample (capability, id)",
];

/// Where `meta` keeps the head of the journal.
const HEAD: &str = "journal_head";

/// How the keys in `meta` begin under which notifiers keep how far they are.
const NOTIFIED: &str = "notified:";

/// Where `meta` keeps where the state is by now.
const MOVED: &str = "moved";

/// Entries by their ids, ascending and descending.
const ENTRIES: [&str; 2] = [
    "SELECT id, at, capability, actor, line, hash FROM journal WHERE id > ?1 AND (?2 IS NULL OR capability = ?2) ORDER BY id LIMIT ?3",
    "SELECT id, at, capability, actor, line, hash FROM journal WHERE id > ?1 AND (?2 IS NULL OR capability = ?2) ORDER BY id DESC LIMIT ?3",
];

/// Drops all but the newest samples of a capability.
const OLD_SAMPLES: &str = "DELETE FROM sample WHERE capability = ?1 AND id <= \
    (SELECT id FROM sample WHERE capability = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)";

/// How long another orchestrator on the same file may take to end: it may be about to be replaced by this one.
const PATIENCE: Duration = Duration::from_secs(20);

/// The store.
pub(crate) struct SqliteStore {
    pool: SqlitePool,
    /// Locked while the store is open, and by the system no longer than its process lives.
    alone: File,
}

impl SqliteStore {
    /// Opens the file, and makes it when it is missing.
    ///
    /// # Errors
    /// [`StoreError::Taken`] when another process has it open, and keeps it for longer than [`PATIENCE`].
    pub(crate) async fn open(file: &Path) -> Result<SqliteStore, StoreError> {
        SqliteStore::open_within(file, PATIENCE, false).await
    }

    /// Opens it to move it elsewhere, if nobody works on it; one that has been, only if `again`.
    pub(crate) async fn open_to_move(file: &Path, again: bool) -> Result<SqliteStore, StoreError> {
        SqliteStore::open_within(file, Duration::ZERO, again).await
    }

    async fn open_within(file: &Path, patience: Duration, also_moved: bool) -> Result<SqliteStore, StoreError> {
        let alone = alone(file, patience).await?;
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(5));
        let pool = SqlitePoolOptions::new().max_connections(4).min_connections(1).connect_with(options).await?;
        for table in TABLES {
            sqlx::query(table).execute(&pool).await?;
        }
        sqlx::query("INSERT OR IGNORE INTO meta (key, number) VALUES ('format', ?)").bind(FORMAT).execute(&pool).await?;
        let moved = meta(&mut *pool.acquire().await?, MOVED).await?;
        if let Some((_, to)) = moved.clone().filter(|_| !also_moved) {
            return Err(StoreError::Moved(to));
        }
        let format: i64 = sqlx::query_scalar("SELECT number FROM meta WHERE key = 'format'").fetch_one(&pool).await?;
        // Of one that has moved, the number keeps older versions out.
        if format > FORMAT && moved.is_none() {
            return Err(StoreError::Newer(format));
        }
        let store = SqliteStore { pool, alone };
        if format < FORMAT {
            store.chain().await?;
        }
        Ok(store)
    }

    /// Everything that a file holds on which nobody works, read from a copy: the file stays as it is, also one of an older format.
    pub(crate) async fn look_into(file: &Path, also_moved: bool) -> Result<Everything, StoreError> {
        let _alone = alone(file, Duration::ZERO).await?;
        let failed = |error| StoreError::Copy(file.display().to_string(), error);
        let aside = tempfile::tempdir().map_err(failed)?;
        let copy = aside.path().join("copy");
        for part in ["", "-wal"] {
            let named = |path: &Path| [path.as_os_str(), part.as_ref()].join("".as_ref());
            match std::fs::copy(named(file), named(&copy)) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && !part.is_empty() => {}
                copied => drop(copied.map_err(failed)?),
            }
        }
        let copy = SqliteStore::open_to_move(&copy, also_moved).await?;
        let all = copy.everything().await;
        copy.close().await;
        all
    }

    /// Everything that it holds.
    pub(crate) async fn everything(&self) -> Result<Everything, StoreError> {
        let generation = meta(&mut *self.pool.acquire().await?, "generation").await?.map_or(0, |(number, _)| number);
        let keys: Vec<String> = sqlx::query_scalar("SELECT key FROM meta ORDER BY key").fetch_all(&self.pool).await?;
        let notifiers = keys.iter().filter_map(|key| key.strip_prefix(NOTIFIED)).map(str::to_owned).collect();
        Everything::read(self, generation, notifiers).await
    }

    /// It is elsewhere from now on: no orchestrator begins with what stands here.
    pub(crate) async fn has_moved(&self, to: &str) -> Result<(), StoreError> {
        let mut write = self.begin().await?;
        put_meta(&mut write, MOVED, 0, to).await?;
        put_meta(&mut write, "format", FORMAT.unsigned_abs() + 1, "").await?;
        write.commit().await?;
        Ok(())
    }

    /// From format 1: what the journal holds is taken as it is, and linked.
    async fn chain(&self) -> Result<(), StoreError> {
        let mut write = self.begin().await?;
        sqlx::query("ALTER TABLE journal ADD COLUMN hash TEXT NOT NULL DEFAULT ''").execute(&mut *write).await?;
        let mut head = Head::default();
        let all = sqlx::query(ENTRIES[0]).bind(0).bind(None::<&str>).bind(i64::MAX);
        for row in all.fetch_all(&mut *write).await? {
            // Numbered anew: of the old format, a gap says nothing.
            let was = unsigned(&row, 0);
            let entry = JournalEntry { id: head.id + 1, ..entry(&row)? };
            head = Head { id: entry.id, hash: head.link(&entry) };
            sqlx::query("UPDATE journal SET id = ?1, hash = ?2 WHERE id = ?3")
                .bind(signed(head.id))
                .bind(&head.hash)
                .bind(signed(was))
                .execute(&mut *write)
                .await?;
        }
        put_meta(&mut write, HEAD, head.id, &head.hash).await?;
        put_meta(&mut write, "format", FORMAT.unsigned_abs(), "").await?;
        write.commit().await?;
        Ok(())
    }

    /// A transaction that holds the write lock from its beginning: no upgrade can fail later.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        Ok(self.pool.begin_with("BEGIN IMMEDIATE").await?)
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn load(&self) -> Result<Loaded, StoreError> {
        let mut read = self.pool.begin().await?;
        let mut loaded = Loaded::default();
        for row in sqlx::query("SELECT capability, state, serving_generation, orders_generation FROM state").fetch_all(&mut *read).await? {
            let stored = Stored {
                state: serde_json::from_str(row.get(1))?,
                serving_generation: unsigned(&row, 2),
                orders_generation: unsigned(&row, 3),
            };
            loaded.states.insert(row.get(0), stored);
        }
        if let Some((number, text)) = meta(&mut read, "overrides").await? {
            (loaded.overrides_generation, loaded.overrides) = (number, serde_json::from_str(&text)?);
        }
        if let Some((number, text)) = meta(&mut read, "rules").await? {
            (loaded.rules_published, loaded.rules) = (number, Some(serde_json::from_str(&text)?));
        }
        loaded.rules_generation = meta(&mut read, "rules_generation").await?.map_or(0, |(number, _)| number);
        loaded.gateways = sqlx::query_scalar("SELECT name FROM gateway ORDER BY name").fetch_all(&mut *read).await?;
        Ok(loaded)
    }

    async fn compare_and_swap(&self, change: &Change<'_>) -> Result<Option<Stored>, StoreError> {
        let mut write = self.begin().await?;
        let found = sqlx::query("SELECT version, serving_generation, orders_generation FROM state WHERE capability = ?")
            .bind(&change.state.capability)
            .fetch_optional(&mut *write)
            .await?;
        let (version, mut serving, mut orders) = found.map_or((0, 0, 0), |row| (unsigned(&row, 0), unsigned(&row, 1), unsigned(&row, 2)));
        if version != change.from {
            return Ok(None);
        }
        if change.serving || change.orders {
            let generation = next_generation(&mut write).await?;
            serving = if change.serving { generation } else { serving };
            orders = if change.orders { generation } else { orders };
        }
        let state = State { version: change.from + 1, ..change.state.clone() };
        sqlx::query("INSERT OR REPLACE INTO state VALUES (?, ?, ?, ?, ?)")
            .bind(&state.capability)
            .bind(signed(state.version))
            .bind(serde_json::to_string(&state)?)
            .bind(signed(serving))
            .bind(signed(orders))
            .execute(&mut *write)
            .await?;
        for note in change.journal {
            append(&mut write, note).await?;
        }
        write.commit().await?;
        Ok(Some(Stored { state, serving_generation: serving, orders_generation: orders }))
    }

    async fn save_rules(&self, rules: &[RuleFile], note: &Note) -> Result<(u64, u64), StoreError> {
        let mut write = self.begin().await?;
        let generation = next_generation(&mut write).await?;
        let rules_generation = meta(&mut write, "rules_generation").await?.map_or(0, |(number, _)| number) + 1;
        put_meta(&mut write, "rules", generation, &serde_json::to_string(rules)?).await?;
        put_meta(&mut write, "rules_generation", rules_generation, "").await?;
        sqlx::query("UPDATE state SET serving_generation = ?1, orders_generation = ?1")
            .bind(signed(generation))
            .execute(&mut *write)
            .await?;
        append(&mut write, note).await?;
        write.commit().await?;
        Ok((rules_generation, generation))
    }

    async fn save_overrides(&self, overrides: &Overrides, note: &Note) -> Result<u64, StoreError> {
        let mut write = self.begin().await?;
        let generation = next_generation(&mut write).await?;
        put_meta(&mut write, "overrides", generation, &serde_json::to_string(overrides)?).await?;
        append(&mut write, note).await?;
        write.commit().await?;
        Ok(generation)
    }

    async fn journal_head(&self) -> Result<Head, StoreError> {
        head(&mut *self.pool.acquire().await?).await
    }

    async fn journal(&self, query: &JournalQuery) -> Result<Vec<JournalEntry>, StoreError> {
        let newest_first = query.after.is_none();
        let rows = sqlx::query(ENTRIES[usize::from(newest_first)])
            .bind(signed(query.after.unwrap_or(0)))
            .bind(&query.capability)
            .bind(i64::from(query.limit))
            .fetch_all(&self.pool)
            .await?;
        let mut entries = rows.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
        if newest_first {
            entries.reverse();
        }
        Ok(entries)
    }

    async fn keep_samples(&self, samples: &[DifferenceSample], most: u32) -> Result<(), StoreError> {
        let mut write = self.begin().await?;
        for sample in samples {
            sqlx::query("INSERT INTO sample (capability, at, sample) VALUES (?, ?, ?)")
                .bind(&sample.capability)
                .bind(signed(sample.at.0))
                .bind(serde_json::to_string(sample)?)
                .execute(&mut *write)
                .await?;
        }
        let of: BTreeSet<&str> = samples.iter().map(|sample| sample.capability.as_str()).collect();
        for capability in of {
            sqlx::query(OLD_SAMPLES).bind(capability).bind(i64::from(most)).execute(&mut *write).await?;
        }
        write.commit().await?;
        Ok(())
    }

    async fn samples(&self, capability: Option<&str>) -> Result<Vec<DifferenceSample>, StoreError> {
        let texts: Vec<String> = sqlx::query_scalar("SELECT sample FROM sample WHERE ?1 IS NULL OR capability = ?1 ORDER BY at, id")
            .bind(capability)
            .fetch_all(&self.pool)
            .await?;
        Ok(texts.iter().map(|text| serde_json::from_str(text)).collect::<Result<_, _>>()?)
    }

    async fn remember_gateway(&self, name: &str) -> Result<(), StoreError> {
        sqlx::query("INSERT OR IGNORE INTO gateway VALUES (?)").bind(name).execute(&self.pool).await?;
        Ok(())
    }

    async fn forget_gateway(&self, name: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM gateway WHERE name = ?").bind(name).execute(&self.pool).await?;
        Ok(())
    }

    async fn notified(&self, notifier: &str) -> Result<Option<u64>, StoreError> {
        let mut read = self.pool.acquire().await?;
        Ok(meta(&mut read, &format!("{NOTIFIED}{notifier}")).await?.map(|(entry, _)| entry))
    }

    async fn keep_notified(&self, notifier: &str, entry: u64) -> Result<(), StoreError> {
        let mut write = self.begin().await?;
        put_meta(&mut write, &format!("{NOTIFIED}{notifier}"), entry, "").await?;
        write.commit().await?;
        Ok(())
    }

    async fn close(&self) {
        self.pool.close().await;
        // Otherwise with the file.
        let _ = self.alone.unlock();
    }
}

/// Where the state of this file is by now, as it says itself; `None`: here, or nowhere. Changes nothing.
pub(crate) async fn moved_to(file: &Path) -> Result<Option<String>, StoreError> {
    let mut read = SqliteConnectOptions::new().filename(file).read_only(true).connect().await?;
    let written: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_master WHERE name = 'meta'").fetch_one(&mut read).await?;
    let moved = if written > 0 { meta(&mut read, MOVED).await? } else { None };
    read.close().await?;
    Ok(moved.map(|(_, to)| to))
}

/// Whoever keeps the state elsewhere begins only if there is no such file, or it says that its state has moved.
pub(crate) async fn must_have_moved(file: &Path) -> Result<(), StoreError> {
    match file.exists() && moved_to(file).await?.is_none() {
        true => Err(StoreError::NotMoved(file.display().to_string())),
        false => Ok(()),
    }
}

/// Waits until no other process has the store open, and keeps all others out.
async fn alone(file: &Path, patience: Duration) -> Result<File, StoreError> {
    let mut lock = file.as_os_str().to_owned();
    lock.push(".lock");
    let failed = |error| StoreError::Lock(lock.to_string_lossy().into_owned(), error);
    let alone = File::options().create(true).append(true).open(&lock).map_err(failed)?;
    let begun = Instant::now();
    let mut said = false;
    loop {
        match alone.try_lock() {
            Ok(()) => return Ok(alone),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
            Err(TryLockError::WouldBlock) if begun.elapsed() >= patience => return Err(StoreError::Taken(file.display().to_string())),
            Err(TryLockError::WouldBlock) => {
                if !std::mem::replace(&mut said, true) {
                    tracing::warn!(file = %file.display(), "another orchestrator works on this state, waiting for its end");
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn next_generation(write: &mut SqliteConnection) -> Result<u64, StoreError> {
    let generation = meta(write, "generation").await?.map_or(0, |(number, _)| number) + 1;
    put_meta(write, "generation", generation, "").await?;
    Ok(generation)
}

async fn meta(read: &mut SqliteConnection, key: &str) -> Result<Option<(u64, String)>, StoreError> {
    let row = sqlx::query("SELECT number, text FROM meta WHERE key = ?").bind(key).fetch_optional(read).await?;
    Ok(row.map(|row| (unsigned(&row, 0), row.get(1))))
}

async fn put_meta(write: &mut SqliteConnection, key: &str, number: u64, text: &str) -> Result<(), StoreError> {
    sqlx::query("INSERT OR REPLACE INTO meta VALUES (?, ?, ?)").bind(key).bind(signed(number)).bind(text).execute(write).await?;
    Ok(())
}

/// Links a line to the last entry. The caller's transaction holds the write lock: nobody comes between.
async fn append(write: &mut SqliteConnection, note: &Note) -> Result<(), StoreError> {
    let last = head(write).await?;
    let (capability, by, line) = (note.capability.clone(), note.by.clone(), note.line.clone());
    let entry = JournalEntry { id: last.id + 1, at: note.at, capability, by, line, hash: String::new() };
    let hash = last.link(&entry);
    sqlx::query("INSERT INTO journal (id, at, capability, actor, line, hash) VALUES (?, ?, ?, ?, ?, ?)")
        .bind(signed(entry.id))
        .bind(signed(entry.at.0))
        .bind(&entry.capability)
        .bind(&entry.by)
        .bind(serde_json::to_string(&entry.line)?)
        .bind(&hash)
        .execute(&mut *write)
        .await?;
    put_meta(write, HEAD, entry.id, &hash).await
}

async fn head(read: &mut SqliteConnection) -> Result<Head, StoreError> {
    Ok(meta(read, HEAD).await?.map_or_else(Head::default, |(id, hash)| Head { id, hash }))
}

fn entry(row: &SqliteRow) -> Result<JournalEntry, StoreError> {
    let line: JournalLine = serde_json::from_str(row.get(4))?;
    Ok(JournalEntry {
        id: unsigned(row, 0),
        at: Timestamp(unsigned(row, 1)),
        capability: row.get(2),
        by: row.get(3),
        line,
        hash: row.get(5),
    })
}

fn unsigned(row: &SqliteRow, at: usize) -> u64 {
    u64::try_from(row.get::<i64, _>(at)).unwrap_or(0)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{SqliteStore, Store as _, StoreError};

    #[tokio::test]
    async fn two_orchestrators_never_work_on_one_state() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("state.sqlite3");
        let first = SqliteStore::open(&file).await.expect("it opens");
        let second = SqliteStore::open_within(&file, Duration::from_millis(120), false).await;
        assert!(matches!(second, Err(StoreError::Taken(_))), "the first one works on it");
        let (third, ()) = tokio::join!(SqliteStore::open(&file), async {
            tokio::time::sleep(Duration::from_millis(120)).await;
            first.close().await;
        });
        third.expect("it waited for the end of the first").close().await;
    }
}
