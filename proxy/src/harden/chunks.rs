//! The framing of a chunked body, byte by byte and strictly (RFC 9112, 7.1). Looks only: nothing is changed or kept.

use super::fault::Fault;
use super::head;

/// Bytes of a line with a chunk's size. Extensions mean nothing to anybody, and are dropped behind us.
const SIZE_LINE: usize = 256;
/// Digits of a size, leading zeros with them.
const DIGITS: u32 = 15;
/// Bytes of all trailers. They are dropped behind us.
const TRAILERS: usize = 8 << 10;

/// Where in a chunked body.
#[derive(Debug)]
pub(super) struct Chunks {
    at: At,
    /// Bytes of data seen, and announced.
    size: u64,
    most: u64,
    /// The trailer line that is being read.
    trailer: Vec<u8>,
    trailers: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// In the digits of a size.
    Size {
        size: u64,
        digits: u32,
    },
    /// In an extension.
    Extension {
        size: u64,
        length: usize,
    },
    /// After the carriage return of a size line.
    SizeEnd {
        size: u64,
    },
    /// In data.
    Data {
        left: u64,
    },
    /// After data.
    DataReturn,
    /// After the carriage return after data.
    DataEnd,
    /// In a trailer, or at the empty line.
    Trailer,
    /// After the carriage return of a trailer line.
    TrailerEnd,
    Done,
}

impl Chunks {
    /// A body of at most so many bytes.
    pub(super) fn new(most: u64) -> Chunks {
        Chunks { at: At::Size { size: 0, digits: 0 }, size: 0, most, trailer: Vec::new(), trailers: 0 }
    }

    /// How many of these bytes belong to the body, which is over if that is not all of them.
    pub(super) fn clear(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        let mut seen = 0;
        while seen < bytes.len() && self.at != At::Done {
            if let At::Data { left } = self.at {
                let step = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - seen);
                seen += step;
                let left = left - step as u64;
                self.at = if left == 0 { At::DataReturn } else { At::Data { left } };
                continue;
            }
            self.at = self.next(bytes[seen])?;
            seen += 1;
        }
        Ok(seen)
    }

    /// Whether its end was seen.
    pub(super) fn is_done(&self) -> bool {
        self.at == At::Done
    }

    fn next(&mut self, byte: u8) -> Result<At, Fault> {
        match (self.at, byte) {
            (At::Size { size, digits }, _) if digits < DIGITS && byte.is_ascii_hexdigit() => {
                let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
                Ok(At::Size { size: size * 16 + digit, digits: digits + 1 })
            }
            (At::Size { size, digits: 1.. }, b'\r') | (At::Extension { size, .. }, b'\r') => Ok(At::SizeEnd { size }),
            (At::Size { size, digits: 1.. }, b';') => Ok(At::Extension { size, length: 0 }),
            (At::Extension { size, length }, b'\t' | 0x20..=0x7e | 0x80..) if length < SIZE_LINE => {
                Ok(At::Extension { size, length: length + 1 })
            }
            (At::SizeEnd { size: 0 }, b'\n') => Ok(At::Trailer),
            (At::SizeEnd { size }, b'\n') => self.announced(size),
            (At::DataReturn, b'\r') => Ok(At::DataEnd),
            (At::DataEnd, b'\n') => Ok(At::Size { size: 0, digits: 0 }),
            (At::Trailer, b'\r') => Ok(At::TrailerEnd),
            (At::Trailer, _) => {
                self.trailers += 1;
                if self.trailers > TRAILERS {
                    return Err(Fault::large_head("the trailers are larger than this gateway takes"));
                }
                self.trailer.push(byte);
                Ok(At::Trailer)
            }
            (At::TrailerEnd, b'\n') if self.trailer.is_empty() => Ok(At::Done),
            (At::TrailerEnd, b'\n') => {
                head::header(&self.trailer)?;
                self.trailer.clear();
                Ok(At::Trailer)
            }
            _ => Err(Fault::unclear("the chunks of the body are not understood")),
        }
    }

    fn announced(&mut self, left: u64) -> Result<At, Fault> {
        self.size = self.size.saturating_add(left);
        match self.size > self.most {
            true => Err(Fault::large_body()),
            false => Ok(At::Data { left }),
        }
    }
}
