//! Values signed by itsdangerous 2 (`URLSafeTimedSerializer`, `Signer`), as Flask and its extensions use it.
//!
//! A token is `payload.timestamp.signature`: the payload unpadded base64url, with a leading `.` when zlib packed it; the
//! timestamp seconds since 1970 as big-endian bytes without leading zeros; the signature an HMAC-SHA1 under a key that is
//! derived from secret and salt. What the payload means is its reader's business.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::{Digest, Sha1};
use subtle::ConstantTimeEq;

use super::django::Secrets;
use super::signing::{Age, SigningError, inflate};
use crate::Timestamp;

/// A clock of the monolith may be ahead of ours by so many seconds. (Itsdangerous refuses what its own clock has not reached.)
const AHEAD: u64 = 60;

/// How a key is made of a secret and a salt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Derivation {
    /// HMAC-SHA1(secret, salt): Flask's sessions, Flask-Session.
    Hmac,
    /// SHA-1(salt + "signer" + secret): what itsdangerous does unless told otherwise.
    DjangoConcat,
}

/// What a value is signed for.
#[derive(Debug, Clone, Copy)]
pub struct Purpose {
    /// Keeps one use of a secret apart from another.
    pub salt: &'static str,
    /// How the key is made.
    pub derivation: Derivation,
}

/// The payload of a token, unpacked.
///
/// # Errors
/// Why it is worth nothing.
pub fn loads(token: &str, purpose: Purpose, secrets: &Secrets, age: Age) -> Result<Vec<u8>, SigningError> {
    let body = unsign(token, purpose, secrets)?;
    let (payload, stamp) = body.rsplit_once('.').ok_or(SigningError::Malformed)?;
    let signed = seconds(stamp).ok_or(SigningError::Malformed)?;
    let now = age.now.seconds();
    if now.saturating_sub(signed) > age.max.as_secs() || signed.saturating_sub(now) > AHEAD {
        return Err(SigningError::Expired);
    }
    let (packed, text) = payload.strip_prefix('.').map_or((false, payload), |text| (true, text));
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| SigningError::Payload)?;
    if packed { inflate(&bytes) } else { Ok(bytes) }
}

/// Signs a payload as `URLSafeTimedSerializer.dumps` does without compression.
pub fn dumps(payload: &[u8], purpose: Purpose, secrets: &Secrets, now: Timestamp) -> String {
    let stamp = now.seconds().to_be_bytes();
    let stamp = &stamp[stamp.iter().take_while(|byte| **byte == 0).count()..];
    sign(&format!("{}.{}", URL_SAFE_NO_PAD.encode(payload), URL_SAFE_NO_PAD.encode(stamp)), purpose, secrets)
}

/// The text that a `Signer` without a time signed.
///
/// # Errors
/// Why it is worth nothing.
pub fn unsign<'a>(token: &'a str, purpose: Purpose, secrets: &Secrets) -> Result<&'a str, SigningError> {
    let (value, mac) = token.rsplit_once('.').ok_or(SigningError::Malformed)?;
    let genuine = |key: &String| bool::from(signature(value, purpose, key).as_bytes().ct_eq(mac.as_bytes()));
    if secrets.keys.iter().any(genuine) { Ok(value) } else { Err(SigningError::Signature) }
}

/// Signs a text as a `Signer` without a time does.
pub fn sign(value: &str, purpose: Purpose, secrets: &Secrets) -> String {
    let key = secrets.keys.first().map_or("", String::as_str);
    format!("{value}.{}", signature(value, purpose, key))
}

fn signature(value: &str, purpose: Purpose, secret: &str) -> String {
    let key: [u8; 20] = match purpose.derivation {
        Derivation::Hmac => hmac_sha1(secret.as_bytes(), purpose.salt.as_bytes()),
        Derivation::DjangoConcat => Sha1::new_with_prefix(purpose.salt).chain_update("signer").chain_update(secret).finalize().into(),
    };
    URL_SAFE_NO_PAD.encode(hmac_sha1(&key, value.as_bytes()))
}

