//! Drops old versions of keys. etcd keeps every one of them until somebody asks it not to, and takes no write any more once they fill
//! its quota. Whoever leads asks, every few minutes, for what is older than the last time. Frees room for new versions; the
//! file on disk gets smaller only when people defragment it.

use std::time::Duration;

use serde_json::json;
use tracing::warn;

use super::books::BOOKS;
use super::words::Keys;
use super::{Client, EtcdError, StoreError};

/// What is older than this, at the least, is dropped.
const EVERY: Duration = Duration::from_secs(300);
/// A compaction of so much takes a while.
const LIMIT: Duration = Duration::from_secs(30);
/// gRPC's number for a revision that is gone already: somebody else asked as well.
const OUT_OF_RANGE: u32 = 11;

/// The revision that etcd was at the last time.
#[derive(Debug, Default)]
pub(crate) struct Compaction {
    seen: Option<u64>,
}

impl Compaction {
    /// Drops what was replaced before the last turn.
    pub(crate) async fn turn(&mut self, client: &Client) -> Result<(), StoreError> {
        let now = client.read(&[Keys::One(BOOKS)]).await?.revision();
        let Some(seen) = self.seen.replace(now) else { return Ok(()) };
        let body = json!({ "revision": seen.to_string(), "physical": true });
        match client.call::<serde_json::Value>("/v3/kv/compaction", &body, LIMIT, true).await {
            Ok(_) | Err(EtcdError::Refused { code: OUT_OF_RANGE, .. }) => Ok(()),
            Err(failed) => Err(failed.into()),
        }
    }
}

/// One turn after the other, for ever.
pub(crate) async fn run(client: &Client) {
    let mut compaction = Compaction::default();
    loop {
        if let Err(failed) = compaction.turn(client).await {
            warn!(error = %failed, "old versions could not be dropped from etcd, it is tried again");
        }
        tokio::time::sleep(EVERY).await;
    }
}
