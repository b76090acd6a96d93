//! The connection to the upstream that was chosen, with its deadlines.
//!
//! A pooled connection may be closed by its upstream at the moment in which we use it. For a read that is no matter: it
//! is sent once more. A write must not be sent twice, and whether it was carried out cannot be told; therefore every
//! write gets a connection of its own, and when that one dies the failure is reported as it is (502).
//!
//! `pool` knows the instances and chooses one (`balance`) of those that are well (`instance`, `ejection`); `discover`
//! finds out where they are, and `names` what their names mean. Before that, `breaker` and `room` say whether the upstream gets the request at all; `deadlines`
//! and `line` end what takes too long.

mod balance;
mod breaker;
mod budget;
mod deadlines;
pub(crate) mod discover;
mod ejection;
mod instance;
mod line;
mod names;
mod pool;
mod room;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ficus_rules::route::Request as _;
use http::StatusCode;
use pingora::upstreams::peer::HttpPeer;

use crate::answer::Refusal;
use crate::carried::Carried;
use crate::config::{Balance, Config, HashBy};
use crate::transport::{self, Transports};

use deadlines::Patience;
use names::Names;

pub(crate) use deadlines::Clock;
pub(crate) use instance::{Instance, Lease};
pub(crate) use pool::Pool;
pub(crate) use room::Place;

/// Connections that lie idle for longer are closed. Some servers close theirs before that (gunicorn after 2 s, uvicorn after 5 s,
/// unless told otherwise): that is seen when one is taken, and a read that is sent at the same moment is sent once more.
pub(crate) const IDLE: Duration = Duration::from_secs(15);
/// For how long a WebSocket or an event stream may be silent.
pub(crate) const STREAM_SILENCE: Duration = Duration::from_secs(3600);

/// The servers behind the gateway.
pub(crate) struct Upstreams {
    by_name: BTreeMap<String, Arc<Pool>>,
    names: Names,
    /// Keeps the connections of writes and of tunnels apart, from reads and from each other.
    apart: AtomicU64,
}

