//! How much the server has to do, so that a copy can give way to those whom it serves.

use mysql_async::prelude::Queryable;

use super::Endpoint;
use crate::error::Error;

impl Endpoint {
    /// As the server counts them for everybody: the agent's own and other readers of the log are among them.
    pub(super) async fn running_threads(&self) -> Result<u64, Error> {
        let mut conn = self.server.lease().await?;
        let row: Option<(String, u64)> = conn.query_first("SHOW GLOBAL STATUS LIKE 'Threads_running'").await.map_err(|e| self.failed(e))?;
        conn.done();
        // The session that asks is one of them.
        Ok(row.map_or(0, |(_, running)| running.saturating_sub(1)))
    }
}
