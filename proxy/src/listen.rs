//! The sockets that clients connect to: bound at the start, taken once.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
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

/// Sockets that somebody else bound: the process before this one, or systemd.
#[derive(Debug, Default)]
pub struct Sockets {
    /// TCP.
    pub tcp: Vec<std::net::TcpListener>,
    /// Unix.
    pub unix: Vec<StdUnixListener>,
}

impl Sockets {
    /// Takes out the one that is bound to an address, `host:port` or `unix:` and a path, if there is one.
    pub fn take(&mut self, address: &str) -> Option<Bound> {
        match address.strip_prefix(UNIX) {
            Some(path) => {
                let is_it = |socket: &StdUnixListener| socket.local_addr().is_ok_and(|local| local.as_pathname() == Some(Path::new(path)));
                let at = self.unix.iter().position(is_it)?;
                Some(Bound::Unix(self.unix.swap_remove(at)))
            }
            None => {
                let wanted: Vec<SocketAddr> = address.to_socket_addrs().ok()?.collect();
                let at = self.tcp.iter().position(|socket| socket.local_addr().is_ok_and(|local| wanted.contains(&local)))?;
                Some(Bound::Tcp(self.tcp.swap_remove(at)))
            }
        }
    }
}

/// A bound socket.
#[derive(Debug)]
pub enum Bound {
    /// TCP.
    Tcp(std::net::TcpListener),
    /// Unix.
    Unix(StdUnixListener),
}

impl Bound {
    /// Binds an address, or takes the socket that is bound to it.
    fn bind(address: &str, sockets: &mut Sockets) -> std::io::Result<Bound> {
        if let Some(bound) = sockets.take(address) {
            match &bound {
                Bound::Tcp(socket) => socket.set_nonblocking(true)?,
                Bound::Unix(socket) => socket.set_nonblocking(true)?,
            }
            return Ok(bound);
        }
        match address.strip_prefix(UNIX) {
            Some(path) => unix(Path::new(path)).map(Bound::Unix),
            None => tcp(address).map(Bound::Tcp),
        }
    }

    /// Another handle of the same socket.
    fn handle(&self) -> std::io::Result<OwnedFd> {
        match self {
            Bound::Tcp(socket) => socket.try_clone().map(OwnedFd::from),
            Bound::Unix(socket) => socket.try_clone().map(OwnedFd::from),
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
    /// The same sockets, to be handed on.
    handles: Mutex<Vec<OwnedFd>>,
}

impl Listeners {
    /// Binds all addresses.
    pub(crate) fn bind(listeners: &[Listener], mut sockets: Sockets) -> Result<Listeners, Error> {
        let failed = |address: &str| {
            let address = address.to_owned();
            move |source| Error::Listen { address, source }
        };
        let bind = |listener: &Listener| Bound::bind(&listener.address, &mut sockets).map_err(failed(&listener.address));
        let sockets = listeners.iter().map(bind).collect::<Result<Vec<_>, _>>()?;
        let handles = sockets.iter().map(Bound::handle).collect::<std::io::Result<_>>().map_err(Error::Runtime)?;
        let local = |socket: &Bound| match socket {
            Bound::Tcp(socket) => socket.local_addr().ok(),
            Bound::Unix(_) => None,
        };
        Ok(Listeners {
            addresses: sockets.iter().filter_map(local).collect(),
            sockets: Mutex::new(Some(sockets)),
            handles: Mutex::new(handles),
        })
    }

    /// More handles of the sockets; none after [`Listeners::close`].
    pub(crate) fn handles(&self) -> std::io::Result<Vec<OwnedFd>> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner).iter().map(OwnedFd::try_clone).collect()
    }

    /// Nobody listens here any more, unless the sockets were handed on.
    pub(crate) fn close(&self) {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner).clear();
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
