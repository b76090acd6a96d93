//! Django's sessions and their tie to the password (Django 4.0 and later).
//!
//! Source of the formats: django/contrib/sessions/backends, django/contrib/auth of Django 5.2. Only JSON sessions are
//! read: pickles are never opened.

use std::fmt;
use std::time::Duration;

use subtle::ConstantTimeEq;

use super::signing::{Age, loads, salted_hmac};
use crate::Timestamp;

/// The salt of the sessions in the database, in files and of `cached_db`: it follows from the store's class name.
pub const SESSION_SALT: &str = "django.contrib.sessions.SessionStore";
/// The salt of the sessions that live in the cookie.
pub const COOKIE_SESSION_SALT: &str = "django.contrib.sessions.backends.signed_cookies";
/// `SESSION_COOKIE_AGE`, unless a project sets it: two weeks.
pub const SESSION_AGE: Duration = Duration::from_secs(1_209_600);

const AUTH_HASH_SALT: &str = "django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash";

/// The secrets of a Django project: `SECRET_KEY`, then `SECRET_KEY_FALLBACKS`.
#[derive(Clone)]
pub struct Secrets {
    /// The keys, the signing one first.
    pub keys: Vec<String>,
}

/// Never shows a key.
impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({} keys)", self.keys.len())
    }
}

/// `AUTHENTICATION_BACKENDS`, unless a project sets it.
pub const MODEL_BACKEND: &str = "django.contrib.auth.backends.ModelBackend";

/// What a session says about its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionUser {
    /// `_auth_user_id`
    pub id: String,
    /// `_auth_user_hash`; empty, and so never matching, if the session has none.
    pub hash: String,
    /// `_auth_user_backend`; Django knows nobody whose backend is not among its `AUTHENTICATION_BACKENDS`.
    pub backend: String,
}

