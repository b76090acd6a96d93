//! JSON Web Tokens of an issuer (RFC 7519): a header `Authorization: Bearer` becomes a user, by the claims that the configuration
//! names. The algorithms are the configuration's choice, never the token's; `none` is not among those that exist here.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Map, Value};

use super::jwks::KeySet;
use super::login::User;
use super::memory::{Found, Memory};
use super::store::Failure;
use crate::Error;
use crate::config::{JwtIdentity, JwtKeys};

/// No token is longer.
const LONGEST: usize = 16 * 1024;

/// The claims of a token that was verified, or of one that was not.
type Claims = Map<String, Value>;

/// One issuer.
pub(super) struct Jwt {
    settings: JwtIdentity,
    keys: Keys,
    memory: Memory,
}

enum Keys {
    Secret(DecodingKey),
    Set(Arc<KeySet>),
}

impl Jwt {
    pub(super) fn new(settings: JwtIdentity) -> Result<Jwt, Error> {
        let keys = match &settings.keys {
            JwtKeys::Secret(secret) => Keys::Secret(DecodingKey::from_secret(secret)),
            JwtKeys::File(_) | JwtKeys::Url { .. } => Keys::Set(Arc::new(KeySet::new(settings.keys.clone()).map_err(Error::Identity)?)),
        };
        let memory = Memory::new(settings.cache_for);
        Ok(Jwt { settings, keys, memory })
    }

    /// Whether there are keys to verify by.
    pub(super) async fn check(&self) -> Result<(), String> {
        match &self.keys {
            Keys::Secret(_) => Ok(()),
            Keys::Set(set) => set.check().await,
        }
    }

    /// Whether a token says that it is of this issuer. It says so before anybody verified it.
    pub(super) fn is_issuer_of(&self, token: &str) -> bool {
        let said = part(token, 1).and_then(|claims| claims.get("iss")?.as_str().map(str::to_owned));
        self.settings.issuer.is_none() || self.settings.issuer == said
    }

    /// Whose token it is.
    pub(super) async fn find(&self, token: &str) -> Found {
        if token.len() > LONGEST {
            return Found::NOBODY;
        }
        self.memory.recall(&[token], || self.verify(token)).await
    }

    async fn verify(&self, token: &str) -> Result<Found, Failure> {
        let refused = |reason: &str| {
            tracing::debug!(reason, "a token was refused");
            Ok(Found::NOBODY)
        };
        let Some(header) = part(token, 0) else { return refused("its header is none") };
        let algorithm = header.get("alg").and_then(Value::as_str).and_then(|name| name.parse::<Algorithm>().ok());
        let Some(algorithm) = algorithm.filter(|algorithm| self.settings.algorithms.contains(algorithm)) else {
            return refused("its algorithm is not accepted");
        };
        // Nothing is understood that a token says must be (RFC 7515, 4.1.11).
        if header.contains_key("crit") {
            return refused("it has critical extensions");
        }
        let kid = header.get("kid").and_then(Value::as_str);
        let candidates = match &self.keys {
            Keys::Secret(key) => vec![key.clone()],
            Keys::Set(set) => set.keys(kid, algorithm).await?,
        };
        let validation = self.validation(algorithm);
        let mut verified = candidates.iter().filter_map(|key| jsonwebtoken::decode::<Claims>(token, key, &validation).ok());
        let Some(claims) = verified.next().map(|token| token.claims) else {
            return refused("no key verifies it, or a claim does not hold");
        };
        Ok(self.user(&claims).map_or(Found::NOBODY, |user| Found::user(Arc::new(user))))
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = self.settings.leeway.as_secs();
        validation.validate_nbf = true;
        validation.validate_aud = !self.settings.audience.is_empty();
        if validation.validate_aud {
            validation.set_audience(&self.settings.audience);
            validation.required_spec_claims.insert("aud".to_owned());
        }
        if let Some(issuer) = &self.settings.issuer {
            validation.set_issuer(&[issuer]);
            validation.required_spec_claims.insert("iss".to_owned());
        }
        validation
    }

