//! The three roles. A role is also the kind of the profile that a user of it has.

use serde::{Deserialize, Serialize};

use crate::fields::PROFILE_FIELDS;

/// What a user is at the school.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Runs the school.
    Admin,
    /// Teaches.
    Staff,
    /// Learns.
    Student,
}

impl Role {
    /// All of them, in the order of the monolith's numbers.
    pub const ALL: [Self; 3] = [Self::Admin, Self::Staff, Self::Student];

    /// The role of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// The name in public and in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Staff => "staff",
            Self::Student => "student",
        }
    }

    /// Whether the profile of this role has the field.
    pub fn has(self, field: &str) -> bool {
        match self {
            Self::Admin => false,
            Self::Staff => field == "address",
            Self::Student => PROFILE_FIELDS.contains(&field),
        }
    }
}
