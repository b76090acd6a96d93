//! Numbers and UUIDs of rows. Decides what the id of a row is; does not insert the row.
//!
//! The UUID of a row follows from the table that it has, or would have, in the monolith and its integer there:
//! both sides compute the same one without asking each other.

use sqlx::{AnyConnection, Row};
use uuid::Uuid;

use crate::role::Role;

/// A table of the monolith whose rows have a UUID here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// `accounts_customuser`
    Users,
    /// `accounts_adminhod`, `accounts_staff`, `accounts_student`
    Profiles(Role),
    /// `accounts_usernote`
    Notes,
}

/// The identity of a row that is about to be inserted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewId {
    /// The public integer.
    pub legacy_id: i64,
    /// The key inside the service: the UUID as text.
    pub uuid: String,
}

impl Table {
    /// The UUID of the row with this integer.
    pub fn uuid(self, legacy_id: i64) -> Uuid {
        let table = format!("ficus/users/{}", self.legacy_name());
        let namespace = Uuid::new_v5(&Uuid::NAMESPACE_OID, table.as_bytes());
        Uuid::new_v5(&namespace, legacy_id.to_string().as_bytes())
    }

    /// Takes the next number of the table's sequence. A rolled-back transaction gives the number back
    /// on SQLite, and loses it on PostgreSQL.
    pub async fn next_id(self, write: &mut AnyConnection) -> Result<NewId, sqlx::Error> {
        let row = sqlx::query(self.take_number()).fetch_one(write).await?;
        let legacy_id = row.try_get(0)?;
        Ok(NewId { legacy_id, uuid: self.uuid(legacy_id).to_string() })
    }

    fn legacy_name(self) -> &'static str {
        match self {
            Self::Users => "accounts_customuser",
            Self::Profiles(Role::Admin) => "accounts_adminhod",
            Self::Profiles(Role::Staff) => "accounts_staff",
            Self::Profiles(Role::Student) => "accounts_student",
            Self::Notes => "accounts_usernote",
        }
    }

    fn take_number(self) -> &'static str {
        match self {
            Self::Users => "INSERT INTO seq_users DEFAULT VALUES RETURNING id",
            Self::Profiles(Role::Admin) => "INSERT INTO seq_profiles_admin DEFAULT VALUES RETURNING id",
            Self::Profiles(Role::Staff) => "INSERT INTO seq_profiles_staff DEFAULT VALUES RETURNING id",
            Self::Profiles(Role::Student) => "INSERT INTO seq_profiles_student DEFAULT VALUES RETURNING id",
            Self::Notes => "INSERT INTO seq_notes DEFAULT VALUES RETURNING id",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Python: uuid5(uuid5(NAMESPACE_OID, "ficus/users/accounts_customuser"), "42"), and so on.
    #[test]
    fn uuids_are_those_of_python() {
        let vectors = [
            (Table::Users, 42, "13658362-b65a-5a64-83c2-c1c8a0e55d46"),
            (Table::Users, 1, "91e3ea57-175e-55e9-8e20-1c6406db56f4"),
            (Table::Notes, 1, "bb73f872-0348-52a7-9112-1d8c9776bb3f"),
            (Table::Profiles(Role::Student), 7, "fb6abf9a-9ed9-5369-9824-3751963ad433"),
        ];
        for (table, legacy_id, uuid) in vectors {
            assert_eq!(table.uuid(legacy_id).to_string(), uuid, "{table:?} {legacy_id}");
        }
    }
}
