//! The tables that Ficus keeps in a database, made and taken away. All of them can be shared by several capabilities.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::parts::name;
use super::{locks, triggers};

/// What is compared byte by byte, and keeps its rows apart by it.
const STORED: &str = "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin";

/// Name and columns. Statements that name them are known in the binary log by that.
const TABLES: [(&str, &str); 14] = [
    ("_ficus_context", "`id` INT PRIMARY KEY, `database_id` VARCHAR(64) NOT NULL"),
    ("_ficus_fence", "`scope` VARCHAR(190) PRIMARY KEY, `fenced` TINYINT NOT NULL DEFAULT 0"),
    ("_ficus_gap", "`scope` VARCHAR(190) NOT NULL, `pair` VARCHAR(190) NOT NULL, PRIMARY KEY (`scope`, `pair`)"),
    (
        "_ficus_pair",
        "`scope` VARCHAR(190) NOT NULL, `pair` VARCHAR(190) NOT NULL, `shape` VARCHAR(64) NOT NULL, PRIMARY KEY (`scope`, `pair`)",
    ),
    (
        // How far the log has been used: what is durable in the target, the last captured change below that, statements
        // that have been looked at, and by which GTID the place is known again.
        "_ficus_source",
        "`scope` VARCHAR(190) PRIMARY KEY, `confirmed` BIGINT UNSIGNED NOT NULL DEFAULT 0, `last` BIGINT UNSIGNED NOT NULL DEFAULT 0, \
         `handled` BIGINT UNSIGNED NOT NULL DEFAULT 0, `gtid` TEXT",
    ),
    (
        // `writes` makes every transaction of the agent change the row: an update that changes nothing is not logged.
        "_ficus_checkpoint",
        "`stream` VARCHAR(190) PRIMARY KEY, `source_id` VARCHAR(190) NOT NULL, `position` BIGINT UNSIGNED, `epoch` BIGINT NOT NULL, \
         `backfilled` TINYINT NOT NULL DEFAULT 0, `writes` BIGINT NOT NULL DEFAULT 0",
    ),
    ("_ficus_orders", "`scope` VARCHAR(190) PRIMARY KEY, `epoch` BIGINT UNSIGNED NOT NULL"),
    (
        "_ficus_touch",
        "`id` BIGINT AUTO_INCREMENT PRIMARY KEY, `scope` VARCHAR(190) NOT NULL, `pair` VARCHAR(190) NOT NULL, `key` TEXT NOT NULL",
    ),
    (
        "_ficus_copied",
        "`stream` VARCHAR(190) NOT NULL, `pair` VARCHAR(190) NOT NULL, `plan` TEXT NOT NULL, `rows` BIGINT UNSIGNED NOT NULL, \
         `rest` TEXT, PRIMARY KEY (`stream`, `pair`)",
    ),
    (
        // A key may be longer than an index takes: `digest` is its SHA-256.
        "_ficus_quarantine",
        "`stream` VARCHAR(190) NOT NULL, `pair` VARCHAR(190) NOT NULL, `digest` CHAR(64) NOT NULL, `key` TEXT NOT NULL, \
         `source_row` LONGTEXT, `target_row` LONGTEXT, `reason` TEXT NOT NULL, `at` DATETIME NOT NULL, \
         PRIMARY KEY (`stream`, `pair`, `digest`)",
    ),
    (
        // See `let_in.rs`. `key` may be anything that an application keys its rows by.
        "_ficus_stray",
        "`id` BIGINT AUTO_INCREMENT PRIMARY KEY, `scope` VARCHAR(190) NOT NULL, `pair` VARCHAR(190) NOT NULL, `key` TEXT, \
         `was` LONGTEXT, `becomes` LONGTEXT, `account` TEXT, `connection` BIGINT UNSIGNED, `query` TEXT, \
         `at` DATETIME(3) NOT NULL, `settled` DATETIME(3), `passed` TEXT, KEY (`scope`, `settled`)",
    ),
    ("_ficus_forgotten", "`scope` VARCHAR(190) PRIMARY KEY, `strays` BIGINT UNSIGNED NOT NULL"),
    ("_ficus_carried", "`stream` VARCHAR(190) NOT NULL PRIMARY KEY, `number` BIGINT NOT NULL"),
    (
        "_ficus_outbox",
        "`stream` VARCHAR(190) NOT NULL, `bus` VARCHAR(190) NOT NULL, `number` BIGINT UNSIGNED NOT NULL, `id` CHAR(36) NOT NULL, \
         `kind` VARCHAR(255) NOT NULL, `subject` TEXT NOT NULL, `body` LONGTEXT NOT NULL, PRIMARY KEY (`stream`, `bus`, `number`)",
    ),
];

