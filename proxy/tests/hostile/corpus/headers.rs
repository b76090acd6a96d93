//! Header lines.

use super::{Row, forwarded, get, refused, row};

pub(super) fn rows() -> Vec<Row> {
    let refusals: [(&str, &[u8], u16); 24] = [
        ("space before the colon", b"X-A : b\r\n", 400),
        ("tab before the colon", b"X-A\t: b\r\n", 400),
        ("no colon", b"X-A\r\n", 400),
        ("no name", b": b\r\n", 400),
        ("space in a name", b"X A: b\r\n", 400),
        ("NUL in a name", b"X\0A: b\r\n", 400),
        ("a name beyond ASCII", b"X-\xe9: b\r\n", 400),
        ("a name in brackets", b"[X]: b\r\n", 400),
        ("a name with a slash", b"X/A: b\r\n", 400),
        ("a carriage return in a name", b"X\r-A: b\r\n", 400),
        ("a folded line", b"X-A: b\r\n c\r\n", 400),
        ("a line folded with a tab", b"X-A: b\r\n\tc\r\n", 400),
        ("a first line that is folded", b" X-A: b\r\n", 400),
        ("a line of white space", b" \r\n", 400),
        ("NUL in a value", b"X-A: b\0c\r\n", 400),
        ("a bare carriage return in a value", b"X-A: b\rc\r\n", 400),
        ("a carriage return at the end of a value", b"X-A: b\r\r\n", 400),
        ("a bare line feed in a value", b"X-A: b\nX-B: c\r\n", 400),
        ("an escape in a value", b"X-A: \x1b[2J\r\n", 400),
        ("a vertical tab in a value", b"X-A: b\x0bc\r\n", 400),
        ("a form feed in a value", b"X-A: \x0cb\r\n", 400),
        ("DEL in a value", b"X-A: b\x7f\r\n", 400),
        ("an expectation that is not met", b"Expect: 200-maybe\r\n", 417),
        ("a connection option that is a forwarding header", b"Connection: X-Forwarded-For\r\n", 400),
    ];
    let mut rows: Vec<Row> = refusals.iter().map(|(name, lines, status)| row(name, get(lines), refused(*status))).collect();
    let forwards: [(&str, &[u8], &[u8]); 12] = [
        ("an empty value", b"X-A:\r\n", b"X-A: \r\n"),
        ("white space round a value", b"X-A: \t b \t\r\n", b"X-A: b\r\n"),
        ("a tab in a value", b"X-A: b\tc\r\n", b"X-A: b\tc\r\n"),
        ("bytes beyond ASCII in a value", b"X-A: J\xf6rg \xc3\xbc\r\n", b"X-A: J\xf6rg \xc3\xbc\r\n"),
        ("colons in a value", b"X-A: :b:\r\n", b"X-A: :b:\r\n"),
        ("two lines of one name", b"X-A: b\r\nX-A: c\r\n", b"X-A: b\r\nX-A: c\r\n"),
        ("all characters of a name", b"!#$%&'*+-.^`|~9aZ: b\r\n", b"!#$%&'*+-.^`|~9aZ: b\r\n"),
        ("an Authorization of the client", b"Authorization: Token abc\r\n", b"Authorization: Token abc\r\n"),
        ("a cookie", b"Cookie: a=b; c=d\r\n", b"Cookie: a=b; c=d\r\n"),
        ("cookies of the gateway", b"Cookie: ficus_wrote=x; a=b; ficus_anon=y\r\n", b"cookie: a=b\r\n"),
        ("a continuation that is expected", b"Expect: 100-continue\r\n", b"Expect: 100-continue\r\n"),
        ("a body type without a body", b"Content-Type: a/b\r\n", b"Content-Type: a/b\r\n"),
    ];
    rows.extend(forwards.iter().map(|(name, lines, seen)| row(name, get(lines), forwarded(get(seen)))));
    // What only the gateway, or a trusted proxy, may say.
    let dropped: [&[u8]; 25] = [
        b"X_Forwarded_For: 6.6.6.6",
        b"X-Forwarded_For: 6.6.6.6",
        b"Content_Length: 3",
        b"Transfer_Encoding: chunked",
        b"SCRIPT_NAME: /admin",
        b"PATH_INFO: /admin",
        b"REMOTE_USER: root",
        b"_: a",
        b"X-Ficus-Original-Path: /admin",
        b"x-ficus-side: modern",
        b"X-FICUS-SHADOW: 1",
        b"Ficus-Wrote: a",
        b"Ficus-Anything: a",
        b"X-Forwarded-Server: a",
        b"X-Forwarded-Ssl: on",
        b"X-Forwarded-Protocol: ssl",
        b"X-Forwarded-Prefix: /admin",
        b"X-Forwarded: for=6.6.6.6",
        b"Forwarded: for=6.6.6.6;proto=https",
        b"X-Real-IP: 6.6.6.6",
        b"Proxy: evil.test:3128",
        b"X-Original-URL: /admin",
        b"X-Rewrite-URL: /admin",
        b"True-Client-IP: 6.6.6.6",
        b"Front-End-Https: on",
    ];
    for line in dropped {
        let name = format!("dropped: {}", String::from_utf8_lossy(line));
        rows.push(row(&name, get([line, b"\r\n"].concat()), forwarded(get(""))));
    }
    let many = |count: usize| get((0..count).map(|n| format!("X-{n}: a\r\n")).collect::<String>());
    rows.extend([
        row("100 headers", many(99), forwarded(many(99))),
        row("101 headers", many(100), refused(431)),
        row("300 headers", many(300), refused(431)),
        row("10,000 headers", many(10_000), refused(431)),
        row("a value of 60 KB", large(60_000), forwarded(large(60_000))),
        row("a value of 70 KB", large(70_000), refused(431)),
        row("a value of 2 MB", large(2_000_000), refused(431)),
        row("a name of 70 KB", get([&[b'x'; 70_000][..], b": a\r\n"].concat()), refused(431)),
        row("a head without an end", vec![b'A'; 100_000], refused(414)),
    ]);
    rows
}

fn large(size: usize) -> Vec<u8> {
    get([b"X-A: ", &vec![b'a'; size][..], b"\r\n"].concat())
}
