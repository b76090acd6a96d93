//! What a gateway must be told. Built by the command line out of `ficus.toml`; everything here needs a restart, while
//! rules and published state come by [`crate::Gateway::publish`].

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use ficus_rules::access::SECRET_AFTER;
use ficus_rules::network::Network;

use crate::plugins::RedisServer;
use crate::public::Public;

mod cache;
mod identity;
mod limits;
mod listen;
mod observing;
mod transport;
mod upstream;

pub use cache::CacheLimits;
pub use identity::{
    DjangoIdentity, DjangoSessions, DrfTokens, FlaskIdentity, FlaskSessions, Identity, JwtIdentity, JwtKeys, MonolithIdentity, RoleColumn,
    SessionDatabase, UserTable, WtfCsrf, jwt_algorithms,
};
pub use limits::Limits;
pub use listen::{Certificate, Clients, Listener};
pub use observing::{AccessLog, AccessLogTarget, QueryTold, Tracing};
pub use transport::{Transport, UpstreamTls};
pub use upstream::{Balance, Breaker, Bulkhead, Ejection, HashBy, Instances, Lookup, Probe, Retry, Upstream, Weighted};

/// A gateway's configuration.
#[derive(Clone)]
pub struct Config {
    /// Its name in reports, stable over restarts.
    pub name: String,
    /// Where clients connect.
    pub listeners: Vec<Listener>,
    /// What listeners with TLS show, by the names in them; the first one to whoever asks for no name that is known.
    pub certificates: Vec<Certificate>,
    /// For how long browsers are told to use https alone (`Strict-Transport-Security`), in answers over TLS.
    pub strict_transport: Option<Duration>,
    /// What it answers by itself.
    pub public: Public,
    /// The servers behind it, by the name that rules use.
    pub upstreams: BTreeMap<String, Upstream>,
    /// The upstream of everything that no route matches.
    pub default_upstream: String,
    /// Peers whose forwarding headers are believed: addresses or networks like `10.0.0.0/8`; `unix` for Unix sockets.
    pub trusted_proxies: Vec<String>,
    /// How to find out who calls; where nothing is named, everybody is a stranger.
    pub identity: Identity,
    /// Signs the read-your-writes markers; the same for all gateways of a fleet.
    pub marker_key: Vec<u8>,
    /// Seed of the Ed25519 key that signs identity tokens; the same for all gateways of a fleet.
    pub token_key: [u8; 32],
    /// Where the last good snapshot is kept.
    pub snapshot_file: Option<PathBuf>,
    /// Limits on held writes.
    pub hold: HoldLimits,
    /// Deadlines of upstreams.
    pub timeouts: Timeouts,
    /// Limits on what is kept of answers.
    pub cache: CacheLimits,
    /// Limits on clients.
    pub limits: Limits,
    /// Where gateways count together for limits that they share; without it each counts as `when_away` says.
    pub redis: Option<RedisServer>,
    /// How long requests in flight may take to finish at shutdown.
    pub grace: Duration,
    /// Threads that carry requests.
    pub threads: usize,
    /// Adds the header `x-ficus-side` to answers. For tests and demonstrations.
    pub expose_side: bool,
    /// Words in paths after which secrets stand: what follows them is told nowhere.
    pub hide_paths_after: Vec<String>,
    /// The access log; none unless set.
    pub access_log: Option<AccessLog>,
    /// Where traces go; nowhere unless set.
    pub tracing: Option<Tracing>,
}

impl Config {
    /// A configuration with the documented defaults: loopback with a free port, one upstream.
    pub fn new(name: &str, upstreams: BTreeMap<String, Upstream>, default_upstream: &str) -> Config {
        Config {
            name: name.to_owned(),
            listeners: vec![Listener::plain("127.0.0.1:0")],
            certificates: Vec::new(),
            strict_transport: None,
            public: Public::default(),
            upstreams,
            default_upstream: default_upstream.to_owned(),
            trusted_proxies: Vec::new(),
            identity: Identity::default(),
            marker_key: Vec::new(),
            token_key: [0; 32],
            snapshot_file: None,
            hold: HoldLimits::default(),
            timeouts: Timeouts::default(),
            cache: CacheLimits::default(),
            limits: Limits::default(),
            redis: None,
            grace: Duration::from_secs(10),
            threads: 2,
            expose_side: false,
            hide_paths_after: SECRET_AFTER.map(str::to_owned).into(),
            access_log: None,
            tracing: None,
        }
    }
}

/// Limits on held writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldLimits {
    /// Held at once; the next one is answered 503.
    pub max_requests: usize,
    /// Held for this long, a request is answered 503. Longer than the orchestrator's deadline of a switch: what an aborted
    /// cutover held is released, not refused.
    pub max_wait: Duration,
}

impl Default for HoldLimits {
    fn default() -> Self {
        HoldLimits { max_requests: 1000, max_wait: Duration::from_secs(15) }
    }
}

/// Deadlines of upstreams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// To accept a connection.
    pub connect: Duration,
    /// To begin the answer, or to go on with it. Routes may say otherwise; WebSockets and event streams may be silent for
    /// an hour.
    pub answer: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts { connect: Duration::from_secs(2), answer: Duration::from_secs(60) }
    }
}

/// Whether a text can stand among [`Config::trusted_proxies`].
///
/// # Errors
/// What it should look like.
pub fn check_network(text: &str) -> Result<(), String> {
    if text == LOCAL { Ok(()) } else { text.parse::<Network>().map(drop) }
}

/// Stands for the peers on Unix sockets.
pub(crate) const LOCAL: &str = "unix";
