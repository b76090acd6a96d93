//! Feature flags: a value for a caller. The same answer for the gateway, which knows a request, and for OFREP, whose clients
//! say what they know; percentages are buckets ([`crate::bucket`]), so that a growing one takes nothing away from anybody.
//!
//! The first that speaks decides:
//!
//! 1. an operator's override that has not expired;
//! 2. `killed`, or a flag that this one requires and that has another value: the variant `off`;
//! 3. the targeting rules, in order;
//! 4. the percentages, for callers that can be told apart;
//! 5. the default.

mod context;
pub mod ofrep;

use std::collections::BTreeMap;

use serde_json::Value;

pub use context::{Context, OfRequest};

use crate::decide::Caller;
use crate::route::Request;
use crate::wire::FlagOverride;
use crate::{Share, Timestamp, bucket};

/// The variants of a flag that is on or off.
pub const ON: &str = "on";
/// See [`ON`].
pub const OFF: &str = "off";

/// Flags by name.
pub type Flags = BTreeMap<String, Flag>;
/// Overrides by flag.
pub type FlagOverrides = BTreeMap<String, FlagOverride>;

/// A flag.
#[derive(Debug, Clone, PartialEq)]
pub struct Flag {
    /// Its name.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// Its values by variant, all of one kind; of a flag that is on or off: `on` and `off`.
    pub variants: BTreeMap<String, Value>,
    /// `off` for everybody, whatever else is said.
    pub killed: bool,
    /// Other flags, and the variant that each must have for the caller; else this one is `off`.
    pub requires: BTreeMap<String, String>,
    /// Who gets what, in order.
    pub rules: Vec<Rule>,
    /// Shares of those whom no rule speaks of.
    pub split: Option<Split>,
    /// The variant where nothing else speaks.
    pub default: String,
    /// The variant of a flag that is killed, or that lacks what it requires.
    pub off: String,
    /// Salt of its buckets; its name unless set.
    pub salt: String,
    /// The day from which on somebody should look whether it is still needed: `2027-01-31`.
    pub expires: Option<jiff::civil::Date>,
}

/// Who gets what. All conditions that it has must hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rule {
    /// One of these users.
    pub users: Vec<String>,
    /// Headers (lower-case name) with one of these values each.
    pub headers: BTreeMap<String, Vec<String>>,
    /// Cookies with one of these values each.
    pub cookies: BTreeMap<String, Vec<String>>,
    /// What else is known of the caller, with one of these values each. Of requests: `host`, `method` and `path`.
    pub attributes: BTreeMap<String, Vec<String>>,
    /// What they get.
    pub serve: Serve,
}

/// What a rule gives.
#[derive(Debug, Clone, PartialEq)]
pub enum Serve {
    /// This variant.
    Variant(String),
    /// Shares of those who are meant.
    Split(Split),
}

impl Default for Serve {
    fn default() -> Self {
        Serve::Variant(OFF.to_owned())
    }
}

/// Shares of callers. Each variant has its place among the buckets, in the order of their names: the last one's share
/// grows without moving anybody but those of `rest`.
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    /// Variants with their shares, together at most all.
    pub shares: Vec<(String, Share)>,
    /// The variant of those who are left.
    pub rest: String,
}

/// A value, and because of what.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evaluation<'a> {
    /// The variant's name.
    pub variant: &'a str,
    /// Its value.
    pub value: &'a Value,
    /// Why.
    pub reason: Reason,
}

/// Why a flag has a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// An operator says so, for everybody.
    Override,
    /// It is killed.
    Killed,
    /// A flag that it requires has another value.
    Prerequisite,
    /// A rule speaks of the caller.
    Targeted,
    /// The caller's bucket.
    Split,
    /// Nothing else speaks.
    Default,
}

impl Reason {
    /// The word of OpenFeature for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Override => "STATIC",
            Reason::Killed => "DISABLED",
            Reason::Prerequisite => "PREREQUISITE_FAILED",
            Reason::Targeted => "TARGETING_MATCH",
            Reason::Split => "SPLIT",
            Reason::Default => "DEFAULT",
        }
    }
}

