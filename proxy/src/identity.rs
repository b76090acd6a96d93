//! Who calls: from a session's cookie or a token to a user, by the same rules as the framework that gave it out.
//!
//! What decides when several are there: a header `Authorization` of a scheme that is configured decides alone, also when it
//! is worth nothing; a program put it there for this request, while cookies come along by themselves. Formats are checked by
//! `ficus_rules::identity`; rows, files and values come from a store. Keys, cookies and tokens stay out of every log.

mod django;
mod ended;
mod flask;
mod jwks;
mod jwt;
mod login;
mod mariadb;
mod memory;
mod monolith;
mod outgoing;
mod postgres;
mod redis;
mod set_cookie;
mod sqlite;
mod store;

use std::sync::Arc;

use ficus_rules::route::Request as _;
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue};

use self::django::Django;
use self::ended::Ended;
use self::flask::Flask;
use self::jwt::Jwt;
use self::memory::Found;
use self::monolith::Monolith;
use self::set_cookie::SetCookies;
use crate::Error;
use crate::asked::Asked;
use crate::config::{DjangoIdentity, FlaskIdentity, Identity as Settings};
use crate::forward::Peer;

pub(crate) use self::login::{By, Identity, Login, User};
pub(crate) use self::outgoing::connector;

/// The cookies of sessions in Django and in Flask, unless their settings say otherwise.
const USUAL_SESSIONS: [&str; 2] = ["sessionid", "session"];

/// Whether sessions, users and keys can be read with a configuration: asks for some that need not exist. Reads only.
///
/// # Errors
/// What the database, directory or server said, in a sentence.
pub async fn check_identity(settings: &Settings) -> Result<(), String> {
    let callers = Callers::new(settings).map_err(|error| error.to_string())?;
    if let Some(django) = &callers.django {
        django.check().await?;
    }
    if let Some(flask) = &callers.flask {
        flask.check().await?;
    }
    for jwt in &callers.issuers {
        jwt.check().await?;
    }
    match &callers.monolith {
        Some(monolith) => monolith.check().await,
        None => Ok(()),
    }
}

/// How long it takes to find out who calls, on average over so many requests with these headers: for the bench.
///
/// # Errors
/// The configuration makes no sense, or the caller is unknown.
#[doc(hidden)]
pub async fn time_look_ups(settings: &Settings, headers: HeaderMap, times: u32) -> Result<std::time::Duration, String> {
    let callers = Callers::new(settings).map_err(|error| error.to_string())?;
    let mut head = pingora::http::RequestHeader::build("GET", b"/", None).map_err(|error| error.to_string())?;
    for (name, value) in &headers {
        head.append_header(name.clone(), value.clone()).map_err(|error| error.to_string())?;
    }
    let (asked, peer) = (Asked::read(&head, "/".to_owned()), Peer::default());
    if callers.find(&asked, &peer).await.user().is_none() {
        return Err("the caller is unknown".to_owned());
    }
    let start = std::time::Instant::now();
    for _ in 0..times {
        std::hint::black_box(callers.find(&asked, &peer).await);
    }
    Ok(start.elapsed() / times)
}

/// All ways that are configured.
pub(crate) struct Callers {
    django: Option<Django>,
    flask: Option<Flask>,
    issuers: Vec<Jwt>,
    monolith: Option<Monolith>,
    cookies: Vec<String>,
    /// Sessions that were ended and could not be at their source.
    pub(crate) ended: Arc<Ended>,
}

impl Callers {
    /// # Errors
    /// A name in the configuration makes no sense. No database is opened yet.
    pub(crate) fn new(settings: &Settings) -> Result<Callers, Error> {
        let ended = Arc::<Ended>::default();
        let mut callers = Callers {
            django: settings.django.clone().map(|django| Django::new(django, ended.clone())).transpose()?,
            flask: settings.flask.clone().map(|flask| Flask::new(flask, ended.clone())).transpose()?,
            issuers: settings.issuers.iter().cloned().map(Jwt::new).collect::<Result<_, _>>()?,
            monolith: settings.monolith.clone().map(Monolith::new).transpose()?,
            cookies: Vec::new(),
            ended,
        };
        let django = callers.django.iter().map(Django::session_cookie);
        let all = django.chain(callers.flask.iter().flat_map(Flask::cookies)).chain(callers.monolith.iter().flat_map(Monolith::cookies));
        let mut cookies: Vec<String> = Vec::new();
        for name in all {
            if !cookies.iter().any(|known| known == name) {
                cookies.push(name.to_owned());
            }
        }
        callers.cookies = cookies;
        Ok(callers)
    }

