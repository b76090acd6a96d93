//! What the target remembers of a pair's plan: whether it is still the same, and which columns of modern it feeds. By that
//! a column is missed that is gone from legacy and followed by its name alone: no rule names it, and without it the rest
//! still fits. Pure.

use ficus_rules::mapping::{MapError, Plan, TableMap, Tables};
use sha2::{Digest, Sha256};

use crate::port::Copied;

/// A plan as it is remembered: rows that another one wrote are other rows. Ends with the columns of modern, as JSON.
pub(crate) fn text(plan: &Plan) -> String {
    let digest: String = Sha256::digest(format!("{plan:?}").as_bytes()).iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    // A list of texts: its JSON cannot fail.
    format!("{digest} {}", serde_json::to_string(&plan.modern.columns).unwrap_or_default())
}

/// Columns of modern that were fed by a column of their name, and are fed by none any more.
pub(crate) fn missed(maps: &[TableMap], plans: &[Plan], known: &[Copied], legacy: &Tables, modern: &Tables) -> Vec<MapError> {
    let mut missed = Vec::new();
    for (map, plan) in maps.iter().zip(plans).filter(|(map, _)| !map.only) {
        let columns = known.iter().find(|known| known.pair == plan.pair).and_then(|known| known.plan.split_once(' '));
        let Some((_, columns)) = columns else { continue };
        let has = |tables: &Tables, table: &String, name: &String| {
            tables.get(table).is_some_and(|columns| columns.iter().any(|column| column.name == *name))
        };
        let gone = serde_json::from_str::<Vec<String>>(columns).unwrap_or_default().into_iter().filter(|name| {
            !plan.modern.columns.contains(name)
                && !map.keep_modern.contains(name)
                && !has(legacy, &map.legacy, name)
                && has(modern, &map.modern, name)
        });
        for name in gone {
            let kept = map.keep_modern.iter().chain([&name]).map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
            missed.push(MapError {
                source_line: map.source.clone(),
                message: format!("legacy table {} has no column {name} any more, and {name} of {} was fed by it", map.legacy, map.modern),
                remedy: format!(
                    "put it back; or say where its values come from now, in [table.columns]; or let modern keep what it has: keep_modern = [{kept}]"
                ),
            });
        }
    }
    missed
}
