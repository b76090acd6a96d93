//! What strangers may send by HTTP/2: a table of connections, each written frame by frame, and what becomes of it.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::raw::World;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const BOTH: u8 = END_STREAM | END_HEADERS;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW: u8 = 8;
const CONTINUATION: u8 = 9;
/// Calm down.
const CALM: u32 = 11;

/// How it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Stream 1 is answered.
    Status(u16),
    /// Stream 1 is reset with a code; a client's fault.
    Reset(u32),
    /// The connection is ended, with a code or without a word.
    Gone,
}

struct Case {
    name: &'static str,
    bytes: Vec<u8>,
    end: End,
    /// Lines of the one request that arrives behind the gateway; none: nothing arrives.
    sees: Vec<&'static str>,
    /// What it must not hold.
    hides: Vec<&'static str>,
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A header block: literals, none of them indexed, none of them packed.
fn block(headers: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in headers {
        block.push(0);
        for text in [name, value] {
            // An integer with a prefix of seven bits (RFC 7541, 5.1).
            match text.len() {
                length @ 0..127 => block.push(u8::try_from(length).unwrap()),
                length => {
                    block.push(127);
                    let mut rest = length - 127;
                    while rest >= 128 {
                        block.push(u8::try_from(rest % 128).unwrap() | 128);
                        rest /= 128;
                    }
                    block.push(u8::try_from(rest).unwrap());
                }
            }
            block.extend(*text);
        }
    }
    block
}

const USUAL: [(&[u8], &[u8]); 4] = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/a"), (b":authority", b"a.test")];

/// The usual pseudo-headers with one of them said otherwise, and more.
fn but(name: &str, value: &[u8], more: &[(&str, &[u8])]) -> Vec<u8> {
    let usual = USUAL.iter().map(|(known, usual)| (*known, if *known == name.as_bytes() { value } else { usual }));
    let all: Vec<(&[u8], &[u8])> = usual.chain(more.iter().map(|(name, value)| (name.as_bytes(), *value))).collect();
    block(&all)
}

fn with(more: &[(&str, &[u8])]) -> Vec<u8> {
    but("", b"", more)
}

fn get(block: &[u8]) -> Vec<u8> {
    frame(HEADERS, BOTH, 1, block)
}

/// A head that is too large for one frame.
fn in_frames(block: &[u8]) -> Vec<u8> {
    let pieces: Vec<&[u8]> = block.chunks(16_000).collect();
    let last = pieces.len() - 1;
    let kind = |at: usize| if at == 0 { HEADERS } else { CONTINUATION };
    let flags = |at: usize| (u8::from(at == 0) * END_STREAM) | (u8::from(at == last) * END_HEADERS);
    pieces.iter().enumerate().flat_map(|(at, piece)| frame(kind(at), flags(at), 1, piece)).collect()
}

fn post(more: &[(&str, &[u8])], bodies: &[&[u8]]) -> Vec<u8> {
    let mut bytes = frame(HEADERS, END_HEADERS, 1, &but(":method", b"POST", more));
    for (at, body) in bodies.iter().enumerate() {
        bytes.extend(frame(DATA, if at + 1 == bodies.len() { END_STREAM } else { 0 }, 1, body));
    }
    bytes
}

fn passes(name: &'static str, bytes: Vec<u8>, sees: &[&'static str], hides: &[&'static str]) -> Case {
    Case { name, bytes, end: End::Status(200), sees: sees.to_vec(), hides: hides.to_vec() }
}

fn ends(name: &'static str, bytes: Vec<u8>, end: End) -> Case {
    Case { name, bytes, end, sees: Vec::new(), hides: Vec::new() }
}

fn refused(name: &'static str, bytes: Vec<u8>, status: u16) -> Case {
    ends(name, bytes, End::Status(status))
}

fn malformed(name: &'static str, headers: &[u8]) -> Case {
    ends(name, get(headers), End::Reset(1))
}

fn gone(name: &'static str, bytes: Vec<u8>) -> Case {
    ends(name, bytes, End::Gone)
}

fn what_passes() -> Vec<Case> {
    vec![
        passes("a plain GET", get(&with(&[])), &["get /a http/1.1", "host: a.test"], &["transfer-encoding", "content-length"]),
        passes("a Host and no authority", get(&block(&[USUAL[0], USUAL[1], USUAL[2], (b"host", b"a.test")])), &["host: a.test"], &[]),
        passes("a Host that agrees", get(&with(&[("host", b"a.test")])), &["host: a.test"], &[]),
        passes("te: trailers", get(&with(&[("te", b"trailers")])), &["get /a http/1.1"], &["te:"]),
        passes("cookies in crumbs", get(&with(&[("cookie", b"a=1"), ("cookie", b"b=2")])), &["cookie: a=1; b=2"], &[]),
        passes(
            "headers that only we may set",
            get(&with(&[("x-forwarded-for", b"192.0.2.1"), ("x-ficus-user", b"1"), ("proxy", b"x"), ("x_forwarded_for", b"192.0.2.1")])),
            &["get /a http/1.1"],
            &["192.0.2.1", "x-ficus-user", "proxy:"],
        ),
        passes("an expectation", get(&with(&[("expect", b"100-continue")])), &["get /a http/1.1"], &["expect"]),
        passes(
            "a body with its length",
            post(&[("content-length", b"4")], &[b"bo", b"dy"]),
            &["post /a http/1.1", "content-length: 4", "body"],
            &[],
        ),
        passes("a body without a length", post(&[], &[b"body"]), &["transfer-encoding: chunked", "4", "body", "0"], &[]),
        passes("an empty body", post(&[], &[b""]), &["post /a http/1.1", "transfer-encoding: chunked"], &[]),
        passes(
            "a head in two frames",
            {
                let head = with(&[("x-a", b"b")]);
                [frame(HEADERS, END_STREAM, 1, &head[..20]), frame(CONTINUATION, END_HEADERS, 1, &head[20..])].concat()
            },
            &["x-a: b"],
            &[],
        ),
        passes(
            "trailers",
            {
                let head = frame(HEADERS, END_HEADERS, 1, &but(":method", b"POST", &[]));
                [head, frame(DATA, 0, 1, b"body"), frame(HEADERS, BOTH, 1, &block(&[(b"x-sum", b"1")]))].concat()
            },
            &["post /a http/1.1", "transfer-encoding: chunked", "body", "0"],
            &["x-sum"],
        ),
        passes(
            "a pseudo-header in trailers, which go nowhere",
            {
                let head = frame(HEADERS, END_HEADERS, 1, &but(":method", b"POST", &[]));
                [head, frame(DATA, 0, 1, b"body"), frame(HEADERS, BOTH, 1, &block(&[(b":path", b"/b")]))].concat()
            },
            &["post /a http/1.1", "body", "0"],
            &["/b"],
        ),
        passes("a padded head", frame(HEADERS, BOTH | 8, 1, &[&[3], &with(&[])[..], &[0; 3]].concat()), &["get /a http/1.1"], &[]),
        passes("a fragment, which is no part of a path", get(&but(":path", b"/a#b", &[])), &["get /a http/1.1"], &["#"]),
        passes(
            "a GET with an empty body",
            {
                let head = frame(HEADERS, END_HEADERS, 1, &with(&[]));
                [head, frame(DATA, END_STREAM, 1, b"")].concat()
            },
            &["get /a http/1.1"],
            &[],
        ),
        passes("a GET on the same connection after it", get(&with(&[])), &["get /a http/1.1"], &["\r\n0\r\n"]),
        passes(
            "a GET with a body",
            {
                let head = frame(HEADERS, END_HEADERS, 1, &with(&[]));
                [head, frame(DATA, END_STREAM, 1, b"body")].concat()
            },
            &["get /a http/1.1", "transfer-encoding: chunked", "body", "0"],
            &[],
        ),
        passes("slashes and dots that no route differs on", get(&but(":path", b"//x/../y", &[])), &["get //x/../y http/1.1"], &[]),
        passes("what nobody knows", [frame(77, 0, 0, b"?"), get(&with(&[]))].concat(), &["get /a http/1.1"], &[]),
    ]
}

fn what_is_refused() -> Vec<Case> {
    let long = [b"/", &[b'a'; 9_000][..]].concat();
    let many: Vec<(String, &[u8])> = (0..101).map(|n| (format!("x-{n}"), &b"1"[..])).collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    vec![
        refused("no authority", get(&block(&USUAL[..3])), 400),
        refused("a Host that disagrees", get(&with(&[("host", b"b.test")])), 400),
        refused("two Hosts", get(&with(&[("host", b"a.test"), ("host", b"a.test")])), 400),
        refused("a name in the authority", get(&but(":authority", b"u@a.test", &[])), 400),
        refused("a strange authority", get(&but(":authority", b"a!b.test", &[])), 400),
        refused("a path that hides dots", get(&but(":path", b"/api/v1/users/%2e%2e/%2e%2e/x", &[])), 400),
        refused("a path that routes differ on", get(&but(":path", b"/x/../api/v1/users/1", &[])), 400),
        refused("a long path", get(&but(":path", &long, &[])), 414),
        refused("TRACE", get(&but(":method", b"TRACE", &[])), 405),
        refused("CONNECT", get(&block(&[(b":method", b"CONNECT"), (b":authority", b"a.test:443")])), 405),
        refused("another expectation", get(&with(&[("expect", b"200-maybe")])), 417),
        refused("one length twice", get(&with(&[("content-length", b"0"), ("content-length", b"0")])), 400),
        refused("one length twice, and a body", post(&[("content-length", b"2"), ("content-length", b"2")], &[b"ab"]), 400),
        refused("many headers", get(&with(&many)), 431),
        refused("a head of 64 KiB", in_frames(&with(&[("x-a", &[b'a'; 1 << 16])])), 431),
        refused(
            "a body that is too long",
            frame(HEADERS, END_HEADERS, 1, &but(":method", b"POST", &[("content-length", b"99999999999")])),
            413,
        ),
    ]
}

fn what_is_malformed() -> Vec<Case> {
    let mut cases = vec![
        malformed("no path", &block(&[USUAL[0], USUAL[1], USUAL[3]])),
        malformed("no method", &block(&USUAL[1..])),
        malformed("two paths", &block(&[USUAL[0], USUAL[1], USUAL[2], USUAL[2], USUAL[3]])),
        malformed("a pseudo-header after others", &block(&[USUAL[0], USUAL[1], USUAL[2], (b"x-a", b"b"), USUAL[3]])),
        gone("an unknown pseudo-header", get(&with(&[(":other", b"x")]))),
        malformed("a pseudo-header of answers", &with(&[(":status", b"200")])),
        malformed("an extended CONNECT", &block(&[(b":method", b"CONNECT"), (b":protocol", b"websocket"), USUAL[1], USUAL[2], USUAL[3]])),
        malformed("an absolute path", &but(":path", b"http://b.test/a", &[])),
        malformed("an empty path", &but(":path", b"", &[])),
        malformed("a space in the path", &but(":path", b"/a HTTP/1.1", &[])),
        malformed("an end of line in the path", &but(":path", b"/a\r\nX: y", &[])),
        gone("a space in the method", get(&but(":method", b"GET /b", &[]))),
        gone("an end of line in a value", get(&with(&[("x-a", b"b\r\nX: y")]))),
        gone("a carriage return in a value", get(&with(&[("x-a", b"b\rX: y")]))),
        gone("a line feed in a value", get(&with(&[("x-a", b"b\nX: y")]))),
        gone("a NUL in a value", get(&with(&[("x-a", b"b\0c")]))),
        gone("a colon in a name", get(&with(&[("x:a", b"b")]))),
        gone("capitals in a name", get(&with(&[("X-A", b"b")]))),
        malformed("two lengths", &with(&[("content-length", b"0"), ("content-length", b"1")])),
        malformed("a list of lengths", &with(&[("content-length", b"0, 0")])),
        ends("a list of lengths, and a body", post(&[("content-length", b"2, 2")], &[b"ab"]), End::Reset(1)),
        malformed("a length with a sign", &with(&[("content-length", b"+0")])),
        malformed("te: gzip", &with(&[("te", b"gzip")])),
        ends("a body longer than its length", post(&[("content-length", b"2")], &[b"body"]), End::Reset(1)),
        ends("a body shorter than its length", post(&[("content-length", b"9")], &[b"body"]), End::Reset(1)),
    ];
    for (name, trailers) in [
        ("a connection in trailers", block(&[(b"connection", b"x-a")])),
        ("a coding in trailers", block(&[(b"transfer-encoding", b"chunked")])),
    ] {
        let head = frame(HEADERS, END_HEADERS, 1, &but(":method", b"POST", &[]));
        cases.push(ends(name, [head, frame(DATA, 0, 1, b"body"), frame(HEADERS, BOTH, 1, &trailers)].concat(), End::Reset(1)));
    }
    for name in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"] {
        cases.push(malformed(name, &with(&[(name, b"chunked")])));
    }
    cases
}

