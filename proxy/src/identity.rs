//! Who calls: from a session's cookie or a token to a user, by the same rules as the framework that gave it out.
//!
//! What decides when several are there: a header `Authorization` of a scheme that is configured decides alone, also when it
//! is worth nothing; a program put it there for this request, while cookies come along by themselves. Formats are checked by
//! `ficus_rules::identity`; rows and files come from a `store`. Keys, cookies and tokens stay out of every log.

mod django;
mod mariadb;
mod memory;
mod postgres;
mod set_cookie;
mod sqlite;
mod store;

use std::collections::BTreeMap;
use std::sync::Arc;

use ficus_rules::route::Request as _;
use http::HeaderMap;

use self::django::Django;
use self::memory::Found;
use self::set_cookie::SetCookies;
use crate::Error;
use crate::asked::Asked;
use crate::config::Identity as Settings;

/// Whether sessions and users can be read with a configuration: asks for some that need not exist. Reads only.
///
/// # Errors
/// What the database or directory said, in a sentence.
pub async fn check_identity(settings: &Settings) -> Result<(), String> {
    match &settings.django {
        Some(settings) => django::check(settings).await,
        None => Ok(()),
    }
}

/// A user whose session or token was verified.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct User {
    /// The primary key, as text.
    pub(crate) id: String,
    /// The log-in name.
    pub(crate) username: String,
    /// Its roles, if the configuration says where they stand.
    pub(crate) roles: Vec<String>,
    /// What else the configuration asked for, by name.
    pub(crate) attributes: BTreeMap<String, String>,
}

/// What is known of a caller.
#[derive(Debug, Clone, Default)]
pub(crate) enum Identity {
    /// Nobody is logged in.
    #[default]
    Stranger,
    /// This user is.
    Known(Arc<User>),
    /// The database did not answer, or the session can be read by nobody here.
    Unknown,
}

/// Who calls, and how that was said.
#[derive(Debug, Clone, Default)]
pub(crate) struct Login {
    /// Who.
    pub(crate) identity: Identity,
    /// A header said so: no page of another site can have sent it, so there is nothing to forge.
    pub(crate) by_header: bool,
    /// The secret of CSRF tokens that the session holds.
    pub(crate) csrf: Option<Arc<str>>,
}

impl Login {
    /// The user, if one is known.
    pub(crate) fn user(&self) -> Option<&Arc<User>> {
        match &self.identity {
            Identity::Known(user) => Some(user),
            Identity::Stranger | Identity::Unknown => None,
        }
    }
}

/// All ways that are configured.
pub(crate) struct Callers {
    django: Option<Django>,
}

impl Callers {
    /// # Errors
    /// A name in the configuration makes no sense. No database is opened yet.
    pub(crate) fn new(settings: &Settings) -> Result<Callers, Error> {
        Ok(Callers { django: settings.django.clone().map(Django::new).transpose()? })
    }

    /// Who sent a request.
    pub(crate) async fn find(&self, asked: &Asked) -> Login {
        if let Some((keyword, rest)) = asked.header("authorization").and_then(|value| value.trim().split_once(' ')) {
            let token = rest.trim();
            if let Some(django) = self.django.as_ref().filter(|django| django.takes_tokens(keyword)) {
                return Login { by_header: true, ..login(django.of_token(token).await) };
            }
        }
        if let Some(django) = &self.django
            && let Some(cookie) = asked.cookie(django.session_cookie())
        {
            return login(django.of_session(cookie).await);
        }
        Login::default()
    }

    /// The cookies by which sessions are known. Modern never sees them.
    pub(crate) fn session_cookies(&self) -> impl Iterator<Item = &str> {
        self.django.iter().map(Django::session_cookie)
    }

    /// An answer was given: what it changes or ends must be looked up anew, or is worth nothing any more.
    pub(crate) fn answered(&self, asked: &Asked, answer: &HeaderMap) {
        let set = SetCookies::of(answer);
        let log_out = asked.path.contains("logout");
        if let Some(django) = &self.django
            && let Some(cookie) = asked.cookie(django.session_cookie())
        {
            match set.get(django.session_cookie()) {
                Some(None) => django.ended(cookie),
                Some(Some(_)) => django.forget(cookie),
                None if log_out => django.forget(cookie),
                None => {}
            }
        }
    }

    /// The cookie whose sessions could not be looked up when that was last tried.
    pub(crate) fn unread(&self) -> Option<String> {
        self.django.iter().find(|django| django.is_unread()).map(|django| django.session_cookie().to_owned())
    }

    /// Django's settings, by which CSRF tokens are judged.
    pub(crate) fn django(&self) -> Option<&crate::config::DjangoIdentity> {
        self.django.as_ref().map(Django::settings)
    }
}

fn login(found: Found) -> Login {
    let (identity, csrf) = match found {
        Found::Unreadable | Found::Unknown => (Identity::Unknown, None),
        Found::Session { user, csrf } => (user.map_or(Identity::Stranger, Identity::Known), csrf),
    };
    Login { identity, csrf, by_header: false }
}
