//! Questions to servers over HTTP and HTTPS: short, with a deadline and a bound on the answer. Follows no redirect.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::store::Failure;

/// No answer is longer.
const LONGEST: usize = 256 * 1024;
/// A server that does not take the connection within this time is not there.
const CONNECT: Duration = Duration::from_secs(1);

/// A client. Clones share its connections.
#[derive(Clone)]
pub(super) struct Http(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl Http {
    /// As [`connector`] trusts.
    ///
    /// # Errors
    /// A sentence: the file holds no certificate.
    pub(super) fn new(authority: Option<&Path>) -> Result<Http, String> {
        Ok(Http(Client::builder(TokioExecutor::new()).build(connector(authority)?)))
    }

    /// Asks, and reads the whole answer.
    pub(super) async fn ask(&self, question: Request<()>, limit: Duration) -> Result<(StatusCode, HeaderMap, Bytes), Failure> {
        whole(self.0.request(question.map(|()| Full::default())), limit).await
    }
}

/// An answer, read to its end, with a deadline.
pub(super) async fn whole<E: Into<Failure>>(
    answer: impl Future<Output = Result<Response<Incoming>, E>>,
    limit: Duration,
) -> Result<(StatusCode, HeaderMap, Bytes), Failure> {
    let read = async {
        let (head, body) = answer.await.map_err(Into::into)?.into_parts();
        Ok::<_, Failure>((head.status, head.headers, Limited::new(body, LONGEST).collect().await?.to_bytes()))
    };
    tokio::time::timeout(limit, read).await.unwrap_or_else(|_| Err("no answer in time".into()))
}

/// Makes connections, and trusts whoever a public authority vouches for, or only whoever the certificates in this file do.
///
/// # Errors
/// A sentence: the file holds no certificate.
pub(crate) fn connector(authority: Option<&Path>) -> Result<HttpsConnector<HttpConnector>, String> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(file) = authority {
        roots = RootCertStore::empty();
        let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let read = read.map_err(|error| format!("{}: {error}", file.display()))?;
        if roots.add_parsable_certificates(read).0 == 0 {
            return Err(format!("{} holds no certificate in PEM", file.display()));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider knows the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT));
    tcp.enforce_http(false);
    Ok(HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().wrap_connector(tcp))
}
