//! Flask's sessions become a token for the new service, and its forms are checked by Flask-WTF's rules.

use std::time::Duration;

use ficus_proxy::{FlaskIdentity, FlaskSessions, SessionDatabase, UserTable};
use ficus_rules::Timestamp;
use ficus_rules::identity::django::Secrets;
use ficus_rules::identity::flask::login::{Browser, Protection, identifier, remember};
use ficus_rules::identity::flask::{SESSION, SESSION_ID, csrf};
use ficus_rules::identity::itsdangerous::{dumps, sign};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

use super::support::{World, full, now, soaking, told};

#[path = "flask/redis.rs"]
mod redis;

const SECRET: &str = "strangler-test-secret-key";

fn secrets() -> Secrets {
    Secrets { keys: vec![SECRET.into()] }
}

fn cookie(json: &str, at: Timestamp) -> String {
    format!("session={}", dumps(json.as_bytes(), SESSION, &secrets(), at))
}

async fn world(change: impl FnOnce(&mut FlaskIdentity)) -> World {
    let world = World::with(|config| {
        let mut flask = FlaskIdentity::new(vec![SECRET.into()]);
        flask.cache_for = Duration::from_millis(100);
        change(&mut flask);
        config.identity.flask = Some(flask);
    })
    .await;
    world.serve(soaking());
    world
}

