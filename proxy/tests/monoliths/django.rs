//! A real Django, with each engine of sessions.

use std::time::Duration;

use ficus_proxy::{DjangoIdentity, DjangoSessions, DrfTokens, SessionDatabase};
use sqlx::sqlite::SqliteConnectOptions;

use super::support::{World, soaking};
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
