//! One answer that is kept: for how long, for which requests, and what is said of it. RFC 9111 is the crate
//! `http-cache-semantics`'s; what a route adds to it is here.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use ficus_rules::Timestamp;
use ficus_rules::plan::Caching;
use http::{HeaderMap, HeaderValue, StatusCode, Version, header, request, response};
use http_cache_semantics::{BeforeRequest, CacheOptions, CachePolicy};
use pingora::http::ResponseHeader;

/// Headers that are made anew. What speaks of one connection was taken out of an answer when it came (`hops`), but for its framing.
const MADE_ANEW: [&str; 4] = ["x-request-id", "transfer-encoding", "content-length", "age"];

/// An answer that is kept.
#[derive(Debug)]
pub(super) struct Kept {
    policy: CachePolicy,
    until: SystemTime,
    asked_at: Timestamp,
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// What a caller gets.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// 304 if the caller has it already.
    pub(crate) status: StatusCode,
    /// Its headers, with `Age`.
    pub(crate) headers: HeaderMap,
    /// Its body.
    pub(crate) body: Bytes,
}

/// Whether an answer may be kept, as far as its head says without the request. One whose end cannot be told from a
/// connection that broke may not.
pub(super) fn may_be_kept(head: &ResponseHeader) -> bool {
    let ends = head.version == Version::HTTP_2
        || head.headers.contains_key(header::CONTENT_LENGTH)
        || head.headers.contains_key(header::TRANSFER_ENCODING)
        || head.status == StatusCode::NO_CONTENT;
    let said = |name: header::HeaderName, what: &str| {
        let mut lines = head.headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
        lines.any(|line| line.split(',').any(|word| word.trim().eq_ignore_ascii_case(what)))
    };
    ends && head.status != StatusCode::PARTIAL_CONTENT
        && !head.headers.contains_key(header::SET_COOKIE)
        && !said(header::CACHE_CONTROL, "no-store")
        && !said(header::VARY, "*")
}

impl Kept {
    /// `alone`: it is one caller's, so that a private answer may be kept. `None`: it may not be kept, or not for a moment.
    pub(super) fn new(
        request: &request::Parts,
        head: &ResponseHeader,
        body: Bytes,
        rule: Caching,
        alone: bool,
        asked_at: Timestamp,
        now: SystemTime,
    ) -> Option<Kept> {
        let mut headers = head.headers.clone();
        let says = |headers: &HeaderMap| headers.contains_key(header::CACHE_CONTROL) || headers.contains_key(header::EXPIRES);
        let (mut judged, ()) = http::Response::builder().status(head.status).body(()).ok()?.into_parts();
        judged.headers = headers.clone();
        if let Some(default) =
            rule.by_default.filter(|_| !says(&headers) && !headers.contains_key(header::PRAGMA) && head.status == StatusCode::OK)
        {
            let told = HeaderValue::from_str(&format!("max-age={}", default.as_secs())).ok()?;
            judged.headers.insert(header::CACHE_CONTROL, told);
        }
        let policy = policy(request, &judged, alone, now);
        let lives = policy.time_to_live(now).min(rule.at_most);
        if !policy.is_storable() || lives.is_zero() {
            return None;
        }
        MADE_ANEW.iter().for_each(|name| drop(headers.remove(*name)));
        Some(Kept { policy, until: now + lives, asked_at, status: head.status, headers, body })
    }

    /// What a request gets, if it may have this.
    pub(super) fn answer(&self, request: &request::Parts, now: SystemTime) -> Option<Answer> {
        let BeforeRequest::Fresh(told) = self.policy.before_request(request, now) else { return None };
        if now >= self.until {
            return None;
        }
        let mut headers = self.headers.clone();
        if let Some(age) = told.headers.get(header::AGE) {
            headers.insert(header::AGE, age.clone());
        }
        let known = self.is_known(request);
        let status = if known { StatusCode::NOT_MODIFIED } else { self.status };
        Some(Answer { status, headers, body: if known { Bytes::new() } else { self.body.clone() } })
    }

    /// Whether it answers the same question, fresh or not.
    pub(super) fn is_for(&self, request: &request::Parts) -> bool {
        matches!(self.policy.before_request(request, self.until), BeforeRequest::Fresh(_) | BeforeRequest::Stale { matches: true, .. })
    }

    /// Whether it was asked for after a time, by a clock that may be `skew` off.
    pub(super) fn is_after(&self, at: Timestamp, skew: Duration) -> bool {
        self.asked_at.since(at) > skew
    }

    /// Bytes, about.
    pub(super) fn size(&self) -> usize {
        let headers = |headers: &HeaderMap| headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 64).sum::<usize>();
        // The policy has the headers of both sides.
        size_of::<Kept>() + self.body.len() + 3 * headers(&self.headers) + 1024
    }

    /// Whether the caller has this very answer already (RFC 9110, 13.1.2).
    fn is_known(&self, request: &request::Parts) -> bool {
        let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
        let Some(tag) = self.headers.get(header::ETAG).and_then(|tag| tag.to_str().ok()).map(opaque) else { return false };
        let lines = request.headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|line| line.to_str().ok());
        self.status == StatusCode::OK && lines.flat_map(|line| line.split(',')).any(|known| known.trim() == "*" || opaque(known) == tag)
    }
}

