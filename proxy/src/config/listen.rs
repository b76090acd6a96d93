//! Where clients connect, and what is spoken there.

use std::path::PathBuf;

/// A listener of the gateway.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listener {
    /// `host:port`, or `unix:` and the path of a socket. Port 0 takes a free one; see [`crate::Gateway::bound`].
    pub address: String,
    /// TLS 1.2 and 1.3, with the certificates of [`super::Config::certificates`].
    pub tls: bool,
    /// HTTP/2 besides HTTP/1.1: by ALPN with TLS, else by prior knowledge (h2c).
    pub http2: bool,
    /// Every request is led to https, at this port if it is not 443. For listeners without TLS.
    pub to_https: Option<u16>,
    /// Peers that announce whom they connect for by the PROXY protocol, version 1 or 2, and must: addresses, networks, or `unix`.
    pub announced_by: Vec<String>,
    /// Whose certificates clients show.
    pub clients: Option<Clients>,
}

impl Listener {
    /// HTTP/1.1 without TLS.
    pub fn plain(address: &str) -> Listener {
        Listener { address: address.to_owned(), ..Listener::default() }
    }
}

/// Certificates of clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clients {
    /// A file in PEM with the authorities that sign them. Read anew when it changes.
    pub authorities: PathBuf,
    /// Whether one must be shown.
    pub required: bool,
}

/// A certificate with its key, in PEM. Both are read anew when they change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The chain, the server's own first. The names in it tell which clients get it.
    pub chain: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}
