//! How much room the answers have that are kept, and whose they are.

/// Limits on what is kept of answers, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheLimits {
    /// Bytes of all answers together, about.
    pub size: u64,
    /// Bytes of the body of one; a larger one is not kept.
    pub answer: usize,
    /// Headers, in lower case, that say who calls as `Authorization` does: whoever sends one has answers of its own.
    pub known_by: Vec<String>,
}

impl Default for CacheLimits {
    fn default() -> Self {
        CacheLimits { size: 64 << 20, answer: 1 << 20, known_by: ["x-api-key", "x-auth-token"].map(str::to_owned).into() }
    }
}
