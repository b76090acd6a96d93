//! Sockets pass from one process to the next: from systemd at the start, and to a newer binary when this one is told to
//! make way (SIGUSR2). The new process begins beside the old one, on the same sockets, and says when it serves; only then the old
//! one ends. If it never says so, nothing has happened.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use command_fds::{CommandFdExt as _, FdMapping};
use ficus_proxy::{Bound, Sockets};

/// The first file descriptor that is handed over, as systemd does it (sd_listen_fds).
const FIRST: i32 = 3;
/// Where the new process says that it serves.
const READY: &str = "FICUS_READY_SOCKET";
/// How long it may take to.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked after.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What this process was started as. The file may be another by the time at which it is started again.
#[derive(Clone)]
pub(crate) struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// As it is now.
    pub(crate) fn remember() -> Result<Program> {
        Ok(Program {
            path: std::env::current_exe().context("cannot find out what runs here")?,
            arguments: std::env::args_os().skip(1).collect(),
        })
    }

    /// Starts it again over these sockets, and waits until it serves. Its process id.
    pub(crate) async fn start(self, sockets: Vec<OwnedFd>) -> Result<u32> {
        let name = format!("ficus-ready-{}-{}", std::process::id(), uuid());
        let address = SocketAddr::from_abstract_name(&name).context("a name for a socket")?;
        let ready = UnixDatagram::bind_addr(&address).context("cannot make a socket")?;
        ready.set_nonblocking(true)?;
        let ready = tokio::net::UnixDatagram::from_std(ready)?;
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).env(READY, format!("@{name}")).env("LISTEN_FDS", sockets.len().to_string()).env_remove("LISTEN_PID");
        let mappings = sockets.into_iter().zip(FIRST..).map(|(parent_fd, child_fd)| FdMapping { parent_fd, child_fd });
        command.fd_mappings(mappings.collect()).context("cannot hand the sockets over")?;
        let mut child = command.spawn().with_context(|| format!("cannot start {}", self.path.display()))?;
        let (mut word, began) = ([0; 16], std::time::Instant::now());
        loop {
            if tokio::time::timeout(LOOK_EVERY, ready.recv(&mut word)).await.is_ok_and(|heard| heard.is_ok()) {
                return Ok(child.id());
            }
            if let Some(status) = child.try_wait()? {
                bail!("the new process ended before it served: {status}");
            }
            if began.elapsed() > PATIENCE {
                let _ = child.kill();
                let _ = child.wait();
                bail!("the new process did not serve within {PATIENCE:?}");
            }
        }
    }
}

fn uuid() -> u64 {
    rand::random()
}

/// The sockets that were handed to this process, from systemd or from the one before it.
pub(crate) fn inherited() -> Sockets {
    let mut given = listenfd::ListenFd::from_env();
    let mut sockets = Sockets::default();
    for at in 0..given.len() {
        if let Ok(Some(socket)) = given.take_tcp_listener(at) {
            sockets.tcp.push(socket);
        } else if let Ok(Some(socket)) = given.take_unix_listener(at) {
            sockets.unix.push(socket);
        }
    }
    sockets
}

/// The socket of an admin listener: one that was handed over, or a new one.
pub(crate) fn admin(address: &str, sockets: &mut Sockets) -> std::io::Result<std::net::TcpListener> {
    match sockets.take(address) {
        Some(Bound::Tcp(socket)) => Ok(socket),
        _ => std::net::TcpListener::bind(address),
    }
}

/// Says that this process serves: to the one that started it, and to systemd, which learns who is the main process now.
pub(crate) fn ready() {
    let told = [(READY, "READY".to_owned()), ("NOTIFY_SOCKET", format!("READY=1\nMAINPID={}", std::process::id()))];
    for (variable, word) in told {
        let Some(address) = std::env::var_os(variable) else { continue };
        let address = address.to_string_lossy().into_owned();
        let address = match address.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(&address),
        };
        let sent = address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(word.as_bytes(), &address));
        if let Err(error) = sent {
            tracing::warn!(%error, variable, "nobody could be told that this process serves");
        }
    }
}
