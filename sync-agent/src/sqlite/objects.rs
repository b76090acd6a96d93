//! The tables that Ficus keeps in a database, made and taken away. All of them can be shared by several capabilities.

use ficus_rules::mapping::Value;
use sqlx::SqliteConnection;

use super::{sql, triggers};

/// Made in every database. `AUTOINCREMENT`, because numbers must never return after the log was pruned.
const TABLES: [&str; 13] = [
    "CREATE TABLE IF NOT EXISTS \"_ficus_context\" (\"id\" INTEGER PRIMARY KEY CHECK (\"id\" = 1), \"writer\" TEXT, \"database_id\" TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS \"_ficus_log\" (\"seq\" INTEGER PRIMARY KEY AUTOINCREMENT, \"scope\" TEXT NOT NULL, \"pair\" TEXT NOT NULL, \"key\", \"at\" REAL NOT NULL, \"what\" INTEGER NOT NULL DEFAULT 0)",
    "CREATE TABLE IF NOT EXISTS \"_ficus_fence\" (\"scope\" TEXT PRIMARY KEY, \"fenced\" INTEGER NOT NULL DEFAULT 0)",
    "CREATE TABLE IF NOT EXISTS \"_ficus_stray\" (\"id\" INTEGER PRIMARY KEY AUTOINCREMENT, \"scope\" TEXT NOT NULL, \"pair\" TEXT NOT NULL, \"key\", \"was\" TEXT, \"becomes\" TEXT, \"at\" TEXT NOT NULL, \"settled\" TEXT, \"passed\" TEXT, \"displaced\" INTEGER NOT NULL DEFAULT 0)",
    "CREATE TABLE IF NOT EXISTS \"_ficus_gap\" (\"scope\" TEXT NOT NULL, \"pair\" TEXT NOT NULL, PRIMARY KEY (\"scope\", \"pair\"))",
    "CREATE TABLE IF NOT EXISTS \"_ficus_pruned\" (\"scope\" TEXT PRIMARY KEY, \"seq\" INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS \"_ficus_orders\" (\"scope\" TEXT PRIMARY KEY, \"epoch\" INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS \"_ficus_checkpoint\" (\"stream\" TEXT PRIMARY KEY, \"source_id\" TEXT NOT NULL, \"position\" INTEGER, \"epoch\" INTEGER NOT NULL, \"backfilled\" INTEGER NOT NULL DEFAULT 0)",
    "CREATE TABLE IF NOT EXISTS \"_ficus_copied\" (\"stream\" TEXT NOT NULL, \"pair\" TEXT NOT NULL, \"plan\" TEXT NOT NULL, \"rows\" INTEGER NOT NULL, \"rest\" TEXT, PRIMARY KEY (\"stream\", \"pair\"))",
    "CREATE TABLE IF NOT EXISTS \"_ficus_quarantine\" (\"stream\" TEXT NOT NULL, \"pair\" TEXT NOT NULL, \"key\", \"source_row\" TEXT, \"target_row\" TEXT, \"reason\" TEXT NOT NULL, \"at\" TEXT NOT NULL, PRIMARY KEY (\"stream\", \"pair\", \"key\"))",
    "CREATE TABLE IF NOT EXISTS \"_ficus_forgotten\" (\"scope\" TEXT PRIMARY KEY, \"strays\" INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS \"_ficus_carried\" (\"stream\" TEXT PRIMARY KEY, \"number\" INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS \"_ficus_outbox\" (\"stream\" TEXT NOT NULL, \"bus\" TEXT NOT NULL, \"number\" INTEGER NOT NULL, \"id\" TEXT NOT NULL, \"kind\" TEXT NOT NULL, \"subject\" TEXT NOT NULL, \"body\" TEXT NOT NULL, PRIMARY KEY (\"stream\", \"bus\", \"number\"))",
];

/// What an entry of the log is of, in its column `what`: 0, a row that somebody wrote, one that was not there before, or one that the
/// agent asks for.
pub(super) const NEW: i64 = 1;
pub(super) const ASKED: i64 = 2;

/// For a log of a release without that column, where the sign of the time said what the agent asked for.
const SIGNED: [&str; 2] = [
    "ALTER TABLE \"_ficus_log\" ADD COLUMN \"what\" INTEGER NOT NULL DEFAULT 0",
    "UPDATE \"_ficus_log\" SET \"what\" = 2, \"at\" = -\"at\" WHERE \"at\" < 0",
];

