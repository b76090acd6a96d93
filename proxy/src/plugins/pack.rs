//! Packing an answer's body with what pingora ships, behind our own decision.
//!
//! Its coder is sound; what stands around it is not, for us: it takes `gzip;q=0` for a wish, does not know `no-transform`,
//! and in the place where it is offered (`upstream_compression`) it panics when an answer that it has begun with is
//! replaced by a fallback. So it is told one coding, on the way to the client, after there is no other answer any more.

use bytes::Bytes;
use ficus_rules::plugin::Compression;
use ficus_rules::plugin::compression::{AnswerHead, Coding, Packing};
use http::{Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::compression::{Algorithm, ResponseCompressionCtx};

use super::apply::{Headers as _, apply};
use crate::asked::Asked;

/// How hard each coder tries: what a request can wait for.
const LEVELS: [(Coding, Algorithm, u32); 3] =
    [(Coding::Brotli, Algorithm::Brotli, 4), (Coding::Zstd, Algorithm::Zstd, 3), (Coding::Gzip, Algorithm::Gzip, 5)];

/// A body that is being packed.
pub(crate) struct Packer {
    coder: ResponseCompressionCtx,
    ended: bool,
}

impl Packer {
    /// Decides by both heads, and changes the answer's when its body is to be packed.
    pub(crate) fn begin(packs: &Compression, asked: &Asked, request: &RequestHeader, head: &mut ResponseHeader) -> Option<Packer> {
        if request.version < Version::HTTP_11 {
            // A body of unknown length would end with the connection.
            return None;
        }
        let said = |name: header::HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok());
        let answer = AnswerHead {
            status: head.status.as_u16(),
            content_type: said(header::CONTENT_TYPE),
            length: said(header::CONTENT_LENGTH).and_then(|length| length.parse().ok()),
            coded: head.headers.contains_key(header::CONTENT_ENCODING),
            ranged: head.headers.contains_key(header::CONTENT_RANGE),
            cache_control: said(header::CACHE_CONTROL),
        };
        let coding = match packs.of(asked, &answer) {
            Packing::Untouched => return None,
            Packing::Varies => None,
            Packing::Packed(coding) => Some(coding),
        };
        apply(&[ficus_rules::plugin::HeaderChange::Vary("accept-encoding".to_owned())], head);
        let (coding, algorithm, level) = LEVELS.into_iter().find(|(known, ..)| Some(*known) == coding)?;
        let mut wish = RequestHeader::build("GET", b"/", Some(1)).ok()?;
        wish.set("accept-encoding", coding.as_str());
        let mut coder = ResponseCompressionCtx::new(0, false, false);
        coder.adjust_algorithm_level(algorithm, level);
        coder.request_filter(&wish);
        coder.response_header_filter(head, false);
        if !coder.is_enabled() {
            return None;
        }
        if request.version == Version::HTTP_2 {
            head.remove_header(&header::TRANSFER_ENCODING);
        }
        // It speaks of the bytes that are no longer sent.
        head.remove_header("content-md5");
        head.remove_header("digest");
        head.remove_header("content-digest");
        Some(Packer { coder, ended: false })
    }

    /// Replaces a piece by what is packed of it.
    pub(crate) fn pack(&mut self, piece: &mut Option<Bytes>, end: bool) {
        if self.ended {
            return;
        }
        self.ended = end;
        if piece.is_some() || end {
            *piece = self.coder.response_body_filter(piece.as_ref(), end);
        }
    }
}
