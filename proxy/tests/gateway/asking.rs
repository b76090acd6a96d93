//! What only the monolith can read, it is asked; and it is told when modern logs somebody out.

use std::time::Duration;

use ficus_proxy::{FlaskIdentity, FlaskSessions, MonolithIdentity, Transport, UpstreamTls};

use super::pki::Authority;
use super::support::{Origin, World, full, now, soaking, told};

const COOKIE: &str = "session=an-id-of-a-session-that-is-a-pickle";

async fn world(view: &Origin, change: impl FnOnce(&mut MonolithIdentity)) -> World {
    let world = World::with(|config| {
        let mut flask = FlaskIdentity::new(vec!["secret".into()]);
        flask.sessions = FlaskSessions::Monolith;
        config.identity.flask = Some(flask);
        let cookies = vec!["session".to_owned(), "remember_token".to_owned()];
        let mut asked = MonolithIdentity::new(&view.address.to_string(), "/ficus/thing", "the-key", cookies);
        change(&mut asked);
        config.identity.monolith = Some(asked);
    })
    .await;
    world.serve(soaking());
    world
}

fn says(view: &Origin, answer: &str) {
    answer.clone_into(&mut view.state.thing.lock().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_monolith_is_asked_once_and_believed_for_a_moment() {
    let view = Origin::start("view").await;
    says(&view, r#"{"user": {"id": 42, "username": "ada", "roles": ["teacher"], "attributes": {"school": "north"}}}"#);
    let world = world(&view, |asked| asked.cache_for = Duration::from_secs(30)).await;
    let many = (0..40).map(|_| told(&world, &[("cookie", COOKIE), ("user-agent", "Mozilla/5.0")]));
    let all = futures::future::join_all(many).await;
    assert!(all.iter().flatten().any(|claims| claims["username"] == "ada" && claims["role"] == "teacher"));
    let asked = view.seen("/ficus/thing");
    assert_eq!(asked.len(), 1, "one question for one cookie");
    let header = |name: &str| asked[0].headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    assert_eq!((header("x-ficus-key"), header("cookie"), header("user-agent")), ("the-key", COOKIE, "Mozilla/5.0"));
    assert_eq!((header("x-forwarded-for"), header("host")), ("127.0.0.1", world.address.to_string().as_str()));
    told(&world, &[("cookie", "session=of-somebody-else")]).await;
    assert_eq!(view.seen("/ficus/thing").len(), 2);
    told(&world, &[("cookie", "another=1")]).await;
    assert_eq!(view.seen("/ficus/thing").len(), 2, "who shows nothing is a stranger");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_none_makes_nobody_a_stranger() {
    let view = Origin::start("view").await;
    let world = world(&view, |asked| asked.cache_for = Duration::from_millis(1)).await;
    let status = async |answer: &str| {
        says(&view, answer);
        tokio::time::sleep(Duration::from_millis(20)).await;
        world.send("POST", "/api/v1/users/me/", &[("cookie", COOKIE)], full("")).await.status
    };
    assert_eq!(status(r#"{"user": null}"#).await, 200, "a stranger");
    for broken in ["", "<html>", "{\"user\": 7}", "[]", "{\"user\": {\"name\": \"x\"}}"] {
        assert_eq!(status(broken).await, 503, "{broken}");
    }
    assert_eq!(world.gateway.report().sessions_unread.as_deref(), Some("session"));
    assert_eq!(status(&format!("{{\"user\": null, \"more\": \"{}\"}}", "x".repeat(300_000))).await, 503, "it is too long");
    assert_eq!(status(r#"{"user": {"id": "7"}}"#).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_out_of_modern_ends_the_session_at_the_monolith_or_fails() {
    let view = Origin::start("view").await;
    says(&view, r#"{"user": {"id": 42}}"#);
    view.state.headers.lock().unwrap().push(("set-cookie", "session=; Max-Age=0; Path=/; Domain=school.test"));
    let world = world(&view, |_| {}).await;
    world.modern.state.headers.lock().unwrap().push(("ficus-log-out", "session"));
    let log_out = async || world.send("POST", "/api/v1/users/thing", &[("cookie", &format!("{COOKIE}; remember_token=x"))], full("")).await;
    let got = log_out().await;
    let lines: Vec<_> =
        got.headers.get_all("set-cookie").iter().filter_map(|line| line.to_str().ok()).filter(|line| !line.starts_with("ficus")).collect();
    assert_eq!(lines, ["session=; Max-Age=0; Path=/; Domain=school.test", "remember_token=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"]);
    assert!(!got.headers.contains_key("ficus-log-out"));
    let asked = view.seen("/ficus/thing");
    assert_eq!(asked.last().map(|seen| seen.method.as_str()), Some("DELETE"));
    says(&view, r#"{"user": null}"#);
    assert_eq!(told(&world, &[("cookie", &format!("{COOKIE}; remember_token=x"))]).await, None, "at once, whatever was believed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_out_that_does_not_reach_the_monolith_fails_and_legacy_ends_its_sessions_itself() {
    let world = World::with(|config| {
        config.identity.flask = Some(FlaskIdentity::new(vec!["secret".into()]));
        config.identity.monolith = Some(MonolithIdentity::new("127.0.0.1:9", "/ficus/who", "the-key", vec!["session".into()]));
    })
    .await;
    world.serve(soaking());
    for side in [&world.modern, &world.legacy] {
        side.state.headers.lock().unwrap().push(("ficus-log-out", "session"));
    }
    let secrets = ficus_rules::identity::django::Secrets { keys: vec!["secret".into()] };
    let session =
        ficus_rules::identity::itsdangerous::dumps(br#"{"_user_id":"42"}"#, ficus_rules::identity::flask::SESSION, &secrets, now());
    let cookie = format!("session={session}");
    let status = async |path: &str, cookie: &str| world.send("GET", path, &[("cookie", cookie)], full("")).await.status;
    assert_eq!(status("/api/v1/users/thing", &cookie).await, 503, "the monolith still knows the caller");
    assert_eq!(status("/api/v1/users/thing", "a=1").await, 200, "who shows no session has none to end");
    assert_eq!(status("/elsewhere/thing", &cookie).await, 200);
    assert_eq!(told(&world, &[("cookie", &cookie)]).await.map(|claims| claims["sub"].clone()), Some("42".into()));
}

/// Cookies and the key go the way that the upstream is spoken to, and no other.
#[tokio::test(flavor = "multi_thread")]
async fn the_monolith_is_asked_in_the_way_of_its_upstream() {
    let authority = Authority::new();
    let shown = authority.sign("view", &["view.internal"]);
    let trusting =
        |file: &str| UpstreamTls { name: Some("view.internal".into()), authorities: Some(authority.file(file)), certificate: None };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("view.sock");
    let ways = [("https", true, false), ("https and HTTP/2", true, true), ("HTTP/2", false, true), ("a Unix socket", false, false)];
    for (what, ciphered, http2) in ways {
        let unix = !ciphered && !http2;
        let protocol: &[u8] = if http2 { b"h2" } else { b"http/1.1" };
        let view = match unix {
            true => Origin::local("view", &path),
            false => Origin::speaking("view", ciphered.then(|| authority.server(&shown, protocol, false)), http2).await,
        };
        says(&view, r#"{"user": {"id": 42}}"#);
        let world = world(&view, |asked| {
            asked.transport = Transport { tls: ciphered.then(|| trusting("ca.pem")), http2 };
            if unix {
                asked.address = format!("unix:{}", path.display());
            }
        })
        .await;
        for session in ["one", "another"] {
            let claims = told(&world, &[("cookie", &format!("session={session}"))]).await;
            assert_eq!(claims.map(|claims| claims["sub"].clone()), Some("42".into()), "{what}");
        }
        let asked = view.seen("/ficus/thing");
        let header = |name: &str| asked[0].headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        assert_eq!((asked.len(), header("x-ficus-key"), header("cookie")), (2, "the-key", "session=one"), "{what}");
    }
    // Nothing is told to somebody else.
    let stranger = Authority::new();
    let view = Origin::speaking("view", Some(stranger.server(&stranger.sign("view", &["view.internal"]), b"http/1.1", false)), false).await;
    let world = world(&view, |asked| asked.transport = Transport { tls: Some(trusting("ca.pem")), http2: false }).await;
    world.send("GET", "/api/v1/users/me/", &[("cookie", COOKIE)], full("")).await;
    assert!(view.seen("").is_empty());
}
