//! The comparison of two answers to the same request: status, content type, the headers that callers act upon, the cookies
//! that are set, then JSON by path, or a page by element, with what a rule leaves out or tolerates. Does not fetch or decode.
//!
//! Pages are compared by status and type only, unless a rule asks for more: two renderings of the same page may differ in
//! ways that mean nothing. Every other kind of body (photos, files) must be the same bytes.

mod cookies;
mod headers;
mod html;
mod json;
mod noise;
mod place;
pub mod propose;
mod secret;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use cookies::read as read_cookie;
pub use headers::COMPARED;
pub use noise::Noise;

/// Differences that are told of one pair of answers; the rest is like them.
const TOLD: usize = 20;
/// Characters of a value that are told.
const SHORT: usize = 80;
/// What stands for a value that one side does not have.
const MISSING: &str = "(missing)";

/// One side's answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The header `Content-Type`, with its parameters.
    pub content_type: String,
    /// Its headers of [`COMPARED`], by lower-case name; the lines of one name joined by commas.
    pub headers: BTreeMap<String, String>,
    /// The cookies that it sets, as [`read_cookie`] has them: attributes by name, never a value.
    pub cookies: BTreeMap<String, String>,
    /// The body, without any content coding; empty for HEAD.
    pub body: Vec<u8>,
}

/// One place where two answers differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// `status`, `content-type`, `header:location`, `cookie:theme`, `body`, a JSON path like `$.results[3].email`, or a place in
    /// a page like `html:body>p`.
    pub path: String,
    /// What legacy has there, shortened to 80 characters; what is secret is hidden.
    pub legacy: String,
    /// What modern has there, likewise.
    pub modern: String,
}

/// What the comparison leaves out or tolerates. A path stands for all that is below it: `$.updated_at`, `$.results[*].seen`,
/// `$.results[0]`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Leniency {
    /// Left out: JSON paths, `header:location`, `cookie:theme`, `html:body>footer`.
    pub ignore: Vec<String>,
    /// Arrays whose members may come in any order.
    pub unordered: Vec<String>,
    /// JSON paths, and how far apart numbers or times there may be.
    pub tolerate: Vec<(String, Tolerance)>,
    /// JSON paths whose values are never told.
    pub redact: Vec<String>,
    /// Pages are compared by element, too.
    pub pages: bool,
}

/// How far apart two values may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Tolerance {
    /// Numbers: by so much at most.
    Number(f64),
    /// Instants (RFC 3339).
    Time(Duration),
}

/// Where two answers to a request of `method` differ; nowhere when they say the same. What is only `noise` does not count.
///
/// An object's members may come in any order, an array's may not. `1` and `1.0` are the same number; a member that is
/// missing is not the same as one that is `null`.
pub fn compare(method: &str, legacy: &Answer, modern: &Answer, lenient: &Leniency, noise: &Noise) -> Vec<Difference> {
    if legacy.status != modern.status {
        return vec![difference("status", &legacy.status.to_string(), &modern.status.to_string())];
    }
    let (theirs, ours) = (kind(&legacy.content_type), kind(&modern.content_type));
    if theirs != ours {
        return vec![difference("content-type", &theirs, &ours)];
    }
    let mut found = headers::compare(method, legacy, modern, &lenient.ignore);
    found.extend(cookies::compare(legacy, modern, lenient));
    found.retain(|difference| !noise.has(&difference.path));
    if method == "HEAD" || legacy.body == modern.body || (is_page(&theirs) && !lenient.pages) {
        return found;
    }
    let parsed = |answer: &Answer| serde_json::from_slice::<Value>(&answer.body).ok().filter(|_| is_json(&theirs));
    if is_page(&theirs) {
        found.extend(html::compare(&legacy.body, &modern.body, lenient, noise));
    } else if let (Some(theirs), Some(ours)) = (parsed(legacy), parsed(modern)) {
        found.extend(json::compare(&theirs, &ours, lenient, noise));
    } else {
        found.push(difference("body", &format!("{} bytes", legacy.body.len()), &format!("{} bytes, other ones", modern.body.len())));
    }
    found.truncate(TOLD);
    found
}

