//! The comparison of two answers to the same request: status, then JSON by path, with an ignore list. Does not fetch.

use serde::{Deserialize, Serialize};

/// One place where two answers differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// `status`, `content-type`, `body`, or a JSON path like `$.results[3].email`.
    pub path: String,
    /// What legacy has there, shortened to 80 characters.
    pub legacy: String,
    /// What modern has there, shortened.
    pub modern: String,
}
