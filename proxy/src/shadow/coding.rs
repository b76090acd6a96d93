//! Content codings of answers, undone for their comparison: gzip and deflate (RFC 9110, 8.4.1), one at a time. Bounded: a
//! small body that unpacks to a large one is given up as soon as it is too large.

use std::io::Read;

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

use super::{Dropped, LARGEST};

/// A body without its coding; `coding` is the header `Content-Encoding`.
pub(super) fn undo(coding: &str, body: &[u8]) -> Result<Vec<u8>, Dropped> {
    match coding.trim().to_ascii_lowercase().as_str() {
        "" | "identity" => Ok(body.to_vec()),
        // What was not sent has no coding.
        _ if body.is_empty() => Ok(Vec::new()),
        "gzip" | "x-gzip" => unpacked(MultiGzDecoder::new(body)),
        // The zlib format, says the RFC; some servers leave its two bytes of header out.
        "deflate" if has_zlib_header(body) => unpacked(ZlibDecoder::new(body)),
        "deflate" => unpacked(DeflateDecoder::new(body)),
        _ => Err(Dropped::Coding),
    }
}

/// Reads to the end, or until it is too large.
fn unpacked(packed: impl Read) -> Result<Vec<u8>, Dropped> {
    let mut body = Vec::new();
    let read = packed.take(LARGEST as u64 + 1).read_to_end(&mut body);
    match read {
        Ok(_) if body.len() > LARGEST => Err(Dropped::TooLarge),
        Ok(_) => Ok(body),
        Err(_) => Err(Dropped::Coding),
    }
}

/// Compression method 8, and a check by 31 (RFC 1950, 2.2).
fn has_zlib_header(body: &[u8]) -> bool {
    matches!(body, [first, second, ..] if first & 0x0f == 8 && (u16::from(*first) << 8 | u16::from(*second)) % 31 == 0)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write as _};

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::{Dropped, LARGEST, undo, unpacked};

    fn gzip(body: &[u8]) -> Vec<u8> {
        let mut packer = GzEncoder::new(Vec::new(), Compression::best());
        packer.write_all(body).expect("a vector takes all");
        packer.finish().expect("a vector takes all")
    }

    #[test]
    fn what_was_packed_comes_back() {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(b"body").expect("a vector takes all");
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::fast());
        raw.write_all(b"body").expect("a vector takes all");
        let deflated = [zlib.finish().expect("a vector takes all"), raw.finish().expect("a vector takes all")];
        assert!(deflated.iter().all(|packed| undo("Deflate", packed).is_ok_and(|body| body == b"body")));
        assert!(undo("x-gzip", &[gzip(b"bo"), gzip(b"dy")].concat()).is_ok_and(|body| body == b"body"));
        assert!(["", "identity"].iter().all(|none| undo(none, b"body").is_ok_and(|body| body == b"body")));
    }

    #[test]
    fn what_cannot_be_unpacked_is_dropped_with_a_reason() {
        let whole = gzip(b"a body");
        assert_eq!(undo("gzip", &whole[..whole.len() - 1]), Err(Dropped::Coding), "cut off");
        assert_eq!(undo("gzip", b"no gzip"), Err(Dropped::Coding));
        assert_eq!(undo("br", b"\x0b\x02\x80"), Err(Dropped::Coding));
        assert_eq!(undo("deflate, gzip", &whole), Err(Dropped::Coding));
    }

    #[test]
    fn a_bomb_is_given_up_at_the_bound() {
        assert!(undo("gzip", &gzip(&vec![0; LARGEST])).is_ok_and(|body| body.len() == LARGEST));
        let bomb = gzip(&vec![0; 64 << 20]);
        assert!(bomb.len() < LARGEST);
        assert_eq!(undo("gzip", &bomb), Err(Dropped::TooLarge));
        assert_eq!(unpacked(Endless(0)), Err(Dropped::TooLarge));
    }

    /// Zeros, of which nobody may take many more than fit.
    struct Endless(usize);

    impl Read for Endless {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            self.0 += into.len();
            assert!(self.0 < 2 * LARGEST + 64, "read on beyond the bound");
            into.fill(0);
            Ok(into.len())
        }
    }
}
