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

/// What is remembered of a pair under a name that it has no more: a pair is named by its tables as far as others of its capability
/// have the same, and an earlier release did not tell apart by their `where` those that have both. Either the plan says so, which
/// is the same but for the name; or the name is that of both tables, and no other pair has the first of them with another.
pub(crate) fn former<'k>(plans: &[Plan], plan: &Plan, known: &'k [Copied]) -> Option<&'k Copied> {
    let is_named = |name: &str| plans.iter().any(|plan| plan.pair == name);
    if known.iter().any(|known| known.pair == plan.pair) {
        return None;
    }
    let (legacy, both) = (&plan.legacy.table, format!("{}/{}", plan.legacy.table, plan.modern.table));
    let is_former = |name: &str| name == legacy || name == both || name.strip_prefix(&both).is_some_and(|rest| rest.starts_with('/'));
    let mut left = known.iter().filter(|known| !is_named(&known.pair) && is_former(&known.pair));
    let same = |known: &&Copied| {
        let mut before = plan.clone();
        before.pair.clone_from(&known.pair);
        text(&before) == known.plan
    };
    let alone = || plans.iter().all(|other| other.legacy.table != *legacy || other.modern.table == plan.modern.table);
    left.clone().find(same).or_else(|| left.find(|known| known.pair == both).filter(|_| alone()))
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
