//! What options of a connection, upgrades and several requests at once do to the next request.

use super::{Row, Want, chunked, forwarded, get, post, refused, row};

const HIDDEN: &[u8] = b"GET /hidden HTTP/1.1\r\nHost: a.test\r\n\r\n";

pub(super) fn rows() -> Vec<Row> {
    let then = |lines: &str| [&get(lines)[..], HIDDEN].concat();
    let both = |first: Vec<u8>| Want { answers: vec![200, 200], seen: vec![first, HIDDEN.to_vec()] };
    let websocket =
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let tunnel =
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nConnection: Upgrade\r\nupgrade: websocket\r\n";
    vec![
        row("two requests at once", then(""), both(get(""))),
        row("ten requests at once", get("").repeat(10), Want { answers: vec![200; 10], seen: vec![get(""); 10] }),
        row("a request and half of another", [&get("")[..], b"GET /hid"].concat(), forwarded(get(""))),
        row("a request and an empty line", [&get("")[..], b"\r\n"].concat(), forwarded(get(""))),
        row("a request and noise", [&get("")[..], b"\0\xff\n"].concat(), Want { answers: vec![200, 400], seen: vec![get("")] }),
        row("the last request, and another", then("Connection: close\r\n"), forwarded(get(""))),
        row("a header that is for us alone", then("Connection: keep-alive, X-A\r\nX-A: b\r\n"), both(get(""))),
        row("the last request, with a header that is for us alone", get("Connection: close, X-A\r\nX-A: b\r\n"), forwarded(get(""))),
        row(
            "a length that is for us alone",
            post("Connection: Content-Length\r\nContent-Length: 3\r\n", "abc"),
            forwarded(chunked("3\r\nabc\r\n0\r\n\r\n")),
        ),
        row("a host that is for us alone", get("Connection: Host\r\n"), refused(400)),
        row("Keep-Alive and its kin", get("Keep-Alive: timeout=5\r\nProxy-Connection: close\r\nTE: trailers\r\n"), forwarded(get(""))),
        row("an upgrade to nothing known, and another request", then("Connection: Upgrade\r\nUpgrade: foo\r\n"), both(get(""))),
        row(
            "an upgrade to HTTP/2, and another request",
            then("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"),
            both(get("")),
        ),
        row("a WebSocket without the option, and another request", then("Upgrade: websocket\r\n"), both(get(""))),
        row("a WebSocket that is not given, and another request", then(websocket), forwarded(get(tunnel))),
        row(
            "a WebSocket of HTTP/1.0",
            format!("GET /a HTTP/1.0\r\nHost: a.test\r\n{websocket}\r\n"),
            forwarded(get(&websocket[websocket.find("Sec").unwrap_or(0)..])),
        ),
        row("HTTP/1.0, and another request", [b"GET /a HTTP/1.0\r\nHost: a.test\r\n\r\n", HIDDEN].concat(), forwarded(get(""))),
        row(
            "HTTP/1.0 kept alive, and another request",
            [b"GET /a HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n", HIDDEN].concat(),
            both(get("")),
        ),
    ]
}