/// Makes what is missing. DDL: every statement is a transaction of its own.
pub(super) async fn create(conn: &mut Conn, scope: &str) -> Result<(), mysql_async::Error> {
    let there = existing(conn).await?;
    for (table, columns) in TABLES {
        if !there.iter().any(|known| known == table) {
            conn.query_drop(format!("CREATE TABLE IF NOT EXISTS `{table}` ({columns}) {STORED}")).await?;
        }
    }
    let strays = triggers::strays(scope);
    if !there.contains(&strays) {
        let columns = "`id` BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY";
        conn.query_drop(format!("CREATE TABLE IF NOT EXISTS {} ({columns}) {STORED}", name(&strays))).await?;
    }
    let id = uuid::Uuid::new_v4().simple().to_string();
    conn.exec_drop("INSERT IGNORE INTO `_ficus_context` VALUES (1, ?)", (id,)).await?;
    for table in ["_ficus_fence", "_ficus_source"] {
        conn.exec_drop(format!("INSERT IGNORE INTO `{table}` (`scope`) VALUES (?)"), (scope,)).await?;
    }
    Ok(())
}

/// Drops the triggers that name columns, unless the fence is up: one that names a column that is gone refuses everybody.
pub(super) async fn make_way(conn: &mut Conn, scope: &str) -> Result<(), mysql_async::Error> {
    if !existing(conn).await?.iter().any(|table| table == "_ficus_fence") {
        return Ok(());
    }
    let fenced: Option<i64> = conn.exec_first("SELECT `fenced` FROM `_ficus_fence` WHERE `scope` = ?", (scope,)).await?;
    if fenced == Some(triggers::OPEN) {
        for trigger in triggers::existing(conn, scope).await?.iter().filter(|trigger| trigger.names_columns()) {
            locks::change_at_once(conn, &format!("DROP TRIGGER IF EXISTS {}", name(&trigger.name))).await?;
        }
    }
    Ok(())
}

/// Whether there is such a table.
pub(super) async fn has(conn: &mut Conn, table: &str) -> Result<bool, mysql_async::Error> {
    Ok(existing(conn).await?.iter().any(|known| known == table))
}

async fn existing(conn: &mut Conn) -> Result<Vec<String>, mysql_async::Error> {
    conn.query("SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME LIKE '\\_ficus\\_%'").await
}

/// Raises the epoch whose orders are carried out; the highest there is. Where it is that already, nothing is written.
pub(super) async fn obey(conn: &mut Conn, scope: &str, epoch: u64) -> Result<u64, mysql_async::Error> {
    if obeyed(conn, scope).await? < epoch {
        let raise = "INSERT INTO `_ficus_orders` VALUES (?, ?) ON DUPLICATE KEY UPDATE `epoch` = greatest(`epoch`, VALUES(`epoch`))";
        conn.exec_drop(raise, (scope, epoch)).await?;
    }
    obeyed(conn, scope).await
}

/// The highest epoch whose orders were carried out here; 0: none that is known.
pub(super) async fn obeyed(conn: &mut Conn, scope: &str) -> Result<u64, mysql_async::Error> {
    if !existing(conn).await?.iter().any(|table| table == "_ficus_orders") {
        return Ok(0);
    }
    Ok(conn.exec_first("SELECT `epoch` FROM `_ficus_orders` WHERE `scope` = ?", (scope,)).await?.unwrap_or(0))
}

/// Takes away what belongs to a scope, and the tables themselves with the last one.
pub(super) async fn remove(conn: &mut Conn, scope: &str, stream: &str) -> Result<(), mysql_async::Error> {
    for trigger in triggers::existing(conn, scope).await? {
        locks::change(conn, &format!("DROP TRIGGER IF EXISTS {}", name(&trigger.name))).await?;
    }
    let there = existing(conn).await?;
    let has = |name: &str| there.iter().any(|table| table == name);
    conn.query_drop(format!("DROP TABLE IF EXISTS {}", name(&triggers::strays(scope)))).await?;
    for (table, column, value) in [
        ("_ficus_gap", "scope", scope),
        ("_ficus_pair", "scope", scope),
        ("_ficus_source", "scope", scope),
        ("_ficus_touch", "scope", scope),
        ("_ficus_orders", "scope", scope),
        ("_ficus_stray", "scope", scope),
        ("_ficus_forgotten", "scope", scope),
        ("_ficus_checkpoint", "stream", stream),
        ("_ficus_quarantine", "stream", stream),
        ("_ficus_copied", "stream", stream),
        ("_ficus_outbox", "stream", stream),
        ("_ficus_carried", "stream", stream),
        ("_ficus_fence", "scope", scope),
    ] {
        if has(table) {
            conn.exec_drop(format!("DELETE FROM `{table}` WHERE `{column}` = ?"), (value,)).await?;
        }
    }
    let others = has("_ficus_fence") && conn.query_first::<u8, _>("SELECT 1 FROM `_ficus_fence` LIMIT 1").await?.is_some();
    if !others {
        for (table, _) in TABLES {
            locks::change(conn, &format!("DROP TABLE IF EXISTS `{table}`")).await?;
        }
    }
    Ok(())
}
