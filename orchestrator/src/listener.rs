//! The admin listener: TCP, or TLS with a certificate of the operator's. Knows nothing of the API that it carries.
//!
//! Handshakes run beside each other, so that a caller who says nothing keeps nobody else waiting.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// A handshake that takes longer is given up.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Handshakes under way at once; one more, and the oldest is given up.
const HANDSHAKES: usize = 64;
/// After an error of the system (no file descriptors left), the next try.
const AGAIN: Duration = Duration::from_secs(1);

/// A certificate chain with its key.
#[derive(Clone)]
pub struct Tls {
    config: Arc<rustls::ServerConfig>,
    file: String,
    expires: i64,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// Reads both files, in PEM.
    ///
    /// # Errors
    /// A sentence that names the file and what is wrong with it, never what stands in it.
    pub fn load(certificate: &Path, key: &Path) -> Result<Tls, String> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
        let chain = chain.map_err(|error| unread(certificate, error))?;
        if chain.is_empty() {
            return Err(format!("{} holds no certificate in PEM", certificate.display()));
        }
        let leaf =
            X509Certificate::from_der(&chain[0]).map_err(|_| format!("{} holds no certificate that can be read", certificate.display()))?;
        let expires = leaf.1.validity().not_after.timestamp();
        let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| unread(key, error))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, secret))
            .map_err(|error| format!("{} and {} cannot be used together: {error}", certificate.display(), key.display()))?;
        Ok(Tls { config: Arc::new(config), file: certificate.display().to_string(), expires })
    }

    /// The file of the certificate, as it was named.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// When it ends to be good, in seconds since 1970.
    pub fn expires(&self) -> i64 {
        self.expires
    }
}

/// What is wrong with a file in PEM. Other errors than these print what they stumbled on.
pub(crate) fn unread(file: &Path, error: pem::Error) -> String {
    match error {
        pem::Error::Io(error) => format!("cannot read {}: {error}", file.display()),
        pem::Error::NoItemsFound => format!("{} holds nothing of the kind in PEM", file.display()),
        _ => format!("{} is no PEM: it begins or ends unlike it, or has lost its ends of lines", file.display()),
    }
}

/// A bound listener.
pub struct Listener {
    tcp: TcpListener,
    tls: Option<TlsAcceptor>,
    shaking: JoinSet<Option<(Box<dyn Stream>, SocketAddr)>>,
    /// The same, oldest first.
    shakes: VecDeque<AbortHandle>,
}

/// A connection, whatever it is made of.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The address of who called, for handlers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller(pub SocketAddr);

impl Listener {
    /// Binds now, so that a taken port is an error at once.
    ///
    /// # Errors
    /// What the system says.
    pub async fn bind(address: &str, tls: Option<&Tls>) -> io::Result<Listener> {
        Ok(Listener::on(TcpListener::bind(address).await?, tls))
    }

    /// On a socket that is bound already. Inside a runtime.
    ///
    /// # Errors
    /// What the system says.
    pub fn over(socket: std::net::TcpListener, tls: Option<&Tls>) -> io::Result<Listener> {
        socket.set_nonblocking(true)?;
        Ok(Listener::on(TcpListener::from_std(socket)?, tls))
    }

    fn on(tcp: TcpListener, tls: Option<&Tls>) -> Listener {
        Listener { tcp, tls: tls.map(|tls| TlsAcceptor::from(Arc::clone(&tls.config))), shaking: JoinSet::new(), shakes: VecDeque::new() }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Begins a handshake. Beside too many others, it takes the place of the oldest: the silent keep nobody out.
    fn shake(&mut self, tls: TlsAcceptor, tcp: TcpStream, from: SocketAddr) {
        self.shakes.retain(|shake| !shake.is_finished());
        if self.shakes.len() >= HANDSHAKES
            && let Some(oldest) = self.shakes.pop_front()
        {
            oldest.abort();
        }
        self.shakes.push_back(self.shaking.spawn(shake(tls, tcp, from)));
    }

    /// Serves until it fails.
    ///
    /// # Errors
    /// The listener failed for good.
    pub async fn serve(self, router: Router) -> io::Result<()> {
        axum::serve(self, router.into_make_service_with_connect_info::<Caller>()).await
    }
}

impl axum::serve::Listener for Listener {
    type Io = Box<dyn Stream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            tokio::select! {
                Some(shaken) = self.shaking.join_next() => {
                    if let Ok(Some(shaken)) = shaken {
                        return shaken;
                    }
                }
                accepted = self.tcp.accept() => match (accepted, &self.tls) {
                    (Ok((tcp, from)), None) => return (Box::new(without_delay(tcp)), from),
                    (Ok((tcp, from)), Some(tls)) => self.shake(tls.clone(), without_delay(tcp), from),
                    (Err(error), _) if is_of_one_connection(&error) => {}
                    (Err(error), _) => {
                        warn!(%error, "the admin listener can't take connections just now");
                        tokio::time::sleep(AGAIN).await;
                    }
                },
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}

impl Connected<IncomingStream<'_, Listener>> for Caller {
    fn connect_info(stream: IncomingStream<'_, Listener>) -> Self {
        Caller(*stream.remote_addr())
    }
}

async fn shake(tls: TlsAcceptor, tcp: TcpStream, from: SocketAddr) -> Option<(Box<dyn Stream>, SocketAddr)> {
    match tokio::time::timeout(HANDSHAKE, tls.accept(tcp)).await {
        Ok(Ok(stream)) => Some((Box::new(stream), from)),
        Ok(Err(error)) => {
            debug!(%from, %error, "no handshake");
            None
        }
        Err(_) => None,
    }
}

/// Answers are small, and somebody waits for each of them.
fn without_delay(tcp: TcpStream) -> TcpStream {
    if let Err(error) = tcp.set_nodelay(true) {
        debug!(%error, "the connection keeps its delay");
    }
    tcp
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}
