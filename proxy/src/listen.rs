//! The sockets that clients connect to: bound at the start, taken once.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use pingora::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::{GetSocketDigest as _, SocketDigest};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UnixListener};

use crate::Error;
use crate::config::Listener;

/// Connections that the kernel completes while we are busy.
const BACKLOG: i32 = 4096;
/// What addresses of Unix sockets begin with.
pub(crate) const UNIX: &str = "unix:";

/// A bound socket.
#[derive(Debug)]
pub(crate) enum Bound {
    Tcp(std::net::TcpListener),
    Unix(StdUnixListener),
}

impl Bound {
    fn bind(address: &str) -> std::io::Result<Bound> {
        match address.strip_prefix(UNIX) {
            Some(path) => unix(Path::new(path)).map(Bound::Unix),
            None => tcp(address).map(Bound::Tcp),
        }
    }

    /// Ready to accept, inside a runtime.
    pub(crate) fn open(self) -> std::io::Result<Open> {
        match self {
            Bound::Tcp(socket) => TcpListener::from_std(socket).map(Open::Tcp),
            Bound::Unix(socket) => UnixListener::from_std(socket).map(Open::Unix),
        }
    }
}

/// The sockets to listen on, taken once.
pub(crate) struct Listeners {
    addresses: Vec<SocketAddr>,
    sockets: Mutex<Option<Vec<Bound>>>,
}

impl Listeners {
    /// Binds all addresses.
    pub(crate) fn bind(listeners: &[Listener]) -> Result<Listeners, Error> {
        let failed = |address: &str| {
            let address = address.to_owned();
            move |source| Error::Listen { address, source }
        };
        let bind = |listener: &Listener| Bound::bind(&listener.address).map_err(failed(&listener.address));
        let sockets = listeners.iter().map(bind).collect::<Result<Vec<_>, _>>()?;
        let local = |socket: &Bound| match socket {
            Bound::Tcp(socket) => socket.local_addr().ok(),
            Bound::Unix(_) => None,
        };
        Ok(Listeners { addresses: sockets.iter().filter_map(local).collect(), sockets: Mutex::new(Some(sockets)) })
    }

    /// The addresses with their real ports, without Unix sockets.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The sockets, in the order of the listeners.
    pub(crate) fn take(&self) -> Option<Vec<Bound>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

fn tcp(address: &str) -> std::io::Result<std::net::TcpListener> {
    let nowhere = || std::io::Error::new(std::io::ErrorKind::InvalidInput, "the name has no address");
    let address = address.to_socket_addrs()?.next().ok_or_else(nowhere)?;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A socket that nobody listens on any more is left over from a process that is gone.
fn unix(path: &Path) -> std::io::Result<StdUnixListener> {
    if let Err(error) = std::os::unix::net::UnixStream::connect(path)
        && error.kind() == std::io::ErrorKind::ConnectionRefused
    {
        std::fs::remove_file(path)?;
    }
    let socket = StdUnixListener::bind(path)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A socket that accepts.
pub(crate) enum Open {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Open {
    /// The next connection, and where it comes from; `None`: from this machine, through a Unix socket.
    pub(crate) async fn accept(&self) -> std::io::Result<(Stream, Option<SocketAddr>)> {
        match self {
            Open::Tcp(socket) => {
                let (connection, peer) = socket.accept().await?;
                let _ = connection.set_nodelay(true);
                let digest = SocketDigest::from_raw_fd(connection.as_raw_fd());
                let _ = digest.peer_addr.set(Some(PeerAddress::Inet(peer)));
                Ok((described(connection.into(), digest), Some(peer)))
            }
            Open::Unix(socket) => {
                let (connection, _) = socket.accept().await?;
                let digest = SocketDigest::from_raw_fd(connection.as_raw_fd());
                let _ = digest.peer_addr.set(None);
                Ok((described(connection.into(), digest), None))
            }
        }
    }
}

fn described(mut stream: Stream, digest: SocketDigest) -> Stream {
    stream.set_socket_digest(digest);
    stream
}
