//! The headers of an answer that callers act upon: where it sends them, what it lets them do. All others (dates, caches,
//! cookies, names of servers) differ between two servers that say the same.

use std::collections::{BTreeMap, BTreeSet};

use super::{Answer, Difference, MISSING, difference, is_json, is_page, kind};
use crate::access::redacted;

/// The headers that are compared, in lower case. Of `Allow` only where it is the answer: to OPTIONS, and beside 405. Of
/// `Content-Length` only where it stands for a body that is compared byte by byte, and was not sent: in the answer to
/// HEAD.
pub const COMPARED: [&str; 8] = [
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "allow",
    "content-disposition",
    "content-length",
    "location",
];

/// Where the headers of two answers to a request of `method` differ. `ignore` may name some, like `header:location`.
pub(super) fn compare(method: &str, legacy: &Answer, modern: &Answer, ignore: &[String]) -> Vec<Difference> {
    let told = |name: &&str| matters(name, method, legacy, modern) && !ignore.iter().any(|path| ignores(path, name));
    let differing = COMPARED.into_iter().filter(told).filter_map(|name| {
        let (theirs, ours) = (value(&legacy.headers, name), value(&modern.headers, name));
        let same = match (theirs, ours) {
            (Some(theirs), Some(ours)) => same(name, theirs, ours),
            (theirs, ours) => theirs == ours,
        };
        let say = |value: Option<&str>| value.map_or(MISSING.to_owned(), |value| shown(name, value));
        (!same).then(|| difference(&format!("header:{name}"), &say(theirs), &say(ours)))
    });
    differing.collect()
}

fn matters(name: &str, method: &str, legacy: &Answer, modern: &Answer) -> bool {
    match name {
        "allow" => method == "OPTIONS" || legacy.status == 405,
        "content-length" => {
            let kind = kind(&legacy.content_type);
            let told = [legacy, modern].iter().all(|answer| answer.headers.contains_key(name));
            method == "HEAD" && told && !is_page(&kind) && !is_json(&kind)
        }
        _ => true,
    }
}

/// A header as it is told: where it leads to, without the values of a query.
fn shown(name: &str, value: &str) -> String {
    match value.split_once('?').filter(|_| name == "location") {
        Some((path, query)) => format!("{path}?{}", redacted(query)),
        None => value.to_owned(),
    }
}

fn ignores(path: &str, name: &str) -> bool {
    path.strip_prefix("header:").is_some_and(|ignored| ignored.eq_ignore_ascii_case(name))
}

fn value<'a>(headers: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.trim())
}

fn same(name: &str, theirs: &str, ours: &str) -> bool {
    match name {
        "allow" | "access-control-allow-headers" | "access-control-allow-methods" => set(theirs) == set(ours),
        // One may name the host that both were asked for, the other leave it out.
        "location" if is_absolute(theirs) != is_absolute(ours) => path_of(theirs) == path_of(ours),
        _ => theirs == ours,
    }
}

/// The members of a list, whose order and case mean nothing.
fn set(list: &str) -> BTreeSet<String> {
    list.split(',').map(|item| item.trim().to_ascii_lowercase()).filter(|item| !item.is_empty()).collect()
}

fn is_absolute(location: &str) -> bool {
    location.starts_with("http://") || location.starts_with("https://")
}

/// A location without scheme and host.
fn path_of(location: &str) -> &str {
    match location.split_once("://").filter(|_| is_absolute(location)) {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => location,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Answer, Leniency, Noise, compare};

    fn answer(status: u16, content_type: &str, headers: &[(&str, &str)]) -> Answer {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Answer { status, content_type: content_type.into(), headers, ..Answer::default() }
    }

    fn differing(method: &str, legacy: &Answer, modern: &Answer, ignore: &[&str]) -> Vec<String> {
        let ignore: Vec<String> = ignore.iter().map(ToString::to_string).collect();
        let lenient = Leniency { ignore, ..Leniency::default() };
        compare(method, legacy, modern, &lenient, &Noise::default()).into_iter().map(|difference| difference.path).collect()
    }

    #[test]
    fn of_a_redirect_the_query_is_not_told() {
        let to = |location: &str| answer(302, "", &[("location", location)]);
        let found = compare("GET", &to("/login/?next=/a&token=s3cret"), &to("/login/"), &Leniency::default(), &Noise::default());
        assert_eq!((&*found[0].legacy, &*found[0].modern), ("/login/?next=*&token=*", "/login/"));
    }

    #[test]
    fn a_redirect_elsewhere_differs_and_one_that_names_the_host_does_not() {
        let to = |location| answer(302, "", &[("location", location)]);
        let differing = |a, b, ignore: &[&str]| differing("GET", &to(a), &to(b), ignore).len();
        assert_eq!(differing("/login/?next=/a", "http://school.test/login/?next=/a", &[]), 0);
        assert_eq!(differing("https://school.test", "/", &[]), 0);
        assert_eq!(differing("/login/", "/home/", &[]), 1);
        assert_eq!(differing("http://a.test/login/", "http://b.test/login/", &[]), 1);
        assert_eq!(differing("/login/", "/home/", &["$.x", "header:Location"]), 0);
    }

    #[test]
    fn what_is_allowed_is_compared_as_a_set_where_it_is_the_answer() {
        let allows = |status, methods| answer(status, "", &[("allow", methods)]);
        assert_eq!(differing("OPTIONS", &allows(200, "GET, HEAD"), &allows(200, "head,get"), &[]), [""; 0]);
        assert_eq!(differing("OPTIONS", &allows(200, "GET, HEAD"), &allows(200, "GET"), &[]), ["header:allow"]);
        assert_eq!(differing("OPTIONS", &allows(200, "GET"), &answer(200, "", &[]), &[]), ["header:allow"]);
        assert_eq!(differing("GET", &allows(405, "GET"), &allows(405, "PUT"), &[]), ["header:allow"]);
        assert_eq!(differing("GET", &allows(200, "GET"), &answer(200, "", &[]), &[]), [""; 0]);
    }

    #[test]
    fn a_length_stands_for_the_body_of_a_photo_that_head_does_not_show() {
        let length = |kind, length| answer(200, kind, &[("content-length", length)]);
        assert_eq!(differing("HEAD", &length("image/png", "7"), &length("image/png", "8"), &[]), ["header:content-length"]);
        assert_eq!(differing("HEAD", &length("image/png", "7"), &answer(200, "image/png", &[]), &[]), [""; 0]);
        assert_eq!(differing("GET", &length("image/png", "7"), &length("image/png", "8"), &[]), [""; 0]);
        for spelt_freely in ["text/html", "application/json; charset=utf-8"] {
            assert_eq!(differing("HEAD", &length(spelt_freely, "7"), &length(spelt_freely, "8"), &[]), [""; 0]);
        }
    }
}
