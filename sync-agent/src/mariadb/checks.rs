//! What the server and the tables have to be like, each with its remedy. Reads only; says everything that is wrong at once.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::Endpoint;
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

impl Endpoint {
    /// Refuses what changes could not be captured from.
    pub(super) async fn check(&self, conn: &mut Conn) -> Result<(), Error> {
        let mut wrong = Vec::new();
        let (major, minor, _) = self.server.version();
        if self.server.is_mariadb() && (major, minor) < (10, 6) || !self.server.is_mariadb() && (major, minor) < (8, 0) {
            wrong.push(format!("the server is {major}.{minor}; upgrade it to MariaDB 10.6, or MySQL 8.0, or newer"));
        }
        for (setting, wanted, remedy) in SETTINGS {
            let query = "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_VARIABLES WHERE VARIABLE_NAME = ?";
            let query = if self.server.is_mariadb() {
                query.to_owned()
            } else {
                query.replace("information_schema.GLOBAL_VARIABLES", "performance_schema.global_variables")
            };
            let value: Option<String> = conn.exec_first(query, (setting,)).await.map_err(|e| self.failed(e))?;
            match value {
                Some(value) if value.eq_ignore_ascii_case(wanted) => {}
                // Each of the two has settings that the other one lacks.
                None => {}
                Some(value) => wrong.push(format!("{setting} is {value}; {remedy}")),
            }
        }
        for table in self.tables.keys() {
            self.check_table(table, &mut wrong);
        }
        if wrong.is_empty() { Ok(()) } else { Err(self.refused(wrong.join("; and "))) }
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
