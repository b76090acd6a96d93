//! Flask, as far as its callers and forms are known by it.

use std::time::Duration;

use ficus_rules::identity::flask::login::Protection;
use ficus_rules::identity::flask::{SESSION_AGE, csrf};

use super::UserTable;

/// Flask: its settings, and those of its extensions.
#[derive(Clone)]
pub struct FlaskIdentity {
    /// `SECRET_KEY`, then `SECRET_KEY_FALLBACKS`.
    pub secrets: Vec<String>,
    /// Where the data of sessions is.
    pub sessions: FlaskSessions,
    /// `SESSION_COOKIE_NAME`
    pub session_cookie: String,
    /// `PERMANENT_SESSION_LIFETIME`, by which sessions in cookies are judged.
    pub session_age: Duration,
    /// Flask-Login's `SESSION_PROTECTION`.
    pub protection: Protection,
    /// Flask-Login's `REMEMBER_COOKIE_NAME`; `None`: nobody is remembered.
    pub remember_cookie: Option<String>,
    /// Where users stand; `None`: nothing is known of them but the id.
    pub users: Option<UserTable>,
    /// The key of a session that holds a role.
    pub role_key: Option<String>,
    /// Flask-WTF's protection of forms, if the application has it.
    pub csrf: Option<WtfCsrf>,
    /// For how long what was looked up is believed.
    pub cache_for: Duration,
}

impl FlaskIdentity {
    /// Flask's defaults, with Flask-Login and Flask-WTF, and no table of users.
    pub fn new(secrets: Vec<String>) -> FlaskIdentity {
        FlaskIdentity {
            csrf: Some(WtfCsrf::new(secrets.clone())),
            secrets,
            sessions: FlaskSessions::Cookie,
            session_cookie: "session".to_owned(),
            session_age: SESSION_AGE,
            protection: Protection::Basic,
            remember_cookie: Some("remember_token".to_owned()),
            users: None,
            role_key: None,
            cache_for: Duration::from_secs(1),
        }
    }
}

/// Where the data of Flask's sessions is.
#[derive(Clone, PartialEq, Eq)]
pub enum FlaskSessions {
    /// In the signed cookie.
    Cookie,
    /// In Redis, as Flask-Session keeps them.
    Redis {
        /// `redis://host:port/database`
        url: String,
        /// `SESSION_KEY_PREFIX`
        prefix: String,
        /// `SESSION_USE_SIGNER`
        signed: bool,
    },
    /// Where only the monolith can read it.
    Monolith,
}

/// Flask-WTF's CSRF protection.
#[derive(Clone)]
pub struct WtfCsrf {
    /// `WTF_CSRF_SECRET_KEY`, or those of Flask.
    pub secrets: Vec<String>,
    /// `WTF_CSRF_FIELD_NAME`; also the key of the session.
    pub field: String,
    /// `WTF_CSRF_HEADERS`, in lower case.
    pub headers: Vec<String>,
    /// `WTF_CSRF_TIME_LIMIT`
    pub time_limit: Duration,
    /// `WTF_CSRF_SSL_STRICT`: what comes by https comes from the site's own pages.
    pub ssl_strict: bool,
}

impl WtfCsrf {
    /// Flask-WTF's defaults.
    pub fn new(secrets: Vec<String>) -> WtfCsrf {
        let headers = ["x-csrftoken", "x-csrf-token"].map(str::to_owned).into();
        WtfCsrf { secrets, field: "csrf_token".to_owned(), headers, time_limit: csrf::TIME_LIMIT, ssl_strict: true }
    }
}
