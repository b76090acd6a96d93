//! The mappings, by the name that an agent is told.

use ficus_rules::mapping::TableMap;

use crate::Result;
use crate::agent::{pair, renamed};

pub(crate) fn tables(map: &str) -> Result<Vec<TableMap>> {
    let people = [
        ("first_name", "given_name"),
        ("last_name", "family_name"),
        ("is_active", "active"),
        // These two become texts as well.
        ("level", "grade"),
        ("balance", "amount"),
        ("joined", "joined_at"),
    ];
    let people = people.into_iter().map(|(legacy, modern)| renamed(legacy, modern)).collect();
    let mark = || pair("mark", "mark", "id", Vec::new());
    match map {
        "renamed" => Ok(vec![pair("person", "people", "legacy_id", people), mark()]),
        "same" => Ok(vec![pair("person", "person", "id", Vec::new()), mark()]),
        other => Err(format!("{other} is no mapping").into()),
    }
}
