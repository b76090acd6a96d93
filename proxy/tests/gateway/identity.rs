//! Django's session becomes a token for the new service.

use std::time::Duration;

use ficus_proxy::{Config, DjangoIdentity, RoleColumn, SessionDatabase};
use ficus_rules::Timestamp;
use ficus_rules::identity::django::{SESSION_SALT, Secrets, auth_hash};
use ficus_rules::identity::signing::dumps;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

use super::support::{Got, World, full, ramping, soaking};

const SECRET: &str = "strangler-test-secret-key";
const PASSWORD: &str = "pbkdf2_sha256$1000000$salt$hash=";
const SESSION: &str = "0123456789abcdefghijklmnopqrstuv";

struct Django {
    _folder: tempfile::TempDir,
    path: std::path::PathBuf,
    pool: SqlitePool,
}

impl Django {
    async fn start() -> Django {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db.sqlite3");
        let pool = SqlitePool::connect_with(SqliteConnectOptions::new().filename(&path).create_if_missing(true)).await.unwrap();
        for statement in [
            "CREATE TABLE django_session (session_key varchar(40) PRIMARY KEY, session_data text NOT NULL, expire_date datetime NOT NULL)",
            "CREATE TABLE accounts_customuser (id integer PRIMARY KEY AUTOINCREMENT, password varchar(128), username varchar(150), is_active bool, user_type integer)",
        ] {
            sqlx::query(statement).execute(&pool).await.unwrap();
        }
        let django = Django { _folder: folder, path, pool };
        django.run("INSERT INTO accounts_customuser VALUES (42, ?, 'student42', 1, 3)", &[PASSWORD]).await;
        let json = format!(
            r#"{{"_auth_user_id":"42","_auth_user_backend":"django.contrib.auth.backends.ModelBackend","_auth_user_hash":"{}"}}"#,
            auth_hash(PASSWORD, SECRET)
        );
        let data = dumps(json.as_bytes(), SESSION_SALT, &Secrets { keys: vec![SECRET.into()] }, Timestamp(1_767_225_600_000));
        django.run("INSERT INTO django_session VALUES (?, ?, '2999-01-01 00:00:00.000000')", &[SESSION, &data]).await;
        django.run("INSERT INTO django_session VALUES ('expired-session-key', ?, '2020-01-01 00:00:00.000000')", &[&data]).await;
        let elsewhere = json.replace("auth.backends.ModelBackend", "auth.backends.RemoteUserBackend");
        let elsewhere = dumps(elsewhere.as_bytes(), SESSION_SALT, &Secrets { keys: vec![SECRET.into()] }, Timestamp(1_767_225_600_000));
        django.run("INSERT INTO django_session VALUES ('another-backend', ?, '2999-01-01 00:00:00.000000')", &[&elsewhere]).await;
        django
            .run("INSERT INTO django_session VALUES ('forged-session-key', ?, '2999-01-01 00:00:00.000000')", &[&data.replace(":1", ":2")])
            .await;
        django
    }

    async fn run(&self, sql: &'static str, values: &[&str]) {
        let mut query = sqlx::query(sql);
        for value in values {
            query = query.bind((*value).to_owned());
        }
        query.execute(&self.pool).await.unwrap();
    }

    fn configure(&self, config: &mut Config) {
        let mut identity =
            DjangoIdentity::new(SessionDatabase::Sqlite(Box::new(SqliteConnectOptions::new().filename(&self.path))), vec![SECRET.into()]);
        identity.user_table = "accounts_customuser".into();
        let roles = [("1", "admin"), ("2", "staff"), ("3", "student")];
        let map = roles.map(|(value, role)| (value.to_owned(), role.to_owned())).into();
        identity.role = Some(RoleColumn { column: "user_type".into(), map });
        identity.cache_for = Duration::from_millis(100);
        config.identity = Some(identity);
    }
}

async fn with_session(world: &World, method: &str, path: &str, session: &str) -> Got {
    world.send(method, path, &[("cookie", &format!("csrftoken=abc; sessionid={session}"))], full("")).await
}

