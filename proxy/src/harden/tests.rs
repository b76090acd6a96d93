//! The parsed head. What the bytes say is tested from outside, with a corpus.

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
    let status = |method, path, headers: &[_]| {
        harden(&mut head(method, path, headers), false, &crate::config::Limits::default())
            .map_or_else(|refusal| refusal.status.as_u16(), |_| 200)
    };
    assert_eq!(status("GET", "/", &[host]), 200);
    assert_eq!(status("GET", "/", &[]), 400);
    assert_eq!(status("TRACE", "/", &[host]), 405);
    assert_eq!(status("GET", "/a/%2e%2e/%2e%2e/b", &[host]), 400);
    assert_eq!(status("GET", "/a%2fb", &[host]), 400);
    assert_eq!(status("GET", "/", &[host, ("expect", "a miracle")]), 417);
    for (value, wanted) in [
        ("a.test:8080", 200),
        ("[::1]:80", 200),
        ("[::1]", 200),
        ("under_score", 200),
        ("", 400),
        (":80", 400),
        ("a:", 400),
        ("a:b", 400),
        ("a:123456", 400),
        ("a b", 400),
        ("a,b", 400),
        ("a/b", 400),
        ("[::1", 400),
        ("::1", 400),
        ("[a.test]", 400),
        ("a\"b", 400),
    ] {
        assert_eq!(status("GET", "/", &[("host", value)]), wanted, "{value}");
    }
}

#[test]
fn headers_of_the_gateway_and_underscores_do_not_pass() {
    let headers = [
        ("host", "a"),
        ("x-ficus-side", "modern"),
        ("x_forwarded_for", "1.2.3.4"),
        ("ficus-wrote", "x"),
        ("ficus-other", "x"),
        ("upgrade", "h2c"),
        ("proxy", "evil.test:3128"),
        ("accept", "y"),
    ];
    let mut head = head("GET", "//x/./y", &headers);
    assert_eq!(harden(&mut head, false, &crate::config::Limits::default()).map_err(|refusal| refusal.status), Ok("/x/y".to_owned()));
    let mut left: Vec<&str> = head.headers.keys().map(|name| name.as_str()).collect();
    left.sort_unstable();
    assert_eq!(left, ["accept", "ficus-wrote", "host"]);
}
