//! Applies `schema.sql`, or `schema_postgres.sql`. Does not know of any other table in the file, and leaves all of them as they are.

use crate::store::{Database, is_sqlite};

pub(crate) const SQLITE: &str = include_str!("schema.sql");
pub(crate) const POSTGRES: &str = include_str!("schema_postgres.sql");

/// Makes the tables that are not there yet. May run at any time, also beside another process.
pub async fn apply(database: &Database) -> Result<(), sqlx::Error> {
    let mut write = database.write().await?;
    let schema = if is_sqlite(&write) { SQLITE } else { POSTGRES };
    sqlx::raw_sql(schema).execute(&mut *write).await?;
    write.commit().await
}
