//! What the agent's account may do, by what the server says of it. `SHOW GRANTS` is the only answer that needs no rights.

use ficus_rules::Side;
use ficus_rules::finding::Finding;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::error::Error;
use crate::mariadb::connect::Server;

/// On the capability's database: rows, Ficus's own tables, and the triggers of the fence.
const OF_DATABASE: [&str; 8] = ["SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "DROP", "TRIGGER"];

/// For `KILL` of sessions of other accounts.
const END_OTHERS: &str = "CONNECTION ADMIN";

/// What an account is called, and what it may.
pub(in crate::mariadb) struct Account {
    /// Its name, without a host.
    pub(in crate::mariadb) user: String,
    /// As statements name it.
    whom: String,
    grants: Vec<String>,
}

impl Account {
    pub(in crate::mariadb) async fn of(conn: &mut Conn) -> Result<Account, mysql_async::Error> {
        let grants: Vec<String> = conn.query("SHOW GRANTS").await?;
        let account: Option<String> = conn.query_first("SELECT current_user()").await?;
        let account = account.unwrap_or_default();
        let (user, host) = account.rsplit_once('@').unwrap_or((&account, "%"));
        let whom = format!("'{}'@'{}'", user.replace('\'', "''"), host.replace('\'', "''"));
        Ok(Account { user: user.to_owned(), whom, grants })
    }

    /// What lets it see whose sessions keep a fence waiting, and end them; `None`: it may.
    pub(in crate::mariadb) fn may_end_others(&self) -> Option<String> {
        let missing: Vec<&str> = ["PROCESS", END_OTHERS].into_iter().filter(|right| !may(&self.grants, right, None)).collect();
        (!missing.is_empty()).then(|| format!("GRANT {} ON *.* TO {};", missing.join(", "), self.whom))
    }
}

pub(super) async fn find(server: &Server, conn: &mut Conn, side: Side) -> Result<Vec<Finding>, Error> {
    let account = Account::of(conn).await.map_err(|e| server.failed(e))?;
    let Account { whom, grants, .. } = &account;
    let mut found = Vec::new();
    // A role may carry more than can be seen here.
    if grants.iter().any(|grant| !grant.contains(" ON ")) {
        return Ok(found);
    }
    let monitor = if server.is_mariadb() { "BINLOG MONITOR" } else { "REPLICATION CLIENT" };
    let missing: Vec<&str> = ["REPLICATION SLAVE", monitor].into_iter().filter(|right| !may(grants, right, None)).collect();
    if !missing.is_empty() {
        let rights = missing.join(", ");
        let finding = Finding::refused("account_replication", format!("the account lacks {rights}"), "the binary log cannot be read");
        found.push(finding.mend(format!("GRANT {rights} ON *.* TO {whom};")));
    }
    let database = server.database();
    let missing: Vec<&str> = OF_DATABASE.into_iter().filter(|right| !may(grants, right, Some(database))).collect();
    if !missing.is_empty() {
        let rights = missing.join(", ");
        let what = format!("the account lacks {rights} on {database}");
        let finding = Finding::refused("account_database", what, "rows, Ficus's own tables or the fence's triggers could not be written");
        found.push(finding.mend(format!("GRANT {rights} ON {}.* TO {whom};", crate::mariadb::parts::name(database))));
    }
    if !may(grants, "PROCESS", None) {
        let means =
            "who holds up a cutover cannot be named, and the cutover is not refused for it beforehand; nor can whom a fence refuses";
        let finding = Finding::note("account_blind", "the account does not see what others do on the server", means);
        found.push(finding.mend(format!("GRANT PROCESS ON *.* TO {whom};")));
    }
    if server.is_mariadb() && side == Side::Modern && !may(grants, END_OTHERS, None) {
        let means = "a transaction that the new service leaves open, because it hangs or its machine is gone, keeps a revert waiting until somebody ends it";
        let finding = Finding::note("account_ends_nobody", "the account may not end sessions of others", means);
        found.push(finding.mend(format!("GRANT {END_OTHERS} ON *.* TO {whom};")));
    }
    let trusted: Option<bool> =
        conn.query_first("SELECT @@log_bin_trust_function_creators OR NOT @@log_bin").await.map_err(|e| server.failed(e))?;
    if trusted == Some(false) && !may(grants, "SUPER", None) {
        let means = "the server lets nobody but SUPER make triggers while it writes a binary log";
        let finding = Finding::refused("trigger_creators", "log_bin_trust_function_creators is OFF", means);
        let finding = finding.mend("SET GLOBAL log_bin_trust_function_creators = 1;");
        found.push(finding.then("and log_bin_trust_function_creators=1 in the configuration"));
    }
    Ok(found)
}

/// Whether a right is granted everywhere, or on the database.
fn may(grants: &[String], right: &str, database: Option<&str>) -> bool {
    grants.iter().any(|grant| {
        let Some((rights, rest)) = grant.strip_prefix("GRANT ").and_then(|grant| grant.split_once(" ON ")) else { return false };
        let Some((place, _)) = rest.split_once(" TO ") else { return false };
        let here = place == "*.*" || database.is_some_and(|database| covers(place, database));
        here && (rights.starts_with("ALL PRIVILEGES") || rights.split(", ").any(|granted| granted == right))
    })
}

/// Whether `` `pattern`.* `` means a database: `_` and `%` stand for any letters unless a backslash is before them.
fn covers(place: &str, database: &str) -> bool {
    let Some(pattern) = place.strip_suffix(".*") else { return false };
    let pattern = pattern.trim_matches('`').replace("``", "`");
    let letters: Vec<char> = pattern.chars().collect();
    matches(&letters, &database.chars().collect::<Vec<_>>())
}

fn matches(pattern: &[char], text: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['%', rest @ ..] => (0..=text.len()).any(|skipped| matches(rest, &text[skipped..])),
        ['\\', letter, rest @ ..] => text.first() == Some(letter) && matches(rest, &text[1..]),
        ['_', rest @ ..] => !text.is_empty() && matches(rest, &text[1..]),
        [letter, rest @ ..] => text.first() == Some(letter) && matches(rest, &text[1..]),
    }
}

#[cfg(test)]
mod tests {
    use super::may;

    #[test]
    fn rights_are_read_off_what_the_server_says() {
        let grants = [
            "GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO `agent`@`%` IDENTIFIED BY PASSWORD '*0'",
            "GRANT ALL PRIVILEGES ON `school\\_one`.* TO `agent`@`%`",
            "GRANT SELECT, INSERT (`a`, `b`), UPDATE ON `sch%`.* TO `agent`@`%`",
            "GRANT DELETE ON `other`.`table` TO `agent`@`%`",
        ]
        .map(str::to_owned);
        for (right, database, granted) in [
            ("REPLICATION SLAVE", None, true),
            ("BINLOG MONITOR", Some("anything"), true),
            ("SUPER", None, false),
            ("TRIGGER", Some("school_one"), true),
            ("TRIGGER", Some("schoolxone"), false),
            ("UPDATE", Some("schoolxone"), true),
            ("SELECT", Some("other"), false),
            ("DELETE", Some("other"), false),
        ] {
            assert_eq!(may(&grants, right, database), granted, "{right} on {database:?}");
        }
    }
}