fn hmac_sha1(key: &[u8], value: &[u8]) -> [u8; 20] {
    let mut mac = Hmac::<Sha1>::new_from_slice(key).expect("an HMAC takes a key of any length");
    mac.update(value);
    mac.finalize().into_bytes().into()
}

fn seconds(stamp: &str) -> Option<u64> {
    let bytes = URL_SAFE_NO_PAD.decode(stamp).ok().filter(|bytes| bytes.len() <= 8)?;
    Some(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

    use super::{Derivation, Purpose, dumps, loads, seconds, sign, unsign};
    use crate::Timestamp;
    use crate::identity::django::Secrets;
    use crate::identity::signing::{Age, SigningError};

    const CLOCK: Timestamp = Timestamp(1_767_225_600_000);
    const SESSION: Purpose = Purpose { salt: "cookie-session", derivation: Derivation::Hmac };

    fn secrets() -> Secrets {
        Secrets { keys: vec!["strangler-test-secret-key".into()] }
    }

    fn age(after: u64) -> Age {
        Age { max: Duration::from_secs(60), now: CLOCK.plus(Duration::from_secs(after)) }
    }

    #[test]
    fn a_token_is_the_one_that_flask_makes() {
        assert_eq!(dumps(br#"{"a":1}"#, SESSION, &secrets(), CLOCK), "eyJhIjoxfQ.aVW5AA.Nfi3d0-j9G014ZoA1vT9z1L9nCs");
        assert_eq!(seconds("aVW5AA"), Some(1_767_225_600));
    }

    #[test]
    fn an_age_has_an_end_and_the_future_a_little_room() {
        let token = dumps(b"x", SESSION, &secrets(), CLOCK);
        assert_eq!(loads(&token, SESSION, &secrets(), age(60)), Ok(b"x".to_vec()));
        assert_eq!(loads(&token, SESSION, &secrets(), age(61)), Err(SigningError::Expired));
        let ahead = |seconds| dumps(b"x", SESSION, &secrets(), CLOCK.plus(Duration::from_secs(seconds)));
        assert!(loads(&ahead(60), SESSION, &secrets(), age(0)).is_ok());
        assert_eq!(loads(&ahead(61), SESSION, &secrets(), age(0)), Err(SigningError::Expired));
    }

    #[test]
    fn a_salt_and_a_derivation_are_a_purpose_and_fallback_keys_verify() {
        let token = sign("value", SESSION, &secrets());
        assert_eq!(unsign(&token, SESSION, &secrets()), Ok("value"));
        for other in [Purpose { salt: "x", ..SESSION }, Purpose { derivation: Derivation::DjangoConcat, ..SESSION }] {
            assert_eq!(unsign(&token, other, &secrets()), Err(SigningError::Signature));
        }
        let rotated = Secrets { keys: vec!["new".into(), "strangler-test-secret-key".into()] };
        assert_eq!(unsign(&token, SESSION, &rotated), Ok("value"));
        assert_eq!(unsign(&token, SESSION, &Secrets { keys: vec![] }), Err(SigningError::Signature));
    }

    proptest! {
        #[test]
        fn nothing_that_nobody_signed_is_accepted(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[.A-Za-z0-9_-]{0,120}") {
            for token in [String::from_utf8_lossy(&bytes).into_owned(), text] {
                prop_assert!(loads(&token, SESSION, &secrets(), age(0)).is_err());
                prop_assert!(unsign(&token, SESSION, &secrets()).is_err());
            }
        }

        #[test]
        fn what_is_signed_comes_back_and_not_when_a_byte_changed(data in prop::collection::vec(any::<u8>(), 1..80), at in any::<prop::sample::Index>()) {
            let token = dumps(&data, SESSION, &secrets(), CLOCK);
            prop_assert_eq!(loads(&token, SESSION, &secrets(), age(0)), Ok(data));
            let mut forged = token.into_bytes();
            let at = at.index(forged.len());
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            prop_assert!(loads(&String::from_utf8(forged).expect("ASCII"), SESSION, &secrets(), age(0)).is_err());
        }
    }
}
