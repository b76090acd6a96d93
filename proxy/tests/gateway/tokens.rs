//! JSON Web Tokens of issuers, by secret and by key set.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::SigningKey;
use ficus_proxy::{JwtIdentity, JwtKeys};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::support::{Origin, World, full, now, soaking, told};

const SECRET: &[u8] = b"the secret of issuer and verifier";

/// A pair of keys of an issuer, and its public half as it stands in a set.
struct Pair {
    private: EncodingKey,
    public: Value,
    kid: &'static str,
}

fn pair(kid: &'static str, seed: u8) -> Pair {
    let key = SigningKey::from_bytes(&[seed; 32]);
    let der = ed25519_dalek::pkcs8::EncodePrivateKey::to_pkcs8_der(&key).unwrap();
    let x = URL_SAFE_NO_PAD.encode(key.verifying_key().as_bytes());
    let public = json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": kid, "x": x});
    Pair { private: EncodingKey::from_ed_der(der.as_bytes()), public, kid }
}

fn claims(more: Value) -> Value {
    let mut claims = json!({"iss": "https://accounts.test", "aud": "school", "sub": "42", "exp": now().seconds() + 600});
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    claims
}

impl Pair {
    fn token(&self, more: Value) -> String {
        let header = Header { kid: Some(self.kid.to_owned()), ..Header::new(Algorithm::EdDSA) };
        format!("Bearer {}", encode(&header, &claims(more), &self.private).unwrap())
    }
}

fn by_secret(algorithm: Algorithm, secret: &[u8], claims: &Value) -> String {
    format!("Bearer {}", encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret)).unwrap())
}

fn by_hand(header: &Value, claims: &Value, signature: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("Bearer {}.{}.{signature}", part(header), part(claims))
}

async fn world(issuers: Vec<JwtIdentity>) -> World {
    let world = World::with(|config| config.identity.issuers = issuers).await;
    world.serve(soaking());
    world
}

