//! The slot, and places in the server's log.

use std::time::Duration;

use sqlx::{PgConnection, Row};

use super::objects::Names;
use super::{Endpoint, Server, sql};
use crate::error::Error;

/// How long a slot may take to come about: it waits for every transaction that is open.
const PATIENCE: Duration = Duration::from_secs(20);

/// A place in the log as a number.
pub(super) const END: &str = "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::int8";

/// The timeline that the server writes.
const TIMELINE: &str = "SELECT ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int8";

/// Sizes of the server's log, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    block: u64,
    segment: u64,
    /// What our connection may hold of open transactions before the server writes them to files, in kB; `None`: what the
    /// server says.
    decoding: Option<i64>,
}

/// Of open transactions our connection may hold no more, in kB.
const MOST_DECODING: i64 = 256 << 10;

impl Sizes {
    pub(super) async fn of(connection: &mut PgConnection) -> Result<Sizes, sqlx::Error> {
        // To write a large transaction to files and read it again costs the server more than all else about it. Where nobody
        // has decided otherwise and it has memory to spare, it need not.
        let query = "SELECT (SELECT setting::int8 FROM pg_settings WHERE name = 'wal_block_size'), pg_size_bytes(current_setting('wal_segment_size')),
            (SELECT CASE WHEN source = 'default' THEN greatest(setting::int8, least(pg_size_bytes(current_setting('shared_buffers')) / 4096, $1)) END
             FROM pg_settings WHERE name = 'logical_decoding_work_mem')";
        let row = sqlx::query(query).bind(MOST_DECODING).fetch_one(connection).await?;
        let size = |value: i64| u64::try_from(value).unwrap_or(1).max(1);
        Ok(Sizes { block: size(row.try_get(0)?), segment: size(row.try_get(1)?), decoding: row.try_get(2)? })
    }

    /// As an option of the connection.
    pub(super) fn decoding(self) -> Option<String> {
        self.decoding.map(|size| format!("-c logical_decoding_work_mem={size}"))
    }

    /// The insert position stands behind a page's header when nothing is on the page yet; the last record ended before it,
    /// and nothing that is sent would ever reach that far.
    pub(super) fn tidy(self, position: u64) -> u64 {
        match (position % self.segment, position % self.block) {
            (40, _) => position - 40,
            (_, 24) => position - 24,
            _ => position,
        }
    }
}

