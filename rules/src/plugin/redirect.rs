//! `redirect`: another address, made of the path's names; or the same one by https.

use super::{Answer, Asking};
use crate::decide::fill;

/// Where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// A path, or an address with its scheme, with the path's names in braces; `None`: the same by https.
    pub to: Option<String>,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// The query goes along.
    pub keep_query: bool,
}

impl Redirect {
    pub(super) fn answer(&self, asking: &Asking<'_>) -> Option<Answer> {
        let request = asking.request;
        let target = match &self.to {
            Some(to) => fill(to, asking.params),
            None if asking.https || request.host().is_empty() => return None,
            None => format!("https://{}{}", request.host(), request.path()),
        };
        let query = request.query();
        let target = match self.keep_query && !query.is_empty() {
            true => format!("{target}{}{query}", if target.contains('?') { '&' } else { '?' }),
            false => target,
        };
        Some(Answer::new(self.status, "redirect", format!("this page is at {target}")).with("location", target))
    }
}
