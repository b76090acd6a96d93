//! The keys of an issuer (RFC 7517), from a file or an address. They are read again when they are old, and when a token names a
//! key that is not among them, but not more often than every few seconds: a stranger with made-up names costs nothing. Whoever's key is known
//! does not wait for it.

use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use http::Request;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde_json::Value;

use super::outgoing::Http;
use super::store::{Failure, LIMIT};
use crate::config::JwtKeys;

/// Keys in a set; more are not looked at.
const MOST: usize = 64;
/// Between two times that keys are read.
const APART: Duration = Duration::from_secs(5);
/// Keys that are older are read again.
const OLD: Duration = Duration::from_secs(300);
/// Keys that are older, and could not be read again, are worth nothing: one of them may have been withdrawn.
const STALE: Duration = Duration::from_secs(3600);

/// The keys, as far as they were read.
pub(super) struct KeySet {
    source: Source,
    state: Mutex<State>,
    /// Held while keys are read: one at a time.
    reading: tokio::sync::Mutex<()>,
    /// Keys that are older are read again.
    old: Duration,
}

enum Source {
    File(std::path::PathBuf),
    Url(String, Http),
}

#[derive(Default)]
struct State {
    keys: Arc<Vec<Key>>,
    read: Option<Instant>,
    tried: Option<Instant>,
}

struct Key {
    kid: Option<String>,
    alg: Option<String>,
    family: AlgorithmFamily,
    key: DecodingKey,
}

impl KeySet {
    pub(super) fn new(keys: JwtKeys) -> Result<KeySet, String> {
        let source = match keys {
            JwtKeys::Secret(_) => return Err("a secret is no set of keys".to_owned()),
            JwtKeys::File(path) => Source::File(path),
            JwtKeys::Url { url, authority } => Source::Url(url, Http::new(authority.as_deref())?),
        };
        Ok(KeySet { source, state: Mutex::default(), reading: tokio::sync::Mutex::default(), old: OLD })
    }

    pub(super) async fn check(&self) -> Result<(), String> {
        match self.read().await {
            Ok(keys) if keys.is_empty() => Err("the key set holds no key that can be used".to_owned()),
            Ok(_) => Ok(()),
            Err(error) => Err(format!("the key set cannot be read: {error}")),
        }
    }

    /// The keys by which a token with this `kid` and algorithm could be verified. None: it is nobody's.
    pub(super) async fn keys(self: &Arc<KeySet>, kid: Option<&str>, algorithm: Algorithm) -> Result<Vec<DecodingKey>, Failure> {
        let known =
            |keys: &[Key]| -> Vec<DecodingKey> { keys.iter().filter(|key| key.fits(kid, algorithm)).map(|key| key.key.clone()).collect() };
        let (found, age) = self.with(|state, now| (known(&state.keys), state.read.map(|read| now.saturating_duration_since(read))));
        if !found.is_empty() && age.is_some_and(|age| age < STALE) {
            if age.is_some_and(|age| age >= self.old) {
                let set = self.clone();
                // It ends by itself: reading has a deadline, and whoever comes second finds that it is not due.
                tokio::spawn(async move { set.read_again().await });
            }
            return Ok(found);
        }
        self.read_again().await;
        let (found, usable) = self.with(|state, now| (known(&state.keys), state.read.is_some_and(|read| now < read + STALE)));
        if usable { Ok(found) } else { Err("the keys of the issuer cannot be read".into()) }
    }

    /// Reads the keys, unless that was tried a moment ago.
    async fn read_again(&self) {
        let _one_at_a_time = self.reading.lock().await;
        let is_due = self.with(|state, now| {
            let due = state.tried.is_none_or(|tried| now >= tried + APART);
            if due {
                state.tried = Some(now);
            }
            due
        });
        if is_due {
            match self.read().await {
                Ok(keys) => self.with(|state, now| (state.keys, state.read) = (Arc::new(keys), Some(now))),
                Err(error) => tracing::warn!(%error, "the keys of an issuer of tokens cannot be read"),
            }
        }
    }

    async fn read(&self) -> Result<Vec<Key>, Failure> {
        let bytes = match &self.source {
            Source::File(path) => read_file(path).await?,
            Source::Url(url, http) => {
                let question = Request::get(url).header("accept", "application/json").body(())?;
                let (status, _, body) = http.ask(question, LIMIT).await?;
                if status != http::StatusCode::OK {
                    return Err(format!("the issuer answers {status}").into());
                }
                body.to_vec()
            }
        };
        let set: Value = serde_json::from_slice(&bytes)?;
        let all = set.get("keys").and_then(Value::as_array).ok_or("it is no key set")?;
        Ok(all.iter().take(MOST).filter_map(Key::read).collect())
    }

    fn with<T>(&self, what: impl FnOnce(&mut State, Instant) -> T) -> T {
        what(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner), Instant::now())
    }
}

impl Key {
    /// A key of a kind that is not known here is as if it were not there. Secrets have no place in a set.
    fn read(value: &Value) -> Option<Key> {
        let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
        let signs = jwk.common.public_key_use.as_ref().is_none_or(|used| *used == PublicKeyUse::Signature);
        let key = DecodingKey::from_jwk(&jwk).ok().filter(|key| signs && key.family() != AlgorithmFamily::Hmac)?;
        let alg = value.get("alg").and_then(Value::as_str).map(str::to_owned);
        Some(Key { kid: jwk.common.key_id, alg, family: key.family(), key })
    }

    /// A token without `kid` may be anybody's; one with it is only that key's.
    fn fits(&self, kid: Option<&str>, algorithm: Algorithm) -> bool {
        let named = kid.is_none_or(|kid| self.kid.as_deref() == Some(kid));
        let bound = self.alg.as_deref().is_none_or(|alg| alg.parse::<Algorithm>().is_ok_and(|alg| alg == algorithm));
        named && bound && self.family.algorithms().contains(&algorithm)
    }
}

async fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    Ok(tokio::fs::read(path).await?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use futures::FutureExt as _;
    use jsonwebtoken::Algorithm;

    use super::{Key, KeySet, OLD};
    use crate::config::JwtKeys;

    /// The public key of RFC 8037, appendix A.2.
    const KNOWN: &str = r#"{"kty": "OKP", "crv": "Ed25519", "kid": "known", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

    #[tokio::test]
    async fn nobody_whose_key_is_known_waits_for_an_issuer_that_hangs() {
        // It takes connections, and says nothing.
        let issuer = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/keys", issuer.local_addr().expect("an address"));
        for old in [OLD, Duration::ZERO] {
            let mut set = KeySet::new(JwtKeys::Url { url: url.clone(), authority: None }).expect("a set");
            set.old = old;
            let key = Key::read(&serde_json::from_str(KNOWN).expect("JSON")).expect("a key");
            set.with(|state, now: Instant| (state.keys, state.read) = (Arc::new(vec![key]), Some(now)));
            let set = Arc::new(set);
            for _ in 0..3 {
                let found = set.keys(Some("known"), Algorithm::EdDSA).now_or_never().expect("at once");
                assert_eq!(found.expect("keys").len(), 1);
            }
            assert!(set.keys(Some("unknown"), Algorithm::EdDSA).now_or_never().is_none(), "it may be a new one");
        }
    }
}