impl Endpoint {
    /// Bytes of the server's log that the slot keeps from being removed.
    pub(super) async fn kept_by_slot(&self) -> Result<u64, sqlx::Error> {
        let mut connection = self.server.pool.acquire().await?;
        let query = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), restart_lsn)::int8 FROM pg_replication_slots WHERE slot_name = $1";
        let kept = sqlx::query(query).bind(&self.names.slot).fetch_optional(&mut *connection).await?;
        let bytes: Option<i64> = kept.map(|row| row.try_get(0)).transpose()?.flatten();
        Ok(bytes.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0))
    }

    /// Where the log ends now, written through to the disk or not.
    pub(super) async fn end_now(&self) -> Result<u64, Error> {
        let mut connection = self.server.pool.acquire().await.map_err(|e| self.failed(e))?;
        let end: i64 = sqlx::query(END).fetch_one(&mut *connection).await.and_then(|row| row.try_get(0)).map_err(|e| self.failed(e))?;
        Ok(self.wal.tidy(u64::try_from(end).unwrap_or(0)))
    }

    /// Up to where the log may be gone, and up to where it need not be readable.
    pub(super) async fn notes(&self) -> Result<(u64, u64), Error> {
        let mut connection = self.server.pool.acquire().await.map_err(|e| self.failed(e))?;
        let query = "SELECT coalesce(pruned, 0), forgiven FROM _ficus.capture WHERE scope = $1";
        let row = sqlx::query(query).bind(&self.names.scope).fetch_optional(&mut *connection).await.map_err(|e| self.failed(e))?;
        let row = row.ok_or(Error::SchemaChanged)?;
        let number = |index| Ok::<_, sqlx::Error>(u64::try_from(row.try_get::<i64, _>(index)?).unwrap_or(0));
        Ok((number(0).map_err(|e| self.failed(e))?, number(1).map_err(|e| self.failed(e))?))
    }

    /// Up to where the log was lost, if it ever was.
    pub(super) async fn lost_up_to(&self) -> Result<u64, Error> {
        let mut connection = self.server.pool.acquire().await.map_err(|e| self.failed(e))?;
        let query = "SELECT coalesce(max(lost), 0) FROM _ficus.capture WHERE scope = $1";
        let row = sqlx::query(query).bind(&self.names.scope).fetch_one(&mut *connection).await.map_err(|e| self.failed(e))?;
        Ok(u64::try_from(row.try_get::<i64, _>(0).map_err(|e| self.failed(e))?).unwrap_or(0))
    }

    /// Makes the slot, unless there is one that was noted and can be read. Whether it is new.
    pub(super) async fn ensure_slot(&self) -> Result<bool, Error> {
        let mut connection = self.server.pool.acquire().await.map_err(|e| self.failed(e))?;
        let query = "SELECT s.slot_name IS NOT NULL, coalesce(s.wal_status = 'lost' OR s.plugin <> 'pgoutput', false), c.timeline
            FROM _ficus.capture c LEFT JOIN pg_catalog.pg_replication_slots s ON s.slot_name = $2 WHERE c.scope = $1";
        let (scope, slot) = (&self.names.scope, &self.names.slot);
        let found = sqlx::query(query).bind(scope).bind(slot).fetch_one(&mut *connection).await.map_err(|e| self.failed(e))?;
        let decoded =
            || Ok::<_, sqlx::Error>((found.try_get::<bool, _>(0)?, found.try_get::<bool, _>(1)?, found.try_get::<Option<i64>, _>(2)?));
        let (exists, lost, noted) = decoded().map_err(|e| self.failed(e))?;
        let timeline: i64 =
            sqlx::query(TIMELINE).fetch_one(&mut *connection).await.and_then(|row| row.try_get(0)).map_err(|e| self.failed(e))?;
        if let Some(known) = noted.filter(|known| *known != timeline) {
            return Err(Error::Refused(format!(
                "{}: the server writes timeline {timeline} and capture was set up on {known} (it was failed over, or restored to an earlier time), so that positions of its log cannot be compared; remove the capability from sync, then add it again",
                self.server.label
            )));
        }
        if exists && !lost && noted.is_some() {
            return Ok(false);
        }
        if noted.is_some() {
            tracing::warn!(scope = %scope, slot = %slot, lost, "the slot is gone or cannot be read any more; everything will be compared");
        }
        drop(connection);
        if exists {
            drop_slot(&self.server, &self.names).await?;
        }
        let start = self.create_slot().await?;
        self.note_slot(timeline, start).await?;
        Ok(true)
    }

    async fn create_slot(&self) -> Result<i64, Error> {
        // Nothing may be written in this transaction before the slot is made.
        let mut tx = self.server.begin().await?;
        sql::run(&mut tx, &format!("SET LOCAL statement_timeout = {}", PATIENCE.as_millis())).await.map_err(|e| self.failed(e))?;
        let create = "SELECT (lsn - '0/0'::pg_lsn)::int8 FROM pg_create_logical_replication_slot($1, 'pgoutput')";
        let made = sqlx::query(create).bind(&self.names.slot).fetch_one(&mut *tx).await;
        let label = &self.server.label;
        let row = made.map_err(|error| match sql::code(&error) {
            Some("57014") => Error::Refused(format!(
                "{label}: a transaction is open that is older than {} s, and a slot has to wait for it; find it: SELECT pid, xact_start, state FROM pg_stat_activity WHERE backend_xid IS NOT NULL ORDER BY xact_start",
                PATIENCE.as_secs()
            )),
            Some("53400") => Error::Refused(format!("{label}: all replication slots are in use; raise max_replication_slots, then restart the server")),
            _ => self.failed(error),
        })?;
        tx.commit().await.map_err(|e| self.failed(e))?;
        row.try_get(0).map_err(|e| self.failed(e))
    }

    /// Remembers the new slot, and that nothing was captured before it. If there was one, its log is lost, but nobody was told
    /// that it could go: a target that has less than it once confirmed is another matter.
    async fn note_slot(&self, timeline: i64, start: i64) -> Result<(), Error> {
        let mut tx = self.server.begin().await?;
        let note = "UPDATE _ficus.capture SET slot = $2, timeline = $3, lost = CASE WHEN pruned IS NULL THEN NULL ELSE $4 END,
            pruned = coalesce(pruned, $4), forgiven = $4 WHERE scope = $1";
        let note = sqlx::query(note).bind(&self.names.scope).bind(&self.names.slot).bind(timeline).bind(start);
        note.execute(&mut *tx).await.map_err(|e| self.failed(e))?;
        for pair in &self.pairs {
            self.note_gap(&mut tx, pair).await.map_err(|e| self.failed(e))?;
        }
        tx.commit().await.map_err(|e| self.failed(e))
    }

    /// Takes the slot from a connection of an agent before this one: whose turn it is has been settled already.
    pub(super) async fn release_slot(&self) -> Result<(), Error> {
        self.guarded().await?.rollback().await.map_err(|e| self.failed(e))?;
        let mut connection = self.server.pool.acquire().await.map_err(|e| self.failed(e))?;
        end_user(&mut connection, &self.names).await.map_err(|e| self.failed(e))
    }
}

/// Drops the slot of a scope, if there is one. A connection of an agent that still has it is ended: nothing will be read
/// through it any more.
pub(super) async fn drop_slot(server: &Server, names: &Names) -> Result<(), Error> {
    let mut connection = server.pool.acquire().await.map_err(|e| server.failed(e))?;
    let mut pause = Duration::from_millis(5);
    loop {
        let drop = "SELECT pg_drop_replication_slot(slot_name) FROM pg_catalog.pg_replication_slots WHERE slot_name = $1";
        match sqlx::query(drop).bind(&names.slot).execute(&mut *connection).await {
            Ok(_) => return Ok(()),
            Err(error) if sql::code(&error) == Some("55006") && pause < Duration::from_secs(3) => {
                end_user(&mut connection, names).await.map_err(|e| server.failed(e))?;
                tokio::time::sleep(pause).await;
            }
            Err(error) => return Err(server.failed(error)),
        }
        pause *= 2;
    }
}

/// Ends the replication connection that holds the slot.
async fn end_user(connection: &mut PgConnection, names: &Names) -> Result<(), sqlx::Error> {
    let end =
        "SELECT pg_terminate_backend(active_pid) FROM pg_catalog.pg_replication_slots WHERE slot_name = $1 AND active_pid IS NOT NULL";
    sqlx::query(end).bind(&names.slot).execute(connection).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Sizes;

    #[test]
    fn a_position_behind_a_header_is_where_the_last_record_ended() {
        let sizes = Sizes { block: 8192, segment: 16 << 20, decoding: None };
        assert_eq!(sizes.tidy(0x300_0028), 0x300_0000);
        assert_eq!(sizes.tidy(0x300_2018), 0x300_2000);
        assert_eq!(sizes.tidy(0x300_2028), 0x300_2028);
        assert_eq!(sizes.tidy(0x300_2000), 0x300_2000);
    }
}
