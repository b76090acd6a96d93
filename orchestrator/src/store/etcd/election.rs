//! Who leads: whoever made the leader's key, with a lease of etcd's that it goes on renewing. The key's revision guards
//! every write of that leader, so that a lease which ended unnoticed costs time, and never a state.
//!
//! Decides nothing about when a leader believes in itself: [`ficus_rules::lease::Mandate`] does.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::words::{Guard, Keys, Step, Txn};
use super::{Client, EtcdError, StoreError};

/// The leader's key.
pub(crate) const LEADER: &str = "leader";

/// What stands in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Leader {
    /// Where it is reached: a base like `http://10.0.0.1:7070`; empty: nowhere.
    pub(crate) address: String,
}

impl Leader {
    /// Somebody who serves nobody: a move of the state.
    pub(crate) fn nowhere() -> Leader {
        Leader { address: String::new() }
    }
}

/// To lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lead {
    /// The revision at which the key was made.
    pub(crate) revision: u64,
    lease: u64,
}

/// What became of a candidature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Vote {
    Won(Lead),
    /// Somebody else leads.
    Lost(Leader),
}

/// etcd's answers to calls about leases. Left-out numbers are zero.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Lease {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "TTL")]
    ttl: String,
}

impl Client {
    /// Who leads now, if anybody does.
    pub(crate) async fn leader(&self) -> Result<Option<Leader>, StoreError> {
        Ok(self.read(&[Keys::One(LEADER)]).await?.one()?.map(|(leader, _)| leader))
    }

    /// Tries to lead, with a lease of so long, whole seconds. If its answer is lost, and it was won, the lease ends by itself.
    pub(crate) async fn candidate(self: &Arc<Self>, leader: &Leader, lasts: Duration) -> Result<Vote, StoreError> {
        let wish = json!({ "TTL": lasts.as_secs().to_string() });
        let granted: Lease = self.call("/v3/lease/grant", &wish, lasts, false).await?;
        let lease: u64 = granted.id.parse().map_err(|_| EtcdError::Garbled)?;
        let txn = Txn {
            guards: vec![Guard::made(LEADER, 0)],
            steps: vec![Step::put_leased(LEADER, leader, lease)?],
            otherwise: vec![Keys::One(LEADER)],
        };
        let done = self.transact(&txn).await?;
        if !done.succeeded {
            self.give_back(lease).await;
            let (other, _) = done.one::<Leader>()?.ok_or(EtcdError::Garbled)?;
            return Ok(Vote::Lost(other));
        }
        Ok(Vote::Won(Lead { revision: done.revision(), lease }))
    }

    /// Renews; `false`: the lease has ended, and somebody else may lead.
    pub(crate) async fn renew(&self, lead: Lead, limit: Duration) -> Result<bool, StoreError> {
        #[derive(Debug, Default, Deserialize)]
        struct Renewed {
            #[serde(default)]
            result: Lease,
            // A stream of answers says so in its first one.
            error: Option<serde_json::Value>,
        }
        let renewed: Renewed = self.call("/v3/lease/keepalive", &json!({ "ID": lead.lease.to_string() }), limit, true).await?;
        if let Some(error) = renewed.error {
            return Err(EtcdError::refused(&error, "no renewal").into());
        }
        Ok(renewed.result.ttl.parse::<u64>().is_ok_and(|left| left > 0))
    }

    /// Leads no longer: the next one need not wait for the end of the lease. If nobody hears it, it ends by itself.
    pub(crate) async fn resign(&self, lead: Lead) {
        self.give_back(lead.lease).await;
    }

    async fn give_back(&self, lease: u64) {
        let revoked: Result<serde_json::Value, _> =
            self.call("/v3/lease/revoke", &json!({ "ID": lease.to_string() }), Duration::from_secs(1), true).await;
        if let Err(error) = revoked {
            tracing::debug!(%error, "a lease could not be given back, it ends by itself");
        }
    }
}
