//! Identity tokens for the new services: short-lived JWTs signed with Ed25519 (RFC 7519, RFC 8037), and the key set by
//! which services check them. A service learns who calls, never how Django signs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use ficus_rules::Timestamp;
use ficus_rules::claims::{self, Claim, Subject};
use serde_json::{Map, Value, json};

use crate::identity::User;

/// How long a token is good for.
const LIFETIME: Duration = Duration::from_secs(60);
/// How long a token is handed out again for the same user and service.
const REUSED_FOR: Duration = Duration::from_secs(20);

/// What a token says, but for its times.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Said {
    audience: String,
    id: String,
    username: String,
    roles: Vec<String>,
    more: BTreeMap<String, String>,
}

/// Signs identity tokens.
pub(crate) struct Tokens {
    key: SigningKey,
    kid: String,
    header: String,
    recent: moka::sync::Cache<Said, Arc<str>>,
}

impl Tokens {
    pub(crate) fn new(seed: &[u8; 32]) -> Tokens {
        let key = SigningKey::from_bytes(seed);
        let kid = URL_SAFE_NO_PAD.encode(&key.verifying_key().as_bytes()[..8]);
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": "EdDSA", "kid": kid, "typ": "JWT"}).to_string());
        let recent = moka::sync::Cache::builder().max_capacity(10_000).time_to_live(REUSED_FOR).build();
        Tokens { key, kid, header, recent }
    }

    /// A token that tells `audience` who the user is, and what the rules add to that.
    pub(crate) fn of(&self, user: &User, audience: &str, claims: &BTreeMap<String, Claim>, now: Timestamp) -> Arc<str> {
        let User { id, username, roles, attributes } = user;
        let more = claims::resolve(claims, Subject { id, username, roles, attributes });
        let said = Said { audience: audience.to_owned(), id: id.clone(), username: username.clone(), roles: roles.clone(), more };
        self.recent.get_with_by_ref(&said, || self.sign(&said, now).into())
    }

    /// The key set (RFC 7517) that services verify by.
    pub(crate) fn jwks(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.key.verifying_key().as_bytes());
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": self.kid, "x": x}]})
    }

    fn sign(&self, said: &Said, now: Timestamp) -> String {
        let mut claims: Map<String, Value> = said.more.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
        let always = [
            ("iss", json!("ficus")),
            ("aud", json!(said.audience)),
            ("sub", json!(said.id)),
            ("username", json!(said.username)),
            ("role", json!(said.roles.first())),
            ("iat", json!(now.seconds())),
            ("exp", json!(now.plus(LIFETIME).seconds())),
        ];
        claims.extend(always.map(|(name, value)| (name.to_owned(), value)));
        if said.roles.len() > 1 {
            claims.insert("roles".to_owned(), json!(said.roles));
        }
        let signed = format!("{}.{}", self.header, URL_SAFE_NO_PAD.encode(Value::from(claims).to_string()));
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(signed.as_bytes()).to_bytes());
        format!("{signed}.{signature}")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ficus_rules::Timestamp;
    use ficus_rules::claims::Claim;
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
    use serde_json::Value;

    use super::Tokens;
    use crate::identity::User;

    #[test]
    fn another_implementation_accepts_the_token_by_the_key_set() {
        let tokens = Tokens::new(&[7; 32]);
        let user = User { id: "42".into(), username: "student42".into(), roles: vec!["student".into()], ..User::default() };
        let token = tokens.of(&user, "users-service", &BTreeMap::new(), Timestamp::from(std::time::SystemTime::now()));
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
        let first = tokens.of(&user("1"), "a", &BTreeMap::new(), Timestamp(1_000));
        assert_eq!(first, tokens.of(&user("1"), "a", &BTreeMap::new(), Timestamp(9_000)));
        assert_ne!(first, tokens.of(&user("2"), "a", &BTreeMap::new(), Timestamp(1_000)));
        assert_ne!(first, tokens.of(&user("1"), "b", &BTreeMap::new(), Timestamp(1_000)));
    }

    #[test]
    fn rules_add_claims_and_cannot_replace_those_that_are_always_there() {
        let tokens = Tokens::new(&[7; 32]);
        let user = User { id: "42".into(), roles: vec!["a".into(), "b".into()], ..User::default() };
        let claims = [("scope".to_owned(), Claim::Value("users".into())), ("sub".to_owned(), Claim::Value("1".into()))].into();
        let token = tokens.of(&user, "a", &claims, Timestamp::from(std::time::SystemTime::now()));
        assert_ne!(token, tokens.of(&user, "a", &BTreeMap::new(), Timestamp::from(std::time::SystemTime::now())), "kept apart");
        let told = jsonwebtoken::dangerous::insecure_decode::<Value>(&*token).expect("a token").claims;
        assert_eq!((&told["scope"], &told["sub"], &told["roles"]), (&"users".into(), &"42".into(), &serde_json::json!(["a", "b"])));
    }
}
