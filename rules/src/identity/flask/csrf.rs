//! Flask-WTF's CSRF protection (flask_wtf/csrf.py of 1.2 and later): a token in form or header is the session's own, signed and
//! not too old; a secure request comes from the site itself.

use std::time::Duration;

use subtle::ConstantTimeEq;

use crate::Timestamp;
use crate::identity::csrf::is_same_site;
use crate::identity::django::Secrets;
use crate::identity::itsdangerous::{Derivation, Purpose, loads};
use crate::identity::signing::{Age, SigningError};

/// What Flask-WTF signs its tokens for.
pub const TOKEN: Purpose = Purpose { salt: "wtf-csrf-token", derivation: Derivation::DjangoConcat };
/// `WTF_CSRF_TIME_LIMIT`, unless a project sets it.
pub const TIME_LIMIT: Duration = Duration::from_secs(3600);

/// What a request brings.
#[derive(Debug, Clone, Default)]
pub struct Evidence<'a> {
    /// The client used https, and the project wants it to come from its own pages then (`WTF_CSRF_SSL_STRICT`).
    pub secure: bool,
    /// The host that the client asked for, with port.
    pub host: &'a str,
    /// `csrf_token` of the session.
    pub session: Option<&'a str>,
    /// The token of form or header.
    pub token: Option<&'a str>,
    /// The header `Referer`.
    pub referer: Option<&'a str>,
}

/// Checks a write as Flask-WTF would.
///
/// # Errors
/// The reason for refusing it.
pub fn check(evidence: &Evidence<'_>, secrets: &Secrets, limit: Duration, now: Timestamp) -> Result<(), &'static str> {
    let token = evidence.token.filter(|token| !token.is_empty()).ok_or("the CSRF token is missing")?;
    let wanted = evidence.session.ok_or("the CSRF session token is missing")?;
    let json = loads(token, TOKEN, secrets, Age { max: limit, now }).map_err(|error| match error {
        SigningError::Expired => "the CSRF token has expired",
        _ => "the CSRF token is invalid",
    })?;
    let sent: String = serde_json::from_slice(&json).map_err(|_| "the CSRF token is invalid")?;
    if !bool::from(sent.as_bytes().ct_eq(wanted.as_bytes())) {
        return Err("the CSRF token is another session's");
    }
    if evidence.secure {
        let referer = evidence.referer.ok_or("a secure request needs a referer")?;
        if !is_same_site(referer, evidence.host) {
            return Err("the referer is not this site");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::super::tests::secrets;
    use super::{Evidence, TIME_LIMIT, TOKEN, check};
    use crate::Timestamp;
    use crate::identity::django::Secrets;
    use crate::identity::itsdangerous::dumps;

    const CLOCK: Timestamp = Timestamp(1_767_225_600_000);
    const SESSION: &str = "2fd4e1c67a2d28fced849ee1bb76e7391b93eb12";

    fn token() -> String {
        dumps(format!("\"{SESSION}\"").as_bytes(), TOKEN, &secrets(), CLOCK)
    }

    #[test]
    fn a_token_is_the_sessions_own_signed_and_young() {
        let token = token();
        let evidence = Evidence { host: "here.test", session: Some(SESSION), token: Some(&token), ..Evidence::default() };
        let judged =
            |evidence: &Evidence<'_>, after| check(evidence, &secrets(), TIME_LIMIT, CLOCK.plus(std::time::Duration::from_secs(after)));
        assert_eq!((judged(&evidence, 3_600), judged(&evidence, 3_601)), (Ok(()), Err("the CSRF token has expired")));
        let with = |change: &dyn Fn(&mut Evidence<'_>)| {
            let mut evidence = evidence.clone();
            change(&mut evidence);
            judged(&evidence, 0)
        };
        assert_eq!(with(&|e| e.token = None), Err("the CSRF token is missing"));
        assert_eq!(with(&|e| e.session = None), Err("the CSRF session token is missing"));
        assert_eq!(with(&|e| e.session = Some("another")), Err("the CSRF token is another session's"));
        assert_eq!(with(&|e| e.token = Some(SESSION)), Err("the CSRF token is invalid"));
        assert_eq!(check(&evidence, &Secrets { keys: vec!["x".into()] }, TIME_LIMIT, CLOCK), Err("the CSRF token is invalid"));
        assert_eq!(with(&|e| e.secure = true), Err("a secure request needs a referer"));
        for (referer, fine) in [
            ("https://here.test/form", true),
            ("https://here.test", true),
            ("https://here.test.evil.test/", false),
            ("http://here.test/", false),
            ("https://here.test:8443/", false),
            ("https://evil.test/https://here.test/", false),
            ("here.test", false),
        ] {
            let judged = check(&Evidence { secure: true, referer: Some(referer), ..evidence.clone() }, &secrets(), TIME_LIMIT, CLOCK);
            assert_eq!(judged.is_ok(), fine, "{referer}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_nobody_signed_is_a_token(text in "[.\"A-Za-z0-9_-]{0,120}") {
            let evidence = Evidence { session: Some(SESSION), token: Some(&text), ..Evidence::default() };
            prop_assert!(check(&evidence, &secrets(), TIME_LIMIT, CLOCK).is_err());
        }
    }
}
