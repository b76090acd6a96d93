//! Foreign keys between a capability's tables and those of others, where the agent's role may not switch references off. Every
//! capability has a stream of its own, and none waits for another: what a row refers to, or what still refers to it, is
//! mostly on its way. So what such a key refuses is tried again for a while before it is set aside. What is not refused is
//! written meanwhile: the other stream may be waiting for that. Until the position moves, all of it may be written again.
//!
//! What is set aside then is looked at again as long as it is: it is written once the key would let it
//! ([`Endpoint::no_longer_refused`]). And no copy begins to set aside row by row what refers to a table that nobody has begun to
//! fill ([`Endpoint::begins_after`]).

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, PgConnection, Postgres, Row as _, Transaction};

use super::apply::Failed;
use super::parts::Pair;
use super::{Endpoint, sql};
use crate::error::Error;
use crate::events::leaving;
use crate::port::{Changes, Outgoing, Rejected, Touched};

/// For how long. A stream that is slower than this fails the gate of the lag anyway.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// Foreign keys with one end in the capability's tables.
const CROSSING: &str = "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_constraint WHERE contype = 'f' AND conname::text = ANY($1)
    AND (conrelid::int8 = ANY($2)) <> (confrelid::int8 = ANY($2)))";

/// A foreign key of the capability's tables by its name, if it leads to a table of others: both tables, and its columns.
const LEAVING: &str = "SELECT conrelid::regclass::text, confrelid::regclass::text,
      ARRAY(SELECT a.attname::text FROM unnest(conkey) AS c(n) JOIN pg_catalog.pg_attribute a ON a.attrelid = conrelid AND a.attnum = c.n)
    FROM pg_catalog.pg_constraint WHERE contype = 'f' AND conname::text = $1 AND conrelid::int8 = ANY($2) AND confrelid::int8 <> ALL($2)";

