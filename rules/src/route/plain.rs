//! A request written down: for `[[test]]`s, `ficus explain` and tests. The gateway has its own.

use std::collections::BTreeMap;

use super::Request;
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
        let path = path::normalise(raw)?;
        Ok(PlainRequest { method: method.to_ascii_uppercase(), path, query: query.to_owned(), ..PlainRequest::default() })
    }

    /// With a host name; a port is cut off.
    #[must_use]
    pub fn with_host(self, host: &str) -> PlainRequest {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => host,
        };
        PlainRequest { host: name.to_ascii_lowercase(), ..self }
    }

    /// With a header; the cookies come in the header `cookie`.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> PlainRequest {
        self.headers.entry(name.to_ascii_lowercase()).or_insert_with(|| value.to_owned());
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
        self.headers.get(name).map(String::as_str)
    }

    fn cookie(&self, name: &str) -> Option<&str> {
        let pairs = self.headers.get("cookie")?.split(';').filter_map(|pair| pair.trim().split_once('='));
        pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).next_back()
    }
}
