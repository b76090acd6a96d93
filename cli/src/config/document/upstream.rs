//! `[upstream.NAME]`: a server, in one instance or several. What is left out keeps the gateway's own default; each is
//! explained at [`ficus_proxy::Upstream`].

use std::path::{Path, PathBuf};
use std::time::Duration;

use ficus_proxy::{Balance, Breaker, Bulkhead, Ejection, HashBy, Instances, Lookup, Probe, Retry, Weighted};
use ficus_rules::Share;
use serde::Deserialize;
use toml::Spanned;

use super::transport::{UpstreamTls, scheme};
use crate::args;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Upstream {
    address: Option<Spanned<String>>,
    addresses: Option<Spanned<Vec<Spanned<String>>>>,
    dns: Option<Spanned<String>>,
    srv: Option<Spanned<String>>,
    file: Option<Spanned<PathBuf>>,
    #[serde(default)]
    resolvers: Vec<Spanned<String>>,
    refresh: Option<Spanned<String>>,
    balance: Option<Spanned<String>>,
    hash: Option<Spanned<Vec<Spanned<String>>>>,
    #[serde(default)]
    http2: bool,
    tls: Option<Spanned<UpstreamTls>>,
    pub(in crate::config) health: Option<Spanned<String>>,
    pub(in crate::config) database: Option<Spanned<String>>,
    #[serde(default)]
    probe: ProbeTable,
    #[serde(default)]
    ejection: EjectionTable,
    #[serde(default)]
    retry: RetryTable,
    breaker: Option<BreakerTable>,
    bulkhead: Option<BulkheadTable>,
}

/// `[upstream.NAME.probe]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ProbeTable {
    interval: Option<Spanned<String>>,
    timeout: Option<Spanned<String>>,
    unhealthy: Option<Spanned<u32>>,
    healthy: Option<Spanned<u32>>,
}

/// `[upstream.NAME.ejection]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct EjectionTable {
    failures: Option<Spanned<u32>>,
    first: Option<Spanned<String>>,
    longest: Option<Spanned<String>>,
    share: Option<Spanned<String>>,
}

/// `[upstream.NAME.retry]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RetryTable {
    share: Option<Spanned<String>>,
    least: Option<u32>,
    statuses: Option<Vec<Spanned<u16>>>,
}

/// `[upstream.NAME.breaker]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct BreakerTable {
    share: Option<Spanned<String>>,
    requests: Option<Spanned<u32>>,
    window: Option<Spanned<String>>,
    open_for: Option<Spanned<String>>,
    passes: Option<Spanned<u32>>,
}

/// `[upstream.NAME.bulkhead]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BulkheadTable {
    requests: Spanned<u32>,
    #[serde(default)]
    queue: u32,
    wait: Option<Spanned<String>>,
}

/// How long a request waits for its place, unless it is said.
const PLACE_WITHIN: Duration = Duration::from_millis(500);
/// Longer than this nobody's fence should wait for a write that has not been sent.
const PLACE_AT_MOST: Duration = Duration::from_secs(5);

/// Where something is wrong, and what.
pub(in crate::config) type Faults = Vec<(usize, String)>;

impl Upstream {
    /// What the gateway is told, without `health`. `at`: where the section stands; `directory`: what paths are relative to.
    pub(in crate::config) fn resolve(&self, at: usize, directory: &Path, faults: &mut Faults) -> ficus_proxy::Upstream {
        let default = ficus_proxy::Upstream::at("");
        let instances = self.instances(at, directory, faults).unwrap_or(default.instances);
        ficus_proxy::Upstream {
            instances,
            transport: UpstreamTls::resolve(self.tls.as_ref(), self.scheme(at, faults), self.http2, directory, faults),
            health: None,
            balance: self.balance(faults),
            probe: self.probe.resolve(default.probe, faults),
            ejection: self.ejection.resolve(default.ejection, faults),
            retry: self.retry.resolve(default.retry, faults),
            breaker: self.breaker.as_ref().map(|breaker| breaker.resolve(faults)),
            bulkhead: self.bulkhead.as_ref().map(|bulkhead| bulkhead.resolve(faults)),
        }
    }

    /// What its addresses begin with, and where the first one stands.
    fn scheme(&self, at: usize, faults: &mut Faults) -> (usize, &str) {
        let addresses: Vec<&Spanned<String>> = self.address.iter().chain(self.addresses.iter().flat_map(|all| all.get_ref())).collect();
        let Some(first) = addresses.first() else { return (at, "http") };
        let said = scheme(first.get_ref()).0;
        if let Some(other) = addresses.iter().find(|other| scheme(other.get_ref()).0 != said) {
            faults.push((other.span().start, "all instances of an upstream are spoken to in the same way".into()));
        }
        (first.span().start, said)
    }