/// Rows that are settled do not make those that are not slower to find. (A release before had an index on the log: each of the
/// application's writes paid for it.)
const INDEXES: [&str; 2] = [
    "DROP INDEX IF EXISTS \"_ficus_log_scope\"",
    "CREATE INDEX IF NOT EXISTS \"_ficus_stray_unsettled\" ON \"_ficus_stray\" (\"scope\", \"id\") WHERE \"settled\" IS NULL",
];

const NAMES: [&str; 13] = [
    "_ficus_copied",
    "_ficus_context",
    "_ficus_log",
    "_ficus_fence",
    "_ficus_gap",
    "_ficus_pruned",
    "_ficus_orders",
    "_ficus_checkpoint",
    "_ficus_quarantine",
    "_ficus_outbox",
    "_ficus_carried",
    "_ficus_stray",
    "_ficus_forgotten",
];

/// Makes what is missing, inside the caller's transaction.
pub(super) async fn create(connection: &mut SqliteConnection, scope: &str) -> Result<(), sqlx::Error> {
    for table in TABLES {
        sql::run(connection, table).await?;
    }
    let what = "SELECT 1 FROM pragma_table_info('_ficus_log') WHERE name = 'what'";
    if sql::one(connection, what, &[]).await?.is_none() {
        for statement in SIGNED {
            sql::run(connection, statement).await?;
        }
    }
    for index in INDEXES {
        sql::run(connection, index).await?;
    }
    sql::run(connection, "INSERT OR IGNORE INTO \"_ficus_context\" VALUES (1, NULL, lower(hex(randomblob(16))))").await?;
    sql::run_with(connection, "INSERT OR IGNORE INTO \"_ficus_fence\" (\"scope\") VALUES (?1)", &[text(scope)]).await?;
    Ok(())
}

/// Raises the epoch whose orders are carried out; the highest there is.
pub(super) async fn obey(connection: &mut SqliteConnection, scope: &str, epoch: u64) -> Result<u64, sqlx::Error> {
    let raise = "INSERT INTO \"_ficus_orders\" VALUES (?1, ?2) ON CONFLICT (\"scope\") DO UPDATE SET \"epoch\" = max(\"epoch\", ?2)";
    let epoch = Value::Int(i64::try_from(epoch).unwrap_or(i64::MAX));
    sql::run_with(connection, raise, &[text(scope), epoch]).await?;
    obeyed(connection, scope).await
}

/// The highest epoch whose orders were carried out here; 0: none that is known.
pub(super) async fn obeyed(connection: &mut SqliteConnection, scope: &str) -> Result<u64, sqlx::Error> {
    let exists = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = '_ficus_orders'";
    if sql::one(connection, exists, &[]).await?.is_none() {
        return Ok(0);
    }
    match sql::one(connection, "SELECT \"epoch\" FROM \"_ficus_orders\" WHERE \"scope\" = ?1", &[text(scope)]).await? {
        Some(Value::Int(epoch)) => Ok(u64::try_from(epoch).unwrap_or(0)),
        _ => Ok(0),
    }
}

/// Takes away what belongs to a scope, and the tables themselves with the last one.
pub(super) async fn remove(connection: &mut SqliteConnection, scope: &str, stream: &str) -> Result<(), sqlx::Error> {
    let mine = [text(&triggers::prefix(scope))];
    let found = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND substr(name, 1, length(?1)) = ?1";
    for row in sql::all(connection, found, &mine).await? {
        if let [Value::Text(trigger)] = row.as_slice() {
            sql::run(connection, &format!("DROP TRIGGER {}", sql::name(trigger))).await?;
        }
    }
    let exists = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = '_ficus_fence'";
    if sql::one(connection, exists, &[]).await?.is_none() {
        return Ok(());
    }
    // A release before it lacks some.
    for table in TABLES {
        sql::run(connection, table).await?;
    }
    for table in ["_ficus_log", "_ficus_fence", "_ficus_gap", "_ficus_pruned", "_ficus_orders", "_ficus_stray", "_ficus_forgotten"] {
        sql::run_with(connection, &format!("DELETE FROM \"{table}\" WHERE \"scope\" = ?1"), &[text(scope)]).await?;
    }
    for table in ["_ficus_checkpoint", "_ficus_quarantine", "_ficus_copied", "_ficus_outbox", "_ficus_carried"] {
        sql::run_with(connection, &format!("DELETE FROM \"{table}\" WHERE \"stream\" = ?1"), &[text(stream)]).await?;
    }
    if sql::one(connection, "SELECT 1 FROM \"_ficus_fence\" LIMIT 1", &[]).await?.is_none() {
        for name in NAMES {
            sql::run(connection, &format!("DROP TABLE IF EXISTS \"{name}\"")).await?;
        }
    }
    Ok(())
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}
