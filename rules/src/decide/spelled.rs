//! Paths that two servers could read in two ways. Decides whether the rules would hold for one reading only; refusing is the
//! gateway's.

use super::{Snapshot, matched};
use crate::path;
use crate::route::Request;

/// Whether a request takes another route by its path as it is spelled (`raw`) than by the path that it is matched by: some
/// servers resolve dot segments and merge slashes, others do not.
pub fn is_ambiguous(snapshot: &Snapshot, request: &dyn Request, raw: &str) -> bool {
    let Ok(spelled) = path::spelled(raw) else { return false };
    if spelled == request.path() {
        return false;
    }
    let find = |request: &dyn Request| matched(snapshot, request).map(|matched| (matched.capability, matched.route));
    find(request) != find(&Spelled { request, path: &spelled })
}

/// A request with its path as it is spelled.
struct Spelled<'a> {
    request: &'a dyn Request,
    path: &'a str,
}

impl Request for Spelled<'_> {
    fn method(&self) -> &str {
        self.request.method()
    }

    fn host(&self) -> &str {
        self.request.host()
    }

    fn path(&self) -> &str {
        self.path
    }

    fn query(&self) -> &str {
        self.request.query()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.request.header(name)
    }

    fn cookie(&self, name: &str) -> Option<&str> {
        self.request.cookie(name)
    }
}
