//! `request_headers`, `response_headers`: headers set, added, filled in, renamed and taken out. Only those that are
//! neither a connection's nor the gateway's own.

/// What is done to a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderChange {
    /// Takes it out.
    Remove(String),
    /// Gives it another name, unless that name is taken.
    Rename(String, String),
    /// Gives it this value and no other.
    Set(String, String),
    /// Adds a line with this value.
    Add(String, String),
    /// Gives it this value unless it has one.
    Default(String, String),
    /// The answer depends on this header of the request.
    Vary(String),
}

/// Changes, in the order in which they are made: taken out, renamed, set, added, filled in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderChanges {
    /// All changes, names in lower case.
    pub changes: Vec<HeaderChange>,
}

impl HeaderChange {
    pub(super) fn remove(name: &str) -> HeaderChange {
        HeaderChange::Remove(name.to_owned())
    }

    pub(super) fn set(name: &str, value: &str) -> HeaderChange {
        HeaderChange::Set(name.to_owned(), value.to_owned())
    }

    pub(super) fn vary(name: &str) -> HeaderChange {
        HeaderChange::Vary(name.to_owned())
    }
}

/// Whether rules may change a header of this lower-case name: not how a connection is framed, nor where a request comes
/// from and who sends it, which are the gateway's to say.
pub fn is_changeable(name: &str) -> bool {
    const NOT: [&str; 20] = [
        "authorization",
        "connection",
        "content-encoding",
        "content-length",
        "cookie",
        "expect",
        "forwarded",
        "host",
        "keep-alive",
        "proxy-connection",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-real-ip",
        "x-request-id",
        "x-csrftoken",
        "proxy",
        "content-range",
    ];
    let ours = name.starts_with("x-forwarded-") || name.starts_with("x-ficus-") || name.starts_with("ficus-");
    !ours && !name.contains('_') && !NOT.contains(&name)
}
