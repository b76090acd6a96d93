//! Accepting connections, and stopping in good order.
//!
//! The accept loop is ours and not pingora's server: that one leaves no way to learn its ports, waits out its whole
//! grace period even when nothing is under way, and ends the process when a listener fails. Everything behind the
//! accepted connection is pingora.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::os::fd::AsRawFd as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pingora::apps::{HttpServerOptions, ServerApp as _};
use pingora::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::{GetSocketDigest as _, SocketDigest};
use pingora::proxy::HttpProxy;
use pingora::server::configuration::ServerConf;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};

use crate::Error;
use crate::carry::Carrier;
use crate::config::Limits;
use crate::gateway::Inner;
use crate::harden::{Guard, Places};
use crate::probe;
use crate::shadow::mirror;

/// Connections that the kernel completes while we are busy.
const BACKLOG: i32 = 4096;
/// Connections to upstreams that are kept open.
const KEPT_CONNECTIONS: usize = 1024;
/// Tries in all: a pooled connection that died and its replacement, on modern and then on legacy.
const TRIES: usize = 4;

/// The sockets to listen on, taken once.
pub(crate) struct Listeners {
    addresses: Vec<SocketAddr>,
    sockets: Mutex<Option<Vec<std::net::TcpListener>>>,
}

impl Listeners {
    /// Binds all addresses.
    pub(crate) fn bind(addresses: &[String]) -> Result<Listeners, Error> {
        let failed = |address: &String| {
            let address = address.clone();
            move |source| Error::Listen { address, source }
        };
        let sockets = addresses.iter().map(|address| listen(address).map_err(failed(address))).collect::<Result<Vec<_>, _>>()?;
        let local = sockets.iter().filter_map(|socket| socket.local_addr().ok()).collect();
        Ok(Listeners { addresses: local, sockets: Mutex::new(Some(sockets)) })
    }

    /// The addresses with their real ports.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    fn take(&self) -> Option<Vec<std::net::TcpListener>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

fn listen(address: &str) -> std::io::Result<std::net::TcpListener> {
    let nowhere = || std::io::Error::new(std::io::ErrorKind::InvalidInput, "the name has no address");
    let address = address.to_socket_addrs()?.next().ok_or_else(nowhere)?;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Serves until `shutdown` says stop; then finishes what is under way, within the grace period.
pub(crate) fn run(gateway: &Arc<Inner>, shutdown: watch::Receiver<bool>) -> Result<(), Error> {
    let sockets = gateway.listeners.take().ok_or(Error::RunTwice)?;
    let carrying = runtime("ficus-gateway", gateway.config.threads.max(1))?;
    let mirroring = runtime("ficus-shadow", 1)?;
    if let Some(jobs) = gateway.shadow.jobs() {
        mirroring.spawn(mirror::run(gateway.clone(), jobs));
    }
    mirroring.spawn(probe::run(gateway.clone()));
    let served = carrying.block_on(serve(gateway, sockets, shutdown));
    carrying.shutdown_timeout(Duration::from_millis(200));
    mirroring.shutdown_background();
    gateway.flush();
    served
}

fn runtime(name: &str, threads: usize) -> Result<Runtime, Error> {
    Builder::new_multi_thread().worker_threads(threads).thread_name(name).enable_all().build().map_err(Error::Runtime)
}

async fn serve(gateway: &Arc<Inner>, sockets: Vec<std::net::TcpListener>, mut shutdown: watch::Receiver<bool>) -> Result<(), Error> {
    let conf = ServerConf {
        threads: gateway.config.threads.max(1),
        upstream_keepalive_pool_size: KEPT_CONNECTIONS,
        max_retries: TRIES,
        ..ServerConf::default()
    };
    let limits = Arc::new(gateway.config.limits.clone());
    let mut options = HttpServerOptions::default();
    // It counts how often a connection is used again.
    options.keepalive_request_limit = limits.requests_per_connection.checked_sub(1);
    let mut proxy = HttpProxy::new(Carrier(gateway.clone()), Arc::new(conf));
    proxy.server_options = Some(options);
    proxy.handle_init_modules();
    let proxy = Arc::new(proxy);
    // Each connection holds a sender: when all are gone, nothing is under way.
    let (under_way, mut finished) = mpsc::channel::<()>(1);
    let door = Door { proxy: proxy.clone(), places: Places::new(&limits), limits, gateway: gateway.clone(), under_way };
    let mut accepting = tokio::task::JoinSet::new();
    for socket in sockets {
        let listener = TcpListener::from_std(socket).map_err(Error::Runtime)?;
        accepting.spawn(accept(listener, door.clone(), shutdown.clone()));
    }
    drop(door);
    // A sender that is gone means that whoever could ask for more is gone too.
    let _ = shutdown.wait_for(|stop| *stop).await;
    accepting.shutdown().await;
    proxy.cleanup().await;
    if tokio::time::timeout(gateway.config.grace, finished.recv()).await.is_err() {
        tracing::warn!("requests were cut off at the end of the grace period");
    }
    Ok(())
}

/// What a new connection gets.
#[derive(Clone)]
struct Door {
    gateway: Arc<Inner>,
    proxy: Arc<HttpProxy<Carrier>>,
    places: Arc<Places>,
    limits: Arc<Limits>,
    under_way: mpsc::Sender<()>,
}

async fn accept(listener: TcpListener, door: Door, shutdown: watch::Receiver<bool>) {
    loop {
        match listener.accept().await {
            Ok((connection, peer)) => {
                let trusted = door.gateway.trusts(peer.ip().to_canonical());
                let Some(place) = Places::take(&door.places, peer.ip().to_canonical(), trusted) else { continue };
                let (proxy, under_way, shutdown) = (door.proxy.clone(), door.under_way.clone(), shutdown.clone());
                let guard = Guard::new(Box::new(stream(connection, peer)), door.limits.clone());
                tokio::spawn(async move {
                    proxy.process_new(Box::new(guard), &shutdown).await;
                    drop((place, under_way));
                });
            }
            Err(error) => {
                // Out of file descriptors, most likely: accepting again at once would fail again at once.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

fn stream(connection: TcpStream, peer: SocketAddr) -> Stream {
    let _ = connection.set_nodelay(true);
    let digest = SocketDigest::from_raw_fd(connection.as_raw_fd());
    let _ = digest.peer_addr.set(Some(PeerAddress::Inet(peer)));
    let mut stream = Stream::from(connection);
    stream.set_socket_digest(digest);
    stream
}
