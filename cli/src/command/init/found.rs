//! What the project's own Python says that the project consists of: the answer of `look.py`.

use serde::Deserialize;

/// A project.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Project {
    /// `Django` or `Flask`.
    pub(super) framework: String,
    /// Its version.
    pub(super) version: String,
    pub(super) routes: Vec<Route>,
    pub(super) tables: Vec<Table>,
    pub(super) database: Database,
    /// Django's sessions, if it has any.
    pub(super) session: Option<Session>,
    /// Where Django's admin writes the tables of which group.
    pub(super) admin: Vec<AdminPart>,
    /// The cookie of Flask's sessions.
    pub(super) cookie: Option<String>,
}

/// One route, in the words of its framework.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Route {
    /// Without its leading slash: `users/<int:pk>/`.
    pub(super) path: String,
    /// Nothing follows it.
    pub(super) whole: bool,
    /// The app or blueprint that answers it; `None`: none of the project's own.
    pub(super) group: Option<String>,
}

/// One table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) group: String,
    /// Its primary key, if that is one column.
    pub(super) key: Option<String>,
    pub(super) keys: Vec<ForeignKey>,
}

/// One column that refers to another table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ForeignKey {
    pub(super) column: String,
    pub(super) table: String,
    pub(super) group: String,
}

/// The default database.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Database {
    /// `sqlite`, `postgres`, `mysql`, or what the framework calls it.
    pub(super) engine: String,
    pub(super) name: String,
    pub(super) host: String,
    pub(super) port: String,
    pub(super) user: String,
    /// It needs a password, which is not told.
    pub(super) password: bool,
}

/// Who is logged in.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Session {
    pub(super) engine: String,
    pub(super) cookie: String,
    pub(super) csrf_cookie: String,
    /// As it is sent.
    pub(super) csrf_header: String,
    pub(super) user_table: String,
    pub(super) id_column: String,
    pub(super) username_column: String,
    pub(super) active_column: Option<String>,
    pub(super) trusted_origins: Vec<String>,
}

/// One group in Django's admin.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AdminPart {
    /// Where the admin is: `/admin/`.
    pub(super) root: String,
    pub(super) group: String,
}
