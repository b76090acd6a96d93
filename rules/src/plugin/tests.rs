//! Plugins alone: what each says to a request. That the gateway does it is shown in `proxy/tests/plugins`.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use proptest::prelude::*;

use super::compression::{AnswerHead, Coding, Packing};
use super::quota::{By, Verdict, admit};
use super::*;
use crate::route::PlainRequest;

fn request(method: &str, target: &str) -> PlainRequest {
    PlainRequest::new(method, target).unwrap().with_host("school.example.test")
}

fn asking<'a>(request: &'a PlainRequest, params: &'a BTreeMap<String, String>) -> Asking<'a> {
    Asking { request, params, client: Some("192.0.2.7".parse().unwrap()), https: false }
}

fn quota(count: u32, seconds: u64, burst: u32) -> Quota {
    Quota { count, per: Duration::from_secs(seconds), burst }
}

/// A bucket of whole requests that is refilled drop by drop, in fractions without rounding: what GCRA stands for.
struct Bucket {
    /// Requests times the microseconds that one takes.
    level: u64,
    last: u64,
}

impl Bucket {
    fn refilled(&self, quota: &Quota, now: u64) -> u64 {
        (self.level + (now - self.last)).min(quota.tolerance())
    }
}

fn naive(quotas: &[Quota], buckets: &mut [Bucket], now: u64) -> bool {
    let enough = quotas.iter().zip(&*buckets).all(|(quota, bucket)| bucket.refilled(quota, now) >= quota.interval());
    for (quota, bucket) in quotas.iter().zip(buckets) {
        bucket.level = bucket.refilled(quota, now) - if enough { quota.interval() } else { 0 };
        bucket.last = now;
    }
    enough
}

fn some_quota() -> impl Strategy<Value = Quota> {
    (1..200_u32, prop::sample::select(vec![1_u64, 60, 3_600]), 1..50_u32)
        .prop_map(|(count, per, burst)| quota(count, per, burst.min(count)))
}

proptest! {
    #[test]
    fn a_limit_counts_as_buckets_of_drops_do(
        quotas in prop::collection::vec(some_quota(), 1..4),
        gaps in prop::collection::vec(prop_oneof![0..10_u64, 0..2_000_000_u64, 0..600_000_000_u64], 1..120),
    ) {
        let mut now = 1_000_000_000_000;
        let mut buckets: Vec<Bucket> = quotas.iter().map(|quota| Bucket { level: quota.tolerance(), last: now }).collect();
        let mut full = Vec::new();
        for gap in gaps {
            now += gap;
            let verdict = admit(&quotas, &mut full, now).unwrap();
            prop_assert_eq!(verdict.allowed, naive(&quotas, &mut buckets, now));
            let least = quotas.iter().zip(&buckets).map(|(quota, bucket)| bucket.level / quota.interval()).min().unwrap();
            if verdict.allowed {
                prop_assert_eq!(u64::from(verdict.remaining), least);
                prop_assert_eq!(verdict.retry_after, Duration::ZERO);
            } else {
                // Who comes when told is let through, and a moment earlier is not.
                let wait = u64::try_from(verdict.retry_after.as_micros()).unwrap();
                prop_assert!(admit(&quotas, &mut full.clone(), now + wait).unwrap().allowed);
                prop_assert!(!admit(&quotas, &mut full.clone(), now + wait - 1).unwrap().allowed);
            }
        }
    }

    #[test]
    fn a_query_is_changed_without_losing_a_parameter(query in "[a-c%=&+1-3]{0,24}") {
        let nothing = QueryChanges::default().of(&query);
        let pairs = |text: &str| text.split('&').filter(|pair| !pair.is_empty()).map(str::to_owned).collect::<Vec<_>>();
        prop_assert_eq!(pairs(&nothing), pairs(&query));
        let changes = QueryChanges { remove: vec!["a".to_owned()], ..QueryChanges::default() };
        let left = pairs(&changes.of(&query));
        let kept: Vec<String> = pairs(&query).into_iter().filter(|pair| crate::route::parameter(pair, "a").is_none()).collect();
        prop_assert_eq!(left, kept);
    }

    #[test]
    fn whatever_is_brought_as_credentials_is_read_without_a_panic(header in ".{0,60}") {
        let _ = credentials(Some(&header));
        let _ = PasswordHash::parse(&header);
    }
}

