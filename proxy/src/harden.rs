//! What must not pass, whatever the rules say: requests that two servers could read in two ways, and headers that only
//! the gateway may set. Runs first; changes the head in place.

use http::{Method, StatusCode, Version, header};
use pingora::http::RequestHeader;

use crate::answer::Refusal;

/// Checks a head, takes out what clients may not send, and gives back the normalised path.
pub(crate) fn harden(head: &mut RequestHeader) -> Result<String, Refusal> {
    let refused = |why: &str| Err(Refusal::new(StatusCode::BAD_REQUEST, "bad_request", why));
    if head.method == Method::TRACE || head.method == Method::CONNECT {
        return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method", "this method is not served here"));
    }
    let lengths = head.headers.get_all(header::CONTENT_LENGTH).iter().count();
    if head.headers.contains_key(header::TRANSFER_ENCODING) && lengths > 0 {
        return refused("Content-Length and Transfer-Encoding exclude each other");
    }
    let listed = head.headers.get(header::CONTENT_LENGTH).is_some_and(|length| length.as_bytes().contains(&b','));
    if lengths > 1 || listed {
        return refused("more than one Content-Length");
    }
    let codings = head.headers.get_all(header::TRANSFER_ENCODING);
    if codings.iter().count() > 1 || codings.iter().any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
        return Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, "coding", "chunked is the only transfer coding served here"));
    }
    if head.version == Version::HTTP_11 && !head.headers.contains_key(header::HOST) {
        return refused("a Host header is missing");
    }
    if head.raw_path().iter().any(|byte| *byte <= b' ' || *byte >= 0x7f) {
        return refused("the target has a character that must be escaped");
    }
    let path = match head.uri.path() {
        "*" if head.method == Method::OPTIONS => "/".to_owned(),
        path => ficus_rules::path::normalise(path).or_else(refused)?,
    };
    let dropped: Vec<_> = head.headers.keys().filter(|name| !ficus_rules::route::may_be_sent(name.as_str())).cloned().collect();
    for name in dropped {
        head.remove_header(&name);
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use pingora::http::RequestHeader;

    use super::harden;

    fn head(method: &str, path: &str, headers: &[(&'static str, &str)]) -> RequestHeader {
        let mut head = RequestHeader::build(method, path.as_bytes(), None).expect("a head");
        for (name, value) in headers {
            head.append_header(*name, *value).expect("a header");
        }
        head
    }

    #[test]
    fn what_two_servers_could_read_in_two_ways_is_refused() {
        let host = ("host", "a.test");
        let status =
            |method, path, headers: &[_]| harden(&mut head(method, path, headers)).map_or_else(|refusal| refusal.status.as_u16(), |_| 200);
        assert_eq!(status("GET", "/", &[host]), 200);
        assert_eq!(status("POST", "/", &[host, ("content-length", "3"), ("transfer-encoding", "chunked")]), 400);
        assert_eq!(status("POST", "/", &[host, ("content-length", "3"), ("content-length", "3")]), 400);
        assert_eq!(status("POST", "/", &[host, ("content-length", "2, 2")]), 400);
        assert_eq!(status("POST", "/", &[host, ("transfer-encoding", "gzip, chunked")]), 501);
        assert_eq!(status("GET", "/", &[]), 400);
        assert_eq!(status("TRACE", "/", &[host]), 405);
        assert_eq!(status("GET", "/a/%2e%2e/%2e%2e/b", &[host]), 400);
        assert_eq!(status("GET", "/a%2fb", &[host]), 400);
    }

    #[test]
    fn headers_of_the_gateway_and_underscores_do_not_pass() {
        let headers = [("host", "a"), ("x-ficus-side", "modern"), ("x_forwarded_for", "1.2.3.4"), ("ficus-wrote", "x"), ("accept", "y")];
        let mut head = head("GET", "//x/./y", &headers);
        assert_eq!(harden(&mut head).map_err(|refusal| refusal.status), Ok("/x/y".to_owned()));
        let mut left: Vec<&str> = head.headers.keys().map(|name| name.as_str()).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "ficus-wrote", "host"]);
    }
}
