//! Who may use a route: any user, or one with a role. Decides it; what a refused caller is answered is the gateway's business.

use serde::{Deserialize, Serialize};

use crate::decide::Caller;

/// `require` of a route.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Require {
    /// One of these roles; none: any user.
    pub roles: Vec<String>,
    /// Where strangers that ask for a page are sent to log in; the page that they wanted goes along as `next`.
    pub log_in: Option<String>,
}

/// Whether a caller may use a route.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Nothing is asked for.
    #[default]
    Open,
    /// The caller is who it must be.
    Granted,
    /// Nobody is logged in: 401, or the way to the log-in.
    Stranger,
    /// The user has none of the roles: 403.
    Forbidden,
}

impl Access {
    /// The word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Access::Open => "open",
            Access::Granted => "granted",
            Access::Stranger => "stranger",
            Access::Forbidden => "forbidden",
        }
    }

    /// The status that a refused caller gets; `None`: it is not refused.
    pub fn status(self) -> Option<u16> {
        match self {
            Access::Open | Access::Granted => None,
            Access::Stranger => Some(401),
            Access::Forbidden => Some(403),
        }
    }
}

impl Require {
    /// Judges a caller. Roles are compared letter by letter.
    pub fn judge(&self, caller: &Caller) -> Access {
        match &caller.user {
            None => Access::Stranger,
            Some(_) if self.roles.is_empty() || caller.roles.iter().any(|role| self.roles.contains(role)) => Access::Granted,
            Some(_) => Access::Forbidden,
        }
    }

    /// The way to the log-in for somebody who wanted this target; `None`: there is none.
    pub fn way_to_log_in(&self, target: &str) -> Option<String> {
        let log_in = self.log_in.as_ref()?;
        let joint = if log_in.contains('?') { '&' } else { '?' };
        let next = percent_encoding::utf8_percent_encode(target, percent_encoding::NON_ALPHANUMERIC);
        Some(format!("{log_in}{joint}next={next}"))
    }
}

#[cfg(test)]
mod tests {
    use super::{Access, Require};
    use crate::decide::Caller;

    #[test]
    fn a_role_is_had_or_not() {
        let caller = |user: Option<&str>, roles: &[&str]| Caller {
            user: user.map(str::to_owned),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            ..Caller::default()
        };
        let teachers = Require { roles: vec!["teacher".into(), "admin".into()], log_in: None };
        assert_eq!(teachers.judge(&caller(None, &["teacher"])), Access::Stranger, "a role without a user is nobody's");
        assert_eq!(teachers.judge(&caller(Some("1"), &[])), Access::Forbidden);
        assert_eq!(teachers.judge(&caller(Some("1"), &["Teacher", "teachers"])), Access::Forbidden);
        assert_eq!(teachers.judge(&caller(Some("1"), &["student", "admin"])), Access::Granted);
        assert_eq!(Require::default().judge(&caller(Some("1"), &[])), Access::Granted);
        assert_eq!(Require::default().judge(&caller(None, &[])), Access::Stranger);
    }

    #[test]
    fn the_page_that_was_wanted_goes_along_and_nothing_else() {
        let to = |log_in: &str, target: &str| Require { roles: Vec::new(), log_in: Some(log_in.into()) }.way_to_log_in(target);
        assert_eq!(to("/login/", "/a?b=c&d=e").as_deref(), Some("/login/?next=%2Fa%3Fb%3Dc%26d%3De"));
        assert_eq!(to("/login/?theme=dark", "/a\r\nx: y").as_deref(), Some("/login/?theme=dark&next=%2Fa%0D%0Ax%3A%20y"));
        assert_eq!(Require::default().way_to_log_in("/"), None);
    }
}
