//! Identity tokens for the new services: short-lived JWTs signed with Ed25519 (RFC 7519, RFC 8037), and the key set by
//! which services check them. A service learns who calls, never how Django signs.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use ficus_rules::Timestamp;
use serde_json::{Value, json};

use crate::identity::User;

/// How long a token is good for.
const LIFETIME: Duration = Duration::from_secs(60);
/// How long a token is handed out again for the same user and service.
const REUSED_FOR: Duration = Duration::from_secs(20);

/// Signs identity tokens.
pub(crate) struct Tokens {
    key: SigningKey,
    kid: String,
    header: String,
    recent: moka::sync::Cache<(String, User), Arc<str>>,
}

impl Tokens {
    pub(crate) fn new(seed: &[u8; 32]) -> Tokens {
        let key = SigningKey::from_bytes(seed);
        let kid = URL_SAFE_NO_PAD.encode(&key.verifying_key().as_bytes()[..8]);
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": "EdDSA", "kid": kid, "typ": "JWT"}).to_string());
        let recent = moka::sync::Cache::builder().max_capacity(10_000).time_to_live(REUSED_FOR).build();
        Tokens { key, kid, header, recent }
    }

    /// A token that tells `audience` who the user is.
    pub(crate) fn of(&self, user: &User, audience: &str, now: Timestamp) -> Arc<str> {
        self.recent.get_with((audience.to_owned(), user.clone()), || self.sign(user, audience, now).into())
    }

    /// The key set (RFC 7517) that services verify by.
    pub(crate) fn jwks(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.key.verifying_key().as_bytes());
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": self.kid, "x": x}]})
    }

    fn sign(&self, user: &User, audience: &str, now: Timestamp) -> String {
        let claims = json!({
            "iss": "ficus",
            "aud": audience,
            "sub": user.id,
            "username": user.username,
            "role": user.roles.first(),
            "iat": now.seconds(),
            "exp": now.plus(LIFETIME).seconds(),
        });
        let signed = format!("{}.{}", self.header, URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(signed.as_bytes()).to_bytes());
        format!("{signed}.{signature}")
    }
}

#[cfg(test)]
mod tests {
    use ficus_rules::Timestamp;
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
    use serde_json::Value;

    use super::Tokens;
    use crate::identity::User;

    #[test]
    fn another_implementation_accepts_the_token_by_the_key_set() {
        let tokens = Tokens::new(&[7; 32]);
        let user = User { id: "42".into(), username: "student42".into(), roles: vec!["student".into()], ..User::default() };
        let token = tokens.of(&user, "users-service", Timestamp::from(std::time::SystemTime::now()));
        let jwks = tokens.jwks();
        let key = DecodingKey::from_ed_components(jwks["keys"][0]["x"].as_str().expect("x")).expect("a key");
        let mut expected = Validation::new(Algorithm::EdDSA);
        expected.set_audience(&["users-service"]);
        expected.set_issuer(&["ficus"]);
        let claims = decode::<Value>(&*token, &key, &expected).expect("a valid token").claims;
        assert_eq!((claims["sub"].as_str(), claims["role"].as_str()), (Some("42"), Some("student")));
        assert_eq!(claims["exp"].as_u64().expect("exp") - claims["iat"].as_u64().expect("iat"), 60);
        assert_eq!(decode_header(&*token).expect("a header").kid.as_deref(), jwks["keys"][0]["kid"].as_str());
        expected.set_audience(&["another-service"]);
        assert!(decode::<Value>(&*token, &key, &expected).is_err());
    }

    #[test]
    fn a_token_is_reused_for_the_same_user_only() {
        let tokens = Tokens::new(&[7; 32]);
        let user = |id: &str| User { id: id.into(), username: id.into(), ..User::default() };
        let first = tokens.of(&user("1"), "a", Timestamp(1_000));
        assert_eq!(first, tokens.of(&user("1"), "a", Timestamp(9_000)));
        assert_ne!(first, tokens.of(&user("2"), "a", Timestamp(1_000)));
        assert_ne!(first, tokens.of(&user("1"), "b", Timestamp(1_000)));
    }
}
