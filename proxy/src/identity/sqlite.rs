//! Sessions in SQLite. Django writes `expire_date` as text in UTC, so that the order of texts is the order of times; an
//! id that is bound as text is compared by the affinity of its column.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, Row as _};
use tokio::sync::OnceCell;

use super::store::{CONNECTIONS, Failure, LIMIT, Names, Store, Stored, unnamed};

/// A file, read only.
pub(super) struct Sqlite {
    options: SqliteConnectOptions,
    session: Option<String>,
    token: Option<String>,
    user: String,
    pool: OnceCell<SqlitePool>,
}

impl Sqlite {
    pub(super) fn new(options: &SqliteConnectOptions, names: &Names) -> Sqlite {
        // Qualified: what SQLite finds no column for, it takes for a text.
        let text = |name: &str| format!("CAST(u.\"{name}\" AS TEXT)");
        let columns = names.columns(|name| format!("u.\"{name}\""), text, "NULL", "1");
        let session = |table: &String| {
            format!("SELECT session_data FROM \"{table}\" WHERE session_key = ? AND expire_date > strftime('%Y-%m-%d %H:%M:%f', 'now')")
        };
        let token = |table: &String| format!("SELECT CAST(t.\"user_id\" AS TEXT) FROM \"{table}\" t WHERE t.\"key\" = ?");
        Sqlite {
            options: options.clone().read_only(true).create_if_missing(false).busy_timeout(Duration::from_secs(1)),
            session: names.sessions.as_ref().map(session),
            token: names.tokens.as_ref().map(token),
            user: format!("SELECT {columns} FROM \"{}\" u WHERE u.\"{}\" = ?", names.users, names.id),
            pool: OnceCell::new(),
        }
    }

    async fn pool(&self) -> &SqlitePool {
        let pool = || SqlitePoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(LIMIT);
        self.pool.get_or_init(|| async { pool().connect_lazy_with(self.options.clone()) }).await
    }

    /// A text by its key.
    async fn one(&self, query: &str, key: &str) -> Result<Option<String>, Failure> {
        let row = sqlx::query(AssertSqlSafe(query)).bind(key).fetch_optional(self.pool().await).await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?)
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn session(&self, key: &str) -> Result<Option<String>, Failure> {
        self.one(self.session.as_deref().ok_or_else(|| unnamed("sessions"))?, key).await
    }

    async fn token(&self, key: &str) -> Result<Option<String>, Failure> {
        self.one(self.token.as_deref().ok_or_else(|| unnamed("tokens"))?, key).await
    }

    async fn user(&self, id: &str) -> Result<Option<Stored>, Failure> {
        let query = sqlx::query(AssertSqlSafe(self.user.as_str())).bind(id);
        let Some(row) = query.fetch_optional(self.pool().await).await? else { return Ok(None) };
        Ok(Some(Stored {
            id: row.try_get(0)?,
            password: row.try_get(1)?,
            username: row.try_get::<Option<String>, _>(2)?.unwrap_or_default(),
            active: row.try_get(3)?,
            role: row.try_get(4)?,
            attributes: (5..row.len()).map(|at| row.try_get(at)).collect::<Result<_, _>>()?,
        }))
    }
}
