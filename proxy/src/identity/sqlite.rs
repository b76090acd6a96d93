//! Sessions in SQLite. Django writes `expire_date` as text in UTC, so that the order of texts is the order of times; an
//! id that is bound as text is compared by the affinity of its column.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, Row as _};
use tokio::sync::OnceCell;

use super::store::{CONNECTIONS, Failure, LIMIT, Names, Store, Stored};

/// A file, read only.
pub(super) struct Sqlite {
    options: SqliteConnectOptions,
    session: String,
    user: String,
    pool: OnceCell<SqlitePool>,
}

impl Sqlite {
    pub(super) fn new(options: &SqliteConnectOptions, names: &Names) -> Sqlite {
        let role = names.role.as_ref().map_or("NULL".to_owned(), |role| format!("CAST(u.\"{role}\" AS TEXT)"));
        let active = names.active.as_ref().map_or("1".to_owned(), |active| format!("u.\"{active}\""));
        let Names { id, username, users, .. } = names;
        Sqlite {
            options: options.clone().read_only(true).create_if_missing(false).busy_timeout(Duration::from_secs(1)),
            session: format!(
                "SELECT session_data FROM \"{}\" WHERE session_key = ? AND expire_date > strftime('%Y-%m-%d %H:%M:%f', 'now')",
                names.sessions
            ),
            // Qualified: what SQLite finds no column for, it takes for a text.
            user: format!(
                "SELECT CAST(u.\"{id}\" AS TEXT), u.password, u.\"{username}\", {active}, {role} FROM \"{users}\" u WHERE u.\"{id}\" = ?"
            ),
            pool: OnceCell::new(),
        }
    }

    async fn pool(&self) -> &SqlitePool {
        let pool = || SqlitePoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(LIMIT);
        self.pool.get_or_init(|| async { pool().connect_lazy_with(self.options.clone()) }).await
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn session(&self, key: &str) -> Result<Option<String>, Failure> {
        let query = sqlx::query(AssertSqlSafe(self.session.as_str())).bind(key);
        let row = query.fetch_optional(self.pool().await).await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?)
    }

    async fn user(&self, id: &str) -> Result<Option<Stored>, Failure> {
        let query = sqlx::query(AssertSqlSafe(self.user.as_str())).bind(id);
        let Some(row) = query.fetch_optional(self.pool().await).await? else { return Ok(None) };
        Ok(Some(Stored {
            id: row.try_get(0)?,
            password: row.try_get(1)?,
            username: row.try_get(2)?,
            active: row.try_get(3)?,
            role: row.try_get(4)?,
        }))
    }
}
