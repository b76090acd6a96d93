//! TLS on the public listeners: which certificate a client gets, whose certificates clients show, and reading the files
//! of both anew when they change. A file that cannot be used changes nothing but a metric and the log: what was good last
//! goes on serving. Does not know what is spoken inside.

mod certificate;
mod client;
mod files;
mod names;

use std::sync::Arc;

use pingora::listeners::ALPN;
use pingora::listeners::tls::{Acceptor, TlsSettings};

pub(crate) use certificate::{Loaded, certificates};
pub(crate) use client::ClientCertificate;
pub(crate) use files::Watched;

use crate::config::{Certificate, Clients, Listener};
use crate::metrics::metrics;
use names::Names;

/// The TLS of all listeners.
pub(crate) struct Tls {
    names: Arc<Names>,
    /// What clients' certificates are checked by, by listener; see [`Tls::acceptor`].
    acceptors: Vec<Option<Watched<Acceptor>>>,
}

impl Tls {
    /// Reads all files.
    ///
    /// # Errors
    /// A sentence that names the file and what is wrong with it, never what stands in it.
    pub(crate) fn load(certificates: &[Certificate], listeners: &[Listener]) -> Result<Tls, String> {
        let names = Arc::new(Names::load(certificates)?);
        let acceptors = listeners.iter().map(|listener| listener.tls.then(|| acceptor(listener, &names)).transpose());
        Ok(Tls { acceptors: acceptors.collect::<Result<_, _>>()?, names })
    }

    /// What shakes hands at a listener; `None`: it speaks no TLS.
    pub(crate) fn acceptor(&self, listener: usize) -> Option<Arc<Acceptor>> {
        Some(self.acceptors.get(listener)?.as_ref()?.current())
    }

    /// Looks for changed files.
    pub(crate) fn look(&self) {
        self.names.look();
        self.acceptors.iter().flatten().for_each(Watched::look);
    }
}

/// Shakes hands for a listener. Made anew when the file of its clients' authorities changes; the server's certificates are
/// looked up at each handshake.
fn acceptor(listener: &Listener, names: &Arc<Names>) -> Result<Watched<Acceptor>, String> {
    let alpn = if listener.http2 { ALPN::H2H1 } else { ALPN::H1 };
    let (clients, names) = (listener.clients.clone(), names.clone());
    let files = clients.iter().map(|clients| clients.authorities.clone()).collect();
    let make = move |files: &[Vec<u8>]| {
        let verifier = clients.as_ref().zip(files.first()).map(|(clients, pem)| client::verifier(clients, pem)).transpose()?;
        let mut settings = TlsSettings::with_callbacks(Box::new(client::Tell)).map_err(|error| error.to_string())?;
        settings.set_cert_resolver(names.clone());
        settings.set_alpn(alpn.clone());
        if let Some(verifier) = verifier {
            settings.set_client_cert_verifier(verifier);
        }
        Ok(settings.build())
    };
    Watched::load(files, make)
}

impl Certificate {
    /// Whether it can be used now.
    ///
    /// # Errors
    /// A sentence that names the file and what is wrong with it, never what stands in it.
    pub fn check(&self) -> Result<(), String> {
        Names::load(std::slice::from_ref(self)).map(drop)
    }
}

impl Clients {
    /// Whether the authorities can be used now.
    ///
    /// # Errors
    /// A sentence that names the file and what is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        let clients = self.clone();
        Watched::load(vec![self.authorities.clone()], move |files| client::verifier(&clients, &files[0])).map(drop)
    }
}

/// Says whether what a file holds now can be used.
fn tell(name: &str, usable: bool) {
    metrics().certificate_unread.with_label_values(&[name]).set(i64::from(!usable));
}