async fn user(world: &World, token: &str) -> Option<String> {
    told(world, &[("authorization", token)]).await.map(|claims| claims["sub"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_by_secret_is_judged_by_the_configuration_and_never_by_itself() {
    let keys = || JwtKeys::Secret(SECRET.to_vec());
    let claims_wanted = [("token_type".to_owned(), "access".to_owned())].into();
    let simple = JwtIdentity {
        user_claim: "user_id".into(),
        role_claim: Some("groups".into()),
        claims: claims_wanted,
        leeway: Duration::from_secs(10),
        ..JwtIdentity::new(vec![Algorithm::HS256], keys())
    };
    let world = world(vec![simple]).await;
    let (soon, good) =
        (now().seconds() + 60, json!({"user_id": 42, "token_type": "access", "groups": ["teacher", "x"], "exp": now().seconds() + 60}));
    let told = told(&world, &[("authorization", &by_secret(Algorithm::HS256, SECRET, &good))]).await.unwrap();
    assert_eq!((&told["sub"], &told["role"]), (&"42".into(), &"teacher".into()));
    for (why, token) in [
        ("another secret", by_secret(Algorithm::HS256, b"another", &good)),
        ("another algorithm", by_secret(Algorithm::HS512, SECRET, &good)),
        ("a refresh token", by_secret(Algorithm::HS256, SECRET, &json!({"user_id": 42, "token_type": "refresh", "exp": soon}))),
        ("no kind", by_secret(Algorithm::HS256, SECRET, &json!({"user_id": 42, "exp": soon}))),
        ("no user", by_secret(Algorithm::HS256, SECRET, &json!({"token_type": "access", "exp": soon}))),
        ("no end", by_secret(Algorithm::HS256, SECRET, &json!({"user_id": 42, "token_type": "access"}))),
        ("over", by_secret(Algorithm::HS256, SECRET, &json!({"user_id": 42, "token_type": "access", "exp": soon - 80}))),
        ("not yet", by_secret(Algorithm::HS256, SECRET, &json!({"user_id": 42, "token_type": "access", "exp": soon, "nbf": soon}))),
        ("none", by_hand(&json!({"alg": "none"}), &good, "")),
        ("None", by_hand(&json!({"alg": "None", "typ": "JWT"}), &good, "AAAA")),
        ("no token", "Bearer abc".to_owned()),
        ("parts", "Bearer ..".to_owned()),
    ] {
        assert_eq!(user(&world, &token).await, None, "{why}");
    }
    let within = by_secret(Algorithm::HS256, SECRET, &json!({"user_id": 7, "token_type": "access", "exp": now().seconds() - 5}));
    assert_eq!(user(&world, &within).await.as_deref(), Some("7"), "clocks differ");
}

/// These are genuine but for the one thing.
#[tokio::test(flavor = "multi_thread")]
async fn a_genuine_token_that_says_more_than_is_understood_or_is_too_long_is_nobodys() {
    let world = world(vec![JwtIdentity::new(vec![Algorithm::HS256], JwtKeys::Secret(SECRET.to_vec()))]).await;
    let token =
        |header: Header, more: Value| format!("Bearer {}", encode(&header, &claims(more), &EncodingKey::from_secret(SECRET)).unwrap());
    let plain = || Header::new(Algorithm::HS256);
    assert_eq!(user(&world, &token(plain(), json!({}))).await.as_deref(), Some("42"));
    let critical = Header { crit: Some(vec!["exp".into()]), ..plain() };
    assert_eq!(user(&world, &token(critical, json!({}))).await, None, "it says what must be understood");
    let padded = |length: usize| token(plain(), json!({"pad": "x".repeat(length)}));
    let (long, longer) = (padded(11_000), padded(13_000));
    assert!(long.len() < 16 << 10 && longer.len() > 16 << 10, "{} {}", long.len(), longer.len());
    assert_eq!(user(&world, &long).await.as_deref(), Some("42"));
    assert_eq!(user(&world, &longer).await, None);
}

/// What an issuer says of itself chooses the keys: another one's never count for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_its_issuers_or_nobodys() {
    let issuer = |name: Option<&str>, secret: &[u8]| JwtIdentity {
        issuer: name.map(str::to_owned),
        ..JwtIdentity::new(vec![Algorithm::HS256], JwtKeys::Secret(secret.to_vec()))
    };
    let (ours, any) = (b"the secret of one issuer".as_slice(), b"the secret of whoever has no name".as_slice());
    let world = world(vec![issuer(Some("https://accounts.test"), ours), issuer(None, any)]).await;
    let token = |issuer: Value, secret: &[u8]| by_secret(Algorithm::HS256, secret, &claims(json!({"iss": issuer})));
    for (issuer, secret, known) in [
        (json!("https://accounts.test"), ours, true),
        (json!("https://accounts.test"), any, false),
        (json!("https://other.test"), any, true),
        (json!("https://other.test"), ours, false),
        (json!(null), ours, false),
    ] {
        assert_eq!(user(&world, &token(issuer.clone(), secret)).await.is_some(), known, "{issuer}");
    }
}

/// A set is public: a secret in it is everybody's.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_a_key_set_verifies_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (path, ours) = (folder.path().join("keys.json"), pair("one", 1));
    let secret = json!({"kty": "oct", "alg": "HS256", "kid": "secret", "k": URL_SAFE_NO_PAD.encode(SECRET)});
    std::fs::write(&path, json!({"keys": [secret, ours.public]}).to_string()).unwrap();
    let world = world(vec![JwtIdentity::new(vec![Algorithm::EdDSA, Algorithm::HS256], JwtKeys::File(path))]).await;
    assert_eq!(user(&world, &ours.token(json!({}))).await.as_deref(), Some("42"));
    for kid in [Some("secret".to_owned()), None] {
        let header = Header { kid, ..Header::new(Algorithm::HS256) };
        let signed = encode(&header, &claims(json!({})), &EncodingKey::from_secret(SECRET)).unwrap();
        assert_eq!(user(&world, &format!("Bearer {signed}")).await, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn issuer_and_audience_hold_and_a_public_key_is_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let (path, ours) = (folder.path().join("keys.json"), pair("one", 1));
    std::fs::write(&path, json!({"keys": [{"kty": "new"}, ours.public]}).to_string()).unwrap();
    let issuer = JwtIdentity {
        issuer: Some("https://accounts.test".into()),
        audience: vec!["school".into()],
        ..JwtIdentity::new(vec![Algorithm::EdDSA, Algorithm::RS256], JwtKeys::File(path))
    };
    let world = world(vec![issuer]).await;
    assert_eq!(user(&world, &ours.token(json!({}))).await.as_deref(), Some("42"));
    assert_eq!(user(&world, &ours.token(json!({"aud": ["x", "school"]}))).await.as_deref(), Some("42"));
    for more in
        [json!({"iss": "https://evil.test"}), json!({"iss": null}), json!({"aud": "shop"}), json!({"aud": null}), json!({"sub": ""})]
    {
        assert_eq!(user(&world, &ours.token(more.clone())).await, None, "{more}");
    }
    assert_eq!(user(&world, &pair("one", 2).token(json!({}))).await, None, "another key of that name");
    // The public key as the secret of an HMAC: the old confusion.
    let x = URL_SAFE_NO_PAD.decode(ours.public["x"].as_str().unwrap()).unwrap();
    let header = Header { kid: Some("one".into()), ..Header::new(Algorithm::HS256) };
    let confused = encode(&header, &claims(json!({})), &EncodingKey::from_secret(&x)).unwrap();
    assert_eq!(user(&world, &format!("Bearer {confused}")).await, None);
    let write = async |token: &str| world.send("POST", "/forms/x", &[("authorization", token)], full("{}")).await.status;
    assert_eq!((write(&ours.token(json!({}))).await, write("Bearer x").await), (200, 403), "a header cannot be forged by a page");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_rotate_and_unknown_names_do_not_hammer_the_issuer() {
    let issuer = Origin::start("issuer").await;
    let (old, new) = (pair("old", 1), pair("new", 2));
    let publish = |keys: &[&Pair]| {
        let keys: Vec<&Value> = keys.iter().map(|pair| &pair.public).collect();
        *issuer.state.thing.lock().unwrap() = json!({"keys": keys}).to_string();
    };
    publish(&[&old]);
    let url = format!("http://{}/thing", issuer.address);
    let world = world(vec![JwtIdentity::new(vec![Algorithm::EdDSA], JwtKeys::Url { url, authority: None })]).await;
    assert_eq!(user(&world, &old.token(json!({}))).await.as_deref(), Some("42"));
    let start = std::time::Instant::now();
    assert_eq!(issuer.seen("/thing").len(), 1);
    publish(&[&old, &new]);
    for n in 0..50 {
        let unknown = pair("unknown", 9).token(json!({"sub": n.to_string()}));
        assert_eq!(user(&world, &unknown).await, None);
    }
    let bounded = || issuer.seen("/thing").len() <= 2 + usize::try_from(start.elapsed().as_secs()).unwrap() / 5;
    assert!(bounded(), "strangers do not make it ask: {}", issuer.seen("/thing").len());
    let mut n = 100;
    while user(&world, &new.token(json!({"sub": n.to_string()}))).await.is_none() {
        assert!(start.elapsed() < Duration::from_secs(30), "the new key is never read");
        n += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(bounded());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_issuers_keys_nobody_knows_who_writes() {
    let url = "http://127.0.0.1:9/keys".to_owned();
    let world = world(vec![JwtIdentity::new(vec![Algorithm::EdDSA], JwtKeys::Url { url, authority: None })]).await;
    let token = pair("one", 1).token(json!({}));
    let got = world.send("POST", "/api/v1/users/me/", &[("authorization", &token)], full("")).await;
    assert_eq!(got.status, 503);
}