/// The foreign keys of a table (`conrelid`) or into it (`confrelid`): the other table, the columns of both ends, and the types of
/// those that are referred to.
const ENDS: &str = "SELECT k.{other}::regclass::text,
      array_agg(own.attname::text ORDER BY c.at), array_agg(parent.attname::text ORDER BY c.at), array_agg(format_type(parent.atttypid, NULL) ORDER BY c.at)
    FROM pg_catalog.pg_constraint k, unnest(k.conkey, k.confkey) WITH ORDINALITY AS c(child, parent, at),
      pg_catalog.pg_attribute own, pg_catalog.pg_attribute parent
    WHERE k.contype = 'f' AND k.{own} = $1::regclass AND own.attrelid = k.conrelid AND own.attnum = c.child
      AND parent.attrelid = k.confrelid AND parent.attnum = c.parent
    GROUP BY k.oid, k.{other}";

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
    /// is refused then, in a transaction that is still open. Events are told with their rows: whoever goes on after a crash finds
    /// these written, and would tell something else of them, or nothing.
    pub(super) async fn isolate_patiently(
        &self,
        changes: &[Changes],
        opening: &str,
    ) -> Result<(Transaction<'static, Postgres>, Vec<Rejected>), Failed> {
        let mut told = BTreeSet::new();
        loop {
            let mut tx = self.marked(None, opening).await?;
            let (rejected, references) = self.isolate(&mut tx, changes).await?;
            let events: Vec<&Outgoing> = leaving(changes, &rejected).filter(|event| !told.contains(&event.number)).collect();
            self.tell(&mut tx, &events).await?;
            if !self.waits_for(&references).await? {
                return Ok((tx, rejected));
            }
            tx.commit().await?;
            told.extend(events.iter().map(|event| event.number));
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

impl Endpoint {
    /// Refuses what a foreign key refused if there is nothing at all at its other end: the capability that fills it has not begun.
    /// Where the role may not look, it is taken for begun.
    ///
    /// # Errors
    /// [`Error::Refused`], with what to do; the copy goes on where it was as soon as there is something.
    pub(super) async fn begins_after(&self, key: &str) -> Result<(), Error> {
        let mut connection = self.server.pool.acquire().await.map_err(|e| self.failed(e))?;
        let Ok(Some((table, parent, columns))) = empty_end(&mut connection, key, &self.oids()).await else { return Ok(()) };
        Err(Error::Refused(format!(
            "{}: {table} ({}) refers to {parent}, which is empty, and the agent's role may not write without references: the copy waits for the capability that fills {parent}; begin that one. Or let the role switch references off (GRANT SET ON PARAMETER session_replication_role TO it, PostgreSQL 15 and newer), or drop the key (ALTER TABLE {table} DROP CONSTRAINT {})",
            self.server.label,
            columns.join(", "),
            sql::name(key)
        )))
    }

    /// Rows that were set aside because of a foreign key, and whose foreign keys are all content now.
    pub(super) async fn no_longer_refused(&self, at_most: u32) -> Result<Vec<Touched>, sqlx::Error> {
        let mut connection = self.server.pool.acquire().await?;
        let waiting = "SELECT DISTINCT pair, source_row IS NOT NULL FROM _ficus.quarantine WHERE stream = $1 AND reference IS NOT NULL";
        let waiting = sqlx::query(waiting).bind(&self.names.stream).fetch_all(&mut *connection).await?;
        let mut found = Vec::new();
        for row in waiting {
            let (name, written): (String, bool) = (row.try_get(0)?, row.try_get(1)?);
            let Some((index, pair)) = self.pairs.iter().enumerate().find(|(_, pair)| pair.name == name) else { continue };
            let content = content(&mut connection, pair, written).await?;
            let image = "CASE WHEN strpos(source_row, '\\u0000') = 0 THEN source_row::json END";
            let query = format!(
                "SELECT q.key FROM (SELECT key, at, {image} AS image FROM _ficus.quarantine
                   WHERE stream = $1 AND pair = $2 AND reference IS NOT NULL AND source_row IS {} NULL OFFSET 0) AS q
                 WHERE {content} ORDER BY q.at LIMIT {at_most}",
                if written { "NOT" } else { "" },
            );
            let rows = match sql::query(&query).bind(&self.names.stream).bind(&pair.name).fetch_all(&mut *connection).await {
                Ok(rows) => rows,
                // A value that is none for its column; a table that the agent's role may not read.
                Err(error) if error.as_database_error().is_some() => {
                    tracing::debug!(table = %pair.name, %error, "rows that are set aside cannot be looked at");
                    continue;
                }
                Err(error) => return Err(error),
            };
            for row in rows {
                let key: String = row.try_get(0)?;
                found.extend(pair.key.read(&key).ok().map(|key| Touched { pair: index, key }));
            }
        }
        found.truncate(usize::try_from(at_most).unwrap_or(usize::MAX));
        Ok(found)
    }
}

/// What of [`LEAVING`] a foreign key is, if there is nothing at its other end.
async fn empty_end(connection: &mut PgConnection, key: &str, own: &[i64]) -> Result<Option<(String, String, Vec<String>)>, sqlx::Error> {
    let Some(row) = sqlx::query(LEAVING).bind(key).bind(own).fetch_optional(&mut *connection).await? else { return Ok(None) };
    let (table, parent, columns): (String, String, Vec<String>) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let any = sql::query(&format!("SELECT 1 FROM {parent} LIMIT 1")).fetch_optional(&mut *connection).await?;
    Ok(any.is_none().then_some((table, parent, columns)))
}

/// Whether every foreign key is content with the row `q`: what it refers to is there, if it is to be written, or nothing refers to
/// it any more.
async fn content(connection: &mut PgConnection, pair: &Pair, written: bool) -> Result<String, sqlx::Error> {
    let (own, other) = if written { ("conrelid", "confrelid") } else { ("confrelid", "conrelid") };
    let ends = ENDS.replace("{own}", own).replace("{other}", other);
    let mut terms = vec!["true".to_owned()];
    for row in sqlx::query(AssertSqlSafe(ends)).bind(&pair.table).fetch_all(&mut *connection).await? {
        let (table, children): (String, Vec<String>) = (row.try_get(0)?, row.try_get(1)?);
        let (parents, types): (Vec<String>, Vec<String>) = (row.try_get(2)?, row.try_get(3)?);
        if written {
            let value = |child: &String| format!("(q.image->>{})", sql::text(child));
            let none = children.iter().map(|child| format!("{} IS NULL", value(child))).collect::<Vec<_>>().join(" OR ");
            let same = children.iter().zip(&parents).zip(&types);
            let same = same.map(|((child, parent), kind)| format!("p.{} = {}::{kind}", sql::name(parent), value(child)));
            terms.push(format!("({none} OR EXISTS (SELECT 1 FROM {table} p WHERE {}))", same.collect::<Vec<_>>().join(" AND ")));
        } else {
            let same = children.iter().zip(&parents).map(|(child, parent)| format!("c.{} = p.{}", sql::name(child), sql::name(parent)));
            terms.push(format!(
                "NOT EXISTS (SELECT 1 FROM {table} c, {} p WHERE p.{} = q.key::{} AND {})",
                pair.table,
                sql::name(&pair.key.info.name),
                pair.key.cast,
                same.collect::<Vec<_>>().join(" AND ")
            ));
        }
    }
    Ok(terms.join(" AND "))
}