#[test]
fn a_quota_lets_its_burst_through_and_then_one_at_a_time() {
    let quotas = [quota(60, 60, 3)];
    let mut full = Vec::new();
    let mut at = |millis: u64| admit(&quotas, &mut full, 10_000_000 + millis * 1_000).unwrap();
    let told = |verdict: Verdict| (verdict.allowed, verdict.remaining, verdict.retry_after.as_millis());
    assert_eq!(told(at(0)), (true, 2, 0));
    assert_eq!(told(at(0)), (true, 1, 0));
    assert_eq!(told(at(0)), (true, 0, 0));
    assert_eq!(told(at(0)), (false, 0, 1_000));
    assert_eq!(told(at(400)), (false, 0, 600), "the refused one cost nothing");
    assert_eq!(told(at(1_000)), (true, 0, 0));
    assert_eq!(told(at(9_000)), (true, 2, 0));
}

#[test]
fn of_several_quotas_all_are_charged_or_none() {
    let quotas = [quota(2, 1, 2), quota(3, 3_600, 3)];
    let mut full = Vec::new();
    let allowed: Vec<bool> = [0, 0, 0, 600_000, 1_200_000].map(|at| admit(&quotas, &mut full, 5_000_000 + at).unwrap().allowed).to_vec();
    // The third is refused by the first quota and must not be charged to the second: the fourth is its third.
    assert_eq!(allowed, [true, true, false, true, false]);
}

#[test]
fn callers_are_told_apart_by_what_the_request_has() {
    let limit = |by: Vec<By>| RateLimit { scope: "users".into(), quotas: vec![quota(1, 1, 1)], by, shared: None, headers: true };
    let none = BTreeMap::new();
    let plain = request("GET", "/");
    let with_key = plain.clone().with_header("x-api-key", "secret-key");
    let by_key = limit(vec![By::Header("x-api-key".into()), By::User]);
    assert_eq!(by_key.key(&asking(&plain, &none), Some("7")), "users|user:7");
    assert_eq!(by_key.key(&asking(&plain, &none), None), "users|address:192.0.2.7", "at last the address");
    let hashed = by_key.key(&asking(&with_key, &none), Some("7"));
    assert!(hashed.starts_with("users|header:") && !hashed.contains("secret"), "{hashed}");
    let six = |address: &str| Asking { client: Some(address.parse().unwrap()), ..asking(&plain, &none) };
    let by_address = limit(vec![By::Address]);
    assert_eq!(by_address.key(&six("2001:db8::1"), None), by_address.key(&six("2001:db8::2:1"), None));
    assert_ne!(by_address.key(&six("2001:db8::1"), None), by_address.key(&six("2001:db8:0:1::1"), None));
}

#[test]
fn an_origin_is_one_only_as_a_whole() {
    let cors = |origins: &[&str]| Cors {
        origins: origins.iter().map(|origin| (*origin).to_owned()).collect(),
        methods: vec!["GET".into(), "PUT".into()],
        headers: vec!["authorization".into()],
        expose: vec![],
        credentials: false,
        max_age: Duration::from_secs(60),
    };
    let one = cors(&["https://app.example.test", "https://*.school.test"]);
    for (origin, allowed) in [
        ("https://app.example.test", true),
        ("https://app.example.test.evil.test", false),
        ("http://app.example.test", false),
        ("https://app.example.test:8443", false),
        ("null", false),
        ("https://a.school.test", true),
        ("https://a.b.school.test", true),
        ("https://school.test", false),
        ("https://.school.test", false),
        ("https://evilschool.test", false),
        ("https://evil.test/.school.test", false),
        ("https://evil.test:1@.school.test", false),
    ] {
        assert_eq!(one.allows(origin), allowed, "{origin}");
    }
    assert!(cors(&["*"]).allows("null"));
}

