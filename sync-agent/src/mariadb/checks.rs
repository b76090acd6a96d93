//! What the server and the tables have to be like, each with its remedy. Reads only; says everything that is wrong at once.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::Endpoint;
use super::follow::log;
use super::parts::name;
use super::value::{Charset, Column, Form};
use crate::error::Error;

/// Settings: name, what it has to be, what to do.
const SETTINGS: [(&str, &str, &str); 5] = [
    ("log_bin", "ON", "start the server with log_bin=binlog in its configuration ([mysqld])"),
    (
        "binlog_format",
        "ROW",
        "SET GLOBAL binlog_format = 'ROW'; and binlog_format=ROW in the configuration; sessions that are open keep the old one until they end",
    ),
    ("binlog_row_metadata", "FULL", "SET GLOBAL binlog_row_metadata = 'FULL'; and binlog_row_metadata=FULL in the configuration"),
    ("binlog_row_image", "FULL", "SET GLOBAL binlog_row_image = 'FULL'; and binlog_row_image=FULL in the configuration"),
    ("binlog_row_value_options", "", "SET GLOBAL binlog_row_value_options = ''"),
];

/// Whether a value is one to warn of.
type Test = fn(&str) -> bool;

/// Settings with which a crash of the server's machine may lose what others have seen already: name, how that is known,
/// what to do. They cost throughput, and the choice is not ours.
const DURABLE: [(&str, Test, &str); 2] = [
    ("sync_binlog", |value| value == "0", "SET GLOBAL sync_binlog = 1; and sync_binlog=1 in the configuration"),
    (
        "innodb_flush_log_at_trx_commit",
        |value| value != "1",
        "SET GLOBAL innodb_flush_log_at_trx_commit = 1; and innodb_flush_log_at_trx_commit=1 in the configuration",
    ),
];

impl Endpoint {
    /// Refuses what changes could not be captured from.
    pub(super) async fn check(&self, conn: &mut Conn) -> Result<(), Error> {
        let mut wrong = Vec::new();
        let (major, minor, _) = self.server.version();
        if self.server.is_mariadb() && (major, minor) < (10, 6) || !self.server.is_mariadb() && (major, minor) < (8, 0) {
            wrong.push(format!("the server is {major}.{minor}; upgrade it to MariaDB 10.6, or MySQL 8.0, or newer"));
        }
        for (setting, wanted, remedy) in SETTINGS {
            let value = self.setting(conn, setting).await?;
            match value {
                Some(value) if value.eq_ignore_ascii_case(wanted) => {}
                // Each of the two has settings that the other one lacks.
                None => {}
                Some(value) => wrong.push(format!("{setting} is {value}; {remedy}")),
            }
        }
        for (setting, loses, remedy) in DURABLE {
            if let Some(value) = self.setting(conn, setting).await?.filter(|value| loses(value)) {
                tracing::warn!(database = self.server.label(), setting, %value, remedy, "changes may be lost, or differ between the sides, when the server's machine crashes");
            }
        }
        if let Some((_, _, only, but)) = log(&self.server, conn).await? {
            wrong.extend(left_out(self.server.database(), &only, &but));
        }
        for table in self.tables.keys() {
            self.check_table(table, &mut wrong);
        }
        if wrong.is_empty() { Ok(()) } else { Err(self.refused(wrong.join("; and "))) }
    }

    async fn setting(&self, conn: &mut Conn, setting: &str) -> Result<Option<String>, Error> {
        let schema = if self.server.is_mariadb() { "information_schema.GLOBAL_VARIABLES" } else { "performance_schema.global_variables" };
        let query = format!("SELECT VARIABLE_VALUE FROM {schema} WHERE VARIABLE_NAME = ?");
        conn.exec_first(query, (setting,)).await.map_err(|e| self.failed(e))
    }

    fn check_table(&self, table: &str, wrong: &mut Vec<String>) {
        let Some(known) = self.tables.get(table) else { return };
        if !known.engine.eq_ignore_ascii_case("InnoDB") {
            wrong.push(format!(
                "table {table} is kept by {}, which has no transactions; ALTER TABLE {} ENGINE=InnoDB",
                known.engine,
                name(table)
            ));
        }
        for reference in &known.references {
            let Some(acts) = &reference.acts else { continue };
            let list = |columns: &[String]| columns.iter().map(|column| name(column)).collect::<Vec<_>>().join(", ");
            wrong.push(format!(
                "the foreign key {key} of {table} acts by itself ({acts}), and its changes are not in the binary log; let the application do it: \
                 ALTER TABLE {quoted} DROP FOREIGN KEY {dropped}; ALTER TABLE {quoted} ADD CONSTRAINT {dropped} FOREIGN KEY ({columns}) REFERENCES {parent} ({theirs})",
                key = reference.name,
                quoted = name(table),
                dropped = name(&reference.name),
                columns = list(&reference.columns),
                parent = name(&reference.parent),
                theirs = list(&reference.parent_columns),
            ));
        }
        for pair in self.pairs.iter().filter(|pair| pair.shape.table == *table) {
            for column in std::iter::once(&pair.key).chain(&pair.columns) {
                if let Some(why) = untold(column) {
                    let complaint = format!("column {} of {table} {why}", column.name);
                    if !wrong.contains(&complaint) {
                        wrong.push(complaint);
                    }
                }
            }
        }
    }
}

/// Why a database is not in the log: `only` lists those that are, `but`, where that is empty, those that are not.
fn left_out(database: &str, only: &str, but: &str) -> Option<String> {
    let lists = |list: &str| list.split(',').any(|known| known == database);
    if !only.is_empty() && !lists(only) {
        Some(format!(
            "binlog_do_db leaves the database {database} out of the binary log; add binlog_do_db={database} to the configuration, or take the setting out, and restart the server"
        ))
    } else if only.is_empty() && lists(but) {
        Some(format!(
            "binlog_ignore_db leaves the database {database} out of the binary log; take binlog_ignore_db={database} out of the configuration, and restart the server"
        ))
    } else {
        None
    }
}

/// Why values of a column cannot be carried.
fn untold(column: &Column) -> Option<String> {
    match &column.form {
        Form::Text(Charset::Other(charset)) => {
            Some(format!("has the character set {charset}, whose bytes in the log are not understood; convert it to utf8mb4"))
        }
        Form::Other(kind) => Some(format!("is {kind}, which is not carried; take it out of the mapping, or change its type")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::left_out;

    #[test]
    fn a_database_that_is_not_logged_is_named() {
        for (only, but, part) in
            [("other,shop", "", "binlog_do_db"), ("", "other,school", "binlog_ignore_db"), ("schools", "", "binlog_do_db")]
        {
            assert!(left_out("school", only, but).is_some_and(|why| why.contains(part)), "{only} {but}");
        }
        for (only, but) in [("", ""), ("other,school", ""), ("", "schools"), ("school", "school")] {
            assert_eq!(left_out("school", only, but), None, "{only} {but}");
        }
    }
}