    fn instances(&self, at: usize, directory: &Path, faults: &mut Faults) -> Option<Instances> {
        let lookup = self.lookup(faults);
        let said = [
            self.address.as_ref().map(|one| (one.span().start, fixed(std::slice::from_ref(one), faults))),
            self.addresses.as_ref().map(|all| (all.span().start, fixed(all.get_ref(), faults))),
            self.dns.as_ref().map(|name| (name.span().start, dns(name, &lookup, faults))),
            self.srv
                .as_ref()
                .map(|name| (name.span().start, Some(Instances::Srv { name: name.get_ref().clone(), lookup: lookup.clone() }))),
            self.file.as_ref().map(|file| (file.span().start, Some(Instances::File(directory.join(file.get_ref()))))),
        ];
        let mut said = said.into_iter().flatten();
        let Some((_, instances)) = said.next() else {
            faults.push((at, "it says not where it is: add `address`, `addresses`, `dns`, `srv` or `file`".into()));
            return None;
        };
        for (second, _) in said {
            faults.push((second, "it says in two ways where it is: one of `address`, `addresses`, `dns`, `srv` and `file`".into()));
        }
        let by_name = matches!(instances, None | Some(Instances::Dns { .. } | Instances::Srv { .. }));
        let of_names = self.resolvers.iter().map(Spanned::span).chain(self.refresh.iter().map(Spanned::span));
        if let Some(span) = of_names.min_by_key(|span| span.start).filter(|_| !by_name) {
            faults.push((span.start, "`resolvers` and `refresh` are for `dns` and `srv`".into()));
        }
        instances
    }

    fn lookup(&self, faults: &mut Faults) -> Lookup {
        let default = Lookup::default();
        let servers = self.resolvers.iter().filter_map(|server| {
            let address = server.get_ref().parse().ok();
            if address.is_none() {
                let what = format!("`{}` is not the address of a name server: write it like \"127.0.0.1:53\"", server.get_ref());
                faults.push((server.span().start, what));
            }
            address
        });
        Lookup { servers: servers.collect(), refresh: time(self.refresh.as_ref(), default.refresh, faults) }
    }

    fn balance(&self, faults: &mut Faults) -> Balance {
        let by = self.hash.as_ref().map(|by| by.get_ref().iter().filter_map(|by| hash_by(by, faults)).collect::<Vec<_>>());
        match (self.balance.as_ref().map(|balance| balance.get_ref().as_str()), by) {
            (Some("hash"), Some(by)) if self.hash.as_ref().is_some_and(|said| !said.get_ref().is_empty()) => return Balance::Hash(by),
            (Some("hash"), _) => {
                let at = self.balance.as_ref().map_or(0, |balance| balance.span().start);
                faults.push((at, "by what? add a list like hash = [\"user\", \"cookie:sessionid\", \"address\"]".into()));
            }
            (_, Some(_)) => {
                let at = self.hash.as_ref().map_or(0, |by| by.span().start);
                faults.push((at, "`hash` needs balance = \"hash\" beside it".into()));
            }
            (Some("least_requests"), None) => return Balance::LeastRequests,
            (None | Some("round_robin"), None) => {}
            (Some(other), None) => {
                let at = self.balance.as_ref().map_or(0, |balance| balance.span().start);
                faults.push((at, format!("`{other}` is no way to balance (there are: round_robin, least_requests, hash)")));
            }
        }
        Balance::RoundRobin
    }
}

fn fixed(addresses: &[Spanned<String>], faults: &mut Faults) -> Option<Instances> {
    let before = faults.len();
    let mut instances: Vec<Weighted> = Vec::new();
    for text in addresses {
        let plain = scheme(text.get_ref()).1.trim_end_matches('/');
        match plain.parse::<Weighted>() {
            Ok(one) if instances.iter().any(|known| known.address == one.address) => {
                faults.push((text.span().start, format!("`{}` stands in it twice", one.address)));
            }
            Ok(one) => instances.push(one),
            Err(why) => faults.push((text.span().start, why)),
        }
    }
    if addresses.is_empty() {
        faults.push((0, "an upstream without any address serves nobody".into()));
    }
    (faults.len() == before).then_some(Instances::Fixed(instances))
}

fn dns(text: &Spanned<String>, lookup: &Lookup, faults: &mut Faults) -> Option<Instances> {
    let parts = text.get_ref().rsplit_once(':').filter(|(name, _)| !name.is_empty());
    let Some((name, port)) = parts.and_then(|(name, port)| Some((name.to_owned(), port.parse().ok()?))) else {
        faults.push((text.span().start, format!("`{}` is no name with a port: write it like \"users.internal:8000\"", text.get_ref())));
        return None;
    };
    Some(Instances::Dns { name, port, lookup: lookup.clone() })
}

