//! Who calls: from Django's session cookie to a user, by the same rules as Django. Looks the session up in Django's own
//! database (read-only), believes it for a moment, and never looks the same one up twice at once.
//!
//! Formats are checked by `ficus_rules::identity::django`; this is the part that reads rows. Session keys, rows and
//! tokens stay out of every log.

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use ficus_rules::identity::django::{Secrets, SessionUser, hash_matches, read_session};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, Row as _};
use tokio::sync::OnceCell;

use crate::Error;
use crate::config::{DjangoIdentity, RoleColumn};

/// How long a look-up may take.
const LOOKUP_LIMIT: Duration = Duration::from_secs(2);

/// A user whose session was verified.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct User {
    /// The primary key, as text.
    pub(crate) id: String,
    /// The log-in name.
    pub(crate) username: String,
    /// The role, if the configuration says where it stands.
    pub(crate) role: Option<String>,
}

/// What is known of a caller.
#[derive(Debug, Clone, Default)]
pub(crate) enum Identity {
    /// Nobody is logged in.
    #[default]
    Stranger,
    /// This user is.
    Known(Arc<User>),
    /// The database did not answer.
    Unknown,
}

/// A look-up, under way or done.
type Lookup = Arc<OnceCell<Option<Arc<User>>>>;

/// Django's sessions and users.
pub(crate) struct Sessions {
    /// The names of cookies and what else the configuration says.
    pub(crate) settings: DjangoIdentity,
    options: SqliteConnectOptions,
    secrets: Secrets,
    session_query: String,
    user_query: String,
    /// Opened inside the runtime that carries requests, at the first look-up.
    pool: OnceCell<SqlitePool>,
    recent: moka::sync::Cache<String, Lookup>,
}

impl Sessions {
    /// # Errors
    /// The database URL or a name in the configuration makes no sense. The database itself is not opened yet.
    pub(crate) fn new(settings: DjangoIdentity) -> Result<Sessions, Error> {
        let options = SqliteConnectOptions::from_str(&settings.database)
            .map_err(|source| Error::Database { url: settings.database.clone(), source })?
            .read_only(true)
            .create_if_missing(false)
            .busy_timeout(Duration::from_secs(1));
        let recent = moka::sync::Cache::builder().max_capacity(100_000).time_to_live(settings.cache_for).build();
        let secrets = Secrets { keys: settings.secrets.clone() };
        let (session_query, user_query) = queries(&settings)?;
        Ok(Sessions { settings, options, secrets, session_query, user_query, pool: OnceCell::new(), recent })
    }

    /// The user of a session.
    pub(crate) async fn find(&self, key: &str) -> Identity {
        if !(8..=64).contains(&key.len()) || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Identity::Stranger;
        }
        let lookup = self.recent.get_with(key.to_owned(), Lookup::default);
        let looked_up = tokio::time::timeout(LOOKUP_LIMIT, lookup.get_or_try_init(|| self.look_up(key))).await;
        match looked_up {
            Ok(Ok(Some(user))) => Identity::Known(user.clone()),
            Ok(Ok(None)) => Identity::Stranger,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the session database does not answer");
                Identity::Unknown
            }
            Err(_) => {
                tracing::warn!("the session database does not answer in time");
                Identity::Unknown
            }
        }
    }

    /// Forgets a session: it was changed or ended.
    pub(crate) fn forget(&self, key: &str) {
        self.recent.invalidate(key);
    }

    async fn look_up(&self, key: &str) -> Result<Option<Arc<User>>, sqlx::Error> {
        let open =
            || async { SqlitePoolOptions::new().max_connections(4).acquire_timeout(LOOKUP_LIMIT).connect_lazy_with(self.options.clone()) };
        let pool = self.pool.get_or_init(open).await;
        let session = sqlx::query(AssertSqlSafe(self.session_query.as_str())).bind(key).fetch_optional(pool).await?;
        let Some(session) = session else { return Ok(None) };
        let claimed = match read_session(session.try_get("session_data")?, &self.secrets) {
            Ok(Some(claimed)) => claimed,
            Ok(None) => return Ok(None),
            Err(reason) => {
                tracing::debug!(reason, "a session was refused");
                return Ok(None);
            }
        };
        self.user(pool, &claimed).await
    }

    /// The user that a session names, if it was made for the present password and the user may log in.
    async fn user(&self, pool: &SqlitePool, claimed: &SessionUser) -> Result<Option<Arc<User>>, sqlx::Error> {
        let query = sqlx::query(AssertSqlSafe(self.user_query.as_str())).bind(&claimed.id);
        let Some(row) = query.fetch_optional(pool).await? else { return Ok(None) };
        let active: bool = row.try_get("is_active")?;
        if !active || !hash_matches(claimed, row.try_get("password")?, &self.secrets) {
            return Ok(None);
        }
        let stored: Option<String> = row.try_get("role")?;
        let role = self.settings.role.as_ref().zip(stored).map(|(column, value)| role_of(column, value));
        Ok(Some(Arc::new(User { id: row.try_get("id")?, username: row.try_get("username")?, role })))
    }
}

/// The queries for a session and for a user. Django writes `expire_date` as text in UTC, so that the order of texts is
/// the order of times; an id that is bound as text is compared by the affinity of its column.
fn queries(settings: &DjangoIdentity) -> Result<(String, String), Error> {
    let names = [Some(&settings.session_table), Some(&settings.user_table), settings.role.as_ref().map(|role| &role.column)];
    if let Some(name) = names.into_iter().flatten().find(|name| name.is_empty() || name.contains(['"', '\0'])) {
        return Err(Error::Name(name.clone()));
    }
    let (sessions, users) = (quoted(&settings.session_table), quoted(&settings.user_table));
    let role = settings.role.as_ref().map_or("NULL".to_owned(), |role| format!("CAST({} AS TEXT)", quoted(&role.column)));
    Ok((
        format!("SELECT session_data FROM {sessions} WHERE session_key = ? AND expire_date > strftime('%Y-%m-%d %H:%M:%f', 'now')"),
        format!("SELECT CAST(id AS TEXT) AS id, password, username, is_active, {role} AS role FROM {users} WHERE id = ?"),
    ))
}

fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

fn role_of(column: &RoleColumn, value: String) -> String {
    column.map.get(&value).cloned().unwrap_or(value)
}