async fn told_by(world: &World, cookie: &str) -> Option<String> {
    told(world, &[("cookie", cookie)]).await.map(|claims| claims["sub"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_cookie_names_its_user_and_stays_behind() {
    let world = world(|_| {}).await;
    let mine = cookie(r#"{"_fresh":true,"_id":"x","_user_id":"42"}"#, now());
    assert_eq!(told_by(&world, &format!("a=1; {mine}")).await.as_deref(), Some("42"));
    assert_eq!(world.modern.seen("/users/me/")[0].headers["cookie"], "a=1");
    for stranger in
        [cookie(r#"{"_user_id":"42"}"#, Timestamp(1_600_000_000_000)), cookie(r#"{"a":1}"#, now()), mine.replace("session=e", "session=f")]
    {
        assert_eq!(told_by(&world, &stranger).await, None, "{stranger}");
    }
    let kept = format!("remember_token={}", remember("7", &secrets()));
    assert_eq!(told_by(&world, &kept).await.as_deref(), Some("7"));
    assert_eq!(told_by(&world, &kept.replace("=7|", "=8|")).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_cookies_of_one_name_the_first_counts_as_in_flask() {
    let world = world(|_| {}).await;
    let [mine, tossed] = ["42", "7"].map(|user| cookie(&format!(r#"{{"_user_id":"{user}"}}"#), now()));
    assert_eq!(told_by(&world, &format!("{mine}; {tossed}")).await.as_deref(), Some("42"));
    assert_eq!(told_by(&world, &format!("{tossed}; a=1; {mine}")).await.as_deref(), Some("7"));
    let [mine, tossed] = ["42", "7"].map(|user| format!("remember_token={}", remember(user, &secrets())));
    assert_eq!(told_by(&world, &format!("{mine}; {tossed}")).await.as_deref(), Some("42"));
}

#[tokio::test(flavor = "multi_thread")]
async fn strong_protection_ties_a_session_to_address_and_browser() {
    let world = world(|flask| flask.protection = Protection::Strong).await;
    let browser = Browser { address: Some("127.0.0.1"), agent: Some("Mozilla/5.0") };
    let mine = cookie(&format!(r#"{{"_id":"{}","_user_id":"42"}}"#, identifier(browser)), now());
    let with_agent = async |agent: &str| told(&world, &[("cookie", &mine), ("user-agent", agent)]).await.is_some();
    assert!(with_agent("Mozilla/5.0").await);
    assert!(!with_agent("curl/8").await, "a cookie that was carried elsewhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_looked_up_where_they_stand() {
    let folder = tempfile::tempdir().unwrap();
    let options = SqliteConnectOptions::new().filename(folder.path().join("app.db")).create_if_missing(true);
    let pool = SqlitePool::connect_with(options.clone()).await.unwrap();
    for statement in [
        "CREATE TABLE users (id integer PRIMARY KEY, email text, role text, confirmed bool, school text)",
        "INSERT INTO users VALUES (42, 'ada@example.org', 'teacher', 1, 'north'), (43, 'eve@example.org', 'student', 0, NULL)",
    ] {
        sqlx::query(statement).execute(&pool).await.unwrap();
    }
    let world = world(|flask| {
        let mut users = UserTable::new(SessionDatabase::Sqlite(Box::new(options)));
        (users.table, users.username_column, users.active_column) = ("users".into(), "email".into(), Some("confirmed".into()));
        users.role = Some(ficus_proxy::RoleColumn { column: "role".into(), map: [].into() });
        flask.users = Some(users);
    })
    .await;
    let claims = told(&world, &[("cookie", &cookie(r#"{"_user_id":"42"}"#, now()))]).await.unwrap();
    assert_eq!((&claims["username"], &claims["role"]), (&"ada@example.org".into(), &"teacher".into()));
    for stranger in ["43", "44", "x' OR 1"] {
        assert_eq!(told_by(&world, &cookie(&format!(r#"{{"_user_id":"{stranger}"}}"#), now())).await, None, "{stranger}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_logs_out_is_logged_out_though_flask_cannot_end_a_cookie() {
    let world = world(|_| {}).await;
    let mine = cookie(r#"{"_user_id":"42","csrf_token":"abc"}"#, now());
    let kept = format!("{mine}; remember_token={}", remember("42", &secrets()));
    assert_eq!(told_by(&world, &kept).await.as_deref(), Some("42"));
    // Flask-Login leaves the rest of the session, and takes the cookie that remembers away.
    let without = cookie(r#"{"csrf_token":"abc"}"#, now());
    let set =
        [format!("{without}; HttpOnly; Path=/"), "remember_token=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=/".to_owned()];
    let set = set.map(|line| ("set-cookie", &*line.leak()));
    world.legacy.state.headers.lock().unwrap().extend(set);
    world.send("GET", "/elsewhere/thing", &[("cookie", &kept)], full("")).await;
    tokio::time::sleep(Duration::from_millis(120)).await;
    assert_eq!(told_by(&world, &kept).await, None, "Flask would still take both cookies");
    assert_eq!(told_by(&world, &mine).await, None);
    let another = cookie(r#"{"_user_id":"42","csrf_token":"abcd"}"#, now());
    assert_eq!(told_by(&world, &another).await.as_deref(), Some("42"), "another browser");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_needs_the_token_of_its_session() {
    let world = world(|_| {}).await;
    let mine = cookie(r#"{"_user_id":"42","csrf_token":"2fd4e1c67a2d28fced849ee1bb76e7391b93eb12"}"#, now());
    let sign = |value: &str, at: Timestamp| dumps(format!("\"{value}\"").as_bytes(), csrf::TOKEN, &secrets(), at);
    let token = sign("2fd4e1c67a2d28fced849ee1bb76e7391b93eb12", now());
    let write = async |headers: &[(&str, &str)], body: String| {
        world.send("POST", "/forms/x", &[&[("cookie", mine.as_str())], headers].concat(), full(body)).await
    };
    let form = [("content-type", "application/x-www-form-urlencoded")];
    assert_eq!(write(&[("x-csrf-token", &token)], String::new()).await.status, 200);
    assert_eq!(write(&form, format!("a=1&csrf_token={token}")).await.status, 200);
    assert_eq!(write(&form, format!("account-csrf_token={token}&a=1")).await.status, 200);
    let old = sign("2fd4e1c67a2d28fced849ee1bb76e7391b93eb12", Timestamp(now().0 - 3_700_000));
    for refused in [String::new(), "csrf_token=x".into(), format!("csrf_token={old}"), format!("csrf_token={}", sign("another", now()))] {
        let got = write(&form, refused.clone()).await;
        assert_eq!((got.status, got.json()["detail"].as_str().unwrap_or_default().contains("CSRF")), (403, true), "{refused}");
    }
    let secure = [("x-csrf-token", token.as_str()), ("x-forwarded-proto", "https"), ("referer", "https://evil.test/")];
    assert_eq!(write(&secure, String::new()).await.status, 200, "a stranger's word on the scheme is not believed");
    assert_eq!(world.modern.seen("/forms/").len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn by_https_a_write_comes_from_the_site_unless_the_project_does_not_ask_for_it() {
    let mine = cookie(r#"{"_user_id":"42","csrf_token":"2fd4e1c67a2d28fced849ee1bb76e7391b93eb12"}"#, now());
    let token = dumps(br#""2fd4e1c67a2d28fced849ee1bb76e7391b93eb12""#, csrf::TOKEN, &secrets(), now());
    for (ssl_strict, referer, status) in [
        (true, None, 403),
        (true, Some("https://evil.test/"), 403),
        (true, Some("https://school.test/form"), 200),
        (false, None, 200),
        (false, Some("https://evil.test/"), 200),
    ] {
        let mut flask = FlaskIdentity::new(vec![SECRET.into()]);
        flask.csrf.as_mut().expect("Flask-WTF").ssl_strict = ssl_strict;
        let world = World::with(|config| {
            config.identity.flask = Some(flask);
            config.trusted_proxies = vec!["127.0.0.1".into()];
        })
        .await;
        world.serve(soaking());
        let sent = [("cookie", &*mine), ("x-csrf-token", &*token), ("x-forwarded-proto", "https"), ("x-forwarded-host", "school.test")];
        let sent: Vec<_> = sent.into_iter().chain(referer.map(|referer| ("referer", referer))).collect();
        assert_eq!(world.send("POST", "/forms/x", &sent, full("")).await.status, status, "{ssl_strict} {referer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_in_redis_are_read_changed_and_ended_there() {
    let server = redis::Server::start().await;
    let url = server.url.clone();
    let world = world(|flask| flask.sessions = FlaskSessions::Redis { url, prefix: "session:".into(), signed: false }).await;
    let id = "q3xT0dJ1b0m8sG4Q3vA0Qm2yqkqk1Xy0y5c0x9fWz_4";
    let mine = format!("session={id}");
    let known = async || {
        tokio::time::sleep(Duration::from_millis(120)).await;
        told_by(&world, &mine).await
    };
    assert_eq!(known().await, None);
    server.set(&format!("session:{id}"), b"\x82\xaa_permanent\xc3\xa8_user_id\xa242").await;
    assert_eq!(known().await.as_deref(), Some("42"));
    server.set(&format!("session:{id}"), br#"{"_user_id":"43"}"#).await;
    assert_eq!(known().await.as_deref(), Some("43"));
    server.set(&format!("session:{id}"), b"\x80\x05\x95\x0b\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x01a\x94K\x01s.").await;
    tokio::time::sleep(Duration::from_millis(120)).await;
    let write = world.send("POST", "/api/v1/users/me/", &[("cookie", &mine)], full("")).await;
    assert_eq!(write.status, 503, "a pickle is nobody's to judge");
    server.command(&["DEL", &format!("session:{id}")]).await;
    assert_eq!(known().await, None);

    server.set(&format!("session:{id}"), br#"{"_user_id":"43"}"#).await;
    let port = server.port;
    drop(server);
    tokio::time::sleep(Duration::from_millis(120)).await;
    let read = world.send("GET", "/api/v1/users/me/", &[("cookie", &mine)], full("")).await;
    assert_eq!((read.side(), world.gateway.report().sessions_unread.as_deref()), ("legacy", Some("session")));
    let server = redis::Server::start_at(port).await;
    server.set(&format!("session:{id}"), br#"{"_user_id":"43"}"#).await;
    assert_eq!(known().await.as_deref(), Some("43"), "it came back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_id_in_redis_must_be_genuine() {
    let server = redis::Server::start().await;
    let url = server.url.clone();
    let world = world(|flask| flask.sessions = FlaskSessions::Redis { url, prefix: "s:".into(), signed: true }).await;
    let id = "q3xT0dJ1b0m8sG4Q3vA0Qm2yqkqk1Xy0y5c0x9fWz_4";
    server.set(&format!("s:{id}"), br#"{"_user_id":"42"}"#).await;
    assert_eq!(told_by(&world, &format!("session={}", sign(id, SESSION_ID, &secrets()))).await.as_deref(), Some("42"));
    assert_eq!(told_by(&world, &format!("session={id}")).await, None);
}
