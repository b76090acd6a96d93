//! Django's sessions and their tie to the password (Django 4.0 and later).
//!
//! Source of the formats: django/contrib/sessions/backends, django/contrib/auth of Django 5.2. Only JSON sessions are
//! read: pickles are never opened.

use std::fmt;
use std::time::Duration;

use serde_json::Value;
use subtle::ConstantTimeEq;

use super::signing::{Age, SigningError, loads, salted_hmac};
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

/// What a genuine session holds, as far as it matters here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DjangoSession {
    /// Whose it is; `None`: nobody logged in.
    pub user: Option<SessionUser>,
    /// `_csrftoken`: the CSRF secret of projects with `CSRF_USE_SESSIONS`.
    pub csrf: Option<String>,
    expiry: Option<Expiry>,
}

/// `_session_expiry`, as `set_expiry` leaves it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Expiry {
    /// A number of seconds; 0: with the browser.
    Seconds(i64),
    /// A moment; `None`: one without a zone, which says nothing here.
    At(Option<Timestamp>),
}

/// Why a session is worth nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// Not genuine, or too old.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// Genuine, but written by another serialiser: only the monolith can read it.
    #[error("the session is not JSON; other serialisers are not read")]
    Serialiser,
    /// Genuine JSON, but no user id of Django's.
    #[error("the session's user id is neither text nor number")]
    UserId,
}

/// Reads `session_data` of a row of `django_session` whose `expire_date` is in the future, or a session's file.
///
/// # Errors
/// [`SessionError`]
pub fn read_session(data: &str, secrets: &Secrets) -> Result<DjangoSession, SessionError> {
    read_salted_session(data, SESSION_SALT, secrets)
}

/// As [`read_session`], for a project whose session store is a class of its own (`django.contrib.sessions.` and its name).
///
/// # Errors
/// As [`read_session`].
pub fn read_salted_session(data: &str, salt: &str, secrets: &Secrets) -> Result<DjangoSession, SessionError> {
    session(&loads(data, salt, secrets, None)?)
}

/// Reads the cookie of the backend `signed_cookies`. `_session_expiry` inside is not looked at, as Django does not either.
///
/// # Errors
/// As [`read_session`].
pub fn read_cookie_session(cookie: &str, secrets: &Secrets, max_age: Duration, now: Timestamp) -> Result<DjangoSession, SessionError> {
    session(&loads(cookie, COOKIE_SESSION_SALT, secrets, Some(Age { max: max_age, now }))?)
}

/// The name of a session's file under `SESSION_FILE_PATH`: the cookie's name and the key. `None`: the key can be no file's,
/// by the same alphabet as Django's, so that none leads out of the directory.
pub fn session_file(cookie: &str, key: &str) -> Option<String> {
    let fine = (8..=64).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    fine.then(|| format!("{cookie}{key}"))
}

