//! Rehearsals: a write is carried out on copies of the tables, answered, and taken back. The copies stand before the tables
//! as long as the transaction lasts, so that statements need not know of them, and nobody's fence or trigger sees any of it. A copy
//! is made of every row: right for a school, too dear for millions.

use sqlx::{AnyConnection, AssertSqlSafe};

use super::is_sqlite;
use crate::schema;

tokio::task_local! {
    /// Whether the request under way only rehearses.
    static REHEARSES: bool;
}

const TABLES: [&str; 4] = ["users", "profiles", "notes", "photos"];
/// Sequences, and what they count. Those of the tables stand where the last switch has left them.
const SEQUENCES: [(&str, &str); 5] = [
    ("seq_users", "users"),
    ("seq_profiles_admin", "profiles WHERE kind = 'admin'"),
    ("seq_profiles_staff", "profiles WHERE kind = 'staff'"),
    ("seq_profiles_student", "profiles WHERE kind = 'student'"),
    ("seq_notes", "notes"),
];

/// Does something; if `rehearses`, its writes are taken back.
pub(crate) async fn rehearsed<F: Future>(rehearses: bool, work: F) -> F::Output {
    REHEARSES.scope(rehearses, work).await
}

/// Whether what is under way only rehearses.
pub(super) fn is_on() -> bool {
    REHEARSES.try_with(|rehearses| *rehearses).unwrap_or(false)
}

/// Puts copies before the tables, until the transaction ends.
pub(super) async fn set_the_stage(write: &mut AnyConnection) -> Result<(), sqlx::Error> {
    let sqlite = is_sqlite(write);
    let (schema, real, copy) = if sqlite { (schema::SQLITE, "main", "temp") } else { (schema::POSTGRES, "public", "pg_temp") };
    let tables = schema.lines().filter(|line| !line.starts_with("CREATE INDEX"));
    let mut stage = tables.collect::<Vec<_>>().join("\n").replace("CREATE TABLE IF NOT EXISTS", "CREATE TEMP TABLE");
    for table in TABLES {
        stage.push_str(&format!("\nINSERT INTO {copy}.{table} SELECT * FROM {real}.{table};"));
    }
    for (sequence, counted) in SEQUENCES {
        let last = format!("SELECT coalesce(max(legacy_id), 0) FROM {copy}.{counted}");
        stage.push_str(&match sqlite {
            true => format!("\nINSERT INTO {copy}.{sequence} (id) {last};"),
            false => format!("\nSELECT setval(pg_get_serial_sequence('{copy}.{sequence}', 'id'), ({last}) + 1, false);"),
        });
    }
    sqlx::raw_sql(AssertSqlSafe(stage)).execute(write).await.map(drop)
}