#[test]
fn a_password_itself_is_no_hash() {
    let good = [
        "$2y$12$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234",
        "pbkdf2_sha256$1000$salt$8I5koMVb6HjgW29RDSq2a7moSKBiP1LkxXT7m4qmKis=",
    ];
    for hash in good {
        let parsed = PasswordHash::parse(hash).unwrap();
        assert!(!format!("{parsed:?}").contains("salt") && !format!("{parsed:?}").contains("abc"), "not printed");
    }
    for text in [
        "sesame",
        "$2y$31$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234",
        "$2y$12$short",
        "pbkdf2_sha256$0$s$AA==",
        "$apr1$x$y",
        "pbkdf2_sha256$1$s$!",
    ] {
        assert!(PasswordHash::parse(text).is_err(), "{text}");
    }
    assert_eq!(credentials(Some("Basic b3BzOnNlc2E6bWU=")), Some(("ops".into(), "sesa:me".into())));
    assert_eq!(credentials(Some("basic b3BzOg==")), Some(("ops".into(), String::new())));
    for header in ["Bearer b3BzOg==", "Basic b3Bz", "Basic !", "Basic", ""] {
        assert_eq!(credentials(Some(header)), None, "{header}");
    }
}

#[test]
fn a_path_is_rewritten_by_whole_segments() {
    let rewrite = |path: Option<&str>, strip: Option<&str>, add: Option<&str>| Rewrite {
        side: None,
        path: path.map(Into::into),
        strip_prefix: strip.map(Into::into),
        add_prefix: add.map(Into::into),
        query: QueryChanges::default(),
    };
    let params = BTreeMap::from([("rest".to_owned(), "a/b".to_owned())]);
    let plain = request("GET", "/api/v1/a/b");
    let of = |rewrite: Rewrite, path: &str| rewrite.path(crate::Side::Legacy, path, &asking(&plain, &params));
    assert_eq!(of(rewrite(None, Some("/api"), None), "/api/v1").as_deref(), Some("/v1"));
    assert_eq!(of(rewrite(None, Some("/api"), None), "/api").as_deref(), Some("/"));
    assert_eq!(of(rewrite(None, Some("/api"), None), "/apiary/x"), None);
    assert_eq!(of(rewrite(None, Some("/api"), Some("/v2")), "/api/x").as_deref(), Some("/v2/x"));
    assert_eq!(of(rewrite(None, None, Some("/v2")), "/x").as_deref(), Some("/v2/x"));
    assert_eq!(of(rewrite(Some("/new/{rest}"), None, None), "/x").as_deref(), Some("/new/a/b"));
    let changes = QueryChanges {
        remove: vec!["debug".into()],
        rename: [("q".to_owned(), "search".to_owned())].into(),
        set: [("v".to_owned(), "a b&c".to_owned())].into(),
        default: [("page".to_owned(), "1".to_owned()), ("search".to_owned(), "none".to_owned())].into(),
    };
    assert_eq!(changes.of("q=x%20y&debug=1&z&v=0&debug"), "search=x%20y&z&v=a%20b%26c&page=1");
    assert_eq!(changes.of("page=3"), "page=3&v=a%20b%26c&search=none");
}

#[test]
fn a_version_is_found_where_the_rules_look() {
    let version = Version {
        from: vec![
            VersionFrom::Path("v".into()),
            VersionFrom::Header("accept".into()),
            VersionFrom::Header("x-v".into()),
            VersionFrom::Query("v".into()),
        ],
        default: Some("2".into()),
        serves: vec!["1".into(), "2".into()],
        gone: vec!["0".into()],
        header: None,
        deprecated: [("1".to_owned(), 5)].into(),
        sunset: BTreeMap::new(),
        link: Some("https://docs.example.test/v1".into()),
    };
    let none = BTreeMap::new();
    let in_path = BTreeMap::from([("v".to_owned(), "v1".to_owned())]);
    let found =
        |request: &PlainRequest, params: &BTreeMap<String, String>| version.asked(&asking(request, params)).map_err(|answer| answer.status);
    let plain = request("GET", "/?v=1");
    assert_eq!(found(&request("GET", "/"), &none), Ok("2".into()));
    assert_eq!(found(&plain, &none), Ok("1".into()));
    assert_eq!(found(&plain.clone().with_header("x-v", "v2"), &none), Ok("2".into()), "a header before the query");
    assert_eq!(found(&plain.clone().with_header("x-v", "2"), &in_path), Ok("1".into()), "the path before all");
    assert_eq!(found(&plain.clone().with_header("accept", "application/json;version=2"), &none), Ok("2".into()));
    assert_eq!(found(&plain.clone().with_header("x-v", "3"), &none), Err(400));
    assert_eq!(found(&plain.with_header("x-v", "0"), &none), Err(410));
    assert!(version.changes("1").iter().any(|change| *change == HeaderChange::Set("deprecation".into(), "@5".into())));
    assert!(!version.changes("2").iter().any(|change| matches!(change, HeaderChange::Set(..) | HeaderChange::Add(..))));
}

