//! Sessions in MariaDB or MySQL, where Django keeps times in UTC and without a zone. An id that is bound as text is
//! compared as what its column is.

use async_trait::async_trait;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Opts, OptsBuilder, Pool, PoolConstraints, PoolOpts, Row};
use tokio::sync::OnceCell;

use super::store::{CONNECTIONS, Failure, Names, Store, Stored, unnamed};

/// A database.
pub(super) struct MariaDb {
    options: Opts,
    session: Option<String>,
    token: Option<String>,
    user: String,
    pool: OnceCell<Pool>,
}

impl MariaDb {
    pub(super) fn new(options: &Opts, names: &Names) -> MariaDb {
        let most = usize::try_from(CONNECTIONS).ok().and_then(|most| PoolConstraints::new(0, most));
        let pool = most.map_or_else(PoolOpts::default, |most| PoolOpts::default().with_constraints(most));
        let columns = names.columns(|name| format!("`{name}`"), |name| format!("CAST(`{name}` AS CHAR)"), "NULL", "1");
        let session =
            |table: &String| format!("SELECT session_data FROM `{table}` WHERE session_key = ? AND expire_date > UTC_TIMESTAMP(6)");
        // The columns of keys compare without regard to case.
        let token = |table: &String| format!("SELECT CAST(`user_id` AS CHAR) FROM `{table}` WHERE `key` = ? AND BINARY `key` = ?");
        MariaDb {
            options: OptsBuilder::from_opts(options.clone()).pool_opts(pool).into(),
            session: names.sessions.as_ref().map(session),
            token: names.tokens.as_ref().map(token),
            user: format!("SELECT {columns} FROM `{}` WHERE `{}` = ?", names.users, names.id),
            pool: OnceCell::new(),
        }
    }

    async fn pool(&self) -> &Pool {
        self.pool.get_or_init(|| async { Pool::new(self.options.clone()) }).await
    }
}

#[async_trait]
impl Store for MariaDb {
    async fn session(&self, key: &str) -> Result<Option<String>, Failure> {
        let query = self.session.as_deref().ok_or_else(|| unnamed("sessions"))?;
        let mut connection = self.pool().await.get_conn().await?;
        Ok(connection.exec_first(query, (key,)).await?)
    }

    async fn token(&self, key: &str) -> Result<Option<String>, Failure> {
        let query = self.token.as_deref().ok_or_else(|| unnamed("tokens"))?;
        let mut connection = self.pool().await.get_conn().await?;
        Ok(connection.exec_first(query, (key, key)).await?)
    }

    async fn user(&self, id: &str) -> Result<Option<Stored>, Failure> {
        let mut connection = self.pool().await.get_conn().await?;
        let found: Option<Row> = connection.exec_first(self.user.as_str(), (id,)).await?;
        let Some(row) = found else { return Ok(None) };
        let text = |at: usize| row.get_opt::<Option<String>, _>(at).transpose().map(Option::flatten);
        Ok(Some(Stored {
            id: text(0)?.unwrap_or_default(),
            password: text(1)?,
            username: text(2)?.unwrap_or_default(),
            active: row.get_opt(3).transpose()?.unwrap_or(false),
            role: text(4)?,
            attributes: (5..row.len()).map(text).collect::<Result<_, _>>()?,
        }))
    }
}
