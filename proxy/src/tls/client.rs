//! Certificates of clients: who may sign them, and what is told of them to the servers behind the gateway.

use std::any::Any;
use std::fmt::Write as _;
use std::sync::Arc;

use async_trait::async_trait;
use pingora::listeners::TlsAccept;
use pingora::protocols::tls::TlsRef;
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use x509_parser::extensions::GeneralName;

use super::certificate::{alternatives, certificates, leaf};
use crate::config::Clients;

/// What a client's certificate says, after it was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientCertificate {
    /// Its subject, as a distinguished name.
    pub(crate) subject: String,
    /// Its names: DNS, URI and e-mail, with their kind, like `dns:billing.internal`.
    pub(crate) names: Vec<String>,
    /// SHA-256 of the whole, in hexadecimal.
    pub(crate) fingerprint: String,
}

impl ClientCertificate {
    fn read(der: &[u8]) -> Option<ClientCertificate> {
        use sha2::Digest as _;
        let certificate = CertificateDer::from(der);
        let certificate = leaf(&certificate)?;
        let names = alternatives(&certificate, |name| match name {
            GeneralName::DNSName(name) => Some(format!("dns:{name}")),
            GeneralName::URI(uri) => Some(format!("uri:{uri}")),
            GeneralName::RFC822Name(address) => Some(format!("email:{address}")),
            _ => None,
        });
        let fingerprint = sha2::Sha256::digest(der).iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        Some(ClientCertificate { subject: certificate.subject().to_string(), names, fingerprint })
    }
}

/// Leaves what was shown with the connection, where [`pingora::proxy::Session::digest`] finds it.
pub(super) struct Tell;

#[async_trait]
impl TlsAccept for Tell {
    async fn handshake_complete_callback(&self, tls: &TlsRef) -> Option<Arc<dyn Any + Send + Sync>> {
        Some(Arc::new(Arc::new(ClientCertificate::read(tls.peer_certificate_der()?)?)))
    }
}

/// What clients' certificates are checked by.
pub(super) fn verifier(clients: &Clients, pem: &[u8]) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let file = clients.authorities.display();
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&clients.authorities, pem)? {
        roots.add(certificate).map_err(|error| format!("{file} holds an authority that cannot be used: {error}"))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(ring::default_provider()));
    let builder = if clients.required { builder } else { builder.allow_unauthenticated() };
    builder.build().map(|verifier| verifier as _).map_err(|error| format!("{file} cannot be used: {error}"))
}
