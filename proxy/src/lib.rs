//! The gateway: carries every request to the side that the rules and the published state say, on pingora.
//!
//! It never decides by itself which side serves: `ficus_rules::decide` does. It never talks to the orchestrator: its
//! owner hands it what is published and takes its reports. It never logs a cookie, a token or a body.
//!
//! The life of a request:
//!
//! 1. `harden`: what two servers could read in two ways is refused, what only we may say is dropped, slow clients are left;
//! 2. `identity`: a session's cookie or a token becomes a user;
//! 3. `admission`: the route's `plugins`, then one decision by one snapshot; a write is held while its fence is closed, then
//!    decided anew;
//! 4. `csrf`: Django's rule, for writes that modern answers; `cache`: an answer that was kept, for routes that ask for it;
//! 5. `upstream`, `forward`: an instance that is well, a connection with deadlines, a head that says who calls and from where;
//! 6. `again`, `fallback`: a read that an instance fails is sent to another one, and one that modern fails is answered by legacy;
//! 7. `wrote`: the answer to a write carries a marker, so that its caller reads what it wrote;
//! 8. `shadow`: a copy of a read's answer is compared with the other side's, off the path;
//! 9. `plugins` again: headers of the answer, and its packing;
//! 10. `observe`: counters, one line of the `access` log, and `spans` for a tracing system.
//!
//! Plain reads go that path in `direct`, everything else (bodies, HTTP/2, tunnels) in pingora's proxy.
//!
//! Read next: `carry.rs` for that path in order, `gateway.rs` for what its owner does with it.

mod access;
mod admission;
mod again;
mod announced;
mod answer;
mod arrive;
mod asked;
mod cache;
mod carried;
mod carry;
mod client;
mod config;
mod csrf;
mod direct;
mod fallback;
mod fence;
mod forward;
mod gateway;
mod harden;
mod health;
mod hold;
mod hops;
mod identity;
mod kept_file;
mod legacy;
mod listen;
mod metrics;
#[cfg(test)]
#[path = "../../rules/tests/support/mutator.rs"]
mod mutator;
mod observe;
mod plugins;
mod probe;
mod public;
mod recent;
mod secure;
mod serve;
mod shadow;
mod snapshot;
mod spans;
mod standing;
mod tls;
mod token;
mod traffic;
mod transport;
mod tunnel;
mod upstream;
mod validity;
mod wrote;

pub use identity::check_identity;
#[doc(hidden)]
pub use identity::time_look_ups;
pub use upstream::discover::find_instances;

pub use config::{
    AccessLog, AccessLogTarget, Balance, Breaker, Bulkhead, CacheLimits, Certificate, Clients, Config, DjangoIdentity, DjangoSessions,
    DrfTokens, Ejection, FlaskIdentity, FlaskSessions, HashBy, HoldLimits, Identity, Instances, JwtIdentity, JwtKeys, Limits, Listener,
    Lookup, MonolithIdentity, Probe, QueryTold, Retry, RoleColumn, SessionDatabase, Timeouts, Tracing, Transport, Upstream, UpstreamTls,
    UserTable, Weighted, WtfCsrf, check_network, jwt_algorithms,
};
pub use gateway::Gateway;
pub use listen::{Bound, Sockets};
pub use plugins::{RedisServer, check_redis};
pub use public::Public;

/// Why a gateway cannot be made, or run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address is taken, or not ours.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// A certificate, a key or an authority.
    #[error("{0}")]
    Certificate(String),
    /// The access log cannot be opened.
    #[error("cannot write the access log to {name}")]
    AccessLog {
        /// Where it should be written.
        name: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// A name of an upstream, a table or a column.
    #[error("`{0}` is not a name that can be used here, or is not known")]
    Name(String),
    /// How callers are known, if a file or address of it cannot be used.
    #[error("{0}")]
    Identity(String),
    /// A trusted proxy that is no address or network.
    #[error("{0}")]
    Network(String),
    /// A thread or runtime could not be started.
    #[error("cannot start a thread")]
    Runtime(#[source] std::io::Error),
    /// [`Gateway::run`] was called before.
    #[error("the gateway was run before")]
    RunTwice,
}
