//! Two pages, side by side: elements, attributes and texts as a browser reads them, in order. What a page must have anew each
//! time is left out: CSRF tokens, nonces, comments, white space. Does not run scripts or build a document.

use std::collections::BTreeMap;

use html5gum::emitters::default::DefaultEmitter;
use html5gum::{Token, Tokenizer};

use super::{Difference, Leniency, MISSING, Noise, TOLD, difference, secret};

/// The hidden fields by which frameworks know their own forms, in lower case.
const TOKENS: [&str; 8] = [
    "csrfmiddlewaretoken",
    "csrf_token",
    "csrftoken",
    "_csrf",
    "_csrf_token",
    "authenticity_token",
    "__requestverificationtoken",
    "csrf-token",
];
/// Elements without an end.
const VOID: [&str; 14] = ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"];
/// Elements whose end may be left out: it says nothing.
const OPTIONAL_END: [&str; 15] =
    ["li", "dt", "dd", "p", "option", "optgroup", "thead", "tbody", "tfoot", "tr", "td", "th", "html", "head", "body"];

/// Of elements in which one stands, so many are told.
const TOLD_DEEP: usize = 12;
/// Of elements that are open, so many can be closed by one end. Pages are not to cost more than they are long.
const CLOSED_DEEP: usize = 64;

/// What a page consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Element { name: String, attributes: BTreeMap<String, String> },
    Text(String),
    End(String),
}

/// A part, and the elements that it stands in.
struct Placed {
    place: String,
    part: Part,
}

/// Where two pages differ. After a difference in structure nothing can be set side by side any more: it is the last one told.
pub(super) fn compare(legacy: &[u8], modern: &[u8], lenient: &Leniency, noise: &Noise) -> Vec<Difference> {
    let (theirs, ours) = (parts(legacy), parts(modern));
    let mut found = Vec::new();
    for at in 0..theirs.len().max(ours.len()) {
        let (Some(theirs), Some(ours)) = (theirs.get(at), ours.get(at)) else {
            let place = &theirs.get(at).or(ours.get(at)).expect("one of the two has so many").place;
            let say = |placed: Option<&Placed>| placed.map_or(MISSING.to_owned(), |placed| said(&placed.part));
            found.push(difference(place, &say(theirs.get(at)), &say(ours.get(at))));
            break;
        };
        match (&theirs.part, &ours.part) {
            (a, b) if a == b => {}
            (Part::Text(a), Part::Text(b)) => differ(&mut found, &theirs.place, Some(a), Some(b), lenient, noise),
            (Part::Element { name: a, attributes: theirs_have }, Part::Element { name: b, attributes: ours_have }) if a == b => {
                let hides = [theirs_have, ours_have].iter().any(|attributes| is_secret_field(attributes));
                let mut names: Vec<&String> = theirs_have.keys().chain(ours_have.keys()).collect();
                names.sort_unstable();
                names.dedup();
                for name in names.into_iter().filter(|name| theirs_have.get(*name) != ours_have.get(*name)) {
                    let hidden = secret::HIDDEN.to_owned();
                    let value = |attributes: &BTreeMap<String, String>| {
                        attributes
                            .get(name)
                            .map(|value| if hides && name == "value" || secret::is_secret(name) { hidden.clone() } else { value.clone() })
                    };
                    let place = format!("{}@{name}", theirs.place);
                    differ(&mut found, &place, value(theirs_have).as_ref(), value(ours_have).as_ref(), lenient, noise);
                }
            }
            (a, b) => {
                found.push(difference(&theirs.place, &said(a), &said(b)));
                break;
            }
        }
        if found.len() >= TOLD {
            break;
        }
    }
    found
}

