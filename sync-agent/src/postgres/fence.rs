//! The fence: triggers that refuse everybody but the agent's own sessions while a sequence says so. One goes by what a
//! statement says that it writes, before it; the other by what became of each row, after the application's own triggers.
//!
//! A sequence, because every transaction sees its value as it is now: a row would still look open to a transaction that
//! took its snapshot before the switch. It holds [`OPEN`], [`CLOSING`] (strangers are refused, but some that wrote earlier
//! may not have ended), [`CLOSED`], or [`LETTING`]: strangers write, and what they write is kept ([`super::let_in`]) and carried nowhere.
//!
//! Both name columns, so that PostgreSQL retypes none of them (`cannot alter type of a column used in a trigger definition`). That is
//! in the way of a migration that does, which has to drop the triggers first, and it is wanted: who retypes rewrites the table,
//! of which the log tells nothing, and `USING` may have changed every value, also where the type stays what it was. Triggers that
//! are gone are noticed, made again, and both sides compared. Without names it would go by unseen, and every update of the
//! application would call a function to find out what it had changed.
//!
//! The barrier waits for those, by looking: whoever has written holds a lock on the table until its commit stands in the
//! log. Nothing queues behind a look, unlike behind a waiting `LOCK TABLE`.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sqlx::{PgConnection, Row};

use super::objects::REFUSED;
use super::schema::Table;
use super::{Endpoint, sql};
use crate::crash;
use crate::error::Error;

/// How many triggers the fence has on a table at least.
pub(super) const FENCE: usize = 2;

const OPEN: i64 = 1;
const CLOSING: i64 = 2;
pub(super) const CLOSED: i64 = 3;
pub(super) const LETTING: i64 = 4;
/// Like [`CLOSING`], of one that was [`LETTING`].
pub(super) const CLOSING_AGAIN: i64 = 5;

/// Whether nothing that is written is to be carried to the other side.
pub(super) fn holds(value: i64) -> bool {
    matches!(value, CLOSED | LETTING | CLOSING_AGAIN)
}

/// How long writers may take to end before the fence is opened again.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// Which locks (`l`) are those of transactions that may have written to the tables. Autovacuum and ANALYZE take weaker ones.
pub(super) const OF_WRITERS: &str =
    "l.locktype = 'relation' AND l.granted AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
      AND l.relation::int8 = ANY($1) AND l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
      AND l.pid IS DISTINCT FROM pg_backend_pid()";

impl Endpoint {
    /// The fence's triggers of a table, as they should be: their names and the statements that make them.
    pub(super) fn fence_triggers(&self, name: &str, table: &Table) -> Vec<(String, String)> {
        let columns = self.fenced_columns(name);
        let quoted: Vec<String> = columns.iter().map(|column| sql::name(column)).collect();
        let stranger = "current_setting('ficus.agent', true) IS DISTINCT FROM 'on'";
        let call = format!("EXECUTE FUNCTION _ficus.{}()", sql::name(&self.names.fence));
        let of = |row: &str| quoted.iter().map(|column| format!("{row}.{column}")).collect::<Vec<_>>().join(", ");
        // Byte by byte, because not every type knows when two of its values are equal.
        let differs = format!("ROW({})::record OPERATOR(pg_catalog.*<>) ROW({})::record", of("OLD"), of("NEW"));
        let updated = format!("AFTER UPDATE ON {} FOR EACH ROW WHEN ({stranger} AND {differs})", table.qualified);
        let mut bodies = vec![
            format!(
                "BEFORE INSERT OR DELETE OR TRUNCATE OR UPDATE OF {} ON {} FOR EACH STATEMENT WHEN ({stranger}) {call}",
                quoted.join(", "),
                table.qualified,
            ),
            format!("{updated} {call}"),
        ];
        if self.records.load(Ordering::Acquire) {
            let keep = self.keeping(name, &columns);
            bodies.push(format!("AFTER INSERT OR DELETE ON {} FOR EACH ROW WHEN ({stranger}) {keep}", table.qualified));
            bodies.push(format!("{updated} {keep}"));
        }
        bodies.iter().map(|body| self.fence_trigger(body, table)).collect()
    }

