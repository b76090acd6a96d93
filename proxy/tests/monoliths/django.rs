//! A real Django, with each engine of sessions.

use std::time::Duration;

use ficus_proxy::{DjangoIdentity, DjangoSessions, DrfTokens, MonolithIdentity, SessionDatabase};
use sqlx::sqlite::SqliteConnectOptions;

use super::support::{World, full, soaking};
use super::{Browser, Monolith, SECRET, told_of};

#[tokio::test(flavor = "multi_thread")]
async fn whoever_logs_in_is_known_until_django_or_the_password_says_otherwise() {
    for engine in ["db", "cached_db", "file", "signed_cookies"] {
        let folder = tempfile::tempdir().unwrap();
        let monolith = Monolith::start("django_app.py", &[("ENGINE", engine), ("FOLDER", folder.path().to_str().unwrap())]);
        let world = World::with(|config| {
            config.upstreams.insert("monolith".into(), ficus_proxy::Upstream::at(&monolith.address));
            let options = SqliteConnectOptions::new().filename(folder.path().join("db.sqlite3"));
            let mut django = DjangoIdentity::new(SessionDatabase::Sqlite(Box::new(options)), vec!["a-newer-key".into(), SECRET.into()]);
            django.sessions = match engine {
                "file" => DjangoSessions::Files(folder.path().to_owned()),
                "signed_cookies" => DjangoSessions::Cookie,
                _ => django.sessions,
            };
            django.tokens = Some(DrfTokens::default());
            django.cache_for = Duration::from_millis(30);
            config.identity.django = Some(django);
        })
        .await;
        world.serve(soaking());
        let (mut one, mut other) = (Browser::default(), Browser::default());
        let form = "username=ada&password=pass-of-ada";
        let token = one.submit(&world, "/auth/login", form).await.json()["token"].as_str().expect(engine).to_owned();
        other.submit(&world, "/auth/login", form).await;
        // Two cookies that are signed in the same second are one.
        while other.cookie("sessionid") == one.cookie("sessionid") {
            tokio::time::sleep(Duration::from_millis(100)).await;
            other = Browser::default();
            other.submit(&world, "/auth/login", form).await;
        }
        assert_eq!((one.told(&world).await.as_deref(), other.told(&world).await.as_deref()), (Some("1"), Some("1")), "{engine}");
        assert_eq!(told_of(&world, &[("authorization", &format!("Token {token}"))]).await.as_deref(), Some("1"), "{engine}");
        let copied = one.cookies();
        one.submit(&world, "/auth/leave", "").await;
        assert_eq!(one.cookie("sessionid"), None, "{engine}");
        assert_eq!(told_of(&world, &[("cookie", &copied)]).await, None, "{engine}: who copied the cookie");
        assert_eq!(other.told(&world).await.as_deref(), Some("1"), "{engine}: the other browser");
        let mut third = Browser::default();
        third.submit(&world, "/auth/login", form).await;
        third.submit(&world, "/auth/password", "password=another-pass&keep=1").await;
        assert_eq!((third.told(&world).await.as_deref(), other.told(&world).await), (Some("1"), None), "{engine}: a new password");
    }
}

/// A log-out that modern answers is one for everybody: the browser, whoever copied its cookie, Django itself, and another gateway.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_out_at_modern_ends_the_session_everywhere() {
    for engine in ["db", "cached_db"] {
        let folder = tempfile::tempdir().unwrap();
        let monolith = Monolith::start("django_app.py", &[("ENGINE", engine), ("FOLDER", folder.path().to_str().unwrap())]);
        let gateway = async || {
            let world = World::with(|config| {
                config.upstreams.insert("monolith".into(), ficus_proxy::Upstream::at(&monolith.address));
                let options = SqliteConnectOptions::new().filename(folder.path().join("db.sqlite3"));
                let mut django = DjangoIdentity::new(SessionDatabase::Sqlite(Box::new(options)), vec![SECRET.into()]);
                django.cache_for = Duration::from_millis(30);
                config.identity.django = Some(django);
                let asked = MonolithIdentity::new(&monolith.address, "/ficus/who/", "the-key", vec!["sessionid".to_owned()]);
                config.identity.monolith = Some(MonolithIdentity { cache_for: Duration::from_millis(30), ..asked });
            })
            .await;
            world.serve(soaking());
            world
        };
        let (world, beside) = (gateway().await, gateway().await);
        let (mut one, mut other) = (Browser::default(), Browser::default());
        for browser in [&mut one, &mut other] {
            browser.submit(&world, "/auth/login", "username=ada&password=pass-of-ada").await;
        }
        let copied = one.cookies();
        let legacy_knows = async |cookies: &str| {
            let got = world.send("GET", "/auth/me", &[("cookie", cookies)], full("")).await;
            got.json()["user"].as_i64()
        };
        assert_eq!((legacy_knows(&copied).await, one.told(&beside).await.as_deref()), (Some(1), Some("1")), "{engine}");

        world.modern.state.headers.lock().unwrap().push(("ficus-log-out", "session"));
        let left = one.submit(&world, "/api/v1/users/thing", "").await;
        assert_eq!((left.status, left.side()), (200, "modern"), "{engine}");
        assert_eq!(one.cookie("sessionid"), None, "{engine}: the browser");
        assert_eq!(told_of(&world, &[("cookie", &copied)]).await, None, "{engine}: who copied the cookie");
        assert_eq!(told_of(&beside, &[("cookie", &copied)]).await, None, "{engine}: at another gateway");
        assert_eq!(legacy_knows(&copied).await, None, "{engine}: at Django");
        assert_eq!(
            (legacy_knows(&other.cookies()).await, other.told(&beside).await.as_deref()),
            (Some(1), Some("1")),
            "{engine}: the others"
        );
    }
}
