//! The gateway's public keys, by `kid`: fetched when first needed, again when an unknown `kid` comes, at most once
//! a second. Does not check tokens.

use std::collections::HashMap;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::Uri;
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::error::Error;

/// A flood of made-up `kid`s must not become a flood at the gateway.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
const FETCH_TIMEOUT: Duration = Duration::from_secs(3);
/// A key is about a hundred bytes.
const MAX_BYTES: usize = 64 * 1024;

pub(super) struct Keys {
    url: Uri,
    client: Client<HttpConnector, Empty<Bytes>>,
    // Held while fetching, on purpose: whoever needs the same keys waits for the one fetch instead of failing.
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    keys: HashMap<String, DecodingKey>,
    last_fetch: Option<Instant>,
    last_fetch_failed: bool,
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Jwk>,
}

/// What an Ed25519 key has (RFC 8037, section 2); keys of other kinds are passed over.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: Option<String>,
    kid: Option<String>,
    x: Option<String>,
}

impl Keys {
    pub(super) fn new(url: Uri) -> Self {
        Self { url, client: Client::builder(TokioExecutor::new()).build_http(), known: Mutex::default() }
    }

    /// The key of this name; none if the gateway does not have it, 503 if the gateway does not answer.
    pub(super) async fn find(&self, kid: &str) -> Result<Option<DecodingKey>, Error> {
        let mut known = self.known.lock().await;
        if let Some(key) = known.keys.get(kid) {
            return Ok(Some(key.clone()));
        }
        if known.last_fetch.is_none_or(|at| at.elapsed() >= MIN_INTERVAL) {
            known.last_fetch = Some(Instant::now());
            known.last_fetch_failed = true; // until the opposite is known, also if this future is dropped
            if let Some(keys) = self.fetch().await {
                known.keys = keys;
                known.last_fetch_failed = false;
            }
        }
        match known.keys.get(kid) {
            Some(key) => Ok(Some(key.clone())),
            None if known.last_fetch_failed => Err(Error::Unavailable("The keys of the gateway are not available.")),
            None => Ok(None),
        }
    }

    async fn fetch(&self) -> Option<HashMap<String, DecodingKey>> {
        let fetched = match timeout(FETCH_TIMEOUT, self.get()).await {
            Ok(Ok(jwks)) => jwks,
            Ok(Err(error)) => {
                tracing::warn!(%error, "cannot fetch the keys of the gateway");
                return None;
            }
            Err(_) => {
                tracing::warn!("the keys of the gateway take too long");
                return None;
            }
        };
        let keys: HashMap<_, _> = fetched.keys.into_iter().filter_map(ed25519).collect();
        tracing::info!(keys = keys.len(), "fetched the keys of the gateway");
        Some(keys)
    }

    async fn get(&self) -> Result<Jwks, Box<dyn std::error::Error + Send + Sync>> {
        let response = self.client.get(self.url.clone()).await?;
        if !response.status().is_success() {
            return Err(format!("the answer is {}", response.status()).into());
        }
        let body = Limited::new(response.into_body(), MAX_BYTES).collect().await?.to_bytes();
        Ok(serde_json::from_slice(&body)?)
    }
}

fn ed25519(jwk: Jwk) -> Option<(String, DecodingKey)> {
    if jwk.kty != "OKP" || jwk.crv.as_deref() != Some("Ed25519") {
        return None;
    }
    let key = DecodingKey::from_ed_components(&jwk.x?).ok()?;
    Some((jwk.kid?, key))
}