fn differ(found: &mut Vec<Difference>, place: &str, legacy: Option<&String>, modern: Option<&String>, lenient: &Leniency, noise: &Noise) {
    let ignored = lenient.ignore.iter().any(|ignored| covers(ignored, place));
    let noisy = legacy.is_some() && modern.is_some() && noise.has(place);
    if !ignored && !noisy {
        let say = |value: Option<&String>| value.map_or(MISSING, String::as_str).to_owned();
        found.push(difference(place, &say(legacy), &say(modern)));
    }
}

/// `html:body>p` leaves out what is in such a paragraph, and its attributes.
fn covers(ignored: &str, place: &str) -> bool {
    place.strip_prefix(ignored).is_some_and(|rest| rest.is_empty() || rest.starts_with(['>', '@']))
}

fn parts(body: &[u8]) -> Vec<Placed> {
    let text = String::from_utf8_lossy(body);
    let mut emitter = DefaultEmitter::default();
    // Scripts and styles are texts, whatever stands in them.
    emitter.naively_switch_states(true);
    let (mut parts, mut open): (Vec<Placed>, Vec<String>) = (Vec::new(), Vec::new());
    let read = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    for token in Tokenizer::new_with_emitter(&*text, emitter) {
        let Ok(token) = token;
        match token {
            Token::StartTag(tag) => {
                let name = read(&tag.name);
                let attributes = tag.attributes.iter().map(|(key, value)| (read(key), normal(&read(&value.value))));
                let attributes: BTreeMap<String, String> = attributes.filter(|(key, _)| key != "nonce").collect();
                let place = place(&open, Some(&name));
                if !VOID.contains(&&*name) {
                    open.push(name.clone());
                }
                if !is_token(&name, &attributes) {
                    parts.push(Placed { place, part: Part::Element { name, attributes } });
                }
            }
            Token::EndTag(tag) => {
                let name = read(&tag.name);
                let place = place(&open, None);
                let from = open.len().saturating_sub(CLOSED_DEEP);
                if let Some(at) = open[from..].iter().rposition(|other| *other == name) {
                    open.truncate(from + at);
                }
                if !OPTIONAL_END.contains(&&*name) {
                    parts.push(Placed { place, part: Part::End(name) });
                }
            }
            Token::String(text) => {
                let text = normal(&read(&text.value));
                // A reference (`&amp;`) comes as a text of its own.
                match parts.last_mut() {
                    Some(Placed { part: Part::Text(before), .. }) if !text.is_empty() => {
                        before.push(' ');
                        before.push_str(&text);
                    }
                    _ if text.is_empty() => {}
                    _ => parts.push(Placed { place: place(&open, None), part: Part::Text(text) }),
                }
            }
            Token::Comment(_) | Token::Doctype(_) | Token::Error(_) => {}
        }
    }
    parts
}

/// `html:body>form>input`. Of elements that lie deep the innermost are told.
fn place(open: &[String], name: Option<&String>) -> String {
    let innermost = &open[open.len().saturating_sub(TOLD_DEEP)..];
    let names: Vec<&str> = innermost.iter().chain(name).map(String::as_str).collect();
    format!("html:{}", names.join(">"))
}

