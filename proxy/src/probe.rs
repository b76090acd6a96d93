//! Asks both sides how they are, also where no request goes yet or any more: neither a cutover nor an automatic way back
//! must lead to a server that is not there. Only while a capability is on its way; an upstream of several instances
//! always, for the choice among them. Every server is asked once, however many capabilities it serves. Decides nothing:
//! [`crate::health`], [`crate::legacy`] and the pool draw the conclusions; an upstream is well while one instance is.

use std::sync::Arc;
use std::time::Instant;

use ficus_rules::migration::Phase;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use http::{Request, header};
use http_body_util::Full;

use crate::gateway::Inner;
use crate::transport::{self, Asker};
use crate::upstream::{Instance, Pool};

/// Probes for ever.
pub(crate) async fn run(gateway: Arc<Inner>) {
    let client = Asker::new(gateway.transports.clone(), false);
    // Each at its own pace: a server that takes its time must not delay what is known of another.
    futures::future::join_all(gateway.upstreams.all().map(|pool| tend(&gateway, &client, pool))).await;
}

/// Probes one upstream for ever, while somebody wants to know.
async fn tend(gateway: &Inner, client: &Asker, pool: &Pool) {
    loop {
        let interest = Interest::of(gateway, pool.name());
        gateway.around.unwatch(&interest.all);
        if !interest.legacy {
            gateway.legacy.unwatch(pool.name());
        }
        if pool.is_many() || interest.legacy || !interest.modern.is_empty() {
            let well = probe(client, pool, || interest.tell(gateway, pool, true)).await;
            if !well {
                interest.tell(gateway, pool, false);
            }
        }
        pool.show(Instant::now());
        tokio::time::sleep(pool.settings().probe.interval).await;
    }
}

/// Who wants to know how an upstream is.
struct Interest {
    /// Capabilities that are on their way to it.
    modern: Vec<String>,
    /// Some have a way back to it.
    legacy: bool,
    /// Capabilities that are on their way to any upstream.
    all: Vec<String>,
}

impl Interest {
    fn of(gateway: &Inner, upstream: &str) -> Interest {
        let snapshot = gateway.current.load();
        let phase = |name: &String| snapshot.published.capabilities.get(name).map(|serving| serving.phase);
        let capabilities = snapshot.rules.capabilities.iter().filter_map(|(name, capability)| Some((name, capability, phase(name)?)));
        let on_their_way: Vec<_> = capabilities.filter(|(_, _, phase)| *phase != Phase::Draft).collect();
        let names = |wanted: &dyn Fn(&str) -> bool| {
            on_their_way.iter().filter(|(_, capability, _)| wanted(&capability.modern)).map(|(name, _, _)| (*name).clone()).collect()
        };
        Interest {
            modern: names(&|modern| modern == upstream),
            legacy: on_their_way.iter().any(|(_, capability, phase)| capability.legacy == upstream && *phase != Phase::Retired),
            all: names(&|_| true),
        }
    }

    fn tell(&self, gateway: &Inner, pool: &Pool, is_well: bool) {
        let (now, probe) = (Instant::now(), &pool.settings().probe);
        let every = probe.interval + probe.timeout;
        for capability in &self.modern {
            gateway.around.probed(capability, is_well, every, now);
        }
        if self.legacy {
            gateway.legacy.probed(pool.name(), is_well, every, now);
        }
    }
}

/// Probes all instances. Says so at the first that is well; whether there was one.
async fn probe(client: &Asker, pool: &Pool, tell: impl Fn()) -> bool {
    let (instances, rule) = (pool.instances(), &pool.settings().probe);
    let probes = instances.iter().map(|instance| async move {
        let well = is_well(client, pool.name(), instance, pool.settings().health.as_deref());
        let well = tokio::time::timeout(rule.timeout, well).await.unwrap_or(false);
        instance.probed(well, rule);
        well
    });
    let mut probes: FuturesUnordered<_> = probes.collect();
    let mut any = false;
    while let Some(well) = probes.next().await {
        if well && !std::mem::replace(&mut any, true) {
            tell();
        }
    }
    any
}

/// Whether an instance takes connections, and where it says how it is, says nothing bad.
async fn is_well(client: &Asker, upstream: &str, instance: &Instance, path: Option<&str>) -> bool {
    let authority = &**instance.authority();
    let Some(path) = path else {
        return client.reaches(upstream, authority).await;
    };
    let host = if transport::unix(authority).is_some() { "localhost" } else { authority };
    let request = Request::get(path).header(header::HOST, host).header(header::USER_AGENT, "ficus");
    let Ok(request) = request.body(Full::default()) else { return false };
    client.ask(upstream, authority, request).await.is_ok_and(|answer| !answer.status().is_server_error())
}
