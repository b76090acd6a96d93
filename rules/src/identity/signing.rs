//! Django's signed values (django/core/signing.py of Django 5.2; Django 4.0 and later write no other).
//!
//! A token is `payload:timestamp:signature`. The payload is unpadded base64url, with a leading `.` when it was compressed
//! by zlib; the timestamp is seconds since 1970 in base 62; the signature is an HMAC-SHA256 over `payload:timestamp` in
//! unpadded base64url, under the key SHA-256(salt + "signer" + secret).

use std::io::Read as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::django::Secrets;
use crate::Timestamp;

/// No payload unpacks to more. The signature keeps forgers out, but not a leaked key or a hostile monolith.
pub const MAX_PAYLOAD: u64 = 1024 * 1024;

/// In the order of their values.
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Why a token is worth nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    /// It is not in three parts. Sessions of Django before 3.1 are not either.
    #[error("the signed value is not of the form payload:timestamp:signature, as Django 4.0 and later write it")]
    Malformed,
    /// None of the keys signed it for this purpose.
    #[error("the signature was made with another key, or for another purpose")]
    Signature,
    /// It was genuine.
    #[error("the signed value has expired")]
    Expired,
    /// Signed, but not what Django's serialiser writes.
    #[error("the signed payload is not base64, or not zlib")]
    Payload,
    /// It unpacks to more than [`MAX_PAYLOAD`].
    #[error("the signed payload unpacks to more than 1 MiB")]
    TooLarge,
}

/// How old a value may be, and what time it is.
#[derive(Debug, Clone, Copy)]
pub struct Age {
    /// At most this old.
    pub max: Duration,
    /// The time to judge it by.
    pub now: Timestamp,
}

/// Signs serialised data as `django.core.signing.dumps` does without compression.
pub fn dumps(data: &[u8], salt: &str, secrets: &Secrets, now: Timestamp) -> String {
    sign(&URL_SAFE_NO_PAD.encode(data), salt, secrets, now)
}

/// The serialised data of a token made by `django.core.signing.dumps`.
///
/// # Errors
/// Why it is worth nothing.
pub fn loads(token: &str, salt: &str, secrets: &Secrets, age: Option<Age>) -> Result<Vec<u8>, SigningError> {
    let payload = unsign(token, salt, secrets, age)?;
    let (packed, text) = payload.strip_prefix('.').map_or((false, payload), |text| (true, text));
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| SigningError::Payload)?;
    if packed { inflate(&bytes) } else { Ok(bytes) }
}

/// Signs a text as Django's `TimestampSigner` does.
pub fn sign(value: &str, salt: &str, secrets: &Secrets, now: Timestamp) -> String {
    let body = format!("{value}:{}", to_base62(now.seconds()));
    let key = secrets.keys.first().map_or("", String::as_str);
    let mac = signature(&body, salt, key);
    format!("{body}:{mac}")
}

/// The text that Django's `TimestampSigner` signed.
///
/// # Errors
/// Why it is worth nothing.
pub fn unsign<'a>(token: &'a str, salt: &str, secrets: &Secrets, age: Option<Age>) -> Result<&'a str, SigningError> {
    let (body, mac) = token.rsplit_once(':').ok_or(SigningError::Malformed)?;
    let (value, stamp) = body.rsplit_once(':').ok_or(SigningError::Malformed)?;
    let genuine = |key: &String| bool::from(signature(body, salt, key).as_bytes().ct_eq(mac.as_bytes()));
    if !secrets.keys.iter().any(genuine) {
        return Err(SigningError::Signature);
    }
    let seconds = from_base62(stamp).ok_or(SigningError::Malformed)?;
    match age {
        Some(age) if age.now.seconds().saturating_sub(seconds) > age.max.as_secs() => Err(SigningError::Expired),
        _ => Ok(value),
    }
}

/// HMAC-SHA256 of a value under the key SHA-256(salt + secret): `django.utils.crypto.salted_hmac`.
pub(super) fn salted_hmac(salt: &[&str], secret: &str, value: &str) -> [u8; 32] {
    let mut key = Sha256::new();
    for part in salt {
        key.update(part.as_bytes());
    }
    key.update(secret.as_bytes());
    let mut mac = Hmac::<Sha256>::new_from_slice(&key.finalize()).expect("an HMAC takes a key of any length");
    mac.update(value.as_bytes());
    mac.finalize().into_bytes().into()
}

fn signature(body: &str, salt: &str, key: &str) -> String {
    URL_SAFE_NO_PAD.encode(salted_hmac(&[salt, "signer"], key, body))
}

