//! Whom the fence refused: how many statements, and which of their sessions are still there.

use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::objects::REFUSED;
use super::{Endpoint, sql};
use crate::busy::statement;
use crate::error::Error;
use crate::port::Refused;

/// Sessions that are told at once.
const TOLD: usize = 5;

/// Of a session of another role, only `pg_read_all_stats` sees more than its name.
const SESSIONS: &str = "SELECT DISTINCT ON (l.pid) l.pid::int8, a.usename::text, a.application_name, host(a.client_addr),
    nullif(a.query, '<insufficient privilege>')
  FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
  WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND l.classid::int8 = $1 AND l.objid::int8 = $2
    AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()) ORDER BY l.pid LIMIT $3";

impl Endpoint {
    pub(super) async fn strays(&self) -> Result<Refused, Error> {
        let count = format!("SELECT last_value, is_called FROM _ficus.{}", sql::name(&self.names.strays));
        let mut connection = self.server.pool.acquire().await.map_err(|e| self.failed(e))?;
        let row = sql::query(&count).fetch_one(&mut *connection).await.map_err(|e| self.failed(e))?;
        let (last, taken): (i64, bool) = row.try_get(0).and_then(|last| Ok((last, row.try_get(1)?))).map_err(|e| self.failed(e))?;
        if !taken {
            return Ok(Refused::default());
        }
        // Both keys are shown as numbers without a sign.
        let key = i64::from(self.names.refused.cast_unsigned());
        let query = sqlx::query(SESSIONS).bind(i64::from(REFUSED)).bind(key).bind(TOLD as i64);
        let rows = query.fetch_all(&mut *connection).await.map_err(|e| self.failed(e))?;
        let writers = rows.iter().map(in_words).collect::<Result<_, _>>().map_err(|e| self.failed(e))?;
        Ok(Refused { statements: u64::try_from(last).unwrap_or(0), writers })
    }
}

fn in_words(row: &PgRow) -> Result<String, sqlx::Error> {
    let text = |index: usize| row.try_get::<Option<String>, _>(index);
    let mut who = vec![format!("pid {}", row.try_get::<i64, _>(0)?)];
    who.extend(text(1)?.map(|role| format!("role `{role}`")));
    who.extend(text(2)?.filter(|name| !name.is_empty()).map(|name| format!("application `{name}`")));
    who.extend(text(3)?.map(|host| format!("from {host}")));
    who.extend(text(4)?.and_then(|query| statement(&query, &['\'', '$'])).map(|shown| format!("last statement `{shown}`")));
    Ok(who.join(", "))
}
