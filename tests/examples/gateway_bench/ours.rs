//! The gateways of ours that are measured: `ficus run` with one worker, as it stands in front of a server.
//!
//! *Routing*: rules with so many routes, one of which is asked for; metrics are always on. *Everything*: the same caller
//! besides has a session that is looked up (and believed for a second, as always), a bucket of which modern serves a half, a
//! flag on the route, and a line in the access log.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use ficus_rules::Timestamp;
use ficus_rules::identity::django::{SESSION_SALT, Secrets, auth_hash};
use ficus_rules::identity::signing::dumps;
use ficus_tests::operator::Operator;
use ficus_tests::process::{Process, free_port};
use ficus_tests::school::{self, SECRET_KEY};
use serde_json::json;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

use crate::cpu::Processors;

/// Routes of one capability.
const ROUTES_EACH: usize = 1_000;
/// The stored password of everybody.
const PASSWORD: &str = "pbkdf2_sha256$1000000$salt$hash=";

const FLAGS: &str = "[flag.new-items]\ndescription = \"The new list of items\"\ndefault = true\n";

const EVERYTHING: &str = r#"
[capability]
name = "items"
legacy = "monolith"
modern = "service"
[[route]]
path = "/api/v1/items/{id}/"
flag = "new-items"
[[step]]
reads = "50%"
hold = "1h"
[[step]]
reads = "100%"
[[step]]
cutover = true
[[step]]
soak = "7d"
"#;

/// One of ours that serves.
pub(crate) struct Ours {
    pub(crate) process: Process,
    pub(crate) port: u16,
}

/// Starts one that routes by so many routes.
///
/// # Errors
/// It does not come up.
pub(crate) async fn routing(directory: &Path, processors: &Processors, behind: u16, routes: usize) -> Result<Ours> {
    let mut rules = Vec::new();
    for number in 0..routes.div_ceil(ROUTES_EACH) {
        let mut text = format!("[capability]\nname = \"part-{number}\"\nlegacy = \"monolith\"\nmodern = \"service\"\n");
        for route in 0..ROUTES_EACH.min(routes) {
            match (number, route) {
                (0, 0) => text.push_str("[[route]]\npath = \"/api/v1/items/{id}/\"\n"),
                _ => writeln!(text, "[[route]]\npath = \"/api/v1/part-{number}/things-{route}/{{id}}/\"")?,
            }
        }
        text.push_str("[[step]]\ncutover = true\n[[step]]\nsoak = \"7d\"\n");
        rules.push((format!("part-{number}.toml"), text));
    }
    let ours = start(directory, processors, behind, &rules, "").await?;
    ensure!(explained(&ours, directory, "part-0").await?, "the request takes another route than it should");
    Ok(ours.1)
}

/// Starts one that does everything, and logs in so many users: their session cookies.
///
/// # Errors
/// It does not come up, or its capability does not ramp.
pub(crate) async fn everything(directory: &Path, processors: &Processors, behind: u16, users: usize) -> Result<(Ours, Vec<String>)> {
    std::fs::create_dir_all(directory)?;
    std::fs::write(directory.join("django-secret.key"), SECRET_KEY)?;
    let sessions = directory.join("sessions.sqlite3");
    let cookies = log_in(&sessions, users).await?;
    let more = format!(
        "\n[upstream.sessions]\naddress = \"127.0.0.1:9\"\ndatabase = \"sqlite://{}\"\n\n[identity.django]\nupstream = \"sessions\"\n\
         secret_key_file = \"django-secret.key\"\n\n[gateway.access_log]\nto = \"access.log\"\n",
        sessions.display()
    );
    let rules = [("flags.toml".to_owned(), FLAGS.to_owned()), ("items.toml".to_owned(), EVERYTHING.to_owned())];
    let ours = start(directory, processors, behind, &rules, &more).await?;
    let operator = operator(&ours, directory)?;
    operator.type_in(&["advance", "items"]).await?;
    operator.until_phase("items", "ramping", Duration::from_secs(30)).await?;
    Ok((ours.1, cookies))
}

/// The address of the admin API, and the process.
type Started = (String, Ours);

async fn start(directory: &Path, processors: &Processors, behind: u16, rules: &[(String, String)], more: &str) -> Result<Started> {
    std::fs::create_dir_all(directory.join("rules"))?;
    let (port, admin) = (free_port()?, free_port()?);
    let config = format!(
        "[gateway]\nlisten = [\"127.0.0.1:{port}\"]\ndefault = \"monolith\"\nthreads = 1\n\n[orchestrator]\nlisten = \"127.0.0.1:{admin}\"\n\n\
         [upstream.monolith]\naddress = \"127.0.0.1:{behind}\"\n\n[upstream.service]\naddress = \"127.0.0.1:{behind}\"\n{more}"
    );
    std::fs::write(directory.join("ficus.toml"), config)?;
    for (name, text) in rules {
        std::fs::write(directory.join("rules").join(name), text)?;
    }
    let mut command = std::process::Command::new(school::binary("ficus")?);
    command.args(["--config", "ficus.toml", "run"]).current_dir(directory);
    let process = processors.over_there(|| Process::start("ficus", &mut command, &directory.join("ficus.log")))?;
    let admin = format!("http://127.0.0.1:{admin}");
    school::until_up(&admin, "/ready").await?;
    Ok((admin, Ours { process, port }))
}

fn operator((admin, _): &Started, directory: &Path) -> Result<Operator> {
    Operator::new(&directory.join("ficus.toml"), admin)
}

async fn explained(started: &Started, directory: &Path, capability: &str) -> Result<bool> {
    let told = operator(started, directory)?.type_in(&["explain", "--json", "GET", "/api/v1/items/17/"]).await?;
    Ok(told.contains(&format!("\"{capability}\"")))
}

/// Django's two tables, with users and their sessions.
async fn log_in(path: &Path, users: usize) -> Result<Vec<String>> {
    let pool = SqlitePool::connect_with(SqliteConnectOptions::new().filename(path).create_if_missing(true)).await?;
    for statement in [
        "CREATE TABLE django_session (session_key varchar(40) PRIMARY KEY, session_data text NOT NULL, expire_date datetime NOT NULL)",
        "CREATE TABLE auth_user (id integer PRIMARY KEY, password varchar(128), username varchar(150), is_active bool)",
    ] {
        sqlx::query(statement).execute(&pool).await?;
    }
    let (secrets, mut cookies) = (Secrets { keys: vec![SECRET_KEY.into()] }, Vec::new());
    for user in 1..=u32::try_from(users)? {
        let insert = sqlx::query("INSERT INTO auth_user VALUES (?, ?, ?, 1)");
        insert.bind(user).bind(PASSWORD).bind(format!("user{user}")).execute(&pool).await?;
        let claims = json!({
            "_auth_user_id": user.to_string(), "_auth_user_backend": "django.contrib.auth.backends.ModelBackend", "_auth_user_hash": auth_hash(PASSWORD, SECRET_KEY)
        });
        let data = dumps(claims.to_string().as_bytes(), SESSION_SALT, &secrets, Timestamp::from(SystemTime::now()));
        let key = format!("session{user:025}");
        let insert = sqlx::query("INSERT INTO django_session VALUES (?, ?, '2999-01-01 00:00:00.000000')");
        insert.bind(&key).bind(data).execute(&pool).await?;
        cookies.push(key);
    }
    pool.close().await;
    Ok(cookies)
}
