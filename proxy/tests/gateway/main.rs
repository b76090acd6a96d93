//! The gateway between real sockets: upstreams inside the test, clients on loopback.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, reason = "tests")]

mod announced;
mod answers;
mod asking;
mod bodies;
mod ciphered;
mod csrf;
mod expecting;
mod failures;
mod fence;
mod flask;
mod forwarding;
mod http2;
mod identity;
mod log_outs;
mod markers;
mod observing;
mod pki;
mod public;
mod rehearsals;
mod reload;
mod roles;
mod routing;
mod several;
mod shadow;
mod support;
mod tls;
mod tokens;
mod upgrade;
mod upstreams;
