//! Which route a request takes: a radix tree over the path, then host, method, header and query. The cost does not grow
//! with the number of routes. Does not decide who serves it: [`crate::decide`] does.

use std::collections::BTreeMap;

use crate::plan::RuleSet;

/// What matching and deciding need of a request. Names of headers in lower case.
pub trait Request {
    /// The method, upper case.
    fn method(&self) -> &str;
    /// The host name, lower case, without port; empty if there is none.
    fn host(&self) -> &str;
    /// The normalised path (see [`crate::path`]), without query.
    fn path(&self) -> &str;
    /// The raw query, without `?`.
    fn query(&self) -> &str;
    /// The first value of a header.
    fn header(&self, name: &str) -> Option<&str>;
    /// The value of a cookie.
    fn cookie(&self, name: &str) -> Option<&str>;
}

/// A route of a rule set, by place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matched {
    /// The capability's name.
    pub capability: String,
    /// Index into its routes.
    pub route: usize,
    /// What the path's `{names}` stood for.
    pub params: BTreeMap<String, String>,
}

/// The index over all routes of a rule set.
#[derive(Debug, Clone, Default)]
pub struct Router {}

impl Router {
    /// Builds the index.
    ///
    /// # Errors
    /// A path pattern that the index cannot hold, by its source; [`crate::spec`] reports these beforehand.
    pub fn build(_rules: &RuleSet) -> Result<Router, String> {
        Ok(Router {})
    }

    /// The route that a request takes.
    pub fn find(&self, _rules: &RuleSet, _request: &dyn Request) -> Option<Matched> {
        None
    }
}
