//! Chunked bodies. The head has been sent on when a fault is found in one, but never a complete request.

use super::{Row, Want, chunked, forwarded, post, refused, row};

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";
const HIDDEN: &[u8] = b"GET /hidden HTTP/1.1\r\nHost: a.test\r\n\r\n";

pub(super) fn rows() -> Vec<Row> {
    let refusals: [(&str, &[u8], u16); 42] = [
        ("a size with a prefix", b"0x3\r\nabc\r\n0\r\n\r\n", 400),
        ("a size with a sign", b"+3\r\nabc\r\n0\r\n\r\n", 400),
        ("a negative size", b"-3\r\nabc\r\n0\r\n\r\n", 400),
        ("a size with a space before it", b" 3\r\nabc\r\n0\r\n\r\n", 400),
        ("a size with a space after it", b"3 \r\nabc\r\n0\r\n\r\n", 400),
        ("a size with a tab after it", b"3\t\r\nabc\r\n0\r\n\r\n", 400),
        ("a size with an underscore", b"0_3\r\nabc\r\n0\r\n\r\n", 400),
        ("a size with NUL", b"3\0\r\nabc\r\n0\r\n\r\n", 400),
        ("a size with another letter", b"3g\r\nabc\r\n0\r\n\r\n", 400),
        ("a size of 64 bits and three more", b"10000000000000003\r\nabc\r\n0\r\n\r\n", 400),
        ("a size of 64 bits", b"ffffffffffffffff\r\nabc\r\n0\r\n\r\n", 400),
        ("a size of 32 bits and three more", b"100000003\r\nabc\r\n0\r\n\r\n", 413),
        ("a size above the limit", b"fffffffff\r\nabc\r\n0\r\n\r\n", 413),
        ("a size of zeros", b"0000000000000000000003\r\nabc\r\n0\r\n\r\n", 400),
        ("no size", b"\r\nabc\r\n0\r\n\r\n", 400),
        ("an extension without a size", b";a=b\r\nabc\r\n0\r\n\r\n", 400),
        ("a list of sizes", b"3,3\r\nabc\r\n0\r\n\r\n", 400),
        ("a line feed after the size", b"3\nabc\r\n0\r\n\r\n", 400),
        ("a carriage return after the size", b"3\rabc\r\n0\r\n\r\n", 400),
        ("two carriage returns after the size", b"3\r\r\nabc\r\n0\r\n\r\n", 400),
        ("a line feed after the data", b"3\r\nabc\n0\r\n\r\n", 400),
        ("a carriage return after the data", b"3\r\nabc\r0\r\n\r\n", 400),
        ("nothing after the data", b"3\r\nabc0\r\n\r\n", 400),
        ("more data than the size says", b"3\r\nabcd\r\n0\r\n\r\n", 400),
        ("less data than the size says", b"4\r\nabc\r\n0\r\n\r\n", 400),
        ("two line ends after the data", b"3\r\nabc\r\n\r\n0\r\n\r\n", 400),
        ("line feeds all through", b"3\nabc\n0\n\n", 400),
        ("a line feed after the last size", b"3\r\nabc\r\n0\n\r\n", 400),
        ("a line feed at the end", b"3\r\nabc\r\n0\r\n\n", 400),
        ("a carriage return at the end", b"3\r\nabc\r\n0\r\n\rX", 400),
        ("a line feed in an extension", b"3;a\nb\r\nabc\r\n0\r\n\r\n", 400),
        ("a line feed that ends an extension", b"3;a\nabc\r\n0\r\n\r\n", 400),
        ("a carriage return in an extension", b"3;a\rb\r\nabc\r\n0\r\n\r\n", 400),
        ("NUL in an extension", b"3;a\0b\r\nabc\r\n0\r\n\r\n", 400),
        ("a space before an extension", b"3 ;a\r\nabc\r\n0\r\n\r\n", 400),
        ("a line feed in the last extension", b"3\r\nabc\r\n0;a\n\r\n", 400),
        ("a trailer without a colon", b"3\r\nabc\r\n0\r\nX-A\r\n\r\n", 400),
        ("a trailer with a space before its colon", b"3\r\nabc\r\n0\r\nX-A : b\r\n\r\n", 400),
        ("a trailer with a line feed", b"3\r\nabc\r\n0\r\nX-A: b\n\r\n\r\n", 400),
        ("a trailer with NUL", b"3\r\nabc\r\n0\r\nX-A: \0\r\n\r\n", 400),
        ("a folded trailer", b"3\r\nabc\r\n0\r\nX-A: b\r\n c\r\n\r\n", 400),
        ("a request for a trailer", b"3\r\nabc\r\n0\r\nGET /hidden HTTP/1.1\r\nHost: a.test\r\n\r\n", 400),
    ];
    let mut rows: Vec<Row> =
        refusals.iter().map(|(name, body, status)| row(name, post(CHUNKED, [*body, HIDDEN].concat()), refused(*status))).collect();
    let abc = || chunked("3\r\nabc\r\n0\r\n\r\n");
    let forwards: [(&str, &[u8]); 8] = [
        ("one chunk", b"3\r\nabc\r\n0\r\n\r\n"),
        ("leading zeros", b"0003\r\nabc\r\n000\r\n\r\n"),
        ("an extension", b"3;a=b\r\nabc\r\n0\r\n\r\n"),
        ("an extension in quotes", b"3;a=\"b c\"\r\nabc\r\n0\r\n\r\n"),
        ("an extension of the last chunk", b"3\r\nabc\r\n0;a\r\n\r\n"),
        ("an empty extension", b"3;\r\nabc\r\n0\r\n\r\n"),
        ("a trailer", b"3\r\nabc\r\n0\r\nX-A: b\r\n\r\n"),
        ("a trailer that frames", b"3\r\nabc\r\n0\r\nContent-Length: 30\r\nTransfer-Encoding: gzip\r\n\r\n"),
    ];
    rows.extend(forwards.iter().map(|(name, body)| row(name, post(CHUNKED, body), forwarded(abc()))));
    let capitals = "Transfer-Encoding: CHUNKED\r\n";
    let long = |length: usize| [b"3;", &vec![b'a'; length][..], b"\r\nabc\r\n0\r\n\r\n"].concat();
    let trailers = |count: usize| format!("3\r\nabc\r\n0\r\n{}\r\n", "X-A: bcdefg\r\n".repeat(count));
    let two = Want { answers: vec![200, 200], seen: vec![abc(), HIDDEN.to_vec()] };
    rows.extend([
        row("no data", post(CHUNKED, "0\r\n\r\n"), forwarded(chunked("0\r\n\r\n"))),
        row("two chunks", post(CHUNKED, "1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"), forwarded(chunked("1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"))),
        row("a size in letters", post(CHUNKED, "A\r\n0123456789\r\n0\r\n\r\n"), forwarded(chunked("A\r\n0123456789\r\n0\r\n\r\n"))),
        row("data that look like an end", post(CHUNKED, "5\r\n0\r\n\r\n\r\n0\r\n\r\n"), forwarded(chunked("5\r\n0\r\n\r\n\r\n0\r\n\r\n"))),
        row("CHUNKED", post(capitals, "3\r\nabc\r\n0\r\n\r\n"), forwarded(chunked("3\r\nabc\r\n0\r\n\r\n"))),
        row("a long extension", post(CHUNKED, long(200)), forwarded(abc())),
        row("an extension that is too long", post(CHUNKED, long(300)), refused(400)),
        row("an extension of 1 MB", post(CHUNKED, long(1_000_000)), refused(400)),
        row("many trailers", post(CHUNKED, trailers(500)), forwarded(abc())),
        row("trailers that are too many", post(CHUNKED, trailers(1_000)), refused(431)),
        row("chunks and another request", post(CHUNKED, [b"3\r\nabc\r\n0\r\n\r\n", HIDDEN].concat()), two),
    ]);
    rows
}
