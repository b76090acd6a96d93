//! A request as rules see it: what was read out of its head once, and kept.

use ficus_rules::route::{Request, host_and_port};
use http::HeaderMap;
use pingora::http::RequestHeader;

/// What was read out of a request's head.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    /// The method, upper case.
    pub(crate) method: String,
    /// The host name, lower case, without port.
    pub(crate) host: String,
    /// The port that the `Host` header names.
    pub(crate) port: Option<u16>,
    /// The normalised path.
    pub(crate) path: String,
    /// The path as it came, where that is another.
    pub(crate) raw_path: Option<String>,
    /// The raw query, without `?`.
    pub(crate) query: String,
    /// The cookies of all `Cookie` lines, in order.
    pub(crate) cookies: Vec<Cookie>,
    headers: HeaderMap,
}

/// A cookie as it was sent. Bytes that are no text stay what they were on the way through.
#[derive(Debug, Clone)]
pub(crate) struct Cookie {
    /// Its name.
    pub(crate) name: String,
    /// Name and value, as they were sent.
    pub(crate) pair: Vec<u8>,
    value: String,
}

impl Asked {
    /// Reads a head. `path` is the normalised path.
    pub(crate) fn read(head: &RequestHeader, path: String) -> Asked {
        let authority = head.headers.get(http::header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let (host, port) = host_and_port(authority);
        Asked {
            method: head.method.as_str().to_owned(),
            host: host.to_ascii_lowercase(),
            port,
            raw_path: Some(head.uri.path()).filter(|raw| *raw != path).map(ToOwned::to_owned),
            path,
            query: head.uri.query().unwrap_or_default().to_owned(),
            cookies: cookies(&head.headers),
            headers: head.headers.clone(),
        }
    }

    /// The headers as the client sent them, without those that no client may send.
    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The values of all cookies of a name, in order. Which of several counts is each framework's own choice.
    pub(crate) fn cookies_of(&self, name: &str) -> impl DoubleEndedIterator<Item = &str> {
        self.cookies.iter().filter(move |cookie| cookie.name == name).map(|cookie| cookie.value.as_str())
    }

    /// Whether the client would rather read JSON than a page.
    pub(crate) fn wants_json(&self) -> bool {
        let accept = self.header("accept").unwrap_or_default();
        !accept.contains("text/html")
    }
}

impl Request for Asked {
    fn method(&self) -> &str {
        &self.method
    }

    fn host(&self) -> &str {
        &self.host
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn query(&self) -> &str {
        &self.query
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    fn cookie(&self, name: &str) -> Option<&str> {
        // As Django reads them: of several cookies of one name, the last one counts.
        self.cookies_of(name).next_back()
    }
}

/// The cookies of all `Cookie` lines (RFC 6265, 5.4). One that has a strange byte must not hide the others.
fn cookies(headers: &HeaderMap) -> Vec<Cookie> {
    let lines = headers.get_all(http::header::COOKIE).iter();
    let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';')).map(<[u8]>::trim_ascii);
    pairs.filter(|pair| !pair.is_empty()).map(Cookie::read).collect()
}

impl Cookie {
    /// Django takes a pair without `=` for the value of a cookie without a name.
    fn read(pair: &[u8]) -> Cookie {
        let text = String::from_utf8_lossy(pair);
        let (name, value) = text.split_once('=').unwrap_or(("", &text));
        Cookie { name: name.trim().to_owned(), value: value.trim().to_owned(), pair: pair.to_vec() }
    }
}

#[cfg(test)]
mod tests {
    use ficus_rules::route::Request as _;
    use pingora::http::RequestHeader;

    use super::Asked;

    #[test]
    fn cookies_are_read_from_every_line() {
        let mut head = RequestHeader::build("GET", b"/a?b=c", None).expect("a head");
        head.append_header("cookie", "sessionid=abc; csrftoken=d=e").expect("a header");
        head.append_header("cookie", "other=1").expect("a header");
        let asked = Asked::read(&head, "/a".to_owned());
        assert_eq!(asked.cookie("sessionid"), Some("abc"));
        assert_eq!(asked.cookie("csrftoken"), Some("d=e"));
        assert_eq!(asked.cookie("other"), Some("1"));
        assert_eq!(asked.query(), "b=c");
    }

    #[test]
    fn cookies_are_read_from_anything_that_can_be_a_header() {
        let corpus: [&[u8]; 3] = [b"sessionid=abc; csrftoken=d=e", b"=; ;;a", b"name=J\xf6rg; sessionid=\"x\""];
        crate::mutator::fuzz("cookies", &corpus, &[b";", b"=", b"; ", b"\"", b"sessionid="], |input| {
            let mut head = RequestHeader::build("GET", b"/a", None).expect("a head");
            let Ok(line) = http::HeaderValue::from_bytes(input) else { return 0 };
            head.append_header("cookie", line).expect("a header");
            let asked = Asked::read(&head, "/a".to_owned());
            let kept: usize = asked.cookies.iter().map(|cookie| cookie.pair.len()).sum();
            assert!(kept <= input.len() && asked.cookies.iter().all(|cookie| !cookie.pair.contains(&b';')), "a cookie of nobody's");
            1 + asked.cookies.len().min(5)
        });
    }

    #[test]
    fn a_strange_byte_in_one_cookie_leaves_the_others_alone() {
        let mut head = RequestHeader::build("GET", b"/a", None).expect("a head");
        head.append_header("cookie", &b"name=J\xf6rg; sessionid=abc; \xff; lone"[..]).expect("a header");
        let asked = Asked::read(&head, "/a".to_owned());
        assert_eq!(asked.cookie("sessionid"), Some("abc"));
        assert_eq!(asked.cookies[0].pair, b"name=J\xf6rg");
    }

    #[test]
    fn the_last_of_several_cookies_of_one_name_counts_as_in_django() {
        let mut head = RequestHeader::build("GET", b"/a", None).expect("a head");
        head.append_header("cookie", "sessionid=first; sessionid=second").expect("a header");
        head.append_header("cookie", "sessionid=third").expect("a header");
        let asked = Asked::read(&head, "/a".to_owned());
        assert_eq!((asked.cookie("sessionid"), asked.cookies_of("sessionid").next()), (Some("third"), Some("first")));
        let plain = ficus_rules::route::PlainRequest::new("GET", "/a").expect("a request");
        assert_eq!(plain.with_header("cookie", "sessionid=first; sessionid=second").cookie("sessionid"), Some("second"));
    }
}
