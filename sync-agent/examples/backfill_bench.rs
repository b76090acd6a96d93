//! How fast the initial copy is, beside the plainest copy that SQLite can make. Prints one JSON line; ends with failure
//! below the bar.
//!
//! Built by `make bench` together with everything else, so that crates have the features that they have in `ficus`; then
//! `target/release/examples/backfill_bench` copies 200,000 rows by the demo's own rule file, three rounds, each followed by
//! the peer: `INSERT INTO ... SELECT` between attached databases, one transaction into the same tables with the same
//! indexes, which maps roles and nothing else (no UUIDs, no capture, no checkpoint, nobody else may write). A number of
//! rows as the first argument makes it shorter.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use ficus_rules::Side;
use ficus_rules::wire::{CapabilityOrders, Fences, Orders, RuleFile, SyncOrder};
use ficus_sync_agent::{Agent, Config};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqliteConnection};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Rows of all tables together.
const ROWS: u64 = 200_000;
const ROUNDS: usize = 3;
/// Rows per second.
const BAR: f64 = 50_000.0;
/// Nobody waits longer than this for one copy.
const PATIENCE: Duration = Duration::from_secs(300);

const RULES: [(&str, &str); 2] = [
    ("flags.toml", include_str!("../../rules/examples/student-management/flags.toml")),
    ("users.toml", include_str!("../../rules/examples/student-management/users.toml")),
];

const LEGACY: &str = "
CREATE TABLE accounts_customuser (id integer NOT NULL PRIMARY KEY AUTOINCREMENT, password varchar(128) NOT NULL, last_login datetime NULL,
  is_superuser bool NOT NULL, username varchar(150) NOT NULL UNIQUE, first_name varchar(150) NOT NULL, last_name varchar(150) NOT NULL,
  email varchar(254) NOT NULL, is_staff bool NOT NULL, is_active bool NOT NULL, date_joined datetime NOT NULL, user_type smallint NOT NULL);
CREATE TABLE accounts_adminhod (id integer NOT NULL PRIMARY KEY AUTOINCREMENT, created_at datetime NOT NULL, updated_at datetime NOT NULL,
  user_id bigint NOT NULL UNIQUE);
CREATE TABLE accounts_staff (id integer NOT NULL PRIMARY KEY AUTOINCREMENT, created_at datetime NOT NULL, updated_at datetime NOT NULL,
  address text NOT NULL, user_id bigint NOT NULL UNIQUE);
CREATE TABLE accounts_student (id integer NOT NULL PRIMARY KEY AUTOINCREMENT, created_at datetime NOT NULL, updated_at datetime NOT NULL,
  gender varchar(20) NOT NULL, address text NOT NULL, course_id bigint NULL, session_year_id bigint NULL, user_id bigint NOT NULL UNIQUE);
CREATE TABLE accounts_usernote (id integer NOT NULL PRIMARY KEY AUTOINCREMENT, text text NOT NULL, created_at datetime NOT NULL,
  user_id bigint NOT NULL);
CREATE TABLE accounts_photo (user_id bigint NOT NULL PRIMARY KEY, content_type varchar(100) NOT NULL, sha256 varchar(64) NOT NULL,
  data BLOB NOT NULL, uploaded_at datetime NOT NULL);
";

const MODERN: &str = "
CREATE TABLE users (id TEXT PRIMARY KEY NOT NULL, legacy_id INTEGER UNIQUE, username TEXT NOT NULL UNIQUE, email TEXT NOT NULL, password TEXT NOT NULL,
  given_name TEXT NOT NULL, family_name TEXT NOT NULL, role TEXT NOT NULL CHECK (role IN ('admin', 'staff', 'student')), is_active INTEGER NOT NULL,
  is_staff INTEGER NOT NULL, is_superuser INTEGER NOT NULL, joined_at TEXT NOT NULL);
CREATE TABLE profiles (id TEXT PRIMARY KEY NOT NULL, kind TEXT NOT NULL, legacy_id INTEGER, user_id TEXT NOT NULL UNIQUE, address TEXT NOT NULL DEFAULT '',
  gender TEXT, course_id INTEGER, session_year_id INTEGER, created_at TEXT NOT NULL, updated_at TEXT NOT NULL, UNIQUE (kind, legacy_id));
