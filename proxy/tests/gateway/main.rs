//! The gateway between real sockets: upstreams inside the test, clients on loopback.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, reason = "tests")]

mod bodies;
mod csrf;
mod failures;
mod fence;
mod forwarding;
mod identity;
mod markers;
mod observing;
mod pki;
mod reload;
mod routing;
mod shadow;
mod support;
mod tls;
mod upgrade;
