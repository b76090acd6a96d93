//! A certificate with its key: read from PEM, checked to belong together, with the names and the date in it.

use std::path::Path;
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use crate::metrics::metrics;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// What a server shows.
pub(crate) struct Loaded {
    pub(super) key: Arc<CertifiedKey>,
    /// The private key in DER.
    pub(crate) secret: Vec<u8>,
    /// The DNS names that it is for, lower case; `*.` stands for one label.
    pub(super) names: Vec<String>,
}

impl Loaded {
    /// Reads a chain and its key.
    pub(crate) fn read(chain: &Path, chain_pem: &[u8], key: &Path, key_pem: &[u8]) -> Result<Loaded, String> {
        let certificates = certificates(chain, chain_pem)?;
        let secret = PrivateKeyDer::from_pem_slice(key_pem).map_err(|error| unread(key, &error))?;
        let leaf = leaf(&certificates[0]).ok_or_else(|| format!("{} holds a certificate that cannot be read", chain.display()))?;
        let (names, expires) = (names(&leaf), leaf.validity().not_after.timestamp());
        let der = secret.secret_der().to_vec();
        let key = CertifiedKey::from_der(certificates, secret, &ring::default_provider())
            .map_err(|error| format!("{} and {} cannot be used together: {error}", chain.display(), key.display()))?;
        metrics().certificate_expires.with_label_values(&[&*chain.display().to_string()]).set(expires);
        Ok(Loaded { key: Arc::new(key), secret: der, names })
    }

    /// The chain in DER.
    pub(crate) fn chain(&self) -> Vec<Vec<u8>> {
        self.key.cert.iter().map(|certificate| certificate.to_vec()).collect()
    }

    /// What a client shows.
    pub(crate) fn shown(&self) -> Arc<dyn ResolvesClientCert> {
        Arc::new(SingleCertAndKey::from(self.key.clone()))
    }
}

/// The certificates in a PEM, at least one.
pub(crate) fn certificates(file: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = chain.map_err(|error| unread(file, &error))?;
    match chain.is_empty() {
        true => Err(format!("{} holds no certificate in PEM", file.display())),
        false => Ok(chain),
    }
}

/// What stands in a certificate.
pub(super) fn leaf<'a>(certificate: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    X509Certificate::from_der(certificate).ok().map(|(_, certificate)| certificate)
}

/// Its DNS names, lower case.
pub(super) fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    alternatives(certificate, |name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    })
}

/// Something of its alternative names.
pub(super) fn alternatives(certificate: &X509Certificate<'_>, what: impl Fn(&GeneralName<'_>) -> Option<String>) -> Vec<String> {
    let extension = certificate.subject_alternative_name().ok().flatten();
    extension.map(|names| names.value.general_names.iter().filter_map(what).collect()).unwrap_or_default()
}

/// What is wrong with a file in PEM, without what stands in it.
fn unread(file: &Path, error: &pem::Error) -> String {
    match error {
        pem::Error::NoItemsFound => format!("{} holds nothing of the kind in PEM", file.display()),
        _ => format!("{} is no PEM: it begins or ends unlike it, or has lost its ends of lines", file.display()),
    }
}
