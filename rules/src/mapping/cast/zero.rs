//! Zero dates: what MariaDB and MySQL take for a date, and nobody else. What becomes of them is the rule file's to say, also
//! between two databases that both have them.

use super::Why;
use crate::mapping::{Kind, Value, ZeroDates};

const NONE: Why = "a zero date, which is no date; say with `zero_dates` what becomes of it";

/// What becomes of zero dates of one column.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Zero {
    /// How legacy spells it.
    zero: &'static str,
    policy: Policy,
}

#[derive(Debug, Clone, PartialEq)]
enum Policy {
    Refused,
    /// NULL, and back again where no NULL may stand.
    Null {
        back: bool,
    },
    /// What stands for it, as legacy spells it.
    Sentinel(Value),
}

impl Zero {
    /// Nothing where legacy has no such dates.
    pub(super) fn of(policy: &ZeroDates, (legacy, nullable): (&Kind, bool)) -> Option<Zero> {
        let (zero, midnight) = match legacy {
            Kind::Date => ("0000-00-00", ""),
            Kind::Timestamp | Kind::Instant => ("0000-00-00 00:00:00", " 00:00:00"),
            _ => return None,
        };
        let policy = match policy {
            ZeroDates::Quarantine => Policy::Refused,
            ZeroDates::Null => Policy::Null { back: !nullable },
            ZeroDates::Sentinel(date) => Policy::Sentinel(Value::Text(format!("{date}{midnight}"))),
        };
        Some(Zero { zero, policy })
    }

    /// What goes to modern instead of a legacy value, if it is one.
    pub(super) fn there(&self, legacy: &Value) -> Option<Result<Value, Why>> {
        let Value::Text(text) = legacy else { return None };
        (text == self.zero).then(|| match &self.policy {
            Policy::Refused => Err(NONE),
            Policy::Null { .. } => Ok(Value::Null),
            Policy::Sentinel(date) => Ok(date.clone()),
        })
    }

    /// What a value that comes back is on legacy.
    pub(super) fn back(&self, legacy: Value) -> Result<Value, Why> {
        let stands = match &self.policy {
            Policy::Refused if matches!(&legacy, Value::Text(text) if text == self.zero) => return Err(NONE),
            Policy::Refused => false,
            Policy::Null { back } => *back && legacy == Value::Null,
            Policy::Sentinel(date) => legacy == *date,
        };
        Ok(if stands { Value::Text(self.zero.to_owned()) } else { legacy })
    }

    /// What does not survive the way to modern.
    pub(super) fn caveat(&self) -> Option<String> {
        match &self.policy {
            Policy::Null { back: false } => Some("zero dates become NULL, and stay NULL when their row comes back".to_owned()),
            Policy::Sentinel(Value::Text(date)) => Some(format!("{date} comes back as a zero date, which it stands for")),
            _ => None,
        }
    }
}
