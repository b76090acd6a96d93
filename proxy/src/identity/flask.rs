//! Flask: its sessions, in the cookie or as Flask-Session keeps them in Redis, and the user that Flask-Login finds in them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ficus_rules::Timestamp;
use ficus_rules::identity::django::Secrets;
use ficus_rules::identity::flask::login::{Browser, remembered, user_id};
use ficus_rules::identity::flask::{FlaskSession, SessionError, read_cookie, read_stored, session_id};
use ficus_rules::route::Request as _;

use super::ended::Ended;
use super::login::User;
use super::memory::{Found, Memory};
use super::redis::Redis;
use super::set_cookie::SetCookies;
use super::store::{self, Failure, LIMIT, Names, Store};
use crate::Error;
use crate::asked::Asked;
use crate::config::{FlaskIdentity, FlaskSessions};

/// How long a cookie that remembers somebody is kept by browsers, unless Flask-Login is told otherwise. It has no end in itself.
const REMEMBERED_FOR: Duration = Duration::from_secs(365 * 86_400);

/// Flask's sessions and users.
pub(super) struct Flask {
    settings: FlaskIdentity,
    secrets: Secrets,
    redis: Option<Redis>,
    store: Option<Box<dyn Store>>,
    memory: Memory,
    ended: Arc<Ended>,
}

/// What a caller shows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown<'a> {
    session: Option<&'a str>,
    remember: Option<&'a str>,
    browser: Browser<'a>,
}

impl<'a> Shown<'a> {
    /// All that makes another answer.
    fn key(&self) -> [&'a str; 4] {
        let Shown { session, remember, browser } = *self;
        [session, remember, browser.address, browser.agent].map(Option::unwrap_or_default)
    }
}

impl Flask {
    pub(super) fn new(settings: FlaskIdentity, ended: Arc<Ended>) -> Result<Flask, Error> {
        let store = settings.users.as_ref().map(|users| store::open(&users.database, Names::of(users))).transpose()?;
        let redis = match &settings.sessions {
            FlaskSessions::Cookie | FlaskSessions::Monolith => None,
            FlaskSessions::Redis { url, .. } => Some(Redis::new(url)?),
        };
        let memory = Memory::new(settings.cache_for);
        Ok(Flask { secrets: Secrets { keys: settings.secrets.clone() }, redis, store, memory, ended, settings })
    }

    /// Whether sessions and users can be read as they are configured.
    pub(super) async fn check(&self) -> Result<(), String> {
        let asked = async {
            if let Some(redis) = &self.redis {
                redis.get("-").await.map(drop).map_err(|failed| format!("Redis: {failed}"))?;
            }
            if let (Some(store), Some(users)) = (&self.store, &self.settings.users) {
                store.user("0").await.map(drop).map_err(|failed| format!("{}: {failed}", users.table))?;
            }
            Ok(())
        };
        tokio::time::timeout(LIMIT * 2, asked).await.unwrap_or_else(|_| Err("the session store does not answer".to_owned()))
    }

    pub(super) fn settings(&self) -> &FlaskIdentity {
        &self.settings
    }

