//! Paths and queries. Behind the gateway they arrive as they were written.

use super::{Row, forwarded, refused, row};

pub(super) fn rows() -> Vec<Row> {
    let ask = |target: &[u8]| [b"GET ", target, b" HTTP/1.1\r\nHost: a.test\r\n\r\n"].concat();
    let refusals: [(&str, &[u8]); 34] = [
        ("a quote in the query", b"/a?b=\"c\""),
        ("a bracket in the query", b"/a?b=<c"),
        ("a bracket in the path", b"/a>"),
        ("nothing", b""),
        ("a target without a slash", b"a"),
        ("an authority for a target", b"a.test:80"),
        ("an asterisk with GET", b"*"),
        ("only a query", b"?a=b"),
        ("a backslash for a slash", b"\\a"),
        ("a backslash", b"/a\\b"),
        ("a slash that is escaped", b"/a%2fb"),
        ("a slash that is escaped, in capitals", b"/a%2Fb"),
        ("a backslash that is escaped", b"/a%5cb"),
        ("NUL that is escaped", b"/a%00"),
        ("a line end that is escaped", b"/a%0d%0aX-A:%20b"),
        ("a control character that is escaped", b"/a%1fb"),
        ("DEL that is escaped", b"/a%7f"),
        ("an escape without digits", b"/a%"),
        ("an escape of one digit", b"/a%4"),
        ("an escape of other letters", b"/a%zz"),
        ("an escape with a sign", b"/a%+1"),
        ("an escape of four digits", b"/a%u002f"),
        ("above the root", b"/../a"),
        ("above the root, escaped", b"/%2e%2e/a"),
        ("above the root, half escaped", b"/.%2e/a"),
        ("above the root, later", b"/a/../../b"),
        ("a fragment", b"/a#b"),
        ("a fragment in the query", b"/a?b#c"),
        ("a byte beyond ASCII", b"/\xfc"),
        ("UTF-8", b"/\xc3\xbc"),
        ("a byte beyond ASCII in the query", b"/a?\xfc"),
        ("a tab", b"/a\tb"),
        ("DEL", b"/a\x7f"),
        ("a path that hides a route behind dots", b"/other/../api/v1/users/1/"),
    ];
    let mut rows: Vec<Row> = refusals.iter().map(|(name, target)| row(name, ask(target), refused(400))).collect();
    for hidden in ["//api/v1/users/1/", "/api//v1/users/1/", "/api/./v1/users/1/", "/api/v1/users/../x", "/api/v1/users/%2E%2e/x"] {
        rows.push(row(&format!("two routes by two readings: {hidden}"), ask(hidden.as_bytes()), refused(400)));
    }
    let forwards: [&[u8]; 20] = [
        b"/",
        b"//",
        b"/a//b/",
        b"/a/./b/../c",
        b"//x/../y/%2e%2e/z",
        b"/a/..",
        b"/%61dmin/%7Eme",
        b"/a%20b/%c3%bc",
        b"/%2541",
        b"/a;b=1,2:@!$&'()*+",
        b"/a?",
        b"/a?b=c&d=%00&e=%2f&f=../..",
        b"/a?b=c?d=e/f",
        b"/a?x[]=1&y={z}&w=a|b&v=`^",
        b"/a?s=\\d",
        b"/a|b",
        b"/a{b}",
        b"/a%5Bb",
        b"/...",
        b"/api/v1/users//./1/",
    ];
    for target in forwards {
        rows.push(row(&format!("target {}", target.escape_ascii()), ask(target), forwarded(ask(target))));
    }
    let long = |size: usize| ask(&[&b"/"[..], &vec![b'a'; size][..]].concat());
    let asterisk = &b"OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n"[..];
    rows.extend([
        row("a target of 8 KiB", long(8191), forwarded(long(8191))),
        row("a target above 8 KiB", long(8192), refused(414)),
        row("a target of 100 KB", long(100_000), refused(414)),
        row("an asterisk with OPTIONS", asterisk, forwarded(asterisk)),
    ]);
    rows
}