CREATE TABLE notes (id TEXT PRIMARY KEY NOT NULL, legacy_id INTEGER UNIQUE, user_id TEXT NOT NULL, text TEXT NOT NULL, created_at TEXT NOT NULL);
CREATE TABLE photos (user_id TEXT PRIMARY KEY NOT NULL, legacy_id INTEGER UNIQUE, content_type TEXT NOT NULL, sha256 TEXT NOT NULL,
  data BLOB NOT NULL, uploaded_at TEXT NOT NULL);
CREATE TABLE seq_users (id INTEGER PRIMARY KEY AUTOINCREMENT);
CREATE TABLE seq_profiles_admin (id INTEGER PRIMARY KEY AUTOINCREMENT);
CREATE TABLE seq_profiles_staff (id INTEGER PRIMARY KEY AUTOINCREMENT);
CREATE TABLE seq_profiles_student (id INTEGER PRIMARY KEY AUTOINCREMENT);
CREATE TABLE seq_notes (id INTEGER PRIMARY KEY AUTOINCREMENT);
";

/// As many users as notes as profiles, and a few photos.
const FILL: &str = "
BEGIN;
WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {users})
INSERT INTO accounts_customuser SELECT i, 'pbkdf2_sha256$1000000$' || hex(randomblob(24)), NULL, 0, 'user' || i, 'Ada', 'Ray',
  'user' || i || '@example.test', 0, 1, '2026-01-02 03:04:05.000006', 1 + i % 3 FROM n;
INSERT INTO accounts_adminhod SELECT id, '2026-01-01', '2026-01-01', id FROM accounts_customuser WHERE user_type = 1;
INSERT INTO accounts_staff SELECT id, '2026-01-01', '2026-01-01', '1 High St', id FROM accounts_customuser WHERE user_type = 2;
INSERT INTO accounts_student SELECT id, '2026-01-01', '2026-01-01', 'female', '1 High St', 3, 1, id FROM accounts_customuser WHERE user_type = 3;
INSERT INTO accounts_usernote SELECT id, 'a note of some length that says little', '2026-01-01', id FROM accounts_customuser;
INSERT INTO accounts_photo SELECT id, 'image/png', hex(randomblob(32)), randomblob(500), '2026-01-01' FROM accounts_customuser LIMIT {photos};
COMMIT";

const PLAIN: &str = "
BEGIN;
INSERT INTO users SELECT 'u' || id, id, username, email, password, first_name, last_name, CASE user_type WHEN 1 THEN 'admin' WHEN 2 THEN 'staff' ELSE 'student' END,
  is_active, is_staff, is_superuser, date_joined FROM legacy.accounts_customuser;
INSERT INTO profiles SELECT 'a' || id, 'admin', id, 'u' || user_id, '', NULL, NULL, NULL, created_at, updated_at FROM legacy.accounts_adminhod;
INSERT INTO profiles SELECT 's' || id, 'staff', id, 'u' || user_id, address, NULL, NULL, NULL, created_at, updated_at FROM legacy.accounts_staff;
INSERT INTO profiles SELECT 't' || id, 'student', id, 'u' || user_id, address, gender, course_id, session_year_id, created_at, updated_at FROM legacy.accounts_student;
INSERT INTO notes SELECT 'n' || id, id, 'u' || user_id, text, created_at FROM legacy.accounts_usernote;
INSERT INTO photos SELECT 'u' || user_id, user_id, content_type, sha256, data, uploaded_at FROM legacy.accounts_photo;
COMMIT";

