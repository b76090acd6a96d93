//! Feature flags: a value for a caller. Targeting first, then the percentage, then the default; an operator's override
//! wins over all of it.

use std::collections::BTreeMap;

use crate::decide::Caller;
use crate::route::Request;
use crate::wire::FlagOverride;
use crate::{Share, Timestamp, bucket};

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
///
/// In this order: an override that has not expired; killed; users off, then on; headers; cookies; the share, for callers
/// that have a user or an anonymous id; the default.
pub fn is_on(flag: &Flag, over: Option<&FlagOverride>, request: &dyn Request, caller: &Caller, now: Timestamp) -> bool {
    if let Some(over) = over.filter(|over| over.expires.is_none_or(|at| now < at)) {
        return over.on;
    }
    if flag.killed {
        return false;
    }
    if let Some(user) = &caller.user {
        if flag.users_off.contains(user) {
            return false;
        }
        if flag.users_on.contains(user) {
            return true;
        }
    }
    let targeted = flag.headers_on.iter().any(|(name, value)| request.header(name) == Some(value))
        || flag.cookies_on.iter().any(|(name, value)| request.cookie(name) == Some(value));
    if targeted {
        return true;
    }
    match (flag.percentage, unit(caller)) {
        (Some(share), Some(unit)) => bucket::is_inside(&flag.salt, &unit, share),
        _ => flag.default,
    }
}

fn unit(caller: &Caller) -> Option<String> {
    let user = caller.user.as_ref().map(|user| format!("user:{user}"));
    user.or_else(|| caller.anonymous.as_ref().map(|id| format!("anonymous:{id}")))
}

#[cfg(test)]
mod tests {
    use super::{Flag, is_on};
    use crate::decide::Caller;
    use crate::route::PlainRequest;
    use crate::wire::FlagOverride;
    use crate::{Share, Timestamp};

    const NOW: Timestamp = Timestamp(1_000);

    fn flag() -> Flag {
        Flag {
            name: "new-profile".into(),
            description: String::new(),
            killed: false,
            default: false,
            users_on: vec!["7".into()],
            users_off: vec!["8".into()],
            headers_on: [("x-preview".to_owned(), "yes".to_owned())].into(),
            cookies_on: [("preview".to_owned(), "1".to_owned())].into(),
            percentage: None,
            salt: "new-profile".into(),
        }
    }

    fn request() -> PlainRequest {
        PlainRequest::new("GET", "/").expect("a plain path")
    }

    fn user(id: &str) -> Caller {
        Caller { user: Some(id.to_owned()), ..Caller::default() }
    }

    fn over(on: bool, expires: Option<Timestamp>) -> FlagOverride {
        FlagOverride { on, expires, note: String::new() }
    }

    #[test]
    fn an_override_wins_until_it_expires() {
        let killed = Flag { killed: true, ..flag() };
        assert!(is_on(&killed, Some(&over(true, None)), &request(), &user("8"), NOW));
        assert!(!is_on(&flag(), Some(&over(false, Some(Timestamp(1_001)))), &request(), &user("7"), NOW));
        assert!(is_on(&flag(), Some(&over(false, Some(NOW))), &request(), &user("7"), NOW));
    }

    #[test]
    fn a_killed_flag_is_off_for_its_users_too() {
        assert!(!is_on(&Flag { killed: true, default: true, ..flag() }, None, &request(), &user("7"), NOW));
    }

    #[test]
    fn targets_come_before_share_and_default() {
        let wide = Flag { percentage: Some(Share::ALL), default: true, ..flag() };
        assert!(!is_on(&wide, None, &request().with_header("X-Preview", "yes"), &user("8"), NOW));
        assert!(is_on(&flag(), None, &request(), &user("7"), NOW));
        assert!(is_on(&flag(), None, &request().with_header("X-Preview", "yes"), &user("9"), NOW));
        assert!(is_on(&flag(), None, &request().with_header("Cookie", "a=b; preview=1"), &user("9"), NOW));
        assert!(!is_on(&flag(), None, &request().with_header("Cookie", "preview=10"), &user("9"), NOW));
    }

    #[test]
    fn a_share_needs_somebody_to_count() {
        let none = Flag { percentage: Some(Share::NONE), default: true, ..flag() };
        assert!(!is_on(&none, None, &request(), &user("9"), NOW));
        assert!(is_on(&none, None, &request(), &Caller::default(), NOW), "nobody to count: the default");
        let all = Flag { percentage: Some(Share::ALL), ..flag() };
        assert!(is_on(&all, None, &request(), &Caller { anonymous: Some("a".into()), ..Caller::default() }, NOW));
    }
}
