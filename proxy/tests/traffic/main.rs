//! Upstreams of several instances, on real sockets: who gets which request, what happens when instances come, go, hang and
//! fail, and what a request may cost.

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, reason = "tests")]

#[path = "../gateway/support.rs"]
#[allow(dead_code, reason = "of what the gateway's tests need, not all is needed here")]
mod support;

mod balance;
mod cache;
mod deadlines;
mod discovery;
mod health;
mod instance;
mod limits;
mod names;
mod retries;
mod rules;
