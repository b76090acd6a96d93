//! What is known of a caller, and by what.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::memory::Found;

/// A user whose session or token was verified.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct User {
    /// The primary key, as text.
    pub(crate) id: String,
    /// The log-in name.
    pub(crate) username: String,
    /// Its roles, if the configuration says where they stand.
    pub(crate) roles: Vec<String>,
    /// What else the configuration asked for, by name.
    pub(crate) attributes: BTreeMap<String, String>,
}

/// What is known of a caller.
#[derive(Debug, Clone, Default)]
pub(crate) enum Identity {
    /// Nobody is logged in.
    #[default]
    Stranger,
    /// This user is.
    Known(Arc<User>),
    /// The database did not answer, or the session can be read by nobody here.
    Unknown,
}

/// By what a caller says who it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum By {
    /// By nothing.
    #[default]
    Nothing,
    /// By a header: no page of another site can have sent it, so there is nothing to forge.
    Header,
    /// By a session of Django.
    Django,
    /// By a session of Flask.
    Flask,
    /// By a cookie that only the monolith understands.
    Monolith,
}

/// Who calls, and how that was said.
#[derive(Debug, Clone, Default)]
pub(crate) struct Login {
    /// Who.
    pub(crate) identity: Identity,
    /// By what.
    pub(crate) by: By,
    /// The secret of CSRF tokens that the session holds.
    pub(crate) csrf: Option<Arc<str>>,
}

impl Login {
    pub(super) fn of(by: By, found: Found) -> Login {
        let (identity, csrf) = match found {
            Found::Unreadable | Found::Unknown => (Identity::Unknown, None),
            Found::Session { user, csrf } => (user.map_or(Identity::Stranger, Identity::Known), csrf),
        };
        Login { identity, by, csrf }
    }

    /// The user, if one is known.
    pub(crate) fn user(&self) -> Option<&Arc<User>> {
        match &self.identity {
            Identity::Known(user) => Some(user),
            Identity::Stranger | Identity::Unknown => None,
        }
    }
}
