//! Foreign keys that leave the capability, both ways, and what they do by themselves. The agent writes rows without them
//! where its role may, and in its own order; what they would have done, nobody does then.

use super::Asked;
use crate::Side;
use crate::catalog::{Catalog, Reference, Table};
use crate::crossing::follows;
use crate::finding::{Finding, Severity};

pub(super) fn find(asked: &Asked<'_>, found: &mut Vec<(Option<Side>, Finding)>) {
    for side in Side::BOTH {
        let catalog = asked.catalog(side);
        let mut seen: Vec<&str> = Vec::new();
        for (_, table) in asked.tables(side) {
            if seen.contains(&table.name.as_str()) {
                continue;
            }
            seen.push(&table.name);
            for reference in table.references.iter().filter(|reference| !asked.is_mapped(side, &reference.parent)) {
                found.extend(order(asked, side, table, reference).map(|finding| (Some(side), finding)));
                if reference.acts.is_none() || !catalog.refuses_acts {
                    found.push((Some(side), leaves(asked, side, table, reference)));
                }
            }
            for (child, reference) in catalog.referring(&table.name).filter(|(child, _)| !asked.is_mapped(side, &child.name)) {
                found.push((Some(side), enters(asked, side, child, reference)));
            }
        }
    }
}

/// Who refers to rows of another capability moves after it: what is declared must not say the contrary, and where references
/// lead both ways, none can be first.
fn order(asked: &Asked<'_>, side: Side, table: &Table, reference: &Reference) -> Option<Finding> {
    let (own, parent) = (asked.capability, &reference.parent);
    let owner = asked.elsewhere(side).get(parent).filter(|owner| side == Side::Legacy && !asked.ahead_of.contains(owner))?;
    let refers = format!("{} ({}) refers to {parent} of {owner}", table.name, reference.columns.join(", "));
    if follows(&asked.elsewhere.depends_on, owner, own) {
        let means = format!("{own} has to move after {owner}, and depends_on has {owner} move after {own}");
        let finding = Finding::refused("reference_order", format!("{refers}, and {owner} depends on {own}"), means);
        let then = format!(
            "take {own} out of what {owner} depends on, and write depends_on = [\"{owner}\"] for {own}; or move both as one capability"
        );
        return Some(finding.then(then).table(&table.name));
    }
    let catalog = asked.catalog(side);
    let owned = |child: &Table| asked.elsewhere(side).get(&child.name) == Some(owner);
    let back = asked.tables(side).any(|(_, table)| catalog.referring(&table.name).any(|(child, _)| owned(child)));
    back.then(|| {
        let means = "none of them can move first: whichever does, rows on one side refer to rows that the other side owns";
        let finding = Finding::warning("reference_circle", format!("{refers}, and tables of {owner} refer to those of {own}"), means);
        finding.then("move both as one capability, or one right after the other").table(&table.name)
    })
}

/// From a table of the capability to one outside.
fn leaves(asked: &Asked<'_>, side: Side, table: &Table, reference: &Reference) -> Finding {
    let (columns, parent) = (reference.columns.join(", "), &reference.parent);
    let what = format!("{} ({columns}) refers to {parent}, which is no table of {}", table.name, asked.capability);
    let owner = asked.elsewhere(side).get(parent);
    let ahead = owner.is_some_and(|owner| asked.ahead_of.contains(owner));
    let finding = match (side, &reference.acts) {
        // No fence holds what the database takes along with a row that the agent of the other capability removes.
        (Side::Modern, Some(acts)) if owner.is_some() && asked.catalog(side).acts_for_agent => {
            let means = format!("{acts}: what the agent removes of {parent} takes rows of {} along that nobody has removed", table.name);
            drop(asked.catalog(side), table, reference, Finding::refused("cascade_from_outside", what, means))
        }
        (_, Some(acts)) => {
            let means = format!("{acts}: a change of {parent} changes rows of {} from outside, also while they are fenced", table.name);
            drop(asked.catalog(side), table, reference, Finding::warning("cascade_from_outside", what, means))
        }
        (Side::Legacy, None) if ahead => {
            let means = "it may move ahead of them: from then on whatever the monolith removes these rows with is refused";
            Finding::note("reference_leaves", what, means)
        }
        (Side::Legacy, None) => {
            let means = "the new service gets the number alone: what it refers to stays where it is";
            let known = owner.is_none_or(|owner| asked.depends_on.contains(owner));
            let finding = Finding::note("reference_leaves", what, means);
            if known { finding } else { Finding { severity: Severity::Warning, ..finding } }
        }
        (Side::Modern, None) => {
            let means = "rows that arrive before what they refer to are refused where the agent's role may not switch references off, and dangle where it may";
            drop(asked.catalog(side), table, reference, Finding::warning("reference_leaves", what, means))
        }
    };
    let finding = match owner.filter(|owner| !ahead && !asked.depends_on.contains(owner)) {
        Some(owner) => {
            finding.then(format!("{owner} maps {parent}: write depends_on = [\"{owner}\"] in the rule file of {}", asked.capability))
        }
        None => finding,
    };
    finding.table(&table.name)
}

/// From a table outside to one of the capability.
fn enters(asked: &Asked<'_>, side: Side, child: &Table, reference: &Reference) -> Finding {
    let (columns, parent) = (reference.columns.join(", "), &reference.parent);
    let what = format!("{} ({columns}), which is no table of {}, refers to {parent}", child.name, asked.capability);
    let finding = match &reference.acts {
        Some(acts) => Finding::warning(
            "cascade_outwards",
            what,
            format!("{acts} does not happen when the agent removes a row of {parent}: rows of {} then refer to nothing", child.name),
        ),
        None => Finding::note(
            "reference_enters",
            what,
            format!("nothing stops the other side from removing a row of {parent} that {} still refers to", child.name),
        ),
    };
    let owner = asked.elsewhere(side).get(&child.name);
    let then = match (owner, side) {
        (Some(owner), _) => format!("{owner} maps {}: remove its rows there first, or move both as one capability", child.name),
        (None, _) => format!("map {} too, or have the application remove its rows before those of {parent}", child.name),
    };
    finding.table(parent).then(then)
}

fn drop(catalog: &Catalog, table: &Table, reference: &Reference, finding: Finding) -> Finding {
    let quoted = catalog.quoted_table(&table.name);
    if catalog.engine.starts_with("SQLite") {
        return finding.then(format!("make {quoted} anew without that reference"));
    }
    finding.mend(format!("ALTER TABLE {quoted} DROP CONSTRAINT {};", catalog.quoted(&reference.name)))
}
