//! Django: its sessions, wherever it keeps them, and the tokens of Django REST framework. Everything is looked up in
//! Django's own tables and files, for reading only.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use ficus_rules::Timestamp;
use ficus_rules::identity::django::{
    DjangoSession, Secrets, SessionError, SessionUser, hash_matches, is_session_key, read_cookie_session, read_salted_session, session_file,
};

use super::User;
use super::ended::Ended;
use super::memory::{Found, Memory};
use super::store::{self, Failure, LIMIT, Names, Store};
use crate::Error;
use crate::config::{DjangoIdentity, DjangoSessions};

/// No session's file is longer.
const LONGEST: u64 = 1024 * 1024;

/// Django's sessions and users.
pub(super) struct Django {
    settings: DjangoIdentity,
    secrets: Secrets,
    store: Box<dyn Store>,
    sessions: Memory,
    tokens: Memory,
    ended: Arc<Ended>,
}

impl Django {
    pub(super) fn new(settings: DjangoIdentity, ended: Arc<Ended>) -> Result<Django, Error> {
        let memory = || Memory::new(settings.cache_for);
        let secrets = Secrets { keys: settings.secrets.clone() };
        let store = store::open(&settings.users.database, names(&settings))?;
        Ok(Django { secrets, store, sessions: memory(), tokens: memory(), ended, settings })
    }

    /// Whether sessions, users and tokens can be read as they are configured.
    pub(super) async fn check(&self) -> Result<(), String> {
        let told = |table: &str, failed: Failure| format!("{table}: {failed}");
        let asked = async {
            match &self.settings.sessions {
                DjangoSessions::Table(table) => drop(self.store.session("-").await.map_err(|failed| told(table, failed))?),
                DjangoSessions::Files(folder) => {
                    drop(tokio::fs::read_dir(folder).await.map_err(|failed| told(&folder.display().to_string(), failed.into()))?);
                }
                DjangoSessions::Cookie | DjangoSessions::Monolith => {}
            }
            if let Some(tokens) = &self.settings.tokens {
                self.store.token("-").await.map_err(|failed| told(&tokens.table, failed))?;
            }
            self.store.user("0").await.map(drop).map_err(|failed| told(&self.settings.users.table, failed))
        };
        tokio::time::timeout(LIMIT * 2, asked).await.unwrap_or_else(|_| Err("the session database does not answer".to_owned()))
    }

    pub(super) fn settings(&self) -> &DjangoIdentity {
        &self.settings
    }

    pub(super) fn session_cookie(&self) -> &str {
        &self.settings.session_cookie
    }

    /// Whether a scheme of the header `Authorization` is that of tokens.
    pub(super) fn takes_tokens(&self, scheme: &str) -> bool {
        self.settings.tokens.as_ref().is_some_and(|tokens| tokens.keyword.eq_ignore_ascii_case(scheme))
    }

    /// Whose session a cookie is.
    pub(super) async fn of_session(&self, cookie: &str) -> Found {
        let nobodys = match self.settings.sessions {
            DjangoSessions::Monolith => return Found::Unreadable,
            DjangoSessions::Cookie => self.ended.is_ended(cookie),
            DjangoSessions::Table(_) | DjangoSessions::Files(_) => !is_session_key(cookie),
        };
        if nobodys {
            return Found::NOBODY;
        }
        self.sessions.recall(&[cookie], || self.look_up(cookie)).await
    }

    /// Whose token it is. As in Django REST framework, a password changed later does not end it.
    pub(super) async fn of_token(&self, token: &str) -> Found {
        if !is_session_key(token) {
            return Found::NOBODY;
        }
        let look_up = || async {
            let Some(id) = self.store.token(token).await? else { return Ok(Found::NOBODY) };
            let user = self.store.user(&id).await?.filter(|stored| stored.active);
            Ok(user.map_or(Found::NOBODY, |stored| Found::user(Arc::new(stored.into_user(&self.settings.users)))))
        };
        self.tokens.recall(&[token], look_up).await
    }

    /// It was changed: it is looked up anew.
    pub(super) fn forget(&self, cookie: &str) {
        self.sessions.forget(&[cookie]);
    }

    /// It was ended. What lives in the cookie alone Django itself cannot end: here it is worth nothing from now on. What was
    /// nobody's session has no place in that memory: strangers could push others out of it.
    pub(super) fn end(&self, cookie: &str) {
        if self.settings.sessions == DjangoSessions::Cookie && self.is_somebodys(cookie) {
            self.ended.end(cookie, self.settings.session_age);
        }
        self.forget(cookie);
    }

    /// Whether a cookie is a session of a user, or one that is signed and cannot be read here.
    fn is_somebodys(&self, cookie: &str) -> bool {
        match read_cookie_session(cookie, &self.secrets, self.settings.session_age, Timestamp::from(SystemTime::now())) {
            Ok(session) => session.user.is_some(),
            Err(reason) => matches!(reason, SessionError::Serialiser),
        }
    }