pub(super) fn inflate(bytes: &[u8]) -> Result<Vec<u8>, SigningError> {
    let mut data = Vec::new();
    let mut inflating = flate2::read::ZlibDecoder::new(bytes).take(MAX_PAYLOAD + 1);
    inflating.read_to_end(&mut data).map_err(|_| SigningError::Payload)?;
    if data.len() as u64 > MAX_PAYLOAD { Err(SigningError::TooLarge) } else { Ok(data) }
}

fn to_base62(mut number: u64) -> String {
    let mut digits = Vec::new();
    loop {
        let digit = usize::try_from(number % 62).expect("a remainder below 62");
        digits.push(char::from(BASE62[digit]));
        number /= 62;
        if number == 0 {
            return digits.iter().rev().collect();
        }
    }
}

fn from_base62(digits: &str) -> Option<u64> {
    let value = |byte: u8| BASE62.iter().position(|digit| *digit == byte).and_then(|at| u64::try_from(at).ok());
    let add = |number: u64, byte| number.checked_mul(62)?.checked_add(value(byte)?);
    if digits.is_empty() { None } else { digits.bytes().try_fold(0, add) }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::time::Duration;

    use super::{Age, SigningError, dumps, from_base62, loads, sign, to_base62, unsign};
    use crate::Timestamp;
    use crate::identity::django::Secrets;

    const CLOCK: Timestamp = Timestamp(1_767_225_600_000);

    fn secrets() -> Secrets {
        Secrets { keys: vec!["strangler-test-secret-key".into()] }
    }

    #[test]
    fn a_token_is_the_one_that_django_makes() {
        let token = dumps(br#"{"a":1}"#, "django.contrib.sessions.SessionStore", &secrets(), CLOCK);
        assert_eq!(token, "eyJhIjoxfQ:1vb66i:c8u7CqZfKrjqI0g4YVyG-MwnDQs0w_s4JVSs0XQz7fQ");
        let cookie = dumps(br#"{"a":1}"#, "django.contrib.sessions.backends.signed_cookies", &secrets(), CLOCK);
        assert_eq!(cookie, "eyJhIjoxfQ:1vb66i:rd7t_RXBTX7lWx_QapyxViz0aI6g8ShcoPBJYFfMcNk");
    }

    #[test]
    fn fallback_keys_verify_and_never_sign() {
        let old = sign("value", "a salt", &secrets(), CLOCK);
        let rotated = Secrets { keys: vec!["new".into(), "strangler-test-secret-key".into()] };
        assert_eq!(unsign(&old, "a salt", &rotated, None), Ok("value"));
        assert_eq!(unsign(&sign("value", "a salt", &rotated, CLOCK), "a salt", &secrets(), None), Err(SigningError::Signature));
        assert_eq!(unsign(&old, "a salt", &Secrets { keys: vec![] }, None), Err(SigningError::Signature));
    }

    #[test]
    fn a_salt_is_a_purpose_and_an_age_has_an_end() {
        let token = sign("v:with:colons", "one", &secrets(), CLOCK);
        let age = |now| Some(Age { max: Duration::from_secs(60), now });
        assert_eq!(unsign(&token, "two", &secrets(), None), Err(SigningError::Signature));
        assert_eq!(unsign(&token, "one", &secrets(), age(CLOCK.plus(Duration::from_secs(60)))), Ok("v:with:colons"));
        assert_eq!(unsign(&token, "one", &secrets(), age(CLOCK.plus(Duration::from_secs(61)))), Err(SigningError::Expired));
        assert_eq!(unsign("no colons", "one", &secrets(), None), Err(SigningError::Malformed));
    }

    #[test]
    fn a_bomb_does_not_unpack() {
        let mut packer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        packer.write_all(&vec![b' '; 64 * 1024 * 1024]).expect("memory takes it");
        let bomb = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, packer.finish().expect("memory takes it"));
        let token = sign(&format!(".{bomb}"), "s", &secrets(), CLOCK);
        assert_eq!(loads(&token, "s", &secrets(), None), Err(SigningError::TooLarge));
        let garbage = sign(".AAAA", "s", &secrets(), CLOCK);
        assert_eq!(loads(&garbage, "s", &secrets(), None), Err(SigningError::Payload));
    }

    #[test]
    fn base_62_counts_like_django() {
        assert_eq!(to_base62(1_767_225_600), "1vb66i");
        assert_eq!((to_base62(0).as_str(), from_base62("0"), from_base62("")), ("0", Some(0), None));
        for number in [1, 61, 62, 3_843, u64::MAX] {
            assert_eq!(from_base62(&to_base62(number)), Some(number));
        }
        assert_eq!((from_base62("zzzzzzzzzzzzzzz"), from_base62("a-b")), (None, None));
    }
}
