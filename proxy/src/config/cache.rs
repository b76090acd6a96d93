//! How much room the answers have that are kept.

/// Limits on what is kept of answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheLimits {
    /// Bytes of all answers together, about.
    pub size: u64,
    /// Bytes of the body of one; a larger one is not kept.
    pub answer: usize,
}

impl Default for CacheLimits {
    fn default() -> Self {
        CacheLimits { size: 64 << 20, answer: 1 << 20 }
    }
}
