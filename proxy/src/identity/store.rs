//! Where Django keeps its sessions and users: the rows that identity needs, whatever the engine.

use std::time::Duration;

use async_trait::async_trait;

use super::{mariadb, postgres, sqlite};
use crate::Error;
use crate::config::{DjangoIdentity, SessionDatabase};

/// How long a look-up may take.
pub(super) const LIMIT: Duration = Duration::from_secs(2);

/// Connections at once.
pub(super) const CONNECTIONS: u32 = 4;

/// Why there is no answer.
pub(super) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A row of the user table.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) id: String,
    pub(super) password: String,
    pub(super) username: String,
    pub(super) active: bool,
    pub(super) role: Option<String>,
}

/// Tables and columns, as the configuration names them.
#[derive(Debug, Clone)]
pub(super) struct Names {
    pub(super) sessions: String,
    pub(super) users: String,
    pub(super) id: String,
    pub(super) username: String,
    pub(super) active: Option<String>,
    pub(super) role: Option<String>,
}

/// An engine. It is connected to at the first look-up, inside the runtime that carries requests.
#[async_trait]
pub(super) trait Store: Send + Sync {
    /// The data of a session that has not expired.
    async fn session(&self, key: &str) -> Result<Option<String>, Failure>;

    /// A user by the primary key, as text.
    async fn user(&self, id: &str) -> Result<Option<Stored>, Failure>;
}

/// The engine of a configuration.
pub(super) fn open(settings: &DjangoIdentity) -> Result<Box<dyn Store>, Error> {
    let names = Names {
        sessions: settings.session_table.clone(),
        users: settings.user_table.clone(),
        id: settings.id_column.clone(),
        username: settings.username_column.clone(),
        active: settings.active_column.clone(),
        role: settings.role.as_ref().map(|role| role.column.clone()),
    };
    let always = [&names.sessions, &names.users, &names.id, &names.username];
    let all = always.into_iter().chain(&names.active).chain(&names.role);
    if let Some(name) = all.into_iter().find(|name| name.is_empty() || name.contains(['"', '`', '\0'])) {
        return Err(Error::Name(name.clone()));
    }
    Ok(match &settings.database {
        SessionDatabase::Sqlite(options) => Box::new(sqlite::Sqlite::new(options, &names)),
        SessionDatabase::Postgres(options) => Box::new(postgres::Postgres::new(options, names)),
        SessionDatabase::MariaDb(options) => Box::new(mariadb::MariaDb::new(options, &names)),
    })
}
