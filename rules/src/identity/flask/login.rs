//! Flask-Login 0.6: who a session, and the cookie that remembers, make the caller (flask_login/login_manager.py, utils.py).

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha512};
use subtle::ConstantTimeEq;

use super::FlaskSession;
use crate::identity::django::Secrets;

/// `SESSION_PROTECTION`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// `None`
    Off,
    /// `"basic"`: a session that moved to another address or browser is no longer fresh, but goes on.
    Basic,
    /// `"strong"`: it ends, unless it is permanent.
    Strong,
}

/// From where a request comes, as Flask-Login sees it.
#[derive(Debug, Clone, Copy)]
pub struct Browser<'a> {
    /// The first of `X-Forwarded-For` as the monolith gets it.
    pub address: Option<&'a str>,
    /// `User-Agent`
    pub agent: Option<&'a str>,
}

/// The id of the user, as `get_id` gave it. `None`: nobody is logged in. `remember` is the cookie `remember_token`.
pub fn user_id(
    session: &FlaskSession,
    remember: Option<&str>,
    protection: Protection,
    browser: Browser<'_>,
    secrets: &Secrets,
) -> Option<String> {
    let filled = !session.0.is_empty();
    if filled && protection == Protection::Strong && !session.is("_permanent", true) && session.text("_id") != Some(identifier(browser)) {
        return None;
    }
    let cleared = || session.text("_remember").as_deref() == Some("clear");
    session.text("_user_id").or_else(|| remember.filter(|_| !cleared()).and_then(|cookie| remembered(cookie, secrets)))
}

/// The user of the cookie that remembers: `ID|` and the HMAC-SHA512 of it, in hexadecimal. It does not expire by itself.
pub fn remembered(cookie: &str, secrets: &Secrets) -> Option<String> {
    let (id, mac) = cookie.rsplit_once('|')?;
    let genuine = |key: &String| bool::from(digest(id, key).as_bytes().ct_eq(mac.as_bytes()));
    secrets.keys.iter().any(genuine).then(|| id.to_owned())
}

/// The cookie that remembers a user.
pub fn remember(id: &str, secrets: &Secrets) -> String {
    format!("{id}|{}", digest(id, secrets.keys.first().map_or("", String::as_str)))
}

/// `_id`: the SHA-512 of address and browser, both as Python shows bytes.
pub fn identifier(browser: Browser<'_>) -> String {
    let shown = |text: Option<&str>| text.map_or("None".to_owned(), |text| python_bytes(text.as_bytes()));
    let address = browser.address.map(|address| address.split(',').next().unwrap_or_default().trim());
    hex(&Sha512::digest(format!("{}|{}", shown(address), shown(browser.agent))))
}

fn digest(id: &str, key: &str) -> String {
    let mut mac = Hmac::<Sha512>::new_from_slice(key.as_bytes()).expect("an HMAC takes a key of any length");
    mac.update(id.as_bytes());
    hex(&mac.finalize().into_bytes())
}

/// `repr` of Python's `bytes`.
fn python_bytes(bytes: &[u8]) -> String {
    let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') { '"' } else { '\'' };
    let mut shown = format!("b{quote}");
    for byte in bytes {
        match byte {
            b'\\' => shown.push_str("\\\\"),
            b'\t' => shown.push_str("\\t"),
            b'\n' => shown.push_str("\\n"),
            b'\r' => shown.push_str("\\r"),
            byte if char::from(*byte) == quote => shown.extend(['\\', quote]),
            0x20..=0x7e => shown.push(char::from(*byte)),
            byte => write!(shown, "\\x{byte:02x}").expect("a String takes everything"),
        }
    }
    shown.push(quote);
    shown
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::FlaskSession;
    use super::super::tests::secrets;
    use super::{Browser, Protection, identifier, python_bytes, remember, remembered, user_id};

    const BROWSER: Browser<'static> = Browser { address: Some("203.0.113.7, 10.0.0.1"), agent: Some("Mozilla/5.0 (it's)") };

    fn session(value: Value) -> FlaskSession {
        match value {
            Value::Object(entries) => FlaskSession(entries),
            _ => FlaskSession::default(),
        }
    }

    fn of(value: Value, remember: Option<&str>, protection: Protection) -> Option<String> {
        user_id(&session(value), remember, protection, BROWSER, &secrets())
    }

    #[test]
    fn a_session_names_its_user_and_protection_may_end_it() {
        let mine = json!({"_user_id": "42", "_id": identifier(BROWSER)});
        for protection in [Protection::Off, Protection::Basic, Protection::Strong] {
            assert_eq!(of(mine.clone(), None, protection).as_deref(), Some("42"));
        }
        let moved = json!({"_user_id": "42", "_id": "a".repeat(128)});
        assert_eq!(of(moved.clone(), None, Protection::Basic).as_deref(), Some("42"));
        assert_eq!(of(moved, Some(&remember("42", &secrets())), Protection::Strong), None, "nor is it remembered");
        let permanent = json!({"_user_id": "42", "_id": "a".repeat(128), "_permanent": true});
        assert_eq!(of(permanent, None, Protection::Strong).as_deref(), Some("42"));
    }

    #[test]
    fn a_caller_is_remembered_until_it_logs_out() {
        let cookie = remember("42", &secrets());
        assert_eq!(of(json!({}), Some(&cookie), Protection::Strong).as_deref(), Some("42"));
        assert_eq!(of(json!({"_user_id": "7"}), Some(&cookie), Protection::Basic).as_deref(), Some("7"));
        assert_eq!(of(json!({"_remember": "clear"}), Some(&cookie), Protection::Basic), None);
        for forged in ["42", "42|", "43|abc", &cookie.replace("42|", "43|"), &cookie[..cookie.len() - 1]] {
            assert_eq!(remembered(forged, &secrets()), None, "{forged}");
        }
    }

    #[test]
    fn bytes_are_shown_as_python_shows_them() {
        for (text, shown) in [
            ("127.0.0.1", "b'127.0.0.1'"),
            ("it's", "b\"it's\""),
            ("it's \"x\"", "b'it\\'s \"x\"'"),
            ("a\\b\t\u{7f}ä", "b'a\\\\b\\t\\x7f\\xc3\\xa4'"),
        ] {
            assert_eq!(python_bytes(text.as_bytes()), shown);
        }
    }
}
