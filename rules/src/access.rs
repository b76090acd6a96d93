//! One line of the access log: what is left of a request when it is over. Gateways write it, `ficus explain --diff` reads it.
//! Nothing in it is secret: no header, no cookie, no body, of the query the names alone, and of a path not what stands after words
//! that say that it is one.

use std::borrow::Cow;

use percent_encoding::percent_decode;
use serde::{Deserialize, Serialize};

use crate::decide::Cohort;
use crate::migration::Phase;

/// What stands for a value that is not told.
pub const HIDDEN: &str = "*";
/// What is secret in a path stands after one of these, unless it was configured otherwise: Django's `reset/UID/TOKEN/`, and what
/// packages for registration send by mail.
pub const SECRET_AFTER: [&str; 3] = ["reset", "activate", "confirm-email"];
/// As often a path may have been escaped.
const ESCAPED: usize = 3;
/// Longer names of parameters are not told: they are no names.
const LONGEST_NAME: usize = 40;

/// A request that is over.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AccessLine<'a> {
    /// When its head had arrived (RFC 3339, UTC).
    pub time: Cow<'a, str>,
    /// Names it in logs, answers and upstreams.
    pub request_id: Cow<'a, str>,
    /// Its trace (W3C): 32 hexadecimal digits.
    pub trace_id: Cow<'a, str>,
    /// The address that it came from: of the last hop that is no trusted proxy.
    pub client: Option<Cow<'a, str>>,
    /// The method.
    pub method: Cow<'a, str>,
    /// The host name, without port.
    pub host: Cow<'a, str>,
    /// The normalised path, its secrets hidden; see [`without_secrets`]. Empty: the request was refused before there was one, whatever the rules say.
    pub path: Cow<'a, str>,
    /// The path as it came, where that is another: servers may read it otherwise, and rules refuse it then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_path: Option<Cow<'a, str>>,
    /// The query, its values hidden unless it was configured otherwise; see [`redacted`].
    pub query: Cow<'a, str>,
    /// The status; 499: the client left before there was one.
    pub status: u16,
    /// `legacy`, `modern`, or `gateway`, which answered itself.
    pub side: Cow<'a, str>,
    /// The upstream that answered, or should have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<Cow<'a, str>>,
    /// The capability.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capability: Option<Cow<'a, str>>,
    /// The route's place: `users.toml:12`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<Cow<'a, str>>,
    /// How far the capability was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Why that side.
    pub because: Cow<'a, str>,
    /// Where the caller stood, while a share of the reads was served by modern.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cohort: Option<Cohort>,
    /// Generation of the published state that it was decided by.
    pub generation: u64,
    /// Why the gateway answered itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<Cow<'a, str>>,
    /// Modern failed, legacy answered.
    pub fallback: bool,
    /// The gateway had kept the answer.
    #[serde(default)]
    pub cached: bool,
    /// Nobody was there any more to take the answer.
    pub client_left: bool,
    /// A WebSocket.
    pub upgrade: bool,
    /// From its head to its answer's end, in milliseconds.
    pub total_ms: f64,
    /// Until a connection to the upstream was made or found, from when one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect_ms: Option<f64>,
    /// Until the answer's head had arrived, from when a connection was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_byte_ms: Option<f64>,
    /// How long the fence held it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_ms: Option<f64>,
    /// Bytes of the request's body.
    pub received_bytes: u64,
    /// Bytes of the answer's body.
    pub sent_bytes: u64,
}

/// A path without what stands after one of these words: `/accounts/reset/*/*/`. Links that log somebody in, or let a password be
/// set, have their secret there. A word counts as it is spelled or escaped, in upper or lower case. So does a slash: a part that
/// holds more than the word is not told at all.
pub fn without_secrets<'a>(path: &'a str, after: &[String]) -> Cow<'a, str> {
    let is_word = |part: &[u8]| after.iter().any(|word| part.eq_ignore_ascii_case(word.as_bytes()));
    let says = |part: &str| unescaped(part).split(|byte| matches!(byte, b'/' | b'\\')).any(is_word);
    let Some(at) = path.split('/').position(says) else { return Cow::Borrowed(path) };
    let hides = |place: usize, part: &str| !part.is_empty() && (place > at || place == at && !is_word(&unescaped(part)));
    let told = path.split('/').enumerate().map(|(place, part)| if hides(place, part) { HIDDEN } else { part });
    Cow::Owned(told.collect::<Vec<_>>().join("/"))
}

/// A part of a path as it was meant, also if several have escaped it one after the other.
fn unescaped(part: &str) -> Cow<'_, [u8]> {
    let mut plain = Cow::Borrowed(part.as_bytes());
    for _ in 0..ESCAPED {
        if !plain.contains(&b'%') {
            break;
        }
        plain = percent_decode(&plain).collect::<Vec<_>>().into();
    }
    plain
}

/// A query without its values: `page=*&token=*`. What is no name (a lone word, a long or odd one) is hidden too.
pub fn redacted(query: &str) -> String {
    let mut told = String::with_capacity(query.len());
    for (at, pair) in query.split('&').filter(|pair| !pair.is_empty()).enumerate() {
        if at > 0 {
            told.push('&');
        }
        let plain = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.[]".contains(&b));
        if let Some((name, _)) = pair.split_once('=').filter(|(name, _)| name.len() <= LONGEST_NAME && plain(name)) {
            told.push_str(name);
            told.push('=');
        }
        told.push_str(HIDDEN);
    }
    told
}

#[cfg(test)]
mod tests {
    use super::{SECRET_AFTER, redacted, without_secrets};

    #[test]
    fn of_a_path_what_stands_after_some_words_is_not_told() {
        let told = |path: &str| without_secrets(path, &SECRET_AFTER.map(str::to_owned)).into_owned();
        for (path, expected) in [
            ("/accounts/reset/Mg/c4v2-s3cret/", "/accounts/reset/*/*/"),
            ("/reset/Mg/set-password/", "/reset/*/*/"),
            ("/Re%73et//Mg/s3cret", "/Re%73et//*/*"),
            ("/accounts/password/reset/key/2-s3cret/", "/accounts/password/reset/*/*/"),
            ("/accounts/confirm-email/s3cret", "/accounts/confirm-email/*"),
            ("/password_reset/done/", "/password_reset/done/"),
            ("/api/presets/7", "/api/presets/7"),
            ("/accounts/reset%2fMg%2Fs3cret", "/accounts/*"),
            ("/accounts%2Freset/Mg/s3cret", "/*/*/*"),
            ("/reset%5cMg%5Cs3cret/", "/*/"),
            ("/reset\\Mg\\s3cret", "/*"),
            ("/a/%72eset%252fMg%25252fs3cret/b", "/a/*/*"),
            ("/presets%2f7", "/presets%2f7"),
            ("/reset/", "/reset/"),
            ("", ""),
        ] {
            assert_eq!(told(path), expected, "{path}");
        }
        assert_eq!(without_secrets("/reset/Mg/open", &[]), "/reset/Mg/open");
    }

    #[test]
    fn of_a_query_the_names_are_told_alone() {
        assert_eq!(redacted("page=2&token=s3cret&page=3"), "page=*&token=*&page=*");
        assert_eq!(redacted("s3cret&a=&filter[x]=1"), "*&a=*&filter[x]=*");
        assert_eq!(redacted("s%33cret=1&=s3cret"), "*&=*");
        assert_eq!(redacted(&format!("{}=1", "a".repeat(41))), "*");
        assert_eq!((redacted(""), redacted("&&")), (String::new(), String::new()));
    }
}
