//! Where a monolith keeps its sessions and users: the rows that identity needs, whatever the engine.

use std::time::Duration;

use async_trait::async_trait;

use super::{User, mariadb, postgres, sqlite};
use crate::Error;
use crate::config::{SessionDatabase, UserTable};

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
    /// `None`: the table's passwords are not read.
    pub(super) password: Option<String>,
    pub(super) username: String,
    pub(super) active: bool,
    pub(super) role: Option<String>,
    /// In the order of [`Names::attributes`].
    pub(super) attributes: Vec<Option<String>>,
}

impl Stored {
    /// The user as everybody else here sees it.
    pub(super) fn into_user(self, table: &UserTable) -> User {
        let role = table.role.as_ref().zip(self.role).map(|(column, value)| column.map.get(&value).cloned().unwrap_or(value));
        let attributes = table.attributes.iter().cloned().zip(self.attributes).filter_map(|(name, value)| Some((name, value?)));
        User { id: self.id, username: self.username, roles: role.into_iter().collect(), attributes: attributes.collect() }
    }
}

/// Tables and columns, as the configuration names them.
#[derive(Debug, Clone)]
pub(super) struct Names {
    pub(super) users: String,
    pub(super) id: String,
    pub(super) username: String,
    pub(super) password: Option<String>,
    pub(super) active: Option<String>,
    pub(super) role: Option<String>,
    pub(super) attributes: Vec<String>,
    /// The table of Django's sessions.
    pub(super) sessions: Option<String>,
    /// The table of Django REST framework's tokens.
    pub(super) tokens: Option<String>,
}

impl Names {
    /// A table of users, without anything beside it.
    pub(super) fn of(table: &UserTable) -> Names {
        Names {
            users: table.table.clone(),
            id: table.id_column.clone(),
            username: table.username_column.clone(),
            password: None,
            active: table.active_column.clone(),
            role: table.role.as_ref().map(|role| role.column.clone()),
            attributes: table.attributes.clone(),
            sessions: None,
            tokens: None,
        }
    }

    /// The columns of a user, in the order of [`Stored`]: each as text by `text`, what is missing as `null`, the mark of
    /// open accounts as it is or `yes`.
    pub(super) fn columns(&self, column: impl Fn(&str) -> String, text: impl Fn(&str) -> String, null: &str, yes: &str) -> String {
        let or_null = |name: &Option<String>| name.as_deref().map_or(null.to_owned(), &text);
        let active = self.active.as_deref().map_or(yes.to_owned(), &column);
        let mut columns = vec![text(&self.id), or_null(&self.password), text(&self.username), active, or_null(&self.role)];
        columns.extend(self.attributes.iter().map(|name| text(name)));
        columns.join(", ")
    }
}

/// An engine. It is connected to at the first look-up, inside the runtime that carries requests.
#[async_trait]
pub(super) trait Store: Send + Sync {
    /// The data of a session that has not expired.
    async fn session(&self, key: &str) -> Result<Option<String>, Failure>;

    /// The id of the user whose token it is, as text.
    async fn token(&self, key: &str) -> Result<Option<String>, Failure>;

    /// A user by the primary key, as text.
    async fn user(&self, id: &str) -> Result<Option<Stored>, Failure>;
}

/// The engine of a configuration.
pub(super) fn open(database: &SessionDatabase, names: Names) -> Result<Box<dyn Store>, Error> {
    let always = [&names.users, &names.id, &names.username];
    let sometimes = [&names.sessions, &names.tokens, &names.active, &names.role].into_iter().flatten();
    let all = always.into_iter().chain(sometimes).chain(&names.attributes);
    if let Some(name) = all.into_iter().find(|name| name.is_empty() || name.contains(['"', '`', '\0'])) {
        return Err(Error::Name(name.clone()));
    }
    Ok(match database {
        SessionDatabase::Sqlite(options) => Box::new(sqlite::Sqlite::new(options, &names)),
        SessionDatabase::Postgres(options) => Box::new(postgres::Postgres::new(options, names)),
        SessionDatabase::MariaDb(options) => Box::new(mariadb::MariaDb::new(options, &names)),
    })
}

/// Why nothing is asked of a table that nobody named.
pub(super) fn unnamed(what: &str) -> Failure {
    format!("no table of {what} is configured").into()
}
