//! The frames in one direction of an HTTP/2 connection, as they pass by: their heads, and the size of window updates.
//! Changes nothing and refuses nothing; what they mean together is `conduct`'s business. Pure: no sockets, no clock.

/// The head of a frame (RFC 9113, 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) length: u32,
    pub(super) kind: Kind,
    pub(super) stream: u32,
    flags: u8,
    /// What a window update adds.
    pub(super) adds: u32,
}

/// The kinds of frames (RFC 9113, 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Data,
    Headers,
    Reset,
    Ping,
    GoAway,
    WindowUpdate,
    Continuation,
    /// Settings, priorities, promises, and what nobody knows.
    Other,
}

impl Frame {
    /// The last one that its sender sends on the stream.
    pub(super) fn ends_stream(&self) -> bool {
        matches!(self.kind, Kind::Data | Kind::Headers) && self.flags & 0x1 != 0
    }

    /// The last one of its header block.
    pub(super) fn ends_headers(&self) -> bool {
        matches!(self.kind, Kind::Headers | Kind::Continuation) && self.flags & 0x4 != 0
    }
}

/// The bytes before a frame.
const HEAD: usize = 9;
/// What a client begins with (RFC 9113, 3.4).
pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The place in one direction.
#[derive(Debug, Clone)]
pub(super) struct Frames {
    /// Bytes of a preface or payload that are passed over.
    skip: usize,
    /// The head to come, with the payload of a window update.
    head: [u8; HEAD + 4],
    have: usize,
    begun: bool,
    /// A header block has begun, and no other frame may stand in it (RFC 9113, 4.3).
    in_block: bool,
}

impl Frames {
    /// A client's direction begins with the preface, a server's with a frame.
    pub(super) fn new(of_client: bool) -> Frames {
        Frames { skip: if of_client { PREFACE.len() } else { 0 }, head: [0; HEAD + 4], have: 0, begun: !of_client, in_block: false }
    }

    /// Whether the preface has passed.
    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Whether another frame may stand after the last byte that passed.
    pub(super) fn is_between(&self) -> bool {
        self.skip == 0 && self.have == 0 && !self.in_block
    }

    /// Takes bytes that pass, and tells of each frame as soon as its head is complete, with the number of bytes that have passed
    /// then. The last place among these bytes after which another frame may stand, if there is one.
    pub(super) fn pass(&mut self, bytes: &[u8], mut tell: impl FnMut(Frame, usize)) -> Option<usize> {
        let (mut at, mut place) = (0, None);
        while at < bytes.len() {
            if self.skip > 0 {
                let passed = self.skip.min(bytes.len() - at);
                self.skip -= passed;
                at += passed;
                self.begun |= self.skip == 0;
            } else {
                let wanted = if self.have >= HEAD { HEAD + 4 } else { HEAD };
                let taken = (wanted - self.have).min(bytes.len() - at);
                self.head[self.have..self.have + taken].copy_from_slice(&bytes[at..at + taken]);
                self.have += taken;
                at += taken;
                if self.have < wanted {
                    return place;
                }
                let frame = self.read();
                if frame.kind == Kind::WindowUpdate && frame.length == 4 && self.have == HEAD {
                    // Its payload is wanted as well.
                    continue;
                }
                self.skip = frame.length as usize - (self.have - HEAD);
                self.have = 0;
                if matches!(frame.kind, Kind::Headers | Kind::Continuation) {
                    self.in_block = !frame.ends_headers();
                }
                tell(frame, at);
            }
            if self.is_between() {
                place = Some(at);
            }
        }
        place
    }

    fn read(&self) -> Frame {
        let [a, b, c, kind, flags, s @ .., w, x, y, z] = self.head;
        let kind = match kind {
            0 => Kind::Data,
            1 => Kind::Headers,
            3 => Kind::Reset,
            6 => Kind::Ping,
            7 => Kind::GoAway,
            8 => Kind::WindowUpdate,
            9 => Kind::Continuation,
            _ => Kind::Other,
        };
        let adds = if self.have > HEAD { u32::from_be_bytes([w, x, y, z]) & 0x7fff_ffff } else { 0 };
        Frame { length: u32::from_be_bytes([0, a, b, c]), kind, stream: u32::from_be_bytes(s) & 0x7fff_ffff, flags, adds }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Frames, Kind, PREFACE};

    #[test]
    fn frames_are_told_however_the_bytes_are_cut() {
        let mut bytes = PREFACE.to_vec();
        bytes.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]);
        bytes.extend([0, 0, 3, 1, 5, 0, 0, 0, 1, b'a', b'b', b'c']);
        bytes.extend([0, 0, 4, 8, 0, 0, 0, 0, 1, 0, 1, 0, 0]);
        bytes.extend([0, 0, 2, 0, 0, 0, 0, 0, 1, 9, 9]);
        for size in 1..bytes.len() {
            let (mut frames, mut told) = (Frames::new(true), Vec::new());
            for piece in bytes.chunks(size) {
                frames.pass(piece, |frame, _| told.push((frame.kind, frame.stream, frame.length, frame.adds, frame.ends_stream())));
            }
            let wanted = [
                (Kind::Other, 0, 0, 0, false),
                (Kind::Headers, 1, 3, 0, true),
                (Kind::WindowUpdate, 1, 4, 65_536, false),
                (Kind::Data, 1, 2, 0, false),
            ];
            assert_eq!(told, wanted, "in pieces of {size}");
            assert!(frames.is_between());
        }
    }

    proptest! {
        /// By where the frames were put, and which of them leave a header block open.
        #[test]
        fn the_places_between_frames_are_found_wherever_the_bytes_are_cut(
            frames in prop::collection::vec((0u8..10, any::<u8>(), 0u8..20), 1..20),
            cuts in prop::collection::vec(1usize..60, 1..20),
        ) {
            let (mut bytes, mut places, mut open) = (Vec::new(), Vec::new(), false);
            for (kind, flags, length) in frames {
                bytes.extend([0, 0, length, kind, flags, 0, 0, 0, 1]);
                bytes.extend(vec![0xff; usize::from(length)]);
                open = if matches!(kind, 1 | 9) { flags & 0x4 == 0 } else { open };
                places.extend(Some(bytes.len()).filter(|_| !open));
            }
            let (mut read, mut at, mut cuts) = (Frames::new(false), 0, cuts.into_iter().cycle());
            while at < bytes.len() {
                let to = bytes.len().min(at + cuts.next().unwrap_or(1));
                let wanted = places.iter().rfind(|place| (at + 1..=to).contains(*place)).map(|place| place - at);
                prop_assert_eq!(read.pass(&bytes[at..to], |_, _| {}), wanted);
                prop_assert_eq!(read.is_between(), wanted == Some(to - at));
                at = to;
            }
        }
    }
}