fn what_ends_the_connection() -> Vec<Case> {
    let usual = with(&[]);
    let begun = frame(HEADERS, END_STREAM, 1, &usual[..20]);
    let repeated = |bytes: &[u8], times: usize| bytes.repeat(times);
    vec![
        gone("an even stream", frame(HEADERS, BOTH, 2, &usual)),
        gone("no stream", frame(HEADERS, BOTH, 0, &usual)),
        gone("data of no stream", frame(DATA, 0, 0, b"x")),
        gone("data of a stream that never was", frame(DATA, 0, 1, b"x")),
        gone("a continuation of nothing", frame(CONTINUATION, END_HEADERS, 1, &usual)),
        gone("another frame in a head", [begun.clone(), frame(PING, 0, 0, &[0; 8])].concat()),
        gone("another stream in a head", [begun.clone(), frame(CONTINUATION, END_HEADERS, 3, &usual[20..])].concat()),
        gone("a promise", frame(PUSH, END_HEADERS, 1, &[0, 0, 0, 2])),
        gone("a long frame", frame(DATA, 0, 1, &[0; 20_000])),
        gone("a short ping", frame(PING, 0, 0, b"x")),
        gone("odd settings", frame(SETTINGS, 0, 0, b"x")),
        gone("settings of a stream", frame(SETTINGS, 0, 1, &[])),
        gone("a window of nothing", frame(WINDOW, 0, 0, &[0; 4])),
        gone("a window of too much", repeated(&frame(WINDOW, 0, 0, &[0x7f, 0xff, 0xff, 0xff]), 2)),
        gone("an index that is not there", frame(HEADERS, BOTH, 1, &[0xff, 0xff, 0x03])),
        gone("more padding than frame", frame(HEADERS, BOTH | 8, 1, &[250, 0])),
        gone("a reset of no stream", frame(RESET, 0, 0, &[0, 0, 0, 8])),
        gone("a flood of continuations", [begun, repeated(&frame(CONTINUATION, 0, 1, &[]), 5_000)].concat()),
        gone("a flood of pings", repeated(&frame(PING, 0, 0, &[0; 8]), 20_000)),
        gone("a flood of settings", repeated(&frame(SETTINGS, 0, 0, &[]), 20_000)),
        gone("a flood of priorities", repeated(&frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 1]), 20_000)),
        gone("a flood of empty data", {
            let head = frame(HEADERS, END_HEADERS, 1, &but(":method", b"POST", &[]));
            [head, repeated(&frame(DATA, 0, 1, &[]), 20_000)].concat()
        }),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_case_becomes_what_it_must() {
    let world = World::configured(|config| config.listeners[0].http2 = true).await;
    let cases: Vec<Case> =
        [what_passes(), what_is_refused(), what_is_malformed(), what_ends_the_connection()].into_iter().flatten().collect();
    let mut wrong = Vec::new();
    for case in &cases {
        let end = send(&world, &case.bytes).await;
        let seen = world.server.taken();
        let text = String::from_utf8_lossy(&seen.concat()).to_ascii_lowercase();
        let lines: Vec<&str> = text.split("\r\n").collect();
        let arrived =
            if case.sees.is_empty() { seen.is_empty() || case.end == End::Gone && text.starts_with("post /a") } else { seen.len() == 1 };
        let right = case.sees.iter().all(|line| lines.contains(line)) && !case.hides.iter().any(|hidden| text.contains(hidden));
        if end != Some(case.end) || !arrived || !right {
            wrong.push(format!("{}: {end:?}, wanted {:?}; saw {}", case.name, case.end, text.escape_debug()));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// Sends frames after the preface; how stream 1 or the connection ends.
async fn send(world: &World, bytes: &[u8]) -> Option<End> {
    let socket = world.connect().await;
    let (mut reading, mut writing) = socket.into_split();
    let bytes = [PREFACE, &frame(SETTINGS, 0, 0, &[]), bytes].concat();
    let write = tokio::spawn(async move {
        // Whoever is left early is not read to the end.
        let _ = writing.write_all(&bytes).await;
        writing
    });
    let end = timeout(Duration::from_secs(10), end(&mut reading)).await.ok();
    drop(write.await);
    end
}

async fn end(reading: &mut tokio::net::tcp::OwnedReadHalf) -> End {
    loop {
        let mut head = [0; 9];
        if reading.read_exact(&mut head).await.is_err() {
            return End::Gone;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        if reading.read_exact(&mut payload).await.is_err() {
            return End::Gone;
        }
        match (head[3], head[8]) {
            (HEADERS, 1) => return End::Status(status(&payload)),
            (RESET, 1) => return End::Reset(u32::from_be_bytes(payload.try_into().unwrap())),
            (GOAWAY, _) => return End::Gone,
            _ => {}
        }
    }
}

/// The status at the beginning of a header block (RFC 7541: appendix A for whole ones, appendix B for the digits).
fn status(block: &[u8]) -> u16 {
    let known = [200, 204, 206, 304, 400, 404, 500];
    // The table may be resized first.
    let block = if block[0] & 0xe0 == 0x20 { &block[1..] } else { block };
    match block[0] {
        indexed @ 0x88..=0x8e => known[usize::from(indexed) - 0x88],
        _ if block[1] & 0x80 == 0 => str::from_utf8(&block[2..5]).unwrap().parse().unwrap(),
        _ => {
            let bits: String = block[2..2 + usize::from(block[1] & 0x7f)].iter().map(|byte| format!("{byte:08b}")).collect();
            let (mut at, mut digits) = (0, 0);
            for _ in 0..3 {
                let five = u16::from_str_radix(&bits[at..at + 5], 2).unwrap();
                let (digit, size) =
                    if five < 3 { (five, 5) } else { (u16::from_str_radix(&bits[at..at + 6], 2).unwrap() - 0b01_1001 + 3, 6) };
                (at, digits) = (at + size, digits * 10 + digit);
            }
            digits
        }
    }
}

async fn begin(world: &World, bytes: &[u8]) -> TcpStream {
    let mut socket = world.connect().await;
    socket.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[]), bytes].concat()).await.unwrap();
    socket
}

/// Whether the connection ends, and not at once.
async fn is_left(mut socket: TcpStream) -> bool {
    let start = std::time::Instant::now();
    let mut all = Vec::new();
    timeout(Duration::from_secs(10), socket.read_to_end(&mut all)).await.is_ok() && start.elapsed() > Duration::from_millis(200)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_back_what_it_began_is_left_before_it_costs_much() {
    let world = World::configured(|config| config.listeners[0].http2 = true).await;
    let mut bytes = Vec::new();
    for stream in 0..5_000 {
        bytes.extend(frame(HEADERS, BOTH, stream * 2 + 1, &with(&[])));
        bytes.extend(frame(RESET, 0, stream * 2 + 1, &[0, 0, 0, 8]));
    }
    let mut socket = world.connect().await;
    let _ = socket.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[]), &bytes].concat()).await;
    let mut rest = Vec::new();
    let _ = timeout(Duration::from_secs(10), socket.read_to_end(&mut rest)).await.expect("it is left");
    let seen = world.server.taken().len();
    assert!(seen <= 250, "{seen} of 5000 went through");
    // And nobody else noticed.
    assert_eq!(send(&world, &get(&with(&[]))).await, Some(End::Status(200)));
}

