//! Changes of headers, made. On pingora's heads, and on the plain ones of mirrored copies.

use ficus_rules::plugin::HeaderChange;
use http::{HeaderMap, HeaderName, HeaderValue};
use pingora::http::{RequestHeader, ResponseHeader};

/// Headers that can be changed.
pub(crate) trait Headers {
    /// They as they are.
    fn map(&self) -> &HeaderMap;
    /// One value and no other.
    fn insert(&mut self, name: HeaderName, value: HeaderValue);
    /// One more line.
    fn append(&mut self, name: HeaderName, value: HeaderValue);
    /// None.
    fn take(&mut self, name: &HeaderName);

    /// One value and no other. What is no value of a header is left out: the rules were checked.
    fn set(&mut self, name: &str, value: &str) {
        if let Some((name, value)) = parsed(name, value) {
            self.insert(name, value);
        }
    }
}

macro_rules! pingora_headers {
    ($($head:ty),*) => {$(
        impl Headers for $head {
            fn map(&self) -> &HeaderMap {
                &self.headers
            }

            fn insert(&mut self, name: HeaderName, value: HeaderValue) {
                // It fails beyond thousands of headers only, and the head is then sent as it was.
                let _ = self.insert_header(name, value);
            }

            fn append(&mut self, name: HeaderName, value: HeaderValue) {
                let _ = self.append_header(name, value);
            }

            fn take(&mut self, name: &HeaderName) {
                self.remove_header(name);
            }
        }
    )*};
}

pingora_headers!(RequestHeader, ResponseHeader);

impl Headers for HeaderMap {
    fn map(&self) -> &HeaderMap {
        self
    }

    fn insert(&mut self, name: HeaderName, value: HeaderValue) {
        HeaderMap::insert(self, name, value);
    }

    fn append(&mut self, name: HeaderName, value: HeaderValue) {
        HeaderMap::append(self, name, value);
    }

    fn take(&mut self, name: &HeaderName) {
        self.remove(name);
    }
}

/// Makes the changes, in order.
pub(crate) fn apply(changes: &[HeaderChange], headers: &mut impl Headers) {
    for change in changes {
        match change {
            HeaderChange::Remove(name) => {
                if let Some(name) = named(name) {
                    headers.take(&name);
                }
            }
            HeaderChange::Rename(from, to) => rename(headers, from, to),
            HeaderChange::Set(name, value) => headers.set(name, value),
            HeaderChange::Add(name, value) => {
                if let Some((name, value)) = parsed(name, value) {
                    headers.append(name, value);
                }
            }
            HeaderChange::Default(name, value) => {
                if !headers.map().contains_key(name.as_str()) {
                    headers.set(name, value);
                }
            }
            HeaderChange::Vary(name) => vary(headers, name),
        }
    }
}

/// All lines of one header get another name, unless that name is taken.
fn rename(headers: &mut impl Headers, from: &str, to: &str) {
    let (Some(from), Some(to)) = (named(from), named(to)) else { return };
    let values: Vec<HeaderValue> = headers.map().get_all(&from).iter().cloned().collect();
    headers.take(&from);
    if !headers.map().contains_key(&to) {
        values.into_iter().for_each(|value| headers.append(to.clone(), value));
    }
}

/// Adds a name to `Vary`, unless it is there.
fn vary(headers: &mut impl Headers, name: &str) {
    let lines = headers.map().get_all(http::header::VARY).iter().filter_map(|line| line.to_str().ok());
    let mut named = lines.flat_map(|line| line.split(',')).map(str::trim);
    if !named.any(|known| known == "*" || known.eq_ignore_ascii_case(name))
        && let Ok(value) = HeaderValue::from_str(name)
    {
        headers.append(http::header::VARY, value);
    }
}

fn named(name: &str) -> Option<HeaderName> {
    HeaderName::from_bytes(name.as_bytes()).ok()
}

fn parsed(name: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    Some((named(name)?, HeaderValue::from_str(value).ok()?))
}
