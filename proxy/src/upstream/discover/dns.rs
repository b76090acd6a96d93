//! Instances by DNS: all addresses of a name, or what its SRV records name. Nothing is cached between two looks: the time
//! to live of the records says when the next one is.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use hickory_resolver::proto::rr::rdata::SRV;

use super::Found;
use crate::config::{Lookup, Weighted};

/// Between two looks at least.
pub(super) const LEAST: Duration = Duration::from_secs(1);
/// How long one server may take, and how often it is asked.
const PATIENCE: Duration = Duration::from_secs(2);
const ATTEMPTS: usize = 2;

/// A name, and how it is looked up.
pub(super) struct Names {
    name: String,
    /// `None`: SRV records say it.
    port: Option<u16>,
    lookup: Lookup,
    resolver: Option<TokioResolver>,
    /// What SRV records named last, and has no address.
    nowhere: BTreeSet<String>,
}

impl Names {
    pub(super) fn new(name: &str, port: Option<u16>, lookup: &Lookup) -> Names {
        Names { name: name.to_owned(), port, lookup: lookup.clone(), resolver: None, nowhere: BTreeSet::new() }
    }

    pub(super) async fn look(&mut self) -> Result<Found, String> {
        // Made anew after a failure: the machine's servers may have changed.
        let resolver = match self.resolver.take() {
            Some(resolver) => resolver,
            None => resolver(&self.lookup)?,
        };
        let (instances, until) = match self.port {
            Some(port) => addresses(&resolver, &self.name, port, 1).await?,
            None => services(&resolver, &self.name, &mut self.nowhere).await?,
        };
        if instances.is_empty() {
            return Err(format!("`{}` has no addresses", self.name));
        }
        self.resolver = Some(resolver);
        let lives = until.saturating_duration_since(Instant::now());
        Ok(Found { instances, again: lives.clamp(LEAST.min(self.lookup.refresh), self.lookup.refresh) })
    }
}

type Looked = Result<(Vec<Weighted>, Instant), String>;

/// All addresses of a name.
async fn addresses(resolver: &TokioResolver, name: &str, port: u16, weight: u32) -> Looked {
    let found = resolver.lookup_ip(name).await.map_err(|error| error.to_string())?;
    let instances = found.iter().map(|ip| Weighted { address: SocketAddr::new(ip, port).to_string(), weight });
    Ok((instances.collect(), found.valid_until()))
}

/// What SRV records name, of the first priority alone (RFC 2782). A weight of nothing is the smallest one here. A target without an
/// address is left out, unless all are: who has just gone, or is about to come, must not keep the others from being seen.
/// `nowhere`: those of the last look, which are not told of again.
async fn services(resolver: &TokioResolver, name: &str, nowhere: &mut BTreeSet<String>) -> Looked {
    let found = resolver.srv_lookup(name).await.map_err(|error| error.to_string())?;
    let mut until = found.valid_until();
    let records = || {
        found.answers().iter().filter_map(|record| match &record.data {
            RData::SRV(service) => Some(service),
            _ => None,
        })
    };
    let first = records().map(|service: &SRV| service.priority).min();
    let (mut instances, mut missing, mut failed) = (Vec::new(), BTreeSet::new(), None);
    for service in records().filter(|service| Some(service.priority) == first) {
        let target = service.target.to_utf8();
        match addresses(resolver, &target, service.port, u32::from(service.weight).max(1)).await {
            Ok((at, lives)) => {
                instances.extend(at);
                until = until.min(lives);
            }
            Err(why) => {
                if !nowhere.contains(&target) {
                    tracing::warn!(srv = name, host = target, why, "an instance that is named has no address, and is left out");
                }
                missing.insert(target);
                failed = Some(why);
            }
        }
    }
    *nowhere = missing;
    match failed {
        Some(why) if instances.is_empty() => Err(why),
        _ => Ok((instances, until)),
    }
}

fn resolver(lookup: &Lookup) -> Result<TokioResolver, String> {
    let said = |error: hickory_resolver::net::NetError| format!("the machine's name servers cannot be read: {error}");
    let (config, mut options) = if lookup.servers.is_empty() {
        hickory_resolver::system_conf::read_system_conf().map_err(said)?
    } else {
        let server = |address: &SocketAddr| {
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                connection.port = address.port();
                connection
            });
            NameServerConfig::new(address.ip(), true, connections.into())
        };
        (ResolverConfig::from_name_servers(lookup.servers.iter().map(server).collect()), ResolverOpts::default())
    };
    options.cache_size = 0;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.timeout = PATIENCE;
    options.attempts = ATTEMPTS;
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    *builder.options_mut() = options;
    builder.build().map_err(|error| error.to_string())
}
