//! `[[gateway.listener]]` and `[[gateway.certificate]]`: where clients connect, and what is shown to them.

use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

/// `[[gateway.listener]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Listener {
    pub(in crate::config) address: Spanned<String>,
    #[serde(default)]
    pub(in crate::config) tls: bool,
    pub(in crate::config) http2: Option<bool>,
    pub(in crate::config) to_https: Option<Spanned<u16>>,
    #[serde(default)]
    pub(in crate::config) proxy_protocol: Vec<Spanned<String>>,
    pub(in crate::config) clients: Option<Spanned<Clients>>,
}

/// `clients`: whose certificates clients show.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Clients {
    pub(in crate::config) ca_file: PathBuf,
    #[serde(default = "yes")]
    pub(in crate::config) required: bool,
}

/// `[[gateway.certificate]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Certificate {
    pub(in crate::config) certificate_file: Spanned<PathBuf>,
    pub(in crate::config) key_file: PathBuf,
}

fn yes() -> bool {
    true
}
