//! Sessions in PostgreSQL. An id comes as text and is cast to what the column is, so that the index serves.

use async_trait::async_trait;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Row as _};
use tokio::sync::OnceCell;

use super::store::{CONNECTIONS, Failure, LIMIT, Names, Store, Stored, unnamed};

/// What a column's type is called.
const TYPE: &str = "SELECT format_type(atttypid, atttypmod) FROM pg_catalog.pg_attribute
    WHERE attrelid = to_regclass($1) AND attname = $2 AND NOT attisdropped";

/// A text that is none of the type's: invalid, or out of range.
const NO_SUCH_VALUE: [&str; 2] = ["22P02", "22003"];

/// A database.
pub(super) struct Postgres {
    options: PgConnectOptions,
    names: Names,
    session: Option<String>,
    token: Option<String>,
    user: OnceCell<String>,
    pool: OnceCell<PgPool>,
}

impl Postgres {
    pub(super) fn new(options: &PgConnectOptions, names: Names) -> Postgres {
        let session = |table: &String| format!("SELECT session_data FROM \"{table}\" WHERE session_key = $1 AND expire_date > now()");
        let token = |table: &String| format!("SELECT \"user_id\"::text FROM \"{table}\" WHERE \"key\" = $1");
        let (session, token) = (names.sessions.as_ref().map(session), names.tokens.as_ref().map(token));
        Postgres { options: options.clone(), names, session, token, user: OnceCell::new(), pool: OnceCell::new() }
    }

    async fn pool(&self) -> &PgPool {
        let pool = || PgPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(LIMIT);
        self.pool.get_or_init(|| async { pool().connect_lazy_with(self.options.clone()) }).await
    }

    /// The query for a user, once the table was looked at.
    async fn user_query(&self) -> Result<String, Failure> {
        let Names { users, id, .. } = &self.names;
        let found = sqlx::query(TYPE).bind(format!("\"{users}\"")).bind(id).fetch_optional(self.pool().await).await?;
        let Some(found) = found else { return Err(format!("there is no table {users} with a column {id}").into()) };
        let kind: String = found.try_get(0)?;
        let columns = self.names.columns(|name| format!("\"{name}\""), |name| format!("\"{name}\"::text"), "NULL::text", "true");
        Ok(format!("SELECT {columns} FROM \"{users}\" WHERE \"{id}\" = $1::text::{kind}"))
    }

    /// A text by its key.
    async fn one(&self, query: &str, key: &str) -> Result<Option<String>, Failure> {
        let row = sqlx::query(AssertSqlSafe(query)).bind(key).fetch_optional(self.pool().await).await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?)
    }
}

#[async_trait]
impl Store for Postgres {
    async fn session(&self, key: &str) -> Result<Option<String>, Failure> {
        self.one(self.session.as_deref().ok_or_else(|| unnamed("sessions"))?, key).await
    }

    async fn token(&self, key: &str) -> Result<Option<String>, Failure> {
        self.one(self.token.as_deref().ok_or_else(|| unnamed("tokens"))?, key).await
    }

    async fn user(&self, id: &str) -> Result<Option<Stored>, Failure> {
        let query = self.user.get_or_try_init(|| self.user_query()).await?;
        let row = match sqlx::query(AssertSqlSafe(query.as_str())).bind(id).fetch_optional(self.pool().await).await {
            Ok(Some(row)) => row,
            Ok(None) => return Ok(None),
            Err(sqlx::Error::Database(error)) if error.code().is_some_and(|code| NO_SUCH_VALUE.contains(&&*code)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
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
