//! Paths as the public knows them, and as they come in here: the gateway takes `/api/v1` away from the JSON ones.
//!
//! Decides where a redirect points to; never sends one anywhere but to this site.

use axum::http::HeaderMap;
use axum::http::uri::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The page that asks for a name and a password. It belongs to the monolith.
pub const LOGIN: &str = "/accounts/login/";
/// The header in which the gateway says what path was asked for.
const ORIGINAL_PATH: &str = "x-ficus-original-path";
/// What the gateway takes away in front of `/users/`.
const API: &str = "/api/v1";
/// What Django's `urlencode(safe="/")` leaves alone.
const IN_QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The path that was asked for in public, without its query.
pub fn public(uri: &Uri, headers: &HeaderMap) -> String {
    let told = headers.get(ORIGINAL_PATH).and_then(|value| value.to_str().ok());
    let told = told.map(|path| path.split(['?', '#']).next().unwrap_or_default());
    match told {
        Some(path) if is_local(path) => path.to_owned(),
        _ if uri.path().starts_with("/users") => format!("{API}{}", uri.path()),
        _ => uri.path().to_owned(),
    }
}

/// Where to log in and come back to this request.
pub fn login(uri: &Uri, headers: &HeaderMap) -> String {
    let wanted = with_query(public(uri, headers), uri);
    format!("{LOGIN}?next={}", utf8_percent_encode(&wanted, IN_QUERY))
}

/// The same request with the slash at its end, if that is an address of ours.
pub fn with_slash(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    if !needs_slash(uri.path()) {
        return None;
    }
    let mut path = public(uri, headers);
    if !path.ends_with('/') {
        path.push('/');
    }
    Some(with_query(path, uri))
}

/// The integer of a path segment: digits only, as in Django's `<int:pk>`.
pub fn integer(segment: &str) -> Option<i64> {
    segment.bytes().all(|byte| byte.is_ascii_digit()).then(|| segment.parse().ok()).flatten()
}

fn needs_slash(path: &str) -> bool {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    match segments.as_slice() {
        ["users"] | ["users", "me" | "health"] | ["accounts", "profile"] => true,
        ["manage", "users"] | ["manage", "users", "add"] => true,
        ["users", id] | ["users", id, "notes" | "photo"] => integer(id).is_some(),
        _ => false,
    }
}

fn with_query(mut path: String, uri: &Uri) -> String {
    if let Some(query) = uri.query() {
        path.push('?');
        path.push_str(query);
    }
    path
}

/// A browser reads `//host` and `/\host` as another site.
fn is_local(path: &str) -> bool {
    let mut bytes = path.bytes();
    bytes.next() == Some(b'/') && !matches!(bytes.next(), Some(b'/' | b'\\')) && !path.contains('\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(path: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(ORIGINAL_PATH.parse().expect("a name"), path.parse().expect("a value"))])
    }

    #[test]
    fn the_slash_is_added_to_the_public_path() {
        let uri = Uri::from_static("/users/7/notes?page=2");
        assert_eq!(with_slash(&uri, &HeaderMap::new()).as_deref(), Some("/api/v1/users/7/notes/?page=2"));
        let moved = told("/elsewhere/users/7/notes");
        assert_eq!(with_slash(&uri, &moved).as_deref(), Some("/elsewhere/users/7/notes/?page=2"));
        let page = Uri::from_static("/manage/users");
        assert_eq!(with_slash(&page, &HeaderMap::new()).as_deref(), Some("/manage/users/"));
    }

    #[test]
    fn what_is_no_address_gets_no_slash() {
        for path in ["/users/x", "/users/7/other", "/", "/nothing", "/users/-1"] {
            assert_eq!(with_slash(&path.parse().expect("a path"), &HeaderMap::new()), None, "{path}");
        }
    }

    #[test]
    fn a_redirect_never_leaves_the_site() {
        for path in ["//evil.test", "/\\evil.test", "http://evil.test/", ""] {
            assert_eq!(public(&Uri::from_static("/users"), &told(path)), "/api/v1/users", "{path}");
        }
    }

    #[test]
    fn login_comes_back_with_the_query() {
        let uri = Uri::from_static("/manage/users/?page=2");
        assert_eq!(login(&uri, &HeaderMap::new()), "/accounts/login/?next=/manage/users/%3Fpage%3D2");
    }
}
