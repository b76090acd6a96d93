//! Flask's sessions: in its signed cookie, or as Flask-Session keeps them. Says what stands in them; who that makes the
//! caller is `login`'s, whether a form is genuine `csrf`'s. Pickles are never opened.
//!
//! Sources: flask/sessions.py and flask/json/tag.py of Flask 3.1, flask_session/ of Flask-Session 0.8.

mod packed;
mod tags;

pub mod csrf;
pub mod login;

use std::time::Duration;

use serde_json::{Map, Value};

use super::django::Secrets;
use super::itsdangerous::{Derivation, Purpose, loads, unsign};
use super::signing::{Age, SigningError};

/// `PERMANENT_SESSION_LIFETIME`, unless a project sets it: 31 days. Flask judges all sessions in cookies by it.
pub const SESSION_AGE: Duration = Duration::from_secs(31 * 86_400);

/// What Flask signs its session cookie for.
pub const SESSION: Purpose = Purpose { salt: "cookie-session", derivation: Derivation::Hmac };
/// What Flask-Session signs its ids for, where `SESSION_USE_SIGNER` is set.
pub const SESSION_ID: Purpose = Purpose { salt: "flask-session", derivation: Derivation::Hmac };

/// Why a session is worth nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// Not genuine, or too old.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// A pickle: only the monolith may open it.
    #[error("the session is a pickle, which is never loaded: set SESSION_SERIALIZATION_FORMAT to msgpack or json")]
    Pickle,
    /// Neither JSON nor msgpack, or no dictionary.
    #[error("the session is neither JSON nor msgpack of a dictionary")]
    Serialiser,
}

/// What stands in a session, its tags undone.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FlaskSession(Map<String, Value>);

impl FlaskSession {
    /// A text, or a number as one.
    pub fn text(&self, key: &str) -> Option<String> {
        match self.0.get(key)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    fn is(&self, key: &str, value: bool) -> bool {
        self.0.get(key).and_then(Value::as_bool) == Some(value)
    }
}

/// Reads Flask's session cookie.
///
/// # Errors
/// [`SessionError`]
pub fn read_cookie(cookie: &str, secrets: &Secrets, max: Duration, now: crate::Timestamp) -> Result<FlaskSession, SessionError> {
    let json = loads(cookie, SESSION, secrets, Age { max, now })?;
    let value = serde_json::from_slice(&json).map_err(|_| SessionError::Serialiser)?;
    dictionary(tags::undo(value))
}

/// Reads what Flask-Session 0.8 keeps under an id.
///
/// # Errors
/// [`SessionError`]
pub fn read_stored(data: &[u8]) -> Result<FlaskSession, SessionError> {
    match data {
        [b'{', ..] => dictionary(serde_json::from_slice(data).map_err(|_| SessionError::Serialiser)?),
        // A dictionary without entries is one byte of msgpack; a pickle goes on with its version.
        [0x80, _, ..] => Err(SessionError::Pickle),
        _ => dictionary(packed::read(data).ok_or(SessionError::Serialiser)?),
    }
}

/// The id that a cookie of Flask-Session holds, signed or as it is. `None`: it can be none.
pub fn session_id<'a>(cookie: &'a str, signed_by: Option<&Secrets>) -> Option<&'a str> {
    let id = match signed_by {
        Some(secrets) => unsign(cookie, SESSION_ID, secrets).ok()?,
        None => cookie,
    };
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    ((16..=256).contains(&id.len()) && id.bytes().all(fine)).then_some(id)
}

