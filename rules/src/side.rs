//! The two sides of a migration.

use serde::{Deserialize, Serialize};

/// Who serves a request, or owns a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The monolith.
    Legacy,
    /// The new service.
    Modern,
}

impl Side {
    /// Both sides, legacy first.
    pub const BOTH: [Side; 2] = [Side::Legacy, Side::Modern];

    /// The opposite side.
    pub fn other(self) -> Side {
        match self {
            Side::Legacy => Side::Modern,
            Side::Modern => Side::Legacy,
        }
    }

    /// The word used in rules, labels and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Side::Legacy => "legacy",
            Side::Modern => "modern",
        }
    }
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
