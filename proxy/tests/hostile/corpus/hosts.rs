//! Who is asked.

use super::{Row, forwarded, refused, row};

pub(super) fn rows() -> Vec<Row> {
    let with = |lines: &[u8]| [b"GET /a HTTP/1.1\r\n", lines, b"\r\n"].concat();
    let refusals: [(&str, &[u8]); 17] = [
        ("no Host", b""),
        ("an empty Host", b"Host:\r\n"),
        ("two Hosts", b"Host: a.test\r\nHost: b.test\r\n"),
        ("the same Host twice", b"Host: a.test\r\nHost: a.test\r\n"),
        ("two Hosts in two cases", b"Host: a.test\r\nhOST: b.test\r\n"),
        ("two Hosts in one line", b"Host: a.test, b.test\r\n"),
        ("a Host with a user", b"Host: a.test@b.test\r\n"),
        ("a Host with a path", b"Host: a.test/b\r\n"),
        ("a Host with a query", b"Host: a.test?b\r\n"),
        ("a Host with a fragment", b"Host: a.test#b\r\n"),
        ("a Host with a backslash", b"Host: a.test\\b\r\n"),
        ("a Host with a space", b"Host: a.test b.test\r\n"),
        ("a Host with a word for a port", b"Host: a.test:http\r\n"),
        ("a Host with two ports", b"Host: a.test:80:81\r\n"),
        ("a Host beyond ASCII", b"Host: \xc3\xbc.test\r\n"),
        ("a Host that is escaped", b"Host: a%2etest\r\n"),
        ("a Host with an address that does not end", b"Host: [::1\r\n"),
    ];
    let mut rows: Vec<Row> = refusals.iter().map(|(name, lines)| row(name, with(lines), refused(400))).collect();
    for host in ["a.test", "A.Test:8080", "127.0.0.1:80", "[::1]:80", "[::1]", "a_b.test", "a.test."] {
        let bytes = with(format!("Host: {host}\r\n").as_bytes());
        rows.push(row(&format!("Host {host}"), bytes.clone(), forwarded(bytes)));
    }
    let host = b" HTTP/1.1\r\nHost: a.test\r\n\r\n";
    let absolute = |target: &str| [b"GET ", target.as_bytes(), host].concat();
    rows.extend([
        row("an absolute target", absolute("http://a.test/a?b=c"), forwarded(absolute("/a?b=c"))),
        row("an absolute target without a path", absolute("http://a.test"), forwarded(absolute("/"))),
        row("an absolute target with only a query", absolute("http://a.test?b=c"), forwarded(absolute("/?b=c"))),
        row("an absolute target in capitals", absolute("HTTPS://a.test/a"), forwarded(absolute("/a"))),
        row("an absolute target that names another", absolute("http://b.test/a"), refused(400)),
        row("an absolute target with a user", absolute("http://a.test@b.test/a"), refused(400)),
        row("an absolute target of another kind", absolute("ftp://a.test/a"), refused(400)),
        row("an absolute target with one slash", absolute("http:/a.test/a"), refused(400)),
        row("an absolute target with a backslash", absolute("http:\\\\a.test\\a"), refused(400)),
        row("an absolute target without a Host", &b"GET http://a.test/a HTTP/1.1\r\n\r\n"[..], refused(400)),
    ]);
    rows
}
