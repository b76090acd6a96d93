//! The audit: both databases against the ledger. Every acknowledged write is there once, on both sides; what was refused
//! is not there.

use std::collections::{HashMap, HashSet};
use std::str::FromStr as _;

use anyhow::{Context as _, Result};
use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, ConnectOptions as _, Row as _};

use crate::ledger::{Entry, Outcome, Write};

/// What the audit found, in words; all empty when every promise was kept.
#[derive(Debug, Default, Clone)]
pub struct Findings {
    /// Acknowledged and not there.
    pub lost: Vec<String>,
    /// There more than once, or there although it was refused.
    pub doubled: Vec<String>,
    /// Took effect after a later write of the same person was acknowledged; it had no answer, so nothing was promised.
    pub late: Vec<String>,
}

/// What one database says.
#[derive(Debug, Default)]
pub struct Rows {
    /// Whose it is.
    pub side: &'static str,
    /// How often each text is there.
    pub notes: HashMap<String, u64>,
    /// Names.
    pub users: HashSet<String>,
    /// By user.
    pub addresses: HashMap<i64, String>,
}

/// Compares the school's databases.
///
/// # Errors
/// A database cannot be read.
pub async fn audit(school: &str, service: &str, entries: &[Entry], direct_notes: &[String]) -> Result<Findings> {
    let legacy = read(
        "legacy",
        school,
        "SELECT text FROM accounts_usernote",
        "SELECT username FROM accounts_customuser",
        "SELECT user_id, address FROM accounts_student UNION ALL SELECT user_id, address FROM accounts_staff",
    )
    .await?;
    let modern = read(
        "modern",
        service,
        "SELECT text FROM notes",
        "SELECT username FROM users",
        "SELECT u.legacy_id, p.address FROM profiles p JOIN users u ON u.id = p.user_id WHERE p.kind <> 'admin'",
    )
    .await?;
    Ok(compare(&[legacy, modern], entries, direct_notes))
}

/// What databases say, against the ledger.
pub fn compare(databases: &[Rows], entries: &[Entry], direct_notes: &[String]) -> Findings {
    let mut findings = Findings::default();
    for rows in databases {
        check_notes(rows, entries, direct_notes, &mut findings);
        check_users(rows, entries, &mut findings);
        check_addresses(rows, entries, &mut findings);
    }
    findings
}

fn check_notes(rows: &Rows, entries: &[Entry], direct: &[String], findings: &mut Findings) {
    let through_gateway = entries.iter().filter(|entry| entry.write == Write::Note).map(|entry| (&entry.token, entry.outcome));
    for (token, outcome) in through_gateway.chain(direct.iter().map(|token| (token, Outcome::Acknowledged))) {
        let times = rows.notes.get(token).copied().unwrap_or(0);
        match (outcome, times) {
            (Outcome::Acknowledged, 0) => findings.lost.push(format!("{}: note {token}", rows.side)),
            (_, 2..) => findings.doubled.push(format!("{}: note {token} is there {times} times", rows.side)),
            (Outcome::Refused, 1) => findings.doubled.push(format!("{}: note {token} was refused and is there", rows.side)),
            _ => {}
        }
    }
}

fn check_users(rows: &Rows, entries: &[Entry], findings: &mut Findings) {
    let removals: HashMap<&str, Outcome> =
        entries.iter().filter(|entry| entry.write == Write::Delete).map(|entry| (entry.token.as_str(), entry.outcome)).collect();
    for entry in entries.iter().filter(|entry| entry.write == Write::Create) {
        let there = rows.users.contains(&entry.token);
        let expected = match (entry.outcome, removals.get(entry.token.as_str())) {
            (_, Some(Outcome::Acknowledged)) => Some(false),
            (Outcome::Unknown, _) | (_, Some(Outcome::Unknown)) => None,
            (Outcome::Acknowledged, _) => Some(true),
            (Outcome::Refused, _) => Some(false),
        };
        match (expected, there) {
            (Some(true), false) => findings.lost.push(format!("{}: user {}", rows.side, entry.token)),
            (Some(false), true) => findings.doubled.push(format!("{}: user {} should not be there", rows.side, entry.token)),
            _ => {}
        }
    }
}

