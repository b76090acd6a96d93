//! What is written leaves at once. sqlx 0.9.0 leaves Nagle's algorithm on (`https://github.com/transact-rs/sqlx/issues/4335`): the
//! end of a message waits until the server has acknowledged its beginning, which takes the server 40 ms where it delays that. The
//! driver hands out no socket, so ours are found among the process's own. To be deleted with the next release of the driver.

use std::os::fd::OwnedFd;
use std::{fs, io};

use rustix::io::Errno;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use socket2::SockRef;

/// Of every connection of this process to this port. Where it is not allowed to look (seccomp profiles of containers, without
/// `CAP_SYS_PTRACE`), they stay slow.
pub(super) fn send(port: u16) {
    let set = |connections: Vec<OwnedFd>| connections.iter().try_for_each(|one| SockRef::from(one).set_tcp_nodelay(true));
    if let Err(error) = connections(port).and_then(set) {
        tracing::debug!(%error, "statements may wait for acknowledgements of the server");
    }
}

/// Copies of the descriptors: they do not close what they are copies of.
fn connections(port: u16) -> io::Result<Vec<OwnedFd>> {
    let this = pidfd_open(getpid(), PidfdFlags::empty())?;
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        let entry = entry?;
        // Others are closed meanwhile.
        let is_socket = fs::read_link(entry.path()).is_ok_and(|what| what.as_os_str().as_encoded_bytes().starts_with(b"socket:"));
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok()).filter(|_| is_socket);
        let Some(number) = number else { continue };
        let socket = match pidfd_getfd(&this, number, PidfdGetfdFlags::empty()) {
            // Closed meanwhile.
            Err(Errno::BADF) => continue,
            socket => socket?,
        };
        let to = SockRef::from(&socket).peer_addr().ok().and_then(|peer| peer.as_socket());
        if to.is_some_and(|to| to.port() == port) && SockRef::from(&socket).r#type().is_ok_and(|kind| kind == socket2::Type::STREAM) {
            found.push(socket);
        }
    }
    Ok(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn connections_to_that_port_send_at_once_and_others_as_they_did() {
        let servers = [TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap()];
        let [ours, other] = servers.each_ref().map(|server| TcpStream::connect(server.local_addr().unwrap()).unwrap());
        let port = servers[0].local_addr().unwrap().port();
        send(port);
        // Containers may forbid it.
        let may_look = !connections(port).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
        assert_eq!(ours.nodelay().unwrap(), may_look);
        assert!(!other.nodelay().unwrap());
    }
}
