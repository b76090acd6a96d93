//! What a gateway must be told of the ways in which callers say who they are.

mod flask;
mod jwt;
mod monolith;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use ficus_rules::identity::django::{MODEL_BACKEND, SESSION_AGE, SESSION_SALT};
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;

pub use flask::{FlaskIdentity, FlaskSessions, WtfCsrf};
pub use jwt::{JwtIdentity, JwtKeys, jwt_algorithms};
pub use monolith::MonolithIdentity;

/// All ways in which callers say who they are; each may be left out.
#[derive(Clone, Default)]
pub struct Identity {
    /// Django's sessions, and the tokens of Django REST framework.
    pub django: Option<DjangoIdentity>,
    /// Flask's sessions.
    pub flask: Option<FlaskIdentity>,
    /// Issuers of JSON Web Tokens.
    pub issuers: Vec<JwtIdentity>,
    /// The monolith, asked about what cannot be read here.
    pub monolith: Option<MonolithIdentity>,
}

impl Identity {
    /// The cookies by which the monolith knows sessions and forms; Django's usual ones unless it is known better.
    pub(crate) fn own_cookies(&self) -> Vec<String> {
        match &self.django {
            Some(django) => std::iter::once(&django.session_cookie).chain(&django.csrf_cookie).cloned().collect(),
            None => ["sessionid", "csrftoken"].map(str::to_owned).into(),
        }
    }
}

/// Only which ways there are: the rest holds secrets.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ways = [
            ("django", self.django.is_some()),
            ("flask", self.flask.is_some()),
            ("jwt", !self.issuers.is_empty()),
            ("ask", self.monolith.is_some()),
        ];
        f.debug_list().entries(ways.iter().filter(|(_, is)| *is).map(|(name, _)| name)).finish()
    }
}

/// How a database is reached that sessions and users are read from.
#[derive(Clone)]
pub enum SessionDatabase {
    /// A file; it is opened for reading only.
    Sqlite(Box<SqliteConnectOptions>),
    /// A PostgreSQL server.
    Postgres(Box<PgConnectOptions>),
    /// A MariaDB or MySQL server.
    MariaDb(mysql_async::Opts),
}

/// Where the users of a monolith stand.
#[derive(Clone)]
pub struct UserTable {
    /// The monolith's database.
    pub database: SessionDatabase,
    /// The table. Django's has a column `password`.
    pub table: String,
    /// Its primary key.
    pub id_column: String,
    /// What its users log in by (`USERNAME_FIELD`).
    pub username_column: String,
    /// What tells closed accounts; `None`: there are none.
    pub active_column: Option<String>,
    /// Where a user's role stands.
    pub role: Option<RoleColumn>,
    /// Further columns that claims may be made of.
    pub attributes: Vec<String>,
}

impl UserTable {
    /// Django's names.
    pub fn new(database: SessionDatabase) -> UserTable {
        UserTable {
            database,
            table: "auth_user".to_owned(),
            id_column: "id".to_owned(),
            username_column: "username".to_owned(),
            active_column: Some("is_active".to_owned()),
            role: None,
            attributes: Vec::new(),
        }
    }
}

/// A column of the user table that holds the role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleColumn {
    /// Its name.
    pub column: String,
    /// Its values as text, and the roles they stand for. A value that is missing stands for itself.
    pub map: BTreeMap<String, String>,
}

/// Django: its settings, as far as they matter here.
#[derive(Clone)]
pub struct DjangoIdentity {
    /// `AUTH_USER_MODEL`, in the monolith's database.
    pub users: UserTable,
    /// `SECRET_KEY`, then `SECRET_KEY_FALLBACKS`.
    pub secrets: Vec<String>,
    /// `SESSION_ENGINE`
    pub sessions: DjangoSessions,
    /// `SESSION_COOKIE_NAME`
    pub session_cookie: String,
    /// `SESSION_COOKIE_AGE`; only sessions in cookies and files are judged by it.
    pub session_age: Duration,
    /// The salt of its sessions: `django.contrib.sessions.` and the name of the store's class.
    pub session_salt: String,
    /// `AUTHENTICATION_BACKENDS`
    pub auth_backends: Vec<String>,
    /// `CSRF_COOKIE_NAME`; `None`: `CSRF_USE_SESSIONS`.
    pub csrf_cookie: Option<String>,
    /// `CSRF_HEADER_NAME`, as it is sent, in lower case.
    pub csrf_header: String,
    /// `CSRF_TRUSTED_ORIGINS`
    pub trusted_origins: Vec<String>,
    /// The tokens of Django REST framework, if they are accepted.
    pub tokens: Option<DrfTokens>,
    /// For how long a session or token that was looked up is believed.
    pub cache_for: Duration,
}

impl DjangoIdentity {
    /// Django's defaults on a database.
    pub fn new(database: SessionDatabase, secrets: Vec<String>) -> DjangoIdentity {
        DjangoIdentity {
            users: UserTable::new(database),
            secrets,
            sessions: DjangoSessions::Table("django_session".to_owned()),
            session_cookie: "sessionid".to_owned(),
            session_age: SESSION_AGE,
            session_salt: SESSION_SALT.to_owned(),
            auth_backends: vec![MODEL_BACKEND.to_owned()],
            csrf_cookie: Some("csrftoken".to_owned()),
            csrf_header: "x-csrftoken".to_owned(),
            trusted_origins: Vec::new(),
            tokens: None,
            cache_for: Duration::from_secs(1),
        }
    }
}

/// Where Django keeps the data of its sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DjangoSessions {
    /// In this table (`db`, and `cached_db`, which writes every session there too).
    Table(String),
    /// In files in this directory, `SESSION_FILE_PATH` (`file`).
    Files(PathBuf),
    /// In the cookie itself (`signed_cookies`).
    Cookie,
    /// Where only the monolith can read it (`cache`).
    Monolith,
}

/// `rest_framework.authtoken`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrfTokens {
    /// The table of tokens.
    pub table: String,
    /// What stands before a token in the header `Authorization`.
    pub keyword: String,
}

impl Default for DrfTokens {
    fn default() -> Self {
        DrfTokens { table: "authtoken_token".to_owned(), keyword: "Token".to_owned() }
    }
}
