//! Logs of requests, line by line: our own JSON, the combined format of nginx and Apache, or `METHOD PATH`. Decides by each
//! line what it is; does not decide where a request goes.

use std::io::{BufRead, Read as _, Result};

use ficus_rules::access::AccessLine;
use ficus_rules::comparison::Logged;

/// Longer lines are read over: no request is so long.
const LONGEST: u64 = 256 * 1024;

/// What a line is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Line {
    /// A request.
    Request(Box<Logged>),
    /// Nothing, or a remark.
    Empty,
    /// A request that no rule was asked about: refused as it is, or led to https, from where it comes again.
    Unruled,
    /// Not a line of any format.
    Unreadable,
}

/// Hands every line to `take`, with its length in bytes.
pub(super) fn read(mut from: impl BufRead, host: &str, mut take: impl FnMut(Line, u64)) -> Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut length = (&mut from).take(LONGEST).read_until(b'\n', &mut line)? as u64;
        if length == 0 {
            return Ok(());
        }
        if length == LONGEST && line.last() != Some(&b'\n') {
            length += skip_line(&mut from)?;
            take(Line::Unreadable, length);
            continue;
        }
        take(understood(&String::from_utf8_lossy(&line), host), length);
    }
}

fn skip_line(from: &mut impl BufRead) -> Result<u64> {
    let mut skipped = 0;
    loop {
        let piece = from.fill_buf()?;
        let end = piece.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let used = end.unwrap_or(piece.len());
        from.consume(used);
        skipped += used as u64;
        if end.is_some() || used == 0 {
            return Ok(skipped);
        }
    }
}

fn understood(line: &str, host: &str) -> Line {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Line::Empty;
    }
    if line.starts_with('{') {
        return serde_json::from_str(line).map_or(Line::Unreadable, ours);
    }
    let logged = combined(line).or_else(|| plain(line)).filter(|logged| logged.target.starts_with('/') || logged.target == "*");
    logged.map_or(Line::Unreadable, |logged| Line::Request(Box::new(Logged { host: host.to_owned(), ..logged })))
}

fn ours(line: AccessLine<'_>) -> Line {
    if line.path.is_empty() || line.refused.as_deref() == Some("to_https") {
        return Line::Unruled;
    }
    // As it came: what is matched is made of it, and other rules may refuse how it is spelled.
    let path = line.raw_path.as_ref().unwrap_or(&line.path);
    let target = if line.query.is_empty() { path.to_string() } else { format!("{path}?{}", line.query) };
    let cohort = line.capability.as_ref().zip(line.cohort.clone()).map(|(capability, cohort)| (capability.to_string(), cohort));
    let caller = line.client.as_deref().unwrap_or_default().to_owned();
    Line::Request(Box::new(Logged { method: line.method.into_owned(), target, host: line.host.into_owned(), caller, cohort }))
}

/// `203.0.113.7 - frank [10/Oct/2026:13:55:36 +0000] "GET /a?b=c HTTP/1.1" 200 2326 …`
fn combined(line: &str) -> Option<Logged> {
    let (before, after) = line.split_once('"')?;
    let (request, _) = after.split_once('"')?;
    let (request, protocol) = request.rsplit_once(' ')?;
    let mut who = before.split_whitespace();
    let (address, _, user) = (who.next()?, who.next()?, who.next()?);
    let caller = if user == "-" { address } else { user };
    protocol.starts_with("HTTP/").then_some(())?;
    Some(Logged { caller: caller.to_owned(), ..plain(request)? })
}

fn plain(line: &str) -> Option<Logged> {
    let (method, target) = line.split_once(' ')?;
    let is_method = method.len() <= 20 && !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
    let target = target.trim();
    (is_method && !target.contains(' ')).then(|| Logged { method: method.to_owned(), target: target.to_owned(), ..Logged::default() })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<Line> {
        let mut lines = Vec::new();
        read(text.as_bytes(), "school.test", |line, _| lines.push(line)).unwrap();
        lines
    }

    fn request(line: &str) -> Logged {
        match all(line).remove(0) {
            Line::Request(logged) => *logged,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn a_line_is_read_in_each_format() {
        let line = "203.0.113.7 - - [10/Oct/2026:13:55:36 +0000] \"GET /users/?page=2 HTTP/1.1\" 200 2326 \"-\" \"curl/8 \\\"x\\\"\"";
        let logged = request(line);
        assert_eq!((&*logged.method, &*logged.target, &*logged.caller), ("GET", "/users/?page=2", "203.0.113.7"));
        assert_eq!(request(&line.replace("- - [", "- frank [")).caller, "frank");
        let logged = request("POST /users/");
        assert_eq!((&*logged.method, &*logged.target, &*logged.host, &*logged.caller), ("POST", "/users/", "school.test", ""));
    }

    #[test]
    fn a_gateways_line_is_read_as_the_request_came() {
        let line = |more: AccessLine<'_>| all(&serde_json::to_string(&more).unwrap()).remove(0);
        let asked = |path: &'static str| AccessLine { method: "GET".into(), path: path.into(), ..AccessLine::default() };
        let target = |more| match line(more) {
            Line::Request(logged) => logged.target.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(target(AccessLine { query: "a=*".into(), ..asked("/users/7") }), "/users/7?a=*");
        assert_eq!(target(AccessLine { raw_path: Some("//users/./7".into()), ..asked("/users/7") }), "//users/./7");
        assert_eq!(line(asked("")), Line::Unruled);
        assert_eq!(line(AccessLine { refused: Some("to_https".into()), ..asked("/users/7") }), Line::Unruled);
    }

    #[test]
    fn what_is_no_request_is_told_and_the_next_line_read() {
        assert_eq!(all("\n# a remark\n"), [Line::Empty, Line::Empty]);
        for odd in ["hello", "{}", "{\"method\": 1}", "get /a", "GET http://a/", "GET a", "GET /a b", "1 - - [x] \"GET /a\" 200"] {
            assert_eq!(all(odd), [Line::Unreadable], "{odd}");
        }
        let long = format!("GET /{}\nGET /a\n", "x".repeat(600_000));
        let lines = all(&long);
        assert!(matches!(lines.as_slice(), [Line::Unreadable, Line::Request(_)]), "{}", lines.len());
    }

    #[test]
    fn every_byte_is_accounted_for() {
        let text = format!("GET /a\n{}\n\nGET /b", "y".repeat(700_000));
        let mut bytes = 0;
        read(text.as_bytes(), "", |_, length| bytes += length).unwrap();
        assert_eq!(bytes, text.len() as u64);
    }
}
