//! How the names of an answer's headers were spelled: they go on as they came, though maps of headers know small letters only.

use bytes::{BufMut as _, Bytes, BytesMut};
use http::header;
use pingora::http::ResponseHeader;

/// The names of a head in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Spelled {
    raw: Bytes,
    names: Vec<(usize, usize)>,
}

impl Spelled {
    /// Of a head whose names are pieces of `raw`.
    pub(super) fn of(raw: &Bytes, names: impl ExactSizeIterator<Item = (usize, usize)>) -> Spelled {
        Spelled { raw: raw.clone(), names: names.collect() }
    }

    /// Writes a head's lines. `ours`: `Connection` is said by the gateway.
    pub(super) fn put(&self, text: &mut BytesMut, head: &ResponseHeader, ours: bool) {
        let mut line = |name: &[u8], value: &[u8]| {
            text.reserve(name.len() + value.len() + 4);
            text.put_slice(name);
            text.put_slice(b": ");
            text.put_slice(value);
            text.put_slice(b"\r\n");
        };
        let is_ours = |name: &header::HeaderName| ours && *name == header::CONNECTION;
        if head.has_case() {
            for ((spelled, value), name) in head.case_header_iter().zip(head.headers.iter().map(|(name, _)| name)) {
                if !is_ours(name) {
                    line(spelled.as_slice(), value.as_bytes());
                }
            }
            return;
        }
        let mut at = 0;
        for (name, value) in head.headers.iter().filter(|(name, _)| !is_ours(name)) {
            line(self.find(name.as_str(), &mut at), value.as_bytes());
        }
    }

    /// How a name was spelled. They are mostly asked for in the order in which they came: it is looked for from `at` on.
    fn find<'a>(&'a self, name: &'a str, at: &mut usize) -> &'a [u8] {
        for step in 0..self.names.len() {
            let index = (*at + step) % self.names.len();
            let (start, length) = self.names[index];
            let spelled = &self.raw[start..start + length];
            if length == name.len() && spelled.eq_ignore_ascii_case(name.as_bytes()) {
                *at = index + 1;
                return spelled;
            }
        }
        name.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use pingora::http::ResponseHeader;

    use super::Spelled;

    #[test]
    fn names_go_on_as_they_came_in_any_order() {
        let raw = Bytes::from_static(b"X-One ETag Date Set-Cookie");
        let spelled = Spelled::of(&raw, [(0, 5), (6, 4), (11, 4), (16, 10)].into_iter());
        let mut head = ResponseHeader::build_no_case(200, None).expect("a head");
        let lines = [("set-cookie", "a"), ("x-new", "b"), ("connection", "x"), ("date", "c"), ("etag", "d"), ("x-one", "e")];
        for (name, value) in lines.into_iter().chain([("set-cookie", "f")]) {
            head.append_header(name, value).expect("a header");
        }
        let mut text = BytesMut::new();
        spelled.put(&mut text, &head, true);
        assert_eq!(text, "Set-Cookie: a\r\nSet-Cookie: f\r\nx-new: b\r\nDate: c\r\nETag: d\r\nX-One: e\r\n");
        text.clear();
        spelled.put(&mut text, &head, false);
        assert!(text.ends_with(b"connection: x\r\nDate: c\r\nETag: d\r\nX-One: e\r\n"));
    }

    #[test]
    fn what_we_say_ourselves_is_spelled_as_we_say_it() {
        let mut head = ResponseHeader::build(503, None).expect("a head");
        head.append_header("Retry-After", "1").expect("a header");
        head.append_header("connection", "c").expect("a header");
        let mut text = BytesMut::new();
        Spelled::default().put(&mut text, &head, true);
        assert_eq!(text, "Retry-After: 1\r\n");
    }
}