fn hash_by(text: &Spanned<String>, faults: &mut Faults) -> Option<HashBy> {
    match text.get_ref().split_once(':') {
        None if text.get_ref() == "user" => Some(HashBy::User),
        None if text.get_ref() == "address" => Some(HashBy::Address),
        Some(("cookie", name)) if !name.is_empty() => Some(HashBy::Cookie(name.to_owned())),
        Some(("header", name)) if !name.is_empty() => Some(HashBy::Header(name.to_ascii_lowercase())),
        _ => {
            let what = format!("`{}` tells no callers apart (there are: user, address, cookie:NAME, header:NAME)", text.get_ref());
            faults.push((text.span().start, what));
            None
        }
    }
}

impl ProbeTable {
    fn resolve(&self, default: Probe, faults: &mut Faults) -> Probe {
        Probe {
            interval: time(self.interval.as_ref(), default.interval, faults),
            timeout: time(self.timeout.as_ref(), default.timeout, faults),
            unhealthy: count(self.unhealthy.as_ref(), default.unhealthy, faults),
            healthy: count(self.healthy.as_ref(), default.healthy, faults),
        }
    }
}

impl EjectionTable {
    fn resolve(&self, default: Ejection, faults: &mut Faults) -> Ejection {
        let rule = Ejection {
            failures: count(self.failures.as_ref(), default.failures, faults),
            first: time(self.first.as_ref(), default.first, faults),
            longest: time(self.longest.as_ref(), default.longest, faults),
            share: share(self.share.as_ref(), default.share, faults),
        };
        if rule.longest < rule.first {
            let at = self.longest.as_ref().or(self.first.as_ref()).map_or(0, |text| text.span().start);
            faults.push((at, "`longest` is shorter than `first`".into()));
        }
        rule
    }
}

impl RetryTable {
    fn resolve(&self, default: Retry, faults: &mut Faults) -> Retry {
        for status in self.statuses.iter().flatten().filter(|status| !(500..=599).contains(status.get_ref())) {
            faults.push((status.span().start, format!("{} is no failure of a server: from 500 to 599", status.get_ref())));
        }
        let statuses = self.statuses.as_ref().map(|statuses| statuses.iter().map(|status| *status.get_ref()).collect());
        Retry {
            share: share(self.share.as_ref(), default.share, faults),
            least: self.least.unwrap_or(default.least),
            statuses: statuses.unwrap_or(default.statuses),
        }
    }
}

impl BreakerTable {
    fn resolve(&self, faults: &mut Faults) -> Breaker {
        let default = Breaker::default();
        let breaker = Breaker {
            share: share(self.share.as_ref(), default.share, faults),
            requests: count(self.requests.as_ref(), default.requests, faults),
            window: time(self.window.as_ref(), default.window, faults),
            open_for: time(self.open_for.as_ref(), default.open_for, faults),
            passes: count(self.passes.as_ref(), default.passes, faults),
        };
        if let Some(share) = self.share.as_ref().filter(|_| breaker.share == Share::NONE) {
            faults.push((share.span().start, "a share of nothing would open it at any failure: write it like \"50%\"".into()));
        }
        breaker
    }
}

impl BulkheadTable {
    fn resolve(&self, faults: &mut Faults) -> Bulkhead {
        let wait = time(self.wait.as_ref(), PLACE_WITHIN, faults);
        if let Some(text) = self.wait.as_ref().filter(|_| wait > PLACE_AT_MOST) {
            faults.push((text.span().start, "nobody waits for a place for longer than 5s: a cutover would wait with it".into()));
        }
        let places = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        Bulkhead { requests: places(count(Some(&self.requests), 1, faults)), queue: places(self.queue), wait }
    }
}

fn share(text: Option<&Spanned<String>>, default: Share, faults: &mut Faults) -> Share {
    let Some(text) = text else { return default };
    Share::parse(text.get_ref()).unwrap_or_else(|why| {
        faults.push((text.span().start, why));
        default
    })
}

/// A number of times; never is not what is meant.
fn count(number: Option<&Spanned<u32>>, default: u32, faults: &mut Faults) -> u32 {
    let Some(number) = number else { return default };
    if *number.get_ref() == 0 {
        faults.push((number.span().start, "it must be 1 or more".into()));
    }
    *number.get_ref()
}

fn time(text: Option<&Spanned<String>>, default: Duration, faults: &mut Faults) -> Duration {
    let Some(text) = text else { return default };
    match args::duration(text.get_ref()) {
        Ok(time) if !time.is_zero() => return time,
        Ok(_) => faults.push((text.span().start, "it must be longer than nothing".to_owned())),
        Err(why) => faults.push((text.span().start, why)),
    }
    default
}
