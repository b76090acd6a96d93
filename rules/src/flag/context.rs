//! What is known of a caller: by the gateway of a request, or by a client of OFREP that says it.

use std::borrow::Cow;

use crate::decide::Caller;
use crate::route::Request;

/// A caller, as flags see it. Names of headers in lower case.
pub trait Context {
    /// Who it is.
    fn user(&self) -> Option<&str>;
    /// The id of its anonymous cookie.
    fn anonymous(&self) -> Option<&str>;
    /// A header of its request.
    fn header(&self, name: &str) -> Option<&str>;
    /// A cookie of its request.
    fn cookie(&self, name: &str) -> Option<&str>;
    /// What else is known.
    fn attribute(&self, name: &str) -> Option<Cow<'_, str>>;
}

/// The caller of a request.
pub struct OfRequest<'a> {
    /// The request.
    pub request: &'a dyn Request,
    /// Who sent it.
    pub caller: &'a Caller,
}

impl Context for OfRequest<'_> {
    fn user(&self) -> Option<&str> {
        self.caller.user.as_deref()
    }

    fn anonymous(&self) -> Option<&str> {
        self.caller.anonymous.as_deref()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.request.header(name)
    }

    fn cookie(&self, name: &str) -> Option<&str> {
        self.request.cookie(name)
    }

    fn attribute(&self, name: &str) -> Option<Cow<'_, str>> {
        match name {
            "host" => Some(self.request.host().into()),
            "method" => Some(self.request.method().into()),
            "path" => Some(self.request.path().into()),
            _ => None,
        }
    }
}
