//! Leaves a client that takes nothing for too long.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Sleep, sleep};

use crate::config::Limits;

/// Runs while the client takes nothing.
#[derive(Debug, Default)]
pub(super) struct Stall(Option<Pin<Box<Sleep>>>);

impl Stall {
    /// What came of a write, or an error when nothing has come of it for too long.
    pub(super) fn watch<T>(&mut self, cx: &mut Context<'_>, limits: &Limits, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.0 = None;
            return written;
        }
        let timer = self.0.get_or_insert_with(|| Box::pin(sleep(limits.send_within)));
        match timer.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing"))),
            Poll::Pending => Poll::Pending,
        }
    }
}
