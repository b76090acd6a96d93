//! A real Flask, with Flask-Login, Flask-WTF, and Flask-Session on a real Redis.

use std::time::Duration;

use ficus_proxy::{FlaskIdentity, FlaskSessions, MonolithIdentity};
use ficus_rules::identity::flask::login::Protection;

use super::redis::Server;
use super::support::{World, soaking};
use super::{Browser, Monolith, SECRET, told_of};

async fn world(monolith: &Monolith, change: impl FnOnce(&mut FlaskIdentity)) -> World {
    let world = World::with(|config| {
        config.upstreams.insert("monolith".into(), ficus_proxy::Upstream::at(&monolith.address));
        let mut flask = FlaskIdentity::new(vec![SECRET.into()]);
        flask.cache_for = Duration::from_millis(30);
        change(&mut flask);
        config.identity.flask = Some(flask);
        let cookies = vec!["session".to_owned(), "remember_token".to_owned()];
        let asked = MonolithIdentity::new(&monolith.address, "/ficus/who/", "the-key", cookies);
        config.identity.monolith = Some(MonolithIdentity { cache_for: Duration::from_millis(30), ..asked });
    })
    .await;
    world.serve(soaking());
    world
}

/// Logs in, sends forms to modern, logs out: whatever keeps the sessions.
async fn there_and_back(world: &World) {
    let (mut browser, form) = (Browser::default(), "id=42&csrf_token=");
    let token = browser.get(world, "/auth/form").await.json()["token"].as_str().expect("a token").to_owned();
    assert_eq!(browser.told(world).await, None, "a session of nobody");
    assert_eq!(browser.submit(world, "/auth/login", form).await.status, 400, "the monolith wants its token too");
    assert_eq!(browser.submit(world, "/auth/login", &format!("{form}{token}")).await.status, 200);
    assert_eq!(browser.told(world).await.as_deref(), Some("42"));
    let token = browser.get(world, "/auth/form").await.json()["token"].as_str().expect("a token").to_owned();
    let to_modern = browser.submit(world, "/forms/x", &format!("a=1&csrf_token={token}")).await;
    assert_eq!((to_modern.status, to_modern.side()), (200, "modern"));
    assert_eq!(browser.submit(world, "/forms/x", "a=1&csrf_token=x").await.status, 403);
    let mut another = Browser::default();
    let foreign = another.get(world, "/auth/form").await.json()["token"].as_str().expect("a token").to_owned();
    assert_eq!(browser.submit(world, "/forms/x", &format!("a=1&csrf_token={foreign}")).await.status, 403, "another session's");
    let copied = browser.cookies();
    assert_eq!(browser.submit(world, "/auth/logout", &format!("csrf_token={token}")).await.status, 200);
    assert_eq!(browser.told(world).await, None);
    assert_eq!(told_of(world, &[("cookie", &copied), ("user-agent", "Mozilla/5.0 (it's)")]).await, None, "who copied the cookies");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_in_the_cookie() {
    let monolith = Monolith::start("flask_app.py", &[("PROTECTION", "strong")]);
    let world = world(&monolith, |flask| flask.protection = Protection::Strong).await;
    there_and_back(&world).await;
    let mut browser = Browser::default();
    let token = browser.get(&world, "/auth/form").await.json()["token"].as_str().expect("a token").to_owned();
    browser.submit(&world, "/auth/login", &format!("id=7&remember=1&csrf_token={token}")).await;
    let remembered = format!("remember_token={}", browser.cookie("remember_token").expect("a cookie that remembers"));
    assert_eq!(told_of(&world, &[("cookie", &remembered)]).await.as_deref(), Some("7"));
    let moved = [("cookie", browser.cookies()), ("user-agent", "another".to_owned())];
    let moved: Vec<(&str, &str)> = moved.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(told_of(&world, &moved).await, None, "strong protection");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_sessions_both_sides_take_the_same() {
    let monolith = Monolith::start("flask_app.py", &[]);
    // Read here, and asked for at the monolith.
    for sessions in [FlaskSessions::Cookie, FlaskSessions::Monolith] {
        let world = world(&monolith, |flask| flask.sessions = sessions).await;
        let mut pairs = Vec::new();
        for id in ["42", "7"] {
            let mut browser = Browser::default();
            let token = browser.get(&world, "/auth/form").await.json()["token"].as_str().expect("a token").to_owned();
            browser.submit(&world, "/auth/login", &format!("id={id}&csrf_token={token}")).await;
            pairs.push(format!("session={}", browser.cookie("session").expect("a session")));
        }
        for (first, second, user) in [(0, 1, "42"), (1, 0, "7")] {
            let both = [("cookie", &*format!("{}; {}", pairs[first], pairs[second])), ("user-agent", "Mozilla/5.0 (it's)")];
            let legacys = world.send("GET", "/auth/me", &both, super::full("")).await.json()["user"].clone();
            assert_eq!((legacys.as_str(), told_of(&world, &both).await.as_deref()), (Some(user), Some(user)));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_in_redis_as_msgpack_json_and_pickle() {
    let server = Server::start().await;
    for format in ["msgpack", "json"] {
        let monolith = Monolith::start("flask_app.py", &[("REDIS", &server.url), ("FORMAT", format)]);
        let url = server.url.clone();
        let world = world(&monolith, |flask| flask.sessions = FlaskSessions::Redis { url, prefix: "session:".into(), signed: false }).await;
        there_and_back(&world).await;
    }
    let monolith = Monolith::start("flask_app.py", &[("REDIS", &server.url)]);
    let url = server.url.clone();
    let world = world(&monolith, |flask| flask.sessions = FlaskSessions::Redis { url, prefix: "session:".into(), signed: false }).await;
    let mut browser = Browser::default();
    let token = browser.get(&world, "/auth/form").await.json()["token"].as_str().expect("a token").to_owned();
    browser.submit(&world, "/auth/login", &format!("id=9&csrf_token={token}")).await;
    browser.get(&world, "/auth/pickle").await;
    let key = format!("session:{}", browser.cookie("session").expect("a session"));
    let start = std::time::Instant::now();
    while !server.command(&["GET", &key]).await.contains("\u{4}\u{fffd}") {
        assert!(start.elapsed() < Duration::from_secs(20), "the monolith has left no pickle");
    }
    assert_eq!(browser.told(&world).await.as_deref(), Some("9"), "never opened here: the monolith was asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_out_of_modern_ends_the_session_at_the_monolith() {
    let server = Server::start().await;
    let monolith = Monolith::start("flask_app.py", &[("REDIS", &server.url)]);
    let url = server.url.clone();
    let world = world(&monolith, |flask| flask.sessions = FlaskSessions::Redis { url, prefix: "session:".into(), signed: false }).await;
    let mut browser = Browser::default();
    let token = browser.get(&world, "/auth/form").await.json()["token"].as_str().expect("a token").to_owned();
    browser.submit(&world, "/auth/login", &format!("id=42&remember=1&csrf_token={token}")).await;
    assert_eq!(browser.get(&world, "/auth/me").await.json()["user"], "42");
    let copied = browser.cookies();
    world.modern.state.headers.lock().unwrap().push(("ficus-log-out", "session"));
    browser.get(&world, "/api/v1/users/thing").await;
    world.modern.state.headers.lock().unwrap().clear();
    assert_eq!((browser.told(&world).await, browser.get(&world, "/auth/me").await.json()["user"].clone()), (None, serde_json::Value::Null));
    let session = copied.split("; ").find(|pair| pair.starts_with("session=")).unwrap();
    let still = world.send("GET", "/auth/me", &[("cookie", session)], super::full("")).await;
    assert_eq!(still.json()["user"], serde_json::Value::Null, "the monolith has ended it");
    assert_eq!(told_of(&world, &[("cookie", &copied)]).await, None);
}