    /// The cookies by which it knows callers.
    pub(super) fn cookies(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.settings.session_cookie.as_str()).chain(self.settings.remember_cookie.as_deref())
    }

    /// What a request shows; `None`: neither session nor remembrance. `address`: from where, as the monolith is told.
    pub(super) fn shown<'a>(&self, asked: &'a Asked, address: Option<&'a str>) -> Option<Shown<'a>> {
        // As Werkzeug reads them: of several cookies of one name, the first one counts.
        let first = |name: &str| asked.cookies_of(name).next();
        let session = first(&self.settings.session_cookie);
        let remember = self.settings.remember_cookie.as_deref().and_then(first);
        let browser = Browser { address, agent: asked.header("user-agent") };
        (session.is_some() || remember.is_some()).then_some(Shown { session, remember, browser })
    }

    /// Who shows it.
    pub(super) async fn find(&self, shown: Shown<'_>) -> Found {
        let live = |cookie: &&str| !self.ended.is_ended(cookie);
        let shown = Shown { session: shown.session.filter(live), remember: shown.remember.filter(live), ..shown };
        if self.settings.sessions == FlaskSessions::Monolith {
            return Found::Unreadable;
        }
        self.memory.recall(&shown.key(), || self.look_up(shown)).await
    }

    /// Whether the last look-up failed.
    pub(super) fn is_unread(&self) -> bool {
        self.memory.is_unread()
    }

    /// A session and what remembers it were ended: where the cookie is all there is, it is worth nothing from now on. What is
    /// nobody's has no place in that memory: strangers could push others out of it.
    pub(super) fn end(&self, shown: Shown<'_>) {
        let somebodys = |session: &&str| self.settings.sessions == FlaskSessions::Cookie && self.user_of(Some(session)).is_some();
        shown.session.filter(somebodys).into_iter().for_each(|session| self.end_session(session));
        self.forget_remembrance(shown);
        self.memory.forget(&shown.key());
    }

    /// An answer gives a cookie out that remembers somebody: the same one for a user after each log-in.
    pub(super) fn given_out(&self, set: &SetCookies<'_>) {
        if let Some(Some(again)) = self.settings.remember_cookie.as_deref().and_then(|name| set.get(name)) {
            self.ended.given_out(again, REMEMBERED_FOR);
        }
    }

    /// An answer was given. Flask cannot end a session that lives in its cookie; who logs out here has ended it here.
    pub(super) fn answered(&self, shown: Shown<'_>, set: &SetCookies<'_>, log_out: bool) {
        let new = set.get(&self.settings.session_cookie);
        if let (Some(old), Some(new), FlaskSessions::Cookie) = (shown.session, new, &self.settings.sessions)
            && self.user_of(Some(old)).is_some_and(|user| self.user_of(new) != Some(user))
        {
            self.end_session(old);
        }
        let remember = self.settings.remember_cookie.as_deref().and_then(|name| set.get(name));
        if let Some(None) = remember {
            self.forget_remembrance(shown);
        }
        if new.is_some() || remember.is_some() || log_out {
            self.memory.forget(&shown.key());
        }
    }

    fn end_session(&self, session: &str) {
        self.ended.end(session, self.settings.session_age);
    }

    /// A cookie that remembers somebody remembers nobody from now on.
    fn forget_remembrance(&self, shown: Shown<'_>) {
        if let Some(old) = shown.remember.filter(|old| remembered(old, &self.secrets).is_some()) {
            self.ended.end(old, REMEMBERED_FOR);
        }
    }

    async fn look_up(&self, shown: Shown<'_>) -> Result<Found, Failure> {
        let session = match self.read(shown.session).await? {
            Ok(session) => session,
            Err(reason @ (SessionError::Pickle | SessionError::Serialiser)) => {
                tracing::warn!(%reason, "a session of Flask cannot be read here");
                return Ok(Found::Unreadable);
            }
            // As in Flask: as if it were not there.
            Err(SessionError::Signing(reason)) => {
                tracing::debug!(%reason, "a session was refused");
                FlaskSession::default()
            }
        };
        let user = match user_id(&session, shown.remember, self.settings.protection, shown.browser, &self.secrets) {
            Some(id) => self.user(&id, &session).await?,
            None => None,
        };
        Ok(Found::Session { user: user.map(Arc::new), csrf: self.csrf(&session) })
    }

    async fn read(&self, cookie: Option<&str>) -> Result<Result<FlaskSession, SessionError>, Failure> {
        let Some(cookie) = cookie else { return Ok(Ok(FlaskSession::default())) };
        match (&self.settings.sessions, &self.redis) {
            (FlaskSessions::Redis { prefix, signed, .. }, Some(redis)) => {
                let Some(id) = session_id(cookie, signed.then_some(&self.secrets)) else { return Ok(Ok(FlaskSession::default())) };
                let data = redis.get(&format!("{prefix}{id}")).await?;
                Ok(data.map_or_else(|| Ok(FlaskSession::default()), |data| read_stored(&data)))
            }
            _ => Ok(read_cookie(cookie, &self.secrets, self.settings.session_age, Timestamp::from(SystemTime::now()))),
        }
    }

    async fn user(&self, id: &str, session: &FlaskSession) -> Result<Option<User>, Failure> {
        let mut user = match (&self.store, &self.settings.users) {
            (Some(store), Some(users)) => match store.user(id).await?.filter(|stored| stored.active) {
                Some(stored) => stored.into_user(users),
                None => return Ok(None),
            },
            _ => User { id: id.to_owned(), username: id.to_owned(), ..User::default() },
        };
        user.roles.extend(self.settings.role_key.as_ref().and_then(|key| session.text(key)));
        Ok(Some(user))
    }

    fn csrf(&self, session: &FlaskSession) -> Option<Arc<str>> {
        self.settings.csrf.as_ref().and_then(|csrf| session.text(&csrf.field)).map(Into::into)
    }

    /// The user's id in a cookie that is a session.
    fn user_of(&self, cookie: Option<&str>) -> Option<String> {
        let now = Timestamp::from(SystemTime::now());
        read_cookie(cookie?, &self.secrets, self.settings.session_age, now).ok()?.text("_user_id")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::SystemTime;

    use ficus_rules::Timestamp;
    use ficus_rules::identity::django::Secrets;
    use ficus_rules::identity::flask::SESSION;
    use ficus_rules::identity::flask::login::{Browser, remember};
    use ficus_rules::identity::itsdangerous::dumps;

    use super::{Flask, Shown};
    use crate::config::FlaskIdentity;

    const NOBODYS: Browser<'static> = Browser { address: None, agent: None };

    #[test]
    fn only_what_was_somebodys_is_remembered_as_ended() {
        let flask = Flask::new(FlaskIdentity::new(vec!["a secret".into()]), Arc::default()).expect("a way to know callers");
        let secrets = |key: &str| Secrets { keys: vec![key.into()] };
        let sign = |json: &str, key: &str| dumps(json.as_bytes(), SESSION, &secrets(key), Timestamp::from(SystemTime::now()));
        let sessions =
            [sign(r#"{"_user_id":"42"}"#, "a secret"), sign(r#"{"_user_id":"42"}"#, "made up"), sign("{}", "a secret"), "x".into()];
        for session in &sessions {
            flask.end(Shown { session: Some(session), remember: None, browser: NOBODYS });
        }
        assert_eq!(sessions.map(|session| flask.ended.is_ended(&session)), [true, false, false, false]);
        let cookies = [remember("42", &secrets("a secret")), remember("42", &secrets("made up")), "42|x".to_owned()];
        for cookie in &cookies {
            flask.end(Shown { session: None, remember: Some(cookie), browser: NOBODYS });
        }
        assert_eq!(cookies.map(|cookie| flask.ended.is_ended(&cookie)), [true, false, false]);
    }
}