impl Flag {
    /// Whether it is on or off, and nothing else: such a flag can gate routes and plugins.
    pub fn is_switch(&self) -> bool {
        self.variants.values().all(Value::is_boolean)
    }

    /// Whether somebody should look at it.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        let midnight = self.expires.and_then(|day| day.to_zoned(jiff::tz::TimeZone::UTC).ok());
        midnight.is_some_and(|day| u64::try_from(day.timestamp().as_millisecond()).unwrap_or(0) <= now.0)
    }
}

/// A flag's value for a caller; `None`: there is no such flag.
pub fn evaluate<'a>(
    flags: &'a Flags,
    overrides: &FlagOverrides,
    name: &str,
    context: &dyn Context,
    now: Timestamp,
) -> Option<Evaluation<'a>> {
    let flag = flags.get(name)?;
    let (variant, reason) = flag.decide(flags, overrides, context, now);
    let (variant, value) = flag.variants.get_key_value(variant)?;
    Some(Evaluation { variant, value, reason })
}

/// Whether a flag is on for the caller of a request; one that there is not is off.
pub fn is_on(flags: &Flags, overrides: &FlagOverrides, name: &str, request: &dyn Request, caller: &Caller, now: Timestamp) -> bool {
    let evaluation = evaluate(flags, overrides, name, &OfRequest { request, caller }, now);
    evaluation.is_some_and(|evaluation| *evaluation.value == Value::Bool(true))
}

impl Flag {
    fn decide<'a>(&'a self, flags: &'a Flags, overrides: &FlagOverrides, context: &dyn Context, now: Timestamp) -> (&'a str, Reason) {
        let live = overrides.get(&self.name).filter(|over| over.expires.is_none_or(|at| now < at));
        let overridden = live.and_then(|over| self.variants.get_key_value(over.variant()));
        if let Some((variant, _)) = overridden {
            return (variant, Reason::Override);
        }
        if self.killed {
            return (&self.off, Reason::Killed);
        }
        // Circles are refused when the files are read, so this ends.
        let has = |(other, wanted): (&String, &String)| {
            flags.get(other).is_some_and(|flag| flag.decide(flags, overrides, context, now).0 == wanted)
        };
        if !self.requires.iter().all(has) {
            return (&self.off, Reason::Prerequisite);
        }
        let met = self.rules.iter().filter(|rule| rule.speaks_of(context));
        for rule in met {
            match &rule.serve {
                Serve::Variant(variant) => return (variant, Reason::Targeted),
                Serve::Split(split) => {
                    if let Some(unit) = unit(context) {
                        return (split.of(&self.salt, &unit), Reason::Split);
                    }
                }
            }
        }
        match (&self.split, unit(context)) {
            (Some(split), Some(unit)) => (split.of(&self.salt, &unit), Reason::Split),
            _ => (&self.default, Reason::Default),
        }
    }
}

impl Rule {
    fn speaks_of(&self, context: &dyn Context) -> bool {
        let user = |users: &Vec<String>| users.is_empty() || context.user().is_some_and(|user| users.iter().any(|one| one == user));
        let one_of = |values: &Vec<String>, value: Option<&str>| value.is_some_and(|value| values.iter().any(|one| one == value));
        user(&self.users)
            && self.headers.iter().all(|(name, values)| one_of(values, context.header(name)))
            && self.cookies.iter().all(|(name, values)| one_of(values, context.cookie(name)))
            && self.attributes.iter().all(|(name, values)| one_of(values, context.attribute(name).as_deref()))
    }
}

impl Split {
    fn of(&self, salt: &str, unit: &str) -> &str {
        let bucket = bucket::bucket(salt, unit);
        let mut end = 0;
        for (variant, share) in &self.shares {
            end += share.millionths();
            if bucket < end {
                return variant;
            }
        }
        &self.rest
    }
}

/// What a caller's bucket is made of: who it is, or the id that the gateway gave it.
fn unit(context: &dyn Context) -> Option<String> {
    let user = context.user().map(|user| format!("user:{user}"));
    user.or_else(|| context.anonymous().map(|id| format!("anonymous:{id}")))
}

#[cfg(test)]
mod tests;
