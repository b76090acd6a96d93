//! How calls of our own go out over HTTP and HTTPS, and whom they trust. Knows nothing of what they say.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Method, Request, StatusCode};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use crate::listener::unread;

/// A server that does not take the connection within this time is not there.
const CONNECT: Duration = Duration::from_secs(2);

/// No answer is longer, unless a caller says so.
const LARGEST: usize = 256 << 10;

/// Nobody took the connection: nothing was sent.
pub(crate) const UNREACHED: &str = "cannot be reached";

/// Whoever calls. Clones share their connections.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    largest: usize,
}

impl Caller {
    pub(crate) fn new(trust: &Trust) -> Caller {
        Caller { client: Client::builder(TokioExecutor::new()).build(trust.connector()), largest: LARGEST }
    }

    /// Takes answers of so many bytes.
    pub(crate) fn taking(self, largest: usize) -> Caller {
        Caller { largest, ..self }
    }

    /// Sends JSON, or nothing, and gives back what is answered. Sets no deadline.
    ///
    /// # Errors
    /// What went wrong, without the address: that may hold secrets.
    pub(crate) async fn send(
        &self,
        method: Method,
        uri: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), &'static str> {
        let mut request = Request::builder().method(method).uri(uri).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).map_err(|_| "its address is none")?;
        let failed = |error: hyper_util::client::legacy::Error| if error.is_connect() { UNREACHED } else { "the connection failed" };
        let answer = self.client.request(request).await.map_err(failed)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), self.largest).collect().await.map_err(|_| "its answer broke off, or is too long")?;
        Ok((status, body.to_bytes()))
    }
}

/// Whom a client believes to be the server that it asked for.
#[derive(Debug, Clone)]
pub struct Trust {
    roots: Arc<RootCertStore>,
    name: Option<ServerName<'static>>,
}

impl Trust {
    /// Whoever a public authority vouches for.
    pub fn public() -> Trust {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        Trust { roots: Arc::new(roots), name: None }
    }

    /// Whoever one of the certificates in this file vouches for, and nobody else.
    ///
    /// # Errors
    /// A sentence that names the file and what is wrong with it.
    pub fn only(file: &Path) -> Result<Trust, String> {
        let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let read = read.map_err(|error| unread(file, error))?;
        let mut roots = RootCertStore::empty();
        if roots.add_parsable_certificates(read).0 == 0 {
            return Err(format!("{} holds no certificate in PEM", file.display()));
        }
        Ok(Trust { roots: Arc::new(roots), name: None })
    }

    /// The certificate must be for this name, whatever the server is called by.
    ///
    /// # Errors
    /// It is no name.
    pub fn named(self, name: &str) -> Result<Trust, String> {
        let name = ServerName::try_from(name.to_owned()).map_err(|_| format!("`{name}` is not the name of a server"))?;
        Ok(Trust { name: Some(name), ..self })
    }

    /// Connects over HTTP/1.1: in TLS where the address begins with `https:`.
    pub fn connector(&self) -> HttpsConnector<HttpConnector> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider knows the default versions")
            .with_root_certificates(Arc::clone(&self.roots))
            .with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT));
        tcp.enforce_http(false);
        let builder = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http();
        match &self.name {
            None => builder.enable_http1().wrap_connector(tcp),
            Some(name) => builder.with_server_name_resolver(FixedServerNameResolver::new(name.clone())).enable_http1().wrap_connector(tcp),
        }
    }
}
