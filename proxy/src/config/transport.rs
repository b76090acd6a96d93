//! How the servers behind the gateway are spoken to.

use std::path::PathBuf;

use super::Certificate;

/// How the instances of an upstream are spoken to. The default is HTTP/1.1 without TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transport {
    /// With TLS.
    pub tls: Option<UpstreamTls>,
    /// HTTP/2 and nothing else: agreed on by ALPN with TLS, by prior knowledge (h2c) without. WebSockets go by HTTP/1.1 all
    /// the same.
    pub http2: bool,
}

/// TLS to an upstream. Files are read anew when they change; connections that are open stay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpstreamTls {
    /// The name that is asked for, and that its certificate must have; that of the address, unless set.
    pub name: Option<String>,
    /// A file in PEM with the authorities that may have signed its certificate; those of the system, unless set.
    pub authorities: Option<PathBuf>,
    /// What we show, if asked.
    pub certificate: Option<Certificate>,
}