impl Upstreams {
    pub(crate) fn new(config: &Config) -> Upstreams {
        let pools = config.upstreams.iter().map(|(name, upstream)| (name.clone(), Arc::new(Pool::new(name, upstream))));
        Upstreams { by_name: pools.collect(), names: Names::by_system(), apart: AtomicU64::new(0) }
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Pool>> {
        self.by_name.values()
    }

    /// The peer for a request: an instance of its upstream that it was not sent to yet. The request has a lease of it.
    pub(crate) async fn peer(&self, carried: &mut Carried, config: &Config, transports: &Transports) -> Result<Box<HttpPeer>, Refusal> {
        // What it had elsewhere is over, and must not count while the next one is chosen.
        carried.lease = None;
        let name = carried.upstream(&config.default_upstream).to_owned();
        let pool = self.by_name.get(&name).ok_or_else(|| unknown(&name))?;
        let waited = pool.found(config.timeouts.connect).await;
        let now = carried.attempt.filter(|_| !waited).map_or_else(Instant::now, |attempt| attempt.began());
        // Given back where nothing is sent in the end.
        let permit = pool.pass(now).map_err(circuit_open)?;
        if carried.place.is_none() {
            carried.place = pool.enter().await.map_err(|()| busy())?;
        }
        if carried.tried.is_empty() {
            pool.requested(now);
        }
        let key = match &pool.settings().balance {
            Balance::Hash(by) => by.iter().find_map(|by| key(by, carried)),
            _ => None,
        };
        // It may have waited for a place.
        let now = if carried.place.as_ref().is_some_and(Place::waited) { Instant::now() } else { now };
        let patience = patience(carried, config, now);
        let connect = patience.end.map_or(patience.connect, |end| patience.connect.min(end.saturating_duration_since(now)));
        if connect.is_zero() {
            return Err(too_late());
        }
        let (lease, address) = loop {
            let mut lease = pool.pick(key.as_deref(), &carried.tried, now).ok_or_else(|| unknown(&name))?;
            if let Some(address) = self.address(lease.instance(), connect).await {
                break (lease, address);
            }
            lease.failed(Instant::now());
            carried.tried.push(lease.instance().authority().clone());
        };
        let authority = lease.instance().authority().clone();
        carried.lease = Some(lease.under(permit));
        let multiplexes = transports.multiplexes(&name);
        let mut peer = self.connection(&address, carried, patience, connect, multiplexes).ok_or_else(|| unknown(&name))?;
        if carried.upgrades {
            // Its connection is made here, TLS included, so that it can be taken from pingora.
            let cipher = transports.cipher(&name, &authority).map_err(|_| unknown(&name))?;
            let (apart, clock) = (carried.tunnel.clone(), carried.clock.clone());
            apart.iter().for_each(|tunnel| tunnel.ask());
            peer.options.custom_l4 = Some(Arc::new(line::Connect { tunnel: true, apart, clock, cipher }));
        } else {
            transports.prepare(&name, &authority, &mut peer);
        }
        Ok(Box::new(peer))
    }

    /// A connection with the request's deadlines: one of the pool, or one of its own. `None`: a path that cannot be a socket's.
    fn connection(
        &self,
        address: &Address,
        carried: &mut Carried,
        patience: Patience,
        connect: Duration,
        multiplexes: bool,
    ) -> Option<HttpPeer> {
        let mut peer = match address {
            Address::Tcp(address) => HttpPeer::new(address, false, String::new()),
            Address::Unix(path) => HttpPeer::new_uds(path, false, String::new()).ok()?,
        };
        let silence = patience.silence();
        peer.options.connection_timeout = Some(connect);
        peer.options.total_connection_timeout = Some(connect);
        peer.options.read_timeout = silence;
        peer.options.write_timeout = silence;
        peer.options.idle_timeout = Some(IDLE);
        carried.silence = patience.idle;
        carried.clock = silence.is_none().then(|| Arc::new(Clock::new(patience)));
        let own = carried.upgrades || carried.clock.is_some();
        if own {
            let clock = carried.clock.clone();
            peer.options.custom_l4 = Some(Arc::new(line::Connect { tunnel: false, apart: None, clock, cipher: None }));
        }
        // By HTTP/2, one connection carries many, and says when it ends which of them it did not take.
        if own || (carried.decided(|decision| decision.write) && !multiplexes) {
            peer.group_key = 1 + self.apart.fetch_add(1, Ordering::Relaxed);
            peer.options.idle_timeout = Some(Duration::from_millis(1));
        }
        Some(peer)
    }

    /// An instance of an upstream, for a request of our own.
    pub(crate) fn lease(&self, name: &str) -> Option<Lease> {
        self.by_name.get(name)?.pick(None, &[], Instant::now())
    }

    async fn address(&self, instance: &Instance, patience: Duration) -> Option<Address> {
        if let Some(path) = transport::unix(instance.authority()) {
            return Some(Address::Unix(path.to_owned()));
        }
        if let Some(address) = instance.fixed() {
            return Some(Address::Tcp(address));
        }
        self.names.address(instance.authority(), patience).await.map(Address::Tcp)
    }
}

/// Where an instance is.
enum Address {
    Tcp(SocketAddr),
    Unix(String),
}

/// What tells a caller, if the request has it.
fn key(by: &HashBy, carried: &Carried) -> Option<String> {
    match by {
        HashBy::User => carried.login.as_ref().and_then(|login| login.user()).map(|user| format!("user:{}", user.id)),
        HashBy::Cookie(name) => carried.asked.cookie(name).map(|value| format!("cookie:{value}")),
        HashBy::Header(name) => carried.asked.header(name).map(|value| format!("header:{value}")),
        HashBy::Address => carried.client.map(|address| format!("address:{address}")),
    }
}

/// The deadlines of a request.
fn patience(carried: &mut Carried, config: &Config, now: Instant) -> Patience {
    let began = *carried.began.get_or_insert(now);
    let route = carried.route();
    let (deadlines, timeout) = route.map_or_else(Default::default, |route| (route.deadlines, route.timeout));
    Patience::of(deadlines, timeout, &config.timeouts, carried.streams, began)
}

fn circuit_open(patience: Duration) -> Refusal {
    let seconds = u32::try_from(patience.as_secs_f64().ceil() as u64).unwrap_or(u32::MAX);
    let refusal = Refusal::later("circuit_open", "the server behind this gateway fails too often; nothing was sent, try again");
    Refusal { retry_after: Some(seconds.max(1)), ..refusal }
}

fn busy() -> Refusal {
    Refusal::later("upstream_busy", "the server behind this gateway has too many requests; this one was not sent, try it again")
}

fn too_late() -> Refusal {
    Refusal::new(StatusCode::GATEWAY_TIMEOUT, "timeout", "the servers behind this gateway did not answer in time")
}

fn unknown(name: &str) -> Refusal {
    let detail = format!("the upstream `{name}` is not known here, or its address cannot be found");
    Refusal::new(StatusCode::BAD_GATEWAY, "unknown_upstream", &detail)
}