    /// What the agent reads or writes of a table, the key first.
    fn fenced_columns(&self, name: &str) -> Vec<&String> {
        let mut columns = Vec::new();
        for pair in self.pairs_of(name) {
            let shape = &self.pairs[pair].shape;
            for column in std::iter::once(&shape.key).chain(&shape.columns) {
                if !columns.contains(&column) {
                    columns.push(column);
                }
            }
        }
        columns
    }

    fn fence_trigger(&self, body: &str, table: &Table) -> (String, String) {
        // The name tells whether the trigger is the one that it should be.
        let trigger = format!("{}{}", self.names.triggers, super::objects::digest(body));
        let create = format!(
            "CREATE TRIGGER {trigger} {body}; ALTER TABLE {} ENABLE ALWAYS TRIGGER {trigger}",
            table.qualified,
            trigger = sql::name(&trigger)
        );
        (trigger, create)
    }

    /// Makes the sequences and the function. What a refused statement did is undone, but for the number that it took of a sequence
    /// and the lock of its session: by these it is counted, and known again ([`super::strays`]).
    pub(super) async fn create_fence(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let sequence = format!("_ficus.{}", sql::name(&self.names.fence));
        if sqlx::query("SELECT to_regclass($1)::text")
            .bind(&sequence)
            .fetch_one(&mut *connection)
            .await?
            .try_get::<Option<String>, _>(0)?
            .is_none()
        {
            sql::run(connection, &format!("CREATE SEQUENCE {sequence}; SELECT setval({}, {OPEN})", sql::text(&sequence))).await?;
        }
        let strays = format!("_ficus.{}", sql::name(&self.names.strays));
        sql::run(connection, &format!("CREATE SEQUENCE IF NOT EXISTS {strays}")).await?;
        let why = format!(
            " refuses writes: its capability ({}) is fenced, because it moves or has moved to the other side; write through the gateway",
            self.names.scope
        );
        let body = format!(
            "BEGIN IF pg_catalog.pg_sequence_last_value({0}::pg_catalog.regclass) = {LETTING} AND TG_OP <> 'TRUNCATE' THEN RETURN NULL; END IF; IF pg_catalog.pg_sequence_last_value({0}::pg_catalog.regclass) > {OPEN} THEN PERFORM pg_catalog.nextval({1}::pg_catalog.regclass); PERFORM pg_catalog.pg_advisory_lock_shared({REFUSED}, {2}); RAISE EXCEPTION USING MESSAGE = 'ficus: table ' || TG_TABLE_NAME || {3}; END IF; RETURN NULL; END",
            sql::text(&sequence),
            sql::text(&strays),
            self.names.refused,
            sql::text(&why)
        );
        let create = format!(
            "CREATE OR REPLACE FUNCTION {sequence}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path TO pg_catalog AS {}",
            sql::text(&body)
        );
        sql::run(connection, &create).await?;
        self.create_keeper(connection, &sequence).await
    }

    pub(super) async fn fence_value(&self, connection: &mut PgConnection) -> Result<i64, Error> {
        let query = format!("SELECT last_value FROM _ficus.{}", sql::name(&self.names.fence));
        let row = sql::query(&query).fetch_one(connection).await.map_err(|e| self.failed(e))?;
        row.try_get(0).map_err(|e| self.failed(e))
    }

    /// Sets the sequence, if it is still this agent's turn.
    async fn set_fence(&self, value: i64) -> Result<(), Error> {
        let mut tx = self.guarded().await?;
        let set = format!("SELECT setval({}, {value})", sql::text(&format!("_ficus.{}", sql::name(&self.names.fence))));
        sql::run(&mut tx, &set).await.map_err(|e| self.failed(e))?;
        tx.commit().await.map_err(|e| self.failed(e))
    }

