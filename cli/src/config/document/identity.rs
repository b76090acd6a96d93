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
    pub(in super::super) flask: Option<Flask>,
    #[serde(default)]
    pub(in super::super) jwt: BTreeMap<Spanned<String>, Jwt>,
    pub(in super::super) ask: Option<Ask>,
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
    #[serde(default = "csrf_header")]
    pub(in super::super) csrf_header: Spanned<String>,
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

fn csrf_header() -> Spanned<String> {
    unplaced("X-CSRFToken")
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

/// `[identity.flask]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Flask {
    pub(in super::super) secret_key_file: Spanned<PathBuf>,
    #[serde(default)]
    pub(in super::super) fallback_key_files: Vec<Spanned<PathBuf>>,
    #[serde(default = "cookie")]
    pub(in super::super) sessions: Spanned<String>,
    pub(in super::super) redis: Option<Spanned<String>>,
    pub(in super::super) redis_password_file: Option<Spanned<PathBuf>>,
    #[serde(default = "session_prefix")]
    pub(in super::super) session_prefix: String,
    #[serde(default)]
    pub(in super::super) signed_ids: bool,
    #[serde(default = "session")]
    pub(in super::super) session_cookie: String,
    #[serde(default = "a_month")]
    pub(in super::super) session_age: Spanned<String>,
    #[serde(default = "basic")]
    pub(in super::super) protection: Spanned<String>,
    #[serde(default = "remember_token")]
    pub(in super::super) remember_cookie: String,
    pub(in super::super) role_key: Option<String>,
    pub(in super::super) users: Option<Users>,
    #[serde(default = "yes")]
    pub(in super::super) csrf: bool,
    pub(in super::super) csrf_key_file: Option<Spanned<PathBuf>>,
    #[serde(default = "csrf_field")]
    pub(in super::super) csrf_field: String,
    #[serde(default = "csrf_headers")]
    pub(in super::super) csrf_headers: Vec<String>,
    #[serde(default = "one_hour")]
    pub(in super::super) csrf_age: Spanned<String>,
    #[serde(default = "yes")]
    pub(in super::super) csrf_ssl_strict: bool,
    #[serde(default = "one_second")]
    pub(in super::super) cache_for: Spanned<String>,
}

/// `[identity.flask.users]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Users {
    pub(in super::super) upstream: Spanned<String>,
    pub(in super::super) table: String,
    #[serde(default = "id_column")]
    pub(in super::super) id_column: String,
    #[serde(default = "username_column")]
    pub(in super::super) username_column: String,
    #[serde(default)]
    pub(in super::super) active_column: String,
    pub(in super::super) role_column: Option<String>,
    #[serde(default)]
    pub(in super::super) roles: BTreeMap<String, String>,
    #[serde(default)]
    pub(in super::super) attributes: Vec<String>,
}

/// `[identity.jwt.NAME]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Jwt {
    pub(in super::super) issuer: Option<String>,
    #[serde(default)]
    pub(in super::super) audience: Vec<String>,
    pub(in super::super) algorithms: Spanned<Vec<String>>,
    pub(in super::super) secret_file: Option<Spanned<PathBuf>>,
    pub(in super::super) jwks: Option<Spanned<String>>,
    pub(in super::super) jwks_file: Option<Spanned<PathBuf>>,
    pub(in super::super) jwks_ca_file: Option<Spanned<PathBuf>>,
    #[serde(default = "half_a_minute")]
    pub(in super::super) leeway: Spanned<String>,
    #[serde(default = "sub")]
    pub(in super::super) user_claim: String,
    #[serde(default = "username_column")]
    pub(in super::super) username_claim: String,
    pub(in super::super) role_claim: Option<String>,
    #[serde(default)]
    pub(in super::super) attributes: Vec<String>,
    #[serde(default)]
    pub(in super::super) claims: BTreeMap<String, String>,
    #[serde(default = "five_seconds")]
    pub(in super::super) cache_for: Spanned<String>,
}

/// `[identity.ask]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Ask {
    pub(in super::super) upstream: Spanned<String>,
    pub(in super::super) path: Spanned<String>,
    pub(in super::super) key_file: Spanned<PathBuf>,
    #[serde(default)]
    pub(in super::super) cookies: Vec<String>,
    #[serde(default = "three_seconds")]
    pub(in super::super) cache_for: Spanned<String>,
    #[serde(default = "sixteen")]
    pub(in super::super) at_once: Spanned<usize>,
}

fn cookie() -> Spanned<String> {
    unplaced("cookie")
}

fn session_prefix() -> String {
    "session:".into()
}

fn session() -> String {
    "session".into()
}

fn a_month() -> Spanned<String> {
    unplaced("31d")
}

fn basic() -> Spanned<String> {
    unplaced("basic")
}

fn remember_token() -> String {
    "remember_token".into()
}

fn yes() -> bool {
    true
}

fn csrf_field() -> String {
    "csrf_token".into()
}

fn csrf_headers() -> Vec<String> {
    vec!["X-CSRFToken".into(), "X-CSRF-Token".into()]
}

fn one_hour() -> Spanned<String> {
    unplaced("1h")
}

fn half_a_minute() -> Spanned<String> {
    unplaced("30s")
}

fn sub() -> String {
    "sub".into()
}

fn five_seconds() -> Spanned<String> {
    unplaced("5s")
}

fn three_seconds() -> Spanned<String> {
    unplaced("3s")
}

fn sixteen() -> Spanned<usize> {
    Spanned::new(0..0, 16)
}
