//! Where one message ends and the next one begins on a connection. Looks at the bytes that arrive and says how many of
//! them may be handed on: never more than belong to one message, and none of a head before all of it was read and found
//! clear. So the parser behind us cannot see a second request inside a first. Pure: no sockets, no clock.

use memchr::memchr_iter;

use super::chunks::Chunks;
use super::fault::Fault;
use super::head::{Framing, Head};
use crate::config::Limits;

/// One connection's bytes.
#[derive(Debug)]
pub(super) struct Wire {
    at: At,
    /// Bytes of the head to come in which no end was found.
    searched: usize,
    /// The last head opened what may be a tunnel.
    opens: bool,
    /// The last head was a plain one.
    plain: bool,
}

#[derive(Debug)]
enum At {
    /// Between two messages, or in a head.
    Head,
    Length(u64),
    Chunked(Chunks),
    /// A WebSocket was asked for: what comes is its business, and no further request is read here.
    Open,
}

impl Wire {
    pub(super) fn new() -> Wire {
        Wire { at: At::Head, searched: 0, opens: false, plain: false }
    }

    /// How many of the first of these bytes may be handed on. `bytes` begin where the last cleared ones ended. None
    /// means that the head is not complete: come again with the same bytes and more.
    pub(super) fn clear(&mut self, bytes: &[u8], limits: &Limits) -> Result<usize, Fault> {
        let head = match self.at {
            At::Head => self.head(bytes, limits)?,
            _ => 0,
        };
        if matches!(self.at, At::Head) {
            return Ok(head);
        }
        Ok(head + self.body(&bytes[head..])?)
    }

    /// Whether a new message comes next.
    pub(super) fn is_between(&self) -> bool {
        matches!(self.at, At::Head)
    }

    /// Whether a body is awaited.
    pub(super) fn is_in_body(&self) -> bool {
        matches!(self.at, At::Length(_) | At::Chunked(_))
    }

    /// Whether the last head asked for a WebSocket.
    pub(super) fn opens(&self) -> bool {
        self.opens
    }

    /// Whether the last head asked for a resource and for nothing else.
    pub(super) fn is_plain(&self) -> bool {
        self.plain
    }

    /// The length of a complete head; its body, if any, is awaited then.
    fn head(&mut self, bytes: &[u8], limits: &Limits) -> Result<usize, Fault> {
        let Some(end) = self.end(bytes)? else {
            return match bytes.len() > limits.head {
                true => Err(too_large(bytes, limits)),
                false => Ok(0),
            };
        };
        self.searched = 0;
        if end > limits.head {
            return Err(too_large(bytes, limits));
        }
        let head = Head::read(&bytes[..end], limits)?;
        (self.opens, self.plain) = (head.opens, head.plain);
        self.at = match head.framing {
            _ if head.opens => At::Open,
            Framing::Length(0) => At::Head,
            Framing::Length(length) => At::Length(length),
            Framing::Chunked => At::Chunked(Chunks::new(limits.body)),
        };
        Ok(end)
    }

    /// Where the head ends. Only what is new is searched.
    fn end(&mut self, bytes: &[u8]) -> Result<Option<usize>, Fault> {
        for feed in memchr_iter(b'\n', &bytes[self.searched..]).map(|feed| feed + self.searched) {
            match bytes[..feed] {
                [.., b'\r', b'\n', b'\r'] => {
                    self.searched = 0;
                    return Ok(Some(feed + 1));
                }
                [.., b'\r'] => {}
                _ => return Err(Fault::unclear("a line of the head does not end with carriage return and line feed")),
            }
        }
        self.searched = bytes.len();
        Ok(None)
    }

    fn body(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        let (cleared, done) = match &mut self.at {
            At::Head => (0, false),
            At::Open => (bytes.len(), false),
            At::Length(left) => {
                let cleared = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= cleared as u64;
                (cleared, *left == 0)
            }
            At::Chunked(chunks) => (chunks.clear(bytes)?, chunks.is_done()),
        };
        if done {
            self.at = At::Head;
        }
        Ok(cleared)
    }
}

/// Which part of a head is too large.
fn too_large(bytes: &[u8], limits: &Limits) -> Fault {
    match memchr::memchr(b'\n', bytes).is_none_or(|end| end > limits.head) {
        true => Fault::long_target(),
        false => Fault::large_head("the headers are larger than this gateway takes"),
    }
}
