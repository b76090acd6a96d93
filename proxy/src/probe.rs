//! Asks both sides how they are, also where no request goes yet or any more: neither a cutover nor an automatic way back
//! must lead to a server that is not there. Only while a capability is on its way, and every server once, however many
//! capabilities it serves. Decides nothing: [`crate::health`] and [`crate::legacy`] draw the conclusions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ficus_rules::migration::Phase;
use http::{Request, header};
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::gateway::Inner;

/// Between two probes of a server.
const EVERY: Duration = Duration::from_millis(500);

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(1);

type Asking = Client<HttpConnector, Empty<Bytes>>;

/// Probes for ever.
pub(crate) async fn run(gateway: Arc<Inner>) {
    let client: Asking = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
    loop {
        let sides = sides(&gateway);
        gateway.around.unwatch(&sides.modern.keys().cloned().collect::<Vec<_>>());
        let servers: BTreeSet<&String> = sides.modern.values().chain(&sides.legacy).collect();
        let probes = servers.into_iter().map(|server| {
            let (gateway, client, sides) = (&gateway, &client, &sides);
            async move {
                let is_well = tokio::time::timeout(PATIENCE, is_well(gateway, client, server)).await.unwrap_or(false);
                // Told at once: a server that takes its time must not delay what is known of another.
                for (capability, _) in sides.modern.iter().filter(|(_, modern)| *modern == server) {
                    gateway.around.probed(capability, is_well, Instant::now());
                }
                (server.clone(), is_well)
            }
        });
        let mut seen: BTreeMap<String, bool> = futures::future::join_all(probes).await.into_iter().collect();
        seen.retain(|server, _| sides.legacy.contains(server));
        gateway.legacy.probed(&seen, Instant::now());
        tokio::time::sleep(EVERY).await;
    }
}

/// What is probed.
struct Sides {
    /// The new services, by capability.
    modern: BTreeMap<String, String>,
    /// Servers that there is a way back to.
    legacy: BTreeSet<String>,
}

/// The sides of the capabilities that are on their way.
fn sides(gateway: &Inner) -> Sides {
    let snapshot = gateway.current.load();
    let phase = |name: &String| snapshot.published.capabilities.get(name).map(|serving| serving.phase);
    let capabilities = snapshot.rules.capabilities.iter().filter_map(|(name, capability)| Some((name, capability, phase(name)?)));
    let on_their_way: Vec<_> = capabilities.filter(|(_, _, phase)| *phase != Phase::Draft).collect();
    Sides {
        modern: on_their_way.iter().map(|(name, capability, _)| ((*name).clone(), capability.modern.clone())).collect(),
        legacy: on_their_way.iter().filter(|(_, _, phase)| *phase != Phase::Retired).map(|(_, c, _)| c.legacy.clone()).collect(),
    }
}

/// Whether a server takes connections, and where it says how it is, says nothing bad.
async fn is_well(gateway: &Inner, client: &Asking, upstream: &str) -> bool {
    let Some(authority) = gateway.upstreams.authority(upstream) else { return false };
    let Some(path) = gateway.upstreams.health(upstream) else {
        return tokio::net::TcpStream::connect(authority).await.is_ok();
    };
    let request = Request::get(format!("http://{authority}{path}")).header(header::USER_AGENT, "ficus");
    let Ok(request) = request.body(Empty::new()) else { return false };
    client.request(request).await.is_ok_and(|answer| !answer.status().is_server_error())
}
