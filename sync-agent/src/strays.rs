//! Writers that meet a fence: whom it refused, and what was written while it let them through. Which those are is the engines'
//! business ([`Database::refused`], [`Database::let_in`]); here is what is told of it. What became of their writes is the session's.
//!
//! [`Database::refused`]: crate::port::Database::refused
//! [`Database::let_in`]: crate::port::Database::let_in

use std::collections::BTreeMap;

use ficus_rules::Side;
use ficus_rules::mapping::Plan;
use ficus_rules::wire::Strays;

use crate::error::Error;
use crate::metrics;
use crate::port::{LetIn, LetInPair, Shared};
use crate::quarantine;
use crate::state::State;

/// Writers that are named at once.
const NAMED: usize = 5;

/// Why a row that was written past the gateway is on one side only.
pub(crate) fn reason(who: &str, passed: Option<&str>) -> String {
    let by = if who.is_empty() { String::new() } else { format!(" by {who}") };
    let passed = passed.map_or_else(String::new, |why| format!(": {why}"));
    format!("written past the gateway{by}, while the other side owned it: not carried over{passed}")
}

/// Looks, and tells. One look at a time: what is told last was seen last.
pub(crate) async fn look(state: &State, legacy: &Shared, modern: &Shared, plans: &[Plan]) -> Result<(), Error> {
    let _turn = state.strays().await;
    let mut strays = Vec::new();
    for (side, database) in [(Side::Legacy, legacy), (Side::Modern, modern)] {
        let refused = database.refused().await?;
        let LetIn { rows, unsettled, pairs, mut wrote } = database.let_in().await?;
        wrote.truncate(NAMED);
        let tells = refused.is_some() || rows > 0;
        let refused = refused.unwrap_or_default();
        for (handled, writes) in [("refused", refused.statements), ("reported", rows)] {
            let counter = metrics::STRAYS.with_label_values(&[state.capability.as_str(), side.as_str(), handled]);
            counter.inc_by(writes.saturating_sub(counter.get()));
        }
        metrics::STRAYS_UNSETTLED
            .with_label_values(&[state.capability.as_str(), side.as_str()])
            .set(i64::try_from(unsettled).unwrap_or(i64::MAX));
        let shown = if unsettled > 0 { database.show_unsettled(quarantine::SHOWN).await? } else { Vec::new() };
        state.show_strays(side, shown.into_iter().map(|kept| quarantine::shown(&state.capability, side, plans, kept)).collect());
        if tells {
            let (refused, writers) = (refused.statements, refused.writers);
            // One of a pair that has left the rules is nobody's to carry.
            let known = pairs.iter().filter(|of| plans.iter().any(|plan| plan.pair == of.pair));
            let untried = known.map(|of| of.rows - of.passed).sum();
            let tables = by_table(side, plans, pairs);
            strays.push(Strays { side, refused, writers, reported: rows, unsettled, untried, wrote, tables });
        }
    }
    let sum = |strays: &[Strays]| strays.iter().fold((0, 0), |(all, left), strays| (all + strays.unsettled, left + strays.untried));
    if sum(&state.report().strays) == sum(&strays) {
        state.note(|report| report.strays = strays);
    } else {
        state.update(|report| report.strays = strays);
    }
    Ok(())
}

/// A pair that has left the rules goes by its own name. Several pairs may be of one table.
fn by_table(side: Side, plans: &[Plan], pairs: Vec<LetInPair>) -> BTreeMap<String, u64> {
    let mut tables = BTreeMap::new();
    for LetInPair { pair, rows, .. } in pairs {
        let plan = plans.iter().find(|plan| plan.pair == pair);
        let table = plan.map(|plan| if side == Side::Legacy { plan.legacy.table.clone() } else { plan.modern.table.clone() });
        *tables.entry(table.unwrap_or(pair)).or_default() += rows;
    }
    tables
}
