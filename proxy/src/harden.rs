//! What must not pass, whatever the rules say: requests that two servers could read in two ways, headers that only the
//! gateway may set, clients that are too slow, too large or too many. Does not know routes, except to find out whether
//! two spellings of a path would take different ones.
//!
//! `guard` looks at the bytes of a connection before the parser does (HTTP/1): `wire`, `head` and `chunks` say what they mean,
//! `clock` how long they may take. `multiplexed` looks at the frames of HTTP/2: `frames`, `conduct` and `calls` say the same of them.
//! [`harden`] looks at the parsed head of either.

mod calls;
mod chunks;
mod clock;
mod conduct;
mod fault;
mod frames;
#[cfg(test)]
mod fuzz;
mod guard;
mod head;
mod multiplexed;
mod outbox;
mod pass_on;
mod places;
mod stall;
mod wire;

use ficus_rules::decide::{Snapshot, is_ambiguous};
use ficus_rules::path;
use ficus_rules::route::may_be_sent;
use http::{Method, StatusCode, Version, header};
use pingora::http::RequestHeader;

pub(crate) use calls::{Call, Calls, mark_of_socket};
pub(crate) use conduct::STREAM_WINDOW;
pub(crate) use fault::Fault;
pub(crate) use frames::PREFACE;
pub(crate) use guard::{Guard, Next};
pub(crate) use multiplexed::Multiplexed;
pub(crate) use pass_on::pass_on;
pub(crate) use places::{Place, Places};

use crate::answer::Refusal;
use crate::asked::Asked;
use crate::config::Limits;

/// Checks a head, takes out what clients may not send, and gives back the normalised path. `opens`: the guard saw it ask
/// for a WebSocket.
pub(crate) fn harden(head: &mut RequestHeader, opens: bool, limits: &Limits) -> Result<String, Refusal> {
    if head.version == Version::HTTP_2 {
        as_read_by_the_guard(head, limits)?;
    }
    if head.method == Method::TRACE || head.method == Method::CONNECT {
        return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method", "this method is not served here"));
    }
    match head.headers.get(header::HOST) {
        None if head.version >= Version::HTTP_11 => return refused("a Host header is missing"),
        Some(host) if !is_host(host.as_bytes()) => return refused("the Host header is not understood"),
        _ => {}
    }
    if head.headers.get_all(header::EXPECT).iter().any(|expected| !expected.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Err(Refusal::new(StatusCode::EXPECTATION_FAILED, "expectation", "100-continue is the only expectation met here"));
    }
    if head.version == Version::HTTP_2 {
        // Nobody could pass on a 100; the body comes without it.
        head.remove_header(&header::EXPECT);
    }
    to_origin_form(head)?;
    let path = match head.uri.path() {
        "*" if head.method == Method::OPTIONS => "/".to_owned(),
        path => path::normalise(path).or_else(refused)?,
    };
    let dropped: Vec<_> = head.headers.keys().filter(|name| !passes(name.as_str(), opens)).cloned().collect();
    for name in dropped {
        head.remove_header(&name);
    }
    Ok(path)
}

/// What the guard of HTTP/1 has looked at in the bytes of a head, in a head of HTTP/2; its authority becomes the `Host`. That
/// it is the one that a `Host` says, and that lengths are right, was checked before.
fn as_read_by_the_guard(head: &mut RequestHeader, limits: &Limits) -> Result<(), Refusal> {
    // Browsers send each cookie as a header of its own (RFC 9113, 8.2.3).
    if head.headers.keys().filter(|name| **name != header::COOKIE).map(|name| head.headers.get_all(name).iter().count()).sum::<usize>()
        > limits.headers
    {
        return Err(Fault::large_head("there are too many headers").refusal());
    }
    if head.raw_path().len() > limits.target {
        return Err(Fault::long_target().refusal());
    }
    // A fragment is cut off before anybody here sees the path.
    if head.raw_path().iter().any(|byte| !matches!(byte, 0x21..=0x7e)) {
        return refused("the target has a character that must be escaped");
    }
    if head.headers.get_all(header::CONTENT_LENGTH).iter().count() > 1 {
        return refused("the length of the body is said twice");
    }
    let length = head.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > limits.body) {
        return Err(Fault::large_body().refusal());
    }
    if let Some(authority) =
        head.uri.authority().map(|authority| authority.as_str().to_owned()).filter(|_| !head.headers.contains_key(header::HOST))
    {
        let _ = head.insert_header(header::HOST, authority);
    }
    Ok(())
}

/// Refuses a path that takes another route as it is spelled than as it is matched: some servers resolve dot segments and
/// merge slashes, others do not, and the rules would hold for one reading only.
pub(crate) fn agree(snapshot: &Snapshot, asked: &Asked, raw: &str) -> Result<(), Refusal> {
    match raw != asked.path && is_ambiguous(snapshot, asked, raw) {
        false => Ok(()),
        true => refused("servers could read the path in two ways: leave out dot segments and doubled slashes"),
    }
}

fn refused<T>(why: &str) -> Result<T, Refusal> {
    Err(Refusal::new(StatusCode::BAD_REQUEST, "bad_request", why))
}

/// A path, or an asterisk with OPTIONS. An absolute target is for proxies; servers get its path (RFC 9112, 3.2). That its
/// authority is the `Host`'s, pingora has checked.
fn to_origin_form(head: &mut RequestHeader) -> Result<(), Refusal> {
    let target = head.raw_path();
    let web = |scheme: &[u8]| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    match target {
        [b'/', ..] => return Ok(()),
        b"*" if head.method == Method::OPTIONS => return Ok(()),
        _ if (web(b"http://") || web(b"https://")) && head.headers.contains_key(header::HOST) => {}
        _ => return refused("the target is not understood"),
    }
    let uri = &head.uri;
    let origin = uri.query().map_or_else(|| uri.path().to_owned(), |query| format!("{}?{query}", uri.path()));
    let origin = origin.parse().or_else(|_| refused("the target is not understood"))?;
    head.set_uri(origin);
    Ok(())
}

/// A name or address, perhaps with a port, in the characters that all servers agree on.
fn is_host(host: &[u8]) -> bool {
    let (name, port) = match host.iter().rposition(|byte| *byte == b':') {
        Some(colon) if !host[colon..].contains(&b']') => (&host[..colon], Some(&host[colon + 1..])),
        _ => (host, None),
    };
    let port = port.is_none_or(|port| (1..=5).contains(&port.len()) && port.iter().all(u8::is_ascii_digit));
    let named = match name {
        [b'[', address @ .., b']'] => str::from_utf8(address).is_ok_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok()),
        name => !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')),
    };
    port && named && host.len() <= 260
}

/// Besides what no client may send: `Proxy`, which becomes the variable by which programs are told their proxy, and an
/// upgrade to anything but a WebSocket, which is not offered.
fn passes(name: &str, opens: bool) -> bool {
    may_be_sent(name) && name != "proxy" && (name != "upgrade" || opens)
}

#[cfg(test)]
mod tests;