impl DjangoSession {
    /// Whether a session in a file has not expired. The file says when it was changed; a number of seconds of its own does
    /// not end it, as it does not for Django.
    pub fn is_live(&self, changed: Timestamp, age: Duration, now: Timestamp) -> bool {
        match self.expiry {
            None | Some(Expiry::Seconds(0)) => now < changed.plus(age),
            Some(Expiry::Seconds(seconds)) => seconds > 0,
            Some(Expiry::At(at)) => at.is_some_and(|at| now < at),
        }
    }
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

fn session(json: &[u8]) -> Result<DjangoSession, SessionError> {
    let session: Value = serde_json::from_slice(json).map_err(|_| SessionError::Serialiser)?;
    let session = session.as_object().ok_or(SessionError::Serialiser)?;
    let text = |name: &str| session.get(name).and_then(Value::as_str).map(str::to_owned);
    let user = match session.get("_auth_user_id") {
        None | Some(Value::Null) => None,
        Some(Value::String(id)) => Some(id.clone()),
        Some(Value::Number(id)) => Some(id.to_string()),
        Some(_) => return Err(SessionError::UserId),
    };
    let user = user.map(|id| SessionUser {
        id,
        hash: text("_auth_user_hash").unwrap_or_default(),
        backend: text("_auth_user_backend").unwrap_or_default(),
    });
    let expiry = match session.get("_session_expiry") {
        None | Some(Value::Null) => None,
        Some(Value::Number(seconds)) => seconds.as_i64().map(Expiry::Seconds),
        Some(Value::String(at)) => Some(Expiry::At(moment(at))),
        Some(_) => Some(Expiry::At(None)),
    };
    Ok(DjangoSession { user, csrf: text("_csrftoken"), expiry })
}

/// A moment as Python's `isoformat` writes it, with its zone.
fn moment(text: &str) -> Option<Timestamp> {
    let at: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(at.as_millisecond()).ok().map(Timestamp)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::{any, prop, prop_assert, proptest};

    use super::{
        DjangoSession, SESSION_AGE, SESSION_SALT, Secrets, SessionError, SessionUser, auth_hash, hash_matches, read_cookie_session,
        read_session, session_file,
    };
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

    fn session_42() -> DjangoSession {
        DjangoSession { user: Some(user_42()), ..DjangoSession::default() }
    }

    #[test]
    fn a_session_of_the_database_names_its_user() {
        let token = format!("{PACKED}PQKLckMhIZgNP5fBCAA3ZvPkU1aoPLNGCNHoyx5QODI");
        assert_eq!(read_session(&token, &secrets()), Ok(session_42()));
        let rotated = Secrets { keys: vec!["another".into(), "strangler-test-secret-key".into()] };
        assert_eq!(read_session(&token, &rotated), Ok(session_42()));
        assert!(read_session(&token, &Secrets { keys: vec!["another".into()] }).is_err());
    }

    #[test]
    fn a_session_without_a_user_is_nobodys() {
        let token = "eyJhIjoxfQ:1vb66i:c8u7CqZfKrjqI0g4YVyG-MwnDQs0w_s4JVSs0XQz7fQ";
        assert_eq!(read_session(token, &secrets()), Ok(DjangoSession::default()));
    }

    #[test]
    fn a_cookie_session_is_one_by_its_salt_and_expires() {
        let token = format!("{PACKED}YCDbHDXQRRmI0EsppBDSlEY85uvOqGwjihiHeyMNQd0");
        let read = |now| read_cookie_session(&token, &secrets(), SESSION_AGE, now);
        assert_eq!(read(CLOCK), Ok(session_42()));
        assert_eq!(read(CLOCK.plus(SESSION_AGE)), Ok(session_42()));
        assert!(read(CLOCK.plus(SESSION_AGE + Duration::from_secs(1))).is_err());
        assert!(read_session(&token, &secrets()).is_err(), "a cookie is no row");
        let plain = "eyJhIjoxfQ:1vb66i:rd7t_RXBTX7lWx_QapyxViz0aI6g8ShcoPBJYFfMcNk";
        assert_eq!(read_cookie_session(plain, &secrets(), SESSION_AGE, CLOCK), Ok(DjangoSession::default()));
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
        assert_eq!(read_session(&pickle, &secrets()), Err(SessionError::Serialiser));
        let list = dumps(b"[1]", SESSION_SALT, &secrets(), CLOCK);
        assert!(read_session(&list, &secrets()).is_err());
        assert!(read_session(&sign("!", SESSION_SALT, &secrets(), CLOCK), &secrets()).is_err());
        assert!(read_session("", &secrets()).is_err());
    }

    #[test]
    fn a_file_says_itself_when_its_session_ends() {
        let read = |more: &str| {
            let json = format!("{{\"a\":1{more}}}");
            read_session(&dumps(json.as_bytes(), SESSION_SALT, &secrets(), CLOCK), &secrets()).expect("a session")
        };
        let after = |seconds| CLOCK.plus(Duration::from_secs(seconds));
        let live = |more: &str, seconds| read(more).is_live(CLOCK, Duration::from_secs(60), after(seconds));
        assert!(live("", 59) && !live("", 60), "by its age");
        assert!(live(",\"_session_expiry\":0", 59) && !live(",\"_session_expiry\":0", 60), "with the browser");
        assert!(live(",\"_session_expiry\":5", 9_999) && !live(",\"_session_expiry\":-5", 0), "as in Django");
        let at = ",\"_session_expiry\":\"2026-01-01T00:00:30.500000+00:00\"";
        assert!(live(at, 30) && !live(at, 31));
        assert!(!live(",\"_session_expiry\":\"2999-01-01T00:00:30\"", 0), "without a zone nobody knows");
    }

    #[test]
    fn no_key_leads_out_of_the_directory() {
        assert_eq!(
            session_file("sessionid", "0123456789abcdefghijklmnopqrstuv").as_deref(),
            Some("sessionid0123456789abcdefghijklmnopqrstuv")
        );
        for key in ["", "short", "../../../etc/passwd", "ABCDEFGH", "abcdefg/", "abcdefg\0", "abcdefgh.", &"a".repeat(65)] {
            assert_eq!(session_file("sessionid", key), None, "{key:?}");
        }
    }

    #[test]
    fn the_csrf_secret_may_stand_in_the_session() {
        let token = dumps(br#"{"_csrftoken":"abc"}"#, SESSION_SALT, &secrets(), CLOCK);
        assert_eq!(read_session(&token, &secrets()).expect("a session").csrf.as_deref(), Some("abc"));
    }

    proptest! {
        #[test]
        fn nothing_that_nobody_signed_is_a_session(bytes in prop::collection::vec(any::<u8>(), 0..300), text in "[.:A-Za-z0-9_-]{0,200}") {
            for data in [String::from_utf8_lossy(&bytes).into_owned(), text] {
                prop_assert!(read_session(&data, &secrets()).is_err());
                prop_assert!(read_cookie_session(&data, &secrets(), SESSION_AGE, CLOCK).is_err());
            }
        }

        #[test]
        fn whatever_is_signed_is_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), json in "[\\[\\]{}\":,a-z_0-9]{0,80}") {
            for data in [&bytes[..], json.as_bytes()] {
                let _ = read_session(&dumps(data, SESSION_SALT, &secrets(), CLOCK), &secrets());
            }
        }
    }
}
