//! Django's sessions without a Django: a database with its two tables, and sessions signed as it signs them.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Result;
use ficus_rules::Timestamp;
use ficus_rules::identity::django::{SESSION_SALT, Secrets, auth_hash};
use ficus_rules::identity::signing::dumps;
use ficus_tests::school::SECRET_KEY;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

/// The stored password of everybody.
const PASSWORD: &str = "pbkdf2_sha256$1000000$salt$hash=";

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
        let claims = serde_json::json!({
            "_auth_user_id": user.to_string(), "_auth_user_backend": "django.contrib.auth.backends.ModelBackend", "_auth_user_hash": auth_hash(PASSWORD, SECRET_KEY)
        });
        let secrets = Secrets { keys: vec![SECRET_KEY.into()] };
        let data = dumps(claims.to_string().as_bytes(), SESSION_SALT, &secrets, Timestamp::from(SystemTime::now()));
        let key = format!("session{user:025}");
        let insert = sqlx::query("INSERT INTO django_session VALUES (?, ?, '2999-01-01 00:00:00.000000')");
        insert.bind(&key).bind(data).execute(&self.pool).await?;
        Ok(key)
    }
}
