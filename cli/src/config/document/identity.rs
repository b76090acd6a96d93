//! `[identity]`, as it is typed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::{one_second, unplaced};

/// `[identity]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Identity {
    pub(in super::super) django: Option<Django>,
}

/// `[identity.django]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Django {
    pub(in super::super) upstream: Spanned<String>,
    pub(in super::super) secret_key_file: Spanned<PathBuf>,
    #[serde(default)]
    pub(in super::super) fallback_key_files: Vec<Spanned<PathBuf>>,
    #[serde(default = "db")]
    pub(in super::super) sessions: Spanned<String>,
    pub(in super::super) session_files: Option<Spanned<PathBuf>>,
    #[serde(default = "two_weeks")]
    pub(in super::super) session_age: Spanned<String>,
    #[serde(default = "session_cookie")]
    pub(in super::super) session_cookie: String,
    #[serde(default = "session_table")]
    pub(in super::super) session_table: String,
    #[serde(default = "session_salt")]
    pub(in super::super) session_salt: String,
    #[serde(default = "auth_backends")]
    pub(in super::super) auth_backends: Vec<String>,
    #[serde(default = "csrf_cookie")]
    pub(in super::super) csrf_cookie: String,
    #[serde(default)]
    pub(in super::super) trusted_origins: Vec<String>,
    #[serde(default)]
    pub(in super::super) drf_tokens: bool,
    pub(in super::super) token_table: Option<Spanned<String>>,
    pub(in super::super) token_keyword: Option<Spanned<String>>,
    #[serde(default = "one_second")]
    pub(in super::super) cache_for: Spanned<String>,
    #[serde(default = "user_table")]
    pub(in super::super) user_table: String,
    #[serde(default = "id_column")]
    pub(in super::super) id_column: String,
    #[serde(default = "username_column")]
    pub(in super::super) username_column: String,
    #[serde(default = "active_column")]
    pub(in super::super) active_column: String,
    pub(in super::super) role_column: Option<String>,
    #[serde(default)]
    pub(in super::super) roles: BTreeMap<String, String>,
    #[serde(default)]
    pub(in super::super) attributes: Vec<String>,
}

fn db() -> Spanned<String> {
    unplaced("db")
}

fn two_weeks() -> Spanned<String> {
    unplaced("14d")
}

fn session_cookie() -> String {
    "sessionid".into()
}

fn csrf_cookie() -> String {
    "csrftoken".into()
}

fn session_table() -> String {
    "django_session".into()
}

fn session_salt() -> String {
    ficus_rules::identity::django::SESSION_SALT.to_owned()
}

fn auth_backends() -> Vec<String> {
    vec![ficus_rules::identity::django::MODEL_BACKEND.to_owned()]
}

fn user_table() -> String {
    "auth_user".into()
}

fn id_column() -> String {
    "id".into()
}

fn username_column() -> String {
    "username".into()
}

fn active_column() -> String {
    "is_active".into()
}