fn main() -> Result<ExitCode> {
    let rows = std::env::args().nth(1).map_or(Ok(ROWS), |rows| rows.parse())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (mut ours, mut peers) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(runtime.block_on(ours_once(rows))?);
        peers.push(runtime.block_on(peer_once(rows))?);
    }
    let (value, peer) = (median(&mut ours), median(&mut peers));
    let met = value >= BAR;
    println!(
        "{}",
        serde_json::json!({
            "bench": "backfill_sqlite", "metric": "rows_per_second", "value": value.round(), "unit": "rows/s",
            "peer": "sqlite insert-select", "peer_value": peer.round(), "ratio": (value / peer * 1000.0).round() / 1000.0,
            "bar": BAR, "ok": met,
        })
    );
    Ok(if met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The agent, from its start to both streams running. Rows per second.
async fn ours_once(rows: u64) -> Result<f64> {
    let directory = tempfile::tempdir()?;
    filled(directory.path(), rows).await?;
    let url = |side: Side| format!("sqlite://{}", directory.path().join(side.as_str()).display());
    let databases = BTreeMap::from([("monolith".to_owned(), url(Side::Legacy)), ("users-service".to_owned(), url(Side::Modern))]);
    let began = Instant::now();
    let agent = Agent::start(Config::new("bench", databases)).await?;
    agent.order(orders());
    let copied = loop {
        let report = agent.report().capabilities.remove("users").unwrap_or_default();
        if let Some(trouble) = report.trouble {
            return Err(trouble.into());
        }
        if report.backfill.complete && report.forward.live && report.reverse.live {
            break report.backfill.done;
        }
        if began.elapsed() > PATIENCE {
            return Err("the copy takes too long".into());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    let took = began.elapsed();
    agent.stop().await;
    if copied != rows {
        return Err(format!("{copied} rows were copied, not {rows}").into());
    }
    Ok(rate(rows, took))
}

/// The plain copy. Rows per second.
async fn peer_once(rows: u64) -> Result<f64> {
    let directory = tempfile::tempdir()?;
    filled(directory.path(), rows).await?;
    let mut modern = open(&directory.path().join(Side::Modern.as_str()), SqliteSynchronous::Full).await?;
    let attach = format!("ATTACH '{}' AS legacy", directory.path().join(Side::Legacy.as_str()).display());
    run(&mut modern, &attach).await?;
    let began = Instant::now();
    run(&mut modern, PLAIN).await?;
    let took = began.elapsed();
    modern.close().await?;
    Ok(rate(rows, took))
}

/// Both databases, with that many rows in legacy.
async fn filled(directory: &Path, rows: u64) -> Result<()> {
    let users = rows / 3;
    let fill = FILL.replace("{users}", &users.to_string()).replace("{photos}", &(rows - 3 * users).to_string());
    for (side, statements) in [(Side::Legacy, [LEGACY, &fill]), (Side::Modern, [MODERN, ""])] {
        let mut connection = open(&directory.join(side.as_str()), SqliteSynchronous::Off).await?;
        for statement in statements {
            run(&mut connection, statement).await?;
        }
        run(&mut connection, "PRAGMA wal_checkpoint(TRUNCATE)").await?;
        connection.close().await?;
    }
    Ok(())
}

fn orders() -> Orders {
    let users = CapabilityOrders {
        epoch: 1,
        owner: Side::Legacy,
        sync: SyncOrder::Run,
        may_copy: true,
        fenced: Fences::default(),
        mark_end: None,
        strays: ficus_rules::plan::StrayWrites::default(),
        carry_strays: false,
        end_sessions: false,
        leaves_aside: false,
        verify: None,
        raise_sequences: None,
        repair: None,
    };
    let rules = RULES.into_iter().map(|(name, text)| RuleFile { name: name.to_owned(), text: text.to_owned() }).collect();
    Orders { generation: 1, rules, capabilities: BTreeMap::from([("users".to_owned(), users)]) }
}

async fn open(path: &Path, synchronous: SqliteSynchronous) -> Result<SqliteConnection> {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true).foreign_keys(false);
    Ok(options.journal_mode(SqliteJournalMode::Wal).synchronous(synchronous).connect().await?)
}

async fn run(connection: &mut SqliteConnection, sql: &str) -> Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await?;
    Ok(())
}

#[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
fn rate(rows: u64, took: Duration) -> f64 {
    rows as f64 / took.as_secs_f64()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
