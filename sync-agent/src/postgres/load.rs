//! How much the server has to do, so that a copy can give way to those whom it serves.

use super::url::APPLICATION;
use super::{Endpoint, sql};
use crate::error::Error;

/// Statements of others under way, and whether sessions of other roles are hidden.
const RUNNING: &str = "SELECT count(*) FILTER (WHERE backend_type = 'client backend' AND state = 'active'),
    coalesce(bool_or(usesysid IS NOT NULL AND backend_type IS NULL), false), current_user::text
  FROM pg_catalog.pg_stat_activity WHERE pid <> pg_backend_pid() AND application_name IS DISTINCT FROM $1";

impl Endpoint {
    pub(super) async fn running_statements(&self) -> Result<u64, Error> {
        let mut connection = self.server.pool.acquire().await.map_err(|e| self.failed(e))?;
        let row = sql::query(RUNNING).bind(APPLICATION).fetch_one(&mut *connection).await;
        let (running, hidden, role): (i64, bool, String) = row.and_then(|row| sqlx::FromRow::from_row(&row)).map_err(|e| self.failed(e))?;
        if hidden {
            return Err(Error::Refused(format!(
                "{}: `copy_max_load` is set, and role {role} may not see what other roles execute: GRANT pg_read_all_stats TO {};",
                self.server.label,
                sql::name(&role)
            )));
        }
        Ok(u64::try_from(running).unwrap_or_default())
    }
}
