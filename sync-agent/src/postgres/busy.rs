//! Whose old transaction the fence would wait for: the very ones that its barrier waits for, with what the server tells of
//! them.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use sqlx::Row;
use sqlx::postgres::PgRow;

use super::fence::OF_WRITERS;
use super::url::APPLICATION;
use super::{Endpoint, sql};
use crate::busy::{OLD, Open, sentence, statement};
use crate::error::Error;
use crate::port::Busy;

/// A prepared transaction has no process, and is found by the lock on its own number; of a session of another role, only `pg_read_all_stats` sees more than its name.
const COLUMNS: &str = "l.virtualtransaction, coalesce(l.pid, 0)::int8,
    extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, p.prepared))::float8, coalesce(a.usename, p.owner)::text,
    a.application_name, host(a.client_addr), a.state, nullif(a.query, '<insufficient privilege>'), p.gid::text";
const JOINED: &str = "LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
    LEFT JOIN pg_catalog.pg_locks x ON l.pid IS NULL AND x.pid IS NULL AND x.locktype = 'transactionid'
      AND x.virtualtransaction = l.virtualtransaction
    LEFT JOIN pg_catalog.pg_prepared_xacts p ON p.transaction = x.transactionid";

/// Whether the agent's role may end a session, of whom it is not itself; `pg_signal_backend` does not reach a superuser's.
const MAY_END: &str =
    "coalesce(m.rolsuper OR NOT r.rolsuper AND (pg_has_role(r.oid, 'USAGE') OR pg_has_role('pg_signal_backend', 'USAGE')), false),
    coalesce(r.rolsuper, false), m.rolname::text";
const ROLES: &str = "JOIN pg_catalog.pg_roles m ON m.rolname = current_user LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.usesysid";

impl Endpoint {
    pub(super) async fn old_writers(&self) -> Result<Busy, Error> {
        let old = self.find_old_writers().await?.into_iter().map(|(_, open)| open).collect();
        Ok(sentence(&self.server.label, self.side, "a transaction that has written to the capability's tables is open for", old))
    }

    /// Ends the sessions of those that a fence which is being closed waits for, if they still are in these transactions. A prepared one has
    /// none.
    pub(super) async fn end_old_writers(&self) -> Result<Vec<String>, Error> {
        let query = format!(
            "SELECT pg_terminate_backend(l.pid) FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
               WHERE {OF_WRITERS} AND l.virtualtransaction = $2 AND coalesce(a.backend_type, 'client backend') = 'client backend'
                 AND NOT (a.application_name = $3 AND a.usename = current_user) LIMIT 1"
        );
        let waits_for = self.in_its_way.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut ended = Vec::new();
        for (transaction, open) in self.find_old_writers().await?.into_iter().filter(|(_, open)| open.ends.is_ok()) {
            if !waits_for.contains(&transaction) {
                continue;
            }
            let mut connection = self.server.pool.acquire().await.map_err(|e| self.failed(e))?;
            let end = sql::query(&query).bind(self.oids()).bind(transaction).bind(APPLICATION);
            match end.fetch_optional(&mut *connection).await {
                Ok(Some(row)) if row.try_get(0).unwrap_or(false) => ended.push(open.in_words()),
                Ok(_) => {}
                // Of the others, each is ended all the same.
                Err(error) => tracing::warn!(session = open.in_words(), %error, "cannot end a session that keeps a fence waiting"),
            }
        }
        Ok(ended)
    }

    /// A fence that is being closed waits for these transactions.
    pub(super) fn is_held_up_by(&self, transactions: &[String]) {
        let mut known = self.in_its_way.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_empty() {
            known.extend(transactions.iter().cloned());
            // Also of those whose age the server hides: they are no younger than this.
            let mut since = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
            for transaction in transactions {
                since.entry(transaction.clone()).or_insert_with(Instant::now);
            }
        }
    }

    /// With the numbers of their transactions.
    async fn find_old_writers(&self) -> Result<Vec<(String, Open)>, Error> {
        let query = format!(
            "SELECT DISTINCT ON (l.virtualtransaction) {COLUMNS}, {MAY_END} FROM pg_catalog.pg_locks l {JOINED} {ROLES} WHERE {OF_WRITERS} ORDER BY l.virtualtransaction"
        );
        let mut connection = self.server.pool.acquire().await.map_err(|e| self.failed(e))?;
        let rows = sql::query(&query).bind(self.oids()).fetch_all(&mut *connection).await.map_err(|e| self.failed(e))?;
        drop(connection);
        let mut known = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut still, mut old) = (BTreeMap::new(), Vec::new());
        for row in &rows {
            let transaction: String = row.try_get(0).map_err(|e| self.failed(e))?;
            let since = known.get(&transaction).copied().unwrap_or_else(Instant::now);
            still.insert(transaction.clone(), since);
            let open = open(row, since).map_err(|e| self.failed(e))?;
            old.extend((open.age >= OLD).then_some((transaction, open)));
        }
        *known = still;
        Ok(old)
    }
}

/// A transaction of which the server hides the age is as old as it is known here.
fn open(row: &PgRow, since: Instant) -> Result<Open, sqlx::Error> {
    let text = |index: usize| row.try_get::<Option<String>, _>(index);
    let (pid, age): (i64, Option<f64>) = (row.try_get(1)?, row.try_get(2)?);
    let age = age.and_then(|age| Duration::try_from_secs_f64(age).ok()).unwrap_or_else(|| since.elapsed());
    let mut who = Vec::new();
    let (may_end, of_superuser, agent): (bool, bool, String) = (row.try_get(9)?, row.try_get(10)?, row.try_get(11)?);
    let (remedy, ends) = match text(8)? {
        Some(id) => {
            who.push(format!("prepared as {id}"));
            (format!("COMMIT PREPARED or ROLLBACK PREPARED {};", sql::text(&id)), Err(String::new()))
        }
        None => {
            who.push(format!("pid {pid}"));
            let ends = match may_end {
                true => Ok(()),
                false if of_superuser => Err("a superuser's session is nobody else's to end".to_owned()),
                false => Err(format!("so that a revert ends such a one by itself: {}", may_end_others(&sql::name(&agent)))),
            };
            (format!("wait for its end, or end it: SELECT pg_terminate_backend({pid});"), ends)
        }
    };
    let quoted = |name: &str| format!("`{name}`");
    who.extend(text(3)?.map(|role| format!("role {}", quoted(&role))));
    who.extend(text(4)?.filter(|name| !name.is_empty()).map(|name| format!("application {}", quoted(&name))));
    who.extend(text(5)?.map(|host| format!("from {host}")));
    let state = text(6)?;
    let idle = state.as_ref().is_some_and(|state| state.starts_with("idle"));
    who.extend(state);
    let shown = text(7)?.and_then(|query| statement(&query, &['\'', '$']));
    who.extend(shown.map(|shown| format!("{} {}", if idle { "last statement" } else { "statement" }, quoted(&shown))));
    Ok(Open { age, who, remedy, ends })
}

/// What lets a role, as SQL has it, end sessions of others.
pub(super) fn may_end_others(role: &str) -> String {
    format!("GRANT pg_signal_backend TO {role};")
}

#[cfg(test)]
mod tests;
