//! The connection to the upstream that was chosen, with its deadlines.
//!
//! A pooled connection may be closed by its upstream at the moment in which we use it. For a read that is no matter: it
//! is sent once more. A write must not be sent twice, and whether it was carried out cannot be told; therefore every
//! write gets a connection of its own, and when that one dies the failure is reported as it is (502).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;
use pingora::upstreams::peer::HttpPeer;

use crate::answer::Refusal;
use crate::carried::Carried;
use crate::config::{Config, Upstream};
use crate::upgrade;

/// Connections that lie idle for longer are closed. Below the keep-alive of the servers that we know.
const IDLE: Duration = Duration::from_secs(15);
/// For how long a WebSocket or an event stream may be silent.
pub(crate) const STREAM_SILENCE: Duration = Duration::from_secs(3600);
/// For how long the address of a name is believed.
const RESOLVED_FOR: Duration = Duration::from_secs(5);

/// The servers behind the gateway.
pub(crate) struct Upstreams {
    by_name: BTreeMap<String, Upstream>,
    resolved: moka::sync::Cache<String, SocketAddr>,
    /// Keeps the connections of writes and of tunnels apart, from reads and from each other.
    apart: AtomicU64,
}

impl Upstreams {
    pub(crate) fn new(config: &Config) -> Upstreams {
        let resolved = moka::sync::Cache::builder().time_to_live(RESOLVED_FOR).build();
        Upstreams { by_name: config.upstreams.clone(), resolved, apart: AtomicU64::new(0) }
    }

    /// The peer for a request.
    pub(crate) async fn peer(&self, carried: &Carried, config: &Config) -> Result<Box<HttpPeer>, Refusal> {
        let name = carried.upstream(&config.default_upstream);
        let address = self.address(name).await.ok_or_else(|| unknown(name))?;
        let mut peer = HttpPeer::new(address, false, String::new());
        let silence = carried.decision.as_ref().and_then(|decision| decision.timeout).unwrap_or(config.timeouts.answer);
        let silence = if carried.streams { STREAM_SILENCE } else { silence };
        peer.options.connection_timeout = Some(config.timeouts.connect);
        peer.options.total_connection_timeout = Some(config.timeouts.connect);
        peer.options.read_timeout = Some(silence);
        peer.options.write_timeout = Some(silence);
        peer.options.idle_timeout = Some(IDLE);
        if carried.upgrades {
            peer.options.custom_l4 = Some(Arc::new(upgrade::Connect));
        }
        if carried.upgrades || carried.decided(|decision| decision.write) {
            peer.group_key = 1 + self.apart.fetch_add(1, Ordering::Relaxed);
            peer.options.idle_timeout = Some(Duration::from_millis(1));
        }
        Ok(Box::new(peer))
    }

    /// `host:port` of an upstream.
    pub(crate) fn authority(&self, name: &str) -> Option<&str> {
        self.by_name.get(name).map(|upstream| upstream.address.as_str())
    }

    /// Where an upstream says how it is.
    pub(crate) fn health(&self, name: &str) -> Option<&str> {
        self.by_name.get(name)?.health.as_deref()
    }

    async fn address(&self, name: &str) -> Option<SocketAddr> {
        let authority = self.authority(name)?;
        if let Ok(address) = authority.parse() {
            return Some(address);
        }
        if let Some(address) = self.resolved.get(authority) {
            return Some(address);
        }
        let address = tokio::net::lookup_host(authority).await.ok()?.next()?;
        self.resolved.insert(authority.to_owned(), address);
        Some(address)
    }
}

fn unknown(name: &str) -> Refusal {
    let detail = format!("the upstream `{name}` is not known here, or its address cannot be found");
    Refusal::new(StatusCode::BAD_GATEWAY, "unknown_upstream", &detail)
}
