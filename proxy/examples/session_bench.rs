//! How long it takes to know a caller: Django's signed cookie decoded and tied to the password, and a session of the database
//! that was looked up a moment ago. Prints one JSON object a line; fails if a bar is missed.

use std::hint::black_box;
use std::time::{Duration, Instant};

use ficus_proxy::{DjangoIdentity, Identity, SessionDatabase};
use ficus_rules::Timestamp;
use ficus_rules::identity::django::{
    COOKIE_SESSION_SALT, MODEL_BACKEND, SESSION_AGE, SESSION_SALT, Secrets, auth_hash, hash_matches, read_cookie_session,
};
use ficus_rules::identity::signing::dumps;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

const SECRET: &str = "the-key-of-this-bench";
const PASSWORD: &str = "pbkdf2_sha256$1000000$salt$hash=";
const ROUNDS: usize = 9;
const TIMES: u32 = 20_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let secrets = Secrets { keys: vec![SECRET.into()] };
    let hash = auth_hash(PASSWORD, SECRET);
    let json = format!(r#"{{"_auth_user_id":"42","_auth_user_backend":"{MODEL_BACKEND}","_auth_user_hash":"{hash}"}}"#);
    let now = Timestamp::from(std::time::SystemTime::now());
    let cookie = dumps(json.as_bytes(), COOKIE_SESSION_SALT, &secrets, now);
    let decode = || {
        let session = read_cookie_session(black_box(&cookie), &secrets, SESSION_AGE, now).ok()?;
        session.user.filter(|user| hash_matches(user, PASSWORD, &secrets))
    };
    assert!(decode().is_some(), "the cookie is genuine");
    let decoded = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        (0..TIMES).for_each(|_| drop(black_box(decode())));
        start.elapsed() / TIMES
    });
    let decoded = median(decoded.collect());

    let options = SqliteConnectOptions::new().filename(std::env::temp_dir().join(format!("ficus-session-bench-{}", std::process::id())));
    let pool = SqlitePool::connect_with(options.clone().create_if_missing(true)).await?;
    for statement in [
        "CREATE TABLE django_session (session_key text PRIMARY KEY, session_data text, expire_date text)",
        "CREATE TABLE auth_user (id integer PRIMARY KEY, password text, username text, is_active bool)",
        "INSERT INTO auth_user VALUES (42, 'pbkdf2_sha256$1000000$salt$hash=', 'ada', 1)",
    ] {
        sqlx::query(statement).execute(&pool).await?;
    }
    let key = "0123456789abcdefghijklmnopqrstuv";
    let row = dumps(json.as_bytes(), SESSION_SALT, &secrets, now);
    sqlx::query("INSERT INTO django_session VALUES (?, ?, '2999-01-01')").bind(key).bind(row).execute(&pool).await?;
    let mut django = DjangoIdentity::new(SessionDatabase::Sqlite(Box::new(options.clone())), vec![SECRET.into()]);
    django.cache_for = Duration::from_secs(600);
    let settings = Identity { django: Some(django), ..Identity::default() };
    let headers = [("cookie".parse()?, format!("csrftoken=abc; sessionid={key}").parse()?)].into_iter().collect::<http::HeaderMap>();
    let mut cached = Vec::new();
    for _ in 0..ROUNDS {
        cached.push(ficus_proxy::time_look_ups(&settings, headers.clone(), TIMES).await?);
    }
    pool.close().await;
    std::fs::remove_file(options.get_filename())?;
    let fine = [line("django_signed_cookie", decoded, 20.0), line("django_session_from_cache", median(cached), 5.0)];
    if fine.contains(&false) { Err("a bar is missed".into()) } else { Ok(()) }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Prints a figure beside its bar, both in microseconds.
fn line(metric: &str, time: Duration, bar: f64) -> bool {
    let value = time.as_secs_f64() * 1e6;
    let told = serde_json::json!({"bench": "session", "metric": metric, "value": (value * 100.0).round() / 100.0, "unit": "us", "bar": bar, "ok": value < bar});
    println!("{told}");
    value < bar
}