    pub(super) async fn fence_up(&self) -> Result<(), Error> {
        self.assert_intact().await?;
        let _writing = self.unrest().await?;
        let (closing, before) = if self.stands_at(LETTING).await? { (CLOSING_AGAIN, LETTING) } else { (CLOSING, OPEN) };
        self.set_fence(closing).await?;
        crash::point("fence");
        let passed = self.barrier().await;
        self.in_its_way.lock().unwrap_or_else(PoisonError::into_inner).clear();
        if let Err(error) = passed {
            self.set_fence(before).await?;
            return Err(error);
        }
        self.set_fence(CLOSED).await
    }

    /// Whoever wrote before it was closed is in the log before this.
    pub(super) async fn let_strangers_in(&self) -> Result<(), Error> {
        if !self.stands_at(CLOSED).await? {
            self.fence_up().await?;
        }
        self.assert_intact().await?;
        let _writing = self.unrest().await?;
        self.set_fence(LETTING).await
    }

    pub(super) async fn fence_down(&self) -> Result<(), Error> {
        let _writing = self.unrest().await?;
        self.set_fence(OPEN).await
    }

    pub(super) async fn stands_at(&self, value: i64) -> Result<bool, Error> {
        let mut connection = self.server.pool.acquire().await.map_err(|e| self.failed(e))?;
        Ok(self.fence_value(&mut connection).await? == value)
    }

    /// An agent that ended between closing and having closed left strangers refused for nothing.
    pub(super) async fn reopen_half_closed(&self, connection: &mut PgConnection) -> Result<(), Error> {
        let before = match self.fence_value(connection).await? {
            CLOSING => Some(OPEN),
            CLOSING_AGAIN => Some(LETTING),
            _ => None,
        };
        if let Some(before) = before {
            let set = format!("SELECT setval({}, {before})", sql::text(&format!("_ficus.{}", sql::name(&self.names.fence))));
            sql::run(connection, &set).await.map_err(|e| self.failed(e))?;
        }
        Ok(())
    }

    pub(super) fn oids(&self) -> Vec<i64> {
        self.tables.values().map(|table| i64::from(table.oid)).collect()
    }

    /// Waits until everybody who had written to the tables has ended. Those who come later were refused, or write columns
    /// that are not captured.
    async fn barrier(&self) -> Result<(), Error> {
        let until = Instant::now() + PATIENCE;
        let tables = self.oids();
        let writers = format!("SELECT DISTINCT l.virtualtransaction, coalesce(l.pid, 0) FROM pg_catalog.pg_locks l WHERE {OF_WRITERS}");
        let mut connection = self.server.pool.acquire().await.map_err(|e| self.failed(e))?;
        let mut first: Option<Vec<String>> = None;
        let mut pause = Duration::from_millis(1);
        loop {
            let rows = sql::query(&writers).bind(&tables).fetch_all(&mut *connection).await.map_err(|e| self.failed(e))?;
            let found: Vec<(String, i32)> = rows
                .iter()
                .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
                .collect::<Result<_, sqlx::Error>>()
                .map_err(|e| self.failed(e))?;
            let known = first.get_or_insert_with(|| found.iter().map(|(transaction, _)| transaction.clone()).collect());
            let left: Vec<String> =
                found.iter().filter(|(transaction, _)| known.contains(transaction)).map(|(_, pid)| pid.to_string()).collect();
            if left.is_empty() {
                return Ok(());
            }
            self.is_held_up_by(known);
            if Instant::now() >= until {
                let pids = left.join(", ");
                return Err(Error::Refused(format!(
                    "{}: transactions that have written to the capability's tables did not end within {} s, so the fence was opened again; wait for them, or look at them: SELECT * FROM pg_stat_activity WHERE pid IN ({pids})",
                    self.server.label,
                    PATIENCE.as_secs(),
                )));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }
}
