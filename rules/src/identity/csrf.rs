//! Django's CSRF protection: cookie and token, origin and referer (django/middleware/csrf.py of Django 5.2).
//!
//! The secret has 32 characters of `[A-Za-z0-9]`. A token is the secret, or 64 characters: a mask, and the secret added
//! to it, character by character modulo 62. Projects that keep the secret in the session (`CSRF_USE_SESSIONS`) or set
//! `CSRF_COOKIE_DOMAIN` are not served.

mod origin;

use subtle::ConstantTimeEq;

const SECRET_LENGTH: usize = 32;
const TOKEN_LENGTH: usize = 2 * SECRET_LENGTH;
/// In the order of the arithmetic.
const ALPHABET: &[u8; 62] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/// What a request brings.
#[derive(Debug, Clone, Default)]
pub struct Evidence<'a> {
    /// `http` or `https`, as the client sees it.
    pub scheme: &'a str,
    /// The host that the client asked for, with port.
    pub host: &'a str,
    /// The cookie `csrftoken`.
    pub cookie: Option<&'a str>,
    /// The header `CSRF_HEADER_NAME` or the form field `csrfmiddlewaretoken`.
    pub token: Option<&'a str>,
    /// The header `Origin`.
    pub origin: Option<&'a str>,
    /// The header `Referer`.
    pub referer: Option<&'a str>,
}

/// Checks a write as Django would. `trusted` are Django's `CSRF_TRUSTED_ORIGINS`.
///
/// # Errors
/// The reason for the answer 403.
pub fn check(evidence: &Evidence<'_>, trusted: &[String]) -> Result<(), &'static str> {
    check_source(evidence, trusted)?;
    let cookie = evidence.cookie.ok_or("the CSRF cookie is missing")?;
    let secret = secret_of(cookie).ok_or("the CSRF cookie has a wrong length or wrong characters")?;
    let token = evidence.token.filter(|token| !token.is_empty()).ok_or("the CSRF token is missing")?;
    let sent = secret_of(token).ok_or("the CSRF token has a wrong length or wrong characters")?;
    match bool::from(sent.ct_eq(&secret)) {
        true => Ok(()),
        false => Err("the CSRF token is another session's"),
    }
}

/// Only where the request comes from, without cookie and token: for a body that must be read first.
///
/// # Errors
/// The reason for the answer 403.
pub fn check_source(evidence: &Evidence<'_>, trusted: &[String]) -> Result<(), &'static str> {
    match evidence.origin {
        Some(origin) if origin::is_trusted(origin, evidence.scheme, evidence.host, trusted) => Ok(()),
        Some(_) => Err("the origin is neither this site nor trusted"),
        None if evidence.scheme == "https" => origin::check_referer(evidence.referer, evidence.host, trusted),
        None => Ok(()),
    }
}

/// Whether a referer is secure and from this host, with the same port.
pub fn is_same_site(referer: &str, host: &str) -> bool {
    origin::check_referer(Some(referer), host, &[]).is_ok()
}

/// The secret behind a cookie or token, in either form.
fn secret_of(text: &str) -> Option<[u8; SECRET_LENGTH]> {
    let places: Vec<usize> = text.bytes().map(|byte| ALPHABET.iter().position(|c| *c == byte)).collect::<Option<_>>()?;
    let mut secret = [0; SECRET_LENGTH];
    match places.len() {
        SECRET_LENGTH => secret.copy_from_slice(text.as_bytes()),
        TOKEN_LENGTH => {
            let (mask, cipher) = places.split_at(SECRET_LENGTH);
            for (byte, (mask, cipher)) in secret.iter_mut().zip(mask.iter().zip(cipher)) {
                *byte = ALPHABET[(cipher + ALPHABET.len() - mask) % ALPHABET.len()];
            }
        }
        _ => return None,
    }
    Some(secret)
}

#[cfg(test)]
mod tests {
    use super::{Evidence, check, secret_of};

    const SECRET: &str = "JKLMNOPQRSTUVWXYZ0123456789abcde";

    fn masked() -> String {
        "B".repeat(32) + "abcdefghijklmnopqrstuvwxyzABCDEF"
    }

    fn checked(cookie: &str, token: &str) -> bool {
        let evidence = Evidence { scheme: "http", host: "school.test", cookie: Some(cookie), token: Some(token), ..Evidence::default() };
        check(&evidence, &[]).is_ok()
    }

    #[test]
    fn a_mask_comes_off() {
        assert_eq!(secret_of(&masked()).as_ref().map(<[u8; 32]>::as_slice), Some(SECRET.as_bytes()));
    }

    #[test]
    fn cookie_and_token_match_in_both_forms() {
        let masked = masked();
        for (cookie, token) in [(SECRET, SECRET), (SECRET, &masked), (&masked, SECRET), (&masked, &masked)] {
            assert!(checked(cookie, token), "{cookie} {token}");
        }
    }

    #[test]
    fn another_secret_and_garbage_do_not() {
        let other = "x".repeat(32);
        for token in [other.as_str(), "", "short", &SECRET[1..], &"!".repeat(32), &"ü".repeat(16), &(masked() + "a")] {
            assert!(!checked(SECRET, token), "{token}");
            assert!(!checked(token, SECRET), "{token}");
        }
    }
}
