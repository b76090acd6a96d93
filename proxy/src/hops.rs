//! What a message says of the connection that it came by, and of no other: that goes no further (RFC 9110, 7.6.1).

use http::header::{self, HeaderMap, HeaderName};
use pingora::http::ResponseHeader;
use pingora::{Error, ErrorType, Result};

/// Of one connection by their nature.
fn is_of_one_hop(name: &str) -> bool {
    matches!(name, "connection" | "keep-alive" | "proxy-connection" | "te" | "trailer" | "transfer-encoding" | "upgrade" | "http2-settings")
        || matches!(name, "proxy-authenticate" | "proxy-authorization")
}

/// What nobody can take out on the way by naming it: the server's decisions hang on it.
const STAYS: [&str; 4] = ["host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];
/// Names in `Connection` at most.
const NAMED: usize = 9;

/// Takes them out of a request.
///
/// # Errors
/// `Connection` names too many headers, one that stays, or what is no name.
pub(crate) fn strip(headers: &mut HeaderMap) -> Result<()> {
    let mut named = Vec::new();
    for name in options(headers) {
        if name.eq_ignore_ascii_case(b"keep-alive") || name.eq_ignore_ascii_case(b"close") {
            continue;
        }
        let name = HeaderName::from_bytes(name).map_err(|_| faulty())?;
        if STAYS.contains(&name.as_str()) || named.len() == NAMED {
            return Err(faulty());
        }
        named.push(name);
    }
    let of_one_hop = headers.keys().filter(|name| is_of_one_hop(name.as_str())).cloned();
    for name in of_one_hop.chain(named).collect::<Vec<_>>() {
        headers.remove(&name);
    }
    Ok(())
}

/// Takes them out of an answer, but for how its body is framed: whoever writes it frames it anew, and is told by that whether its
/// length is known.
pub(crate) fn strip_answer(head: &mut ResponseHeader) {
    if !head.headers.keys().any(|name| is_of_one_hop(name.as_str()) && !frames(name)) {
        return;
    }
    for name in of_one_hop(&head.headers).filter(|name| !frames(name)).collect::<Vec<_>>() {
        head.remove_header(&name);
    }
}

/// The names in a head that are of one connection: by their nature, or because `Connection` names them.
pub(crate) fn of_one_hop(headers: &HeaderMap) -> impl Iterator<Item = HeaderName> {
    let named = options(headers).filter_map(|name| HeaderName::from_bytes(name).ok());
    headers.keys().filter(|name| is_of_one_hop(name.as_str())).cloned().chain(named)
}

/// What `Connection` says, one by one.
fn options(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(header::CONNECTION).into_iter();
    lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii).filter(|name| !name.is_empty())
}

/// Whether a header says how long a body is.
fn frames(name: &HeaderName) -> bool {
    *name == header::TRANSFER_ENCODING || *name == header::CONTENT_LENGTH
}

fn faulty() -> Box<Error> {
    Error::explain(ErrorType::InvalidHTTPHeader, "the Connection header names what cannot be taken out")
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};
    use pingora::http::ResponseHeader;

    use super::{strip, strip_answer};

    /// The names that are left of a head, if it is taken.
    fn left(lines: &[(&'static str, &str)]) -> Option<Vec<String>> {
        let line = |(name, value): &(&'static str, &str)| {
            (HeaderName::try_from(*name).expect("a name"), HeaderValue::try_from(*value).expect("a value"))
        };
        let mut headers = HeaderMap::new();
        lines.iter().map(line).for_each(|(name, value)| _ = headers.append(name, value));
        strip(&mut headers).ok()?;
        Some(headers.keys().map(ToString::to_string).collect())
    }

    #[test]
    fn what_speaks_of_one_connection_goes_no_further() {
        let of_one_hop = ["Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Upgrade", "Proxy-Authorization", "HTTP2-Settings"];
        for name in of_one_hop {
            assert_eq!(left(&[("host", "a"), (name, "x")]), Some(vec!["host".to_owned()]), "{name}");
        }
        assert_eq!(left(&[("host", "a"), ("connection", "keep-alive"), ("accept", "*/*")]), Some(vec!["host".into(), "accept".into()]));
        let named = [("host", "a"), ("connection", "close, X-Secret ,, x-other"), ("x-secret", "1"), ("x-other", "2"), ("x-third", "3")];
        assert_eq!(left(&named), Some(vec!["host".into(), "x-third".into()]));
    }

    #[test]
    fn an_answer_keeps_what_frames_it_and_loses_what_speaks_of_its_connection() {
        let cases: [(&[(&'static str, &str)], &str); 5] = [
            (&[("connection", "Upgrade, Keep-Alive"), ("keep-alive", "timeout=5"), ("upgrade", "h2,h2c"), ("etag", "a")], "etag"),
            (&[("trailer", "x-sum"), ("proxy-connection", "close"), ("transfer-encoding", "chunked")], "transfer-encoding"),
            (&[("connection", "close, X-Hop,, x-other"), ("x-hop", "1"), ("x-hop", "2"), ("x-other", "3"), ("x-third", "4")], "x-third"),
            (&[("connection", "content-length, \"x\", transfer-encoding"), ("content-length", "2")], "content-length"),
            (&[("date", "d")], "date"),
        ];
        for (lines, left) in cases {
            let mut head = ResponseHeader::build(200, None).expect("a head");
            lines.iter().for_each(|(name, value)| head.append_header(*name, *value).map(drop).expect("a header"));
            strip_answer(&mut head);
            assert_eq!(head.headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), [left], "{lines:?}");
        }
    }

    #[test]
    fn nobody_takes_out_what_a_server_decides_by() {
        for name in ["host", "X-Forwarded-For", "x-forwarded-host", "x-forwarded-proto", "a b", ":authority", "\"x\""] {
            assert_eq!(left(&[("host", "a"), ("connection", name)]), None, "{name}");
        }
        let many = |count| (0..count).map(|number| format!("x-{number}")).collect::<Vec<_>>().join(",");
        assert!(left(&[("connection", &many(9))]).is_some());
        assert_eq!(left(&[("connection", &many(10))]), None);
    }
}
