//! Sessions in MariaDB or MySQL, where Django keeps times in UTC and without a zone. An id that is bound as text is
//! compared as what its column is.

use async_trait::async_trait;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Opts, OptsBuilder, Pool, PoolConstraints, PoolOpts};
use tokio::sync::OnceCell;

use super::store::{CONNECTIONS, Failure, Names, Store, Stored};

/// A database.
pub(super) struct MariaDb {
    options: Opts,
    session: String,
    user: String,
    pool: OnceCell<Pool>,
}

impl MariaDb {
    pub(super) fn new(options: &Opts, names: &Names) -> MariaDb {
        let most = usize::try_from(CONNECTIONS).ok().and_then(|most| PoolConstraints::new(0, most));
        let pool = most.map_or_else(PoolOpts::default, |most| PoolOpts::default().with_constraints(most));
        let role = names.role.as_ref().map_or("NULL".to_owned(), |role| format!("CAST(`{role}` AS CHAR)"));
        let active = names.active.as_ref().map_or("1".to_owned(), |active| format!("`{active}`"));
        let Names { id, username, users, .. } = names;
        MariaDb {
            options: OptsBuilder::from_opts(options.clone()).pool_opts(pool).into(),
            session: format!("SELECT session_data FROM `{}` WHERE session_key = ? AND expire_date > UTC_TIMESTAMP(6)", names.sessions),
            user: format!("SELECT CAST(`{id}` AS CHAR), password, `{username}`, {active}, {role} FROM `{users}` WHERE `{id}` = ?"),
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
        let mut connection = self.pool().await.get_conn().await?;
        Ok(connection.exec_first(self.session.as_str(), (key,)).await?)
    }

    async fn user(&self, id: &str) -> Result<Option<Stored>, Failure> {
        let mut connection = self.pool().await.get_conn().await?;
        let found: Option<(String, String, String, bool, Option<String>)> = connection.exec_first(self.user.as_str(), (id,)).await?;
        Ok(found.map(|(id, password, username, active, role)| Stored { id, password, username, active, role }))
    }
}