    /// Who sent a request.
    pub(crate) async fn find(&self, asked: &Asked, peer: &Peer) -> Login {
        match self.by_header(asked).await {
            Some(found) => Login::of(By::Header, found),
            None => self.by_cookie(asked, peer).await,
        }
    }

    /// By a header of a scheme that is configured; `None`: there is none.
    async fn by_header(&self, asked: &Asked) -> Option<Found> {
        let (scheme, rest) = asked.header("authorization")?.trim().split_once(' ')?;
        let token = rest.trim();
        if let Some(django) = self.django.as_ref().filter(|django| django.takes_tokens(scheme)) {
            return Some(django.of_token(token).await);
        }
        if self.issuers.is_empty() || !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        match self.issuers.iter().find(|issuer| issuer.is_issuer_of(token)) {
            Some(issuer) => Some(issuer.find(token).await),
            None => Some(Found::NOBODY),
        }
    }

    /// By a cookie: Django's if it names somebody, else Flask's.
    async fn by_cookie(&self, asked: &Asked, peer: &Peer) -> Login {
        let mut login = Login::default();
        if let Some(django) = &self.django
            && let Some(cookie) = asked.cookie(django.session_cookie())
        {
            let found = django.of_session(cookie).await;
            login = Login::of(By::Django, self.or_ask(found, asked, peer).await);
        }
        if let Some(flask) = self.flask.as_ref().filter(|_| matches!(login.identity, Identity::Stranger)) {
            let address = peer.origin(asked);
            if let Some(shown) = flask.shown(asked, address.as_deref()) {
                let found = flask.find(shown).await;
                let flasks = Login::of(By::Flask, self.or_ask(found, asked, peer).await);
                if login.by == By::Nothing || !matches!(flasks.identity, Identity::Stranger) {
                    login = flasks;
                }
            }
        }
        match &self.monolith {
            Some(monolith) if login.by == By::Nothing && monolith.concerns(asked) => {
                Login::of(By::Monolith, monolith.find(asked, peer.origin(asked).as_deref()).await)
            }
            _ => login,
        }
    }

    /// What cannot be read here, the monolith is asked.
    async fn or_ask(&self, found: Found, asked: &Asked, peer: &Peer) -> Found {
        match (&self.monolith, found) {
            (Some(monolith), Found::Unreadable) => monolith.find(asked, peer.origin(asked).as_deref()).await,
            (_, found) => found,
        }
    }

    /// The cookies by which callers are known, each once.
    pub(crate) fn session_cookies(&self) -> impl Iterator<Item = &str> {
        self.cookies.iter().map(String::as_str)
    }

    /// Whether modern never sees a cookie: whoever has it *is* its user at the monolith. While no framework is configured, the
    /// usual names are taken to be sessions.
    pub(crate) fn hides(&self, cookie: &str) -> bool {
        match self.cookies.is_empty() {
            true => USUAL_SESSIONS.contains(&cookie),
            false => self.cookies.iter().any(|session| session == cookie),
        }
    }

    /// An answer was given: what it changes or ends must be looked up anew, or is worth nothing any more.
    pub(crate) fn answered(&self, asked: &Asked, peer: &Peer, answer: &HeaderMap) {
        let set = SetCookies::of(answer);
        let log_out = asked.path.contains("logout");
        if let Some(django) = &self.django
            && let Some(cookie) = asked.cookie(django.session_cookie())
        {
            match set.get(django.session_cookie()) {
                Some(None) => django.end(cookie),
                Some(Some(_)) => django.forget(cookie),
                None if log_out => django.forget(cookie),
                None => {}
            }
        }
        let changes = log_out || self.session_cookies().any(|name| set.get(name).is_some());
        if !changes {
            return;
        }
        let address = peer.origin(asked);
        if let Some(flask) = &self.flask {
            if let Some(shown) = flask.shown(asked, address.as_deref()) {
                flask.answered(shown, &set, log_out);
            }
            flask.given_out(&set);
        }
        if let Some(monolith) = &self.monolith {
            monolith.forget(asked, address.as_deref());
        }
    }

