//! A request written down: for `[[test]]`s, `ficus explain` and tests. The gateway has its own.

use std::collections::BTreeMap;

use super::{Request, host_and_port, may_be_sent};
use crate::path;

/// A request in its parts, normalised as the gateway does it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlainRequest {
    method: String,
    host: String,
    path: String,
    query: String,
    headers: BTreeMap<String, String>,
}

impl PlainRequest {
    /// A request of a method for a target (path with query), without a host.
    ///
    /// # Errors
    /// Why the gateway would answer 400.
    pub fn new(method: &str, target: &str) -> Result<PlainRequest, &'static str> {
        let (raw, query) = target.split_once('?').unwrap_or((target, ""));
        let method = method.to_ascii_uppercase();
        let path = path::normalise(if raw == "*" && method == "OPTIONS" { "/" } else { raw })?;
        Ok(PlainRequest { method, path, query: query.to_owned(), ..PlainRequest::default() })
    }

    /// With the header `host`: a name, perhaps with a port. An empty one is none.
    #[must_use]
    pub fn with_host(self, host: &str) -> PlainRequest {
        if host.is_empty() { self } else { self.with_header("host", host) }
    }

    /// With a header; the cookies come in the header `cookie`. Of several of one name the first counts, of cookies all.
    /// What clients may not send is left out.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> PlainRequest {
        let name = name.to_ascii_lowercase();
        if !may_be_sent(&name) {
            return self;
        }
        if name == "host" && !self.headers.contains_key("host") {
            self.host = host_and_port(value).0.to_ascii_lowercase();
        }
        let cookies = name == "cookie";
        let known = self.headers.entry(name);
        let known = known.and_modify(|known| {
            if cookies {
                known.extend(["; ", value])
            }
        });
        known.or_insert_with(|| value.to_owned());
        self
    }
}

impl Request for PlainRequest {
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
        let visible = |value: &&String| value.bytes().all(|byte| byte == b'\t' || (b' '..0x7f).contains(&byte));
        self.headers.get(name).filter(visible).map(String::as_str)
    }

    fn cookie(&self, name: &str) -> Option<&str> {
        let pairs = self.headers.get("cookie")?.split(';').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(key, _)| key.trim() == name).map(|(_, value)| value.trim()).next_back()
    }
}

#[cfg(test)]
mod tests {
    use super::PlainRequest;
    use crate::route::Request as _;

    #[test]
    fn a_request_is_written_down_as_the_gateway_reads_it() {
        let request = PlainRequest::new("options", "*?a=b").expect("a plain request").with_host("School.test:8080").with_host("other.test");
        assert_eq!((request.method(), request.path(), request.query()), ("OPTIONS", "/", "a=b"));
        assert_eq!((request.host(), request.header("host")), ("school.test", Some("School.test:8080")));
        let request =
            request.with_header("Cookie", "a=1; b = 2 ;lone").with_header("cookie", "a=3").with_header("X-A", "1").with_header("x-a", "2");
        assert_eq!((request.cookie("a"), request.cookie("b"), request.header("x-a")), (Some("3"), Some("2"), Some("1")));
        let dropped = request.with_header("x_a", "1").with_header("X-Ficus-Side", "modern").with_header("x-name", "Jörg");
        assert!(["x_a", "x-ficus-side", "x-name"].iter().all(|name| dropped.header(name).is_none()));
    }
}