    /// The user that the claims name, if all claims are there that must be.
    fn user(&self, claims: &Claims) -> Option<User> {
        let text = |name: &String| texts(claims.get(name)?).into_iter().next();
        let fits = |(name, value): (&String, &String)| claims.get(name).is_some_and(|claim| texts(claim).contains(value));
        if !self.settings.claims.iter().all(fits) {
            return None;
        }
        let id = text(&self.settings.user_claim).filter(|id| !id.is_empty())?;
        let roles = self.settings.role_claim.as_ref().and_then(|name| claims.get(name)).map(texts).unwrap_or_default();
        let attributes = self.settings.attributes.iter().filter_map(|name| Some((name.clone(), text(name)?)));
        Some(User {
            username: text(&self.settings.username_claim).unwrap_or_else(|| id.clone()),
            id,
            roles,
            attributes: attributes.collect(),
        })
    }
}

/// A claim as texts: a list of them, or one.
fn texts(claim: &Value) -> Vec<String> {
    match claim {
        Value::String(text) => vec![text.clone()],
        Value::Number(number) => vec![number.to_string()],
        Value::Bool(is) => vec![is.to_string()],
        Value::Array(items) => items.iter().filter(|item| !item.is_array()).flat_map(texts).collect(),
        Value::Null | Value::Object(_) => Vec::new(),
    }
}

/// A part of a token, before anything was verified.
fn part(token: &str, at: usize) -> Option<Claims> {
    let bytes = URL_SAFE_NO_PAD.decode(token.split('.').nth(at)?).ok()?;
    serde_json::from_slice(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use jsonwebtoken::Algorithm;
    use proptest::prelude::{any, prop, prop_assert, proptest};

    use super::super::memory::Found;
    use super::Jwt;
    use crate::config::{JwtIdentity, JwtKeys};
    use crate::mutator::fuzz;

    #[test]
    fn a_token_is_genuine_or_nobodys_and_claims_may_be_anything() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let settings = JwtIdentity {
            role_claim: Some("roles".to_owned()),
            ..JwtIdentity::new(vec![Algorithm::HS256], JwtKeys::Secret(b"the secret".to_vec()))
        };
        let jwt = Jwt::new(settings).expect("a way to know callers");
        let sign = |claims: &super::Claims| {
            let key = jsonwebtoken::EncodingKey::from_secret(b"the secret");
            jsonwebtoken::encode(&jsonwebtoken::Header::new(Algorithm::HS256), claims, &key).expect("a token")
        };
        let user = |token: &str| match runtime.block_on(jwt.find(token)) {
            Found::Session { user, .. } => user.map(|user| (user.id.clone(), user.roles.len())),
            _ => None,
        };
        let claims = br#"{"sub": "7", "exp": 99999999999, "roles": ["a", ["b"], 1, null], "nbf": 0}"#;
        let genuine = sign(&serde_json::from_slice(claims).expect("claims"));
        assert_eq!(user(&genuine), Some(("7".to_owned(), 2)));
        fuzz("token", &[genuine.as_bytes(), b"a.b.c"], &[b".", b"eyJ", b"=", b"-"], |input| {
            let token = String::from_utf8_lossy(input);
            let known = user(&token);
            assert!(known.is_none() || token.rsplit_once('.').map(|(body, _)| body) == genuine.rsplit_once('.').map(|(body, _)| body));
            known.is_some()
        });
        let dictionary: [&[u8]; 8] = [b"\"sub\":", b"\"exp\":", b"1e400", b"-1", b"null", b"[[[", b"{}", b"18446744073709551616"];
        fuzz("claims", &[claims, b"{}", br#"{"sub": 7, "exp": 99999999999}"#], &dictionary, |input| {
            let Ok(claims) = serde_json::from_slice::<super::Claims>(input) else { return None };
            let known = user(&sign(&claims));
            assert!(known.as_ref().is_none_or(|(id, _)| !id.is_empty()), "a user without an id");
            Some(known.map(|(_, roles)| roles.min(4)))
        });
    }

    proptest! {
        #[test]
        fn nothing_that_nobody_signed_is_a_token(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[.=A-Za-z0-9_-]{0,200}", algorithm in "HS256|HS512|none|RS256") {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
            let settings = JwtIdentity::new(vec![Algorithm::HS256], JwtKeys::Secret(b"the secret".to_vec()));
            let jwt = Jwt::new(settings).expect("a way to know callers");
            let header = super::URL_SAFE_NO_PAD.encode(format!("{{\"alg\":\"{algorithm}\"}}"));
            for token in [String::from_utf8_lossy(&bytes).into_owned(), text.clone(), format!("{header}.{text}")] {
                let _ = jwt.is_issuer_of(&token);
                let found = runtime.block_on(jwt.find(&token));
                let nobodys = matches!(found, Found::Session { user: None, .. });
                prop_assert!(nobodys);
            }
        }
    }
}