/// A content type without its parameters.
fn kind(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Two renderings of one page differ in ways that mean nothing.
fn is_page(kind: &str) -> bool {
    matches!(kind, "text/html" | "application/xhtml+xml")
}

fn is_json(kind: &str) -> bool {
    kind == "application/json" || kind.ends_with("+json")
}

fn difference(path: &str, legacy: &str, modern: &str) -> Difference {
    Difference { path: path.to_owned(), legacy: shortened(legacy), modern: shortened(modern) }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHORT) {
        Some(_) => text.chars().take(SHORT - 1).chain(['…']).collect(),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, Difference, Leniency, Noise, TOLD};

    fn compare(method: &str, legacy: &Answer, modern: &Answer, ignore: &[String]) -> Vec<Difference> {
        super::compare(method, legacy, modern, &Leniency { ignore: ignore.to_vec(), ..Leniency::default() }, &Noise::default())
    }

    fn json(body: &str) -> Answer {
        Answer { status: 200, content_type: "application/json; charset=utf-8".into(), body: body.into(), ..Answer::default() }
    }

    fn paths(found: &[Difference]) -> Vec<&str> {
        found.iter().map(|difference| difference.path.as_str()).collect()
    }

    #[test]
    fn the_order_of_members_and_the_spelling_of_numbers_mean_nothing() {
        assert_eq!(compare("GET", &json(r#"{"a": 1, "b": [2.0]}"#), &json(r#"{"b":[2],"a":1.0}"#), &[]), []);
        let huge = compare("GET", &json("9007199254740993"), &json("9007199254740992"), &[]);
        assert_eq!(paths(&huge), ["$"]);
    }

    #[test]
    fn a_difference_says_where_and_what() {
        let found = compare(
            "GET",
            &json(r#"{"results": [{"id": 1, "email": "a"}, {"id": 2}]}"#),
            &json(r#"{"results": [{"id": 1, "email": "b"}]}"#),
            &[],
        );
        assert_eq!(paths(&found), ["$.results[0].email", "$.results[1]"]);
        assert_eq!((found[0].legacy.as_str(), found[0].modern.as_str()), (r#""a""#, r#""b""#));
        assert_eq!(found[1].modern, "(missing)");
    }

    #[test]
    fn missing_is_not_null() {
        assert_eq!(paths(&compare("GET", &json(r#"{"a": null}"#), &json("{}"), &[])), ["$.a"]);
    }

    #[test]
    fn what_is_ignored_is_left_out_with_all_below_it() {
        let (legacy, modern) =
            (json(r#"{"at": 1, "rows": [{"seen": 1, "x": 1}]}"#), json(r#"{"at": 2, "rows": [{"seen": {"y": 2}, "x": 1}]}"#));
        let ignore = |paths: &[&str]| paths.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(paths(&compare("GET", &legacy, &modern, &[])), ["$.at", "$.rows[0].seen"]);
        assert_eq!(compare("GET", &legacy, &modern, &ignore(&["$.at", "$.rows[*].seen"])), []);
        assert_eq!(paths(&compare("GET", &legacy, &modern, &ignore(&["$.at", "$.rows[1].seen"]))), ["$.rows[0].seen"]);
        assert_eq!(compare("GET", &json(r#"{"at": 1}"#), &json("{}"), &ignore(&["$.at"])), []);
    }

    #[test]
    fn pages_are_compared_by_status_and_type_unless_a_rule_asks_for_more() {
        let page = |status, body: &str| Answer { status, content_type: "text/html".into(), body: body.into(), ..Answer::default() };
        assert_eq!(compare("GET", &page(200, "a"), &page(200, "b"), &[]), []);
        let more = Leniency { pages: true, ..Leniency::default() };
        let found = super::compare("GET", &page(200, "<p>a"), &page(200, "<p>b"), &more, &Noise::default());
        assert_eq!(paths(&found), ["html:p"]);
        assert_eq!(super::compare("HEAD", &page(200, "<p>a"), &page(200, ""), &more, &Noise::default()), []);
        assert_eq!(paths(&compare("GET", &page(200, "a"), &page(404, "a"), &[])), ["status"]);
        assert_eq!(paths(&compare("GET", &page(200, "{}"), &json("{}"), &[])), ["content-type"]);
    }

    #[test]
    fn other_bodies_must_be_the_same_bytes() {
        let photo = |body: &[u8]| Answer { status: 200, content_type: "image/png".into(), body: body.into(), ..Answer::default() };
        assert_eq!(compare("GET", &photo(b"1"), &photo(b"1"), &[]), []);
        assert_eq!(paths(&compare("GET", &photo(b"1"), &photo(b"2"), &[])), ["body"]);
        assert_eq!(paths(&compare("GET", &json("{half"), &json("{}"), &[])), ["body"]);
    }

    #[test]
    fn the_answer_to_head_has_no_body_to_compare() {
        assert_eq!(compare("HEAD", &json("{}"), &json("[1]"), &[]), []);
        assert_eq!(paths(&compare("OPTIONS", &json("{}"), &json("[1]"), &[])), ["$"]);
        let missing = Answer { status: 404, ..json("{}") };
        assert_eq!(paths(&compare("HEAD", &json("{}"), &missing, &[])), ["status"]);
    }

    #[test]
    fn values_and_their_number_are_bounded() {
        let many = |value: &str| json(&format!("[{}]", vec![format!("\"{value}\""); 100].join(",")));
        let found = compare("GET", &many(&"ä".repeat(200)), &many("b"), &[]);
        assert_eq!(found.len(), TOLD);
        assert_eq!(found[0].legacy.chars().count(), 80);
    }
}
