//! Request lines.

use super::{Row, closed, forwarded, get, refused, row};

pub(super) fn rows() -> Vec<Row> {
    let host = b"Host: a.test\r\n\r\n";
    let line = |line: &[u8]| [line, &host[..]].concat();
    let refusals: [(&str, &[u8], u16); 31] = [
        ("no version", b"GET /a\r\n", 400),
        ("two spaces after the method", b"GET  /a HTTP/1.1\r\n", 400),
        ("two spaces before the version", b"GET /a  HTTP/1.1\r\n", 400),
        ("space before the method", b" GET /a HTTP/1.1\r\n", 400),
        ("tab for space", b"GET\t/a\tHTTP/1.1\r\n", 400),
        ("vertical tab for space", b"GET\x0b/a\x0bHTTP/1.1\r\n", 400),
        ("space at the end", b"GET /a HTTP/1.1 \r\n", 400),
        ("tab at the end", b"GET /a HTTP/1.1\t\r\n", 400),
        ("space in the target", b"GET /a b HTTP/1.1\r\n", 400),
        ("a whole line in the target", b"GET /a HTTP/1.1 HTTP/1.1\r\n", 400),
        ("carriage return in the target", b"GET /a\rb HTTP/1.1\r\n", 400),
        ("two carriage returns", b"GET /a HTTP/1.1\r\r\n", 400),
        ("NUL in the target", b"GET /a\0b HTTP/1.1\r\n", 400),
        ("NUL in the method", b"G\0ET /a HTTP/1.1\r\n", 400),
        ("a method that is no token", b"G@T /a HTTP/1.1\r\n", 400),
        ("a method in quotes", b"\"GET\" /a HTTP/1.1\r\n", 400),
        ("a method with a colon", b"GET: /a HTTP/1.1\r\n", 400),
        ("no method", b"/a HTTP/1.1\r\n", 400),
        ("nothing but a space", b" \r\n", 400),
        ("a lower-case protocol", b"GET /a http/1.1\r\n", 400),
        ("another protocol", b"GET /a HTCPCP/1.0\r\n", 400),
        ("a version without its point", b"GET /a HTTP/11\r\n", 400),
        ("a version with a comma", b"GET /a HTTP/1,1\r\n", 400),
        ("a version of two digits", b"GET /a HTTP/1.10\r\n", 400),
        ("a version with a leading zero", b"GET /a HTTP/01.1\r\n", 400),
        ("a negative version", b"GET /a HTTP/-1.1\r\n", 400),
        ("version 0.9", b"GET /a HTTP/0.9\r\n", 505),
        ("version 1.2", b"GET /a HTTP/1.2\r\n", 505),
        ("version 2.0 in the clothes of 1.1", b"GET /a HTTP/2.0\r\n", 505),
        ("TRACE", b"TRACE /a HTTP/1.1\r\n", 405),
        ("CONNECT", b"CONNECT a.test:443 HTTP/1.1\r\n", 405),
    ];
    let mut rows: Vec<Row> = refusals.iter().map(|(name, first, status)| row(name, line(first), refused(*status))).collect();
    let forwards: [&[u8]; 6] = [b"GET", b"HEAD", b"OPTIONS", b"PROPFIND", b"get", b"M-SEARCH"];
    for method in forwards {
        let name = format!("method {}", String::from_utf8_lossy(method));
        let read = matches!(method, b"GET" | b"HEAD" | b"OPTIONS");
        let seen = [method, b" /a HTTP/1.1\r\nHost: a.test\r\n", if read { &b""[..] } else { b"Connection: close\r\n" }, b"\r\n"].concat();
        rows.push(row(&name, [method, b" /a HTTP/1.1\r\n", &host[..]].concat(), forwarded(seen)));
    }
    rows.extend([
        row("a bare line feed after the request line", b"GET /a HTTP/1.1\nHost: a.test\r\n\r\n", refused(400)),
        row("bare line feeds all through", b"GET /a HTTP/1.1\nHost: a.test\n\n", refused(400)),
        row("a bare line feed before the request line", b"\nGET /a HTTP/1.1\r\nHost: a.test\r\n\r\n", refused(400)),
        row("an empty line before the request line", [b"\r\n", &get("")[..]].concat(), forwarded(get(""))),
        row("two empty lines before the request line", [b"\r\n\r\n", &get("")[..]].concat(), refused(400)),
        row("HTTP/0.9 as it was", b"GET /a\r\n\r\n", refused(400)),
        row("HTTP/1.0 without a host", b"GET /a HTTP/1.0\r\n\r\n", forwarded(&b"GET /a HTTP/1.1\r\nHost: upstream\r\n\r\n"[..])),
        row("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", refused(505)),
        row("the greeting of TLS", b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00\n", refused(400)),
        row("the PROXY protocol", [b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", &get("")[..]].concat(), refused(400)),
        row("a long method", [&[b'A'; 70_000][..], b" / HTTP/1.1\r\nHost: a.test\r\n\r\n"].concat(), refused(414)),
        row("half a head", b"GET /a HTTP/1.1\r\nHost: a.te", closed()),
        row("nothing at all", b"", closed()),
    ]);
    rows
}
