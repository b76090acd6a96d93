//! Applies `schema.sql`. Does not know of any other table in the file, and leaves all of them as they are.

use crate::store::Database;

const SCHEMA: &str = include_str!("schema.sql");

/// Makes the tables that are not there yet. May run at any time, also beside another process.
pub async fn apply(database: &Database) -> Result<(), sqlx::Error> {
    let mut write = database.write().await?;
    sqlx::raw_sql(SCHEMA).execute(&mut *write).await?;
    write.commit().await
}
