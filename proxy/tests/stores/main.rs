//! Django's sessions and users on real servers, in the tables that Django makes there.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../../../sync-agent/tests/support/mariadb.rs"]
mod mariadb;
#[path = "../../../sync-agent/tests/support/own.rs"]
mod own;
#[path = "../../../sync-agent/tests/support/postgres.rs"]
mod postgres;
#[path = "../gateway/support.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with another test")]
mod support;

use std::time::Duration;

use ficus_proxy::{DjangoIdentity, DrfTokens, RoleColumn, SessionDatabase};
use ficus_rules::Timestamp;
use ficus_rules::identity::django::{SESSION_SALT, Secrets, auth_hash};
use ficus_rules::identity::signing::dumps;
use sqlx::postgres::PgConnectOptions;
use support::{World, full, soaking};

const SECRET: &str = "the-key-of-this-test";
const HASH: &str = "pbkdf2_sha256$1000000$salt$hash=";
const SESSION: &str = "0123456789abcdefghijklmnopqrstuv";

/// The session data of a user.
fn data(user: &str) -> String {
    let json = format!(
        r#"{{"_auth_user_id":"{user}","_auth_user_backend":"django.contrib.auth.backends.ModelBackend","_auth_user_hash":"{}"}}"#,
        auth_hash(HASH, SECRET)
    );
    dumps(json.as_bytes(), SESSION_SALT, &Secrets { keys: vec![SECRET.into()] }, Timestamp(1_767_225_600_000))
}

async fn world(database: SessionDatabase) -> World {
    world_of(database, |_| {}).await
}

async fn world_of(database: SessionDatabase, change: impl FnOnce(&mut DjangoIdentity)) -> World {
    let world = World::with(|config| {
        let mut identity = DjangoIdentity::new(database, vec![SECRET.into()]);
        identity.users.table = "people".into();
        identity.users.role = Some(RoleColumn { column: "user_type".into(), map: [("3".to_owned(), "student".to_owned())].into() });
        identity.users.attributes = vec!["username".into()];
        identity.cache_for = Duration::from_millis(1);
        identity.tokens = Some(DrfTokens::default());
        change(&mut identity);
        config.identity.django = Some(identity);
    })
    .await;
    world.serve(soaking());
    world
}

/// Status, and whether modern got a token.
async fn ask(world: &World, session: &str) -> (u16, bool) {
    tokio::time::sleep(Duration::from_millis(10)).await;
    let got = world.send("POST", "/api/v1/users/me/", &[("cookie", &format!("sessionid={session}")), ("x-csrftoken", "-")], full("")).await;
    let token = world.modern.seen("/users/me/").pop().is_some_and(|seen| seen.headers.contains_key("authorization"));
    (got.status, token)
}

async fn knows(world: &World, session: &str) -> bool {
    tokio::time::sleep(Duration::from_millis(10)).await;
    world.send("GET", "/api/v1/users/me/", &[("cookie", &format!("sessionid={session}"))], full("")).await;
    world.modern.seen("/users/me/").pop().unwrap().headers.contains_key("authorization")
}

/// What holds on every engine. `run` does something in the database.
async fn holds(world: &World, run: impl AsyncFn(&str)) {
    for (session, user) in [(SESSION, "42"), ("session-of-nobody", "43"), ("session-of-no-number", "x'y")] {
        run(&format!("INSERT INTO django_session VALUES ('{session}', '{}', '2999-01-01 00:00:00')", data(user))).await;
    }
    run(&format!("INSERT INTO django_session VALUES ('expired-session', '{}', '2020-01-01 00:00:00')", data("42"))).await;
    assert!(knows(world, SESSION).await);
    let by_token = async |token: &str| {
        let header = format!("Token {token}");
        world.send("GET", "/api/v1/users/me/", &[("authorization", &header)], full("")).await;
        world.modern.seen("/users/me/").pop().unwrap().headers.contains_key("authorization")
    };
    assert!(by_token("abcdef0123456789").await);
    for stranger in ["ABCDEF0123456789", "abcdef012345678", "no-token-at-all"] {
        assert!(!by_token(stranger).await, "{stranger}");
    }
    for stranger in ["session-of-nobody", "session-of-no-number", "expired-session", "no-session-at-all", "' OR 1 = 1 -- "] {
        assert!(!knows(world, stranger).await, "{stranger}");
    }
    run("UPDATE people SET is_active = false").await;
    assert!(!knows(world, SESSION).await, "the account was closed");
    run("UPDATE people SET is_active = true").await;
    assert!(knows(world, SESSION).await);
    run("UPDATE people SET password = 'another'").await;
    assert!(!knows(world, SESSION).await, "the password was changed");
}

