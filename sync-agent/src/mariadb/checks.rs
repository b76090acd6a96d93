//! What the server, the account and the tables have to be like, all of it at once, each with the statement that mends it.
//! Reads only. The agent's start refuses what is refused here; `ficus check --live` shows everything.

pub(super) mod rights;
mod tables;

use ficus_rules::finding::Finding;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::connect::Server;
use super::follow::log;
use super::{Endpoint, schema};
use crate::error::Error;
use crate::port::{Wanted, accept};

/// Settings: name, what it has to be, what does not work otherwise.
const SETTINGS: [(&str, &str, &str); 5] = [
    ("log_bin", "ON", "without a binary log there is nothing to read changes from"),
    ("binlog_format", "ROW", "a statement does not say which rows it changed"),
    ("binlog_row_metadata", "FULL", "the log does not say what its columns are called"),
    ("binlog_row_image", "FULL", "the log does not have whole rows"),
    ("binlog_row_value_options", "", "the log has parts of documents only"),
];

/// Whether a value is one to warn of.
type Test = fn(&str) -> bool;

/// Settings with which something may be lost: name, which values, what happens, what it should be. They cost throughput or
/// disk, and the choice is not ours.
const ADVISED: [(&str, Test, &str, &str); 3] = [
    ("sync_binlog", |value| value == "0", "changes may be lost, or differ between the sides, when the server's machine crashes", "1"),
    (
        "innodb_flush_log_at_trx_commit",
        |value| value != "1",
        "changes may be lost, or differ between the sides, when the server's machine crashes",
        "1",
    ),
    (
        "binlog_expire_logs_seconds",
        |value| value.parse::<u64>().is_ok_and(|seconds| seconds > 0 && seconds < 172_800),
        "an agent that is away for longer finds its place gone, and everything is compared",
        "604800",
    ),
];

impl Endpoint {
    /// Refuses what changes could not be captured from.
    pub(super) async fn check(&self, conn: &mut Conn) -> Result<(), Error> {
        let wanted = Wanted::of_shapes(&self.capability, self.side, self.pairs.iter().map(|pair| &pair.shape));
        accept(self.server.label(), &find(&self.server, conn, &wanted).await?)
    }
}

/// Finds everything.
pub(super) async fn find(server: &Server, conn: &mut Conn, wanted: &Wanted) -> Result<Vec<Finding>, Error> {
    let mut found = Vec::new();
    let (major, minor, _) = server.version();
    if server.is_mariadb() && (major, minor) < (10, 6) || !server.is_mariadb() && (major, minor) < (8, 0) {
        let what = format!("the server is {major}.{minor}");
        found.push(
            Finding::refused("version", what, "what capture rests on is not there")
                .then("upgrade it to MariaDB 10.6, or MySQL 8.0, or newer"),
        );
    }
    found.extend(settings(server, conn).await?);
    found.extend(rights::find(server, conn, wanted.side).await?);
    // Without that right, the finding about it says so.
    if let Ok(Some((_, _, only, but))) = log(server, conn).await {
        found.extend(left_out(server.database(), &only, &but));
    }
    let before = std::time::SystemTime::now();
    let now: Option<f64> = conn.query_first("SELECT CAST(UNIX_TIMESTAMP(NOW(6)) AS DOUBLE)").await.map_err(|e| server.failed(e))?;
    found.extend(now.and_then(|now| crate::preflight::clock(before, std::time::SystemTime::now(), now)));
    let known = schema::tables(conn, &wanted.names()).await.map_err(|e| server.failed(e))?;
    for (name, table) in &known {
        found.extend(tables::find(server, conn, wanted, name, table).await?);
    }
    Ok(found)
}

async fn settings(server: &Server, conn: &mut Conn) -> Result<Vec<Finding>, Error> {
    let mut found = Vec::new();
    for (name, wanted, means) in SETTINGS {
        // Each of the two has settings that the other one lacks.
        let Some(value) = setting(server, conn, name).await?.filter(|value| !value.eq_ignore_ascii_case(wanted)) else { continue };
        let finding = Finding::refused(name, format!("{name} is {value}"), means);
        found.push(if name == "log_bin" {
            finding.then("start the server with log_bin=binlog in its configuration ([mysqld])")
        } else {
            let open = "; sessions that are open keep the old one until they end";
            finding.mend(format!("SET GLOBAL {name} = '{wanted}';")).then(format!("and {name}={wanted} in the configuration{open}"))
        });
    }
    for (name, loses, means, wanted) in ADVISED {
        if let Some(value) = setting(server, conn, name).await?.filter(|value| loses(value)) {
            let finding = Finding::warning(name, format!("{name} is {value}"), means);
            found.push(finding.mend(format!("SET GLOBAL {name} = {wanted};")).then(format!("and {name}={wanted} in the configuration")));
        }
    }
    Ok(found)
}

async fn setting(server: &Server, conn: &mut Conn, setting: &str) -> Result<Option<String>, Error> {
    let schema = if server.is_mariadb() { "information_schema.GLOBAL_VARIABLES" } else { "performance_schema.global_variables" };
    let query = format!("SELECT VARIABLE_VALUE FROM {schema} WHERE VARIABLE_NAME = ?");
    conn.exec_first(query, (setting,)).await.map_err(|e| server.failed(e))
}

/// Why a database is not in the log: `only` lists those that are, `but`, where that is empty, those that are not.
fn left_out(database: &str, only: &str, but: &str) -> Option<Finding> {
    let lists = |list: &str| list.split(',').any(|known| known == database);
    let (setting, then) = if !only.is_empty() && !lists(only) {
        ("binlog_do_db", format!("add binlog_do_db={database} to the configuration, or take the setting out, and restart the server"))
    } else if only.is_empty() && lists(but) {
        ("binlog_ignore_db", format!("take binlog_ignore_db={database} out of the configuration, and restart the server"))
    } else {
        return None;
    };
    let what = format!("{setting} leaves the database {database} out of the binary log");
    Some(Finding::refused("database_not_logged", what, "its changes cannot be read").then(then))
}

#[cfg(test)]
mod tests {
    use super::left_out;

    #[test]
    fn a_database_that_is_not_logged_is_named() {
        for (only, but, part) in
            [("other,shop", "", "binlog_do_db"), ("", "other,school", "binlog_ignore_db"), ("schools", "", "binlog_do_db")]
        {
            assert!(left_out("school", only, but).is_some_and(|found| found.what.contains(part)), "{only} {but}");
        }
        for (only, but) in [("", ""), ("other,school", ""), ("", "schools"), ("school", "school")] {
            assert_eq!(left_out("school", only, but), None, "{only} {but}");
        }
    }
}