    /// Modern has logged somebody out: the session ends at the monolith, in all gateways, and in the browser. Gives the
    /// `Set-Cookie` lines for the answer.
    ///
    /// # Errors
    /// The monolith did not end it: the caller may still be logged in there.
    pub(crate) async fn log_out(&self, asked: &Asked, peer: &Peer) -> Result<Vec<HeaderValue>, String> {
        let address = peer.origin(asked);
        let mut said = HeaderMap::new();
        match &self.monolith {
            Some(monolith) if monolith.concerns(asked) => {
                said = monolith.log_out(asked, address.as_deref()).await.map_err(|failed| failed.to_string())?;
            }
            Some(_) => {}
            None => tracing::warn!("modern ended a session, and the monolith cannot be told: name its view in [identity.ask]"),
        }
        if let Some(django) = &self.django
            && let Some(cookie) = asked.cookie(django.session_cookie())
        {
            django.end(cookie);
        }
        if let Some(flask) = &self.flask
            && let Some(shown) = flask.shown(asked, address.as_deref())
        {
            flask.end(shown);
        }
        let set = SetCookies::of(&said);
        let forgotten = self.session_cookies().filter(|name| asked.cookie(name).is_some() && set.get(name).is_none());
        let forgotten = forgotten.filter_map(|name| format!("{name}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax").parse().ok());
        Ok(said.get_all(SET_COOKIE).iter().cloned().chain(forgotten).collect())
    }

    /// The cookie whose sessions could not be looked up when that was last tried.
    pub(crate) fn unread(&self) -> Option<String> {
        let asked = self.monolith.as_ref().is_some_and(Monolith::is_unread);
        let django = self.django.iter().filter(|django| asked || django.is_unread()).map(Django::session_cookie);
        let flask = self.flask.iter().filter(|flask| asked || flask.is_unread()).flat_map(Flask::cookies);
        let monolith = self.monolith.iter().filter(|_| asked).flat_map(Monolith::cookies);
        django.chain(flask).chain(monolith).next().map(str::to_owned)
    }

    /// Looks for changed files of certificates.
    pub(crate) fn look(&self) {
        self.monolith.iter().for_each(Monolith::look);
    }

    /// Django's settings, by which its CSRF tokens are judged.
    pub(crate) fn django(&self) -> Option<&DjangoIdentity> {
        self.django.as_ref().map(Django::settings)
    }

    /// Flask's settings, by which its CSRF tokens are judged.
    pub(crate) fn flask(&self) -> Option<&FlaskIdentity> {
        self.flask.as_ref().map(Flask::settings)
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::Algorithm;
    use pingora::http::RequestHeader;

    use super::{By, Callers, Identity, Settings};
    use crate::asked::Asked;
    use crate::config::{JwtIdentity, JwtKeys};
    use crate::forward::Peer;

    #[tokio::test]
    async fn a_token_of_an_issuer_that_is_not_known_decides_alone() {
        let issuer = Some("https://id.test".to_owned());
        let jwt = JwtIdentity { issuer, ..JwtIdentity::new(vec![Algorithm::HS256], JwtKeys::Secret(b"the secret".to_vec())) };
        let callers = Callers::new(&Settings { issuers: vec![jwt], ..Settings::default() }).expect("ways to know callers");
        let mut head = RequestHeader::build("GET", b"/", None).expect("a head");
        head.append_header("authorization", "Bearer e30.e30.e30").expect("a header");
        let login = callers.find(&Asked::read(&head, "/".to_owned()), &Peer::default()).await;
        assert!(login.by == By::Header && matches!(login.identity, Identity::Stranger), "{login:?}");
    }
}
