//! The comparison of two answers to the same request: status, content type, the headers that callers act upon, then JSON
//! by path, with an ignore list. Does not fetch or decode.
//!
//! Pages are compared by status and type only: two renderings of the same page differ in ways that mean nothing. Every
//! other kind of body (photos, files) must be the same bytes.

mod headers;
mod ignore;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use headers::COMPARED;
use ignore::{Pattern, Segment};

/// Differences that are told of one pair of answers; the rest is like them.
const TOLD: usize = 20;
/// Characters of a value that are told.
const SHORT: usize = 80;

/// One side's answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The header `Content-Type`, with its parameters.
    pub content_type: String,
    /// Its headers of [`COMPARED`], by lower-case name; the lines of one name joined by commas.
    pub headers: BTreeMap<String, String>,
    /// The body, without any content coding; empty for HEAD.
    pub body: Vec<u8>,
}

/// One place where two answers differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// `status`, `content-type`, `header:location`, `body`, or a JSON path like `$.results[3].email`.
    pub path: String,
    /// What legacy has there, shortened to 80 characters.
    pub legacy: String,
    /// What modern has there, shortened.
    pub modern: String,
}

/// Where two answers to a request of `method` differ; nowhere when they say the same. `ignore` are JSON paths like
/// `$.updated_at`, `$.results[*].seen` or `$.results[0]`, each of which leaves out all that is below it, and headers like
/// `header:location`.
///
/// An object's members may come in any order, an array's may not. `1` and `1.0` are the same number; a member that is
/// missing is not the same as one that is `null`.
pub fn compare(method: &str, legacy: &Answer, modern: &Answer, ignore: &[String]) -> Vec<Difference> {
    if legacy.status != modern.status {
        return vec![difference("status", &legacy.status.to_string(), &modern.status.to_string())];
    }
    let (theirs, ours) = (kind(&legacy.content_type), kind(&modern.content_type));
    if theirs != ours {
        return vec![difference("content-type", &theirs, &ours)];
    }
    let mut found = headers::compare(method, legacy, modern, ignore);
    if method == "HEAD" || is_page(&theirs) || legacy.body == modern.body {
        return found;
    }
    let parsed = |answer: &Answer| serde_json::from_slice::<Value>(&answer.body).ok().filter(|_| is_json(&theirs));
    if let (Some(theirs), Some(ours)) = (parsed(legacy), parsed(modern)) {
        let mut walk = Walk { ignore: ignore.iter().map(|path| Pattern::parse(path)).collect(), place: Vec::new(), found };
        walk.values(&theirs, &ours);
        return walk.found;
    }
    found.push(difference("body", &format!("{} bytes", legacy.body.len()), &format!("{} bytes, other ones", modern.body.len())));
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

/// Two JSON values, side by side.
struct Walk {
    ignore: Vec<Pattern>,
    place: Vec<Segment>,
    found: Vec<Difference>,
}

impl Walk {
    fn values(&mut self, legacy: &Value, modern: &Value) {
        if self.found.len() >= TOLD || self.ignore.iter().any(|pattern| pattern.covers(&self.place)) {
            return;
        }
        match (legacy, modern) {
            (Value::Object(theirs), Value::Object(ours)) => {
                for (name, value) in theirs {
                    self.member(Segment::Name(name.clone()), Some(value), ours.get(name));
                }
                for (name, value) in ours.iter().filter(|(name, _)| !theirs.contains_key(*name)) {
                    self.member(Segment::Name(name.clone()), None, Some(value));
                }
            }
            (Value::Array(theirs), Value::Array(ours)) => {
                for index in 0..theirs.len().max(ours.len()) {
                    self.member(Segment::Index(index), theirs.get(index), ours.get(index));
                }
            }
            (Value::Number(theirs), Value::Number(ours)) if theirs.as_f64() == ours.as_f64() && !both_whole(theirs, ours) => {}
            (theirs, ours) if theirs == ours => {}
            (theirs, ours) => self.differ(&theirs.to_string(), &ours.to_string()),
        }
    }

    fn member(&mut self, segment: Segment, legacy: Option<&Value>, modern: Option<&Value>) {
        self.place.push(segment);
        match (legacy, modern) {
            (Some(legacy), Some(modern)) => self.values(legacy, modern),
            (legacy, modern) => {
                let say = |value: Option<&Value>| value.map_or("(missing)".to_owned(), Value::to_string);
                if !self.ignore.iter().any(|pattern| pattern.covers(&self.place)) {
                    self.differ(&say(legacy), &say(modern));
                }
            }
        }
        self.place.pop();
    }

    fn differ(&mut self, legacy: &str, modern: &str) {
        if self.found.len() < TOLD {
            self.found.push(difference(&ignore::path_of(&self.place), legacy, modern));
        }
    }
}

/// Whole numbers are compared exactly: beyond 2^53 two of them share a floating-point value.
fn both_whole(a: &serde_json::Number, b: &serde_json::Number) -> bool {
    !a.is_f64() && !b.is_f64()
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
    use super::{Answer, Difference, TOLD, compare};

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
    fn pages_are_compared_by_status_and_type_only() {
        let page = |status, body: &str| Answer { status, content_type: "text/html".into(), body: body.into(), ..Answer::default() };
        assert_eq!(compare("GET", &page(200, "a"), &page(200, "b"), &[]), []);
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
