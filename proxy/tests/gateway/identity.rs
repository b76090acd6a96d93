//! Django's session becomes a token for the new service.

use std::time::{Duration, Instant};

use ficus_proxy::{Config, DjangoIdentity, DjangoSessions, DrfTokens, MonolithIdentity, RoleColumn, SessionDatabase};
use ficus_rules::Timestamp;
use ficus_rules::identity::django::{COOKIE_SESSION_SALT, SESSION_SALT, Secrets, auth_hash};
use ficus_rules::identity::signing::dumps;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

use super::support::{Got, Origin, World, claims, full, now, ramping, soaking};

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
            "CREATE TABLE authtoken_token (key varchar(40) PRIMARY KEY, created datetime NOT NULL, user_id integer NOT NULL)",
            "CREATE TABLE accounts_customuser (id integer PRIMARY KEY AUTOINCREMENT, password varchar(128), username varchar(150), is_active bool, user_type integer)",
        ] {
            sqlx::query(statement).execute(&pool).await.unwrap();
        }
        let django = Django { _folder: folder, path, pool };
        django.run("INSERT INTO accounts_customuser VALUES (42, ?, 'student42', 1, 3)", &[PASSWORD]).await;
        let json = session("");
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
        config.identity.django = Some(self.identity());
    }

    fn identity(&self) -> DjangoIdentity {
        let mut identity =
            DjangoIdentity::new(SessionDatabase::Sqlite(Box::new(SqliteConnectOptions::new().filename(&self.path))), vec![SECRET.into()]);
        identity.users.table = "accounts_customuser".into();
        let roles = [("1", "admin"), ("2", "staff"), ("3", "student")];
        let map = roles.map(|(value, role)| (value.to_owned(), role.to_owned())).into();
        identity.users.role = Some(RoleColumn { column: "user_type".into(), map });
        identity.cache_for = Duration::from_millis(100);
        identity
    }
}

/// The JSON of a session of user 42.
fn session(more: &str) -> String {
    format!(
        r#"{{"_auth_user_id":"42","_auth_user_backend":"django.contrib.auth.backends.ModelBackend","_auth_user_hash":"{}"{more}}}"#,
        auth_hash(PASSWORD, SECRET)
    )
}

fn secrets() -> Secrets {
    Secrets { keys: vec![SECRET.into()] }
}

