//! The raw bytes of a head, read once and strictly (RFC 9112, 2 to 6): what the parser behind would repair in silence is
//! a fault here, because the next server might repair it in another way. Says how the body is framed; everything that can
//! be seen in the parsed head as well is the business of `harden`.

use http::StatusCode;
use memchr::memchr;

use super::fault::Fault;
use crate::config::Limits;

/// What a head says about the bytes after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) framing: Framing,
    /// It asks for a WebSocket: what comes after it may be a tunnel.
    pub(super) opens: bool,
    /// It asks for a resource of this server by HTTP/1.1, and for nothing else: no body, no other protocol, no word ahead of
    /// the answer.
    pub(super) plain: bool,
}

/// How a body is framed. There is one way to say each, so that no two readers can differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes, perhaps none.
    Length(u64),
    Chunked,
}

/// The headers that say how a request is framed.
#[derive(Default)]
struct Said<'a> {
    length: Option<u64>,
    coding: Option<&'a [u8]>,
    websocket: bool,
    upgrade: bool,
    /// Of another protocol, or of an answer ahead of the answer.
    wishes: bool,
}

impl Head {
    /// Reads a head up to and with its empty line. An empty line before it is passed over (RFC 9112, 2.2).
    pub(super) fn read(raw: &[u8], limits: &Limits) -> Result<Head, Fault> {
        let (first, mut rest) = line(raw.strip_prefix(b"\r\n").unwrap_or(raw));
        let (method, modern) = request_line(first, limits)?;
        let (mut said, mut count) = (Said::default(), 0);
        loop {
            let (field, after) = line(rest);
            if field.is_empty() {
                break;
            }
            count += 1;
            if count > limits.headers {
                return Err(Fault::large_head("there are too many headers"));
            }
            let (name, value) = header(field)?;
            said.hear(name, value)?;
            rest = after;
        }
        let framing = said.framing(modern)?;
        if matches!(framing, Framing::Length(length) if length > limits.body) {
            return Err(Fault::large_body());
        }
        let opens = said.websocket && said.upgrade && modern && method == b"GET" && framing == Framing::Length(0);
        let asks = matches!(method, b"GET" | b"HEAD") && first[method.len() + 1] == b'/';
        let plain = asks && modern && !said.wishes && said.coding.is_none() && said.length.is_none();
        Ok(Head { framing, opens, plain })
    }
}

impl<'a> Said<'a> {
    fn hear(&mut self, name: &[u8], value: &'a [u8]) -> Result<(), Fault> {
        match name.len() {
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                once(self.length.replace(length(value)?).is_none(), "more than one Content-Length")?
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                once(self.coding.replace(value).is_none(), "more than one Transfer-Encoding")?
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                self.wishes = true;
                self.websocket = value.eq_ignore_ascii_case(b"websocket");
            }
            6 if name.eq_ignore_ascii_case(b"expect") => self.wishes = true,
            10 if name.eq_ignore_ascii_case(b"connection") => {
                self.upgrade |= value.split(|byte| *byte == b',').any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"));
            }
            _ => {}
        }
        Ok(())
    }

    /// `modern`: HTTP/1.1. A transfer coding in HTTP/1.0 is faulty (RFC 9112, 6.1).
    fn framing(&self, modern: bool) -> Result<Framing, Fault> {
        match (self.coding, self.length) {
            (None, length) => Ok(Framing::Length(length.unwrap_or(0))),
            (Some(_), Some(_)) => Err(Fault::unclear("Content-Length and Transfer-Encoding exclude each other")),
            (Some(_), None) if !modern => Err(Fault::unclear("HTTP/1.0 has no Transfer-Encoding")),
            (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
            (Some(coding), None) => Err(other_coding(coding)),
        }
    }
}

fn once(first: bool, otherwise: &'static str) -> Result<(), Fault> {
    if first { Ok(()) } else { Err(Fault::unclear(otherwise)) }
}