/// Whether a cookie can be the key of a session in a database. Any other names nobody.
pub fn is_session_key(cookie: &str) -> bool {
    (8..=64).contains(&cookie.len()) && cookie.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Reads `session_data` of a row of `django_session` whose `expire_date` is in the future. `Ok(None)`: a session without
/// a user.
///
/// # Errors
/// What is wrong with it, as a lower-case sentence without the data.
pub fn read_session(data: &str, secrets: &Secrets) -> Result<Option<SessionUser>, String> {
    read_salted_session(data, SESSION_SALT, secrets)
}

/// As [`read_session`], for a project whose session store is a class of its own (`django.contrib.sessions.` and its name).
///
/// # Errors
/// As [`read_session`].
pub fn read_salted_session(data: &str, salt: &str, secrets: &Secrets) -> Result<Option<SessionUser>, String> {
    let bytes = loads(data, salt, secrets, None).map_err(|error| error.to_string())?;
    user(&bytes)
}

/// Reads the cookie of the backend `signed_cookies`. `_session_expiry` inside is not looked at, as Django does not either.
///
/// # Errors
/// As [`read_session`].
pub fn read_cookie_session(cookie: &str, secrets: &Secrets, max_age: Duration, now: Timestamp) -> Result<Option<SessionUser>, String> {
    let bytes = loads(cookie, COOKIE_SESSION_SALT, secrets, Some(Age { max: max_age, now })).map_err(|error| error.to_string())?;
    user(&bytes)
}

/// Whether the session was made for the user's present password (the `password` column of the user table). Without this,
/// sessions would live on that Django ended by a change of password.
pub fn hash_matches(user: &SessionUser, password: &str, secrets: &Secrets) -> bool {
    secrets.keys.iter().any(|key| bool::from(auth_hash(password, key).as_bytes().ct_eq(user.hash.as_bytes())))
}

/// `_auth_user_hash` of a password column under one key, in hexadecimal.
pub fn auth_hash(password: &str, key: &str) -> String {
    salted_hmac(&[AUTH_HASH_SALT], key, password).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn user(json: &[u8]) -> Result<Option<SessionUser>, String> {
    let unreadable = || "the session is not JSON; other serialisers are not read".to_owned();
    let session: serde_json::Value = serde_json::from_slice(json).map_err(|_| unreadable())?;
    let session = session.as_object().ok_or_else(unreadable)?;
    let id = match session.get("_auth_user_id") {
        None | Some(serde_json::Value::Null) => return Ok(None),
        Some(serde_json::Value::String(id)) => id.clone(),
        Some(serde_json::Value::Number(id)) => id.to_string(),
        Some(_) => return Err("the session's user id is neither text nor number".to_owned()),
    };
    let text = |name: &str| session.get(name).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    Ok(Some(SessionUser { id, hash: text("_auth_user_hash"), backend: text("_auth_user_backend") }))
}

#[cfg(test)]
mod tests {
    use super::{SESSION_AGE, SESSION_SALT, Secrets, SessionUser, auth_hash, hash_matches, read_cookie_session, read_session};
    use crate::Timestamp;
    use crate::identity::signing::{dumps, sign};

    const CLOCK: Timestamp = Timestamp(1_767_225_600_000);
    const PACKED: &str =
        ".eJyrVopPLC3JiC8tTi2Kz0xRslIyMVLSQRZMSkzOTs0DyaRkJeal5-sl5-eVFGUm6YGU6EFli_V881NSc5ygalEMyEgszgDqTqMQKNUCABssQAI:1vb66i:";
    const PASSWORD: &str = "pbkdf2_sha256$1000000$salt$hash=";
    const HASH: &str = "3de266b84b306bec28703cd5dd614da04f3bf42902fa3bc25b9a8aab66cdd285";

    fn secrets() -> Secrets {
        Secrets { keys: vec!["strangler-test-secret-key".into()] }
    }

    fn user_42() -> SessionUser {
        SessionUser { id: "42".into(), hash: "f".repeat(64), backend: super::MODEL_BACKEND.into() }
    }

    #[test]
    fn a_session_of_the_database_names_its_user() {
        let token = format!("{PACKED}PQKLckMhIZgNP5fBCAA3ZvPkU1aoPLNGCNHoyx5QODI");
        assert_eq!(read_session(&token, &secrets()), Ok(Some(user_42())));
        let rotated = Secrets { keys: vec!["another".into(), "strangler-test-secret-key".into()] };
        assert_eq!(read_session(&token, &rotated), Ok(Some(user_42())));
        assert!(read_session(&token, &Secrets { keys: vec!["another".into()] }).is_err());
    }

    #[test]
    fn a_session_without_a_user_is_nobodys() {
        let token = "eyJhIjoxfQ:1vb66i:c8u7CqZfKrjqI0g4YVyG-MwnDQs0w_s4JVSs0XQz7fQ";
        assert_eq!(read_session(token, &secrets()), Ok(None));
    }

    #[test]
    fn a_cookie_session_is_one_by_its_salt_and_expires() {
        let token = format!("{PACKED}YCDbHDXQRRmI0EsppBDSlEY85uvOqGwjihiHeyMNQd0");
        let read = |now| read_cookie_session(&token, &secrets(), SESSION_AGE, now);
        assert_eq!(read(CLOCK), Ok(Some(user_42())));
        assert_eq!(read(CLOCK.plus(SESSION_AGE)), Ok(Some(user_42())));
        assert!(read(CLOCK.plus(SESSION_AGE + std::time::Duration::from_secs(1))).is_err());
        assert!(read_session(&token, &secrets()).is_err(), "a cookie is no row");
        let plain = "eyJhIjoxfQ:1vb66i:rd7t_RXBTX7lWx_QapyxViz0aI6g8ShcoPBJYFfMcNk";
        assert_eq!(read_cookie_session(plain, &secrets(), SESSION_AGE, CLOCK), Ok(None));
    }

    #[test]
    fn every_changed_byte_is_found() {
        let token = format!("{PACKED}PQKLckMhIZgNP5fBCAA3ZvPkU1aoPLNGCNHoyx5QODI");
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(bytes).expect("ASCII");
            assert!(read_session(&forged, &secrets()).is_err(), "byte {at}");
        }
    }

    #[test]
    fn the_hash_ties_a_session_to_the_password() {
        assert_eq!(auth_hash(PASSWORD, "strangler-test-secret-key"), HASH);
        let user = SessionUser { id: "42".into(), hash: HASH.into(), backend: String::new() };
        assert!(hash_matches(&user, PASSWORD, &secrets()));
        assert!(hash_matches(&user, PASSWORD, &Secrets { keys: vec!["new".into(), "strangler-test-secret-key".into()] }));
        assert!(!hash_matches(&user, "pbkdf2_sha256$1000000$salt$other=", &secrets()));
        assert!(!hash_matches(&SessionUser { hash: String::new(), ..user }, PASSWORD, &secrets()));
    }

    #[test]
    fn other_serialisers_are_refused() {
        let pickle = dumps(b"\x80\x05}\x94.", SESSION_SALT, &secrets(), CLOCK);
        assert_eq!(read_session(&pickle, &secrets()), Err("the session is not JSON; other serialisers are not read".into()));
        let list = dumps(b"[1]", SESSION_SALT, &secrets(), CLOCK);
        assert!(read_session(&list, &secrets()).is_err());
        assert!(read_session(&sign("!", SESSION_SALT, &secrets(), CLOCK), &secrets()).is_err());
        assert!(read_session("", &secrets()).is_err());
    }
}