/// White space is one space, and none at the ends.
fn normal(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A field or a `meta` that holds a CSRF token.
fn is_token(name: &str, attributes: &BTreeMap<String, String>) -> bool {
    let called = attributes.get("name").map(|name| name.to_ascii_lowercase());
    matches!(name, "input" | "meta") && called.is_some_and(|called| TOKENS.contains(&&*called))
}

/// A field whose value is nobody's business: hidden, a password, or of a telling name.
fn is_secret_field(attributes: &BTreeMap<String, String>) -> bool {
    let kind = attributes.get("type").map(|kind| kind.to_ascii_lowercase());
    matches!(kind.as_deref(), Some("hidden" | "password")) || attributes.get("name").is_some_and(|name| secret::is_secret(name))
}

fn said(part: &Part) -> String {
    match part {
        Part::Element { name, .. } => format!("<{name}>"),
        Part::Text(text) => text.clone(),
        Part::End(name) => format!("</{name}>"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Leniency, Noise};
    use super::compare;

    fn differing(legacy: &str, modern: &str, ignore: &[&str]) -> Vec<(String, String, String)> {
        let lenient = Leniency { ignore: ignore.iter().map(ToString::to_string).collect(), ..Leniency::default() };
        let found = compare(legacy.as_bytes(), modern.as_bytes(), &lenient, &Noise::default());
        found.into_iter().map(|found| (found.path, found.legacy, found.modern)).collect()
    }

    #[test]
    fn pages_that_say_the_same_do_not_differ() {
        let legacy = "<!DOCTYPE html><html><head><meta name=\"csrf-token\" content=\"aaa\"><script nonce=\"n1\">let a = 1 < 2;</script></head>\n\
            <body><!-- built 1 --><form method=post action='/a'><input type=\"hidden\" name=\"csrfmiddlewaretoken\" value=\"aaa\">\n\
            <p>Hello,   &amp; welcome</p><ul><li>1</li><li>2</li></ul><br/></form></body></html>";
        let modern = "<!doctype html>\n<html><head><meta content=\"bbb\" name=\"csrf-token\"><script nonce=n2>let a = 1 < 2;</script></head>\
            <body><form action=\"/a\" method=\"post\"><input value=\"bbb\" name=\"csrf_token\" type=hidden><p>Hello, &#38; welcome\n<ul><li>1<li>2</ul><br></form>";
        assert_eq!(differing(legacy, modern, &[]), []);
    }

    #[test]
    fn a_difference_says_where_and_what() {
        let told = |place: &str, legacy: &str, modern: &str| vec![(place.to_owned(), legacy.to_owned(), modern.to_owned())];
        let page = |inner: &str| format!("<html><body>{inner}</body></html>");
        let one = page("<p class=\"a\">Ada</p><a href=\"/x\">go</a>");
        assert_eq!(differing(&one, &one.replace("Ada", "Bob"), &[]), told("html:html>body>p", "Ada", "Bob"));
        assert_eq!(differing(&one, &one.replace("/x", "/y"), &[]), told("html:html>body>a@href", "/x", "/y"));
        assert_eq!(differing(&one, &one.replace(" class=\"a\"", ""), &[]), told("html:html>body>p@class", "a", "(missing)"));
        assert_eq!(differing(&one, &one.replace("<a href", "<b></b><a href"), &[]), told("html:html>body>a", "<a>", "<b>"));
        assert_eq!(differing(&one, &page("<p class=\"a\">Ada</p>"), &[]), told("html:html>body>a", "<a>", "(missing)"));
        let nested = page("<div><div>x</div></div><i>y</i>");
        assert_eq!(differing(&nested, &page("<div><div>x</div><i>y</i></div>"), &[]).len(), 1, "the ends tell what is in what");
    }

    #[test]
    fn places_can_be_ignored_and_secrets_are_hidden() {
        let page =
            |seen: &str, token: &str| format!("<p><span id=\"{seen}\">{seen}</span></p><input type=hidden name=state value=\"{token}\">");
        assert_eq!(differing(&page("1", "t"), &page("2", "t"), &["html:p>span"]), []);
        assert_eq!(differing(&page("1", "t"), &page("2", "t"), &["html:p>spa"]).len(), 2);
        let found = differing(&page("1", "s3cret"), &page("1", "s4cret"), &[]);
        assert_eq!(found, [("html:input@value".to_owned(), "(hidden)".to_owned(), "(hidden)".to_owned())]);
    }

    #[test]
    fn what_no_browser_would_like_does_no_harm() {
        for odd in ["", "<", "<p", "</", "<a b='", "<script>", "<!--", "&", "<p></q></p>", "\u{0}<\u{0}>"] {
            assert_eq!(differing(odd, odd, &[]), [], "{odd}");
        }
        let deep = "<div>".repeat(20_000);
        assert_eq!(differing(&deep, &deep, &[]), []);
    }
}