fn dictionary(value: Value) -> Result<FlaskSession, SessionError> {
    match value {
        Value::Object(entries) => Ok(FlaskSession(entries)),
        _ => Err(SessionError::Serialiser),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert, proptest};

    use super::{FlaskSession, SESSION, SESSION_AGE, SESSION_ID, SessionError, read_cookie, read_stored, session_id};
    use crate::Timestamp;
    use crate::identity::django::Secrets;
    use crate::identity::itsdangerous::{dumps, sign};

    const CLOCK: Timestamp = Timestamp(1_767_225_600_000);
    const OF_42: &str = ".eJyrVoovLU4tis9MUbJSMjFS0lGKTytKLc5QsiopKk0F8sASiQMMlGoBhJg85g.aVW5AA.EXmxB1dZdu5MqyRahRjrbt2fqQo";

    pub(super) fn secrets() -> Secrets {
        Secrets { keys: vec!["strangler-test-secret-key".into()] }
    }

    fn read(cookie: &str) -> Result<FlaskSession, SessionError> {
        read_cookie(cookie, &secrets(), SESSION_AGE, CLOCK)
    }

    #[test]
    fn a_cookie_of_flask_is_read_packed_or_not() {
        assert_eq!(read("eyJhIjoxfQ.aVW5AA.Nfi3d0-j9G014ZoA1vT9z1L9nCs").expect("genuine").text("a").as_deref(), Some("1"));
        let session = read(OF_42).expect("genuine");
        assert_eq!((session.text("_user_id").as_deref(), session.text("_id")), (Some("42"), Some("a".repeat(128))));
        assert!(session.is("_fresh", true));
        assert!(read_cookie(OF_42, &Secrets { keys: vec!["another".into()] }, SESSION_AGE, CLOCK).is_err());
        let later = CLOCK.plus(SESSION_AGE + std::time::Duration::from_secs(1));
        assert!(read_cookie(OF_42, &secrets(), SESSION_AGE, later).is_err());
    }

    #[test]
    fn tags_are_undone() {
        let cookie = dumps(
            br#"{"_user_id":{" u":"550e8400e29b41d4a716446655440042"},"m":{" m":"<b>"},"t":{" t":[1,{" u":"550e8400e29b41d4a716446655440042"}]},"plain":{" di":{" t__":"x"}}}"#,
            SESSION,
            &secrets(),
            CLOCK,
        );
        let session = read(&cookie).expect("genuine");
        assert_eq!(session.text("_user_id").as_deref(), Some("550e8400-e29b-41d4-a716-446655440042"));
        assert_eq!(session.text("m").as_deref(), Some("<b>"));
        assert_eq!(session.0["t"], serde_json::json!([1, "550e8400-e29b-41d4-a716-446655440042"]));
        assert_eq!(session.0["plain"], serde_json::json!({" t": "x"}));
    }

    #[test]
    fn stored_sessions_are_msgpack_or_json_and_pickles_are_refused() {
        // msgspec.msgpack.encode({"_permanent": True, "_user_id": "42", "csrf_token": "ab", "at": <timestamp>, "raw": b"\x00"})
        let packed = b"\x85\xaa_permanent\xc3\xa8_user_id\xa242\xaacsrf_token\xa2ab\xa2at\xd6\xff\x00\x00\x00\x00\xa3raw\xc4\x01\x00";
        assert_eq!(read_stored(packed).expect("msgpack").text("_user_id").as_deref(), Some("42"));
        assert_eq!(read_stored(br#"{"_user_id":"42","n":7}"#).expect("JSON").text("n").as_deref(), Some("7"));
        assert_eq!(read_stored(b"\x80"), Ok(FlaskSession::default()));
        assert_eq!(read_stored(b"\x80\x05\x95\x10\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x01a\x94K\x01s."), Err(SessionError::Pickle));
        for broken in [&b""[..], b"\x81", b"\x81\xa1", b"\xa242", b"(dp0\n.", b"{", b"[1]", b"\x81\xa1a\x01\x01", &[0x91; 5_000]] {
            assert_eq!(read_stored(broken), Err(SessionError::Serialiser), "{:?}", &broken[..broken.len().min(8)]);
        }
    }

    #[test]
    fn an_id_is_one_that_flask_session_makes() {
        let id = "q3xT0dJ1b0m8sG4Q3vA0Qm2yqkqk1Xy0y5c0x9fWz_4";
        assert_eq!(session_id(id, None), Some(id));
        assert_eq!(session_id(&sign(id, SESSION_ID, &secrets()), Some(&secrets())), Some(id));
        assert_eq!(session_id(id, Some(&secrets())), None);
        for bad in ["", "short", "q3xT0dJ1b0m8sG4Q:*", "q3xT0dJ1b0m8sG4Q\r\nDEL x", &"a".repeat(257)] {
            assert_eq!(session_id(bad, None), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_stored_is_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = read_stored(&bytes);
            let _ = read(&dumps(&bytes, SESSION, &secrets(), CLOCK));
        }

        #[test]
        fn nothing_that_nobody_signed_is_a_session(text in "[.A-Za-z0-9_-]{0,120}") {
            prop_assert!(read(&text).is_err());
            prop_assert!(session_id(&text, Some(&secrets())).is_none());
        }
    }
}
