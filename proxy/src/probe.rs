//! Asks the modern sides how they are, also where no request goes yet: a cutover must not lead to a service that is not
//! there. Only while a capability is on its way. Decides nothing: [`crate::health`] draws the conclusions.

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

/// Between two probes of a side.
const EVERY: Duration = Duration::from_millis(500);

/// How long a side may take.
const PATIENCE: Duration = Duration::from_secs(1);

type Asking = Client<HttpConnector, Empty<Bytes>>;

/// Probes for ever.
pub(crate) async fn run(gateway: Arc<Inner>) {
    let client: Asking = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
    loop {
        let sides = sides(&gateway);
        let watched: Vec<String> = sides.iter().map(|(capability, _)| capability.clone()).collect();
        gateway.around.unwatch(&watched);
        let probes = sides.into_iter().map(|(capability, modern)| {
            let (gateway, client) = (&gateway, &client);
            async move {
                let is_well = tokio::time::timeout(PATIENCE, is_well(gateway, client, &modern)).await.unwrap_or(false);
                gateway.around.probed(&capability, is_well, Instant::now());
            }
        });
        futures::future::join_all(probes).await;
        tokio::time::sleep(EVERY).await;
    }
}

/// Capabilities on their way, and the upstream that each goes to.
fn sides(gateway: &Inner) -> Vec<(String, String)> {
    let snapshot = gateway.current.load();
    let on_its_way = |name: &String| snapshot.published.capabilities.get(name).is_some_and(|serving| serving.phase != Phase::Draft);
    let capabilities = snapshot.rules.capabilities.iter().filter(|(name, _)| on_its_way(name));
    capabilities.map(|(name, capability)| (name.clone(), capability.modern.clone())).collect()
}

/// Whether a side takes connections, and where it says how it is, says nothing bad.
async fn is_well(gateway: &Inner, client: &Asking, upstream: &str) -> bool {
    let Some(authority) = gateway.upstreams.authority(upstream) else { return false };
    let Some(path) = gateway.upstreams.health(upstream) else {
        return tokio::net::TcpStream::connect(authority).await.is_ok();
    };
    let request = Request::get(format!("http://{authority}{path}")).header(header::USER_AGENT, "ficus");
    let Ok(request) = request.body(Empty::new()) else { return false };
    client.request(request).await.is_ok_and(|answer| !answer.status().is_server_error())
}
