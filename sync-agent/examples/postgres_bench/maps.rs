//! The mappings, by the name that an agent is told.

use ficus_rules::mapping::{ColumnMap, ColumnSource, TableMap};

use crate::Result;
use crate::agent::{pair, renamed};

pub(crate) fn tables(map: &str) -> Result<Vec<TableMap>> {
    let uuid = |modern: &str, column: &str| ColumnMap {
        modern: modern.into(),
        from: ColumnSource::Uuid5 { column: column.into(), of: "person".into() },
    };
    let names = || vec![renamed("first_name", "given_name"), renamed("balance", "amount")];
    match map {
        "same" => Ok(vec![pair("item", "item", "id", Vec::new()), pair("mark", "mark", "id", Vec::new())]),
        "renamed" => Ok(vec![pair("person", "people", "legacy_id", names())]),
        "uuid" => {
            let columns = names().into_iter().chain([uuid("id", "id")]).collect();
            Ok(vec![pair("person", "citizens", "legacy_id", columns)])
        }
        other => Err(format!("{other} is no mapping").into()),
    }
}
