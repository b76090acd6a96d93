//! Requests of our own to upstreams: probes, mirrored reads, questions to the monolith. They go the same way as those that are carried, over
//! connections of their own.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, Uri, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::{Transports, unix};

type Body = Full<Bytes>;

/// The addresses of Unix sockets, by the names that stand for them in URIs.
type Sockets = Arc<Mutex<HashMap<String, String>>>;

/// Asks upstreams.
pub(crate) struct Asker {
    transports: Arc<Transports>,
    /// By HTTP/1.1, a client for each upstream.
    ones: HashMap<String, Client<Connect, Body>>,
    /// By HTTP/2, a connection for each upstream and address.
    twos: Mutex<HashMap<(String, String), SendRequest<Body>>>,
    sockets: Sockets,
}

impl Asker {
    /// `keeps`: connections are used again.
    pub(crate) fn new(transports: Arc<Transports>, keeps: bool) -> Asker {
        let sockets = Sockets::default();
        let client = |upstream: &String| {
            let connect = Connect { transports: transports.clone(), upstream: upstream.as_str().into(), sockets: sockets.clone() };
            let mut builder = Client::builder(TokioExecutor::new());
            builder.pool_max_idle_per_host(if keeps { 64 } else { 0 });
            (upstream.clone(), builder.build(connect))
        };
        let ones = transports.ways.keys().filter(|upstream| !transports.multiplexes(upstream)).map(client).collect();
        Asker { ones, twos: Mutex::default(), sockets, transports }
    }

    /// Sends a request for a path to an instance of an upstream.
    pub(crate) async fn ask(&self, upstream: &str, authority: &str, mut request: Request<Body>) -> io::Result<Response<Incoming>> {
        let Some(client) = self.ones.get(upstream) else { return self.multiplexed(upstream, authority, request).await };
        let authority = match unix(authority) {
            Some(_) => self.name(authority),
            None => authority.to_owned(),
        };
        *request.uri_mut() = absolute("http", &authority, request.uri())?;
        client.request(request).await.map_err(io::Error::other)
    }

    /// Whether an instance of an upstream takes connections.
    pub(crate) async fn reaches(&self, upstream: &str, authority: &str) -> bool {
        connect(&self.transports, upstream, authority).await.is_ok()
    }

    async fn multiplexed(&self, upstream: &str, authority: &str, mut request: Request<Body>) -> io::Result<Response<Incoming>> {
        let host = request.headers_mut().remove(header::HOST);
        let host = host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or(authority).to_owned();
        *request.uri_mut() = absolute("https", &host, request.uri())?;
        let key = (upstream.to_owned(), authority.to_owned());
        let known = self.twos().get(&key).filter(|sender| !sender.is_closed()).cloned();
        let mut sender = match known {
            Some(sender) => sender,
            None => {
                let stream = connect(&self.transports, upstream, authority).await?;
                let shaken = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
                let (sender, connection) = shaken.map_err(io::Error::other)?;
                tokio::spawn(connection);
                self.twos().insert(key, sender.clone());
                sender
            }
        };
        sender.ready().await.map_err(io::Error::other)?;
        sender.send_request(request).await.map_err(io::Error::other)
    }

    /// A name for a Unix socket that may stand in a URI.
    fn name(&self, authority: &str) -> String {
        let name: String = authority.bytes().map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte) } else { '-' }).collect();
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.insert(name.clone(), authority.to_owned());
        name
    }

    fn twos(&self) -> std::sync::MutexGuard<'_, HashMap<(String, String), SendRequest<Body>>> {
        self.twos.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn absolute(scheme: &str, authority: &str, target: &Uri) -> io::Result<Uri> {
    let target = target.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    format!("{scheme}://{authority}{target}").parse().map_err(io::Error::other)
}

/// Connects to an instance in the way of its upstream.
async fn connect(transports: &Transports, upstream: &str, authority: &str) -> io::Result<Stream> {
    let socket: Stream = match unix(authority) {
        Some(path) => Stream(Box::new(UnixStream::connect(path).await?)),
        None => Stream(Box::new(TcpStream::connect(authority).await?)),
    };
    let way = transports.ways.get(upstream);
    let Some((material, tls)) = way.and_then(|way| way.tls.as_ref().zip(way.settings.tls.as_ref())) else { return Ok(socket) };
    let name = ServerName::try_from(tls.name_for(authority).to_owned()).map_err(io::Error::other)?;
    let connector = tokio_rustls::TlsConnector::from(material.current().own.clone());
    Ok(Stream(Box::new(connector.connect(name, socket).await?)))
}

/// Makes connections for one upstream.
#[derive(Clone)]
struct Connect {
    transports: Arc<Transports>,
    upstream: Arc<str>,
    sockets: Sockets,
}

impl tower_service::Service<Uri> for Connect {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Stream>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Connect { transports, upstream, sockets } = self.clone();
        Box::pin(async move {
            let asked = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
            let socket = sockets.lock().unwrap_or_else(PoisonError::into_inner).get(asked).cloned();
            connect(&transports, &upstream, socket.as_deref().unwrap_or(asked)).await.map(TokioIo::new)
        })
    }
}

/// A connection, whatever it is made of.
struct Stream(Box<dyn Duplex>);

/// What a connection can do.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_read(cx, out)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(cx)
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}
