//! Keeps web pages from operating the admin API: a page in an operator's browser reaches loopback too. A browser names the
//! page's origin with every request that could change something, and asks before it sends JSON across origins; it is never
//! told yes. Where there is no token, neither is a page whose own name now leads to this machine (DNS rebinding): to the
//! browser it is of the same origin.

use axum::body::HttpBody as _;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::Response;

use super::answer::problem;
use crate::access;

/// The answer to what comes from a foreign page; `None`: let it through. `by_name_only`: nothing else tells who asks.
pub(super) fn refused(request: &Request, by_name_only: bool) -> Option<Response> {
    let asked = asked(request);
    if by_name_only && !asked.is_none_or(access::is_loopback) {
        let detail = "without a token the admin API answers to `localhost` and loopback addresses only: ask 127.0.0.1, or name a \
                      token_file in [orchestrator]";
        return Some(problem(StatusCode::FORBIDDEN, detail));
    }
    if is_foreign(request.headers(), asked) {
        return Some(problem(StatusCode::FORBIDDEN, "a web page of another origin must not use the admin API"));
    }
    let writes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    (writes && !request.body().is_end_stream() && !is_json(request.headers()))
        .then(|| problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body must be JSON: `Content-Type: application/json`"))
}

/// The host that is asked, with its port; one that is no text is nobody's.
fn asked(request: &Request) -> Option<&str> {
    let host = request.headers().get(header::HOST).map(|host| host.to_str().unwrap_or_default());
    host.or_else(|| request.uri().authority().map(|authority| authority.as_str()))
}

/// Whether a page of another origin sends it: an `Origin` (RFC 6454) whose host is not the one that is asked.
fn is_foreign(headers: &HeaderMap, asked: Option<&str>) -> bool {
    let own = |origin: &str| {
        let host = ["http://", "https://"].iter().find_map(|scheme| origin.strip_prefix(scheme));
        host.zip(asked).is_some_and(|(host, asked)| without_port(host).eq_ignore_ascii_case(without_port(asked)))
    };
    headers.get_all(header::ORIGIN).iter().any(|origin| !origin.to_str().is_ok_and(own))
}

/// Without a port that goes without saying.
fn without_port(host: &str) -> &str {
    host.strip_suffix(":80").or_else(|| host.strip_suffix(":443")).unwrap_or(host)
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn an_origin_is_our_own_by_its_host_and_port() {
        for (host, origin, foreign) in [
            ("127.0.0.1:9000", "http://127.0.0.1:9000", false),
            ("Admin.test", "https://admin.test:443", false),
            ("127.0.0.1:9000", "http://127.0.0.1:9001", true),
            ("127.0.0.1:9000", "http://127.0.0.1:9000.evil.example", true),
            ("127.0.0.1:9000", "https://evil.example", true),
            ("127.0.0.1:9000", "null", true),
            ("127.0.0.1:9000", "", true),
        ] {
            let mut headers = HeaderMap::new();
            assert!(!is_foreign(&headers, Some(host)));
            headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            assert_eq!(is_foreign(&headers, Some(host)), foreign, "{host} {origin}");
        }
    }
}