/// The last acknowledged address of each user stands, or one whose outcome is open: that one may take effect at any time
/// after it was sent.
fn check_addresses(rows: &Rows, entries: &[Entry], findings: &mut Findings) {
    #[derive(Debug, Default)]
    struct Possible<'a> {
        acknowledged: Option<&'a str>,
        open: Vec<&'a str>,
        /// How many of the open ones were sent before the acknowledged one.
        overtaken: usize,
    }
    let mut allowed: HashMap<i64, Possible<'_>> = HashMap::new();
    for entry in entries {
        let Write::Address { user } = entry.write else { continue };
        let possible = allowed.entry(user).or_default();
        match entry.outcome {
            Outcome::Acknowledged => {
                possible.acknowledged = Some(&entry.token);
                possible.overtaken = possible.open.len();
            }
            Outcome::Unknown => possible.open.push(&entry.token),
            Outcome::Refused => {}
        }
    }
    for (user, possible) in allowed {
        let found = rows.addresses.get(&user).map(String::as_str).unwrap_or_default();
        let Some(acknowledged) = possible.acknowledged else { continue };
        if found != acknowledged && !possible.open.contains(&found) {
            findings.lost.push(format!("{}: address of user {user} is `{found}`, not {possible:?}", rows.side));
        } else if possible.open[..possible.overtaken].contains(&found) {
            findings.late.push(format!("{}: address of user {user} is `{found}`, after {acknowledged} was acknowledged", rows.side));
        }
    }
}

async fn read(side: &'static str, database: &str, notes: &str, users: &str, addresses: &str) -> Result<Rows> {
    sqlx::any::install_default_drivers();
    let mut connection = AnyConnectOptions::from_str(database)?.connect().await.with_context(|| format!("cannot audit {side}"))?;
    let mut counted = HashMap::new();
    for text in texts(&mut connection, notes).await? {
        *counted.entry(text).or_default() += 1;
    }
    let users = texts(&mut connection, users).await?.into_iter().collect();
    let rows = sqlx::query(sqlx::AssertSqlSafe(addresses)).fetch_all(&mut connection).await?;
    let addresses = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    Ok(Rows { side, notes: counted, users, addresses })
}

async fn texts(connection: &mut AnyConnection, query: &str) -> Result<Vec<String>> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(query)).fetch_all(connection).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(write: Write, token: &str, outcome: Outcome) -> Entry {
        Entry { write, token: token.into(), outcome, order: 0 }
    }

    fn rows(notes: &[(&str, u64)], users: &[&str], addresses: &[(i64, &str)]) -> Rows {
        Rows {
            side: "legacy",
            notes: notes.iter().map(|(text, times)| ((*text).into(), *times)).collect(),
            users: users.iter().map(|name| (*name).into()).collect(),
            addresses: addresses.iter().map(|(user, address)| (*user, (*address).into())).collect(),
        }
    }

    fn findings(rows: Rows, entries: &[Entry]) -> (usize, usize) {
        let findings = compare(&[rows], entries, &["direct".into()]);
        (findings.lost.len(), findings.doubled.len())
    }

    #[test]
    fn what_is_as_it_was_acknowledged_is_fine() {
        let entries = [
            entry(Write::Note, "n", Outcome::Acknowledged),
            entry(Write::Note, "open", Outcome::Unknown),
            entry(Write::Create, "u", Outcome::Acknowledged),
            entry(Write::Create, "gone", Outcome::Acknowledged),
            entry(Write::Delete, "gone", Outcome::Acknowledged),
            entry(Write::Address { user: 1 }, "a", Outcome::Unknown),
            entry(Write::Address { user: 1 }, "b", Outcome::Acknowledged),
        ];
        for address in ["a", "b"] {
            let rows = rows(&[("n", 1), ("direct", 1)], &["u"], &[(1, address)]);
            assert_eq!(findings(rows, &entries), (0, 0), "address {address}");
        }
    }

    #[test]
    fn every_kind_of_loss_and_doubling_is_found() {
        let entries = [
            entry(Write::Note, "n", Outcome::Acknowledged),
            entry(Write::Create, "u", Outcome::Acknowledged),
            entry(Write::Address { user: 1 }, "a", Outcome::Acknowledged),
            entry(Write::Address { user: 1 }, "b", Outcome::Acknowledged),
        ];
        assert_eq!(findings(rows(&[], &[], &[(1, "a")]), &entries), (4, 0), "two notes, a user and an address are lost");
        assert_eq!(findings(rows(&[("n", 2), ("direct", 2)], &["u"], &[(1, "b")]), &entries), (0, 2));
        let refused = [entry(Write::Note, "r", Outcome::Refused), entry(Write::Create, "r", Outcome::Refused)];
        assert_eq!(findings(rows(&[("r", 1), ("direct", 1)], &["r"], &[]), &refused), (0, 2));
    }
}