/// The claims of the token that modern saw last.
fn claims(world: &World) -> Option<Value> {
    let seen = world.modern.seen("/users/").pop().unwrap().headers;
    let token = seen.get("authorization")?.to_str().unwrap().strip_prefix("Bearer ").unwrap().to_owned();
    let jwks = world.gateway.jwks();
    let key = DecodingKey::from_ed_components(jwks["keys"][0]["x"].as_str().unwrap()).unwrap();
    let mut expected = Validation::new(Algorithm::EdDSA);
    expected.set_audience(&["users-service"]);
    expected.set_issuer(&["ficus"]);
    Some(decode::<Value>(&token, &key, &expected).unwrap().claims)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_becomes_a_token_and_its_cookie_stays_behind() {
    let django = Django::start().await;
    let world = World::with(|config| django.configure(config)).await;
    world.serve(soaking());
    assert_eq!(with_session(&world, "GET", "/api/v1/users/me/", SESSION).await.side(), "modern");
    let told = claims(&world).expect("a token");
    assert_eq!((&told["sub"], &told["username"], &told["role"]), (&"42".into(), &"student42".into(), &"student".into()));
    assert_eq!(world.modern.seen("/users/me/")[0].headers["cookie"], "csrftoken=abc");
    for stranger in ["another-backend", "expired-session-key", "forged-session-key", "no-such-session-key", "short"] {
        with_session(&world, "GET", "/api/v1/users/me/", stranger).await;
        assert_eq!(claims(&world), None, "{stranger}");
    }
    with_session(&world, "GET", "/elsewhere/", SESSION).await;
    let legacy = world.legacy.seen("/elsewhere/").remove(0).headers;
    assert_eq!(legacy["cookie"], format!("csrftoken=abc; sessionid={SESSION}"), "legacy reads its own cookie");
    assert!(!legacy.contains_key("authorization"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strange_cookie_neither_hides_the_session_nor_shows_it_to_modern() {
    let django = Django::start().await;
    let world = World::with(|config| django.configure(config)).await;
    world.serve(soaking());
    let mut head = b"GET /api/v1/users/me/ HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncookie: name=J\xf6rg; sessionid=".to_vec();
    head.extend_from_slice(SESSION.as_bytes());
    head.extend_from_slice(b"\r\ncookie: b=1; sessionid=");
    head.extend_from_slice(SESSION.as_bytes());
    head.extend_from_slice(b"\r\n\r\n");
    let mut socket = tokio::net::TcpStream::connect(world.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut socket, &head).await.unwrap();
    tokio::io::AsyncReadExt::read_to_end(&mut socket, &mut Vec::new()).await.unwrap();
    assert_eq!(claims(&world).expect("a token")["sub"], "42");
    let seen = world.modern.seen("/users/me/").remove(0).headers;
    assert_eq!(seen.get_all("cookie").iter().map(|line| line.as_bytes()).collect::<Vec<_>>(), [b"name=J\xf6rg; b=1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_the_password_the_account_or_a_log_out() {
    let django = Django::start().await;
    let world = World::with(|config| django.configure(config)).await;
    world.serve(soaking());
    let known = async || {
        tokio::time::sleep(Duration::from_millis(120)).await;
        with_session(&world, "GET", "/api/v1/users/me/", SESSION).await;
        claims(&world).is_some()
    };
    assert!(known().await);
    django.run("UPDATE accounts_customuser SET password = 'another'", &[]).await;
    assert!(!known().await, "the password was changed");
    django.run("UPDATE accounts_customuser SET password = ?, is_active = 0", &[PASSWORD]).await;
    assert!(!known().await, "the account was closed");
    django.run("UPDATE accounts_customuser SET is_active = 1", &[]).await;
    assert!(known().await);
    django.run("DELETE FROM django_session", &[]).await;
    with_session(&world, "POST", "/accounts/logout/", SESSION).await;
    with_session(&world, "GET", "/api/v1/users/me/", SESSION).await;
    assert_eq!(claims(&world), None, "at once, without waiting for the cache");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_session_database_reads_go_to_legacy_and_writes_of_modern_wait() {
    let django = Django::start().await;
    let world = World::with(|config| django.configure(config)).await;
    django.pool.close().await;
    std::fs::remove_file(&django.path).unwrap();
    world.serve(ramping(100));
    let read = with_session(&world, "GET", "/api/v1/users/me/", SESSION).await;
    assert_eq!((read.status, read.side()), (200, "legacy"));
    assert_eq!(with_session(&world, "POST", "/api/v1/users/me/", SESSION).await.side(), "legacy");
    assert_eq!(world.get("/api/v1/users/me/").await.side(), "modern", "a stranger needs no look-up");
    world.serve(soaking());
    let write = with_session(&world, "POST", "/api/v1/users/me/", SESSION).await;
    assert_eq!((write.status, write.header("retry-after")), (503, "1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_reported_while_sessions_cannot_be_looked_up() {
    let django = Django::start().await;
    let world = World::with(|config| django.configure(config)).await;
    world.serve(ramping(100));
    let reads_from = async || with_session(&world, "GET", "/api/v1/users/me/", SESSION).await.side().to_owned();
    let unread = || world.gateway.report().sessions_unread;
    assert_eq!((reads_from().await, unread()), ("modern".into(), None));
    django.run("ALTER TABLE django_session RENAME TO elsewhere", &[]).await;
    tokio::time::sleep(Duration::from_millis(120)).await;
    assert_eq!((reads_from().await, unread()), ("legacy".into(), Some("sessionid".into())));
    django.run("ALTER TABLE elsewhere RENAME TO django_session", &[]).await;
    assert_eq!((reads_from().await, unread()), ("modern".into(), None));
}
