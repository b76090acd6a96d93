//! Who calls: from Django's session cookie to a user, by the same rules as Django. Looks the session up in Django's own
//! database (read-only), believes it for a moment, and never looks the same one up twice at once.
//!
//! Formats are checked by `ficus_rules::identity::django`; the rows come from a `store`. Session keys, rows and tokens stay
//! out of every log.

mod mariadb;
mod postgres;
mod sqlite;
mod store;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ficus_rules::identity::django::{Secrets, SessionUser, hash_matches, is_session_key, read_salted_session};
use tokio::sync::OnceCell;

use self::store::{Failure, LIMIT, Store, Stored};
use crate::Error;
use crate::config::{DjangoIdentity, RoleColumn};

/// Whether sessions and users can be read with a configuration: asks for a session and for a user that need not exist.
/// Reads only.
///
/// # Errors
/// What the database said, in a sentence.
pub async fn check_identity(settings: &DjangoIdentity) -> Result<(), String> {
    let store = store::open(settings).map_err(|error| error.to_string())?;
    let told = |table: &str, failed: Failure| format!("{table}: {failed}");
    let asked = async {
        store.session("-").await.map_err(|failed| told(&settings.session_table, failed))?;
        store.user("0").await.map(drop).map_err(|failed| told(&settings.user_table, failed))
    };
    tokio::time::timeout(LIMIT * 2, asked).await.unwrap_or_else(|_| Err("the session database does not answer".to_owned()))
}

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
    secrets: Secrets,
    store: Box<dyn Store>,
    recent: moka::sync::Cache<String, Lookup>,
    /// The last look-up failed.
    unread: AtomicBool,
}

impl Sessions {
    /// # Errors
    /// A name in the configuration makes no sense. The database itself is not opened yet.
    pub(crate) fn new(settings: DjangoIdentity) -> Result<Sessions, Error> {
        let recent = moka::sync::Cache::builder().max_capacity(100_000).time_to_live(settings.cache_for).build();
        let secrets = Secrets { keys: settings.secrets.clone() };
        let store = store::open(&settings)?;
        Ok(Sessions { settings, secrets, store, recent, unread: AtomicBool::new(false) })
    }

    /// The user of a session.
    pub(crate) async fn find(&self, key: &str) -> Identity {
        if !is_session_key(key) {
            return Identity::Stranger;
        }
        let lookup = self.recent.get_with(key.to_owned(), Lookup::default);
        let look_up = async || self.look_up(key).await.inspect(|_| self.unread.store(false, Ordering::Relaxed));
        let looked_up = tokio::time::timeout(LIMIT, lookup.get_or_try_init(look_up)).await;
        if !matches!(looked_up, Ok(Ok(_))) {
            self.unread.store(true, Ordering::Relaxed);
        }
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

    /// The cookie whose sessions could not be looked up when that was last tried.
    pub(crate) fn unread(&self) -> Option<String> {
        self.unread.load(Ordering::Relaxed).then(|| self.settings.session_cookie.clone())
    }

    /// Forgets a session: it was changed or ended.
    pub(crate) fn forget(&self, key: &str) {
        self.recent.invalidate(key);
    }

    async fn look_up(&self, key: &str) -> Result<Option<Arc<User>>, Failure> {
        let Some(session) = self.store.session(key).await? else { return Ok(None) };
        let claimed = match read_salted_session(&session, &self.settings.session_salt, &self.secrets) {
            Ok(Some(claimed)) => claimed,
            Ok(None) => return Ok(None),
            Err(reason) => {
                tracing::debug!(reason, "a session was refused");
                return Ok(None);
            }
        };
        Ok(self.store.user(&claimed.id).await?.and_then(|stored| self.believed(&claimed, stored)))
    }

    /// The user that a session names, if it was made by a backend that still counts and for the present password, and the
    /// user may log in.
    fn believed(&self, claimed: &SessionUser, stored: Stored) -> Option<Arc<User>> {
        let Stored { id, password, username, active, role } = stored;
        if !active || !self.settings.auth_backends.contains(&claimed.backend) || !hash_matches(claimed, &password, &self.secrets) {
            return None;
        }
        let role = self.settings.role.as_ref().zip(role).map(|(column, value)| role_of(column, value));
        Some(Arc::new(User { id, username, role }))
    }
}

fn role_of(column: &RoleColumn, value: String) -> String {
    column.map.get(&value).cloned().unwrap_or(value)
}
