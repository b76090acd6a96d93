//! What is published: compiled as a whole, swapped at once. A bad rule set leaves the last good one.

use ficus_rules::decide::Snapshot;
use ficus_rules::route::Router;
use ficus_rules::spec::{self, Complaint, Known};
use ficus_rules::wire::Published;

/// Makes a snapshot of a published state. Takes over what `last` compiled when the rule files are the same.
///
/// # Errors
/// Every complaint about the rule files.
pub(crate) fn compile(published: Published, last: Option<&Snapshot>, known: &Known) -> Result<Snapshot, Vec<Complaint>> {
    if let Some(last) = last.filter(|last| last.published.rules == published.rules) {
        return Ok(Snapshot { published, rules: last.rules.clone(), router: last.router.clone() });
    }
    let rules = spec::load(&published.rules, known)?.rules;
    let router = Router::build(&rules).map_err(|message| vec![complaint(message, "report this: the check should have found it")])?;
    Ok(Snapshot { published, rules, router })
}

/// A complaint about no file in particular.
pub(crate) fn complaint(message: String, hint: &str) -> Complaint {
    Complaint { file: String::new(), line: 1, column: 1, message, hint: hint.to_owned(), warning: false }
}
