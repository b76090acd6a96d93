//! The audit: both databases against the ledger. Every acknowledged write is there once, on both sides; what was refused
//! is not there.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use anyhow::{Context as _, Result};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Row as _};

use crate::ledger::{Entry, Outcome, Write};

/// What the audit found, in words; all empty when every promise was kept.
#[derive(Debug, Default, Clone)]
pub struct Findings {
    /// Acknowledged and not there.
    pub lost: Vec<String>,
    /// There more than once, or there although it was refused.
    pub doubled: Vec<String>,
}

/// What one database says.
struct Rows {
    side: &'static str,
    notes: HashMap<String, u64>,
    users: HashSet<String>,
    addresses: HashMap<i64, String>,
}

/// Compares.
///
/// # Errors
/// A database cannot be read.
pub async fn audit(school: &Path, service: &Path, entries: &[Entry], direct_notes: &[String]) -> Result<Findings> {
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
    let mut findings = Findings::default();
    for rows in [&legacy, &modern] {
        check_notes(rows, entries, direct_notes, &mut findings);
        check_users(rows, entries, &mut findings);
        check_addresses(rows, entries, &mut findings);
    }
    Ok(findings)
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

/// The last acknowledged address of each user stands, or one that was sent after it and whose outcome is open.
fn check_addresses(rows: &Rows, entries: &[Entry], findings: &mut Findings) {
    let mut allowed: HashMap<i64, Vec<&str>> = HashMap::new();
    for entry in entries {
        let Write::Address { user } = entry.write else { continue };
        let possible = allowed.entry(user).or_default();
        match entry.outcome {
            Outcome::Acknowledged => *possible = vec![entry.token.as_str()],
            Outcome::Unknown => possible.push(entry.token.as_str()),
            Outcome::Refused => {}
        }
    }
    for (user, possible) in allowed {
        let acknowledged = entries.iter().any(|entry| entry.write == Write::Address { user } && entry.outcome == Outcome::Acknowledged);
        let found = rows.addresses.get(&user).map(String::as_str).unwrap_or_default();
        if acknowledged && !possible.contains(&found) {
            findings.lost.push(format!("{}: address of user {user} is `{found}`, not {possible:?}", rows.side));
        }
    }
}

async fn read(side: &'static str, database: &Path, notes: &str, users: &str, addresses: &str) -> Result<Rows> {
    let context = || format!("cannot audit {}", database.display());
    let mut connection = SqliteConnectOptions::new().filename(database).read_only(true).connect().await.with_context(context)?;
    let mut counted = HashMap::new();
    for text in texts(&mut connection, notes).await? {
        *counted.entry(text).or_default() += 1;
    }
    let users = texts(&mut connection, users).await?.into_iter().collect();
    let rows = sqlx::query(sqlx::AssertSqlSafe(addresses)).fetch_all(&mut connection).await?;
    let addresses = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    Ok(Rows { side, notes: counted, users, addresses })
}

async fn texts(connection: &mut SqliteConnection, query: &str) -> Result<Vec<String>> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(query)).fetch_all(connection).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
