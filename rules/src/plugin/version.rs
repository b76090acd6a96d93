//! `version`: which version of an API is asked for, by path, header or query; what is no longer, or not yet, served; and
//! what is said of one that will end (RFC 9745, RFC 8594).

use std::collections::BTreeMap;

use super::headers::HeaderChange;
use super::{Answer, Asking};
use crate::route::parameter;

/// The versions of an API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Where it is looked for: the first that the request has.
    pub from: Vec<VersionFrom>,
    /// The version of whoever names none; `None`: naming one is a must.
    pub default: Option<String>,
    /// Those that are served.
    pub serves: Vec<String>,
    /// Those that were: answered with 410.
    pub gone: Vec<String>,
    /// The header by which the server behind is told.
    pub header: Option<String>,
    /// When one was deprecated: seconds since 1970.
    pub deprecated: BTreeMap<String, i64>,
    /// When one will end: an HTTP date.
    pub sunset: BTreeMap<String, String>,
    /// What to read about it.
    pub link: Option<String>,
}

/// Where a version is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VersionFrom {
    /// A name of the path; a `v` in front of the number is not part of it.
    Path(String),
    /// A header; of `Accept`, its parameter `version`.
    Header(String),
    /// A parameter of the query.
    Query(String),
}

impl Version {
    /// The version that is asked for.
    ///
    /// # Errors
    /// It is not served.
    pub fn asked(&self, asking: &Asking<'_>) -> Result<String, Answer> {
        let found = self.from.iter().find_map(|from| from.find(asking)).or_else(|| self.default.clone());
        let list = || self.serves.join(", ");
        let Some(version) = found else {
            return Err(Answer::new(400, "version", format!("say which version of this API you mean; there are: {}", list())));
        };
        if self.serves.contains(&version) {
            return Ok(version);
        }
        Err(match self.gone.contains(&version) {
            true => Answer::new(410, "version", format!("this version of the API is no longer served; there are: {}", list())),
            false => Answer::new(400, "version", format!("there is no such version of this API; there are: {}", list())),
        })
    }

    /// What an answer of a version says.
    pub(super) fn changes(&self, version: &str) -> Vec<HeaderChange> {
        let mut changes = Vec::new();
        if let Some(since) = self.deprecated.get(version) {
            changes.push(HeaderChange::set("deprecation", &format!("@{since}")));
        }
        if let Some(date) = self.sunset.get(version) {
            changes.push(HeaderChange::set("sunset", date));
        }
        if let Some(link) = self.link.as_ref().filter(|_| !changes.is_empty()) {
            changes.push(HeaderChange::Add("link".to_owned(), format!("<{link}>; rel=\"deprecation\"")));
        }
        for from in &self.from {
            if let VersionFrom::Header(name) = from {
                changes.push(HeaderChange::vary(name));
            }
        }
        changes
    }
}

impl VersionFrom {
    fn find(&self, asking: &Asking<'_>) -> Option<String> {
        let number = |text: &str| text.strip_prefix('v').unwrap_or(text).to_owned();
        match self {
            VersionFrom::Path(name) => asking.params.get(name).map(|text| number(text)),
            VersionFrom::Header(name) if name == "accept" => {
                let mut parameters = asking.request.header("accept")?.split([';', ',']).map(str::trim);
                parameters.find_map(|parameter| parameter.strip_prefix("version=")).map(|text| number(text.trim_matches('"')))
            }
            VersionFrom::Header(name) => asking.request.header(name).map(|text| number(text.trim())),
            VersionFrom::Query(name) => parameter(asking.request.query(), name).map(|text| number(&text)),
        }
    }
}