#[tokio::test(flavor = "multi_thread")]
async fn more_streams_than_are_offered_are_refused_one_by_one() {
    let world = World::configured(|config| config.listeners[0].http2 = true).await;
    *world.server.pause.lock().unwrap() = Duration::from_secs(2);
    let many: Vec<u8> = (0..150).flat_map(|stream| frame(HEADERS, BOTH, stream * 2 + 1, &with(&[]))).collect();
    let mut socket = begin(&world, &many).await;
    let (mut refused, mut answered) = (0, 0);
    while refused + answered < 150 {
        let mut head = [0; 9];
        timeout(Duration::from_secs(20), socket.read_exact(&mut head)).await.expect("all are told").unwrap();
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        socket.read_exact(&mut payload).await.unwrap();
        match head[3] {
            RESET => {
                assert_eq!(payload, [0, 0, 0, 7], "refused: it may be sent again");
                refused += 1;
            }
            HEADERS => answered += 1,
            _ => {}
        }
    }
    assert_eq!((refused, answered), (50, 100));
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_and_bodies_must_come_in_time() {
    let world = World::configured(|config| {
        config.listeners[0].http2 = true;
        config.limits.head_within = Duration::from_millis(500);
        config.limits.body_patience = Duration::from_millis(700);
        config.limits.idle = Duration::from_secs(60);
    })
    .await;
    let usual = with(&[]);
    assert!(is_left(begin(&world, &frame(HEADERS, END_STREAM, 1, &usual[..20])).await).await, "half a head");
    let head = frame(HEADERS, END_HEADERS, 1, &but(":method", b"POST", &[]));
    let stops = [head.clone(), frame(DATA, 0, 1, b"x")].concat();
    assert_eq!(send(&world, &stops).await, Some(End::Reset(CALM)), "a body that stops");
    let hangs = [&stops[..], &frame(DATA, 0, 1, b"xyz")[..10]].concat();
    assert!(is_left(begin(&world, &hangs).await).await, "a body that stops within a frame");
    let (mut reading, mut dripping) = begin(&world, &head).await.into_split();
    let drips = tokio::spawn(async move {
        while dripping.write_all(&frame(DATA, 0, 1, b"x")).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    assert_eq!(timeout(Duration::from_secs(10), end(&mut reading)).await, Ok(End::Reset(CALM)), "a body that drips");
    drips.abort();
    let mut preface = world.connect().await;
    preface.write_all(&PREFACE[..20]).await.unwrap();
    assert!(is_left(preface).await, "half a preface");
    // Whoever is waited for by nobody may be silent: the answer takes longer than both.
    *world.server.pause.lock().unwrap() = Duration::from_millis(1_500);
    assert_eq!(send(&world, &get(&usual)).await, Some(End::Status(200)));
}

/// A world with little patience for bodies.
async fn impatient() -> World {
    World::configured(|config| {
        config.listeners[0].http2 = true;
        config.limits.body_patience = Duration::from_millis(500);
    })
    .await
}

/// What comes of each stream, in order, until so many have ended.
async fn streams_end(socket: &mut TcpStream, streams: usize) -> Vec<(u8, End)> {
    let mut ends = Vec::new();
    while ends.len() < streams {
        let mut head = [0; 9];
        timeout(Duration::from_secs(10), socket.read_exact(&mut head)).await.expect("they end").expect("the connection goes on");
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        socket.read_exact(&mut payload).await.unwrap();
        match head[3] {
            HEADERS => ends.push((head[8], End::Status(status(&payload)))),
            RESET => ends.push((head[8], End::Reset(u32::from_be_bytes(payload.try_into().unwrap())))),
            GOAWAY => panic!("the connection ends: {payload:?}"),
            _ => {}
        }
    }
    ends
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_slow_ends_its_stream_and_no_other() {
    let world = impatient().await;
    *world.server.pause.lock().unwrap() = Duration::from_millis(1_500);
    let slow = frame(HEADERS, END_HEADERS, 1, &but(":method", b"POST", &[]));
    let mut socket = begin(&world, &[slow, frame(HEADERS, BOTH, 3, &with(&[]))].concat()).await;
    assert_eq!(streams_end(&mut socket, 2).await, [(1, End::Reset(CALM)), (3, End::Status(200))]);
    // What was on its way meanwhile belongs to nobody.
    *world.server.pause.lock().unwrap() = Duration::ZERO;
    let late = [frame(DATA, 0, 1, b"late"), frame(DATA, END_STREAM, 1, b""), frame(HEADERS, BOTH, 5, &with(&[]))].concat();
    socket.write_all(&late).await.unwrap();
    while streams_end(&mut socket, 1).await != [(5, End::Status(200))] {}
    assert_eq!(world.server.taken().len(), 2, "the slow one never arrives");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_whose_body_is_too_slow_is_told_and_asks_on_by_the_same_connection() {
    let world = impatient().await;
    let (client, connection) = h2::client::handshake(world.connect().await).await.unwrap();
    let connection = tokio::spawn(connection);
    let asked = |method: &str| http::Request::builder().method(method).uri("http://a.test/a").body(()).unwrap();
    let mut client = client.ready().await.unwrap();
    for _ in 0..3 {
        let (answer, mut body) = client.send_request(asked("POST"), false).unwrap();
        body.send_data(bytes::Bytes::from_static(b"some"), false).unwrap();
        let told = timeout(Duration::from_secs(10), answer).await.expect("it is told").unwrap_err();
        assert_eq!((told.is_reset(), told.reason()), (true, Some(h2::Reason::ENHANCE_YOUR_CALM)));
        client = client.ready().await.unwrap();
        let (answer, _) = client.send_request(asked("GET"), true).unwrap();
        assert_eq!(answer.await.unwrap().status(), 200);
    }
    assert!(!connection.is_finished());
}

/// Its client streams what it has when it has it; so may its server.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_of_grpc_may_be_quiet_for_as_long_as_it_likes() {
    let world = impatient().await;
    let call = frame(HEADERS, END_HEADERS, 1, &but(":method", b"POST", &[("content-type", b"application/grpc+proto")]));
    let slow = frame(HEADERS, END_HEADERS, 3, &but(":method", b"POST", &[("content-type", b"application/json")]));
    let mut socket = begin(&world, &[call, slow].concat()).await;
    assert_eq!(streams_end(&mut socket, 1).await, [(3, End::Reset(CALM))], "nobody else may");
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    socket.write_all(&frame(DATA, END_STREAM, 1, b"hello")).await.unwrap();
    assert_eq!(streams_end(&mut socket, 1).await, [(1, End::Status(200))]);
    // It is no call any more, and nobody is excused for it.
    socket.write_all(&frame(HEADERS, END_HEADERS, 5, &but(":method", b"POST", &[]))).await.unwrap();
    assert_eq!(streams_end(&mut socket, 1).await, [(5, End::Reset(CALM))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_and_one_that_asked_often_are_ended_in_good_order() {
    let world = World::configured(|config| {
        config.listeners[0].http2 = true;
        config.limits.idle = Duration::from_millis(400);
        config.limits.requests_per_connection = 3;
        config.limits.head_within = Duration::from_millis(500);
    })
    .await;
    assert!(is_left(begin(&world, b"").await).await, "idle");
    let three: Vec<u8> = (0..3).flat_map(|stream| frame(HEADERS, BOTH, stream * 2 + 1, &with(&[]))).collect();
    let mut socket = begin(&world, &three).await;
    let (mut answered, mut told) = (0, false);
    loop {
        let mut head = [0; 9];
        match timeout(Duration::from_secs(10), socket.read_exact(&mut head)).await.expect("it is ended") {
            Ok(_) => {}
            Err(_) => break,
        }
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        socket.read_exact(&mut payload).await.unwrap();
        match head[3] {
            HEADERS => answered += 1,
            GOAWAY => {
                assert_eq!(payload[4..8], [0; 4], "no error");
                told = true;
            }
            _ => {}
        }
    }
    assert_eq!((answered, told), (3, true));
}