async fn with_session(world: &World, method: &str, path: &str, session: &str) -> Got {
    world.send(method, path, &[("cookie", &format!("csrftoken=abc; sessionid={session}"))], full("")).await
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

/// Its rows are genuine: only what is looked at before they are asked for tells.
#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_no_key_is_not_looked_up() {
    let django = Django::start().await;
    let long = "x".repeat(65);
    for key in ["short", &long, "with a space"] {
        django
            .run(
                "INSERT INTO django_session SELECT ?, session_data, expire_date FROM django_session WHERE session_key = ?",
                &[key, SESSION],
            )
            .await;
        django.run("INSERT INTO authtoken_token VALUES (?, '2026-01-01', 42)", &[key]).await;
    }
    let world = World::with(|config| {
        config.identity.django = Some(DjangoIdentity { tokens: Some(DrfTokens::default()), ..django.identity() });
    })
    .await;
    world.serve(soaking());
    assert_eq!(told_by_cookie(&world, SESSION).await.as_deref(), Some("42"));
    for key in ["short", &long, "with a space"] {
        assert_eq!(told_by_cookie(&world, key).await, None, "{key}");
        assert_eq!(told(&world, &[("authorization", &format!("Token {key}"))]).await, None, "{key}");
    }
    // Nor are they a reason to send anybody elsewhere while the database is away.
    django.run("ALTER TABLE django_session RENAME TO elsewhere", &[]).await;
    world.serve(ramping(100));
    assert_eq!(with_session(&world, "GET", "/api/v1/users/me/", "short").await.side(), "modern");
    assert_eq!(with_session(&world, "GET", "/api/v1/users/me/", "no-such-session-key").await.side(), "legacy");
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

/// The user that modern is told of after a read with these headers.
async fn told(world: &World, headers: &[(&str, &str)]) -> Option<String> {
    world.send("GET", "/api/v1/users/me/", headers, full("")).await;
    claims(world).map(|claims| claims["sub"].as_str().unwrap().to_owned())
}

async fn told_by_cookie(world: &World, session: &str) -> Option<String> {
    told(world, &[("cookie", &format!("sessionid={session}"))]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_in_files_are_read_until_they_expire() {
    let django = Django::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let world = World::with(|config| {
        let sessions = DjangoSessions::Files(path.clone());
        config.identity.django = Some(DjangoIdentity { sessions, session_age: Duration::from_secs(3600), ..django.identity() });
    })
    .await;
    world.serve(soaking());
    let write = |key: &str, json: &str| {
        let file = path.join(format!("sessionid{key}"));
        std::fs::write(&file, dumps(json.as_bytes(), SESSION_SALT, &secrets(), Timestamp(1_767_225_600_000))).unwrap();
        file
    };
    write(SESSION, &session(""));
    assert_eq!(told_by_cookie(&world, SESSION).await.as_deref(), Some("42"));
    let old = write("of-an-hour-ago".replace('-', "").as_str(), &session(""));
    let hour = std::time::SystemTime::now() - Duration::from_secs(3601);
    std::fs::File::options().write(true).open(old).unwrap().set_modified(hour).unwrap();
    write("expired1", &session(r#","_session_expiry":"2020-01-01T00:00:00+00:00""#));
    std::fs::create_dir(path.join("sessioniddirectory")).unwrap();
    for stranger in ["ofanhourago", "expired1", "nosuchsession", "../../etc/passwd"] {
        assert_eq!(told_by_cookie(&world, stranger).await, None, "{stranger}");
    }
    assert_eq!(world.gateway.report().sessions_unread, None);
    let unread = world.send("GET", "/api/v1/users/me/", &[("cookie", "sessionid=directory")], full("")).await;
    assert_eq!((unread.side(), world.gateway.report().sessions_unread.as_deref()), ("legacy", Some("sessionid")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_in_the_cookie_ends_with_its_age_the_password_or_a_log_out_through_this_gateway() {
    let django = Django::start().await;
    let world = World::with(|config| {
        config.identity.django = Some(DjangoIdentity { sessions: DjangoSessions::Cookie, ..django.identity() });
    })
    .await;
    world.serve(soaking());
    let sign = |json: &str, at: Timestamp| dumps(json.as_bytes(), COOKIE_SESSION_SALT, &secrets(), at);
    let (mine, other) = (sign(&session(""), now()), sign(&session(r#","other":1"#), now()));
    assert_eq!(told_by_cookie(&world, &mine).await.as_deref(), Some("42"));
    for stranger in [sign(&session(""), Timestamp(1_600_000_000_000)), mine.replace(":1", ":2"), SESSION.to_owned(), "x".repeat(5_000)] {
        assert_eq!(told_by_cookie(&world, &stranger).await, None);
    }
    with_session(&world, "POST", "/accounts/logout/", &mine).await;
    tokio::time::sleep(Duration::from_millis(120)).await;
    assert_eq!(told_by_cookie(&world, &mine).await, None, "Django itself would still take it");
    assert_eq!(told_by_cookie(&world, &other).await.as_deref(), Some("42"), "another browser of the same user");
    django.run("UPDATE accounts_customuser SET password = 'another'", &[]).await;
    tokio::time::sleep(Duration::from_millis(120)).await;
    assert_eq!(told_by_cookie(&world, &other).await, None, "the password was changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_rest_framework_names_its_user_needs_no_csrf_and_wins_over_a_session() {
    let django = Django::start().await;
    django.run("INSERT INTO accounts_customuser VALUES (7, 'another', 'machine', 1, 2)", &[]).await;
    django.run("INSERT INTO authtoken_token VALUES ('0123456789abcdef0123456789abcdef01234567', '2026-01-01', 7)", &[]).await;
    let world = World::with(|config| {
        config.identity.django = Some(DjangoIdentity { tokens: Some(DrfTokens::default()), ..django.identity() });
    })
    .await;
    world.serve(soaking());
    let (good, bad) = ("Token 0123456789abcdef0123456789abcdef01234567", "Token 0123456789abcdef0123456789abcdef01234568");
    assert_eq!(told(&world, &[("authorization", good)]).await.as_deref(), Some("7"));
    let cookie = format!("sessionid={SESSION}");
    assert_eq!(told(&world, &[("authorization", good), ("cookie", &cookie)]).await.as_deref(), Some("7"));
    assert_eq!(told(&world, &[("authorization", bad), ("cookie", &cookie)]).await, None, "a bad token does not fall back to the cookie");
    assert_eq!(told(&world, &[("authorization", "Basic eDp5"), ("cookie", &cookie)]).await.as_deref(), Some("42"), "another scheme");
    let write = async |headers: &[(&str, &str)]| world.send("POST", "/forms/x", headers, full("{}")).await.status;
    assert_eq!(write(&[("authorization", good)]).await, 200, "no page of another site can send it");
    assert_eq!(write(&[("authorization", bad)]).await, 403);
    assert_eq!(write(&[("cookie", &cookie)]).await, 403);
    django.run("UPDATE accounts_customuser SET is_active = 0 WHERE id = 7", &[]).await;
    tokio::time::sleep(Duration::from_millis(120)).await;
    assert_eq!(told(&world, &[("authorization", good)]).await, None, "the account was closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_csrf_secret_of_a_session_counts_and_a_cookie_then_does_not() {
    let django = Django::start().await;
    let secret = "abcdefghijklmnopqrstuvwxyz012345";
    let data = dumps(session(&format!(r#","_csrftoken":"{secret}""#)).as_bytes(), SESSION_SALT, &secrets(), now());
    django.run("UPDATE django_session SET session_data = ? WHERE session_key = ?", &[&data, SESSION]).await;
    let world = World::with(|config| config.identity.django = Some(DjangoIdentity { csrf_cookie: None, ..django.identity() })).await;
    world.serve(soaking());
    let write =
        async |cookie: &str| world.send("POST", "/forms/x", &[("cookie", cookie), ("x-csrftoken", secret)], full("{}")).await.status;
    assert_eq!(write(&format!("sessionid={SESSION}")).await, 200);
    assert_eq!(write(&format!("csrftoken={secret}")).await, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_header_of_the_csrf_token_is_the_projects() {
    let django = Django::start().await;
    let secret = "abcdefghijklmnopqrstuvwxyz012345";
    let identity = DjangoIdentity { csrf_header: "x-xsrf-token".into(), ..django.identity() };
    let world = World::with(|config| config.identity.django = Some(identity)).await;
    world.serve(soaking());
    let cookie = format!("csrftoken={secret}");
    for (header, status) in [("X-XSRF-TOKEN", 200), ("X-CSRFToken", 403)] {
        let got = world.send("POST", "/forms/x", &[("cookie", &*cookie), (header, secret)], full("{}")).await;
        assert_eq!(got.status, status, "{header}");
    }
}

/// Who did not carry the log-out finds it out by itself, however often it is asked meanwhile: within a second, unless set.
#[tokio::test(flavor = "multi_thread")]
async fn another_gateway_knows_of_a_log_out_within_cache_for() {
    let django = Django::start().await;
    let cache_for = DjangoIdentity::new(django.identity().users.database, Vec::new()).cache_for;
    assert_eq!(cache_for, Duration::from_secs(1));
    let world = async || {
        let world = World::with(|config| config.identity.django = Some(DjangoIdentity { cache_for, ..django.identity() })).await;
        world.serve(soaking());
        world
    };
    let (one, other) = (world().await, world().await);
    assert_eq!(told_by_cookie(&other, SESSION).await.as_deref(), Some("42"));
    django.run("DELETE FROM django_session WHERE session_key = ?", &[SESSION]).await;
    with_session(&one, "GET", "/logout", SESSION).await;
    assert_eq!(told_by_cookie(&one, SESSION).await, None, "at once");
    let ended = Instant::now();
    while told_by_cookie(&other, SESSION).await.is_some() {
        assert!(ended.elapsed() < cache_for + Duration::from_secs(1), "what was looked up a second ago is still believed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_no_json_is_nobodys_to_judge() {
    let django = Django::start().await;
    let pickle = dumps(b"\x80\x05}\x94.", SESSION_SALT, &secrets(), now());
    django.run("UPDATE django_session SET session_data = ? WHERE session_key = ?", &[&pickle, SESSION]).await;
    let world = World::with(|config| django.configure(config)).await;
    world.serve(soaking());
    assert_eq!(with_session(&world, "GET", "/api/v1/users/me/", SESSION).await.side(), "legacy", "it can read it");
    assert_eq!(with_session(&world, "POST", "/api/v1/users/me/", SESSION).await.status, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_key_still_verifies() {
    let django = Django::start().await;
    let world = World::with(|config| {
        config.identity.django = Some(DjangoIdentity { secrets: vec!["the-new-key".into(), SECRET.into()], ..django.identity() });
    })
    .await;
    world.serve(soaking());
    assert_eq!(told_by_cookie(&world, SESSION).await.as_deref(), Some("42"));
}

/// Modern's word ends it: in the gateway, whatever it believed, and in the browser. The monolith is told by its view.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_out_of_modern_ends_the_session_of_django() {
    let django = Django::start().await;
    let view = Origin::start("view").await;
    let told_view = |config: &mut Config| {
        config.identity.monolith =
            Some(MonolithIdentity::new(&view.address.to_string(), "/ficus/thing", "the-key", vec!["sessionid".into()]));
    };
    let sign = |json: &str| dumps(json.as_bytes(), COOKIE_SESSION_SALT, &secrets(), now());
    let mine = sign(&session(""));
    for (sessions, cookie) in [(DjangoSessions::Table("django_session".into()), SESSION), (DjangoSessions::Cookie, &mine)] {
        let what = format!("{sessions:?}");
        let world = World::with(|config| {
            let believed = Duration::from_secs(3_600);
            config.identity.django = Some(DjangoIdentity { sessions, cache_for: believed, ..django.identity() });
            told_view(config);
        })
        .await;
        world.serve(soaking());
        world.modern.state.headers.lock().unwrap().push(("ficus-log-out", "session"));
        assert_eq!(told_by_cookie(&world, cookie).await.as_deref(), Some("42"), "{what}");
        let asked = view.seen("/ficus/thing").len();
        // What the monolith's view does when it is told.
        django.run("DELETE FROM django_session WHERE session_key = ?", &[SESSION]).await;
        let got = world.send("POST", "/api/v1/users/thing", &[("cookie", &format!("sessionid={cookie}"))], full("")).await;
        assert_eq!((got.status, got.cookie("sessionid").as_deref()), (200, Some("")), "{what}");
        let told = view.seen("/ficus/thing").split_off(asked);
        assert_eq!(told.iter().map(|seen| &*seen.method).collect::<Vec<_>>(), ["DELETE"], "{what}");
        assert_eq!(told_by_cookie(&world, cookie).await, None, "{what}: it is worth nothing any more");
    }
}