/// 501 for codings that exist and are not spoken here, 400 for what is no sane list ending in `chunked`.
fn other_coding(coding: &[u8]) -> Fault {
    let mut codings: Vec<&[u8]> = coding.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).collect();
    let last = codings.pop().unwrap_or_default();
    let known = |coding: &&[u8]| {
        [&b"gzip"[..], b"x-gzip", b"deflate", b"compress", b"x-compress"].iter().any(|known| coding.eq_ignore_ascii_case(known))
    };
    match last.eq_ignore_ascii_case(b"chunked") && !codings.is_empty() && codings.iter().all(known) {
        true => Fault::other(StatusCode::NOT_IMPLEMENTED, "coding", "chunked is the only transfer coding served here"),
        false => Fault::unclear("the Transfer-Encoding is not understood"),
    }
}

/// The line before the next line feed, without its end, and what comes after. Every line feed is known to have its
/// carriage return.
fn line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr(b'\n', bytes).unwrap_or(bytes.len());
    (&bytes[..end.saturating_sub(1)], bytes.get(end + 1..).unwrap_or_default())
}

/// The method, and whether the version is 1.1.
fn request_line<'a>(line: &'a [u8], limits: &Limits) -> Result<(&'a [u8], bool), Fault> {
    let mut parts = line.splitn(3, |byte| *byte == b' ');
    let (method, target, version) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if !is_token(method) {
        return Err(Fault::unclear("the method is not understood"));
    }
    if target.len() > limits.target {
        return Err(Fault::long_target());
    }
    let strange = target.iter().fold(false, |strange, byte| strange | !matches!(byte, 0x21..=0x7e) | (*byte == b'#'));
    if target.is_empty() || strange {
        return Err(Fault::unclear("the target has a character that must be escaped"));
    }
    let modern = match version {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
            return Err(Fault::other(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "version", "HTTP/1.1 is spoken here"));
        }
        _ => return Err(Fault::unclear("the request line is not understood")),
    };
    match method == b"CONNECT" {
        true => Err(Fault::other(StatusCode::METHOD_NOT_ALLOWED, "method", "this method is not served here")),
        false => Ok((method, modern)),
    }
}

/// Name and trimmed value of a header line. Trailers are read by the same rule.
pub(super) fn header(line: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    let colon = memchr(b':', line).ok_or(Fault::unclear("a header has no colon"))?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if !is_token(name) {
        return Err(Fault::unclear("the name of a header has a character that names do not have"));
    }
    let strange = value.iter().fold(false, |strange, byte| strange | ((*byte < b' ') & (*byte != b'\t')) | (*byte == 0x7f));
    match strange {
        true => Err(Fault::unclear("the value of a header has a control character")),
        false => Ok((name, trimmed(value))),
    }
}

/// Without the white space that may stand round a value: spaces and tabs, and nothing else.
fn trimmed(value: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !blank(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    &value[start..end]
}

/// Digits and nothing else (RFC 9110, 8.6); eighteen of them are enough for anybody.
fn length(value: &[u8]) -> Result<u64, Fault> {
    let digits = !value.is_empty() && value.len() <= 18 && value.iter().all(u8::is_ascii_digit);
    match digits {
        true => Ok(value.iter().fold(0, |length, digit| length * 10 + u64::from(digit - b'0'))),
        false => Err(Fault::unclear("the Content-Length is not a number")),
    }
}

/// RFC 9110, 5.6.2.
fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().fold(true, |token, byte| token & TOKEN[usize::from(*byte)])
}

const TOKEN: [bool; 256] = {
    let (mut table, mut byte) = ([false; 256], 0);
    while byte < 128 {
        #[allow(clippy::cast_possible_truncation, reason = "below 128")]
        let one = byte as u8;
        table[byte] = one.is_ascii_alphanumeric()
            || matches!(one, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~');
        byte += 1;
    }
    table
};
