//! What the user types into `ficus.toml`, with the defaults of what is left out.

mod access;
mod cache;
mod etcd;
mod events;
mod identity;
mod limits;
mod listen;
mod notify;
mod observing;
mod transport;
mod upstream;

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

pub(super) use access::{Tls, Token};
pub(super) use cache::Cache;
pub(super) use etcd::Etcd;
pub(super) use events::Events;
pub(super) use identity::{Ask, Django, Flask, Identity, Jwt, Users};
pub(super) use limits::Limits;
pub(super) use listen::{Certificate, Listener};
pub(super) use notify::Notify;
pub(super) use observing::{AccessLogDocument, TracingDocument};
pub(super) use upstream::Upstream;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    pub(super) gateway: Gateway,
    #[serde(default)]
    pub(super) orchestrator: Orchestrator,
    #[serde(default)]
    pub(super) agent: Agent,
    #[serde(default)]
    pub(super) upstream: BTreeMap<Spanned<String>, Upstream>,
    #[serde(default)]
    pub(super) identity: Identity,
    #[serde(default)]
    pub(super) events: BTreeMap<Spanned<String>, Events>,
}

/// `[gateway]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Gateway {
    #[serde(default = "gateway_name")]
    pub(super) name: String,
    pub(super) listen: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    pub(super) listener: Vec<Listener>,
    #[serde(default)]
    pub(super) certificate: Vec<Certificate>,
    pub(super) hsts: Option<Spanned<String>>,
    pub(super) health: Option<Spanned<String>>,
    pub(super) services: Option<Spanned<String>>,
    #[serde(default = "gateway_admin")]
    pub(super) admin: Spanned<String>,
    pub(super) default: Spanned<String>,
    #[serde(default)]
    pub(super) trusted_proxies: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) expose_side: bool,
    #[serde(default = "secret_after")]
    pub(super) hide_paths_after: Vec<Spanned<String>>,
    pub(super) threads: Option<usize>,
    #[serde(default = "hold_requests")]
    pub(super) hold_requests: usize,
    #[serde(default = "fifteen_seconds")]
    pub(super) hold_wait: Spanned<String>,
    #[serde(default = "two_seconds")]
    pub(super) connect_timeout: Spanned<String>,
    #[serde(default = "one_minute")]
    pub(super) answer_timeout: Spanned<String>,
    #[serde(default = "ten_seconds")]
    pub(super) grace: Spanned<String>,
    #[serde(default)]
    pub(super) limits: Limits,
    #[serde(default)]
    pub(super) cache: Cache,
    pub(super) redis: Option<Redis>,
    pub(super) access_log: Option<AccessLogDocument>,
    pub(super) tracing: Option<TracingDocument>,
}

/// `[gateway.redis]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Redis {
    pub(super) url: Spanned<String>,
    pub(super) password_file: Option<Spanned<PathBuf>>,
    #[serde(default = "tenth_of_a_second")]
    pub(super) timeout: Spanned<String>,
}

/// `[orchestrator]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Orchestrator {
    pub(super) listen: Spanned<String>,
    pub(super) addresses: Vec<Spanned<String>>,
    pub(super) etcd: Option<Etcd>,
    pub(super) token_file: Option<Spanned<PathBuf>>,
    pub(super) token: BTreeMap<Spanned<String>, Token>,
    pub(super) tls: Option<Tls>,
    pub(super) prometheus: Option<Spanned<String>>,
    pub(super) notify: BTreeMap<Spanned<String>, Notify>,
    pub(super) rules: PathBuf,
    pub(super) state: PathBuf,
    pub(super) switch_deadline: Spanned<String>,
    pub(super) validity: Spanned<String>,
}

impl Default for Orchestrator {
    fn default() -> Self {
        Orchestrator {
            listen: unplaced("127.0.0.1:7070"),
            addresses: Vec::new(),
            etcd: None,
            token_file: None,
            token: BTreeMap::new(),
            tls: None,
            prometheus: None,
            notify: BTreeMap::new(),
            rules: "rules".into(),
            state: "state".into(),
            switch_deadline: ten_seconds(),
            validity: unplaced("5s"),
        }
    }
}

/// `[agent]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Agent {
    pub(super) listen: Spanned<String>,
    pub(super) poll: Spanned<String>,
    pub(super) batch_rows: usize,
    pub(super) copy_rows_per_second: Option<NonZeroU64>,
    pub(super) copy_max_load: Option<u64>,
}

impl Default for Agent {
    fn default() -> Self {
        Agent {
            listen: unplaced("127.0.0.1:7072"),
            poll: unplaced("10ms"),
            batch_rows: 2_000,
            copy_rows_per_second: None,
            copy_max_load: None,
        }
    }
}

/// The name of a header, in lower case.
pub(super) fn header(name: &Spanned<String>, faults: &mut upstream::Faults) -> Option<String> {
    let text = name.get_ref();
    match text.parse::<http::HeaderName>() {
        Ok(header) if !text.contains('_') => Some(header.as_str().to_owned()),
        _ => {
            let why = format!("`{text}` is no header that a client can send: write it as it is sent, like \"X-CSRFToken\"");
            faults.push((name.span().start, why));
            None
        }
    }
}

fn unplaced(text: &str) -> Spanned<String> {
    Spanned::new(0..0, text.to_owned())
}

fn tenth_of_a_second() -> Spanned<String> {
    unplaced("100ms")
}

fn one_second() -> Spanned<String> {
    unplaced("1s")
}

fn two_seconds() -> Spanned<String> {
    unplaced("2s")
}

fn ten_seconds() -> Spanned<String> {
    unplaced("10s")
}

fn fifteen_seconds() -> Spanned<String> {
    unplaced("15s")
}

fn one_minute() -> Spanned<String> {
    unplaced("60s")
}

fn gateway_name() -> String {
    "gateway".into()
}

fn gateway_admin() -> Spanned<String> {
    unplaced("127.0.0.1:7071")
}

fn secret_after() -> Vec<Spanned<String>> {
    ficus_rules::access::SECRET_AFTER.map(unplaced).into()
}

fn hold_requests() -> usize {
    1_000
}
