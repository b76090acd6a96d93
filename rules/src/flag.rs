//! Feature flags: a value for a caller. Targeting first, then the percentage, then the default; an operator's override
//! wins over all of it.

use std::collections::BTreeMap;

use crate::Share;

/// A boolean flag.
#[derive(Debug, Clone, PartialEq)]
pub struct Flag {
    /// Its name.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// Off for everybody, whatever else is said.
    pub killed: bool,
    /// The value where nothing below speaks.
    pub default: bool,
    /// Users for whom it is on.
    pub users_on: Vec<String>,
    /// Users for whom it is off.
    pub users_off: Vec<String>,
    /// Headers (lower-case name, exact value) that turn it on.
    pub headers_on: BTreeMap<String, String>,
    /// Cookies (name, exact value) that turn it on.
    pub cookies_on: BTreeMap<String, String>,
    /// The share of callers for whom it is on.
    pub percentage: Option<Share>,
    /// Salt of its buckets; its name unless set.
    pub salt: String,
}

/// Whether a flag is on for a caller.
pub fn is_on(
    _flag: &Flag,
    _override: Option<&crate::wire::FlagOverride>,
    _request: &dyn crate::route::Request,
    _caller: &crate::decide::Caller,
    _now: crate::Timestamp,
) -> bool {
    false
}
