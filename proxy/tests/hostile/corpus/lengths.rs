//! Where a body ends: Content-Length, Transfer-Encoding, and both.

use super::{Row, Want, forwarded, get, post, posted, refused, row};

/// A second request, hidden where a reader that differs would find it.
const HIDDEN: &[u8] = b"GET /hidden HTTP/1.1\r\nHost: a.test\r\n\r\n";

pub(super) fn rows() -> Vec<Row> {
    let refusals: [(&str, &[u8], u16); 53] = [
        ("length and chunks", b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", 400),
        ("chunks and length", b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", 400),
        ("a length of nothing, and chunks", b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", 400),
        ("length and a coding that is none", b"Content-Length: 3\r\nTransfer-Encoding: identity\r\n", 400),
        ("length and an empty coding", b"Content-Length: 3\r\nTransfer-Encoding:\r\n", 400),
        ("two lengths", b"Content-Length: 3\r\nContent-Length: 4\r\n", 400),
        ("one length twice", b"Content-Length: 3\r\nContent-Length: 3\r\n", 400),
        ("one length twice, in two cases", b"Content-Length: 3\r\ncontent-length: 3\r\n", 400),
        ("a list of lengths", b"Content-Length: 3, 3\r\n", 400),
        ("a list of two lengths", b"Content-Length: 3,4\r\n", 400),
        ("a length and a comma", b"Content-Length: 3,\r\n", 400),
        ("a length with a sign", b"Content-Length: +3\r\n", 400),
        ("a negative length", b"Content-Length: -3\r\n", 400),
        ("a negative nothing", b"Content-Length: -0\r\n", 400),
        ("a hexadecimal length", b"Content-Length: 0x3\r\n", 400),
        ("an octal length", b"Content-Length: 0o3\r\n", 400),
        ("an empty length", b"Content-Length:\r\n", 400),
        ("a blank length", b"Content-Length:  \r\n", 400),
        ("a length of letters", b"Content-Length: three\r\n", 400),
        ("a length with a letter", b"Content-Length: 3a\r\n", 400),
        ("a length with a space inside", b"Content-Length: 3 3\r\n", 400),
        ("a length with an underscore", b"Content-Length: 1_0\r\n", 400),
        ("a length with a fraction", b"Content-Length: 3.0\r\n", 400),
        ("a length with an exponent", b"Content-Length: 3e0\r\n", 400),
        ("a length in quotes", b"Content-Length: \"3\"\r\n", 400),
        ("a length with NUL", b"Content-Length: 3\0\r\n", 400),
        ("a length with a vertical tab", b"Content-Length: \x0b3\r\n", 400),
        ("a length of 64 bits", b"Content-Length: 18446744073709551615\r\n", 400),
        ("a length of 64 bits and one more", b"Content-Length: 18446744073709551617\r\n", 400),
        ("a length of zeros", b"Content-Length: 0000000000000000000003\r\n", 400),
        ("a length in other digits", b"Content-Length: \xd9\xa3\r\n", 400),
        ("a length above the limit", b"Content-Length: 3000000000\r\n", 413),
        ("a space before the colon of the length", b"Content-Length : 3\r\n", 400),
        ("a coding with something before it", b"Transfer-Encoding: xchunked\r\n", 400),
        ("a coding with something after it", b"Transfer-Encoding: chunkedx\r\n", 400),
        ("a coding with a parameter", b"Transfer-Encoding: chunked;a=b\r\n", 400),
        ("a coding in quotes", b"Transfer-Encoding: \"chunked\"\r\n", 400),
        ("a coding in two words", b"Transfer-Encoding: chunked a\r\n", 400),
        ("an empty coding", b"Transfer-Encoding:\r\n", 400),
        ("chunks that are no longer the last", b"Transfer-Encoding: chunked, identity\r\n", 400),
        ("chunks, then packed", b"Transfer-Encoding: chunked, gzip\r\n", 400),
        ("only packed", b"Transfer-Encoding: gzip\r\n", 400),
        ("identity", b"Transfer-Encoding: identity\r\n", 400),
        ("identity, then chunks", b"Transfer-Encoding: identity, chunked\r\n", 400),
        ("chunks twice", b"Transfer-Encoding: chunked, chunked\r\n", 400),
        ("chunks in two lines", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400),
        ("chunks and identity in two lines", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", 400),
        ("a comma, then chunks", b"Transfer-Encoding: ,chunked\r\n", 400),
        ("a vertical tab, then chunks", b"Transfer-Encoding: \x0bchunked\r\n", 400),
        ("a space before the colon of the coding", b"Transfer-Encoding : chunked\r\n", 400),
        ("a coding on a folded line", b"Transfer-Encoding:\r\n chunked\r\n", 400),
        ("packed, then chunks", b"Transfer-Encoding: gzip, chunked\r\n", 501),
        ("packed by Deflate, then chunks", b"Transfer-Encoding: deflate ,\tChunked\r\n", 501),
    ];
    let mut rows: Vec<Row> =
        refusals.iter().map(|(name, lines, status)| row(name, post(lines, [b"0\r\n\r\n", HIDDEN].concat()), refused(*status))).collect();
    for near in
        ["Content-Lengt: 30", "Content-Length2: 30", "XContent-Length: 30", "Transfer-Encodin: chunked", "X-Transfer-Encoding: chunked"]
    {
        let line = format!("{near}\r\n");
        rows.push(row(&format!("almost: {near}"), post(&line, ""), forwarded(posted(&line, ""))));
    }
    let three = "Content-Length: 3\r\n";
    let two = Want { answers: vec![200, 200], seen: vec![posted(three, "abc"), HIDDEN.to_vec()] };
    let nothing = Want { answers: vec![200, 200], seen: vec![posted("", ""), HIDDEN.to_vec()] };
    let old = |lines: &str| format!("POST /a HTTP/1.0\r\nHost: a.test\r\n{lines}\r\nabc");
    rows.extend([
        row("a body", post(three, "abc"), forwarded(posted(three, "abc"))),
        row("a body of any bytes", post(three, b"\0\n\xff"), forwarded(posted(three, b"\0\n\xff"))),
        row(
            "a body that looks like a request",
            post("Content-Length: 38\r\n", HIDDEN),
            forwarded(posted("Content-Length: 38\r\n", HIDDEN)),
        ),
        row("a length with leading zeros", post("Content-Length: 003\r\n", "abc"), forwarded(posted("Content-Length: 003\r\n", "abc"))),
        row("a body and another request", post(three, [b"abc", HIDDEN].concat()), two),
        row("no length and another request", post("", HIDDEN), nothing),
        row("no length and something else", post("", "abc\r\n\r\n"), Want { answers: vec![200, 400], seen: vec![posted("", "")] }),
        row(
            "a body that is longer than it says",
            post(three, "abcd\r\n\r\n"),
            Want { answers: vec![200, 400], seen: vec![posted(three, "abc")] },
        ),
        row("a GET with a body", [get(three), b"abc".to_vec()].concat(), forwarded([get(three), b"abc".to_vec()].concat())),
        row("HTTP/1.0 with a body", old(three), forwarded(posted(three, "abc"))),
        row("HTTP/1.0 with chunks", old("Transfer-Encoding: chunked\r\n"), refused(400)),
    ]);
    rows
}
