//! SIGTERM and Ctrl-C end the process; SIGHUP reads the rules again; SIGUSR2 has a newer binary take over.

use anyhow::Result;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that end a process.
pub(crate) struct Ending {
    terminate: Signal,
    interrupt: Signal,
}

impl Ending {
    /// From now on these signals are ours.
    pub(crate) fn listen() -> Result<Ending> {
        Ok(Ending { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for one of them.
    pub(crate) async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// SIGHUP.
pub(crate) fn hangup() -> Result<Signal> {
    Ok(signal(SignalKind::hangup())?)
}

/// SIGUSR2.
pub(crate) fn make_way() -> Result<Signal> {
    Ok(signal(SignalKind::user_defined2())?)
}