/// A user model without Django's usual columns.
async fn by_address(database: SessionDatabase, run: impl AsyncFn(&str)) {
    run("CREATE TABLE members (number bigint PRIMARY KEY, password varchar(128) NOT NULL, email varchar(150) NOT NULL)").await;
    run(&format!("INSERT INTO members VALUES (42, '{HASH}', 'ada@example.org')")).await;
    let world = world_of(database, |identity| {
        identity.users.table = "members".into();
        identity.users.id_column = "number".into();
        identity.users.username_column = "email".into();
        identity.users.active_column = None;
        identity.users.role = None;
        identity.users.attributes.clear();
    })
    .await;
    assert!(knows(&world, SESSION).await);
    assert!(!knows(&world, "session-of-nobody").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_in_postgresql() {
    let server = postgres::Server::start(&[]);
    let name = server.database().await;
    let options = PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(server.port).username(postgres::AGENT).database(&name);
    let options = options.password(postgres::PASSWORD);
    let mut app = server.app(&name).await;
    for statement in [
        "CREATE TABLE django_session (session_key varchar(40) PRIMARY KEY, session_data text NOT NULL, expire_date timestamptz NOT NULL)",
        "CREATE TABLE people (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, password varchar(128) NOT NULL, username varchar(150) NOT NULL UNIQUE, is_active boolean NOT NULL, user_type smallint NOT NULL)",
        "CREATE TABLE authtoken_token (key varchar(40) PRIMARY KEY, created timestamptz NOT NULL, user_id bigint NOT NULL)",
        "INSERT INTO authtoken_token VALUES ('abcdef0123456789', now(), 42)",
    ] {
        postgres::exec(&mut app, statement).await;
    }
    postgres::exec(&mut app, &format!("INSERT INTO people VALUES (42, '{HASH}', 'student42', true, 3)")).await;
    let app = tokio::sync::Mutex::new(app);
    let others = options.clone();
    let world = world(SessionDatabase::Postgres(Box::new(options))).await;
    let run = async |sql: &str| postgres::exec(&mut *app.lock().await, sql).await;
    holds(&world, &run).await;
    by_address(SessionDatabase::Postgres(Box::new(others)), &run).await;

    drop(server);
    assert_eq!(ask(&world, SESSION).await.0, 503, "without the database nobody knows who writes");
}

#[tokio::test(flavor = "multi_thread")]
async fn users_with_uuids_in_postgresql() {
    let server = postgres::Server::start(&[]);
    let name = server.database().await;
    let options = PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(server.port).username(postgres::AGENT).database(&name);
    let options = options.password(postgres::PASSWORD);
    let mut app = server.app(&name).await;
    let uuid = "550e8400-e29b-41d4-a716-446655440042";
    for statement in [
        "CREATE TABLE django_session (session_key varchar(40) PRIMARY KEY, session_data text NOT NULL, expire_date timestamptz NOT NULL)",
        "CREATE TABLE people (id uuid PRIMARY KEY, password varchar(128), username varchar(150), is_active boolean, user_type text)",
        &format!("INSERT INTO people VALUES ('{uuid}', '{HASH}', 'student42', true, 'teacher')"),
        &format!("INSERT INTO django_session VALUES ('{SESSION}', '{}', '2999-01-01')", data(uuid)),
        &format!("INSERT INTO django_session VALUES ('session-of-no-uuid', '{}', '2999-01-01')", data("42")),
    ] {
        postgres::exec(&mut app, statement).await;
    }
    let world = world(SessionDatabase::Postgres(Box::new(options))).await;
    assert!(knows(&world, SESSION).await);
    assert!(!knows(&world, "session-of-no-uuid").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_in_mariadb() {
    use mysql_async::prelude::Queryable as _;
    let server = mariadb::Server::start(&[]);
    let name = server.database().await;
    let options = mysql_async::Opts::from_url(&server.url(&name).replacen("mariadb://", "mysql://", 1)).unwrap();
    let mut app = server.root(&name).await;
    // The server's own time must not matter.
    app.query_drop("SET GLOBAL time_zone = '+11:00'").await.unwrap();
    for statement in [
        "CREATE TABLE django_session (session_key varchar(40) PRIMARY KEY, session_data longtext NOT NULL, expire_date datetime(6) NOT NULL)",
        "CREATE TABLE people (id bigint AUTO_INCREMENT PRIMARY KEY, password varchar(128) NOT NULL, username varchar(150) NOT NULL UNIQUE, is_active bool NOT NULL, user_type smallint NOT NULL)",
        &format!("INSERT INTO people VALUES (42, '{HASH}', 'student42', true, 3)"),
        &format!("INSERT INTO django_session VALUES ('hours-left', '{}', UTC_TIMESTAMP() + INTERVAL 2 HOUR)", data("42")),
        "CREATE TABLE authtoken_token (`key` varchar(40) PRIMARY KEY, created datetime(6) NOT NULL, user_id bigint NOT NULL)",
        "INSERT INTO authtoken_token VALUES ('abcdef0123456789', now(), 42)",
    ] {
        mariadb::exec(&mut app, statement).await;
    }
    let app = tokio::sync::Mutex::new(app);
    let others = options.clone();
    let world = world(SessionDatabase::MariaDb(options)).await;
    assert!(knows(&world, "hours-left").await);
    let run = async |sql: &str| mariadb::exec(&mut *app.lock().await, sql).await;
    holds(&world, &run).await;
    by_address(SessionDatabase::MariaDb(others), &run).await;

    drop(server);
    assert_eq!(ask(&world, SESSION).await.0, 503, "without the database nobody knows who writes");
}
