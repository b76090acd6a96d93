//! The servers behind the gateway: where their instances are, how one is chosen, and what is thought of one that fails.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ficus_rules::Share;

use super::Transport;
use crate::listen::UNIX;

/// Weights that may be written.
const WEIGHTS: std::ops::RangeInclusive<u32> = 1..=1000;

/// A server behind the gateway, in one instance or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Where its instances are.
    pub instances: Instances,
    /// How they are spoken to.
    pub transport: Transport,
    /// A path that answers with 5xx, or not in time, when an instance is not well. Without it one that takes connections
    /// is.
    pub health: Option<String>,
    /// How instances are asked how they are.
    pub probe: Probe,
    /// Which instance a request gets.
    pub balance: Balance,
    /// When an instance that fails requests is left alone.
    pub ejection: Ejection,
    /// When a read is sent to another instance.
    pub retry: Retry,
    /// When it gets no requests at all for a while; `None`: never.
    pub breaker: Option<Breaker>,
    /// How many requests it has at once; `None`: any number.
    pub bulkhead: Option<Bulkhead>,
}

impl Upstream {
    /// One instance at `host:port`, and the defaults.
    pub fn at(address: impl Into<String>) -> Upstream {
        Upstream::of(Instances::Fixed(vec![Weighted { address: address.into(), weight: 1 }]))
    }

    /// These instances, and the defaults.
    pub fn of(instances: Instances) -> Upstream {
        Upstream {
            instances,
            transport: Transport::default(),
            health: None,
            probe: Probe::default(),
            balance: Balance::default(),
            ejection: Ejection::default(),
            retry: Retry::default(),
            breaker: None,
            bulkhead: None,
        }
    }
}

/// Where the instances of an upstream are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instances {
    /// At these addresses.
    Fixed(Vec<Weighted>),
    /// At all addresses (A, AAAA) of a name.
    Dns {
        /// The name.
        name: String,
        /// The port, the same everywhere.
        port: u16,
        /// How it is looked up.
        lookup: Lookup,
    },
    /// Where SRV records say; of several priorities, the first one counts. Consul and Kubernetes tell their endpoints so.
    Srv {
        /// The name, like `_http._tcp.users.default.svc.cluster.local`.
        name: String,
        /// How it is looked up.
        lookup: Lookup,
    },
    /// Where a file says: on each line an address and, after a space, perhaps a weight. `#` begins a comment.
    File(PathBuf),
}

/// An address and its share of the requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weighted {
    /// `host:port`, or `unix:` and the path of a socket.
    pub address: String,
    /// Requests that it gets for each one that an instance of weight 1 gets; from 1 on.
    pub weight: u32,
}

impl FromStr for Weighted {
    type Err = String;

    /// Reads `10.0.0.7:8000` and, with a weight, `10.0.0.7:8000 3`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut words = text.split_whitespace();
        let address = words.next().unwrap_or_default();
        let socket = address.strip_prefix(UNIX).is_some_and(|path| path.starts_with('/'));
        let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).and_then(|(_, port)| port.parse::<u16>().ok());
        if !socket && port.is_none_or(|port| port == 0) {
            return Err(format!("`{address}` is not an address: write it like \"127.0.0.1:8000\""));
        }
        let weight = words.next().map_or(Ok(1), |word| {
            let weight = word.parse::<u32>().ok().filter(|weight| WEIGHTS.contains(weight));
            weight.ok_or_else(|| format!("`{word}` is not a weight: from 1 to 1000"))
        })?;
        match words.next() {
            Some(more) => Err(format!("`{more}` is too much: an address and a weight")),
            None => Ok(Weighted { address: address.to_owned(), weight }),
        }
    }
}

/// How names are looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// DNS servers, `address:port`; empty: the machine's.
    pub servers: Vec<std::net::SocketAddr>,
    /// A name is looked up again after this, or sooner when its records say so (not more often than every second).
    pub refresh: Duration,
}

impl Default for Lookup {
    fn default() -> Self {
        Lookup { servers: Vec::new(), refresh: Duration::from_secs(5) }
    }
}

/// How instances are asked how they are. Also those of upstreams with a single one, while a capability is on its way to it
/// or could go back to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Between two probes of an instance.
    pub interval: Duration,
    /// How long one may take.
    pub timeout: Duration,
    /// Failed probes in a row after which an instance gets no requests while another is well.
    pub unhealthy: u32,
    /// Good ones in a row after which it does again.
    pub healthy: u32,
}

impl Default for Probe {
    fn default() -> Self {
        Probe { interval: Duration::from_millis(500), timeout: Duration::from_secs(1), unhealthy: 3, healthy: 2 }
    }
}

/// Which instance a request gets, of those that are well.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Balance {
    /// One after the other, by weight.
    #[default]
    RoundRobin,
    /// The one with the fewest requests under way for its weight.
    LeastRequests,
    /// The same one for the same caller, as long as it is there: told by the first of these that the request has. One
    /// that has none of them gets the next instance in turn.
    Hash(Vec<HashBy>),
}

/// What tells callers apart, for the choice of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashBy {
    /// The verified user.
    User,
    /// A cookie's value.
    Cookie(String),
    /// A header's value; its name in lower case.
    Header(String),
    /// The address that the request comes from.
    Address,
}

/// When an instance that fails requests is left alone. A failure is a connection that is refused or breaks, no answer in
/// time, or one of the statuses 502, 503 and 504.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ejection {
    /// Failures in a row.
    pub failures: u32,
    /// For how long it is left alone the first time; each time again for twice as long.
    pub first: Duration,
    /// But never for longer than this.
    pub longest: Duration,
    /// Of all instances at most this share is left alone at a time. Rounded down, so that a single one never is.
    pub share: Share,
}

impl Default for Ejection {
    fn default() -> Self {
        Ejection { failures: 5, first: Duration::from_secs(5), longest: Duration::from_secs(300), share: Share::from_millionths(500_000) }
    }
}

/// When a read that one instance failed is sent to another. What was not sent at all goes to another in any case; a write
/// that was sent never does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Of all requests, at most this share is sent again.
    pub share: Share,
    /// And as many every second besides.
    pub least: u32,
    /// Answers that are not good enough, by status.
    pub statuses: Vec<u16>,
}

impl Default for Retry {
    fn default() -> Self {
        Retry { share: Share::from_millionths(200_000), least: 3, statuses: vec![502, 503, 504] }
    }
}

/// When an upstream as a whole gets no requests for a while. Counted is what counts for [`Ejection`], of all instances, and
/// was let through since the circuit last changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breaker {
    /// This share of the requests failed,
    pub share: Share,
    /// of at least so many,
    pub requests: u32,
    /// within this time.
    pub window: Duration,
    /// Then nothing is sent for so long; afterwards one at a time,
    pub open_for: Duration,
    /// until so many in a row were answered.
    pub passes: u32,
}

impl Default for Breaker {
    fn default() -> Self {
        Breaker {
            share: Share::from_millionths(500_000),
            requests: 20,
            window: Duration::from_secs(10),
            open_for: Duration::from_secs(5),
            passes: 3,
        }
    }
}

/// How many requests an upstream has at once. WebSockets and event streams count while they last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bulkhead {
    /// So many, of all instances together.
    pub requests: usize,
    /// So many more wait for a place; the next one is answered 503.
    pub queue: usize,
    /// For so long, then it is, too.
    pub wait: Duration,
}