#[test]
fn a_body_is_packed_as_the_client_likes_it() {
    let packs =
        Compression { codings: vec![Coding::Brotli, Coding::Gzip], min: 100, types: vec!["text/*".into(), "application/json".into()] };
    let head =
        AnswerHead { status: 200, content_type: Some("application/json; charset=utf-8"), length: Some(5_000), ..AnswerHead::default() };
    let of = |accepted: &str, head: AnswerHead<'_>| packs.of(&request("GET", "/").with_header("accept-encoding", accepted), &head);
    for (accepted, expected) in [
        ("gzip", Packing::Packed(Coding::Gzip)),
        ("gzip, br", Packing::Packed(Coding::Brotli)),
        ("gzip, deflate, br;q=0.5", Packing::Packed(Coding::Gzip)),
        ("gzip;q=0", Packing::Varies),
        ("br;q=0, *", Packing::Packed(Coding::Gzip)),
        ("*;q=0", Packing::Varies),
        ("identity;q=1, gzip;q=0.5", Packing::Varies),
        ("deflate", Packing::Varies),
        ("", Packing::Varies),
        ("gzip;q=nonsense", Packing::Varies),
    ] {
        assert_eq!(of(accepted, head), expected, "{accepted}");
    }
    for (why, head) in [
        ("small", AnswerHead { length: Some(99), ..head }),
        ("coded", AnswerHead { coded: true, ..head }),
        ("ranged", AnswerHead { ranged: true, ..head }),
        ("not modified", AnswerHead { status: 304, ..head }),
        ("an image", AnswerHead { content_type: Some("image/png"), ..head }),
        ("events", AnswerHead { content_type: Some("text/event-stream"), ..head }),
        ("nothing", AnswerHead { content_type: None, ..head }),
        ("not to be changed", AnswerHead { cache_control: Some("public, No-Transform"), ..head }),
    ] {
        assert_eq!(of("gzip", head), Packing::Untouched, "{why}");
    }
    assert_eq!(of("gzip", AnswerHead { length: None, ..head }), Packing::Packed(Coding::Gzip), "a stream");
}

#[test]
fn a_page_leads_elsewhere_with_its_query() {
    let params = BTreeMap::from([("id".to_owned(), "42".to_owned())]);
    let redirect = |to: Option<&str>, keep_query| Redirect { to: to.map(Into::into), status: 308, keep_query };
    let plain = request("GET", "/old/42?a=1");
    let to = |redirect: Redirect, https| {
        let answer = redirect.answer(&Asking { https, ..asking(&plain, &params) })?;
        answer.headers.into_iter().find(|(name, _)| *name == "location").map(|(_, to)| to)
    };
    assert_eq!(to(redirect(Some("/new/{id}"), true), false).as_deref(), Some("/new/42?a=1"));
    assert_eq!(to(redirect(Some("/new/{id}?b=2"), true), false).as_deref(), Some("/new/42?b=2&a=1"));
    assert_eq!(to(redirect(Some("https://other.test/{id}"), false), false).as_deref(), Some("https://other.test/42"));
    assert_eq!(to(redirect(None, true), false).as_deref(), Some("https://school.example.test/old/42?a=1"));
    assert_eq!(to(redirect(None, true), true), None);
}
