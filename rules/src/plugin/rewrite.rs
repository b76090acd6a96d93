//! `rewrite`: another path or query for the server behind.

use std::borrow::Cow;
use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::Asking;
use crate::Side;
use crate::decide::fill;

/// What of a query's names and values stays as it is.
const IN_QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What is rewritten, for one side or for both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrite {
    /// Only for this side.
    pub side: Option<Side>,
    /// The whole path, with the path's names in braces.
    pub path: Option<String>,
    /// Taken off the front of the path, if it is there.
    pub strip_prefix: Option<String>,
    /// Put in front of it.
    pub add_prefix: Option<String>,
    /// What is done to the query.
    pub query: QueryChanges,
}

/// What is done to a query's parameters: taken out, renamed, set, filled in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueryChanges {
    /// Taken out.
    pub remove: Vec<String>,
    /// Given another name.
    pub rename: BTreeMap<String, String>,
    /// Given this value and no other.
    pub set: BTreeMap<String, String>,
    /// Given this value unless there is one.
    pub default: BTreeMap<String, String>,
}

impl Rewrite {
    /// The path that a side sees; `path` is what it would see without. `None`: the same.
    pub(super) fn path(&self, side: Side, path: &str, asking: &Asking<'_>) -> Option<String> {
        if self.side.is_some_and(|only| only != side) {
            return None;
        }
        if let Some(pattern) = &self.path {
            return Some(fill(pattern, asking.params));
        }
        let stripped = self.strip_prefix.as_ref().and_then(|prefix| path.strip_prefix(prefix.as_str()));
        // `/api` is no prefix of `/apiary`.
        let stripped = stripped.filter(|rest| rest.is_empty() || rest.starts_with('/'));
        if stripped.is_none() && self.add_prefix.is_none() {
            return None;
        }
        let rest = stripped.unwrap_or(path);
        let rest = if rest.is_empty() { "/" } else { rest };
        Some(format!("{}{rest}", self.add_prefix.as_deref().unwrap_or_default()))
    }

    /// The query that a side sees; `None`: the same.
    pub(super) fn query(&self, side: Side, query: &str) -> Option<String> {
        let applies = self.side.is_none_or(|only| only == side) && self.query != QueryChanges::default();
        applies.then(|| self.query.of(query))
    }
}

impl QueryChanges {
    /// A query after the changes. What nothing is done to stays as it was spelled.
    pub fn of(&self, query: &str) -> String {
        let mut pairs: Vec<Cow<'_, str>> = Vec::new();
        let mut names: Vec<String> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (spelled, value) = pair.split_once('=').map_or((pair, None), |(name, value)| (name, Some(value)));
            let name = percent_decode_str(&spelled.replace('+', " ")).decode_utf8_lossy().into_owned();
            if self.remove.contains(&name) || self.set.contains_key(&name) {
                continue;
            }
            match self.rename.get(&name) {
                Some(other) => {
                    let value = value.map_or(String::new(), |value| format!("={value}"));
                    pairs.push(format!("{}{value}", utf8_percent_encode(other, IN_QUERY)).into());
                    names.push(other.clone());
                }
                None => {
                    pairs.push(pair.into());
                    names.push(name);
                }
            }
        }
        let missing = self.default.iter().filter(|(name, _)| !names.contains(name) && !self.set.contains_key(*name));
        for (name, value) in self.set.iter().chain(missing) {
            pairs.push(format!("{}={}", utf8_percent_encode(name, IN_QUERY), utf8_percent_encode(value, IN_QUERY)).into());
        }
        pairs.join("&")
    }
}