/// No guesses: what does not say for how long it is good is good for no time.
fn policy(request: &request::Parts, answer: &response::Parts, alone: bool, now: SystemTime) -> CachePolicy {
    let options =
        CacheOptions { shared: !alone, cache_heuristic: 0.0, immutable_min_time_to_live: Duration::ZERO, ignore_cargo_cult: false };
    CachePolicy::new_options(request, answer, now, options)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use bytes::Bytes;
    use ficus_rules::Timestamp;
    use ficus_rules::plan::Caching;
    use http::request;
    use pingora::http::ResponseHeader;

    use super::{Kept, may_be_kept};

    fn request(headers: &[(&str, &str)]) -> request::Parts {
        let request = headers.iter().fold(http::Request::get("/a"), |request, (name, value)| request.header(*name, *value));
        request.body(()).expect("a request").into_parts().0
    }

    fn head(status: u16, headers: &[(&'static str, &'static str)]) -> ResponseHeader {
        let mut head = ResponseHeader::build(status, None).expect("a head");
        for (name, value) in headers {
            head.append_header(*name, *value).expect("a header");
        }
        head
    }

    /// For how many seconds an answer is good.
    fn lives(status: u16, headers: &[(&'static str, &'static str)], by_default: Option<u64>, alone: bool) -> Option<u64> {
        let (now, rule) =
            (SystemTime::now(), Caching { at_most: Duration::from_secs(60), by_default: by_default.map(Duration::from_secs) });
        let kept = Kept::new(&request(&[]), &head(status, headers), Bytes::from("x"), rule, alone, Timestamp::from(now), now)?;
        (0..=70).take_while(|second| kept.answer(&request(&[]), now + Duration::from_millis(1000 * second + 1)).is_some()).last()
    }

    #[test]
    fn an_answer_is_good_for_as_long_as_it_says_and_the_route_allows() {
        let said = |value| [("cache-control", value)];
        assert_eq!(lives(200, &said("max-age=10"), None, false), Some(9));
        assert_eq!(lives(200, &said("max-age=600"), None, false), Some(59), "the route says a minute");
        assert_eq!(lives(200, &said("max-age=10, s-maxage=20"), None, false), Some(19), "shared");
        assert_eq!(lives(200, &said("max-age=10, s-maxage=20"), None, true), Some(9), "its own");
        assert_eq!(lives(200, &[], None, false), None, "it says nothing");
        assert_eq!(lives(200, &[("last-modified", "Tue, 01 Jan 2019 00:00:00 GMT")], None, false), None, "nothing is guessed");
        assert_eq!(lives(200, &[], Some(5), false), Some(4), "the route says it");
        assert_eq!(lives(404, &[], Some(5), false), None);
        assert_eq!(lives(404, &said("max-age=5"), Some(9), false), Some(4));
        for value in ["no-store", "no-cache", "max-age=0", "private", "private, max-age=10"] {
            assert_eq!(lives(200, &said(value), Some(5), false), None, "{value}");
        }
        assert_eq!(lives(200, &said("private, max-age=10"), None, true), Some(9), "to its caller alone");
        for status in [500, 502, 503, 206] {
            assert_eq!(lives(status, &said("max-age=10"), Some(5), false), None, "{status}");
        }
    }

    #[test]
    fn what_sets_cookies_varies_by_anything_or_has_no_sure_end_is_not_kept() {
        let fine = ("content-length", "1");
        assert!(may_be_kept(&head(200, &[fine])) && may_be_kept(&head(200, &[("transfer-encoding", "chunked")])));
        for headers in
            [vec![], vec![fine, ("set-cookie", "a=b")], vec![fine, ("vary", "accept, *")], vec![fine, ("cache-control", "a, No-Store")]]
        {
            assert!(!may_be_kept(&head(200, &headers)), "{headers:?}");
        }
        assert!(!may_be_kept(&head(206, &[fine])));
    }

    #[test]
    fn what_an_answer_varies_by_must_be_the_same() {
        let (now, rule) = (SystemTime::now(), Caching { at_most: Duration::from_secs(60), by_default: None });
        let answer = head(200, &[("cache-control", "max-age=10"), ("vary", "Accept-Language"), ("etag", "\"7\"")]);
        let asked = request(&[("accept-language", "de")]);
        let kept = Kept::new(&asked, &answer, Bytes::from("x"), rule, false, Timestamp::from(now), now).expect("it may be kept");
        let status = |headers: &[(&str, &str)]| kept.answer(&request(headers), now).map(|answer| answer.status.as_u16());
        assert_eq!(status(&[("accept-language", "de")]), Some(200));
        assert_eq!((status(&[("accept-language", "en")]), status(&[])), (None, None));
        assert_eq!(status(&[("accept-language", "de"), ("cache-control", "no-cache")]), None, "asked for anew");
        assert_eq!(status(&[("accept-language", "de"), ("if-none-match", "\"6\", W/\"7\"")]), Some(304));
        assert!(kept.is_for(&request(&[("accept-language", "de")])) && !kept.is_for(&request(&[])));
        assert!(!kept.is_after(Timestamp::from(now), Duration::ZERO));
    }
}
