//! Django's sessions without a Django: a database with its two tables, and sessions signed as it signs them.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use ficus_rules::Timestamp;
use ficus_rules::identity::django::{SESSION_SALT, Secrets, auth_hash};
use ficus_rules::identity::signing::dumps;
use ficus_tests::bare::Bare;
use ficus_tests::http::Http;
use ficus_tests::school::SECRET_KEY;
use hyper::Method;
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

/// The stored password of everybody.
const PASSWORD: &str = "pbkdf2_sha256$1000000$salt$hash=";

/// The gateway can read them no longer.
pub(super) const LOST: &str = "the sessions are lost";
/// It can again.
pub(super) const FOUND: &str = "the sessions are found";

/// The database.
pub(super) struct Sessions {
    pool: SqlitePool,
}

impl Sessions {
    /// Makes it in a directory, with its secret, and says what belongs into `ficus.toml`.
    ///
    /// # Errors
    /// The files cannot be written.
    pub(super) async fn make(directory: &Path) -> Result<(Sessions, String)> {
        std::fs::create_dir_all(directory)?;
        let path: PathBuf = directory.join("sessions.sqlite3");
        std::fs::write(directory.join("django-secret.key"), SECRET_KEY)?;
        let pool = SqlitePool::connect_with(SqliteConnectOptions::new().filename(&path).create_if_missing(true)).await?;
        for statement in [
            "CREATE TABLE django_session (session_key varchar(40) PRIMARY KEY, session_data text NOT NULL, expire_date datetime NOT NULL)",
            "CREATE TABLE auth_user (id integer PRIMARY KEY, password varchar(128), username varchar(150), is_active bool)",
        ] {
            sqlx::query(statement).execute(&pool).await?;
        }
        // Sessions need an upstream with a database; nobody asks this one.
        let config = format!(
            "\n[upstream.sessions]\naddress = \"127.0.0.1:9\"\ndatabase = \"sqlite://{}\"\n\n\
             [identity.django]\nupstream = \"sessions\"\nsecret_key_file = \"django-secret.key\"\n",
            path.display()
        );
        Ok((Sessions { pool }, config))
    }

    /// Adds a user, and logs it in: the value of the session cookie.
    ///
    /// # Errors
    /// The database does not take it.
    pub(super) async fn log_in(&self, user: u32) -> Result<String> {
        let insert = sqlx::query("INSERT INTO auth_user VALUES (?, ?, ?, 1)");
        insert.bind(user).bind(PASSWORD).bind(format!("user{user}")).execute(&self.pool).await?;
        let claims = json!({
            "_auth_user_id": user.to_string(), "_auth_user_backend": "django.contrib.auth.backends.ModelBackend", "_auth_user_hash": auth_hash(PASSWORD, SECRET_KEY)
        });
        let secrets = Secrets { keys: vec![SECRET_KEY.into()] };
        let data = dumps(claims.to_string().as_bytes(), SESSION_SALT, &secrets, Timestamp::from(SystemTime::now()));
        let key = format!("session{user:025}");
        let insert = sqlx::query("INSERT INTO django_session VALUES (?, ?, '2999-01-01 00:00:00.000000')");
        insert.bind(&key).bind(data).execute(&self.pool).await?;
        Ok(key)
    }

    /// Takes the sessions' table away, or puts it back, and waits until the gateway has reported that. Only a request finds
    /// it out, and only for a session that it has not looked up within the last second.
    ///
    /// # Errors
    /// It is not reported.
    pub(super) async fn change(&self, how: &str, bare: &Bare) -> Result<()> {
        let (rename, told) = match how {
            LOST => ("ALTER TABLE django_session RENAME TO elsewhere", json!("sessionid")),
            _ => ("ALTER TABLE elsewhere RENAME TO django_session", Value::Null),
        };
        sqlx::query(rename).execute(&self.pool).await?;
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        let (http, admin) = (bare.http(), Http::new(&bare.admin_url(), Duration::from_secs(5)));
        for number in 0..400 {
            let cookie = format!("sessionid=somebody{number}");
            http.send(Method::GET, "/users/7/", &[("cookie", &cookie)], bytes::Bytes::new()).await?;
            if admin.get("/api/v1/status").await?.json()?["gateways"][0]["sessions_unread"] == told {
                let page = bare.operator()?.type_in(&["status"]).await?;
                ensure!(
                    page.contains("it cannot look up the sessions of cookie sessionid") == (how == LOST),
                    "{how}, and the page is\n{page}"
                );
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        anyhow::bail!("{how}, and the gateway does not report it")
    }
}
