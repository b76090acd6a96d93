//! What stands in a capability's way on a PostgreSQL server, all of it at once, each with the statement that mends it.
//! Reads only. The agent's start refuses what is refused here; `ficus check --live` shows everything.

mod server;
mod tables;

use std::time::SystemTime;

use ficus_rules::finding::Finding;
use sqlx::{PgConnection, Row};

use super::objects::Names;
use super::{Server, schema};
use crate::error::Error;
use crate::port::Wanted;

/// Finds everything.
pub(super) async fn find(server: &Server, connection: &mut PgConnection, names: &Names, wanted: &Wanted) -> Result<Vec<Finding>, Error> {
    let tables = wanted.names();
    let known = schema::tables(connection, tables.iter()).await.map_err(|e| server.failed(e))?;
    let role = server::role(connection).await.map_err(|e| server.failed(e))?;
    let mut found = server::find(connection, names, &role, wanted).await.map_err(|e| server.failed(e))?;
    let before = SystemTime::now();
    let now = sqlx::query("SELECT extract(epoch FROM clock_timestamp())::float8").fetch_one(&mut *connection).await;
    let now = now.and_then(|row| row.try_get(0)).map_err(|e| server.failed(e))?;
    found.extend(crate::preflight::clock(before, SystemTime::now(), now));
    for (name, table) in &known {
        found.extend(tables::find(connection, &role, wanted, name, table).await.map_err(|e| server.failed(e))?);
    }
    Ok(found)
}