    /// Whether the last look-up failed.
    pub(super) fn is_unread(&self) -> bool {
        self.sessions.is_unread()
    }

    async fn look_up(&self, cookie: &str) -> Result<Found, Failure> {
        let session = match self.read(cookie).await? {
            None => return Ok(Found::NOBODY),
            Some(Ok(session)) => session,
            Some(Err(SessionError::Serialiser)) => {
                tracing::warn!("a session of Django is not JSON: only the monolith can read it");
                return Ok(Found::Unreadable);
            }
            Some(Err(reason)) => {
                tracing::debug!(%reason, "a session was refused");
                return Ok(Found::NOBODY);
            }
        };
        let user = match &session.user {
            Some(claimed) => self.believed(claimed).await?,
            None => None,
        };
        Ok(Found::Session { user, csrf: session.csrf.map(Into::into) })
    }

    /// The data of a session that has not expired.
    async fn read(&self, cookie: &str) -> Result<Option<Result<DjangoSession, SessionError>>, Failure> {
        let now = Timestamp::from(SystemTime::now());
        let DjangoIdentity { session_salt: salt, session_age: age, session_cookie, sessions, .. } = &self.settings;
        match sessions {
            DjangoSessions::Table(_) => {
                let data = self.store.session(cookie).await?;
                Ok(data.map(|data| read_salted_session(&data, salt, &self.secrets)))
            }
            DjangoSessions::Files(folder) => {
                let Some(name) = session_file(session_cookie, cookie) else { return Ok(None) };
                let Some((data, changed)) = file(&folder.join(name)).await? else { return Ok(None) };
                let session = read_salted_session(&data, salt, &self.secrets);
                Ok(Some(session).filter(|session| session.as_ref().map_or(true, |session| session.is_live(changed, *age, now))))
            }
            DjangoSessions::Cookie => Ok(Some(read_cookie_session(cookie, &self.secrets, *age, now))),
            DjangoSessions::Monolith => Ok(None),
        }
    }

    /// The user that a session names, if it was made by a backend that still counts and for the present password, and the
    /// user may log in.
    async fn believed(&self, claimed: &SessionUser) -> Result<Option<Arc<User>>, Failure> {
        if !self.settings.auth_backends.contains(&claimed.backend) {
            return Ok(None);
        }
        let Some(stored) = self.store.user(&claimed.id).await? else { return Ok(None) };
        let genuine = stored.password.as_ref().is_some_and(|password| hash_matches(claimed, password, &self.secrets));
        Ok((stored.active && genuine).then(|| Arc::new(stored.into_user(&self.settings.users))))
    }
}

fn names(settings: &DjangoIdentity) -> Names {
    let mut names = Names::of(&settings.users);
    names.password = Some("password".to_owned());
    names.tokens = settings.tokens.as_ref().map(|tokens| tokens.table.clone());
    if let DjangoSessions::Table(table) = &settings.sessions {
        names.sessions = Some(table.clone());
    }
    names
}

/// A file's text, and when it was changed.
async fn file(path: &Path) -> Result<Option<(String, Timestamp)>, Failure> {
    let read = async {
        let about = tokio::fs::metadata(path).await?;
        if !about.is_file() || about.len() > LONGEST {
            return Err(std::io::Error::other("a session's file is no file, or longer than 1 MiB"));
        }
        Ok((tokio::fs::read_to_string(path).await?, Timestamp::from(about.modified()?)))
    };
    match read.await {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::SystemTime;

    use ficus_rules::Timestamp;
    use ficus_rules::identity::django::{COOKIE_SESSION_SALT, Secrets};
    use ficus_rules::identity::signing::dumps;
    use sqlx::sqlite::SqliteConnectOptions;

    use super::Django;
    use crate::config::{DjangoIdentity, DjangoSessions, SessionDatabase};

    #[test]
    fn only_what_was_somebodys_session_is_remembered_as_ended() {
        let database = SessionDatabase::Sqlite(Box::new(SqliteConnectOptions::new()));
        let settings = DjangoIdentity { sessions: DjangoSessions::Cookie, ..DjangoIdentity::new(database, vec!["a secret".into()]) };
        let django = Django::new(settings, Arc::default()).expect("a way to know callers");
        let sign = |json: &str, key: &str| {
            dumps(json.as_bytes(), COOKIE_SESSION_SALT, &Secrets { keys: vec![key.into()] }, Timestamp::from(SystemTime::now()))
        };
        let user = r#"{"_auth_user_id":"42","_auth_user_backend":"b","_auth_user_hash":"h"}"#;
        let cookies = [sign(user, "a secret"), sign(user, "made up"), sign("{}", "a secret"), "x".to_owned()];
        cookies.iter().for_each(|cookie| django.end(cookie));
        assert_eq!(cookies.map(|cookie| django.ended.is_ended(&cookie)), [true, false, false, false]);
    }
}
